//! The protocol's words for refusals and closed sockets: error messages, close codes and reasons.

use std::borrow::Cow;

use crate::code::{Code, Refusal, Retry};
use crate::engine::event::TableWarning;

/// The message of an `error` frame when the database's changes have stopped; the protocol has no frame for when they
/// resume.
pub const FEED_LOST: &str = "Realtime connection lost. Reconnecting...";
/// The message before a connection is closed so that its client reconnects.
const SHUTTING_DOWN: &str = "Server shutting down";

/// The message of an `error` frame for a refusal.
pub fn message(refusal: &Refusal) -> Cow<'_, str> {
    match refusal.code {
        Code::InvalidToken | Code::TokenExpired | Code::WrongUser => Cow::Borrowed("Authentication failed"),
        Code::WrongOrganization => Cow::Borrowed("App not found"),
        Code::AuthRequired => Cow::Borrowed("Authentication required: anonymous access to this app is off"),
        Code::ServiceRestart => Cow::Borrowed(SHUTTING_DOWN),
        _ => Cow::Borrowed(&*refusal.message),
    }
}

/// The close code and reason of a socket that ends with this code.
pub fn closing(code: Code) -> (u16, &'static str) {
    match code {
        Code::AuthRequired | Code::AuthTimeout => (1008, "Auth required"),
        Code::InvalidToken | Code::TokenExpired | Code::WrongOrganization => (1008, "Auth failed"),
        Code::AppPaused => (1013, "App paused"),
        Code::ListenerLimit => (1013, "Per-app realtime listener limit reached"),
        Code::ConnectionLimit => (1013, "Connection limit reached"),
        Code::RealtimeDisabled => (1013, "Realtime disabled by plan"),
        Code::ServiceRestart => (1001, SHUTTING_DOWN),
        code => code.closing(),
    }
}

/// How a client should react to an error, in one word.
pub fn retry(code: Code) -> &'static str {
    match code.retry() {
        Retry::No => "no",
        Retry::Later => "later",
        Retry::FreshToken => "fresh_token",
    }
}

/// A warning: its code, by which clients recognize it, its message, and its remedy in this app.
pub fn warning(warning: TableWarning, table: &str, app: &str) -> (&'static str, &'static str, String) {
    match warning {
        TableWarning::NotEnabled => (
            "TABLE_NOT_REALTIME_ENABLED",
            "realtime is off for this table; no changes will arrive",
            format!("POST /v1/{app}/realtime/configure {{\"tables\":[{}]}}", serde_json::json!(table)),
        ),
        TableWarning::NoPolicy => (
            "TABLE_HAS_NO_POLICY",
            "no rule says who may see this table's rows; only the service role receives its changes",
            String::from("give the table row policies, or mark it public"),
        ),
    }
}
