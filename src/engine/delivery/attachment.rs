//! What a socket must keep across hibernation: its attachment, or rows if that is too small.
//!
//! Version 1 holds a socket and its single session; version 2 holds a socket and its channels. A deploy may wake
//! sockets that an earlier build wrote; a socket whose state cannot be read is closed so that its client reconnects.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::session::{Awaiting, JoinedChannel, Session, Subscribed, Subscription};
use super::socket::{ErrorWindow, Socket};
use super::state_rows;
use super::subscriptions::Subscriptions;
use crate::engine::command::TableTarget;
use crate::engine::effect::Task;
use crate::engine::event::Address;
use crate::engine::input::{DialectId, SocketId, StatePart};
use crate::engine::message::{Out, SessionId};
use crate::engine::profile::{Profiles, Sessions};
use crate::policy::channel::Topic;
use crate::policy::filter::Filter;
use crate::policy::principal::Principal;
use crate::policy::table::{Operation, distinct};

const ONE_SESSION: u32 = 1;
const CHANNELS: u32 = 2;
/// workerd refuses attachments over 16,384 bytes of V8 serialization (`web-socket.h`), which adds a header to a string
/// of one or two bytes per character.
const MAX_BYTES: usize = 16_000;

#[derive(Serialize, Deserialize)]
struct Attachment<'a> {
    version: u32,
    #[serde(borrow)]
    client_id: Cow<'a, str>,
    /// The rest is in the rows of this client.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    overflow: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    /// A relay's progress (`engine/relay/checkpoint.rs`).
    #[serde(borrow, rename = "heard", default, skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Cow<'a, str>>,
}

/// Where a session is present: whether the topic is private, and its name; `None`: the lobby.
type StoredTopic = Option<(bool, String)>;

#[derive(Serialize, Deserialize)]
struct State {
    #[serde(rename = "wire")]
    dialect: u8,
    opened: u64,
    principal: Option<Principal>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    offsets: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    batches: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    told_expired: bool,
    #[serde(default, skip_serializing_if = "is_none_counted")]
    errors: (u64, u64),
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    subscriptions: Vec<StoredSubscription>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    explicit: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    present: Vec<StoredTopic>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    awaiting: Option<Box<Awaiting>>,
    /// The client has not received what it missed. The pending question is lost with the memory, so the client has to
    /// reconnect.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    held: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    carries: Option<StoredChannels>,
    /// The address of a client without a user, under which the socket is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StoredSubscription {
    Table {
        id: String,
        schema: String,
        table: String,
        event: Option<String>,
        filter: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        select: Option<Vec<String>>,
        #[serde(default, skip_serializing_if = "is_zero")]
        number: u32,
    },
    Topic {
        id: String,
        private: bool,
        name: String,
    },
}

#[derive(Serialize, Deserialize)]
struct StoredChannels {
    next: u64,
    /// Most channels of a socket share one principal.
    principals: Vec<Principal>,
    channels: Vec<StoredChannel>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredChannel {
    client_id: String,
    name: String,
    reference: Option<String>,
    private: bool,
    topic: String,
    principal: usize,
    told_expired: bool,
    messages: bool,
    presence: bool,
    presence_key: Option<String>,
    echo: bool,
    acknowledge: bool,
    tables: Vec<StoredSubscription>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    present: Vec<StoredTopic>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    awaiting: Option<Box<Awaiting>>,
}

/// Writes the state of a socket and its sessions to the attachment or to rows, and records its size.
pub(super) fn write(socket: &mut Socket, out: &mut Out) {
    if socket.rows.is_some() {
        write_rows(socket, out);
        // V8 may serialize it to twice as many bytes.
        if socket.state_bytes > MAX_BYTES / 2 {
            if socket.checkpoint.is_some() {
                attach_overflow(socket, out);
            }
            return;
        }
    }
    let whole = text(socket, false, Some(State::of(socket, true)));
    if state_rows::serialized_bytes(&whole) <= MAX_BYTES {
        socket.state_bytes = whole.len();
        state_rows::remove(socket, out);
        return out.run(Task::Attach { socket: socket.id, state: whole });
    }
    // An earlier write has already marked the attachment.
    if socket.rows.is_none() || socket.checkpoint.is_some() {
        attach_overflow(socket, out);
    }
    write_rows(socket, out);
}

fn attach_overflow(socket: &Socket, out: &mut Out) {
    out.run(Task::Attach { socket: socket.id, state: text(socket, true, None) });
}

fn write_rows(socket: &mut Socket, out: &mut Out) {
    let head = text(socket, false, Some(State::of(socket, false)));
    state_rows::write(socket, head, out);
    socket.state_bytes = socket.rows.as_ref().map_or(0, |rows| rows.bytes());
}

fn text(socket: &Socket, overflow: bool, state: Option<State>) -> String {
    let version = match socket.profile.sessions {
        Sessions::One => ONE_SESSION,
        Sessions::Many => CHANNELS,
    };
    let checkpoint = socket.checkpoint.as_deref().map(Cow::from);
    let stored = Attachment { version, client_id: Cow::from(&*socket.client_id), overflow, state, checkpoint };
    // Structs of texts and numbers always have a JSON form.
    serde_json::to_string(&stored).unwrap_or_default()
}

/// Reads a socket's state; `None` if it is unreadable, or of a dialect that this build does not know. `states` has the
/// rows of sockets whose state does not fit into an attachment.
pub(super) fn read(
    id: SocketId,
    text: &str,
    states: &BTreeMap<String, Vec<StatePart>>,
    profiles: Profiles,
    now: u64,
) -> Option<Socket> {
    let attached: Attachment = serde_json::from_str(text).ok()?;
    let rows = if attached.overflow { Some(states.get(&*attached.client_id)?) } else { None };
    let stored: Attachment = match rows {
        Some(rows) => serde_json::from_str(state_rows::head(rows)?).ok()?,
        None => attached,
    };
    let state = stored.state.filter(|state| !state.held)?;
    let dialect = (DialectId(state.dialect), profiles(DialectId(state.dialect))?);
    let mut socket = Socket::new(id, Rc::from(&*stored.client_id), dialect, now);
    socket.opened = state.opened;
    socket.address = state.address.as_deref().map(Rc::from);
    socket.errors = ErrorWindow { start: state.errors.0, count: state.errors.1 };
    match (stored.version, dialect.1.sessions) {
        (ONE_SESSION, Sessions::One) => socket.sessions = state.session(&socket)?.into_iter().collect(),
        (CHANNELS, Sessions::Many) => {
            let carries = state.carries?;
            socket.opened_as = state.principal.map(Rc::new);
            socket.entered = carries.next;
            socket.sessions = carries.read(id)?;
        }
        _ => return None,
    }
    if let Some(rows) = rows {
        state_rows::read(&mut socket, rows)?;
    }
    socket.state_bytes = socket.rows.as_ref().map_or(text.len(), |rows| rows.bytes());
    Some(socket)
}

/// The dialect of an otherwise unreadable state, so that its socket is closed with the right code.
pub(super) fn dialect_of(text: &str) -> Option<DialectId> {
    #[derive(Deserialize)]
    struct Spoken {
        state: SpokenState,
    }
    #[derive(Deserialize)]
    struct SpokenState {
        #[serde(rename = "wire")]
        dialect: u8,
    }
    serde_json::from_str::<Spoken>(text).ok().map(|spoken| DialectId(spoken.state.dialect))
}

impl State {
    /// `is_whole`: includes its subscriptions or channels.
    fn of(socket: &Socket, is_whole: bool) -> State {
        let whole = socket.sessions.first().filter(|_| socket.profile.sessions == Sessions::One);
        State {
            dialect: socket.dialect.0,
            opened: socket.opened,
            principal: socket
                .opened_as
                .as_ref()
                .or(whole.map(|session| &session.principal))
                .map(|principal| Principal::clone(principal)),
            offsets: whole.is_some_and(|session| session.offsets),
            batches: whole.is_some_and(|session| session.batches),
            told_expired: whole.is_some_and(|session| session.told_expired),
            errors: (socket.errors.start, socket.errors.count),
            subscriptions: whole.filter(|_| is_whole).map(|session| stored(&session.subscriptions)).unwrap_or_default(),
            explicit: whole.is_some_and(|session| session.explicit),
            present: whole.map(places).unwrap_or_default(),
            awaiting: whole.and_then(|session| session.awaiting.clone()),
            held: socket.is_held,
            carries: (socket.profile.sessions == Sessions::Many).then(|| StoredChannels::of(socket, is_whole)),
            address: socket.counted_address().map(|address| address.to_string()),
        }
    }

    /// The single session of an authenticated socket.
    fn session(self, socket: &Socket) -> Option<Option<Session>> {
        let Some(principal) = self.principal else { return Some(None) };
        let id = SessionId { socket: socket.id, number: 0 };
        let mut session = Session::new(id, socket.client_id.clone(), Rc::new(principal));
        session.offsets = self.offsets;
        session.batches = self.batches;
        session.told_expired = self.told_expired;
        session.subscriptions = restored(self.subscriptions)?;
        session.explicit = self.explicit;
        session.present = self.present.into_iter().map(place).collect();
        session.awaiting = self.awaiting;
        Some(Some(session))
    }
}

impl StoredChannels {
    fn of(socket: &Socket, is_whole: bool) -> StoredChannels {
        let mut principals: Vec<Rc<Principal>> = Vec::new();
        let mut channels = Vec::new();
        for session in socket.sessions.iter().filter(|_| is_whole) {
            let Some(channel) = &session.channel else { continue };
            let index = principals.iter().position(|known| *known == session.principal).unwrap_or_else(|| {
                principals.push(session.principal.clone());
                principals.len() - 1
            });
            channels.push(StoredChannel::of(session, channel, index));
        }
        let principals = principals.iter().map(|principal| Principal::clone(principal)).collect();
        StoredChannels { next: socket.entered, principals, channels }
    }

    fn read(self, socket: SocketId) -> Option<Vec<Session>> {
        let principals: Vec<Rc<Principal>> = self.principals.into_iter().map(Rc::new).collect();
        let numbers = (0..).map(|number| SessionId { socket, number });
        numbers.zip(self.channels).map(|(id, channel)| channel.read(id, &principals)).collect()
    }
}

impl StoredChannel {
    pub(super) fn of(session: &Session, channel: &JoinedChannel, principal: usize) -> StoredChannel {
        StoredChannel {
            client_id: session.client_id.to_string(),
            name: channel.address.name.to_string(),
            reference: channel.address.reference.as_deref().map(str::to_owned),
            private: channel.topic.private,
            topic: channel.topic.name.to_string(),
            principal,
            told_expired: session.told_expired,
            messages: channel.messages,
            presence: channel.presence,
            presence_key: channel.presence_key.as_deref().map(str::to_owned),
            echo: channel.echo,
            acknowledge: channel.acknowledge,
            tables: stored(&session.subscriptions),
            present: places(session),
            awaiting: session.awaiting.clone(),
        }
    }

    pub(super) fn read(self, id: SessionId, principals: &[Rc<Principal>]) -> Option<Session> {
        let mut session = Session::new(id, Rc::from(self.client_id), principals.get(self.principal)?.clone());
        session.told_expired = self.told_expired;
        session.subscriptions = restored(self.tables)?;
        session.present = self.present.into_iter().map(place).collect();
        session.awaiting = self.awaiting;
        session.channel = Some(Box::new(JoinedChannel {
            address: Address { name: Rc::from(self.name), reference: self.reference.map(Rc::from) },
            topic: Topic { private: self.private, name: Rc::from(self.topic) },
            messages: self.messages,
            presence: self.presence,
            presence_key: self.presence_key.map(Rc::from),
            echo: self.echo,
            acknowledge: self.acknowledge,
        }));
        Some(session)
    }
}

/// The topics in which a session is present, unless rows of this object say so.
fn places(session: &Session) -> Vec<StoredTopic> {
    let present = session.present.iter().filter(|_| session.keeps_places);
    present.map(|place| place.as_ref().map(|topic| (topic.private, topic.name.to_string()))).collect()
}

fn place(stored: StoredTopic) -> Option<Topic> {
    stored.map(|(private, name)| Topic { private, name: Rc::from(name) })
}

fn stored(subscriptions: &Subscriptions) -> Vec<StoredSubscription> {
    subscriptions.iter().map(StoredSubscription::of).collect()
}

fn restored(subscriptions: Vec<StoredSubscription>) -> Option<Subscriptions> {
    subscriptions.into_iter().map(StoredSubscription::read).collect()
}

impl StoredSubscription {
    pub(super) fn of(subscription: &Subscription) -> StoredSubscription {
        let id = subscription.id.clone();
        match &subscription.target {
            Subscribed::Topic(topic) => {
                StoredSubscription::Topic { id, private: topic.private, name: topic.name.to_string() }
            }
            Subscribed::Table(target) => StoredSubscription::Table {
                id,
                schema: target.schema.clone(),
                table: target.table.clone(),
                event: target.event.map(|event| event.as_str().to_owned()),
                filter: target.filter.text().to_owned(),
                select: target.select.as_ref().map(|select| select.iter().cloned().collect()),
                number: target.number,
            },
        }
    }

    /// `None` when an earlier build accepted a subscription that this build rejects: the client has to subscribe again.
    pub(super) fn read(self) -> Option<Subscription> {
        Some(match self {
            StoredSubscription::Topic { id, private, name } => {
                Subscription::new(id, Subscribed::Topic(Topic { private, name: Rc::from(name) }))
            }
            StoredSubscription::Table { id, schema, table, event, filter, select, number } => {
                let event = match event {
                    None => None,
                    Some(word) => Some(Operation::named(&word)?),
                };
                let filter = Filter::restore(&filter).ok()?;
                let select = select.map(|columns| Rc::new(distinct(columns)));
                Subscription::new(id, Subscribed::Table(TableTarget { schema, table, event, filter, select, number }))
            }
        })
    }
}

fn is_none_counted((_, count): &(u64, u64)) -> bool {
    *count == 0
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
