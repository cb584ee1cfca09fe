//! Why something is refused, in the protocol's own words (supabase.md, sections 5.4, 7, 9.3 and 10).

use std::borrow::Cow;

use super::PREFIX;
use crate::code::{Code, Refusal};
use crate::value::json;

/// What says that a message is to be kept.
pub const PERSIST: &str = "persist";
/// What is said of a time to live that is none.
pub const INVALID_TTL: &str = "invalid_persist_ttl";

/// What is wrong with a token: its kind and its sentence.
pub fn token(refusal: &Refusal) -> Option<(&'static str, &'static str)> {
    Some(match (refusal.code, refusal.field.as_deref()) {
        (Code::InvalidToken, Some("token")) => ("MalformedJWT", "The token provided is not a valid JWT"),
        (Code::InvalidToken, Some("exp")) => ("InvalidJWTToken", "Fields `role` and `exp` are required in JWT"),
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
    match (refusal.code, refusal.field.as_deref()) {
        (Code::InvalidFrame, Some("topic")) => String::from("TopicNameRequired: You must provide a topic name"),
        (Code::InvalidFrame, Some("replay")) => format!("UnableToReplayMessages: {}", refusal.message),
        (Code::Forbidden, _) => {
            format!("Unauthorized: You do not have permissions to read from this Channel topic: {topic}")
        }
        (Code::PublicTopicsDisabled, _) => String::from("PrivateOnly: This project only allows private channels"),
        (Code::TopicLimit, _) => String::from("ChannelRateLimitReached: Too many channels"),
        (Code::RateLimited, _) => String::from("ClientJoinRateLimitReached: Too many joins per second"),
        (Code::TokenExpired, _) => ["InvalidJWTToken: ", &*refusal.message].concat(),
        (code, _) => format!("{}: {}", code.wire(), refusal.message),
    }
}

/// Why a channel ends.
pub(super) fn end(refusal: &Refusal, channel: &str) -> Cow<'static, str> {
    let topic = channel.strip_prefix(PREFIX).unwrap_or(channel);
    if let Some((_, sentence)) = token(refusal) {
        return Cow::Borrowed(sentence);
    }
    match refusal.code {
        Code::Forbidden | Code::PublicTopicsDisabled => {
            Cow::Owned(format!("You no longer have permission to read from this Channel topic: {topic}"))
        }
        Code::RateLimited => Cow::Borrowed("Too many messages per second"),
        _ => refusal.message.clone(),
    }
}

/// The `response` of a push that is refused.
pub(super) fn push(refusal: &Refusal) -> String {
    let (key, text) = match refusal.code {
        _ if refusal.field.as_deref() == Some(PERSIST) => ("error", INVALID_TTL),
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
