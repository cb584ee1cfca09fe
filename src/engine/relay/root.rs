//! What a tenant's own object does for its relays: it passes their messages to the stream like those of its own
//! delivery.

use std::rc::Rc;

use super::Peer;
use super::codec;
use super::form::{Ask, OriginForm, PayerForm, TopicForm, Up};
use crate::code::{Code, Refusal};
use crate::engine::census::Census;
use crate::engine::command::Position;
use crate::engine::delivery::Delivery;
use crate::engine::effect::{Admitted, Task, Write};
use crate::engine::event::Member;
use crate::engine::input::{Input, Open, Remembered, SocketId, UsedTicket};
use crate::engine::message::{
    Announcement, From, Missed, Origin, Out, RecoveryTarget, Relayed, SessionId, ToDelivery, ToStream, Tracking,
};
use crate::engine::publication::{Content, Publication, STORED_VERSION};
use crate::engine::tenant::Tenant;
use crate::policy::channel::Topic;

/// Stands for a relay's session in requests to the stream; no real session has this id.
const NOBODY: SessionId = SessionId { socket: SocketId(u32::MAX), number: u32::MAX };

impl Tenant {
    /// Handles the inputs that only concern relays.
    pub(in crate::engine) fn of_relays(&mut self, now: u64, input: Input, out: &mut Out) {
        match input {
            Input::PeerAsked { body } => self.relay_asks(now, &body, out),
            Input::PeerAnswered { peer: Peer::Relay(relay), answer } => {
                self.relay_answered(now, relay, answer.as_deref(), out);
            }
            Input::Admit { ticket, user, relay } => self.admit(now, (ticket, user, relay), out),
            Input::Place => {
                self.ask_counts(now);
                let own = self.delivery.counts();
                let place = self.hub.as_ref().map_or(0, |hub| hub.place(own.0 + own.1));
                out.run(Task::Placed(place));
            }
            // The object with the stream is no relay.
            Input::OpenAtRelay { open, .. } => self.open(now, open, out),
            _ => {}
        }
    }

    /// Opens a socket here.
    pub(in crate::engine) fn open(&mut self, now: u64, open: Open, out: &mut Out) {
        if !self.delivery.rejects_stranger(now, &open, out) {
            self.ask_counts(now);
            self.delivery.open(now, open, out);
        }
    }

    /// Asks the relays for their counts if there seems to be no room for another socket.
    fn ask_counts(&mut self, now: u64) {
        let (own, max) = (self.delivery.counts(), self.delivery.max_connections());
        self.hub.iter_mut().for_each(|hub| hub.ask_counts(now, own, max));
    }

    /// Sends the relays the table settings if they have changed.
    pub(in crate::engine) fn tell_tables(&mut self) {
        if let (Some(hub), Some(settings)) = (&mut self.hub, self.delivery.tables_text()) {
            hub.tell_tables(settings);
        }
    }

    /// Sends the relays what waits for them.
    pub(in crate::engine) fn tell_relays(&mut self, now: u64, out: &mut Out) {
        let arrivals = self.delivery.take_arrivals();
        let Some(hub) = &mut self.hub else { return };
        let topic = self.delivery.connections_topic();
        for arrival in arrivals {
            hub.tell_arrival(topic.as_ref(), &codec::arrival_form(&arrival));
        }
        hub.flush(now, out);
    }

    /// Handles a relay's request; its messages are handled in order, after any history read that is pending.
    fn relay_asks(&mut self, now: u64, body: &str, out: &mut Out) {
        let Some(hub) = &mut self.hub else { return out.run(Task::PeerAnswer(None)) };
        let (relay, messages, spent) = hub.receive(body, out);
        if hub.is_new(relay) {
            hub.tell_tables_to(relay);
            hub.tell_places(relay, self.stream.presence().places().iter());
        }
        self.relayed.extend(messages.into_iter().map(|message| (relay, message)));
        self.charge(now, spent);
    }

    /// Handles a relay's answer to a batch.
    fn relay_answered(&mut self, now: u64, relay: u32, answer: Option<&str>, out: &mut Out) {
        let Some(hub) = &mut self.hub else { return };
        let spent = hub.answered(now, relay, answer, out);
        self.charge(now, spent);
    }

    fn charge(&mut self, now: u64, spent: Vec<(PayerForm, u64)>) {
        for (payer, units) in spent {
            self.delivery.charge_remotely(now, (&payer.socket, payer.user.as_deref()), units);
        }
    }

    /// Answers whether a relay's ticket was used before, and how many sockets there are at other objects.
    fn admit(&mut self, now: u64, (ticket, user, relay): (Option<UsedTicket>, Option<String>, u32), out: &mut Out) {
        let is_spent = ticket.as_ref().is_some_and(|ticket| ticket.spent);
        if let Some(ticket) = ticket.filter(|ticket| !ticket.spent) {
            out.to_stream.push_back(ToStream::Begin);
            out.run(Task::Write(Write::Spend { id: ticket.id, expires: ticket.expires, forget: now }));
        }
        let user = user.unwrap_or_default();
        let own = self.own_census(&user);
        let census = self.hub.as_ref().map(|hub| hub.beside(relay, &user, &own)).unwrap_or_default();
        out.run(Task::Admitted(Admitted { is_spent, census }));
    }

    fn own_census(&self, user: &str) -> Census {
        let users = [(user.to_owned(), self.delivery.of_user(user))].into();
        Census { connections: self.delivery.counts().0, users, listeners: self.delivery.app_listeners() }
    }

    /// Passes a message of the stream to this object's delivery, and to the relays that it may concern.
    pub(in crate::engine) fn deliver(&mut self, now: u64, message: ToDelivery, out: &mut Out) {
        match message {
            ToDelivery::Resumed { missed, position, then: Announcement::Asked { relay, ask, .. }, .. }
                if ask.is_for_relay() =>
            {
                if let Some(hub) = &mut self.hub {
                    hub.answer_missed((relay, &ask), missed, position);
                }
            }
            ToDelivery::Resumed { missed, read, then: Announcement::Asked { relay, ask, refusal, .. }, .. } => {
                let payer = (&*ask.payer.socket, ask.payer.user.as_deref());
                self.delivery.charge_remotely(now, payer, Delivery::cost_of_reading(read));
                self.answer_relay((relay, &ask), refusal, missed.as_ref());
            }
            mut message => {
                let origin = relayed_origin(&mut message);
                if let Some(hub) = &mut self.hub {
                    let (delivery, table) = (&self.delivery, table_of(&message));
                    let listens = |relay: u32, group: &str| {
                        table.as_ref().is_some_and(|(schema, table)| delivery.listens_at(relay, group, (schema, table)))
                    };
                    hub.spread(&message, origin, &listens);
                }
                self.delivery.receive(now, message, out);
            }
        }
    }

    fn answer_relay(&mut self, (relay, ask): (u32, &Ask), refusal: Option<Refusal>, missed: Option<&Missed>) {
        let rosters = ask.watch.iter().cloned().map(codec::topic).map(|topic| self.roster(topic)).collect();
        let own = self.own_census(ask.payer.user.as_deref().unwrap_or_default());
        let position = self.stream.position();
        if let Some(hub) = &mut self.hub {
            hub.answer((relay, ask), &own, position, (refusal.as_ref(), missed, rosters));
        }
    }

    fn roster(&self, topic: Topic) -> (Topic, Vec<Rc<Member>>) {
        let mut out = Out::default();
        self.stream.presence().tell(NOBODY, Some(topic.clone()), &mut out);
        let members = out.to_delivery.pop_front().map(|message| match message {
            ToDelivery::Roster { members, .. } => members,
            _ => Vec::new(),
        });
        (topic, members.unwrap_or_default())
    }

    /// Handles a message of a relay's client to the stream.
    pub(in crate::engine) fn relayed(&mut self, now: u64, relay: u32, message: Up, out: &mut Out) {
        match message {
            Up::Ask(ask) => self.asked(now, relay, ask, out),
            Up::Publish { session, payer, units, keep, source, acknowledge, echo, persist, key } => {
                let session = codec::session(session);
                let relayed = Some(Box::new(Relayed { relay, payer }));
                let origin = Origin { session, acknowledge, echo, persist, key, relayed };
                self.publish_relayed(now, relay, origin, (source.get(), keep, units), out);
            }
            Up::Track { session, payer, units, topic, member, owns_key, roster, again, id } => {
                let session = codec::session(session);
                let topic = topic.map(codec::topic);
                if let Err(refusal) = self.spend(now, &payer, units) {
                    return self.refuse_relayed(relay, session, refusal, (id, topic));
                }
                let member = codec::member(member);
                let roster = codec::roster_on_tracking(roster, again);
                let tracking = Tracking { session, topic, member, owns_key, roster, id };
                self.ask_stream(now, relay, ToStream::Track(tracking), out);
            }
            Up::Update { session, payer, units, topic, client, metadata } => {
                let (session, topic) = (codec::session(session), topic.map(codec::topic));
                if let Err(refusal) = self.spend(now, &payer, units) {
                    return self.refuse_relayed(relay, session, refusal, (None, topic));
                }
                let (client_id, metadata) = (Rc::from(client), Rc::from(metadata.get()));
                self.ask_stream(now, relay, ToStream::Update { session, topic, client_id, metadata }, out);
            }
            message => self.relayed_for_free(now, relay, message, out),
        }
    }

    fn asked(&mut self, now: u64, relay: u32, ask: Ask, out: &mut Out) {
        if ask.enters {
            self.ask_counts(now);
        }
        let refusal = self.spend(now, &ask.payer, ask.units).err();
        // Nothing is read for a payer in debt: this epoch matches no stream, so the recovery fails.
        let from = match (&refusal, ask.from.clone()) {
            (Some(_), Some(_)) => From::Position(Position { epoch: String::new(), offset: 0 }, Vec::new()),
            (_, from) => codec::from(from),
        };
        let only = ask.only.clone().map(codec::topic).map(RecoveryTarget::Topic);
        let then = Announcement::Asked { relay, ask: Box::new(ask), refusal, only };
        out.to_stream.push_back(ToStream::Resume { session: NOBODY, from, then });
    }

    fn relayed_for_free(&mut self, now: u64, relay: u32, message: Up, out: &mut Out) {
        let place = |topic: Option<TopicForm>| topic.map(codec::topic);
        let message = match message {
            Up::Untrack { session, topic, client, key } => ToStream::Untrack {
                session: codec::session(session),
                topic: place(topic),
                client_id: Rc::from(client),
                key: key.map(Rc::from),
            },
            Up::Roster { session, topic } => {
                ToStream::Roster { session: codec::session(session), topic: codec::topic(topic) }
            }
            Up::Gather { topic, change, only } => {
                let change = Box::new(codec::event(change));
                ToStream::Gather { topic: place(topic), change, only: only.map(codec::session) }
            }
            Up::Arrived(form) => {
                self.delivery.tell_arrival(&codec::arrival(&form), out);
                let topic = self.delivery.connections_topic();
                return self.hub.iter_mut().for_each(|hub| hub.tell_arrival(topic.as_ref(), &form));
            }
            Up::Gone { client } => ToStream::Gone { client_id: Rc::from(client) },
            Up::Database(message) => return self.database_asked(relay, message, out),
            Up::Ask(_) | Up::Publish { .. } | Up::Track { .. } | Up::Update { .. } => return,
        };
        self.ask_stream(now, relay, message, out);
    }

    fn spend(&mut self, now: u64, payer: &PayerForm, units: u64) -> Result<(), Refusal> {
        if units == 0 {
            return Ok(());
        }
        self.delivery.pay_remotely(now, (&payer.socket, payer.user.as_deref()), units)
    }

    fn refuse_relayed(
        &mut self,
        relay: u32,
        session: SessionId,
        refusal: Refusal,
        (id, topic): (Option<String>, Option<Topic>),
    ) {
        if let Some(hub) = &mut self.hub {
            hub.answer_message(relay, &ToDelivery::Refused { session, refusal, id, topic });
        }
    }

    fn publish_relayed(
        &mut self,
        now: u64,
        relay: u32,
        origin: Origin,
        (source, keep, units): (&str, bool, u64),
        out: &mut Out,
    ) {
        let paid = origin.relayed.as_ref().map_or(Ok(()), |relayed| self.spend(now, &relayed.payer, units));
        let publication = Publication::stored(STORED_VERSION, source).ok_or(Refusal::of(Code::InvalidFrame));
        match publication.and_then(|publication| paid.map(|()| publication)) {
            Ok(publication) => {
                self.ask_stream(
                    now,
                    relay,
                    ToStream::Publish { publication: Box::new(publication), keep, origin },
                    out,
                );
            }
            Err(refusal) => self.refuse_relayed(relay, origin.session, refusal, (origin.acknowledge, None)),
        }
    }

    /// Passes a relay's message to the stream.
    fn ask_stream(&mut self, now: u64, relay: u32, message: ToStream, out: &mut Out) {
        let mut of_stream = Out::default();
        self.stream.receive(now, message, &mut of_stream);
        self.hand_back(now, relay, of_stream, out);
    }

    /// Handles the look-up of the idempotency key that has waited longest.
    pub(in crate::engine) fn recalled(&mut self, now: u64, remembered: Option<Remembered>, out: &mut Out) {
        let relay = self.stream.recalling().and_then(|origin| origin.relayed.as_ref()).map(|relayed| relayed.relay);
        let Some(relay) = relay else { return self.stream.recalled(now, remembered, out) };
        let mut of_stream = Out::default();
        self.stream.recalled(now, remembered, &mut of_stream);
        self.hand_back(now, relay, of_stream, out);
    }

    /// Passes on the results of a relay's message: to everyone, or back to the session that sent it.
    fn hand_back(&mut self, now: u64, relay: u32, of_stream: Out, out: &mut Out) {
        let mut effects = of_stream.effects;
        out.effects.append(&mut effects);
        for message in of_stream.to_delivery {
            let Some(hub) = &mut self.hub else { return };
            match message {
                message @ (ToDelivery::Publish { .. } | ToDelivery::Presence { .. }) => self.deliver(now, message, out),
                message => hub.answer_message(relay, &message),
            }
        }
    }
}

/// Schema and name of the table of a message.
fn table_of(message: &ToDelivery) -> Option<(Rc<str>, Rc<str>)> {
    let ToDelivery::Publish { accepted, .. } = message else { return None };
    match &accepted.publication.content {
        Content::Change { schema, table, .. } => Some((schema.clone(), table.clone())),
        Content::Message { .. } => None,
    }
}

/// The relay's client that published: its own relay acknowledges it, because this object's delivery does not know it.
fn relayed_origin(message: &mut ToDelivery) -> Option<(Relayed, OriginForm)> {
    let ToDelivery::Publish { origin, .. } = message else { return None };
    let Origin { session, acknowledge, echo, persist, relayed, .. } =
        origin.take_if(|origin| origin.relayed.is_some())?;
    let form = OriginForm { session: codec::session_form(session), acknowledge, echo, persist };
    Some((*relayed?, form))
}
