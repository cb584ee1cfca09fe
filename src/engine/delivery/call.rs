//! Function calls: a client's event is forwarded to the service that answers it, and the answer returns to that client.

use std::rc::Rc;

use super::Delivery;
use crate::code::{Code, Refusal};
use crate::engine::command::Call;
use crate::engine::effect::{Calling, Task};
use crate::engine::event::{Called, Event};
use crate::engine::input::CallAnswer;
use crate::engine::message::{Out, SessionId};
use crate::value::json;

/// Calls of one socket that may be pending at once.
pub const MAX_CALLS: u64 = 16;
/// Calls of one organization that may be pending at once.
pub const MAX_ALL_CALLS: u64 = 256;
/// How long a function may take, in milliseconds: clients wait for 30 seconds.
pub const MAX_CALL_TIME: u64 = 25_000;

impl Delivery {
    /// Forwards an event to its function, or refuses it.
    pub(super) fn call(&mut self, now: u64, id: SessionId, call: Call, out: &mut Out) {
        let (event, name) = (call.event.clone(), call.id.clone());
        if let Err(refusal) = self.try_to_call(now, id, call, out) {
            let refusal = match refusal.code {
                Code::NoHandler => Refusal::because(Code::NoHandler, ["No handler for event: ", &event].concat()),
                _ => refusal,
            };
            self.refuse(now, id, refusal, (name, None), out);
        }
    }

    fn try_to_call(&mut self, now: u64, id: SessionId, call: Call, out: &mut Out) -> Result<(), Refusal> {
        let app = self.configuration.app(&self.organization);
        let (service, path) = app.and_then(|app| app.functions.of(&call.event)).ok_or(Code::NoHandler)?;
        let session = self.registry.session(id).ok_or(Code::Internal)?;
        let waiting = self.registry.socket(id.socket).map_or(0, |socket| socket.calls);
        if waiting >= MAX_CALLS || self.calls >= MAX_ALL_CALLS {
            return Err(Refusal::of(Code::CallLimit));
        }
        let principal = &session.principal;
        out.run(Task::Call(Box::new(Calling {
            socket: id.socket,
            client_id: session.client_id.clone(),
            service: service.clone(),
            path: path.to_owned(),
            body: body(&call),
            user: principal.user.clone(),
            role: principal.roles.first().map(str::to_owned),
            call,
            deadline: now.saturating_add(MAX_CALL_TIME),
        })));
        self.calls += 1;
        self.registry.socket_mut(id.socket).into_iter().for_each(|socket| socket.calls += 1);
        Ok(())
    }

    /// Sends a function's answer to its client. The socket may have closed by now, and its number may be reused.
    pub(in crate::engine) fn called(&mut self, answer: CallAnswer, out: &mut Out) {
        let CallAnswer { socket, client_id, call, answer } = answer;
        self.calls = self.calls.saturating_sub(1);
        let Some(known) = self.registry.socket_mut(socket).filter(|known| known.client_id == client_id) else { return };
        known.calls = known.calls.saturating_sub(1);
        let Some(id) = known.sessions.first().map(|session| session.id) else { return };
        match answer {
            Some((status, body)) => {
                let called = Called { event: call.event, id: call.id, status, body: Rc::from(body) };
                self.registry.tell(id, Event::Called(called), out);
            }
            None => {
                let failed = Refusal::because(Code::CallFailed, "Event handler execution failed");
                // A failing function is not the client's error.
                self.registry.log_session("refused", id, Some(Code::CallFailed), out);
                self.registry.tell(id, Event::Refused { refusal: failed, id: call.id, topic: None }, out);
            }
        }
    }
}

/// `{"event","payload"}`
fn body(call: &Call) -> String {
    let mut body = String::from("{\"event\":");
    json::write_string(&mut body, &call.event);
    body.push_str(",\"payload\":");
    body.push_str(&call.payload);
    body.push('}');
    body
}
