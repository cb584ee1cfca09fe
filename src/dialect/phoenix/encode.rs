//! Encodes events as frames.

use std::collections::BTreeMap;
use std::rc::Rc;

use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest, Sha256};

use super::frame::{Version, broadcast_binary, text};
use super::push::MessageBody;
use super::{PREFIX, reason};
use crate::code::{Code, Refusal};
use crate::dialect::Frame;
use crate::engine::event::{Address, Bindings, Event, Member, Retained, View};
use crate::engine::publication::Payload;
use crate::policy::table::Operation;
use crate::value::json::{self, Kind};
use crate::value::row::Row;
use crate::value::time;

const NOT_TRUNCATED: &str = ",\"errors\":null}}";
/// The error in a row whose large columns were left out.
const TRUNCATED: &str = ",\"errors\":[\"Error 413: Payload Too Large\"]}}";
const OK: &str = r#"{"status":"ok","response":{}}"#;

/// A channel as addressed in its frames.
struct ChannelWriter<'a> {
    version: Version,
    name: &'a str,
    reference: Option<&'a str>,
}

/// The frames of an event; none if this protocol cannot express it.
pub(super) fn frames(version: Version, address: Option<&Address>, event: &Event) -> Vec<Frame> {
    if let Event::Pong { id } = event {
        return vec![text(version, None, id.as_deref(), "phoenix", "phx_reply", OK)];
    }
    // All other events belong to a channel.
    let Some(address) = address else { return Vec::new() };
    let channel = ChannelWriter { version, name: &address.name, reference: address.reference.as_deref() };
    channel.frames(event)
}

impl ChannelWriter<'_> {
    fn frames(&self, event: &Event) -> Vec<Frame> {
        match event {
            Event::Change { schema, table, view, bindings: Some(bindings), shared, .. } => {
                vec![self.push("postgres_changes", shared.get(|| change(schema, table, view, bindings)))]
            }
            Event::Message { event, payload: Payload::Json(payload), whole, retained, shared, .. } => {
                // A replay has one recipient, so it names the join that it belongs to.
                let write = || message(event, payload, whole.as_deref(), retained.as_deref());
                vec![self.push("broadcast", shared.get(write))]
            }
            Event::Message { event, payload: Payload::Binary(bytes), retained, shared, .. } => {
                let metadata = shared.get(|| retained.as_deref().map(meta).unwrap_or_default());
                self.binary(event, metadata, bytes).into_iter().collect()
            }
            Event::Joined { id, answer } => vec![self.ok(id, "postgres_changes", answer)],
            Event::NotJoined { id, refusal } => vec![self.not_joined(id, refusal)],
            Event::Live { tables, announce } => self.live(tables.as_ref(), *announce),
            Event::Feed { is_live: true } => self.live(Some(&Ok(())), false),
            Event::Feed { is_live: false } => self.live(Some(&Err(Refusal::of(Code::SourceUnavailable))), false),
            Event::Left { id } => id.iter().map(|id| self.reply(id, OK)).chain([self.close()]).collect(),
            Event::Ended(refusal) => {
                vec![self.system("system", "error", &reason::end(refusal, self.name)), self.close()]
            }
            Event::Acknowledged { id, retained: None } => vec![self.reply(id, OK)],
            Event::Acknowledged { id, retained: Some(retained) } => vec![self.stored(id, retained)],
            Event::Refused { refusal, id: Some(id), .. } => {
                vec![self.reply(id, &format!("{{\"status\":\"error\",\"response\":{}}}", reason::push(refusal)))]
            }
            Event::PresenceState { members, .. } => vec![self.push("presence_state", &state(members))],
            Event::PresenceChanged { changes, .. } => vec![self.difference(changes)],
            Event::PresenceJoined { .. } | Event::PresenceUpdated { .. } | Event::PresenceLeft { .. } => {
                vec![self.difference(std::slice::from_ref(event))]
            }
            _ => Vec::new(),
        }
    }

    fn push(&self, event: &str, payload: &str) -> Frame {
        text(self.version, self.reference, None, self.name, event, payload)
    }

    fn reply(&self, id: &str, payload: &str) -> Frame {
        text(self.version, self.reference, Some(id), self.name, "phx_reply", payload)
    }

    /// A successful reply whose response has one member, as JSON text.
    fn ok(&self, id: &str, name: &str, value: &str) -> Frame {
        self.reply(id, &format!("{{\"status\":\"ok\",\"response\":{{\"{name}\":{value}}}}}"))
    }

    fn stored(&self, id: &str, retained: &Retained) -> Frame {
        let mut stored_id = String::new();
        json::write_string(&mut stored_id, &retained.id);
        self.ok(id, "id", &stored_id)
    }

    fn not_joined(&self, id: &str, refusal: &Refusal) -> Frame {
        let mut response = String::from("{\"status\":\"error\",\"response\":{\"reason\":");
        json::write_string(&mut response, &reason::join(refusal, self.name));
        response.push_str("}}");
        self.reply(id, &response)
    }

    /// The client must not rejoin automatically. The reference identifies a stale join.
    fn close(&self) -> Frame {
        text(self.version, self.reference, self.reference, self.name, "phx_close", "{}")
    }

    fn difference(&self, changes: &[Event]) -> Frame {
        let (mut joins, mut leaves) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                Event::PresenceJoined { member, .. } => joins.push((&**member, None)),
                Event::PresenceLeft { member, .. } => leaves.push((&**member, None)),
                Event::PresenceUpdated { member, before, .. } => {
                    joins.push((&**member, Some(&**before)));
                    leaves.push((&**before, None));
                }
                _ => {}
            }
        }
        let payload = format!("{{\"joins\":{},\"leaves\":{}}}", by_key(joins), by_key(leaves));
        self.push("presence_diff", &payload)
    }

    fn live(&self, tables: Option<&Result<(), Refusal>>, announce: bool) -> Vec<Frame> {
        let tables = tables.map(|tables| match tables {
            Ok(()) => self.system("postgres_changes", "ok", "Subscribed to PostgreSQL"),
            Err(refusal) => self.system("postgres_changes", "error", &refusal.message),
        });
        let announced = announce.then(|| self.system("system", "ok", "Replication connection established"));
        tables.into_iter().chain(announced).collect()
    }

    fn system(&self, extension: &str, status: &str, message: &str) -> Frame {
        let mut out = String::from("{\"message\":");
        json::write_string(&mut out, message);
        out.push_str(",\"status\":\"");
        out.push_str(status);
        out.push_str("\",\"extension\":\"");
        out.push_str(extension);
        out.push_str("\",\"channel\":");
        json::write_string(&mut out, self.name.strip_prefix(PREFIX).unwrap_or(self.name));
        out.push('}');
        self.push("system", &out)
    }

    /// Bytes need a binary frame; version 1.0.0 has none, so its clients are not sent them.
    fn binary(&self, event: &str, metadata: &str, bytes: &[u8]) -> Option<Frame> {
        match self.version {
            Version::One => None,
            Version::Two => broadcast_binary(self.name, event, metadata, MessageBody::Binary(bytes)),
        }
    }
}

/// The payload of a message.
fn message(event: &str, payload: &str, whole: Option<&str>, retained: Option<&Retained>) -> String {
    let mut out = String::with_capacity(payload.len() + event.len() + 64);
    match whole {
        Some(whole) => out.push_str(whole.strip_suffix('}').unwrap_or_default()),
        None => {
            out.push_str("{\"type\":\"broadcast\",\"event\":");
            json::write_string(&mut out, event);
            out.push_str(",\"payload\":");
            out.push_str(payload);
        }
    }
    if let Some(retained) = retained {
        out.push_str(if out.trim_end() == "{" { "\"meta\":" } else { ",\"meta\":" });
        out.push_str(&meta(retained));
    }
    out.push('}');
    out
}

fn meta(retained: &Retained) -> String {
    let mut out = String::from("{\"id\":");
    json::write_string(&mut out, &retained.id);
    out.push_str(if retained.replayed { ",\"replayed\":true}" } else { "}" });
    out
}

/// The payload of a change (docs/protocol-supabase.md).
fn change(schema: &str, table: &str, view: &View, bindings: &Bindings) -> String {
    let mut out = String::with_capacity(512);
    out.push_str("{\"ids\":[");
    for (index, number) in bindings.numbers.iter().enumerate() {
        out.push_str(if index > 0 { "," } else { "" });
        out.push_str(&number.to_string());
    }
    out.push_str("],\"data\":{\"schema\":");
    json::write_string(&mut out, schema);
    out.push_str(",\"table\":");
    json::write_string(&mut out, table);
    out.push_str(",\"commit_timestamp\":\"");
    out.push_str(&time::iso(bindings.time));
    out.push_str("\",\"type\":\"");
    out.push_str(view.operation.as_str());
    out.push_str("\",\"columns\":[");
    columns(&mut out, view.new.as_ref().or(view.old.as_ref()), &bindings.types);
    out.push(']');
    if let Some(new) = &view.new {
        out.push_str(",\"record\":");
        new.write(&mut out);
    }
    if view.operation != Operation::Insert {
        out.push_str(",\"old_record\":");
        old_record(view, bindings).write(&mut out);
    }
    let is_truncated = bindings.is_truncated();
    out.push_str(if is_truncated { TRUNCATED } else { NOT_TRUNCATED });
    out
}

/// The previous row, as replication sends it.
fn old_record(view: &View, bindings: &Bindings) -> Row {
    let old = view.old.clone().unwrap_or_default();
    match bindings.database.as_ref().and_then(|database| database.identity.as_ref()) {
        Some(identity) => old.project(|column| identity.contains(column)),
        None => old,
    }
}

fn columns(out: &mut String, row: Option<&Row>, types: &BTreeMap<String, String>) {
    for (index, column) in row.iter().flat_map(|row| &row.columns).enumerate() {
        out.push_str(if index > 0 { ",{\"name\":" } else { "{\"name\":" });
        json::write_string(out, &column.name);
        out.push_str(",\"type\":");
        let known = types.get(&*column.name).map(String::as_str);
        json::write_string(out, known.unwrap_or_else(|| inferred(&column.json)));
        out.push('}');
    }
}

/// The type that leaves a JSON value unchanged when clients cast to it.
fn inferred(json: &str) -> &'static str {
    match json::kind(json) {
        Kind::Boolean => "bool",
        Kind::Number if json.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) => "float8",
        Kind::Number => "int8",
        Kind::Array | Kind::Object => "jsonb",
        Kind::String | Kind::Null => "text",
    }
}

/// The roster, by key.
fn state(members: &[Rc<Member>]) -> String {
    by_key(members.iter().map(|member| (&**member, None)))
}

/// `{"key":{"metas":[…]},…}` of members, each with its previous metadata if that is sent.
fn by_key<'a>(members: impl IntoIterator<Item = (&'a Member, Option<&'a Member>)>) -> String {
    let mut by_key: BTreeMap<&str, String> = BTreeMap::new();
    for (member, before) in members {
        let metas = by_key.entry(key(member)).or_default();
        metas.push_str(if metas.is_empty() { "" } else { "," });
        metas.push_str(&meta_of(member, before));
    }
    let mut out = String::from("{");
    for (index, (key, metas)) in by_key.iter().enumerate() {
        out.push_str(if index > 0 { "," } else { "" });
        json::write_string(&mut out, key);
        out.push_str(":{\"metas\":[");
        out.push_str(metas);
        out.push_str("]}");
    }
    out.push('}');
    out
}

fn key(member: &Member) -> &str {
    member.key.as_deref().unwrap_or(&member.client_id)
}

/// The member's metadata, then our references: readers take the last of a repeated key.
fn meta_of(member: &Member, before: Option<&Member>) -> String {
    let mut out = member.metadata.strip_suffix('}').unwrap_or("{").to_owned();
    out.push_str(if out.trim_end() == "{" { "\"phx_ref\":\"" } else { ",\"phx_ref\":\"" });
    out.push_str(&reference(member));
    if let Some(before) = before {
        out.push_str("\",\"phx_ref_prev\":\"");
        out.push_str(&reference(before));
    }
    out.push_str("\"}");
    out
}

/// Derived from the member and its metadata: it differs whenever either does and needs no storage.
fn reference(member: &Member) -> String {
    let digest = Sha256::new().chain_update(&*member.client_id).chain_update([0]).chain_update(&*member.metadata);
    let digest = digest.finalize();
    Base64UrlUnpadded::encode_string(digest.get(..12).unwrap_or_default())
}
