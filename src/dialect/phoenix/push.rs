//! What a client says in one frame, as both framings say it. What it means is not known here.

use crate::code::{Code, Refusal};

/// A frame of a client, as both framings say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push<'a> {
    /// The reference of the join that the push belongs to; old clients and the heartbeat have none.
    pub join_ref: Option<String>,
    /// What a reply is to repeat.
    pub reference: Option<String>,
    /// The topic, with its prefix.
    pub topic: String,
    /// The event, such as `phx_join`.
    pub event: String,
    /// What is pushed.
    pub payload: Pushed<'a>,
    /// Whether it was a binary frame: some clients write its topic in Latin-1, so its channel is that of its `join_ref`.
    pub is_binary: bool,
}

/// What a push carries.
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

/// What a message of a user carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageBody<'a> {
    /// Any JSON.
    Json(&'a str),
    /// Bytes of the user's own.
    Binary(&'a [u8]),
}

/// What is said of a reference that is none.
pub(super) const LONG_REFERENCE: &str = "A reference must be null or a string of at most 255 bytes.";

/// A frame that is not of its framing's form.
pub(super) fn refuse(sentence: &'static str) -> Refusal {
    Refusal::because(Code::InvalidFrame, sentence)
}
