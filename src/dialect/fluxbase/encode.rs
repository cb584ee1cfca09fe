//! Encodes events as texts: one, several if the two contracts have different frames for it, or none.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::SERVER_FRAMES;
use super::configuration::ADMIN_CHANNELS;
use super::id::{self, Named};
use crate::code::{Code, Reason, Refusal};
use crate::engine::event::{Authenticated, Bindings, Event, Member, Retained, View};
use crate::engine::publication::Payload;
use crate::policy::channel::Topic;
use crate::policy::table::Operation;
use crate::value::json;
use crate::value::row::Row;

/// The reason that the contract gives for every connection limit.
const FULL: &str = "max_connections_reached";

/// The frames of an event.
pub(super) fn texts(event: &Event) -> Vec<String> {
    match event {
        Event::Change { schema, table, view, offset, bindings, .. } => {
            changes([schema, table], view, *offset, bindings.as_deref())
        }
        Event::Message {
            event, payload: Payload::Json(payload), topic: Some(topic), offset, retained, is_own, ..
        } => {
            vec![message(topic, [event, payload], *is_own, *offset, retained.as_deref())]
        }
        Event::Authenticated(authenticated) => self::authenticated(authenticated).into_iter().collect(),
        Event::AuthFailed(code) => vec![failed(*code)],
        Event::Subscribed { id, answer, recovered } => vec![subscribed(id, answer.as_deref(), *recovered)],
        Event::Unsubscribed { id } => vec![unsubscribed(id)],
        Event::Acknowledged { id, .. } => acknowledged(id).into_iter().collect(),
        Event::Refused { refusal, id, topic } => vec![refused(refusal, id.as_deref(), topic.as_ref())],
        Event::Ended(refusal) => vec![refused(refusal, None, None)],
        Event::Roster { change, members } => presence(change, members).into_iter().collect(),
        Event::PresenceState { topic: Some(topic), members } => vec![roster(topic, members)],
        Event::Heartbeat { .. } => vec![close(open("heartbeat"))],
        // This protocol has no frames for bytes, the lobby, messages to the organization, channels as sessions, and
        // answers to heartbeats.
        _ => Vec::new(),
    }
}

/// Opens a frame; every further member begins with its comma.
fn open(kind: &str) -> String {
    debug_assert!(SERVER_FRAMES.contains(&kind), "{kind} is missing in SERVER_FRAMES");
    let mut out = String::with_capacity(256);
    out.extend(["{\"type\":\"", kind, "\""]);
    out
}

fn close(mut out: String) -> String {
    out.push('}');
    out
}

fn member(out: &mut String, name: &str, json: &str) {
    out.extend([",\"", name, "\":", json]);
}

fn text(out: &mut String, name: &str, value: &str) {
    member(out, name, "");
    json::write_string(out, value);
}

fn offset_member(out: &mut String, offset: Option<u64>) {
    if let Some(offset) = offset {
        member(out, "offset", &offset.to_string());
    }
}

/// A change, in the format of each contract that subscribed to it.
fn changes(table: [&str; 2], view: &View, offset: Option<u64>, bindings: Option<&Bindings>) -> Vec<String> {
    let numbers = bindings.map(|bindings| bindings.numbers.as_slice()).unwrap_or_default();
    let (channels, subscriptions): (Vec<u32>, Vec<u32>) = numbers.iter().partition(|number| id::is_channel(**number));
    let is_truncated = bindings.is_some_and(Bindings::is_truncated);
    let mut frames = Vec::new();
    if !channels.is_empty() {
        frames.push(channel_change(table, view, offset, is_truncated));
    }
    if !subscriptions.is_empty() {
        frames.push(subscription_change(table, view, offset, (is_truncated, &subscriptions)));
    }
    frames
}

fn channel_change([schema, table]: [&str; 2], view: &View, offset: Option<u64>, is_truncated: bool) -> String {
    let mut out = open("broadcast");
    text(&mut out, "channel", &id::of_table(schema, table));
    change_payload(&mut out, [schema, table], view);
    if let Some(new) = &view.new {
        row(&mut out, "record", new);
    }
    if let Some(old) = &view.old {
        row(&mut out, "old_record", old);
    }
    close_payload(&mut out, is_truncated);
    offset_member(&mut out, offset);
    close(out)
}

fn subscription_change(
    table: [&str; 2],
    view: &View,
    offset: Option<u64>,
    (is_truncated, subscriptions): (bool, &[u32]),
) -> String {
    let mut out = open("postgres_changes");
    change_payload(&mut out, table, view);
    match &view.new {
        Some(new) => row(&mut out, "record", new),
        None => member(&mut out, "record", "null"),
    }
    if let Some(old) = view.old.as_ref().filter(|_| view.operation != Operation::Insert) {
        row(&mut out, "old_record", old);
    }
    close_payload(&mut out, is_truncated);
    let ids: Vec<String> = subscriptions.iter().map(|number| format!("\"{}\"", id::subscription(*number))).collect();
    member(&mut out, "subscription_ids", &["[", &ids.join(","), "]"].concat());
    offset_member(&mut out, offset);
    close(out)
}

/// Opens the payload of a change, which the caller closes.
fn change_payload(out: &mut String, [schema, table]: [&str; 2], view: &View) {
    out.extend([",\"payload\":{\"type\":\"", view.operation.as_str(), "\""]);
    text(out, "table", table);
    text(out, "schema", schema);
}

/// Closes the payload, stating whether large columns were left out.
fn close_payload(out: &mut String, is_truncated: bool) {
    if is_truncated {
        member(out, "truncated", "true");
    }
    out.push('}');
}

fn row(out: &mut String, name: &str, row: &Row) {
    member(out, name, "");
    row.write(out);
}

fn message(
    topic: &Topic,
    [event, payload]: [&str; 2],
    is_own: bool,
    offset: Option<u64>,
    retained: Option<&Retained>,
) -> String {
    let mut out = open("broadcast");
    text(&mut out, "channel", &topic.name);
    out.push_str(",\"payload\":{\"broadcast\":{\"event\":");
    json::write_string(&mut out, event);
    member(&mut out, "payload", payload);
    if is_own {
        member(&mut out, "self", "true");
    }
    if retained.is_some_and(|retained| retained.replayed) {
        member(&mut out, "replayed", "true");
    }
    out.push_str("}}");
    offset_member(&mut out, offset);
    close(out)
}

/// A fresh token is acknowledged. A new socket receives no welcome, except the position if its client asked for it.
fn authenticated(authenticated: &Authenticated) -> Option<String> {
    let mut out = open("ack");
    match (&authenticated.position, authenticated.is_renewal) {
        (None, false) => return None,
        (_, true) => out.push_str(",\"payload\":{\"type\":\"access_token\",\"updated\":true}"),
        (Some(position), false) => {
            out.push_str(",\"payload\":{\"connected\":true");
            text(&mut out, "epoch", &position.epoch);
            offset_member(&mut out, Some(position.offset));
            out.push('}');
        }
    }
    Some(close(out))
}

/// Why a socket is closed right after it was opened.
fn failed(code: Code) -> String {
    let mut out = open("error");
    if code == Code::ConnectionLimit {
        out.push_str(",\"payload\":{\"message\":\"server is full, try later\"}");
        text(&mut out, "error", FULL);
    } else {
        text(&mut out, "error", code.sentence());
    }
    text(&mut out, "code", code.as_str());
    close(out)
}

fn subscribed(id: &str, answer: Option<&str>, recovered: Option<bool>) -> String {
    let mut out = open("ack");
    match Named::read(id) {
        Named::TableChannel(name) => text(&mut out, "channel", name),
        Named::Subscription(id) => {
            out.extend([",\"payload\":{\"subscribed\":true,\"subscription_id\":\"", &id, "\""]);
            out.push_str(answer.unwrap_or_default());
            out.push('}');
        }
        Named::Channel(name) => {
            out.push_str(",\"payload\":{\"subscribed\":true");
            text(&mut out, "channel", name);
            out.push('}');
        }
        Named::Message(_) | Named::Several => out.push_str(",\"payload\":{\"subscribed\":true}"),
    }
    if let Some(recovered) = recovered {
        member(&mut out, "recovered", if recovered { "true" } else { "false" });
    }
    close(out)
}

fn unsubscribed(id: &str) -> String {
    let mut out = open("ack");
    match Named::read(id) {
        Named::TableChannel(name) => text(&mut out, "channel", name),
        Named::Subscription(id) => {
            out.push_str(",\"payload\":{\"unsubscribed\":true");
            text(&mut out, "subscription_id", &id);
            out.push('}');
        }
        Named::Channel(_) | Named::Message(_) | Named::Several => out.push_str(",\"payload\":{\"unsubscribed\":true}"),
    }
    close(out)
}

/// The server's contract has the id in the payload; the SDK reads it beside the payload.
fn acknowledged(id: &str) -> Option<String> {
    let Named::Message(message) = Named::read(id) else { return None };
    let mut fields = String::from("\"messageId\":");
    json::write_string(&mut fields, message);
    fields.push_str(",\"status\":\"ok\"");
    let mut out = open("ack");
    out.extend([",\"payload\":{", &fields, "},", &fields]);
    Some(close(out))
}

fn refused(refusal: &Refusal, id: Option<&str>, topic: Option<&Topic>) -> String {
    let mut out = open("error");
    let named = id.map(Named::read);
    if let Some(channel) = channel_of(named.as_ref(), topic) {
        text(&mut out, "channel", channel);
    }
    text(&mut out, "error", &sentence(refusal, named.as_ref()));
    text(&mut out, "code", refusal.code.as_str());
    match &named {
        Some(Named::Message(message)) => text(&mut out, "messageId", message),
        Some(Named::Subscription(id)) => text(&mut out, "subscription_id", id),
        _ => {}
    }
    if let Some(field) = &refusal.field {
        text(&mut out, "field", field);
    }
    close(out)
}

/// The channel that a refusal answers.
fn channel_of<'a>(named: Option<&Named<'a>>, topic: Option<&'a Topic>) -> Option<&'a str> {
    match named {
        Some(Named::TableChannel(name) | Named::Channel(name)) => Some(name),
        _ => topic.map(|topic| &*topic.name),
    }
}

/// The contract's words for the reason of a refusal.
fn sentence(refusal: &Refusal, named: Option<&Named<'_>>) -> String {
    let table = match named {
        Some(Named::TableChannel(name)) => name.strip_prefix(id::TABLE).unwrap_or(name),
        _ => "",
    };
    let is_admin = matches!(named, Some(Named::Channel(name)) if name.starts_with(ADMIN_CHANNELS));
    match (refusal.code, refusal.reason) {
        (_, Some(Reason::CredentialRequired)) => String::from("authentication required for subscriptions"),
        (Code::TableNotEnabled | Code::UnknownTable, _) => format!("table {table} not enabled for realtime"),
        (Code::ConnectionLimit, _) => String::from(FULL),
        (Code::InvalidFilter, _) => format!("invalid filter: {}", refusal.message),
        (Code::InvalidToken | Code::WrongOrganization, _) => String::from("invalid token"),
        (Code::TokenExpired, _) if named.is_none() => String::from("invalid token"),
        (Code::Forbidden, _) if is_admin => String::from("admin access required to subscribe to admin channels"),
        _ => refusal.message.to_string(),
    }
}

/// The members of a topic, by presence key.
fn by_key(members: &[Rc<Member>]) -> BTreeMap<&str, Vec<&str>> {
    let mut keys: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for member in members {
        keys.entry(member.listed_as()).or_default().push(&member.metadata);
    }
    keys
}

fn current(out: &mut String, members: &[Rc<Member>]) {
    member(out, "currentPresences", "{");
    for (index, (key, states)) in by_key(members).into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        json::write_string(out, key);
        out.extend([":[", &states.join(","), "]"]);
    }
    out.push('}');
}

fn open_presence(topic: &Topic, event: &str) -> String {
    let mut out = open("presence");
    text(&mut out, "channel", &topic.name);
    out.extend([",\"payload\":{\"presence\":{\"event\":\"", event, "\""]);
    out
}

fn roster(topic: &Topic, members: &[Rc<Member>]) -> String {
    let mut out = open_presence(topic, "sync");
    current(&mut out, members);
    out.push_str("}}");
    close(out)
}

fn presence(change: &Event, members: &[Rc<Member>]) -> Option<String> {
    let (topic, event, list, one) = match change {
        Event::PresenceJoined { topic, member } => (topic, "join", "newPresences", member),
        Event::PresenceLeft { topic, member } => (topic, "leave", "leftPresences", member),
        Event::PresenceUpdated { topic: Some(topic), .. } => return Some(roster(topic, members)),
        _ => return None,
    };
    let mut out = open_presence(topic.as_ref()?, event);
    text(&mut out, "key", one.listed_as());
    member(&mut out, list, &["[", &*one.metadata, "]"].concat());
    current(&mut out, members);
    out.push_str("}}");
    Some(close(out))
}
