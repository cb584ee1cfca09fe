//! Connections that open and close, told in a topic of the deployment's to whoever may read it.

use std::rc::Rc;

use super::Delivery;
use super::class::Scope;
use super::socket::Socket;
use crate::engine::effect::Effect;
use crate::engine::event::{Address, Event};
use crate::engine::message::Out;
use crate::engine::publication::Payload;
use crate::engine::shared_text::SharedText;
use crate::value::json;
use crate::value::time::iso;

/// A connection that has just opened, or closed.
#[derive(Debug)]
pub(super) struct Arrival {
    event: &'static str,
    id: Rc<str>,
    user: Option<String>,
    opened: u64,
}

impl Arrival {
    /// A connection that has shown who it is.
    pub(super) fn connected(socket: &Socket) -> Option<Arrival> {
        Arrival::of("connected", socket)
    }

    /// A connection that is about to be forgotten.
    pub(super) fn disconnected(socket: &Socket) -> Option<Arrival> {
        Arrival::of("disconnected", socket)
    }

    /// Nobody is told of a connection that has not shown who it is.
    fn of(event: &'static str, socket: &Socket) -> Option<Arrival> {
        let principal = socket.principal()?;
        Some(Arrival { event, id: socket.client_id.clone(), user: principal.user.clone(), opened: socket.opened })
    }

    fn payload(&self, now: u64) -> String {
        let mut out = String::from("{\"type\":\"");
        out.push_str(self.event);
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
        out
    }
}

impl Delivery {
    /// Notes a connection, if the deployment has a topic for them.
    pub(super) fn note_arrival(&mut self, arrival: Option<Arrival>) {
        if self.configuration.connections_topic.is_some() {
            self.arrivals.extend(arrival);
        }
    }

    /// Tells the listeners of the topic what has been noted.
    pub(super) fn tell_arrivals(&mut self, now: u64, out: &mut Out) {
        let arrivals = std::mem::take(&mut self.arrivals);
        let Some(topic) = self.configuration.connections_topic.clone().filter(|_| !arrivals.is_empty()) else { return };
        let scope = Scope::Topic(topic.clone());
        for arrival in arrivals {
            let payload: Rc<str> = Rc::from(arrival.payload(now));
            let event = Event::Message {
                event: Rc::from(arrival.event),
                payload: Payload::Json(payload),
                whole: None,
                topic: Some(topic.clone()),
                offset: None,
                kept: None,
                is_own: false,
                shared: SharedText::default(),
            };
            for (class, members) in self.registry.classes.of(&scope) {
                if !(self.profiles)(class.dialect).is_some_and(|profile| profile.hears_messages) {
                    continue;
                }
                let to = members.iter().map(|session| session.socket).collect();
                let address = class.channel.clone().map(|name| Address { name, reference: None });
                let dialect = class.dialect;
                out.effects.push(Effect::Deliver { to, dialect, address, event: event.clone(), may_wait: false });
            }
        }
    }
}
