//! The delivery half of a tenant: its connections, what they listen to, and what each of them sees.
//!
//! Work is done once per class of connections, and for single ones only where a rule names them; nothing walks all
//! connections (invariant 6).

mod attachment;
mod channel;
mod class;
mod connection;
mod fan_out;
mod filter_index;
mod frame;
mod identity;
mod people;
mod rules;
mod session;
mod slab;
mod subscribe;

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use super::command::{Command, Malformed};
use super::effect::{Effect, Figures, Log, Task, Write};
use super::event::Event;
use super::input::{SocketId, Stored, Wire};
use super::message::{Out, ToDelivery, ToStream};
use crate::code::{Code, Refusal};
use crate::policy::channel::Topic;
use crate::policy::configuration::Configuration;
use crate::policy::key_set::KeySet;
use class::Classes;
use connection::{Carrier, Connection};
use people::People;
use slab::Slab;

/// One tenant's connections.
pub(super) struct Delivery {
    organization: Rc<str>,
    configuration: Rc<Configuration>,
    connections: Slab,
    classes: Classes,
    people: People,
    deadlines: BTreeSet<(u64, SocketId)>,
    keys: KeySet,
    fetching_keys: bool,
    /// Bytes of the frames that wait for the key set, of all connections.
    waiting_bytes: usize,
    /// Frames that waited for the key set and may now go on, in their order.
    released: VecDeque<(SocketId, Result<Command, Malformed>)>,
    /// Connections whose stored state is not what memory has.
    unsaved: BTreeSet<SocketId>,
}

impl Delivery {
    /// The connections as their attachments tell them. One whose attachment cannot be read is told to connect again.
    pub(super) fn wake(
        now: u64,
        organization: Rc<str>,
        configuration: Rc<Configuration>,
        stored: &Stored,
        places: &BTreeSet<(Rc<str>, Option<Topic>)>,
        out: &mut Out,
    ) -> Delivery {
        let mut delivery = Delivery {
            organization,
            configuration,
            connections: Slab::default(),
            classes: Classes::default(),
            people: People::default(),
            deadlines: BTreeSet::new(),
            keys: KeySet::default(),
            fetching_keys: false,
            waiting_bytes: 0,
            released: VecDeque::new(),
            unsaved: BTreeSet::new(),
        };
        if let Some((time, keys)) = &stored.keys {
            delivery.keys.answered(*time, Some(keys));
        }
        let mut channels = Vec::new();
        for (socket, text) in &stored.sockets {
            match attachment::read(*socket, text, &stored.overflow, &delivery.configuration.limits, now) {
                Some(mut restored) => {
                    restored.connection.be_present(places);
                    delivery.insert(restored.connection);
                    channels.extend(restored.channels.into_iter().map(|channel| (*socket, channel)));
                }
                None => out.run(Task::Close { socket: *socket, code: Code::ServiceRestart }),
            }
        }
        // Channels get numbers that no socket has.
        for (socket, mut channel) in channels {
            channel.be_present(places);
            delivery.admit_again(&mut channel);
            delivery.enter(socket, channel, out);
        }
        delivery.clean(stored, places, out);
        delivery
    }

    /// Removes what is left of connections that did not survive.
    fn clean(&self, stored: &Stored, places: &BTreeSet<(Rc<str>, Option<Topic>)>, out: &mut Out) {
        let mut living: Vec<&str> = self.connections.iter().map(|connection| &*connection.client_id).collect();
        living.sort_unstable();
        let lives = |client_id: &str| living.binary_search(&client_id).is_ok();
        for (client_id, _) in places.iter().filter(|(client_id, _)| !lives(client_id)) {
            out.to_stream.push_back(ToStream::Gone { client_id: client_id.clone() });
        }
        for client_id in stored.overflow.keys().filter(|client_id| !lives(client_id)) {
            out.run(Task::Write(Write::DropOverflow { client_id: Rc::from(client_id.as_str()) }));
        }
    }

    /// Handles a message of the stream.
    pub(super) fn receive(&mut self, now: u64, message: ToDelivery, out: &mut Out) {
        match message {
            ToDelivery::Publish { accepted, origin } => self.publish(&accepted, origin, out),
            ToDelivery::Resumed { socket, position, missed, then } => self.resumed(socket, position, missed, then, out),
            ToDelivery::Roster { socket, topic, members } => {
                self.tell(socket, Event::PresenceState { topic, members }, out);
            }
            ToDelivery::Present { socket, topic, present } => self.present(socket, topic, present),
            ToDelivery::Presence { topic, event } => self.spread(topic, event, out),
            ToDelivery::Refused { socket, refusal, id } => self.refuse(now, socket, refusal, id, out),
            ToDelivery::Done { socket, id } => self.tell(socket, Event::Acknowledged { id, kept: None }, out),
        }
    }

    /// Forgets a connection that has ended, with all that it was part of.
    pub(super) fn closed(&mut self, socket: SocketId, out: &mut Out) {
        let Some(connection) = self.connections.remove(socket) else { return };
        self.unlist(&connection);
        self.unsaved.remove(&socket);
        // Its number may be another's before their turn comes.
        self.released.retain(|(of, _)| *of != socket);
        let channels = connection.carrier().map(|carrier| carrier.numbers().collect::<Vec<_>>());
        channels.into_iter().flatten().for_each(|channel| self.closed(channel, out));
        if let Some(channel) = connection.channel() {
            self.let_go(channel.carrier, &channel.address.name);
            out.run(Task::Unshare { channel: socket });
        }
        if connection.overflowed {
            out.run(Task::Write(Write::DropOverflow { client_id: connection.client_id.clone() }));
        }
        if !connection.present.is_empty() {
            out.to_stream.push_back(ToStream::Gone { client_id: connection.client_id });
        }
    }

    /// Writes what must outlive memory, before the effects of this input end (invariant 4).
    pub(super) fn save(&mut self, out: &mut Out) {
        for socket in std::mem::take(&mut self.unsaved) {
            let Some(mut connection) = self.connections.take(socket) else { continue };
            let channels = connection.carrier().map(Carrier::numbers);
            let channels = channels.into_iter().flatten().filter_map(|channel| self.connections.get(channel)).collect();
            (connection.overflowed, connection.state_bytes) = attachment::write(&connection, channels, out);
            self.connections.insert(connection);
        }
    }

    /// A number for the next connection.
    pub(super) fn vacant(&mut self) -> SocketId {
        self.connections.vacant()
    }

    /// How a connection's frames are read.
    pub(super) fn wire(&self, socket: SocketId) -> Option<Wire> {
        self.connections.get(socket).map(|connection| connection.wire)
    }

    /// When something is due next, in Unix milliseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(time, _)| *time)
    }

    /// Adds what is known here to the figures.
    pub(super) fn figures(&self, figures: &mut Figures) {
        figures.topics = self.classes.topics();
        for connection in self.connections.iter().filter(|connection| connection.channel().is_none()) {
            figures.connections += 1;
            count(&mut figures.by_wire, &connection.wire);
            match &connection.principal {
                None => figures.pending += 1,
                Some(principal) => {
                    for role in principal.roles.as_slice() {
                        count(&mut figures.by_role, role);
                    }
                }
            }
        }
    }

    /// Tells one connection something.
    fn tell(&self, socket: SocketId, event: Event, out: &mut Out) {
        if let Some(connection) = self.connections.get(socket) {
            let address = connection.channel().map(|channel| channel.address.clone());
            out.effects.push(Effect::Deliver { to: vec![socket], wire: connection.wire, address, event });
        }
    }

    /// Tells one connection that something is refused. Too many of that within a minute end it.
    fn refuse(&mut self, now: u64, socket: SocketId, refusal: Refusal, id: Option<String>, out: &mut Out) {
        let most = self.configuration.limits.errors_per_minute;
        let Some(connection) = self.connections.get_mut(socket) else { return };
        // A channel is refused things in its everyday life; only frames that make no sense at all end a socket.
        let is_channel = connection.channel().is_some();
        let too_many = !is_channel && connection.errors.add(now, most);
        if !is_channel {
            self.unsaved.insert(socket);
        }
        self.log("refused", socket, Some(refusal.code), out);
        self.tell(socket, Event::Refused { refusal, id }, out);
        if too_many {
            self.end(socket, Code::TooManyErrors, out);
        }
    }

    /// Ends a connection.
    fn end(&mut self, socket: SocketId, code: Code, out: &mut Out) {
        self.end_because(socket, Refusal::of(code), out);
    }

    /// Ends a connection; a channel's client is told in these words.
    fn end_because(&mut self, socket: SocketId, refusal: Refusal, out: &mut Out) {
        let code = refusal.code;
        self.log("closed", socket, Some(code), out);
        if self.connections.get(socket).is_some_and(|connection| connection.channel().is_some()) {
            self.tell(socket, Event::Ended(refusal), out);
        } else {
            out.run(Task::Close { socket, code });
        }
        self.closed(socket, out);
    }

    fn log(&self, event: &'static str, socket: SocketId, code: Option<Code>, out: &mut Out) {
        let connection = self.connections.get(socket).map(|connection| connection.client_id.clone());
        out.run(Task::Log(Log { event, connection, code, details: Vec::new() }));
    }

    /// Takes a connection into all lists.
    fn insert(&mut self, connection: Connection) {
        let socket = connection.socket;
        self.connections.insert(connection);
        self.list(socket);
    }

    /// Changes a connection and brings all lists up to date with it.
    fn change(&mut self, socket: SocketId, change: impl FnOnce(&mut Connection)) {
        self.relist(socket, change);
        self.unsave(socket);
    }

    /// Marks what is kept of a connection as out of date.
    fn unsave(&mut self, socket: SocketId) {
        self.unsaved.extend(self.connections.get(socket).map(Connection::keeper));
    }

    /// The same for what is not kept with the connection.
    fn relist(&mut self, socket: SocketId, change: impl FnOnce(&mut Connection)) {
        let Some(mut connection) = self.connections.take(socket) else { return };
        self.unlist(&connection);
        change(&mut connection);
        self.insert(connection);
    }

    fn list(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        connection.classes = connection.class_keys(&self.configuration);
        for key in &connection.classes {
            self.classes.join(key, socket);
        }
        if let Some(principal) = &connection.principal {
            self.people.add(socket, principal);
        }
        if let Some(deadline) = connection.deadline() {
            self.deadlines.insert((deadline, socket));
        }
    }

    fn unlist(&mut self, connection: &Connection) {
        for key in &connection.classes {
            self.classes.leave(key, connection.socket);
        }
        if let Some(principal) = &connection.principal {
            self.people.remove(connection.socket, principal);
        }
        if let Some(deadline) = connection.deadline() {
            self.deadlines.remove(&(deadline, connection.socket));
        }
    }

    fn present(&mut self, socket: SocketId, topic: Option<Topic>, present: bool) {
        self.relist(socket, |connection| {
            connection.present.retain(|place| *place != topic);
            if present {
                connection.present.push(topic);
            }
        });
    }
}

fn count<T: Clone + PartialEq>(counts: &mut Vec<(T, u64)>, what: &T) {
    match counts.iter_mut().find(|(known, _)| known == what) {
        Some((_, count)) => *count += 1,
        None => counts.push((what.clone(), 1)),
    }
}
