//! Encodes events as frames.

use std::rc::Rc;

use super::configuration::{ANONYMOUS, SERVICE, TERMS, USER};
use super::{SEPARATOR, SERVER_FRAMES, words};
use crate::code::{Code, Refusal};
use crate::dialect::Frame;
use crate::engine::event::{Authenticated, Bindings, Called, Event, Member, TableWarning, View};
use crate::policy::channel::Topic;
use crate::policy::principal::{Method, Principal};
use crate::value::json;
use crate::value::row::Row;
use crate::value::time::iso;

/// The frames of an event; none if the protocol has none for it.
pub(super) fn frames(event: &Event) -> Vec<Frame> {
    match event {
        Event::PresenceChanged { changes, .. } => changes.iter().flat_map(frames).collect(),
        event => frame(event).map(Frame::Text).into_iter().collect(),
    }
}

fn frame(event: &Event) -> Option<String> {
    let out = match event {
        Event::Change { table, view, offset, bindings, .. } => change(table, view, *offset, bindings.as_deref()),
        Event::Authenticated(authenticated) => connected(authenticated),
        Event::AuthFailed(code) => error(&Refusal::of(*code), None),
        Event::Ended(refusal) => error(refusal, None),
        Event::Refused { refusal, id, .. } => error(refusal, id.as_deref()),
        Event::Subscribed { id, recovered, answer } => subscribed(id, *recovered, answer.as_deref()),
        Event::Unsubscribed { id } => unsubscribed(id),
        Event::Feed { is_live: false } => error(&Refusal::because(Code::SourceUnavailable, words::FEED_LOST), None),
        Event::Warned { id, warning, organization } => warned(id, *warning, organization),
        Event::PresenceState { topic, members } => presence_state(topic.as_ref(), members),
        Event::PresenceJoined { topic, member } => presence("presence_join", topic.as_ref(), member, [true, true]),
        Event::PresenceUpdated { topic, member, .. } => {
            presence("presence_update", topic.as_ref(), member, [false, true])
        }
        Event::PresenceLeft { topic, member } => presence("presence_leave", topic.as_ref(), member, [true, false]),
        Event::Heartbeat { time } => heartbeat(*time),
        Event::Called(called) => event_response(called),
        Event::Message { .. }
        | Event::AuthExpired
        | Event::Acknowledged { .. }
        | Event::Pong { .. }
        | Event::Ping
        | Event::Joined { .. }
        | Event::NotJoined { .. }
        | Event::Live { .. }
        | Event::Feed { .. }
        | Event::Left { .. }
        | Event::PresenceChanged { .. }
        | Event::Batch(_)
        | Event::Roster { .. } => return None,
    };
    Some(out + "}")
}

fn subscribed(id: &str, recovered: Option<bool>, filter: Option<&str>) -> String {
    let mut out = open("subscribed");
    subscription(&mut out, id);
    filter.iter().for_each(|filter| member(&mut out, "filter", filter));
    recovered.iter().for_each(|recovered| member(&mut out, "recovered", &recovered.to_string()));
    out
}

fn unsubscribed(id: &str) -> String {
    let mut out = open("unsubscribed");
    subscription(&mut out, id);
    out
}

fn heartbeat(time: u64) -> String {
    let mut out = open("heartbeat");
    text_member(&mut out, "timestamp", &iso(time));
    out
}

fn change(table: &str, view: &View, offset: Option<u64>, bindings: Option<&Bindings>) -> String {
    let mut out = open("change");
    text_member(&mut out, "table", table);
    text_member(&mut out, "op", view.operation.as_str());
    row_member(&mut out, "record", view.new.as_ref());
    row_member(&mut out, "old_record", view.old.as_ref());
    text_member(&mut out, "timestamp", &iso(bindings.map_or(0, |bindings| bindings.time)));
    offset.iter().for_each(|offset| member(&mut out, "offset", &offset.to_string()));
    if bindings.is_some_and(Bindings::is_truncated) {
        member(&mut out, "truncated", "true");
    }
    let numbers = bindings.map(|bindings| &*bindings.numbers).unwrap_or_default();
    if !numbers.is_empty() {
        let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
        member(&mut out, "subscriptions", &format!("[{}]", numbers.join(",")));
    }
    out
}

fn connected(authenticated: &Authenticated) -> String {
    let Authenticated { organization, principal, position, recovered, .. } = authenticated;
    let mut out = open("connected");
    text_member(&mut out, "app_id", organization);
    text_member(&mut out, "role", role(principal));
    if let Some(position) = position {
        text_member(&mut out, "epoch", &position.epoch);
        member(&mut out, "offset", &position.offset.to_string());
    }
    recovered.iter().for_each(|recovered| member(&mut out, "recovered", &recovered.to_string()));
    out
}

fn role(principal: &Principal) -> &'static str {
    match principal.method {
        _ if TERMS.is_service(&principal.roles) => SERVICE,
        Method::Anonymous => ANONYMOUS,
        Method::Session | Method::ApiKey => USER,
    }
}

fn error(refusal: &Refusal, id: Option<&str>) -> String {
    let mut out = open("error");
    text_member(&mut out, "message", &words::message(refusal));
    text_member(&mut out, "code", refusal.code.as_str());
    text_member(&mut out, "retry", words::retry(refusal.code));
    match id {
        Some(id) if id.contains(SEPARATOR) => subscription(&mut out, id),
        Some(id) => member(&mut out, "id", id),
        None => {}
    }
    out
}

fn warned(id: &str, warning: TableWarning, organization: &str) -> String {
    let table = id.split(SEPARATOR).next().unwrap_or_default();
    let (code, message, remediation) = words::warning(warning, table, organization);
    let mut out = open("warning");
    text_member(&mut out, "code", code);
    subscription(&mut out, id);
    text_member(&mut out, "message", message);
    text_member(&mut out, "remediation", &remediation);
    out
}

/// The members that name a subscription: its table and number, or its room.
fn subscription(out: &mut String, id: &str) {
    match id.split_once(SEPARATOR).unwrap_or((id, "")) {
        ("", room) => text_member(out, "room", room),
        (table, number) => {
            text_member(out, "table", table);
            if !number.is_empty() {
                member(out, "id", number);
            }
        }
    }
}

fn presence_state(topic: Option<&Topic>, members: &[Rc<Member>]) -> String {
    let mut out = open("presence_state");
    topic.iter().for_each(|topic| text_member(&mut out, "room", &topic.name));
    out.push_str(",\"clients\":[");
    for (index, one) in members.iter().enumerate() {
        out.push_str(if index > 0 { ",{\"client_id\":" } else { "{\"client_id\":" });
        json::write_string(&mut out, &one.client_id);
        user_member(&mut out, one);
        member(&mut out, "metadata", &one.metadata);
        out.push('}');
    }
    out.push(']');
    out
}

fn presence(kind: &str, topic: Option<&Topic>, one: &Member, [user, metadata]: [bool; 2]) -> String {
    let mut out = open(kind);
    text_member(&mut out, "client_id", &one.client_id);
    if user {
        user_member(&mut out, one);
    }
    if metadata {
        member(&mut out, "metadata", &one.metadata);
    }
    topic.iter().for_each(|topic| text_member(&mut out, "room", &topic.name));
    out
}

fn user_member(out: &mut String, one: &Member) {
    match &one.user {
        Some(user) => text_member(out, "user_id", user),
        None => member(out, "user_id", "null"),
    }
}

/// A body that is not JSON is sent as a string.
fn event_response(called: &Called) -> String {
    let mut out = open("event_response");
    text_member(&mut out, "event", &called.event);
    if serde_json::from_str::<serde::de::IgnoredAny>(&called.body).is_ok() {
        member(&mut out, "data", called.body.trim());
    } else {
        text_member(&mut out, "data", &called.body);
    }
    member(&mut out, "status", &called.status.to_string());
    called.id.iter().for_each(|id| member(&mut out, "id", id));
    out
}

/// Opens the object; every further member begins with its comma.
fn open(kind: &str) -> String {
    debug_assert!(SERVER_FRAMES.contains(&kind), "{kind} is missing in SERVER_FRAMES");
    let mut out = String::with_capacity(256);
    out.push_str("{\"type\":\"");
    out.push_str(kind);
    out.push('"');
    out
}

fn member(out: &mut String, name: &str, json: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
    out.push_str(json);
}

fn text_member(out: &mut String, name: &str, value: &str) {
    member(out, name, "");
    json::write_string(out, value);
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
