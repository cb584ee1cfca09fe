//! Wire formats, one module each: they decode frames to commands and encode events as frames, without decisions. To add
//! one, see `docs/adding-a-dialect.md`.

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
use crate::policy::configuration::Configuration;
use crate::policy::section::Section;
use phoenix::frame::Version;

/// The sections of `REALTIME` that dialects have.
const SECTIONS: [Section; 2] = [butterbase::configuration::SECTION, fluxbase::configuration::SECTION];

/// A wire format.
pub trait Dialect {
    /// Decodes a client's frame.
    ///
    /// # Errors
    /// When the frame is malformed, with the reason and the frame's correlation id.
    fn decode(&self, frame: Received<'_>) -> Result<Command, Malformed>;

    /// Encodes an event: as one frame, several, or none if the format cannot express it. `address` is the event's
    /// channel, for connections that carry channels.
    fn encode(&self, address: Option<&Address>, event: &Event) -> Vec<Frame>;

    /// The close code (RFC 6455, 7.4) and reason for a socket that is closed with this code.
    fn closing(&self, code: Code) -> (u16, &'static str) {
        code.closing()
    }

    /// The part of an oversized frame that is still read: its channel, if the client waits for a reply.
    fn decode_address(&self, _frame: Received<'_>, _refusal: &Refusal) -> Option<Command> {
        None
    }
}

/// An incoming frame.
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

/// An outgoing frame.
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

/// The dialect with this id; `None` if it is unknown.
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

/// Reads the configuration of a deployment, with the sections of all dialects; `variable` gives the text of a variable or
/// secret, objects as JSON.
///
/// # Errors
/// [`Code::Configuration`] with the variable's name as the field. No message contains a secret's value.
pub fn read_configuration(variable: &dyn Fn(&str) -> Option<String>) -> Result<Configuration, Refusal> {
    Configuration::read(variable, &SECTIONS)
}

/// The request and response that the runtime answers without waking the object; it supports one pair per object.
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
