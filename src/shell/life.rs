//! One life of an organization's object: its state in memory, and how it executes the engine's effects.

use std::rc::Rc;

use js_sys::Date;
use wasm_bindgen::JsValue;

use super::fault::{log_fault, watch};
use super::runtime::{OPEN, RawSocket, RawState, log};
use super::sockets::RawSockets;
use super::storage::Storage;
use crate::code::Refusal;
use crate::engine::effect::{Administered, Admitted, Calling, Effect, Receipt, Task};
use crate::engine::figures::Figures;
use crate::engine::input::{HistoryRead, Input, SocketId};
use crate::engine::relay::Peer;
use crate::policy::configuration::Configuration;
use crate::server::changes::SourceRequest;
use crate::server::fault::Fault;
use crate::server::log::log_line;
use crate::server::outgoing::{Outgoing, closing};
use crate::server::tenant_server::TenantServer;

/// How many bytes of encoded frames are collected before they are sent. Encoded frames take memory twice, because they
/// are also JavaScript strings.
const MAX_ENCODED: usize = 2 << 20;

/// What an object has in memory.
pub struct Life {
    /// Tells it from the object's other lives in this isolate.
    pub identity: Rc<()>,
    /// The organization.
    pub organization: String,
    /// Which of its objects this is: its own, or one of its relays.
    pub place: Peer,
    /// The deployment's configuration.
    pub configuration: Rc<Configuration>,
    /// The engine with its dialects.
    pub server: TenantServer,
    /// The sockets.
    pub sockets: RawSockets,
    /// The storage.
    pub storage: Storage,
}

/// The answer to a request, collected while effects are executed.
#[derive(Default)]
pub struct Outcome {
    /// The socket to accept.
    pub opening: Option<RawSocket>,
    /// Why the socket is rejected.
    pub rejected: Option<Refusal>,
    /// The answer to a publisher.
    pub published: Option<std::result::Result<Receipt, Refusal>>,
    /// The figures.
    pub figures: Option<Box<Figures>>,
    /// The answer to a control plane.
    pub administered: Option<std::result::Result<Administered, Refusal>>,
    /// Whether to fetch the key set.
    pub fetch_keys: bool,
    /// When to call the engine back within a few milliseconds, in Unix milliseconds.
    pub timers: Vec<u64>,
    /// The answer to a batch of changes.
    pub taken: Option<std::result::Result<u64, Refusal>>,
    /// Requests for the objects of databases.
    pub questions: Vec<(Rc<str>, SourceRequest)>,
    /// The functions to call.
    pub calls: Vec<Calling>,
    /// Requests for the organization's other objects.
    pub peers: Vec<(Peer, String)>,
    /// The answer to such a request.
    pub peer_answer: Option<Option<String>>,
    /// The answer to a relay that is about to open a socket.
    pub admitted: Option<Admitted>,
    /// Where the next socket should be opened.
    pub placed: Option<u32>,
}

impl Life {
    /// Executes effects in order and returns the inputs that they produce. Consecutive frames are sent together, so the
    /// sockets are walked once.
    ///
    /// # Errors
    /// When the runtime refuses an effect.
    pub fn execute_all(
        &mut self,
        effects: Vec<Effect>,
        state: &RawState,
        outcome: &mut Outcome,
    ) -> std::result::Result<Vec<Input>, Fault> {
        let (mut sends, mut encoded) = (Vec::new(), 0);
        let mut inputs = Vec::new();
        for effect in effects {
            match effect {
                Effect::Deliver { to, dialect, address, event, .. } => {
                    for outgoing in Outgoing::of(to, dialect, address.as_ref(), &event) {
                        encoded += outgoing.frame.len();
                        sends.push(outgoing);
                    }
                    if encoded > MAX_ENCODED {
                        encoded = 0;
                        inputs.extend(self.send(&std::mem::take(&mut sends), state));
                    }
                }
                Effect::Do(task) => {
                    inputs.extend(self.send(&std::mem::take(&mut sends), state));
                    inputs.extend(self.execute(task, state, outcome)?);
                }
            }
        }
        inputs.extend(self.send(&sends, state));
        Ok(inputs)
    }

    fn send(&mut self, sends: &[Outgoing], state: &RawState) -> Vec<Input> {
        self.sockets.send(sends);
        let answered = |socket| state.answered(&self.sockets.get(socket)?).ok()?;
        self.server.sent(sends, |socket| answered(socket).map(|date: Date| date.get_time() as u64))
    }

    /// Executes one task and returns the input that it produces.
    fn execute(
        &mut self,
        task: Task,
        state: &RawState,
        outcome: &mut Outcome,
    ) -> std::result::Result<Option<Input>, Fault> {
        match task {
            Task::Accept { socket, client_id } => self.accept(socket, &client_id, state, outcome)?,
            Task::Reject(refusal) => outcome.rejected = Some(refusal),
            Task::Close { socket, dialect, code } => self.close(socket, closing(dialect, code)),
            Task::Attach { socket, state } => self.attach(socket, &state)?,
            Task::Write(write) => self.storage.write(&write)?,
            Task::DeleteStorage => watch("deleteAll", self.storage.delete_all()?),
            Task::SetAlarm(time) => watch("setAlarm", self.storage.set_alarm(time)?),
            Task::SetTimer(time) => outcome.timers.push(time),
            Task::FetchKeys => outcome.fetch_keys = true,
            Task::ReadHistory(query) => return Ok(Some(history_read(self.storage.history_after(&query)))),
            Task::Recall(id) => return self.recall(&id).map(Some),
            Task::ReadTopic { place, since, rows } => {
                return Ok(Some(history_read(self.storage.topic_since(&place, since, rows))));
            }
            Task::ReadGone { client_ids } => {
                let rows = self.storage.presence_of(&client_ids).map_err(log_fault);
                return Ok(Some(Input::GoneRead(rows.ok())));
            }
            Task::AskDatabase { database, question } => outcome.questions.push((database, question.into())),
            Task::Call(calling) => outcome.calls.push(*calling),
            Task::AskPeer { peer, body } => outcome.peers.push((peer, body)),
            Task::PeerAnswer(answer) => outcome.peer_answer = Some(answer),
            Task::Admitted(admitted) => outcome.admitted = Some(admitted),
            Task::Placed(place) => outcome.placed = Some(place),
            Task::Taken(taken) => outcome.taken = Some(taken),
            Task::Published(published) => outcome.published = Some(published),
            Task::Figures(figures) => outcome.figures = Some(figures),
            Task::Administered(answer) => outcome.administered = Some(answer),
            Task::Log(entry) => log(&log_line(&entry, &self.organization)),
        }
        Ok(None)
    }

    fn recall(&self, id: &str) -> std::result::Result<Input, Fault> {
        let mut remembered = self.storage.remembered(std::iter::once(id))?;
        Ok(Input::Recalled(remembered.remove(id)))
    }

    fn accept(
        &mut self,
        socket: SocketId,
        client_id: &str,
        state: &RawState,
        outcome: &mut Outcome,
    ) -> std::result::Result<(), Fault> {
        let opening = outcome.opening.take().ok_or_else(|| Fault::new("no socket is to be accepted"))?;
        state.accept(&opening, vec![client_id.to_owned()])?;
        self.sockets.insert(socket, &opening, client_id);
        Ok(())
    }

    fn close(&mut self, socket: SocketId, (code, reason): (u16, &str)) {
        if let Some(raw) = self.sockets.get(socket) {
            let _ = raw.close(code, reason);
        }
        self.sockets.remove(socket);
    }

    /// A socket that is closing needs no attachment: its close event follows.
    fn attach(&self, socket: SocketId, state: &str) -> std::result::Result<(), Fault> {
        let open = self.sockets.get(socket).filter(|raw| raw.ready_state() == OPEN);
        open.map_or(Ok(()), |raw| raw.attach(&JsValue::from_str(state)))?;
        Ok(())
    }
}

/// A history that cannot be read is treated like one that was trimmed: the client starts over.
fn history_read(read: std::result::Result<HistoryRead, JsValue>) -> Input {
    Input::HistoryRead(read.map_err(log_fault).unwrap_or_default())
}
