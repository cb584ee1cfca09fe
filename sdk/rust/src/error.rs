//! The result of a request: a receipt or an error.

use std::fmt;

use serde::Deserialize;

/// The Worker's answer to an accepted request, whose events are durable by then.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Receipt {
    /// How many events the request held.
    pub accepted: u64,
    /// Whether all of them had been accepted before with the same ids.
    pub duplicate: bool,
    /// The epoch of `offset`.
    pub epoch: String,
    /// The offset of the last event in the organization's stream.
    pub offset: u64,
    /// How many frames were handed to sockets.
    pub delivered: u64,
}

/// A failed publication. It contains no secret and no value of a payload.
#[derive(Clone, Debug, PartialEq)]
pub struct RealtimeError {
    /// The Worker's code; or `network`, `unexpected_answer`, `configuration`, `database`.
    pub code: String,
    /// A sentence for humans.
    pub message: String,
    /// The HTTP status; 0 if no answer arrived.
    pub status: u16,
    /// The path of the offending key of the request.
    pub field: Option<String>,
    /// Seconds that the Worker asked to wait.
    pub retry_after: Option<f64>,
}

impl RealtimeError {
    /// An error of this side, without an answer.
    pub fn here(code: &str, message: impl Into<String>) -> RealtimeError {
        RealtimeError { code: code.into(), message: message.into(), status: 0, field: None, retry_after: None }
    }

    /// Whether the same request may succeed later.
    pub fn retryable(&self) -> bool {
        match self.status {
            0 => self.code == "network",
            status => status == 429 || (status >= 500 && self.code != "configuration"),
        }
    }
}

impl fmt::Display for RealtimeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for RealtimeError {}

#[derive(Deserialize)]
struct Refused {
    error: Refusal,
}

#[derive(Deserialize)]
struct Refusal {
    code: String,
    message: String,
    field: Option<String>,
}

/// Reads the answer to a publication; `retry_after` is that header.
///
/// # Errors
/// When the request was not accepted.
pub fn read_answer(status: u16, retry_after: Option<&str>, body: &str) -> Result<Receipt, RealtimeError> {
    if let (202, Ok(receipt)) = (status, serde_json::from_str(body)) {
        return Ok(receipt);
    }
    let error = match serde_json::from_str(body) {
        Ok(Refused { error: Refusal { code, message, field } }) => {
            RealtimeError { field, ..RealtimeError::here(&code, message) }
        }
        Err(_) => RealtimeError::here("unexpected_answer", format!("the answer is not the Worker's: {status}")),
    };
    let seconds = retry_after.and_then(|seconds| seconds.trim().parse().ok()).filter(|seconds: &f64| *seconds > 0.0);
    Err(RealtimeError { status, retry_after: seconds, ..error })
}
