//! A request to a dialect's HTTP interface, executed step by step, as the shell does, without a runtime.
#![allow(dead_code, reason = "every test file asks whom it has")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use std::rc::Rc;

use realtime_worker::policy::configuration::Configuration;
use realtime_worker::policy::key_set::KeySet;
use realtime_worker::server::answer::Answer;
use realtime_worker::server::api::{Api, ApiStep, DatabaseRequest, ObjectRequest, Rejected};
use realtime_worker::server::dialects;
use realtime_worker::server::request_head::RequestHead;

/// An object's status and body.
pub type Response = (u16, String);

/// The environment of a request.
pub struct HttpCall<'a> {
    pub configuration: &'a Configuration,
    /// In Unix milliseconds.
    pub now: u64,
    pub keys: KeySet,
    /// The organization's object.
    pub object: Box<dyn FnMut(ObjectRequest) -> Response + 'a>,
    /// The object of a database.
    pub database: Box<dyn FnMut(DatabaseRequest) -> Response + 'a>,
}

impl<'a> HttpCall<'a> {
    /// A deployment without keys, objects or databases: asking one fails the test.
    pub fn new(configuration: &'a Configuration, now: u64) -> HttpCall<'a> {
        HttpCall {
            configuration,
            now,
            keys: KeySet::default(),
            object: Box::new(|question| panic!("{} is asked of no object", question.path)),
            database: Box::new(|question| panic!("{} is asked of no database", question.path)),
        }
    }

    pub fn with_object(self, object: impl FnMut(ObjectRequest) -> Response + 'a) -> HttpCall<'a> {
        HttpCall { object: Box::new(object), ..self }
    }

    pub fn with_database(self, database: impl FnMut(DatabaseRequest) -> Response + 'a) -> HttpCall<'a> {
        HttpCall { database: Box::new(database), ..self }
    }

    /// Executes the request, whose path and method must belong to an interface.
    pub fn carry_out(self, head: RequestHead, body: &str) -> Result<Answer, Rejected> {
        let api: &dyn Api = dialects::api(&head.path).unwrap();
        assert!(api.methods(&head.path).unwrap().contains(&&*head.method), "{} {}", head.method, head.path);
        let head = Rc::new(head);
        let outcome = self.finish(api, head.clone(), body);
        outcome.map_err(|rejected| Rejected { code: rejected.code, answer: api.answered(&head, rejected) })
    }

    fn finish(mut self, api: &dyn Api, head: Rc<RequestHead>, body: &str) -> Result<Answer, Rejected> {
        let configuration = self.configuration;
        let mut step = api.call(head, configuration)?;
        loop {
            step = match step {
                ApiStep::Answer(answer) => return Ok(answer),
                ApiStep::Verify(credential, then) => {
                    then(configuration, configuration.credentials.verify(self.now, &credential, &self.keys))
                }
                ApiStep::ReadBody(then) => then(configuration, body.as_bytes().to_vec()),
                ApiStep::Ask(question, then) => {
                    let (status, answer) = (self.object)(question);
                    then(configuration, status, &answer)
                }
                ApiStep::AskDatabase(question, then) => {
                    let (status, answer) = (self.database)(question);
                    then(configuration, status, &answer)
                }
            }?;
        }
    }
}

/// The answer, refused or not.
pub fn final_answer(outcome: Result<Answer, Rejected>) -> Answer {
    outcome.unwrap_or_else(|rejected| rejected.answer)
}
