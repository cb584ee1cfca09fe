//! Frames for native clients (docs/protocol-native.md, Frames from the server).

use std::rc::Rc;

use super::SERVER_FRAMES;
use crate::code::{Code, Refusal};
use crate::engine::event::{Authenticated, Event, Member, View};
use crate::engine::publication::Payload;
use crate::policy::channel::Topic;
use crate::value::json;
use crate::value::row::Row;

/// Encodes an event; nothing if this dialect has no frame for it.
pub(super) fn write(out: &mut String, event: &Event) {
    match event {
        Event::Change { schema, table, view, topic, offset, .. } => {
            change(out, schema, table, view);
            text_member(out, "topic", topic.as_ref().map(|topic| &*topic.name));
            offset_member(out, *offset);
        }
        Event::Message { event, payload, topic, offset, .. } => message(out, event, payload, topic.as_ref(), *offset),
        Event::Authenticated(authenticated) => self::authenticated(out, authenticated),
        Event::AuthFailed(code) => auth_failed(out, *code),
        Event::AuthExpired => open(out, "auth_expired"),
        Event::Subscribed { id, recovered, .. } => subscribed(out, id, *recovered),
        Event::Unsubscribed { id } => identified(out, "unsubscribed", id),
        Event::Acknowledged { id, .. } => identified(out, "ack", id),
        Event::Refused { refusal, id, .. } => refused(out, refusal, id.as_deref()),
        Event::PresenceState { topic, members } => presence_state(out, topic.as_ref(), members),
        Event::PresenceJoined { topic, member } => presence(out, "presence_join", topic.as_ref(), member, [true, true]),
        Event::PresenceUpdated { topic, member, .. } => {
            presence(out, "presence_update", topic.as_ref(), member, [false, true]);
        }
        Event::PresenceLeft { topic, member } => presence(out, "presence_leave", topic.as_ref(), member, [true, false]),
        Event::Pong { .. } => open(out, "pong"),
        Event::Ping => open(out, "ping"),
        Event::Feed { is_live } => feed(out, *is_live),
        Event::Warned { .. }
        | Event::Called(_)
        | Event::Heartbeat { .. }
        | Event::Joined { .. }
        | Event::NotJoined { .. }
        | Event::Live { .. }
        | Event::Left { .. }
        | Event::Ended(_)
        | Event::Roster { .. }
        | Event::Batch(_)
        | Event::PresenceChanged { .. } => return,
    }
    out.push('}');
}

fn change(out: &mut String, schema: &str, table: &str, view: &View) {
    open(out, "postgres_changes");
    text_member(out, "table", Some(table));
    text_member(out, "eventType", Some(view.operation.as_str()));
    text_member(out, "schema", Some(schema));
    row_member(out, "new", view.new.as_ref());
    row_member(out, "old", view.old.as_ref());
}

fn message(out: &mut String, event: &str, payload: &Payload, topic: Option<&Topic>, offset: Option<u64>) {
    open(out, "broadcast");
    text_member(out, "event", Some(event));
    out.push_str(",\"payload\":");
    payload.write(out);
    text_member(out, "topic", topic.map(|topic| &*topic.name));
    offset_member(out, offset);
}

fn auth_failed(out: &mut String, code: Code) {
    open(out, "auth_error");
    text_member(out, "code", Some(code.as_str()));
    text_member(out, "message", Some(code.sentence()));
}

fn authenticated(out: &mut String, authenticated: &Authenticated) {
    let Authenticated { organization, principal, position, recovered, .. } = authenticated;
    open(out, "auth_success");
    text_member(out, "organizationId", Some(organization));
    nullable_member(out, "userId", principal.user.as_deref());
    nullable_member(out, "role", principal.roles.first());
    // Lists of strings always serialize to JSON.
    member(out, "roles", &serde_json::to_string(principal.roles.as_slice()).unwrap_or_default());
    text_member(out, "authMethod", Some(principal.method.as_str()));
    text_member(out, "epoch", position.as_ref().map(|position| position.epoch.as_str()));
    offset_member(out, position.as_ref().map(|position| position.offset));
    boolean_member(out, "recovered", *recovered);
}

fn feed(out: &mut String, is_live: bool) {
    open(out, "feed");
    text_member(out, "status", Some(if is_live { "live" } else { "lost" }));
}

fn refused(out: &mut String, refusal: &Refusal, id: Option<&str>) {
    open(out, "error");
    text_member(out, "code", Some(refusal.code.as_str()));
    text_member(out, "message", Some(&refusal.message));
    text_member(out, "field", refusal.field.as_deref());
    text_member(out, "id", id);
    if let Some(retry_after) = refusal.retry_after {
        out.push_str(",\"retryAfter\":");
        out.push_str(&retry_after.to_string());
    }
}

fn subscribed(out: &mut String, id: &str, recovered: Option<bool>) {
    identified(out, "subscribed", id);
    boolean_member(out, "recovered", recovered);
}

fn identified(out: &mut String, kind: &str, id: &str) {
    open(out, kind);
    text_member(out, "id", Some(id));
}

fn presence_state(out: &mut String, topic: Option<&Topic>, members: &[Rc<Member>]) {
    open(out, "presence_state");
    text_member(out, "topic", topic.map(|topic| &*topic.name));
    out.push_str(",\"clients\":[");
    for (index, one) in members.iter().enumerate() {
        out.push_str(if index > 0 { ",{" } else { "{" });
        out.push_str("\"client_id\":");
        json::write_string(out, &one.client_id);
        nullable_member(out, "user_id", one.user.as_deref());
        member(out, "metadata", &one.metadata);
        out.push('}');
    }
    out.push(']');
}

fn presence(out: &mut String, kind: &str, topic: Option<&Topic>, one: &Member, [user, metadata]: [bool; 2]) {
    open(out, kind);
    text_member(out, "topic", topic.map(|topic| &*topic.name));
    text_member(out, "client_id", Some(&one.client_id));
    if user {
        nullable_member(out, "user_id", one.user.as_deref());
    }
    if metadata {
        member(out, "metadata", &one.metadata);
    }
}

/// Opens the object; every further member begins with its comma.
fn open(out: &mut String, kind: &str) {
    debug_assert!(SERVER_FRAMES.contains(&kind), "{kind} is missing in SERVER_FRAMES");
    out.push_str("{\"type\":\"");
    out.push_str(kind);
    out.push('"');
}

fn member(out: &mut String, name: &str, json: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
    out.push_str(json);
}

/// A member that is absent if there is no value.
fn text_member(out: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        member(out, name, "");
        json::write_string(out, value);
    }
}

/// A member that is `null` if there is no value.
fn nullable_member(out: &mut String, name: &str, value: Option<&str>) {
    match value {
        Some(_) => text_member(out, name, value),
        None => member(out, name, "null"),
    }
}

fn boolean_member(out: &mut String, name: &str, value: Option<bool>) {
    if let Some(value) = value {
        member(out, name, if value { "true" } else { "false" });
    }
}

fn offset_member(out: &mut String, offset: Option<u64>) {
    if let Some(offset) = offset {
        member(out, "offset", &offset.to_string());
    }
}

fn row_member(out: &mut String, name: &str, row: Option<&Row>) {
    match row {
        Some(row) => {
            member(out, name, "");
            row.write(out);
        }
        None => member(out, name, "null"),
    }
}
