//! Reasons for refusals, in the protocol's own wording (docs/protocol-supabase.md, Channels).

use std::borrow::Cow;

use super::PREFIX;
use crate::code::{Code, Reason, Refusal};
use crate::value::json;

/// The error for a topic that may not be read; its name follows.
const READ_DENIED: &str = "You do not have permissions to read from this Channel topic: ";
/// The error when a right to read is lost; the topic's name follows.
const READ_REVOKED: &str = "You no longer have permission to read from this Channel topic: ";
const PRIVATE_ONLY: &str = "This project only allows private channels";
/// The error for an invalid time to live.
pub const INVALID_TTL: &str = "invalid_persist_ttl";

/// The error for a token: its kind and its sentence.
pub fn token(refusal: &Refusal) -> Option<(&'static str, &'static str)> {
    Some(match (refusal.code, refusal.reason) {
        (_, Some(Reason::MalformedToken)) => ("MalformedJWT", "The token provided is not a valid JWT"),
        (_, Some(Reason::MissingClaims)) => ("InvalidJWTToken", "Fields `role` and `exp` are required in JWT"),
        (Code::InvalidToken | Code::WrongOrganization, _) => ("JwtSignatureError", "Failed to validate JWT signature"),
        _ => return None,
    })
}

/// The reason of a refused join: `Code: message`.
pub(super) fn join(refusal: &Refusal, channel: &str) -> String {
    let topic = channel.strip_prefix(PREFIX).unwrap_or(channel);
    if let Some((kind, sentence)) = token(refusal) {
        return [kind, ": ", sentence].concat();
    }
    match (refusal.code, refusal.reason) {
        (_, Some(Reason::UnnamedTopic)) => String::from("TopicNameRequired: You must provide a topic name"),
        (_, Some(Reason::PublicReplay)) => {
            String::from("UnableToReplayMessages: Replay is not allowed for public channels")
        }
        (Code::Forbidden, _) => format!("Unauthorized: {READ_DENIED}{topic}"),
        (Code::PublicTopicsDisabled, _) => ["PrivateOnly: ", PRIVATE_ONLY].concat(),
        (Code::TopicLimit, _) => String::from("ChannelRateLimitReached: Too many channels"),
        (Code::RateLimited, _) => String::from("ClientJoinRateLimitReached: Too many joins per second"),
        (Code::TokenExpired, _) => ["InvalidJWTToken: ", &*refusal.message].concat(),
        (code, _) => format!("{}: {}", code.as_str(), refusal.message),
    }
}

/// The reason for closing a channel.
pub(super) fn end(refusal: &Refusal, channel: &str) -> Cow<'static, str> {
    let topic = channel.strip_prefix(PREFIX).unwrap_or(channel);
    if let Some((_, sentence)) = token(refusal) {
        return Cow::Borrowed(sentence);
    }
    match (refusal.code, refusal.reason) {
        (_, Some(Reason::ReadRevoked)) => Cow::Owned([READ_REVOKED, topic].concat()),
        (Code::Forbidden, _) => Cow::Owned([READ_DENIED, topic].concat()),
        (Code::PublicTopicsDisabled, _) => Cow::Borrowed(PRIVATE_ONLY),
        (Code::RateLimited, _) => Cow::Borrowed("Too many messages per second"),
        _ => refusal.message.clone(),
    }
}

/// The `response` to a refused push.
pub(super) fn push(refusal: &Refusal) -> String {
    let (key, text) = match refusal.code {
        _ if refusal.reason == Some(Reason::InvalidRetention) => ("error", INVALID_TTL),
        Code::UnknownSubscription => ("reason", "unmatched topic"),
        Code::Forbidden | Code::PublicTopicsDisabled => ("error", "unauthorized"),
        Code::FrameTooLarge => ("error", "payload_size_exceeded"),
        _ => ("reason", &*refusal.message),
    };
    let mut out = format!("{{\"{key}\":");
    json::write_string(&mut out, text);
    out.push('}');
    out
}
