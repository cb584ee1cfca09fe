//! What the root tells its relays besides publications: presences of their sockets, table settings, connections,
//! answers.

use std::rc::Rc;

use super::codec;
use super::form::{ArrivalForm, Down, text};
use super::hub::{Hub, tables_text};
use super::link::Link;
use super::relay_of;
use crate::engine::message::ToDelivery;
use crate::policy::channel::Topic;

/// How a message is added to a link; `false` if too much waits.
type PushInto = fn(&mut Link, Rc<str>) -> bool;

impl Hub {
    /// Sends all relays the table settings.
    pub(in crate::engine) fn tell_tables(&mut self, settings: String) {
        let tables = tables_text(settings);
        if self.tables.replace(tables.clone()).as_ref() == Some(&tables) {
            return;
        }
        self.tell_all(|_| true, Link::push_retained, &tables);
    }

    /// Sends a new relay the table settings.
    pub(in crate::engine) fn tell_tables_to(&mut self, relay: u32) {
        if let (Some(tables), Some(link)) = (self.tables.clone(), self.links.get_mut(&relay))
            && !link.push_retained(tables)
        {
            self.repeat_tables(relay);
        }
    }

    /// Announces a connection to the relays that may have a listener.
    pub(in crate::engine) fn tell_arrival(&mut self, topic: Option<&Topic>, form: &ArrivalForm) {
        let Some(topic) = topic else { return };
        let told: Rc<str> = Rc::from(text(&Down::Arrived(form.clone())));
        self.tell_all(|link| link.wants_everything() || link.interest.wants_topic(topic), Link::push, &told);
    }

    fn tell_all(&mut self, is_meant: impl Fn(&Link) -> bool, push: PushInto, told: &Rc<str>) {
        let links = self.links.iter_mut().filter(|(_, link)| is_meant(link));
        let behind: Vec<u32> =
            links.filter_map(|(number, link)| (!push(link, told.clone())).then_some(*number)).collect();
        behind.into_iter().for_each(|relay| self.repeat_tables(relay));
    }

    /// Tells a relay where its sockets are present.
    pub(in crate::engine) fn tell_places<'a>(
        &mut self,
        relay: u32,
        places: impl Iterator<Item = &'a (Rc<str>, Option<Topic>)>,
    ) {
        let of_relay = places.filter(|(client, _)| relay_of(client) == Some(relay));
        let places = of_relay.map(|(client, topic)| (client.to_string(), codec::place_form(topic))).collect();
        self.reply(relay, &Down::Places { places });
    }

    /// Sends the stream's answer to one relay.
    pub(in crate::engine) fn answer_message(&mut self, relay: u32, message: &ToDelivery) {
        if let Some(form) = codec::reply_form(message) {
            self.reply(relay, &form);
        }
    }

    /// Sends one relay a message for its current life only.
    pub(super) fn reply(&mut self, relay: u32, form: &Down) {
        let text = Rc::from(text(form));
        // A member receives presence events of the topic, including its own, before its relay has reported that
        // interest.
        let is_grant = matches!(form, Down::Present { present: true, .. } | Down::Places { .. });
        let push = match form {
            _ if is_grant => Link::push_grant,
            Down::Gathered { .. } => Link::push_gathered,
            _ => Link::push_reply,
        };
        if self.links.get_mut(&relay).is_some_and(|link| !push(link, text)) {
            self.repeat_tables(relay);
        }
    }

    /// Sends one relay a message for any of its lives.
    pub(super) fn announce(&mut self, relay: u32, form: &Down) {
        if self.links.get_mut(&relay).is_some_and(|link| !link.push(Rc::from(text(form)))) {
            self.repeat_tables(relay);
        }
    }
}
