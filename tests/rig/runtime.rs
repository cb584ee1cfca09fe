//! The object's runtime: it wakes the server from the storage, passes it inputs, and executes its effects, as the shell
//! does in production.

use std::collections::VecDeque;
use std::rc::Rc;

use realtime_worker::code::Refusal;
use realtime_worker::dialect::{Frame, Received};
use realtime_worker::engine::effect::{Administered, Admitted, Effect, Receipt, Task};
use realtime_worker::engine::figures::Figures;
use realtime_worker::engine::input::{HistoryRead, Input, Publisher, SocketId};
use realtime_worker::engine::publication::Publication;
use realtime_worker::engine::relay::Peer;
use realtime_worker::engine::tenant::Environment;
use realtime_worker::server::answer::Answer;
use realtime_worker::server::log::log_line;
use realtime_worker::server::outgoing::{Outgoing, closing};
use realtime_worker::server::publish::{self, PublishRequest};
use realtime_worker::server::tenant_server::TenantServer;
use serde_json::Value;

use super::{Client, Interruption, ORGANIZATION, Rig, Transcript, client, configuration};

/// workerd refuses an attachment of more than this many bytes of V8 serialization, of which a string's header takes a
/// few.
const MAX_ATTACHMENT: usize = 16_384 - 16;

/// The answer to a request.
#[derive(Default)]
pub struct Outcome {
    pub opening: Option<Client>,
    pub rejected: Option<Refusal>,
    pub published: Option<Result<Receipt, Refusal>>,
    pub figures: Option<Box<Figures>>,
    pub administered: Option<Result<Administered, Refusal>>,
    pub fetch_keys: bool,
    pub taken: Option<Result<u64, Refusal>>,
    pub peer_answer: Option<Option<String>>,
    pub admitted: Option<Admitted>,
    pub placed: Option<u32>,
}

impl Rig {
    pub fn attachment(&self, client: &Client) -> Option<&String> {
        self.attachments.get(&client.id)
    }

    /// Replaces the attachment of a client's socket, with one that an earlier or broken build might have left.
    pub fn set_attachment(&mut self, client: &Client, text: &str) {
        self.attachments.insert(client.id.clone(), text.to_owned());
    }

    pub(super) fn transcript(&self) -> Transcript {
        (self.answers.clone(), self.clients.iter().map(|client| (client.texts(), client.closed())).collect())
    }

    /// Interrupts, unless keys are being fetched or a timer is pending: an object that waits does not hibernate.
    pub(super) fn step(&mut self) {
        match self.interruption {
            _ if self.fetching || self.source.is_asked() || !self.timers.is_empty() => {}
            Interruption::None => {}
            Interruption::Hibernate => self.hibernate(),
            Interruption::Crash => self.crash(),
        }
    }

    pub(super) fn note_keys(&mut self) {
        if let Some(keys) = &self.key_set {
            self.known_keys = Some((self.now, keys.clone()));
        }
    }

    /// The object's memory is lost; the isolate, and what it has cached, lives on.
    pub fn hibernate(&mut self) {
        self.wake();
        self.wake_relays();
    }

    /// Memory is lost, and the wake is interrupted once.
    pub fn crash(&mut self) {
        self.known_keys = None;
        for _ in 0..2 {
            self.wake();
            self.wake_relays();
        }
    }

    /// The storage fails: this life ends with its memory, and the next one begins with what is stored.
    pub fn fail(&mut self) {
        let effects = self.server.as_mut().expect("awake").give_up();
        self.settle(effects, &mut Outcome::default());
        self.wake();
    }

    /// A new version is deployed: every socket is lost without a close frame, the storage stays.
    pub fn deploy(&mut self) {
        for client in std::mem::take(&mut self.sockets).into_values() {
            client.end(1006, "");
        }
        self.attachments.clear();
        self.known_keys = None;
        self.wake();
        (0..self.relays.len()).for_each(|relay| self.reset_relay(relay));
    }

    /// The same, with another configuration.
    pub fn deploy_with(&mut self, realtime: &Value) {
        self.configuration = Rc::new(configuration(realtime, &[("JWKS_URL", "https://issuer.example/keys")]));
        self.deploy();
    }

    pub fn wake(&mut self) {
        let survivors = std::mem::take(&mut self.sockets).into_values();
        // Numbers mean nothing beyond a life: here the newest socket gets the first.
        let numbers = (0_u32..).map(SocketId);
        self.sockets = numbers.zip(survivors.collect::<Vec<_>>().into_iter().rev()).collect();
        // Until the stream has begun, its epoch is arbitrary and sent to nobody. To relays it names the life, which
        // must be unique.
        if self.epochs == 0 || self.storage.epoch.is_some() || !self.relays.is_empty() {
            self.epochs += 1;
        }
        let open = self.sockets.values().map(|client| client.id.as_str()).collect();
        let mut stored = self.storage.load(&open);
        self.gone_at_wake = stored.gone.len();
        let attachment = |client: &Client| self.attachments.get(&client.id).cloned().unwrap_or_default();
        stored.sockets = self.sockets.iter().map(|(socket, client)| (*socket, attachment(client))).collect();
        stored.keys = self.known_keys.clone();
        let environment = Environment {
            now: self.now,
            organization: ORGANIZATION.to_owned(),
            configuration: self.configuration.clone(),
            epoch: format!("epoch{}", self.epochs),
        };
        let (server, effects) = TenantServer::wake(environment, stored);
        self.server = Some(server);
        self.fetching = false;
        self.timers.clear();
        self.source.forget();
        self.settle(effects, &mut Outcome::default());
        self.run_timer();
    }

    pub(super) fn socket_of(&self, client: &Client) -> Option<SocketId> {
        self.sockets.iter().find(|(_, known)| known.id == client.id).map(|(socket, _)| *socket)
    }

    /// A frame of a client whose connection has ended is dropped.
    pub(super) fn receive(&mut self, client: &Client, frame: Received<'_>) {
        if let Some(relay) = self.relay_of(client) {
            return self.receive_at_relay(relay, client, frame);
        }
        if let Some(socket) = self.socket_of(client) {
            let input = self.server.as_ref().expect("awake").frame(socket, frame);
            self.run(input, &mut Outcome::default());
        }
    }

    /// A client's publication over HTTP, as the Worker passes it on.
    pub fn publish_for_client(&mut self, publisher: &Publisher, publications: Vec<Publication>) -> Answer {
        self.step();
        let request = publish::request(ORGANIZATION, Some(publisher), &publications);
        let (publisher, publications) = PublishRequest::read_for_client(&request).unwrap();
        let mut outcome = Outcome::default();
        self.run(Input::PublishForClient { publisher, publications }, &mut outcome);
        match outcome.published.expect("a publisher is answered") {
            Ok(receipt) => Answer::from(&receipt),
            Err(refusal) => Answer::from(&refusal),
        }
    }

    fn next_timer(&self) -> Option<u64> {
        self.timers.first().copied()
    }

    pub fn run(&mut self, input: Input, outcome: &mut Outcome) {
        let effects = self.server.as_mut().expect("awake").handle(self.now, input);
        self.settle(effects, outcome);
        self.run_timer();
        self.post();
    }

    /// The rig's clock does not advance within a step, so a timer fires ahead of time.
    pub(super) fn run_timer(&mut self) {
        while let Some(time) = self.next_timer().filter(|_| !self.hold_timer) {
            self.timers.remove(&time);
            let effects = self.server.as_mut().expect("awake").handle(time, Input::Tick);
            self.settle(effects, &mut Outcome::default());
        }
    }

    /// Executes effects in order; the inputs that they cause are handled after them.
    pub(super) fn settle(&mut self, effects: Vec<Effect>, outcome: &mut Outcome) {
        let mut pending = VecDeque::from([effects]);
        while let Some(effects) = pending.pop_front() {
            let next: Vec<_> = effects.into_iter().flat_map(|effect| self.execute(effect, outcome)).collect();
            for input in next {
                pending.push_back(self.server.as_mut().expect("awake").handle(self.now, input));
            }
        }
        if std::mem::take(&mut outcome.fetch_keys) {
            self.key_fetches += 1;
            assert!(!std::mem::replace(&mut self.fetching, true), "keys are fetched twice at once");
            if !self.hold_keys {
                self.answer_keys();
            }
        }
        while let Some(input) = self.source.answer() {
            self.run(input, &mut Outcome::default());
        }
    }

    fn execute(&mut self, effect: Effect, outcome: &mut Outcome) -> Vec<Input> {
        match effect {
            Effect::Deliver { to, dialect, address, event, .. } => {
                let sends: Vec<_> = Outgoing::of(to, dialect, address.as_ref(), &event).collect();
                sends.iter().for_each(|outgoing| self.send(outgoing.clone()));
                let (server, sockets, answered) = (self.server.as_mut().expect("awake"), &self.sockets, &self.answered);
                server.sent(&sends, |socket| answered.get(&sockets.get(&socket)?.id).copied())
            }
            Effect::Do(task) => self.execute_task(task, outcome).into_iter().collect(),
        }
    }

    /// The client sends the ping that the runtime answers without the object.
    pub fn auto_respond(&mut self, client: &Client) {
        self.answered.insert(client.id.clone(), self.now);
    }

    fn send(&self, Outgoing { to, frame }: Outgoing) {
        assert!(!to.is_empty(), "a frame to nobody");
        let text = match frame {
            Frame::Text(text) => text,
            Frame::Binary(bytes) => client::binary(&bytes),
        };
        to.iter().for_each(|socket| self.client(*socket).receive(text.clone()));
    }

    fn execute_task(&mut self, task: Task, outcome: &mut Outcome) -> Option<Input> {
        match task {
            Task::Accept { socket, client_id } => {
                let client = outcome.opening.take().expect("someone wants to open");
                assert_eq!(&*client_id, client.id);
                assert!(self.sockets.insert(socket, client).is_none(), "a number in use");
            }
            Task::Reject(refusal) => outcome.rejected = Some(refusal),
            Task::Close { socket, dialect, code } => {
                let (number, reason) = closing(dialect, code);
                let client = self.sockets.remove(&socket).expect("a closed socket was open");
                client.end(number, reason);
                self.attachments.remove(&client.id);
            }
            Task::Attach { socket, state } => {
                let client = self.client(socket).id.clone();
                assert!(v8_bytes(&state) <= MAX_ATTACHMENT, "an attachment of {} bytes", v8_bytes(&state));
                self.attachments.insert(client, state);
            }
            Task::Write(write) => self.storage.write(&write),
            Task::DeleteStorage => {
                self.storage_deletions += 1;
                (self.storage, self.alarm) = Default::default();
            }
            Task::SetAlarm(time) => self.alarm = Some(time),
            Task::SetTimer(time) => drop(self.timers.insert(time)),
            Task::FetchKeys => outcome.fetch_keys = true,
            Task::ReadHistory(query) => {
                self.history_reads += 1;
                let read =
                    if self.fail_history_reads { HistoryRead::default() } else { self.storage.history_after(&query) };
                self.history_rows_read += read.rows.as_ref().map_or(0, Vec::len);
                return Some(Input::HistoryRead(read));
            }
            Task::Recall(id) => {
                let remembered = self.storage.remembered(std::iter::once(id.as_str())).remove(&id);
                return Some(Input::Recalled(remembered));
            }
            Task::ReadTopic { place, since, rows } => {
                self.history_reads += 1;
                let rows = (!self.fail_history_reads).then(|| self.storage.topic_since(&place, since, rows));
                self.history_rows_read += rows.as_ref().map_or(0, Vec::len);
                let scanned = rows.as_ref().map_or(0, |rows| rows.len() as u64);
                let read = HistoryRead { rows, scanned };
                return Some(Input::HistoryRead(read));
            }
            Task::ReadGone { client_ids } => {
                let rows = self.storage.presence_of(|socket| client_ids.iter().any(|gone| gone == socket));
                self.gone_rows_read.push(rows.len());
                return Some(Input::GoneRead(Some(rows)));
            }
            Task::AskDatabase { database, question } => self.source.ask(&database, question.into()),
            Task::Taken(taken) => outcome.taken = Some(taken),
            Task::Call(calling) => self.calls.push(*calling),
            Task::Published(published) => outcome.published = Some(published),
            Task::Figures(figures) => outcome.figures = Some(figures),
            Task::Administered(answer) => outcome.administered = Some(answer),
            Task::AskPeer { peer, body } => self.send_letter(Peer::Root, peer, body),
            Task::PeerAnswer(answer) => outcome.peer_answer = Some(answer),
            Task::Admitted(admitted) => outcome.admitted = Some(admitted),
            Task::Placed(place) => outcome.placed = Some(place),
            Task::Log(log) => self.logs.push(log_line(&log, ORGANIZATION)),
        }
        None
    }

    fn client(&self, socket: SocketId) -> &Client {
        self.sockets.get(&socket).expect("the engine names open sockets only")
    }
}

/// The bytes of a string in V8's serialization, without its header: one per character if all are Latin-1, otherwise two
/// per UTF-16 unit.
pub fn v8_bytes(text: &str) -> usize {
    let is_latin = text.chars().all(|c| u32::from(c) < 0x100);
    if is_latin { text.chars().count() } else { text.encode_utf16().count() * 2 }
}
