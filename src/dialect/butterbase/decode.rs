//! Decodes a client's frame. Unknown keys are ignored, as Butterbase's own server does.

use std::borrow::Cow;
use std::rc::Rc;

use super::{CLIENT_FRAMES, SEPARATOR};
use crate::code::{Code, Refusal};
use crate::engine::command::{
    Authenticate, Call, Command, Malformed, Position, Recover, Subscribe, TableTarget, Target,
};
use crate::policy::channel::{MAX_TOPIC, Topic};
use crate::policy::filter::Filter;
use crate::policy::limits::{ID_BYTES, NAME_BYTES};
use crate::policy::secret::Secret;
use crate::policy::table::{DEFAULT_SCHEMA, MAX_COLUMNS, distinct};
use crate::policy::token::MAX_TOKEN;
use crate::value::json::{self, Kind};

/// How many characters of an unknown type the refusal quotes.
const SHOWN: usize = 64;

/// Reads a frame.
///
/// # Errors
/// When it is malformed, in the protocol's words.
pub fn command(text: &str) -> Result<Command, Malformed> {
    let Ok(object) = json::lenient_object(text) else {
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        return Err(if is_json { unknown("undefined") } else { refuse(Code::InvalidFrame, "Invalid JSON") });
    };
    let members = Members(object);
    let kind = members.text("type");
    let command = match kind.as_deref() {
        Some("subscribe") => Command::Subscribe(subscribe(&members)?),
        Some("unsubscribe") => Command::Unsubscribe { id: subscription_id(&members)? },
        Some("presence_track") => Command::Track { topic: room(&members)?, key: None, metadata: metadata(&members) },
        Some("presence_update") => Command::Update { topic: room(&members)?, metadata: metadata(&members) },
        Some("presence_untrack") => Command::Untrack { topic: room(&members)?, key: None },
        Some("event") => Command::Call(call(&members)?),
        Some("auth") => Command::Authenticate(authenticate(&members)?),
        Some(other) => return Err(unknown(other)),
        None => return Err(unknown(members.raw("type").unwrap_or("undefined"))),
    };
    debug_assert!(
        kind.is_some_and(|kind| CLIENT_FRAMES.contains(&kind.as_str())),
        "a frame is missing in CLIENT_FRAMES"
    );
    Ok(command)
}

/// The members of a frame. The last of a repeated key counts, as for `JSON.parse`.
struct Members<'a>(json::Object<'a>);

impl<'a> Members<'a> {
    /// The JSON text of a member; `null` counts as absent.
    fn get(&self, name: &str) -> Option<&'a str> {
        self.raw(name).filter(|text| json::kind(text) != Kind::Null)
    }

    fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.members.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.get())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(json::string)
    }

    fn object(&self, name: &str) -> Option<&'a str> {
        self.get(name).filter(|text| json::kind(text) == Kind::Object)
    }
}

fn subscribe(members: &Members<'_>) -> Result<Subscribe, Malformed> {
    let id = subscription_id(members)?;
    let recover = match members.get("recover") {
        None => None,
        Some(text) => Some(position(text).ok_or_else(|| invalid("recover"))?),
    };
    if members.get("table").is_none()
        && let Some(topic) = room(members)?
    {
        return Ok(Subscribe {
            id,
            is_numbered: false,
            target: Target::Topic { topic, presence: true },
            recover,
            answer: None,
        });
    }
    let filter = members.object("filter");
    let target = TableTarget {
        schema: DEFAULT_SCHEMA.to_owned(),
        table: table(members)?,
        event: None,
        filter: filter.map_or(Ok(Filter::default()), Filter::exact).map_err(Malformed::from)?,
        select: columns(members)?,
        number: number(members)?,
    };
    Ok(Subscribe { id, is_numbered: false, target: Target::Table(target), recover, answer: filter.map(Rc::from) })
}

/// The id of a subscription: its table and number, or its room.
fn subscription_id(members: &Members<'_>) -> Result<String, Malformed> {
    if members.get("table").is_none()
        && let Some(topic) = room(members)?
    {
        return Ok(format!("{SEPARATOR}{}", topic.name));
    }
    let (table, number) = (table(members)?, number(members)?);
    Ok(if number == 0 { format!("{table}{SEPARATOR}") } else { format!("{table}{SEPARATOR}{number}") })
}

fn table(members: &Members<'_>) -> Result<String, Malformed> {
    let table = members.text("table").filter(|table| !table.is_empty()).ok_or_else(|| missing("table"))?;
    if table.len() > NAME_BYTES {
        return Err(Refusal::of(Code::NameTooLong).into());
    }
    // `*` would mean every table, which this protocol does not offer.
    if table == "*" || table.contains(char::is_control) { Err(invalid("table")) } else { Ok(table) }
}

/// The number that distinguishes several subscriptions to one table; 0 if there is none.
fn number(members: &Members<'_>) -> Result<u32, Malformed> {
    let Some(text) = members.get("id") else { return Ok(0) };
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| invalid("id"))
}

/// A malformed list is refused: ignoring it would send more columns.
fn columns(members: &Members<'_>) -> Result<Option<Rc<std::collections::BTreeSet<String>>>, Malformed> {
    let Some(text) = members.get("columns") else { return Ok(None) };
    let names: Option<Vec<String>> = serde_json::from_str(text).ok();
    let names = names.filter(|names| names.len() <= MAX_COLUMNS).ok_or_else(|| invalid("columns"))?;
    Ok(Some(Rc::new(distinct(names))))
}

fn position(text: &str) -> Option<Position> {
    let members = Members(json::lenient_object(text).ok()?);
    let epoch = members.text("epoch").filter(|epoch| epoch.len() <= ID_BYTES)?;
    Some(Position { epoch, offset: members.get("offset")?.parse().ok()? })
}

/// A room is a private topic; without a room, presence is that of the whole app.
fn room(members: &Members<'_>) -> Result<Option<Topic>, Malformed> {
    let Some(text) = members.get("room") else { return Ok(None) };
    let name = json::string(text).filter(|name| !name.is_empty()).ok_or_else(|| invalid("room"))?;
    if name.len() > MAX_TOPIC {
        return Err(Refusal::of(Code::NameTooLong).into());
    }
    Ok(Some(Topic { private: true, name: Rc::from(name) }))
}

fn metadata(members: &Members<'_>) -> Rc<str> {
    Rc::from(members.object("metadata").unwrap_or("{}"))
}

fn call(members: &Members<'_>) -> Result<Call, Malformed> {
    let is_id = |text: &&str| matches!(json::kind(text), Kind::String | Kind::Number) && text.len() <= ID_BYTES;
    let id = members.get("id").filter(is_id).map(str::to_owned);
    let event = members.text("event").filter(|event| !event.is_empty());
    match event {
        Some(event) if event.len() > NAME_BYTES => Err(Malformed { refusal: Refusal::of(Code::NameTooLong), id }),
        Some(event) => {
            Ok(Call { event: Rc::from(event), payload: Rc::from(members.get("payload").unwrap_or("null")), id })
        }
        None => Err(Malformed { id, ..missing("event") }),
    }
}

fn authenticate(members: &Members<'_>) -> Result<Authenticate, Malformed> {
    // An oversized token becomes an empty, invalid one, because frames may have to wait for keys.
    let token = members.text("token").ok_or_else(|| missing("token"))?;
    let token = if token.len() > MAX_TOKEN { String::new() } else { token };
    let recover = match members.get("recover") {
        None | Some("false") => Recover::Off,
        Some("true") => Recover::On,
        Some(text) => Recover::From(position(text).ok_or_else(|| invalid("recover"))?),
    };
    Ok(Authenticate {
        proven: None,
        token: Secret::new(token),
        organization: None,
        recover,
        subscriptions: None,
        batches: false,
    })
}

fn missing(name: &str) -> Malformed {
    refuse(Code::InvalidFrame, ["Missing \"", name, "\" field"].concat())
}

fn invalid(name: &str) -> Malformed {
    refuse(Code::InvalidFrame, ["Invalid \"", name, "\" field"].concat())
}

fn unknown(kind: &str) -> Malformed {
    let shown: String = kind.chars().take(SHOWN).collect();
    refuse(Code::UnknownType, ["Unknown message type: ", &shown].concat())
}

fn refuse(code: Code, message: impl Into<Cow<'static, str>>) -> Malformed {
    Refusal::because(code, message).into()
}
