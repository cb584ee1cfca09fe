//! The dialect `event-stream`: native frames as server-sent events, for networks that block WebSockets
//! (docs/protocol-event-stream.md). A client sends each native frame as a separate request.

pub mod block;

use super::native::{self, Native};
use super::{Dialect, Frame, Received};
use crate::engine::command::{Command, Malformed};
use crate::engine::event::{Address, Event};
use crate::engine::input::DialectId;
use crate::engine::profile::{Profile, ReadConfirmation};
use block::EventId;

/// Its number.
pub const ID: DialectId = DialectId(5);
/// Its profile. Pings are unnecessary: comments show the client that the server is alive, and the Worker ends a stream
/// that is not read.
pub const PROFILE: Profile =
    Profile { name: "event-stream", auto_response: None, read_confirmation: ReadConfirmation::None, ..native::PROFILE };

/// The dialect.
pub struct EventStream;

impl Dialect for EventStream {
    fn decode(&self, frame: Received<'_>) -> Result<Command, Malformed> {
        Native.decode(frame)
    }

    fn encode(&self, address: Option<&Address>, event: &Event) -> Vec<Frame> {
        // Each event of a batch has an id of its own.
        if let Event::Batch(events) = event {
            return events.iter().flat_map(|event| self.encode(None, event)).collect();
        }
        let id = event_id(event);
        let texts = Native.encode(address, event).into_iter().filter_map(|frame| match frame {
            Frame::Text(text) => Some(text),
            Frame::Binary(_) => None,
        });
        texts.map(|text| Frame::Text(block::block(id, &text))).collect()
    }
}

/// The position from which a client that has seen the event resumes. While a replay follows, this is still the position
/// before it.
fn event_id(event: &Event) -> Option<EventId<'_>> {
    match event {
        Event::Authenticated(authenticated) if authenticated.recovered != Some(true) => {
            let position = authenticated.position.as_ref()?;
            Some(EventId { epoch: Some(&position.epoch), offset: position.offset })
        }
        Event::Change { offset, .. } | Event::Message { offset, .. } => {
            offset.map(|offset| EventId { epoch: None, offset })
        }
        _ => None,
    }
}
