//! The native dialect `quickback`: JSON objects in text frames, told apart by `type` (docs/protocol-native.md).
//! [`CLIENT_FRAMES`] and [`SERVER_FRAMES`] are all there are.

mod batch;

use std::rc::Rc;

use super::{Dialect, Frame, Received};
use crate::code::{Code, Refusal};
use crate::engine::command::{Authenticate, Command, Malformed, Position, Recover, Subscribe, TableTarget, Target};
use crate::engine::event::{Address, Authenticated, Event, Member, View};
use crate::engine::input::DialectId;
use crate::engine::profile::{
    Duplicate, Expiry, LostTable, PresenceAudience, PresenceFrames, Profile, Reading, Refusals, Renewal, Sessions,
    SubscribableTables, TableDelivery, UnknownSubscription,
};
use crate::engine::publication::{Payload, topic};
use crate::policy::channel::Topic;
use crate::policy::filter::Filter;
use crate::policy::limits::{ID_BYTES, NAME_BYTES, ORGANIZATION_CHARACTERS};
use crate::policy::secret::Secret;
use crate::policy::table::{DEFAULT_SCHEMA, Operation};
use crate::value::form::{Field, Form};
use crate::value::json;
use crate::value::row::Row;

/// Its number.
pub const ID: DialectId = DialectId(0);
/// What is particular to it.
pub const PROFILE: Profile = Profile {
    name: "quickback",
    sessions: Sessions::One,
    auto_response: Some((r#"{"type":"ping"}"#, r#"{"type":"pong"}"#)),
    rejects_at_handshake: false,
    receives_unasked: true,
    presence: PresenceAudience::SubscribersAndPresent,
    expiry: Expiry::Grace,
    renewal: Renewal::Answered,
    lost_table: LostTable::Ends,
    requires_role: false,
    refusals: Refusals::Errors,
    duplicate: Duplicate::Refused,
    names_subscriptions: false,
    roster_on_appearing: true,
    heartbeat: None,
    unknown_subscription: UnknownSubscription::Refused,
    hears_messages: true,
    hears_oneself_appear: true,
    untracked_is_error: true,
    removes_unmatched: false,
    table_delivery: TableDelivery::Published,
    is_listener: false,
    default_role: None,
    tables: SubscribableTables::Any,
    publishing_subscribes: false,
    marks_own: false,
    presence_frames: PresenceFrames::Difference,
    keys_are_owned: false,
    reading: Reading::Answered,
};
/// The `type` of every frame that a client may send. docs/protocol-native.md prints this and a test compares the two.
pub const CLIENT_FRAMES: [&str; 8] =
    ["auth", "subscribe", "unsubscribe", "broadcast", "presence_track", "presence_update", "presence_untrack", "ping"];
/// The `type` of every frame that a client gets.
pub const SERVER_FRAMES: [&str; 16] = [
    "auth_success",
    "auth_error",
    "auth_expired",
    "subscribed",
    "unsubscribed",
    "ack",
    "error",
    "pong",
    "ping",
    "feed",
    "postgres_changes",
    "broadcast",
    "presence_state",
    "presence_join",
    "presence_update",
    "presence_leave",
    "batch",
];
/// Subscriptions that an authentication may bring.
const MAX_SUBSCRIPTIONS: usize = 200;

/// The dialect.
pub struct Native;

impl Dialect for Native {
    fn decode(&self, frame: Received<'_>) -> Result<Command, Malformed> {
        let Received::Text(text) = frame else {
            return Err(Refusal::because(Code::InvalidFrame, "Frames are JSON text.").into());
        };
        let form = Form::read(text, Code::InvalidFrame)?;
        let id = form.peek("id").and_then(json::string).filter(|id| id.len() <= ID_BYTES);
        command(form).map_err(|refusal| Malformed { refusal, id })
    }

    fn encode(&self, _address: Option<&Address>, event: &Event) -> Vec<Frame> {
        if let Event::PresenceChanged { changes, .. } = event {
            return changes.iter().flat_map(|change| self.encode(None, change)).collect();
        }
        if let Event::Batch(events) = event {
            return batch::frames(events);
        }
        let mut out = String::with_capacity(256);
        write(&mut out, event);
        // What concerns channels has no words here, and is told to nobody of this dialect.
        if out.is_empty() { Vec::new() } else { vec![Frame::Text(out)] }
    }
}

fn command(mut form: Form<'_>) -> Result<Command, Refusal> {
    let kind = form.require("type")?;
    let kind = kind.text()?;
    let command = match kind.as_str() {
        "auth" => Command::Authenticate(authenticate(&mut form)?),
        "subscribe" => Command::Subscribe(subscribe(&mut form)?),
        "unsubscribe" => Command::Unsubscribe { id: form.require("id")?.name(ID_BYTES)? },
        "broadcast" => publish(&mut form)?,
        "presence_track" => Command::Track { topic: topic(&mut form)?, key: None, metadata: metadata(&mut form)? },
        "presence_update" => Command::Update { topic: topic(&mut form)?, metadata: metadata(&mut form)? },
        "presence_untrack" => Command::Untrack { topic: topic(&mut form)?, key: None },
        "ping" => Command::Ping { id: None },
        _ => return Err(Refusal::of(Code::UnknownType)),
    };
    debug_assert!(CLIENT_FRAMES.contains(&kind.as_str()), "{kind} is missing in CLIENT_FRAMES");
    form.finish()?;
    Ok(command)
}

fn authenticate(form: &mut Form<'_>) -> Result<Authenticate, Refusal> {
    let subscriptions = form.take("subscriptions").map(|list| initial_subscriptions(&list)).transpose()?;
    Ok(Authenticate {
        proven: None,
        // A token that was pasted brings its white space.
        token: Secret::new(form.require("token")?.text()?.trim().to_owned()),
        organization: form.take("organizationId").map(|id| id.name(ORGANIZATION_CHARACTERS)).transpose()?,
        recover: form.take("recover").map(|recover| self::recover(&recover)).transpose()?.unwrap_or_default(),
        subscriptions,
        batches: form.take("batch").map_or(Ok(false), |batch| batch.boolean())?,
    })
}

fn initial_subscriptions(list: &Field<'_>) -> Result<Vec<Subscribe>, Refusal> {
    list.list(MAX_SUBSCRIPTIONS)?.iter().map(initial_subscription).collect()
}

fn initial_subscription(field: &Field<'_>) -> Result<Subscribe, Refusal> {
    let mut form = field.form()?;
    let subscribe = subscribe(&mut form)?;
    form.finish()?;
    Ok(subscribe)
}

/// `true`, `false`, or the position after which events were missed.
fn recover(field: &Field<'_>) -> Result<Recover, Refusal> {
    match field.boolean() {
        Ok(true) => Ok(Recover::On),
        Ok(false) => Ok(Recover::Off),
        Err(_) => Ok(Recover::From(position(field)?)),
    }
}

fn position(field: &Field<'_>) -> Result<Position, Refusal> {
    let mut form = field.form()?;
    let position = Position { epoch: form.require("epoch")?.name(ID_BYTES)?, offset: form.require("offset")?.count()? };
    form.finish()?;
    Ok(position)
}

fn subscribe(form: &mut Form<'_>) -> Result<Subscribe, Refusal> {
    let id = form.require("id")?.name(ID_BYTES)?;
    let target = match (topic(form)?, form.take("table")) {
        (Some(topic), None) => {
            Target::Topic { topic, presence: form.take("presence").map_or(Ok(false), |presence| presence.boolean())? }
        }
        (None, Some(table)) => Target::Table(table_target(form, &table)?),
        _ => return Err(Refusal::because(Code::InvalidFrame, "A subscription is to a table or to a topic.")),
    };
    // Changes are recovered with the connection.
    let recover = match &target {
        Target::Topic { .. } => form.take("recover").map(|recover| position(&recover)).transpose()?,
        Target::Table(_) => None,
    };
    Ok(Subscribe { id, is_numbered: false, target, recover, answer: None })
}

fn table_target(form: &mut Form<'_>, table: &Field<'_>) -> Result<TableTarget, Refusal> {
    let schema = form.take("schema").map(|schema| schema.name(NAME_BYTES)).transpose()?;
    let event = match form.take("event") {
        None => None,
        Some(event) => match event.text()?.as_str() {
            "*" => None,
            word => Some(
                Operation::named(word)
                    .ok_or_else(|| event.refuse("must be \"*\", \"INSERT\", \"UPDATE\" or \"DELETE\""))?,
            ),
        },
    };
    let filter = match form.take("filter") {
        None => Filter::default(),
        Some(field) => {
            let parsed = Filter::parse(&field.text()?);
            parsed.map_err(|refusal| Refusal { field: Some(field.path()), ..refusal })?
        }
    };
    let schema = schema.unwrap_or_else(|| DEFAULT_SCHEMA.to_owned());
    Ok(TableTarget { schema, table: table.name(NAME_BYTES)?, event, filter, select: None, number: 0 })
}

fn publish(form: &mut Form<'_>) -> Result<Command, Refusal> {
    let topic = topic(form)?.ok_or_else(|| form.refuse("topic", "is required"))?;
    Ok(Command::Publish {
        topic,
        event: form.require("event")?.name(NAME_BYTES)?,
        payload: Payload::read(form)?.unwrap_or_else(|| Payload::Json(Rc::from("null"))),
        id: form.take("id").map(|id| id.name(ID_BYTES)).transpose()?,
        echo: form.take("echo").map_or(Ok(true), |echo| echo.boolean())?,
    })
}

fn metadata(form: &mut Form<'_>) -> Result<Rc<str>, Refusal> {
    let metadata = form.require("metadata")?;
    // Read as an object, so that nothing else is stored and shown to others.
    metadata.form()?;
    Ok(Rc::from(metadata.json()))
}

fn write(out: &mut String, event: &Event) {
    match event {
        Event::Change { schema, table, view, topic, offset, .. } => {
            change(out, schema, table, view);
            text_member(out, "topic", topic.as_ref().map(|topic| &*topic.name));
            offset_member(out, *offset);
        }
        Event::Message { event, payload, topic, offset, .. } => {
            open(out, "broadcast");
            text_member(out, "event", Some(event));
            out.push_str(",\"payload\":");
            payload.write(out);
            text_member(out, "topic", topic.as_ref().map(|topic| &*topic.name));
            offset_member(out, *offset);
        }
        Event::Authenticated(authenticated) => self::authenticated(out, authenticated),
        Event::AuthFailed(code) => {
            open(out, "auth_error");
            text_member(out, "code", Some(code.as_str()));
            text_member(out, "message", Some(code.sentence()));
        }
        Event::AuthExpired => open(out, "auth_expired"),
        Event::Subscribed { id, recovered, .. } => {
            open(out, "subscribed");
            text_member(out, "id", Some(id));
            boolean_member(out, "recovered", *recovered);
        }
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
        Event::Feed { is_live } => {
            open(out, "feed");
            text_member(out, "status", Some(if *is_live { "live" } else { "lost" }));
        }
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

fn authenticated(out: &mut String, authenticated: &Authenticated) {
    let Authenticated { organization, principal, position, recovered, .. } = authenticated;
    open(out, "auth_success");
    text_member(out, "organizationId", Some(organization));
    nullable_member(out, "userId", principal.user.as_deref());
    nullable_member(out, "role", principal.roles.first());
    // A list of texts always has a JSON form.
    member(out, "roles", &serde_json::to_string(principal.roles.as_slice()).unwrap_or_default());
    text_member(out, "authMethod", Some(principal.method.as_str()));
    text_member(out, "epoch", position.as_ref().map(|position| position.epoch.as_str()));
    offset_member(out, position.as_ref().map(|position| position.offset));
    boolean_member(out, "recovered", *recovered);
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

/// A member that is absent where there is no value.
fn text_member(out: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        member(out, name, "");
        json::write_string(out, value);
    }
}

/// A member that is `null` where there is no value.
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
