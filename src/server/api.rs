//! HTTP requests of a dialect's own API, as steps: each names what it needs next, and continues with the result.

use std::rc::Rc;

use super::answer::Answer;
use super::request_head::RequestHead;
use crate::code::Code;
use crate::engine::relay::Peer;
use crate::policy::configuration::Configuration;
use crate::policy::credential::Proven;
use crate::policy::token::TokenError;

/// An API that belongs to a dialect, implemented in its route module and listed in [`super::dialects`].
pub trait Api: Sync {
    /// The methods of a path besides `OPTIONS`; `None` if the path is not part of this API.
    fn methods(&self, path: &str) -> Option<&'static [&'static str]>;

    /// The CORS permissions of this API.
    fn cors(&self) -> Cors;

    /// The answer to a rejected request, in this API's format.
    fn rejected(&self, code: Code) -> Rejected;

    /// The answer to a rejected request, with details of the request itself if this API reports them.
    fn answered(&self, _head: &RequestHead, rejected: Rejected) -> Answer {
        rejected.answer
    }

    /// Starts handling a request.
    ///
    /// # Errors
    /// The answer to a refused request.
    fn call(&self, head: Rc<RequestHead>, configuration: &Configuration) -> Result<ApiStep, Rejected>;
}

/// Methods and headers allowed to pages of other origins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cors {
    /// `Access-Control-Allow-Methods`
    pub methods: &'static str,
    /// `Access-Control-Allow-Headers`
    pub headers: &'static str,
}

/// What a request needs next.
pub enum ApiStep {
    /// Nothing: the request has its answer.
    Answer(Answer),
    /// The verification of a credential.
    Verify(String, Box<AfterProof>),
    /// The body, of at most [`crate::policy::limits::BODY_BYTES`] bytes.
    ReadBody(Box<AfterBody>),
    /// The answer of an organization's object.
    Ask(ObjectRequest, Box<AfterAnswer>),
    /// The answer of the object of a database.
    AskDatabase(DatabaseRequest, Box<AfterAnswer>),
}

/// Continues with the verified credential.
pub type AfterProof = dyn FnOnce(&Configuration, Result<Proven<'_>, TokenError>) -> Result<ApiStep, Rejected>;
/// Continues with the body.
pub type AfterBody = dyn FnOnce(&Configuration, Vec<u8>) -> Result<ApiStep, Rejected>;
/// Continues with the status and body of the object's answer.
pub type AfterAnswer = dyn FnOnce(&Configuration, u16, &str) -> Result<ApiStep, Rejected>;

impl ApiStep {
    /// Requests the verification of a credential.
    pub fn verify(
        credential: String,
        then: impl FnOnce(&Configuration, Result<Proven<'_>, TokenError>) -> Result<ApiStep, Rejected> + 'static,
    ) -> ApiStep {
        ApiStep::Verify(credential, Box::new(then))
    }

    /// Requests the body.
    pub fn read_body(then: impl FnOnce(&Configuration, Vec<u8>) -> Result<ApiStep, Rejected> + 'static) -> ApiStep {
        ApiStep::ReadBody(Box::new(then))
    }

    /// Sends a request to an organization's object.
    pub fn ask(
        request: ObjectRequest,
        then: impl FnOnce(&Configuration, u16, &str) -> Result<ApiStep, Rejected> + 'static,
    ) -> ApiStep {
        ApiStep::Ask(request, Box::new(then))
    }

    /// Sends a request to the object of a database.
    pub fn ask_database(
        request: DatabaseRequest,
        then: impl FnOnce(&Configuration, u16, &str) -> Result<ApiStep, Rejected> + 'static,
    ) -> ApiStep {
        ApiStep::AskDatabase(request, Box::new(then))
    }
}

/// A request to one of an organization's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRequest {
    /// The organization.
    pub organization: String,
    /// Which of its objects.
    pub peer: Peer,
    /// The object's path, such as `/publish`.
    pub path: &'static str,
    /// The body of a `POST`; `None` for a `GET`.
    pub body: Option<String>,
}

/// A `POST` to the object of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseRequest {
    /// The database, a name in `REALTIME.databases`.
    pub database: String,
    /// The object's path, such as `/status`.
    pub path: &'static str,
    /// The body.
    pub body: String,
}

/// A refused request: the reason, and the answer in the API's format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The code, for the log.
    pub code: Code,
    /// The answer.
    pub answer: Answer,
}

/// Why an organization's object refused, from its status.
pub fn code_of(status: u16) -> Code {
    match status {
        429 => Code::RateLimited,
        503 => Code::Overloaded,
        _ => Code::Internal,
    }
}
