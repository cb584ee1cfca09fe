//! A client's message, independent of framing and not yet interpreted.

use crate::code::{Code, Refusal};

/// A client's message, independent of framing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push<'a> {
    /// The reference of the join that the push belongs to; old clients and the heartbeat have none.
    pub join_ref: Option<String>,
    /// The reference that a reply echoes.
    pub reference: Option<String>,
    /// The topic, with its prefix.
    pub topic: String,
    /// The event, such as `phx_join`.
    pub event: String,
    /// The payload.
    pub payload: Pushed<'a>,
    /// Whether it was a binary frame: some clients write its topic in Latin-1, so `join_ref` identifies the channel.
    pub is_binary: bool,
}

/// The payload of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed<'a> {
    /// Any JSON.
    Json(&'a str),
    /// A message of a user (binary kind 3); the push's event is the message's.
    Broadcast {
        /// Any JSON, or nothing.
        metadata: &'a str,
        /// The message.
        body: MessageBody<'a>,
    },
}

/// The payload of a user's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageBody<'a> {
    /// Any JSON.
    Json(&'a str),
    /// Arbitrary bytes.
    Binary(&'a [u8]),
}

/// The error for an invalid reference.
pub(super) const LONG_REFERENCE: &str = "A reference must be null or a string of at most 255 bytes.";

/// A frame that is malformed for its framing.
pub(super) fn refuse(sentence: &'static str) -> Refusal {
    Refusal::because(Code::InvalidFrame, sentence)
}
