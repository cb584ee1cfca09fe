//! Relays in the rig: objects beside the tenant's own, each with a storage, an alarm and sockets, and the requests between
//! all of them. Within a step every request is answered, unless the script holds it back.

use std::collections::{BTreeMap, VecDeque};

use realtime_worker::code::Refusal;
use realtime_worker::dialect::Received;
use realtime_worker::engine::command::Recover;
use realtime_worker::engine::effect::{Admitted, Effect, Task};
use realtime_worker::engine::input::{DialectId, Input, Open, SocketId, UsedTicket};
use realtime_worker::engine::relay::{Peer, client_prefix};
use realtime_worker::engine::tenant::Environment;
use realtime_worker::policy::principal::Principal;
use realtime_worker::policy::relays::Relays;
use realtime_worker::server::log::log_line;
use realtime_worker::server::outgoing::{Outgoing, closing};
use realtime_worker::server::tenant_server::TenantServer;
use serde_json::Value;

use super::client::binary;
use super::runtime::{Outcome, v8_bytes};
use super::storage::Storage;
use super::{Client, Interruption, ORGANIZATION, Rig, every_way};

/// Runs a script in every way with this many relays: what clients see is the same, whichever objects they are connected to.
#[track_caller]
pub fn every_way_with_relays(realtime: Value, relays: u32, script: impl Fn(&mut Rig)) {
    for interruption in [Interruption::None, Interruption::Hibernate, Interruption::Crash] {
        let mut rig = Rig::with_relays(&realtime, relays);
        rig.interruption = interruption;
        script(&mut rig);
    }
}

/// The same without relays, with one and with three: for scripts that do not count what one object has handed out.
#[track_caller]
pub fn everywhere(realtime: Value, script: impl Fn(&mut Rig)) {
    every_way(realtime.clone(), &script);
    [1, 3].into_iter().for_each(|relays| every_way_with_relays(realtime.clone(), relays, &script));
}

/// Requests that one step may bring; more would be a loop.
const MAX_REQUESTS: usize = 100_000;

/// One relay.
pub struct Relay {
    pub number: u32,
    server: Option<TenantServer>,
    pub storage: Storage,
    pub alarm: Option<u64>,
    timers: std::collections::BTreeSet<u64>,
    pub sockets: BTreeMap<SocketId, Client>,
    attachments: BTreeMap<String, String>,
    lives: usize,
    pub storage_deletions: usize,
}

/// A request between two objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    pub from: Peer,
    pub to: Peer,
    pub body: String,
}

/// What is between the objects.
#[derive(Default)]
pub struct Mail {
    pub letters: VecDeque<Letter>,
    /// While set, requests wait.
    pub is_held: bool,
    /// How many requests there were, by who sent them.
    pub sent: BTreeMap<Peer, usize>,
}

impl Relay {
    fn new(number: u32) -> Relay {
        Relay {
            number,
            server: None,
            storage: Storage::default(),
            alarm: None,
            timers: Default::default(),
            sockets: BTreeMap::new(),
            attachments: BTreeMap::new(),
            lives: 0,
            storage_deletions: 0,
        }
    }
}

impl Rig {
    /// A tenant with so many relays, over which new sockets are spread in turn, beginning with its own object.
    pub fn with_relays(realtime: &Value, relays: u32) -> Rig {
        let mut rig = Rig::filling(realtime, Relays { sockets: 1, max: relays });
        rig.relays = (1..=relays).map(Relay::new).collect();
        rig.wake_relays();
        rig
    }

    /// A tenant whose objects are filled as this says; nothing opens a socket at a relay by itself.
    pub fn filling(realtime: &Value, relays: Relays) -> Rig {
        let mut configuration = super::configuration(realtime, &[("JWKS_URL", "https://issuer.example/keys")]);
        configuration.relays = Some(relays);
        Rig::with(configuration)
    }

    /// Another number of relays is deployed, or none, and the sockets have survived that.
    pub fn switch_relays(&mut self, realtime: &Value, relays: Option<Relays>) {
        let mut configuration = super::configuration(realtime, &[]);
        configuration.relays = relays;
        self.configuration = std::rc::Rc::new(configuration);
        self.wake();
        self.wake_relays();
    }

    /// The relay that a client is connected to.
    pub fn relay_of(&self, client: &Client) -> Option<usize> {
        self.relays.iter().position(|relay| client.id.starts_with(&client_prefix(relay.number)))
    }

    pub(super) fn wake_relays(&mut self) {
        (0..self.relays.len()).for_each(|relay| self.wake_relay(relay));
    }

    /// A relay's memory is lost; its sockets, attachments and storage stay.
    pub fn wake_relay(&mut self, index: usize) {
        let (now, configuration) = (self.now, self.configuration.clone());
        let relay = &mut self.relays[index];
        let survivors = std::mem::take(&mut relay.sockets).into_values().collect::<Vec<_>>();
        relay.sockets = (0_u32..).map(SocketId).zip(survivors.into_iter().rev()).collect();
        relay.lives += 1;
        let open = relay.sockets.values().map(|client| client.id.as_str()).collect();
        let mut stored = relay.storage.load(&open);
        let attachment = |client: &Client| relay.attachments.get(&client.id).cloned().unwrap_or_default();
        stored.sockets = relay.sockets.iter().map(|(socket, client)| (*socket, attachment(client))).collect();
        stored.keys = self.known_keys.clone();
        let epoch = format!("life{}.{}", relay.number, relay.lives);
        let environment = Environment { now, organization: ORGANIZATION.to_owned(), configuration, epoch };
        let (server, effects) = TenantServer::wake_relay(environment, relay.number, stored);
        relay.server = Some(server);
        relay.timers.clear();
        self.settle_relay(index, effects, &mut Outcome::default());
        self.post();
    }

    /// Takes away what a relay has noted beside its sockets of itself: an earlier build has left none.
    pub fn strip_relay_notes(&mut self, index: usize) {
        for attachment in self.relays[index].attachments.values_mut() {
            let mut state: Value = serde_json::from_str(attachment).expect("an attachment is JSON");
            state.as_object_mut().expect("an object").remove("heard");
            *attachment = state.to_string();
        }
    }

    /// Every socket of a relay is gone without a word, and its memory is lost.
    pub fn reset_relay(&mut self, index: usize) {
        for client in std::mem::take(&mut self.relays[index].sockets).into_values() {
            client.end(1006, "");
        }
        self.relays[index].attachments.clear();
        self.wake_relay(index);
    }

    /// Opens a socket at a relay, as the relay's shell does: its object asks the tenant's own about the ticket first.
    pub(super) fn open_at_relay(
        &mut self,
        index: usize,
        dialect: DialectId,
        (principal, ticket): (Option<Principal>, Option<(&str, u64)>),
        recover: Recover,
    ) -> Result<Client, Refusal> {
        let number = self.relays[index].number;
        let client = Client::new(format!("{}c{}", client_prefix(number), self.clients.len() + 1));
        let mut ticket =
            ticket.map(|(id, expires)| UsedTicket { id: id.to_owned(), expires, spent: self.storage.is_spent(id) });
        let mut admitted = Admitted::default();
        if principal.is_some() || ticket.is_some() {
            let user = principal.as_ref().and_then(|principal| principal.user.clone());
            let mut outcome = Outcome::default();
            self.run(Input::Admit { ticket: ticket.clone(), user, relay: number }, &mut outcome);
            admitted = outcome.admitted.expect("a relay is answered");
            ticket = ticket.filter(|_| admitted.is_spent);
        }
        let socket = self.relays[index].server.as_mut().expect("awake").vacant();
        let client_id = client.id.clone();
        let open = Open { socket, client_id, dialect, principal, ticket, recover, batches: false, address: None };
        let mut outcome = Outcome { opening: Some(client.clone()), ..Outcome::default() };
        self.run_relay(index, Input::OpenAtRelay { open, census: admitted.census }, &mut outcome);
        self.opened(client, outcome)
    }

    pub(super) fn socket_at_relay(&self, index: usize, client: &Client) -> Option<SocketId> {
        self.relays[index].sockets.iter().find(|(_, known)| known.id == client.id).map(|(socket, _)| *socket)
    }

    pub(super) fn receive_at_relay(&mut self, index: usize, client: &Client, frame: Received<'_>) {
        if let Some(socket) = self.socket_at_relay(index, client) {
            let input = self.relays[index].server.as_ref().expect("awake").frame(socket, frame);
            self.run_relay(index, input, &mut Outcome::default());
        }
    }

    pub(super) fn disconnect_at_relay(&mut self, index: usize, client: &Client) {
        let Some(socket) = self.socket_at_relay(index, client) else { return };
        client.end(1000, "");
        self.relays[index].attachments.remove(&client.id);
        self.run_relay(index, Input::Closed { socket }, &mut Outcome::default());
        self.relays[index].sockets.remove(&socket);
    }

    pub fn run_relay(&mut self, index: usize, input: Input, outcome: &mut Outcome) {
        let effects = self.relays[index].server.as_mut().expect("awake").handle(self.now, input);
        self.settle_relay(index, effects, outcome);
        self.post();
        self.tick_relays();
    }

    fn tick_relays(&mut self) {
        let timer = |relay: &mut Relay| relay.timers.pop_first();
        while let Some((index, time)) = (0..self.relays.len())
            .filter(|_| !self.hold_timer)
            .find_map(|index| Some((index, timer(&mut self.relays[index])?)))
        {
            let effects = self.relays[index].server.as_mut().expect("awake").handle(time, Input::Tick);
            self.settle_relay(index, effects, &mut Outcome::default());
            self.post();
        }
    }

    /// The relay whose alarm comes next.
    pub(super) fn next_alarm(&self) -> Option<(u64, usize)> {
        (0..self.relays.len()).filter_map(|index| Some((self.relays[index].alarm?, index))).min()
    }

    pub(super) fn ring_relay(&mut self, index: usize) {
        self.relays[index].alarm = None;
        self.run_relay(index, Input::Alarm, &mut Outcome::default());
    }

    /// Hands over the requests between the objects until there are none, unless they are held.
    pub fn post(&mut self) {
        let mut count = 0;
        while let Some(letter) = (!self.mail.is_held).then(|| self.mail.letters.pop_front()).flatten() {
            count += 1;
            assert!(count < MAX_REQUESTS, "the objects write to each other for ever");
            let answer = self.deliver_letter(&letter);
            self.answer_letter(&letter, answer);
        }
        self.tick_relays();
    }

    /// The oldest request arrives, and its answer does.
    pub fn post_one(&mut self) {
        let letter = self.mail.letters.pop_front().expect("a request is on its way");
        let answer = self.deliver_letter(&letter);
        self.answer_letter(&letter, answer);
    }

    /// A request arrives; the answer to it.
    pub fn deliver_letter(&mut self, letter: &Letter) -> Option<String> {
        let mut outcome = Outcome::default();
        self.run_at(letter.to, Input::PeerAsked { body: letter.body.clone() }, &mut outcome);
        outcome.peer_answer.expect("another object is answered")
    }

    /// The answer to a request arrives, or that there is none.
    pub fn answer_letter(&mut self, letter: &Letter, answer: Option<String>) {
        self.run_at(letter.from, Input::PeerAnswered { peer: letter.to, answer }, &mut Outcome::default());
    }

    /// Requests arrive again, those first that have waited.
    pub fn release_mail(&mut self) {
        self.mail.is_held = false;
        self.post();
    }

    /// What the organization's object has sent arrives, and nothing else.
    pub fn post_down(&mut self) {
        self.post_where(|letter| letter.from == Peer::Root);
    }

    /// The requests of this kind arrive, and their answers.
    pub fn post_where(&mut self, is_meant: impl Fn(&Letter) -> bool) {
        while let Some(letter) =
            self.mail.letters.iter().position(&is_meant).and_then(|at| self.mail.letters.remove(at))
        {
            let answer = self.deliver_letter(&letter);
            self.answer_letter(&letter, answer);
        }
    }

    /// The organization's object loses its memory, and what it had sent is lost; then something wakes it.
    pub fn lose_root(&mut self) {
        self.mail.letters.retain(|letter| letter.from != Peer::Root);
        self.wake();
        self.run(Input::Alarm, &mut Outcome::default());
    }

    fn run_at(&mut self, peer: Peer, input: Input, outcome: &mut Outcome) {
        match peer {
            Peer::Root => {
                let effects = self.server.as_mut().expect("awake").handle(self.now, input);
                self.settle(effects, outcome);
                self.run_timer();
            }
            Peer::Relay(number) => {
                let index = self.relays.iter().position(|relay| relay.number == number).expect("a relay");
                let effects = self.relays[index].server.as_mut().expect("awake").handle(self.now, input);
                self.settle_relay(index, effects, outcome);
            }
        }
    }

    pub(super) fn send_letter(&mut self, from: Peer, to: Peer, body: String) {
        *self.mail.sent.entry(from).or_default() += 1;
        self.mail.letters.push_back(Letter { from, to, body });
    }

    fn settle_relay(&mut self, index: usize, effects: Vec<Effect>, outcome: &mut Outcome) {
        for effect in effects {
            match effect {
                Effect::Deliver { to, dialect, address, event, .. } => {
                    for Outgoing { to, frame } in Outgoing::of(to, dialect, address.as_ref(), &event) {
                        let text = match frame {
                            realtime_worker::dialect::Frame::Text(text) => text,
                            realtime_worker::dialect::Frame::Binary(bytes) => binary(&bytes),
                        };
                        assert!(!to.is_empty(), "a frame to nobody");
                        to.iter().for_each(|socket| self.relays[index].sockets[socket].receive(text.clone()));
                    }
                }
                Effect::Do(task) => self.execute_at_relay(index, task, outcome),
            }
        }
        if std::mem::take(&mut outcome.fetch_keys) {
            self.key_fetches += 1;
            self.note_keys();
            let answer = self.key_set.clone().map(|text| (self.now, text));
            self.run_relay(index, Input::KeysFetched(answer), &mut Outcome::default());
        }
    }

    fn execute_at_relay(&mut self, index: usize, task: Task, outcome: &mut Outcome) {
        let relay = &mut self.relays[index];
        match task {
            Task::Accept { socket, client_id } => {
                let client = outcome.opening.take().expect("someone wants to open");
                assert_eq!(&*client_id, client.id);
                assert!(relay.sockets.insert(socket, client).is_none(), "a number in use");
            }
            Task::Reject(refusal) => outcome.rejected = Some(refusal),
            Task::Close { socket, dialect, code } => {
                let (number, reason) = closing(dialect, code);
                let client = relay.sockets.remove(&socket).expect("a closed socket was open");
                client.end(number, reason);
                relay.attachments.remove(&client.id);
            }
            Task::Attach { socket, state } => {
                assert!(v8_bytes(&state) < 16_384, "an attachment of {} bytes", v8_bytes(&state));
                let client = relay.sockets[&socket].id.clone();
                relay.attachments.insert(client, state);
            }
            Task::Write(write) => relay.storage.write(&write),
            Task::DeleteStorage => {
                relay.storage_deletions += 1;
                (relay.storage, relay.alarm) = Default::default();
            }
            Task::SetAlarm(time) => relay.alarm = Some(time),
            Task::SetTimer(time) => drop(relay.timers.insert(time)),
            Task::FetchKeys => outcome.fetch_keys = true,
            Task::AskPeer { peer, body } => {
                let from = Peer::Relay(relay.number);
                self.send_letter(from, peer, body);
            }
            Task::PeerAnswer(answer) => outcome.peer_answer = Some(answer),
            Task::Published(published) => outcome.published = Some(published),
            Task::Figures(figures) => outcome.figures = Some(figures),
            Task::Administered(answer) => outcome.administered = Some(answer),
            Task::Call(calling) => self.calls.push(*calling),
            Task::Log(log) => self.logs.push(log_line(&log, ORGANIZATION)),
            other => panic!("a relay has no stream: {other:?}"),
        }
    }
}
