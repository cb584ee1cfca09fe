//! Wire formats: one file each, a frame to a command and an event to a frame, no decisions. To add one, see
//! `docs/adding-a-dialect.md`.

pub mod butterbase;
pub mod event_stream;
pub mod fluxbase;
pub mod native;
pub mod phoenix;

use crate::code::{Code, Refusal};
use crate::engine::command::{Command, Malformed};
use crate::engine::event::{Address, Event};
use crate::engine::input::DialectId;
use crate::engine::profile::Profile;
use phoenix::frame::Version;

/// A wire format.
pub trait Dialect {
    /// Reads a frame of a client.
    ///
    /// # Errors
    /// When the frame is not of the documented form; it says why, and for which frame.
    fn decode(&self, frame: Received<'_>) -> Result<Command, Malformed>;

    /// Writes an event: as one frame, several, or none where the format has no words for it. `address` is the channel
    /// that it is told in, for connections that carry channels.
    fn encode(&self, address: Option<&Address>, event: &Event) -> Vec<Frame>;

    /// The close code (RFC 6455, 7.4) and reason of a socket that ends with this code.
    fn closing(&self, code: Code) -> (u16, &'static str) {
        code.closing()
    }

    /// What is still read of a frame that is too large: the channel it is about, where its client waits for an answer.
    fn decode_address(&self, _frame: Received<'_>, _refusal: &Refusal) -> Option<Command> {
        None
    }
}

/// A frame as it came in.
#[derive(Clone, Copy, Debug)]
pub enum Received<'a> {
    /// A text frame.
    Text(&'a str),
    /// A binary frame.
    Binary(&'a [u8]),
}

impl Received<'_> {
    /// Bytes of the frame.
    pub fn len(&self) -> usize {
        match self {
            Received::Text(text) => text.len(),
            Received::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether the frame holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A frame as it goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A text frame.
    Text(String),
    /// A binary frame.
    Binary(Vec<u8>),
}

impl Frame {
    /// Bytes of the frame.
    pub fn len(&self) -> usize {
        match self {
            Frame::Text(text) => text.len(),
            Frame::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether the frame holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The dialect with this id; `None` for an unknown one, which nobody speaks.
pub fn of(id: DialectId) -> Option<&'static dyn Dialect> {
    Some(match id {
        native::ID => &native::Native,
        phoenix::V1 => &phoenix::Phoenix(Version::One),
        phoenix::V2 => &phoenix::Phoenix(Version::Two),
        butterbase::ID => &butterbase::Butterbase,
        event_stream::ID => &event_stream::EventStream,
        fluxbase::ID => &fluxbase::Fluxbase,
        _ => return None,
    })
}

/// What the runtime answers without waking the object, and with what. It knows one pair for all sockets of an object.
pub fn auto_response() -> Option<(&'static str, &'static str)> {
    [native::PROFILE, phoenix::PROFILE, butterbase::PROFILE, fluxbase::PROFILE]
        .iter()
        .find_map(|profile| profile.auto_response)
}

/// The profile of a dialect; `None` for an unknown one.
pub fn profile(id: DialectId) -> Option<&'static Profile> {
    Some(match id {
        native::ID => &native::PROFILE,
        phoenix::V1 | phoenix::V2 => &phoenix::PROFILE,
        butterbase::ID => &butterbase::PROFILE,
        event_stream::ID => &event_stream::PROFILE,
        fluxbase::ID => &fluxbase::PROFILE,
        _ => return None,
    })
}
