//! What the shell has to do, in the runtime's terms: the engine's effects with events made into frames.

use std::rc::Rc;

use serde_json::{Map, Value};

use crate::code::{Code, Refusal};
use crate::dialect::{self, Frame};
use crate::engine::effect::{Effect, Figures, Log, Receipt, Write};
use crate::engine::input::SocketId;

/// One thing to do. Actions are run in their order.
#[derive(Clone, Debug)]
pub enum Action {
    /// Accept the socket that wants to open, tagged with its public id.
    Accept {
        /// Which.
        socket: SocketId,
        /// The tag.
        client_id: Rc<str>,
    },
    /// Answer the request to open with this refusal.
    TurnAway(Refusal),
    /// Send one frame to several sockets.
    Send {
        /// Whom.
        to: Vec<SocketId>,
        /// The same bytes for all.
        frame: Frame,
    },
    /// Close a socket.
    Close {
        /// Which.
        socket: SocketId,
        /// The close code.
        number: u16,
        /// The reason: a word of the table of codes.
        reason: &'static str,
    },
    /// Keep a text with a socket.
    Attach {
        /// Which.
        socket: SocketId,
        /// At most 16 KiB as V8 serializes it.
        state: String,
    },
    /// Change the storage.
    Write(Write),
    /// Set the alarm to this time, in Unix milliseconds.
    SetAlarm(u64),
    /// Fetch `JWKS_URL`.
    FetchKeys,
    /// Read the history and hand it back at once.
    ReadHistory {
        /// Only what comes after this offset, in order.
        after: u64,
        /// Rows at most.
        rows: u64,
    },
    /// Answer the publisher.
    Published(Result<Receipt, Refusal>),
    /// Answer with the figures.
    Figures(Box<Figures>),
    /// Write a line of log.
    Log(String),
}

impl Action {
    /// The action of an effect; `None` where a dialect has no words for an event.
    pub fn of(effect: Effect, organization: &str) -> Option<Action> {
        Some(match effect {
            Effect::Accept { socket, client_id } => Action::Accept { socket, client_id },
            Effect::TurnAway(refusal) => Action::TurnAway(refusal),
            Effect::Deliver { to, wire, event } => Action::Send { to, frame: dialect::of(wire).encode(&event)? },
            Effect::Close { socket, code } => {
                let number = code.close().unwrap_or(POLICY_VIOLATION);
                Action::Close { socket, number, reason: code.wire() }
            }
            Effect::Attach { socket, state } => Action::Attach { socket, state },
            Effect::Write(write) => Action::Write(write),
            Effect::SetAlarm(time) => Action::SetAlarm(time),
            Effect::FetchKeys => Action::FetchKeys,
            Effect::ReadHistory { after, rows } => Action::ReadHistory { after, rows },
            Effect::Published(receipt) => Action::Published(Ok(receipt)),
            Effect::Refused(refusal) => Action::Published(Err(refusal)),
            Effect::Figures(figures) => Action::Figures(figures),
            Effect::Log(log) => Action::Log(line(&log, organization)),
        })
    }
}

/// The close code of RFC 6455, 7.4.1, for a code that was not meant to close.
const POLICY_VIOLATION: u16 = 1008;

/// A log line: one JSON object of fixed words, ids and numbers.
fn line(log: &Log, organization: &str) -> String {
    let mut line = Map::new();
    line.insert("event".to_owned(), Value::from(log.event));
    line.insert("organizationId".to_owned(), Value::from(organization));
    if let Some(connection) = &log.connection {
        line.insert("connection".to_owned(), Value::from(&**connection));
    }
    if let Some(code) = log.code {
        line.insert("code".to_owned(), Value::from(Code::wire(code)));
    }
    for (name, value) in &log.details {
        line.insert((*name).to_owned(), Value::from(value.as_str()));
    }
    Value::Object(line).to_string()
}
