//! The channels that one socket carries (Phoenix): each is entered with a principal and subscriptions of its own, and is
//! to everything else here a connection like any other.

use std::rc::Rc;

use super::Delivery;
use super::connection::{Channel, Connection, Part, Subscribed, Subscription};
use crate::code::{Code, Refusal};
use crate::engine::command::{ChannelAct, ChannelFrame, Command, Join, TableTarget};
use crate::engine::effect::{Effect, Log, Task};
use crate::engine::event::{Address, Event};
use crate::engine::input::SocketId;
use crate::engine::message::{Announcement, From, Origin, Out, ToStream};
use crate::policy::channel::{Action, Topic};
use crate::policy::limits::{STATE_BYTES, TURNED_AWAY_FACTOR};
use crate::policy::principal::Principal;
use crate::policy::token::TokenError;

/// A channel that may be entered.
struct Entry {
    principal: Rc<Principal>,
    messages: bool,
    presence: bool,
    tables: Vec<Subscription>,
    /// Whether its table subscriptions are live, where it asked for any.
    live: Option<Result<(), Refusal>>,
}

impl Delivery {
    /// Handles a frame about a channel.
    pub(super) fn in_channel(&mut self, now: u64, socket: SocketId, frame: ChannelFrame, out: &mut Out) {
        if let ChannelAct::Join(join) = &frame.act {
            return self.join(now, socket, &frame, join, out);
        }
        match (self.channel_of(socket, &frame), frame.act) {
            (Some(_), ChannelAct::Nothing) => {}
            (Some(channel), ChannelAct::Refresh(token)) => self.refresh_channel(now, channel, token, out),
            (Some(channel), act) => self.act(now, channel, act, frame.id, out),
            (None, ChannelAct::Leave) => {
                let event = frame.id.map(|id| Event::Acknowledged { id, kept: None });
                self.tell_at(socket, frame.name, frame.reference, event, out);
            }
            // What is said in a channel that has just ended is no mistake of the client.
            (None, act) => {
                let unknown = Refusal::of(Code::UnknownSubscription);
                let refusal = if let ChannelAct::Refused(refusal) = act { refusal } else { unknown };
                let event = Event::Refused { refusal, id: frame.id };
                self.tell_at(socket, frame.name, None, Some(event), out);
            }
        }
    }

    /// The channel that a frame is about. A missing or stale reference does no harm where the name is known.
    pub(super) fn channel_of(&self, socket: SocketId, frame: &ChannelFrame) -> Option<SocketId> {
        let carrier = self.connections.get(socket)?.carrier()?;
        let by_name = carrier.number(&frame.name);
        if !frame.by_reference {
            return by_name;
        }
        let has_it = |channel: &&SocketId| {
            let address = self.connections.get(**channel).and_then(Connection::channel).map(|channel| &channel.address);
            address.is_some_and(|address| {
                frame.reference.is_some() && address.reference.as_deref() == frame.reference.as_deref()
            })
        };
        // Where several channels have the reference, the name tells them apart.
        let by_both = by_name.filter(|channel| has_it(&channel));
        by_both.or_else(|| carrier.numbers().find(|channel| has_it(&channel))).or(by_name)
    }

    /// Turns a frame away that came too fast, or while too many wait for keys. Only who floods a channel loses it, and who
    /// floods with joins the socket; whoever waits for an answer gets one, for as long as there is sense in it.
    pub(super) fn slow_down(&mut self, now: u64, socket: SocketId, frame: ChannelFrame, floods: bool, out: &mut Out) {
        let ends = floods && matches!(frame.act, ChannelAct::Join(_));
        if self.is_beyond_bearing(now, socket, out) {
            return;
        }
        let refusal = Refusal::of(Code::RateLimited);
        let channel = self.channel_of(socket, &frame);
        let event = match (frame.act, frame.id) {
            (ChannelAct::Publish { .. } | ChannelAct::Track { .. }, _) if floods && channel.is_some() => {
                return channel.into_iter().for_each(|channel| self.end(channel, Code::RateLimited, out));
            }
            (ChannelAct::Join(_), Some(id)) => Some(Event::NotJoined { id, refusal }),
            (ChannelAct::Refresh(_), _) => None,
            (_, id) => Some(Event::Refused { refusal, id }),
        };
        self.tell_at(socket, frame.name, frame.reference, event, out);
        if ends {
            self.end(socket, Code::JoinLimit, out);
        }
    }

    /// Counts a frame that was turned away, and ends a socket that goes on and on. Clients that enter all their channels
    /// again with a token that is over do so some ten times within a minute.
    fn is_beyond_bearing(&mut self, now: u64, socket: SocketId, out: &mut Out) -> bool {
        let limits = &self.configuration.limits;
        let most = limits.frames_per_second.saturating_add(limits.topics).saturating_mul(TURNED_AWAY_FACTOR);
        let Some(Connection { part: Part::Carrier(carrier), .. }) = self.connections.get_mut(socket) else {
            return false;
        };
        let is_beyond = carrier.turned_away.add(now, most);
        if is_beyond {
            self.end(socket, Code::TooManyErrors, out);
        }
        is_beyond
    }

    /// Forgets a channel at the connection that carries it.
    pub(super) fn let_go(&mut self, carrier: SocketId, name: &str) {
        if let Some(Connection { part: Part::Carrier(carrier), .. }) = self.connections.get_mut(carrier) {
            carrier.channels.retain(|(one, _)| **one != *name);
        }
        if self.connections.get(carrier).is_some() {
            self.unsaved.insert(carrier);
        }
    }

    /// Decides again, under this build's configuration, whether a channel that was kept receives its topic's messages.
    pub(super) fn admit_again(&self, connection: &mut Connection) {
        let principal = connection.principal.clone();
        if let (Part::Channel(channel), Some(principal)) = (&mut connection.part, principal) {
            channel.messages = self.configuration.authorize(Action::Read, &channel.topic, &principal).is_ok();
        }
    }

    /// Gives a channel its number and takes it in.
    pub(super) fn enter(&mut self, carrier: SocketId, mut connection: Connection, out: &mut Out) -> SocketId {
        let socket = self.connections.vacant();
        connection.socket = socket;
        let name = connection.channel().map(|channel| channel.address.name.clone());
        if let Some(Connection { part: Part::Carrier(carrier), .. }) = self.connections.get_mut(carrier) {
            carrier.channels.extend(name.map(|name| (name, socket)));
        }
        out.run(Task::Share { socket: carrier, channel: socket });
        self.insert(connection);
        socket
    }

    fn join(&mut self, now: u64, socket: SocketId, frame: &ChannelFrame, join: &Join, out: &mut Out) {
        let admitted = match self.identify_channel(now, socket, join) {
            Ok(principal) => self.admit_channel(socket, frame, join, principal),
            Err(TokenError::NeedsKeys) => {
                return self.wait_for_keys(socket, Command::Channel(Box::new(frame.clone())), out);
            }
            Err(error) => Err(Refusal::from(error)),
        };
        // Whoever enters anew leaves first, even where the new entry is refused.
        if let Some(before) = self.channel_of(socket, &ChannelFrame { by_reference: false, ..frame.clone() }) {
            self.tell(before, Event::Left { id: None }, out);
            self.closed(before, out);
        }
        match admitted {
            Ok(entry) => self.entered(now, socket, frame, join, entry, out),
            Err(refusal) => {
                if self.is_beyond_bearing(now, socket, out) {
                    return;
                }
                self.log("refused", socket, Some(refusal.code), out);
                let event = frame.id.clone().map(|id| Event::NotJoined { id, refusal });
                self.tell_at(socket, frame.name.clone(), frame.reference.clone(), event, out);
            }
        }
    }

    fn admit_channel(
        &self,
        socket: SocketId,
        frame: &ChannelFrame,
        join: &Join,
        principal: Rc<Principal>,
    ) -> Result<Entry, Refusal> {
        if join.topic.name.is_empty() {
            return Err(Refusal::at(Code::InvalidFrame, "topic", "The topic has no name."));
        }
        let connection = self.connections.get(socket).ok_or(Code::Internal)?;
        let carrier = connection.carrier().ok_or(Code::Internal)?;
        let others = carrier.channels.iter().filter(|(name, _)| **name != *frame.name);
        let mut present: Vec<Subscription> = Vec::new();
        let mut count = 0;
        for connection in others.filter_map(|(_, channel)| self.connections.get(*channel)) {
            count += 1;
            present.extend(connection.subscriptions.iter().cloned());
        }
        if count >= self.configuration.limits.topics || connection.state_bytes > STATE_BYTES {
            return Err(Refusal::of(Code::TopicLimit));
        }
        let (messages, presence) = self.sight(&join.topic, join.presence, &principal)?;
        if join.replay.is_some() && !join.topic.private {
            return Err(Refusal::at(Code::InvalidFrame, "replay", "Replay is not allowed for public channels"));
        }
        let (mut tables, mut live) = (Vec::new(), (!join.tables.is_empty()).then_some(Ok(())));
        for target in &join.tables {
            match target {
                Err(refusal) => live = Some(Err(refusal.clone())),
                Ok(target) => {
                    self.refuse_table(&principal, &present, target).map_or(Ok(()), Err)?;
                    let subscription =
                        Subscription { id: target.number.to_string(), target: Subscribed::Table(target.clone()) };
                    present.push(subscription.clone());
                    tables.push(subscription);
                }
            }
        }
        Ok(Entry { principal, messages, presence, tables, live })
    }

    /// Whether messages and members of a topic may be seen; one of both is needed to enter.
    fn sight(&self, topic: &Topic, presence: bool, principal: &Principal) -> Result<(bool, bool), Refusal> {
        let messages = self.configuration.authorize(Action::Read, topic, principal);
        let members = self.configuration.authorize(Action::PresenceRead, topic, principal);
        match (messages, members) {
            (Err(code), members) if !presence || members.is_err() => Err(Refusal::of(code)),
            (messages, _) => Ok((messages.is_ok(), presence)),
        }
    }

    fn entered(&mut self, now: u64, socket: SocketId, frame: &ChannelFrame, join: &Join, entry: Entry, out: &mut Out) {
        let rate = self.configuration.limits.frames_per_second;
        let Some(carrier) = self.connections.get_mut(socket) else { return };
        let (client_id, wire) = (carrier.client_id.clone(), carrier.wire);
        let Part::Carrier(channels) = &mut carrier.part else { return };
        let client_id: Rc<str> = Rc::from(format!("{client_id}.{}", channels.next));
        channels.next += 1;
        self.unsaved.insert(socket);
        let reference = frame.reference.as_deref().map(Rc::from);
        let channel = Channel {
            carrier: socket,
            address: Address { name: Rc::from(frame.name.as_str()), reference },
            topic: join.topic.clone(),
            messages: entry.messages,
            presence: entry.presence,
            presence_key: join.presence_key.as_deref().map(Rc::from),
            echo: join.echo,
            acknowledge: join.acknowledge,
        };
        let mut connection =
            Connection::new(socket, client_id.clone(), wire, Part::Channel(Box::new(channel)), now, rate);
        connection.principal = Some(entry.principal);
        connection.subscriptions = entry.tables;
        let channel = self.enter(socket, connection, out);
        out.run(Task::Log(Log { event: "joined", connection: Some(client_id), code: None, details: Vec::new() }));
        let from = match join.replay {
            Some(replay) if entry.messages => From::Topic(join.topic.name.clone(), replay),
            _ => From::Now,
        };
        let watch = self.may_watch(channel).then(|| join.topic.clone());
        let live = Event::Live { tables: entry.live, announce: join.announce };
        let id = frame.id.clone().unwrap_or_default();
        let then = Announcement::Joined { id, answer: join.answer.clone(), live, watch };
        out.to_stream.push_back(ToStream::Resume { socket: channel, from, then });
    }

    /// Whether a channel is told who comes and goes.
    pub(super) fn may_watch(&self, channel: SocketId) -> bool {
        let Some(connection) = self.connections.get(channel) else { return false };
        let (Some(channel), Some(principal)) = (connection.channel(), &connection.principal) else { return false };
        channel.presence && self.configuration.authorize(Action::PresenceRead, &channel.topic, principal).is_ok()
    }

    /// Does what is asked for in a channel that stands.
    fn act(&mut self, now: u64, socket: SocketId, act: ChannelAct, id: Option<String>, out: &mut Out) {
        let Some(connection) = self.connections.get(socket) else { return };
        let (Some(channel), Some(principal)) = (connection.channel(), connection.principal.clone()) else { return };
        let acknowledge = id.clone().filter(|_| channel.acknowledge);
        let topic = channel.topic.clone();
        let (done, answer) = match act {
            ChannelAct::Leave => {
                self.tell(socket, Event::Left { id }, out);
                return self.closed(socket, out);
            }
            ChannelAct::Publish { event, payload, whole, persist } => {
                let origin = Origin { socket, acknowledge: acknowledge.clone(), echo: channel.echo, persist };
                (self.publish_from(&principal, topic, (&event, payload, whole), origin, out), acknowledge)
            }
            ChannelAct::Track { metadata } => (self.appear(socket, &principal, topic, metadata, id.clone(), out), id),
            ChannelAct::Untrack => {
                if connection.present.contains(&Some(topic.clone())) {
                    let topic = Some(topic);
                    self.tell_stream(socket, |client_id| ToStream::Untrack { socket, topic, client_id }, out);
                }
                id.into_iter().for_each(|id| self.tell(socket, Event::Acknowledged { id, kept: None }, out));
                (Ok(()), None)
            }
            ChannelAct::Refused(refusal) => (Err(refusal), id),
            ChannelAct::Join(_) | ChannelAct::Refresh(_) | ChannelAct::Nothing => (Ok(()), None),
        };
        if let Err(refusal) = done {
            self.refuse(now, socket, refusal, answer, out);
        }
    }

    /// A channel that appears somewhere is told from then on who else does.
    fn appear(
        &mut self,
        socket: SocketId,
        principal: &Principal,
        topic: Topic,
        metadata: Rc<str>,
        id: Option<String>,
        out: &mut Out,
    ) -> Result<(), Refusal> {
        let is_told =
            self.connections.get(socket).and_then(Connection::channel).is_some_and(|channel| channel.presence);
        let may_see = self.configuration.authorize(Action::PresenceRead, &topic, principal).is_ok();
        self.track(socket, principal, Some(topic), metadata, (!is_told && may_see, id), out)?;
        if !is_told {
            self.change(socket, |connection| {
                if let Part::Channel(channel) = &mut connection.part {
                    channel.presence = true;
                }
            });
        }
        Ok(())
    }

    /// Decides again what a channel may, after its principal changed.
    pub(super) fn decide_again(&mut self, socket: SocketId, user_changed: bool, watched: bool, out: &mut Out) {
        let Some(connection) = self.connections.get(socket) else { return };
        let (Some(channel), Some(principal)) = (connection.channel(), connection.principal.clone()) else { return };
        let (topic, present) = (channel.topic.clone(), connection.present.clone());
        let Ok((messages, _)) = self.sight(&topic, channel.presence, &principal) else {
            return self.end(socket, Code::Forbidden, out);
        };
        let may_appear = self.configuration.authorize(Action::Presence, &topic, &principal).is_ok();
        // Nobody stays listed under another's name, or where they may not be.
        if user_changed || !may_appear {
            self.withdraw(socket, present, out);
        }
        self.change(socket, |connection| {
            if let Part::Channel(channel) = &mut connection.part {
                channel.messages = messages;
            }
        });
        // Bindings stay, for a later token may give their right back: whom a table's changes reach is decided for each.
        let tables = self.connections.get(socket).and_then(|connection| self.are_live(connection, &principal));
        if tables.is_some() {
            self.tell(socket, Event::Live { tables, announce: false }, out);
        }
        if !watched && self.may_watch(socket) {
            out.to_stream.push_back(ToStream::Roster { socket, topic });
        }
    }

    /// Whether a channel's table subscriptions are all allowed, where it has any.
    fn are_live(&self, connection: &Connection, principal: &Principal) -> Option<Result<(), Refusal>> {
        let admits = |target: &TableTarget| {
            let table = self.configuration.tables.get(&target.schema, &target.table);
            table.required_roles.as_ref().is_none_or(|roles| principal.roles.any(roles))
        };
        let mut targets = connection.tables().peekable();
        targets.peek()?;
        Some(if targets.all(admits) { Ok(()) } else { Err(Refusal::of(Code::Forbidden)) })
    }

    fn withdraw(&self, socket: SocketId, present: Vec<Option<Topic>>, out: &mut Out) {
        for topic in present {
            self.tell_stream(socket, |client_id| ToStream::Untrack { socket, topic, client_id }, out);
        }
    }

    /// Tells a socket something about a channel that it has not, or not yet.
    fn tell_at(&self, socket: SocketId, name: String, reference: Option<String>, event: Option<Event>, out: &mut Out) {
        let (Some(connection), Some(event)) = (self.connections.get(socket), event) else { return };
        let address = Some(Address { name: Rc::from(name), reference: reference.map(Rc::from) });
        out.effects.push(Effect::Deliver { to: vec![socket], wire: connection.wire, address, event });
    }
}
