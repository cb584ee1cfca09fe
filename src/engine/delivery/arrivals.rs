//! Announces connections that open and close in a topic of the deployment, to everyone who may read it.

use std::rc::Rc;

use super::Delivery;
use super::class::Scope;
use super::socket::Socket;
use crate::engine::effect::Effect;
use crate::engine::event::{Address, Event};
use crate::engine::message::Out;
use crate::engine::publication::Payload;
use crate::engine::shared_text::SharedText;
use crate::policy::channel::Topic;
use crate::value::json;
use crate::value::time::iso;

/// A connection that has just opened or closed.
#[derive(Debug)]
pub(super) struct ChangedConnection {
    is_connected: bool,
    id: Rc<str>,
    user: Option<String>,
    opened: u64,
}

/// The announcement of one.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Arrival {
    /// Whether it has opened.
    pub(in crate::engine) is_connected: bool,
    /// Its payload, as JSON.
    pub(in crate::engine) payload: Rc<str>,
}

fn word(is_connected: bool) -> &'static str {
    if is_connected { "connected" } else { "disconnected" }
}

impl ChangedConnection {
    /// A connection that has authenticated.
    pub(super) fn connected(socket: &Socket) -> Option<ChangedConnection> {
        ChangedConnection::of(true, socket)
    }

    /// A connection that is about to be removed.
    pub(super) fn disconnected(socket: &Socket) -> Option<ChangedConnection> {
        ChangedConnection::of(false, socket)
    }

    /// Connections that never authenticated are not announced.
    fn of(is_connected: bool, socket: &Socket) -> Option<ChangedConnection> {
        let principal = socket.principal()?;
        let (id, user, opened) = (socket.client_id.clone(), principal.user.clone(), socket.opened);
        Some(ChangedConnection { is_connected, id, user, opened })
    }

    fn arrival(&self, now: u64) -> Arrival {
        let mut out = String::from("{\"type\":\"");
        out.push_str(word(self.is_connected));
        out.push_str("\",\"id\":");
        json::write_string(&mut out, &self.id);
        out.push_str(",\"user_id\":");
        match &self.user {
            Some(user) => json::write_string(&mut out, user),
            None => out.push_str("null"),
        }
        let times =
            [",\"email\":null,\"remote_addr\":null,\"connected_at\":\"", &iso(self.opened), "\",\"timestamp\":\""];
        out.extend(times);
        out.extend([&*iso(now), "\"}"]);
        Arrival { is_connected: self.is_connected, payload: Rc::from(out) }
    }
}

impl Delivery {
    /// The topic in which connections are announced; `None`: they are not.
    pub(in crate::engine) fn connections_topic(&self) -> Option<Topic> {
        self.configuration.connections_topic.clone()
    }

    /// Records a connection, if the deployment announces them.
    pub(super) fn note_arrival(&mut self, noted: Option<ChangedConnection>) {
        if self.configuration.connections_topic.is_some() {
            self.noted.extend(noted);
        }
    }

    /// Announces the noted connections to listeners here, unless the object with the stream does, and queues them for
    /// the tenant's other objects.
    pub(super) fn tell_arrivals(&mut self, now: u64, out: &mut Out) {
        for noted in std::mem::take(&mut self.noted) {
            let arrival = noted.arrival(now);
            if self.registry.away.is_none() {
                self.tell_arrival(&arrival, out);
            }
            self.arrivals.push(arrival);
        }
    }

    /// The announcements for the tenant's other objects.
    pub(in crate::engine) fn take_arrivals(&mut self) -> Vec<Arrival> {
        std::mem::take(&mut self.arrivals)
    }

    /// Announces a connection to listeners here.
    pub(in crate::engine) fn tell_arrival(&self, arrival: &Arrival, out: &mut Out) {
        let Some(topic) = self.connections_topic() else { return };
        let scope = Scope::Topic(topic.clone());
        let event = Event::Message {
            event: Rc::from(word(arrival.is_connected)),
            payload: Payload::Json(arrival.payload.clone()),
            whole: None,
            topic: Some(topic),
            offset: None,
            retained: None,
            is_own: false,
            shared: SharedText::default(),
        };
        for (class, members) in self.registry.classes.of(&scope) {
            if !(self.profiles)(class.dialect).is_some_and(|profile| profile.receives_messages) {
                continue;
            }
            let to = members.iter().map(|session| session.socket).collect();
            let address = class.channel.clone().map(|name| Address { name, reference: None });
            let dialect = class.dialect;
            out.effects.push(Effect::Deliver { to, dialect, address, event: event.clone(), may_wait: false });
        }
    }
}
