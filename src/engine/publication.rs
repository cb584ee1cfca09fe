//! A publication: a row change or a message, with its audience, its fields and its masks
//! (docs/protocol-native.md, Publishing).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};

use crate::code::{Code, Refusal};
use crate::policy::channel::{MAX_TOPIC, Topic};
use crate::policy::limits::{ID_BYTES, NAME_BYTES};
use crate::policy::masking::{MAX_ROLES, Masking};
use crate::policy::table::{DEFAULT_SCHEMA, MAX_COLUMNS, Operation, distinct, types};
use crate::value::form::{Field, Form};
use crate::value::json;
use crate::value::row::Row;

/// The version of the retained text: [`Publication::source`], read by [`Publication::stored`].
pub const STORED_VERSION: u64 = 1;

/// A publication as the publisher sent it, unmasked.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    /// The row change or message.
    pub content: Content,
    /// Only subscribers of this topic receive it; `None`: the whole organization.
    pub topic: Option<Topic>,
    /// Only this user.
    pub user: Option<String>,
    /// Only holders of at least one of these roles.
    pub target_roles: Option<Vec<String>>,
    /// The columns that are sent; `None`: all.
    pub fields: Option<BTreeSet<String>>,
    /// The column that names the owner.
    pub owner_field: Option<String>,
    /// Database types of columns, such as `int8`, if the publisher declares them.
    pub columns: BTreeMap<String, String>,
    /// The masking rules.
    pub masking: Masking,
    /// The idempotency key.
    pub id: Option<String>,
    /// Whether the history may keep it.
    pub history: bool,
    /// The metadata of a database's own change.
    pub database: Option<Rc<FromDatabase>>,
    /// The id that a database gave its own message, which clients may see.
    pub message_id: Option<Rc<str>>,
    /// The JSON text of all this, which the history stores.
    pub source: Rc<str>,
}

/// The metadata of a database's own change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromDatabase {
    /// The commit time in Unix milliseconds, if known.
    pub at: Option<u64>,
    /// Whether large columns were left out.
    pub truncated: bool,
    /// The columns that identify a row.
    pub key: BTreeSet<String>,
    /// The columns of an old row that replication would send; `None`: all.
    pub identity: Option<BTreeSet<String>>,
}

/// A row change or a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A row was inserted, updated or deleted.
    Change {
        /// The table's schema.
        schema: Rc<str>,
        /// The table.
        table: Rc<str>,
        /// The operation.
        operation: Operation,
        /// The row after it.
        new: Option<Row>,
        /// The row before it, if the publisher knows it.
        old: Option<Row>,
    },
    /// A message with a name chosen by the publisher.
    Message {
        /// Its name.
        event: Rc<str>,
        /// The payload.
        payload: Payload,
        /// The JSON object as a client sent it, if it holds more than [`Publication::source`] can express; recipients
        /// of the same dialect receive it unchanged.
        whole: Option<Rc<str>>,
    },
}

/// The payload of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// JSON text.
    Json(Rc<str>),
    /// Bytes; in JSON they are base64 (RFC 4648, section 4) beside `"encoding":"base64"`.
    Binary(Rc<[u8]>),
}

impl Payload {
    /// Bytes of the text, or of the data.
    pub fn bytes(&self) -> usize {
        match self {
            Payload::Json(text) => text.len(),
            Payload::Binary(bytes) => bytes.len(),
        }
    }
}

/// The encoding that marks a payload as bytes.
pub const BASE64: &str = "base64";

impl Publication {
    /// Reads a publication from the object `form`, whose whole text is `source`.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`] or [`Code::UnknownMaskType`] with the path of the offending key.
    pub fn read(mut form: Form<'_>, source: &str) -> Result<Publication, Refusal> {
        let kind = form.require("type")?;
        let content = match kind.text()?.as_str() {
            "postgres_changes" => change(&mut form)?,
            "broadcast" => message(&mut form)?,
            _ => return Err(kind.refuse("must be \"postgres_changes\" or \"broadcast\"")),
        };
        let is_change = matches!(content, Content::Change { .. });
        let publication = Publication {
            content,
            topic: topic(&mut form)?,
            user: form.take("userId").map(|user| user.name(NAME_BYTES)).transpose()?,
            target_roles: form.take("targetRoles").map(|roles| roles.texts(MAX_ROLES)).transpose()?,
            // A message has no columns, so `fields` is refused as an unknown key.
            fields: if is_change { fields(&mut form)? } else { None },
            owner_field: form.take("ownerField").map(|column| column.name(NAME_BYTES)).transpose()?,
            // Types belong to columns, as `fields` does.
            columns: if is_change {
                form.take("columns").map(|columns| types(&columns)).transpose()?.unwrap_or_default()
            } else {
                BTreeMap::new()
            },
            masking: form.take("maskingConfig").map(|masking| Masking::read(&masking)).transpose()?.unwrap_or_default(),
            id: form.take("id").map(|id| id.name(ID_BYTES)).transpose()?,
            history: form.take("history").map_or(Ok(true), |history| history.boolean())?,
            database: None,
            message_id: None,
            source: Rc::from(source),
        };
        if publication.is_binary() && !publication.masking.is_empty() {
            return Err(form.refuse("maskingConfig", "must not stand beside an encoding: bytes have no keys to mask"));
        }
        form.finish()?;
        Ok(publication)
    }

    /// Reads a publication back from the history; `None` if its version is unknown.
    pub fn stored(version: u64, text: &str) -> Option<Publication> {
        if version != STORED_VERSION {
            return None;
        }
        let mut form = Form::read(text, Code::InvalidRequest).ok()?;
        form.take("organizationId");
        let said = form.take("whole").map(|whole| Rc::from(whole.json()));
        // With unreadable metadata, this would look like a change that needs no verdict.
        let database = form.take("database").map(|database| serde_json::from_str(database.json())).transpose().ok()?;
        let message_id = form.take("messageId").map(|id| id.text()).transpose().ok()?;
        let mut publication = Publication::read(form, text).ok()?;
        publication.database = database.map(Rc::new);
        publication.message_id = message_id.map(Rc::from);
        if let Content::Message { whole, .. } = &mut publication.content {
            *whole = said;
        }
        Some(publication)
    }

    /// A row change that a database has committed.
    pub fn from_database(
        (schema, table): (&Rc<str>, &Rc<str>),
        (operation, new, old): (Operation, Option<Row>, Option<Row>),
        columns: BTreeMap<String, String>,
        database: FromDatabase,
    ) -> Publication {
        let mut source = String::from("{\"type\":\"postgres_changes\",\"schema\":");
        json::write_string(&mut source, schema);
        source.push_str(",\"table\":");
        json::write_string(&mut source, table);
        source.push_str(",\"eventType\":\"");
        source.push_str(operation.as_str());
        source.push('"');
        for (name, row) in [("new", &new), ("old", &old)] {
            let Some(row) = row else { continue };
            source.push_str(&[",\"", name, "\":"].concat());
            row.write(&mut source);
        }
        // Maps of texts always have a JSON form.
        source.push_str(",\"columns\":");
        source.push_str(&serde_json::to_string(&columns).unwrap_or_default());
        source.push_str(",\"database\":");
        source.push_str(&serde_json::to_string(&database).unwrap_or_default());
        source.push('}');
        let content = Content::Change { schema: schema.clone(), table: table.clone(), operation, new, old };
        Publication { content, columns, database: Some(Rc::new(database)), ..Publication::plain(Rc::from(source)) }
    }

    /// A message without an audience; the caller adds it.
    fn plain(source: Rc<str>) -> Publication {
        Publication {
            content: Content::Message { event: Rc::from(""), payload: Payload::Json(Rc::from("null")), whole: None },
            topic: None,
            user: None,
            target_roles: None,
            fields: None,
            owner_field: None,
            columns: BTreeMap::new(),
            masking: Masking::default(),
            id: None,
            history: true,
            database: None,
            message_id: None,
            source,
        }
    }

    /// A message that a client publishes to a topic.
    ///
    /// # Errors
    /// When the event is empty or the payload repeats a key, as for any publisher: the history could not be read back.
    pub fn from_client(topic: Topic, event: &str, payload: Payload) -> Result<Publication, Refusal> {
        if event.is_empty() {
            return Err(Refusal::at(Code::InvalidFrame, "event", "event must not be empty"));
        }
        if let Payload::Json(json) = &payload
            && !is_payload(json)
        {
            return Err(Refusal::at(Code::InvalidFrame, "payload", "payload must not repeat a key"));
        }
        let mut source = String::from("{\"type\":\"broadcast\",\"event\":");
        json::write_string(&mut source, event);
        source.push_str(",\"payload\":");
        payload.write(&mut source);
        source.push_str(",\"topic\":");
        json::write_string(&mut source, &topic.name);
        source.push_str(if topic.private { "}" } else { ",\"private\":false}" });
        let content = Content::Message { event: Rc::from(event), payload, whole: None };
        Ok(Publication { content, topic: Some(topic), ..Publication::plain(Rc::from(source)) })
    }

    /// The private topic of the message.
    pub fn private_topic(&self) -> Option<Rc<str>> {
        let topic = self.topic.as_ref().filter(|topic| topic.private)?;
        matches!(self.content, Content::Message { .. }).then(|| topic.name.clone())
    }

    /// The same publication, excluded from the history.
    pub fn without_history(mut self) -> Publication {
        self.history = false;
        self.say("history", "false");
        self
    }

    /// The same message with the client's original object.
    pub fn said_in(mut self, object: Rc<str>) -> Publication {
        self.say("whole", &object);
        if let Content::Message { whole, .. } = &mut self.content {
            *whole = Some(object);
        }
        self
    }

    /// Marks a message as sent by the database: clients may see its id.
    pub fn sent_by_database(mut self) -> Publication {
        if let Some(id) = self.id.clone() {
            let mut text = String::new();
            json::write_string(&mut text, &id);
            self.say("messageId", &text);
            self.message_id = Some(Rc::from(id));
        }
        self
    }

    /// Adds a member to its source text.
    fn say(&mut self, name: &str, json: &str) {
        let members = self.source.strip_suffix('}').unwrap_or_default();
        self.source = Rc::from([members, ",\"", name, "\":", json, "}"].concat());
    }

    fn is_binary(&self) -> bool {
        matches!(self.content, Content::Message { payload: Payload::Binary(_), .. })
    }
}

impl Payload {
    /// Reads `payload` and `encoding`; `None` if there is no payload.
    ///
    /// # Errors
    /// When the encoding is unknown, or the payload is not encoded in it.
    pub fn read(form: &mut Form<'_>) -> Result<Option<Payload>, Refusal> {
        let encoding = form.take("encoding");
        let Some(payload) = form.take("payload") else {
            let alone = |encoding: Field<'_>| Err(encoding.refuse("needs a payload beside it"));
            return encoding.map_or(Ok(None), alone);
        };
        match encoding {
            None => Ok(Some(Payload::Json(Rc::from(payload.json())))),
            Some(encoding) if encoding.text()? != BASE64 => Err(encoding.refuse("must be \"base64\"")),
            Some(_) => {
                let bytes = Base64::decode_vec(&payload.text()?).map_err(|_| payload.refuse("must be base64"))?;
                Ok(Some(Payload::Binary(Rc::from(bytes))))
            }
        }
    }

    /// Writes the value of `payload`, and `encoding` if there is one.
    pub fn write(&self, out: &mut String) {
        match self {
            Payload::Json(json) => out.push_str(json),
            Payload::Binary(bytes) => {
                json::write_string(out, &Base64::encode_string(bytes));
                out.push_str(",\"encoding\":\"base64\"");
            }
        }
    }
}

fn change(form: &mut Form<'_>) -> Result<Content, Refusal> {
    let schema = form.take("schema").map(|schema| schema.name(NAME_BYTES)).transpose()?;
    let table_field = form.require("table")?;
    let table = table_field.name(NAME_BYTES)?;
    if table.contains('.') {
        // `public.t` in the schema `public` would be another table than `t`, one without any rules.
        return Err(table_field.refuse("must not contain a dot: the schema has a key of its own"));
    }
    let event_type = form.require("eventType")?;
    let operation = Operation::named(&event_type.text()?);
    let operation = operation.ok_or_else(|| event_type.refuse("must be \"INSERT\", \"UPDATE\" or \"DELETE\""))?;
    let (new, old) = (row(form, "new")?, row(form, "old")?);
    let (new, old) = match operation {
        Operation::Insert => (Some(new.ok_or_else(|| form.refuse("new", "is required for an INSERT"))?), None),
        Operation::Update => (Some(new.ok_or_else(|| form.refuse("new", "is required for an UPDATE"))?), old),
        Operation::Delete => (None, Some(old.ok_or_else(|| form.refuse("old", "is required for a DELETE"))?)),
    };
    let schema = schema.as_deref().unwrap_or(DEFAULT_SCHEMA);
    Ok(Content::Change { schema: Rc::from(schema), table: Rc::from(table), operation, new, old })
}

/// A row; `None` if it is absent or `null`.
fn row(form: &mut Form<'_>, name: &str) -> Result<Option<Row>, Refusal> {
    let Some(field) = form.take(name).filter(|field| !field.is_null()) else { return Ok(None) };
    let row = Row::read(field.json()).map_err(|_| field.refuse("must be an object without repeated keys"))?;
    Ok(Some(row))
}

fn message(form: &mut Form<'_>) -> Result<Content, Refusal> {
    let event = form.require("event")?.name(NAME_BYTES)?;
    let payload = Payload::read(form)?.ok_or_else(|| form.refuse("payload", "is required"))?;
    if let Payload::Json(json) = &payload
        && !is_payload(json)
    {
        return Err(form.refuse("payload", "must not repeat a key"));
    }
    Ok(Content::Message { event: Rc::from(event), payload, whole: None })
}

/// Whether every JSON parser reads the payload alike: no key of the outermost object is repeated.
fn is_payload(json: &str) -> bool {
    json::kind(json) != json::Kind::Object || Row::read(json).is_ok()
}

/// The topic of a form: `topic` and `private`.
///
/// # Errors
/// When one is of a wrong type, or there is `private` without a topic.
pub fn topic(form: &mut Form<'_>) -> Result<Option<Topic>, Refusal> {
    let name = form.take("topic").map(|topic| topic.name(MAX_TOPIC)).transpose()?;
    let private = form.take("private").map(|private| private.boolean()).transpose()?;
    match (name, private) {
        (Some(name), private) => Ok(Some(Topic { private: private.unwrap_or(true), name: Rc::from(name) })),
        (None, Some(_)) => Err(form.refuse("private", "needs a topic beside it")),
        (None, None) => Ok(None),
    }
}

fn fields(form: &mut Form<'_>) -> Result<Option<BTreeSet<String>>, Refusal> {
    let read = |fields: Field<'_>| fields.texts(MAX_COLUMNS).map(distinct);
    form.take("fields").map(read).transpose()
}
