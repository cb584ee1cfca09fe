//! Messages in the format of `POST /broadcast`.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::RealtimeError;

/// How a value is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Mask {
    /// `j***@y*********.com`
    Email,
    /// `******4567`
    Phone,
    /// `*****6789`
    Ssn,
    /// `**** **** **** 1111`
    CreditCard,
    /// `J***`
    Name,
    /// `[REDACTED]`
    Redact,
}

/// How a column is masked, and who sees its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MaskRule {
    /// What everyone else sees.
    #[serde(rename = "type")]
    pub mask: Mask,
    /// Who sees the value.
    pub show: Show,
}

/// Who sees a masked value; by default, nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Show {
    /// Holders of one of these roles.
    pub roles: Vec<String>,
    /// The owner of the row.
    pub owner: bool,
}

impl Serialize for Show {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let roles = Some(("roles", Value::from(self.roles.clone())));
        let owner = self.owner.then(|| ("or", Value::from("owner")));
        serializer.collect_map(roles.into_iter().chain(owner))
    }
}

/// The encoding of a broadcast's payload, unless it is a JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Base64 text (RFC 4648, section 4) that encodes bytes.
    Base64,
}

/// Who receives a message, how it is masked, and what the Worker cannot know. `None` restricts nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Options {
    /// Only this user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Only holders of at least one of these roles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_roles: Option<Vec<String>>,
    /// Only subscribers of this topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Whether the topic is private. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private: Option<bool>,
    /// The columns of a row that are sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<String>>,
    /// Database types of a row's columns, such as `numeric`, which Supabase clients use to cast values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, String>,
    /// The encoding of a broadcast's payload; it excludes masks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// Masks by column or dotted path.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub masking_config: BTreeMap<String, MaskRule>,
    /// The column that holds the owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_field: Option<String>,
    /// `false`: not retained for recovery, whatever the table says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<bool>,
    /// The idempotency key; the sender generates a missing one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Options {
    /// Only for this user.
    pub fn to_user(user: impl Into<String>) -> Options {
        Options { user_id: Some(user.into()), ..Options::default() }
    }

    /// Only for holders of one of these roles.
    pub fn to_roles<Role: Into<String>>(roles: impl IntoIterator<Item = Role>) -> Options {
        Options { target_roles: Some(roles.into_iter().map(Into::into).collect()), ..Options::default() }
    }
}

/// One message, ready to be sent, alone or in a batch.
///
/// ```
/// use realtime_worker_client::{Message, Options};
///
/// let row = serde_json::json!({ "id": "c1", "title": "First" });
/// let message = Message::insert("claims", &row, &Options::to_user("u7"))?;
/// assert!(message.body("org_1").contains(r#""eventType":"INSERT""#));
/// # Ok::<(), realtime_worker_client::RealtimeError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Message(Map<String, Value>);

impl Message {
    /// A row was inserted. The table is `table` or `schema.table`.
    ///
    /// # Errors
    /// When the row cannot be serialized.
    pub fn insert(table: &str, row: &impl Serialize, options: &Options) -> Result<Message, RealtimeError> {
        change(table, "INSERT", json(row)?, Value::Null, options)
    }

    /// A row was updated; `old` is the row before it, if known.
    ///
    /// # Errors
    /// When a row cannot be serialized.
    pub fn update<Row: Serialize>(
        table: &str,
        new: &Row,
        old: Option<&Row>,
        options: &Options,
    ) -> Result<Message, RealtimeError> {
        change(table, "UPDATE", json(new)?, json(&old)?, options)
    }

    /// A row was deleted.
    ///
    /// # Errors
    /// When the row cannot be serialized.
    pub fn delete(table: &str, old: &impl Serialize, options: &Options) -> Result<Message, RealtimeError> {
        change(table, "DELETE", Value::Null, json(old)?, options)
    }

    /// Any message other than a row change. Events of a namespace are named `namespace:event`.
    ///
    /// # Errors
    /// When the payload cannot be serialized.
    pub fn broadcast(event: &str, payload: &impl Serialize, options: &Options) -> Result<Message, RealtimeError> {
        let content = [("type", "broadcast".into()), ("event", event.into()), ("payload", json(payload)?)];
        message(content, options)
    }

    /// Sets an idempotency key, unless there is one.
    #[must_use]
    pub fn with_id(mut self, id: impl FnOnce() -> String) -> Message {
        self.0.entry("id").or_insert_with(|| id().into());
        self
    }

    /// The idempotency key, if there is one.
    pub fn id(&self) -> Option<&str> {
        self.0.get("id")?.as_str()
    }

    /// The body of a request with only this message.
    pub fn body(&self, organization_id: &str) -> String {
        let mut body = self.0.clone();
        body.insert("organizationId".into(), organization_id.into());
        Value::Object(body).to_string()
    }
}

/// As JSON, without an organization.
impl fmt::Display for Message {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Value::Object(self.0.clone()).fmt(formatter)
    }
}

/// The body of a request with several messages of one organization.
pub fn batch_body(organization_id: &str, messages: Vec<Message>) -> String {
    let messages: Vec<Value> = messages.into_iter().map(|message| Value::Object(message.0)).collect();
    serde_json::json!({ "organizationId": organization_id, "messages": messages }).to_string()
}

fn change(table: &str, event_type: &str, new: Value, old: Value, options: &Options) -> Result<Message, RealtimeError> {
    let (schema, table) = table.split_once('.').unwrap_or(("public", table));
    let content = [
        ("type", "postgres_changes".into()),
        ("schema", schema.into()),
        ("table", table.into()),
        ("eventType", event_type.into()),
        ("new", new),
        ("old", old),
    ];
    message(content, options)
}

fn message<const N: usize>(content: [(&str, Value); N], options: &Options) -> Result<Message, RealtimeError> {
    let Value::Object(mut message) = json(options)? else { return Ok(Message(Map::new())) };
    message.extend(content.map(|(name, value)| (name.to_owned(), value)));
    Ok(Message(message))
}

fn json(value: &impl Serialize) -> Result<Value, RealtimeError> {
    serde_json::to_value(value).map_err(|error| RealtimeError::here("invalid_request", error.to_string()))
}
