//! Messages between an organization's object and its database's object: changes, the state of the feed, questions.

use std::rc::Rc;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::answer::Answer;
use crate::code::{Code, Refusal};
use crate::engine::database::batch::Batch;
use crate::engine::effect::Question;
use crate::engine::input::Input;
use crate::policy::configuration::Configuration;
use crate::policy::database::Database;

/// A question as a request to the object of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRequest {
    /// The object's path.
    pub path: &'static str,
    /// The body of the `POST`.
    pub body: String,
    answer: AnswerTo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AnswerTo {
    Interest(u64),
    Judge(u64),
    Authorize(u64),
}

#[derive(Deserialize)]
struct FeedText<'a> {
    database: String,
    state: String,
    #[serde(borrow, default)]
    tables: Option<&'a RawValue>,
}

/// Reads the body of `POST /changes`.
///
/// # Errors
/// [`Code::InvalidRequest`] when it is malformed, or the organization takes no changes from a database.
pub fn changes(body: &str, organization: &str, configuration: &Configuration) -> Result<Input, Refusal> {
    let database = database(organization, configuration)?;
    Ok(Input::Changes(Box::new(Batch::read(body, organization, &database.serves)?)))
}

/// Reads the body of `POST /feed`.
///
/// # Errors
/// [`Code::InvalidRequest`] when it is malformed, or the organization takes no changes from this database.
pub fn feed(body: &str, organization: &str, configuration: &Configuration) -> Result<Input, Refusal> {
    let FeedText { database: name, state, tables } =
        serde_json::from_str(body).map_err(|_| Refusal::of(Code::InvalidRequest))?;
    if *database(organization, configuration)?.name != *name {
        return Err(Refusal::of(Code::InvalidRequest));
    }
    let catalog = tables.map(|tables| match tables.get().starts_with('[') {
        true => format!("{{\"tables\":{tables}}}"),
        false => tables.get().to_owned(),
    });
    Ok(Input::Feed { is_lost: state != "live", catalog })
}

/// The acknowledgement of a batch.
pub fn taken(taken: Result<u64, Refusal>) -> Answer {
    match taken {
        Ok(batch) => Answer::json(200, &json!({ "batch": batch })),
        Err(refusal) => Answer::from(&refusal),
    }
}

fn database(organization: &str, configuration: &Configuration) -> Result<Rc<Database>, Refusal> {
    let message = "The organization takes no changes from a database.";
    let database = configuration.databases().of(organization);
    database.ok_or_else(|| Refusal::because(Code::InvalidRequest, message))
}

impl From<Question> for SourceRequest {
    fn from(question: Question) -> SourceRequest {
        match question {
            Question::Interest(report) => {
                SourceRequest { path: "/interest", body: report.body, answer: AnswerTo::Interest(report.revision) }
            }
            Question::Authorize { number, body } => {
                SourceRequest { path: "/authorize", body, answer: AnswerTo::Authorize(number) }
            }
            Question::Judge { number, body } => SourceRequest { path: "/judge", body, answer: AnswerTo::Judge(number) },
        }
    }
}

impl SourceRequest {
    /// Converts an answer to an input; any status other than success counts as no answer.
    pub fn answered(&self, answer: Option<(u16, String)>) -> Input {
        let text = answer.filter(|(status, _)| *status == 200).map(|(_, text)| text);
        match self.answer {
            AnswerTo::Interest(revision) => Input::InterestAnswered { revision, catalog: text },
            AnswerTo::Authorize(number) => Input::Authorized { number, grant: text },
            AnswerTo::Judge(number) => Input::Judged { number, verdicts: text },
        }
    }
}
