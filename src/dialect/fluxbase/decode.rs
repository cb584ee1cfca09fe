//! Decodes a client's frame. Unknown keys may come from a newer client, and are ignored.

use std::rc::Rc;

use super::{filter, id};
use crate::code::{Code, Refusal};
use crate::dialect::Received;
use crate::engine::command::{Authenticate, Command, Malformed, Position, Recover, Subscribe, TableTarget, Target};
use crate::engine::publication::Payload;
use crate::policy::channel::{MAX_TOPIC, Topic};
use crate::policy::filter::Filter;
use crate::policy::limits::{ID_BYTES, NAME_BYTES};
use crate::policy::secret::Secret;
use crate::policy::table::{DEFAULT_SCHEMA, Operation};
use crate::value::json::{self, Kind};

/// The default event of a message.
const DEFAULT_EVENT: &str = "broadcast";
/// The wildcard for every event.
const ANY: &str = "*";

/// The members of a JSON object.
struct Members<'a>(json::Object<'a>);

impl<'a> Members<'a> {
    fn read(text: &'a str) -> Option<Members<'a>> {
        json::object(text).ok().map(Members)
    }

    /// The JSON text of a member that is present and not `null`.
    fn get(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.0.members.iter().find(|(known, _)| known == name)?;
        Some(value.get()).filter(|text| json::kind(text) != Kind::Null)
    }

    fn within(&self, name: &str) -> Option<Members<'a>> {
        self.get(name).and_then(Members::read)
    }

    /// A string of at most `most` bytes; `None` if it is absent or empty.
    fn text(&self, name: &str, most: usize) -> Result<Option<String>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let text = json::string(text).ok_or_else(|| wrong(name, "must be a string"))?;
        if text.len() > most {
            let message = format!("{name} is longer than {most} bytes");
            return Err(Refusal::at(Code::NameTooLong, name, message));
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    fn boolean(&self, name: &str, default: bool) -> Result<bool, Refusal> {
        match self.get(name) {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(wrong(name, "must be true or false")),
        }
    }
}

/// Reads a frame.
pub(super) fn command(frame: Received<'_>) -> Result<Command, Malformed> {
    let Received::Text(text) = frame else { return Err(refuse("Frames are JSON text.").into()) };
    let members = Members::read(text).ok_or_else(|| refuse("the frame is no JSON object"))?;
    let kind = members.get("type").and_then(json::string).unwrap_or_default();
    let named = |refusal| Malformed { refusal, id: name(&kind, &members) };
    match kind.as_str() {
        "subscribe" => subscribe(&members).map(Command::Subscribe),
        "unsubscribe" => unsubscribe(&members),
        "broadcast" => publish(&members),
        "presence" => presence(&members),
        "access_token" => authenticate(&members),
        // A heartbeat has no answer.
        "heartbeat" => Ok(Command::Ping { id: None }),
        "subscribe_logs" | "subscribe_all_logs" | "unsubscribe_logs" => {
            Err(Refusal::because(Code::UnknownType, "log streams are not offered"))
        }
        _ => Err(Refusal::because(Code::UnknownType, "unknown message type")),
    }
    .map_err(named)
}

/// The name by which the refusal of a frame refers to it.
fn name(kind: &str, members: &Members<'_>) -> Option<String> {
    let message = members.get("messageId").and_then(json::string).filter(|id| id.len() <= ID_BYTES);
    match message.filter(|_| kind == "broadcast") {
        Some(message) => Some(id::of_message(&message)),
        None => match channel(members).ok().flatten() {
            Some(channel) => Some(channel_id(members, channel).unwrap_or_default()),
            None => named_table(members),
        },
    }
}

/// The channel of the table that a frame without a channel is about.
fn named_table(members: &Members<'_>) -> Option<String> {
    let of = |form: &Members<'_>| {
        let table = form.text("table", NAME_BYTES).ok().flatten()?;
        let schema = form.text("schema", NAME_BYTES).ok()?.unwrap_or_else(|| DEFAULT_SCHEMA.to_owned());
        Some(id::of_table(&schema, &table))
    };
    members.within("config").as_ref().and_then(of).or_else(|| of(members))
}

fn refuse(message: &'static str) -> Refusal {
    Refusal::because(Code::InvalidFrame, message)
}

fn wrong(name: &str, what: &str) -> Refusal {
    Refusal::at(Code::InvalidFrame, name, format!("{name} {what}"))
}

fn channel(members: &Members<'_>) -> Result<Option<String>, Refusal> {
    members.text("channel", MAX_TOPIC)
}

/// The topic of a channel. `private` is our addition: without it every channel is private.
fn topic(members: &Members<'_>, name: String) -> Result<Topic, Refusal> {
    Ok(Topic { private: members.boolean("private", true)?, name: Rc::from(name) })
}

/// The engine's id of the subscription to a channel.
fn channel_id(members: &Members<'_>, name: String) -> Result<String, Refusal> {
    if name.starts_with(id::TABLE) {
        Ok(table_channel(&name).2)
    } else {
        topic(members, name).map(|t| id::of_topic(&t))
    }
}

/// Schema, table and full name of a table channel.
fn table_channel(name: &str) -> (String, String, String) {
    let place = name.strip_prefix(id::TABLE).unwrap_or(name);
    let (schema, table) = place.split_once('.').unwrap_or((DEFAULT_SCHEMA, place));
    (schema.to_owned(), table.to_owned(), name.to_owned())
}

/// A subscription in one of its three forms: with the table in `config`, flat, or by its channel.
fn subscribe(members: &Members<'_>) -> Result<Subscribe, Refusal> {
    let recover = recover(members)?;
    let config = members.within("config");
    let config_table = config.as_ref().map(|config| config.text("table", NAME_BYTES)).transpose()?.flatten();
    let flat_table = members.text("table", NAME_BYTES)?;
    let subscribe = match (config, config_table, flat_table, channel(members)?) {
        (Some(config), Some(table), _, _) => numbered(&config, table)?,
        (_, None, Some(table), _) => numbered(members, table)?,
        (config, _, _, Some(name)) if name.starts_with(id::TABLE) => to_table_channel(config.as_ref(), &name)?,
        (_, _, _, Some(name)) => to_topic(members, name)?,
        _ => return Err(refuse("table is required for subscribe")),
    };
    Ok(Subscribe { recover, ..subscribe })
}

/// A subscription whose id the server chooses. `form` has its table.
fn numbered(form: &Members<'_>, table: String) -> Result<Subscribe, Refusal> {
    let schema = form.text("schema", NAME_BYTES)?.unwrap_or_else(|| DEFAULT_SCHEMA.to_owned());
    let (event, filter, filter_text) = narrowing(Some(form))?;
    let word = event.map_or(ANY, Operation::as_str);
    let number = id::first_number(&[&schema, &table, word, &filter_text]);
    let answer = answer(&schema, &table, word, &filter_text);
    let id = id::of_table(&schema, &table);
    let target = Target::Table(TableTarget { schema, table, event, filter, select: None, number });
    Ok(Subscribe { id, is_numbered: true, target, recover: None, answer: Some(Rc::from(answer)) })
}

/// What the acknowledgement echoes: members of its payload.
fn answer(schema: &str, table: &str, event: &str, filter: &str) -> String {
    let mut out = String::new();
    for (name, value) in [("schema", schema), ("table", table), ("event", event), ("filter", filter)] {
        if !value.is_empty() {
            out.extend([",\"", name, "\":"]);
            json::write_string(&mut out, value);
        }
    }
    out
}

fn to_table_channel(config: Option<&Members<'_>>, name: &str) -> Result<Subscribe, Refusal> {
    let (schema, table, id) = table_channel(name);
    if schema.is_empty() || table.is_empty() {
        return Err(refuse("table is required for subscribe"));
    }
    let (event, filter, _) = narrowing(config)?;
    let number = id::channel_number(name);
    let target = Target::Table(TableTarget { schema, table, event, filter, select: None, number });
    Ok(Subscribe { id, is_numbered: false, target, recover: None, answer: None })
}

/// A subscription to a presence channel asks for the roster.
fn to_topic(members: &Members<'_>, name: String) -> Result<Subscribe, Refusal> {
    let presence = members.boolean("presence", name.starts_with("presence:"))?;
    let topic = topic(members, name)?;
    let id = id::of_topic(&topic);
    Ok(Subscribe { id, is_numbered: false, target: Target::Topic { topic, presence }, recover: None, answer: None })
}

/// `event` and `filter`, the latter also as text.
fn narrowing(form: Option<&Members<'_>>) -> Result<(Option<Operation>, Filter, String), Refusal> {
    let Some(form) = form else { return Ok((None, Filter::default(), String::new())) };
    let event = match form.text("event", NAME_BYTES)?.as_deref() {
        None | Some(ANY) => None,
        Some(word) => {
            let operation = Operation::named(word);
            Some(operation.ok_or_else(|| wrong("event", "must be \"*\", \"INSERT\", \"UPDATE\" or \"DELETE\""))?)
        }
    };
    let text = form.text("filter", usize::MAX)?.unwrap_or_default();
    Ok((event, filter::read(&text)?, text))
}

/// The position to recover from: our addition, as in the native dialect.
fn recover(members: &Members<'_>) -> Result<Option<Position>, Refusal> {
    let Some(text) = members.get("recover") else { return Ok(None) };
    let form = Members::read(text).ok_or_else(|| wrong("recover", "must be an object"))?;
    let epoch = form.text("epoch", ID_BYTES)?.ok_or_else(|| wrong("recover.epoch", "is required"))?;
    let offset = form.get("offset").and_then(|text| text.parse().ok());
    let offset = offset.ok_or_else(|| wrong("recover.offset", "must be a whole number"))?;
    Ok(Some(Position { epoch, offset }))
}

fn unsubscribe(members: &Members<'_>) -> Result<Command, Refusal> {
    if let Some(id) = members.text("subscription_id", ID_BYTES)? {
        return Ok(Command::Unsubscribe { id: id::of_subscription(&id) });
    }
    let id = channel(members)?.map(|name| channel_id(members, name)).transpose()?;
    Ok(Command::UnsubscribeAll { id })
}

fn publish(members: &Members<'_>) -> Result<Command, Refusal> {
    let name = channel(members)?.ok_or_else(|| refuse("channel is required for broadcast"))?;
    let message = members.text("messageId", ID_BYTES)?;
    Ok(Command::Publish {
        topic: topic(members, name)?,
        event: members.text("event", NAME_BYTES)?.unwrap_or_else(|| DEFAULT_EVENT.to_owned()),
        payload: Payload::Json(Rc::from(members.get("payload").unwrap_or("null"))),
        id: message.map(|message| id::of_message(&message)),
        // Everyone gets the message, and the sender's copy is marked.
        echo: true,
        key: None,
    })
}

/// The event is in the payload, where the server reads it, or beside it, where the SDK writes it.
fn presence(members: &Members<'_>) -> Result<Command, Refusal> {
    let name = channel(members)?.ok_or_else(|| refuse("channel is required for presence"))?;
    let topic = Some(topic(members, name)?);
    let payload = members.within("payload").ok_or_else(|| refuse("invalid presence payload"))?;
    let event = match payload.text("event", NAME_BYTES)? {
        Some(event) => Some(event),
        None => members.text("event", NAME_BYTES)?,
    };
    let key = payload.text("key", NAME_BYTES)?.map(|key| Rc::from(key.as_str()));
    match event.as_deref() {
        Some("track") => {
            let key = Some(key.ok_or_else(|| refuse("key is required for presence track"))?);
            let state = payload.get("state").unwrap_or("{}");
            Members::read(state).ok_or_else(|| refuse("invalid presence payload"))?;
            Ok(Command::Track { topic, key, metadata: Rc::from(state) })
        }
        Some("untrack") => {
            let key = Some(key.ok_or_else(|| refuse("key is required for presence untrack"))?);
            Ok(Command::Untrack { topic, key })
        }
        _ => Err(refuse("unknown presence event")),
    }
}

fn authenticate(members: &Members<'_>) -> Result<Command, Refusal> {
    let token = members.get("token").and_then(json::string).unwrap_or_default();
    if token.trim().is_empty() {
        return Err(refuse("token is required for access_token message"));
    }
    Ok(Command::Authenticate(Authenticate {
        proven: None,
        token: Secret::new(token.trim().to_owned()),
        organization: None,
        recover: Recover::Off,
        subscriptions: None,
        batches: false,
    }))
}
