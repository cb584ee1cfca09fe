//! The frames of a connection: the door they pass, and where each goes.

use super::Delivery;
use crate::code::{Code, Refusal};
use crate::engine::command::{Command, Malformed};
use crate::engine::event::Event;
use crate::engine::input::SocketId;
use crate::engine::message::Out;
use crate::policy::limits::WAITING_FRAMES;

impl Delivery {
    /// Takes in a frame. One that comes while the key set is fetched waits, so that frames keep their order.
    pub(in crate::engine) fn frame(
        &mut self,
        now: u64,
        socket: SocketId,
        frame: Result<Command, Malformed>,
        out: &mut Out,
    ) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        let limited = !connection.bucket_for(&frame).take(1, now);
        let full = connection.waiting.as_ref().is_some_and(|waiting| waiting.len() >= WAITING_FRAMES);
        if limited || full {
            if let Ok(Command::Channel(frame)) = frame {
                return self.slow_down(socket, *frame, limited, out);
            }
            return self.refuse(now, socket, Refusal::of(Code::RateLimited), None, out);
        }
        match &mut connection.waiting {
            Some(waiting) => waiting.push_back(frame),
            None => self.handle(now, socket, frame, out),
        }
    }

    /// Handles a frame whose turn has come.
    pub(super) fn handle(&mut self, now: u64, socket: SocketId, frame: Result<Command, Malformed>, out: &mut Out) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        // An earlier frame may have had to wait for keys a second time.
        if let Some(waiting) = &mut connection.waiting {
            waiting.push_back(frame);
            return;
        }
        let principal = connection.principal.clone();
        match (frame, principal) {
            (Ok(Command::Authenticate(frame)), _) => self.authenticate(now, socket, frame, out),
            (Ok(Command::Ping { id }), _) => self.tell(socket, Event::Pong { id }, out),
            (Err(malformed), _) => self.refuse(now, socket, malformed.refusal, malformed.id, out),
            (_, None) => self.fail(socket, Code::AuthRequired, out),
            (Ok(Command::Channel(frame)), Some(_)) => self.in_channel(now, socket, *frame, out),
            (Ok(command), Some(principal)) => self.obey(now, socket, &principal, command, out),
        }
    }
}
