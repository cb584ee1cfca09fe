//! A socket whose address names no organization is held until one of its frames does.

use std::rc::Rc;

use crate::code::{Code, Refusal};
use crate::dialect::{self, Dialect, Frame, Received};
use crate::engine::command::Command;
use crate::engine::event::Event;
use crate::engine::input::DialectId;
use crate::policy::configuration::Configuration;
use crate::policy::organization::is_organization;

/// The next step for a held socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldStep {
    /// Open it at this organization's object, and forward the frame.
    Enter(String),
    /// Send these frames, and wait for the next one.
    Answer(Vec<Frame>),
    /// Send these frames, then close with this code.
    End(Vec<Frame>, Code),
}

/// A socket that waits for its authentication frame.
pub struct HeldSocket {
    dialect: &'static dyn Dialect,
    configuration: Rc<Configuration>,
    errors: u64,
}

impl HeldSocket {
    /// A socket without frames so far; `None` if its dialect is unknown.
    pub fn new(dialect: DialectId, configuration: Rc<Configuration>) -> Option<HeldSocket> {
        Some(HeldSocket { dialect: dialect::of(dialect)?, configuration, errors: 0 })
    }

    /// Handles a frame.
    pub fn receive(&mut self, frame: Received<'_>) -> HeldStep {
        let limits = &self.configuration.limits;
        let decoded = if frame.len() as u64 > limits.frame_bytes {
            Err(Refusal::of(Code::FrameTooLarge).into())
        } else {
            self.dialect.decode(frame)
        };
        match decoded {
            Ok(Command::Authenticate(frame)) => self.enter(frame.organization),
            Ok(Command::Ping { id }) => HeldStep::Answer(self.dialect.encode(None, &Event::Pong { id })),
            Ok(_) => self.refuse(Code::AuthRequired),
            Err(malformed) => {
                let event = Event::Refused { refusal: malformed.refusal, id: malformed.id, topic: None };
                let frames = self.dialect.encode(None, &event);
                self.errors += 1;
                let is_last = self.errors >= limits.errors_per_minute;
                if is_last { HeldStep::End(frames, Code::TooManyErrors) } else { HeldStep::Answer(frames) }
            }
        }
    }

    /// Refuses the authentication: no frame arrived in time, or the object is unreachable.
    pub fn refuse(&self, code: Code) -> HeldStep {
        HeldStep::End(self.dialect.encode(None, &Event::AuthFailed(code)), code)
    }

    fn enter(&self, named: Option<String>) -> HeldStep {
        let organization = named.or_else(|| self.configuration.credentials.default_organization.clone());
        match organization.filter(|name| is_organization(name)) {
            Some(organization) => HeldStep::Enter(organization),
            None => self.refuse(Code::WrongOrganization),
        }
    }
}
