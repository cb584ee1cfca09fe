//! Events sent to sockets and sessions, and the log entries about them.

use super::Delivery;
use super::registry::Registry;
use crate::code::{Code, Refusal};
use crate::engine::command::Malformed;
use crate::engine::effect::{Effect, Log, Task};
use crate::engine::event::{Address, Event};
use crate::engine::input::SocketId;
use crate::engine::message::{Out, SessionId};
use crate::engine::profile::Refusals;
use crate::policy::channel::Topic;

impl Registry {
    /// Sends an event to a session.
    pub(super) fn tell(&self, id: SessionId, event: Event, out: &mut Out) {
        let Some(socket) = self.socket(id.socket) else { return };
        if let Some(session) = socket.session(id.number) {
            let address = session.address().cloned();
            let may_wait = session.batches && matches!(event, Event::Change { .. } | Event::Message { .. });
            out.effects.push(Effect::Deliver {
                to: vec![id.socket],
                dialect: socket.dialect,
                address,
                event,
                may_wait,
            });
        }
    }

    /// Sends a socket an event that does not belong to an existing session.
    pub(super) fn tell_socket(&self, id: SocketId, address: Option<Address>, event: Event, out: &mut Out) {
        if let Some(socket) = self.socket(id) {
            let (to, dialect) = (vec![id], socket.dialect);
            out.effects.push(Effect::Deliver { to, dialect, address, event, may_wait: false });
        }
    }

    pub(super) fn log(&self, event: &'static str, id: SocketId, code: Option<Code>, out: &mut Out) {
        let connection = self.socket(id).map(|socket| socket.client_id.clone());
        out.run(Task::Log(Log { event, connection, code, details: Vec::new() }));
    }

    pub(super) fn log_session(&self, event: &'static str, id: SessionId, code: Option<Code>, out: &mut Out) {
        let connection = self.session(id).map(|session| session.client_id.clone());
        out.run(Task::Log(Log { event, connection, code, details: Vec::new() }));
    }
}

impl Delivery {
    /// Sends a refusal to a session.
    pub(super) fn refuse(
        &mut self,
        now: u64,
        id: SessionId,
        refusal: Refusal,
        (reference, topic): (Option<String>, Option<Topic>),
        out: &mut Out,
    ) {
        let profile = self.registry.profile(id.socket).filter(|_| self.registry.session(id).is_some());
        let Some(profile) = profile else { return };
        // Without a topic this need not be about presence.
        if let Some(session) = self.registry.session(id).filter(|_| topic.is_some()) {
            session.asked_presence.borrow_mut().remove(&topic);
        }
        let code = refusal.code;
        self.registry.log_session("refused", id, Some(code), out);
        self.registry.tell(id, Event::Refused { refusal, id: reference, topic }, out);
        if profile.refusals == Refusals::Errors {
            self.count_error(now, id.socket, out);
        }
    }

    /// Refuses a frame that is malformed or whose session does not exist.
    pub(in crate::engine) fn refuse_frame(&mut self, now: u64, id: SocketId, malformed: Malformed, out: &mut Out) {
        let Malformed { refusal, id: reference } = malformed;
        self.registry.log("refused", id, Some(refusal.code), out);
        self.registry.tell_socket(id, None, Event::Refused { refusal, id: reference, topic: None }, out);
        self.count_error(now, id, out);
    }

    /// Counts an error; too many within a minute close the socket.
    pub(super) fn count_error(&mut self, now: u64, id: SocketId, out: &mut Out) {
        let max = self.configuration.limits.errors_per_minute;
        self.registry.save_later(id);
        let Some(socket) = self.registry.socket_mut(id) else { return };
        if socket.errors.add(now, max) {
            self.close(id, Code::TooManyErrors, out);
        }
    }
}
