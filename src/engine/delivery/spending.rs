//! The cost of what sessions do, charged to budgets.

use super::Delivery;
use super::class::Scope;
use crate::code::Refusal;
use crate::engine::budget::{Payer, frames, rows};
use crate::engine::command::{ChannelAct, Command};
use crate::engine::event::Event;
use crate::engine::input::{Publisher, SocketId};
use crate::engine::message::{Read, SessionId};
use crate::engine::publication::{Payload, Publication};
use crate::policy::channel::Topic;

/// Units for a message with an idempotency key: one row read, one written, one deleted later.
const COST_OF_KEY: u64 = 10;

impl Delivery {
    /// Charges a command to its sender.
    pub(super) fn pay(&mut self, now: u64, id: SessionId, command: &Command) -> Result<(), Refusal> {
        let units = self.cost(id, command);
        if units == 0 {
            return Ok(());
        }
        if let Some(away) = &mut self.registry.away {
            return away.pay(units);
        }
        let Some(socket) = self.registry.socket(id.socket) else { return Ok(()) };
        let user = socket.session(id.number).and_then(|session| session.principal.user.as_deref());
        self.budget.spend(now, Payer { socket: Some(&socket.client_id), user, key: None }, units)
    }

    /// Charges publications that a client sent over HTTP.
    pub(in crate::engine) fn pay_for(
        &mut self,
        now: u64,
        publisher: &Publisher,
        publications: &[Publication],
    ) -> Result<(), Refusal> {
        let cost = |publication: &Publication| {
            let topic = publication.topic.clone();
            frames(self.listeners(&topic.map_or(Scope::Organization, Scope::Topic)), publication.source.len())
        };
        let units = publications.iter().map(|publication| 1 + cost(publication)).sum();
        let Publisher { user, key, address } = publisher;
        let payer = Payer { socket: address.as_deref(), user: user.as_deref(), key: key.as_deref() };
        self.budget.spend(now, payer, units)
    }

    /// Takes units for a request that comes from a relay, where the session is.
    pub(in crate::engine) fn pay_remotely(
        &mut self,
        now: u64,
        (socket, user): (&str, Option<&str>),
        units: u64,
    ) -> Result<(), Refusal> {
        self.budget.spend(now, Payer { socket: Some(socket), user, key: None }, units)
    }

    /// Charges a client of a relay for work that is already done.
    pub(in crate::engine) fn charge_remotely(&mut self, now: u64, (socket, user): (&str, Option<&str>), units: u64) {
        self.budget.charge(now, Payer { socket: Some(socket), user, key: None }, units);
    }

    /// Units for reading what a session of a relay missed.
    pub(in crate::engine) fn cost_of_reading(read: Read) -> u64 {
        rows(read)
    }

    /// Charges for reading what a session missed, whether or not it could be replayed.
    pub(super) fn charge_replay(&mut self, now: u64, id: SessionId, read: Read) {
        // At a relay, the object with the stream has charged for its reading.
        if self.registry.away.is_none() {
            self.charge(now, id, rows(read));
        }
    }

    /// Charges the member whose change caused it for sending a roster of this size to a whole topic.
    pub(super) fn charge_gathered(&mut self, now: u64, topic: &Option<Topic>, change: &Event, bytes: usize) {
        let Some(member) = change.member() else { return };
        let units = frames(self.listeners(&Scope::Presence(topic.clone())), bytes);
        self.charge_payer(now, (&member.client_id, member.user.as_deref()), units);
    }

    /// Takes one unit for a join with its roster; a client in debt may not join.
    pub(super) fn pay_to_enter(&mut self, now: u64, id: SocketId, user: Option<&str>) -> Result<(), Refusal> {
        if let Some(away) = &mut self.registry.away {
            return away.pay(1);
        }
        let Some(socket) = self.registry.socket(id) else { return Ok(()) };
        self.budget.spend(now, Payer { socket: Some(&socket.client_id), user, key: None }, 1)
    }

    pub(super) fn charge(&mut self, now: u64, id: SessionId, units: u64) {
        let Some(socket) = self.registry.socket(id.socket) else { return };
        let user = socket.session(id.number).and_then(|session| session.principal.user.clone());
        let client_id = socket.client_id.clone();
        self.charge_payer(now, (&client_id, user.as_deref()), units);
    }

    /// A relay has no budgets, so the debt is recorded.
    fn charge_payer(&mut self, now: u64, (socket, user): (&str, Option<&str>), units: u64) {
        match &mut self.registry.away {
            Some(away) => away.charge(socket, user, units),
            None => self.budget.charge(now, Payer { socket: Some(socket), user, key: None }, units),
        }
    }

    /// The cost of a command in units: at least one, even if its answer is charged separately.
    fn cost(&self, id: SessionId, command: &Command) -> u64 {
        match command {
            Command::Publish { topic, payload, key, .. } => {
                let remembered = if key.is_some() { COST_OF_KEY } else { 0 };
                remembered + self.cost_of_message(topic.clone(), payload)
            }
            Command::Track { topic, metadata, .. } | Command::Update { topic, metadata } => {
                self.cost_of_presence(id, topic.clone(), metadata)
            }
            Command::Subscribe(_) => 1,
            Command::Channel(frame) => {
                let session = self.registry.session(id);
                let topic = session.and_then(|session| session.channel.as_ref()).map(|channel| channel.topic.clone());
                match (&frame.act, topic) {
                    (ChannelAct::Publish { payload, .. }, Some(topic)) => self.cost_of_message(topic, payload),
                    (ChannelAct::Track { metadata }, topic) => self.cost_of_presence(id, topic, metadata),
                    _ => 0,
                }
            }
            _ => 0,
        }
    }

    fn cost_of_message(&self, topic: Topic, payload: &Payload) -> u64 {
        1 + frames(self.listeners(&Scope::Topic(topic)), payload.bytes())
    }

    /// A difference that is merged with a pending one of the same member causes no extra frames.
    fn cost_of_presence(&self, id: SessionId, topic: Option<Topic>, metadata: &str) -> u64 {
        let Some(session) = self.registry.session(id) else { return 0 };
        if self.presence_windows.waiting(&topic, &session.client_id).is_some() {
            return 1;
        }
        1 + frames(self.listeners(&Scope::Presence(topic)), metadata.len())
    }

    fn listeners(&self, scope: &Scope) -> u64 {
        self.registry.classes.of(scope).map(|(_, members)| members.len() as u64).sum()
    }
}
