//! Helpers for scripts: the shared configuration, subscriptions, the API's publications, observations.

use serde_json::{Value, json};

use super::adapter::{Observation, Payload, Subscription, Table, Target, Topic, code};

/// The configuration of every script.
pub fn realtime(from_database: bool) -> Value {
    let database = json!({ "main": { "connection": "DATABASE_URL", "organization": crate::rig::ORGANIZATION,
        "roles": [DATABASE_ROLE] } });
    let mut realtime = json!({
        "tables": {
            // For dialects that know declared tables only.
            "notes": {}, "claims": {}, "app.claims": {}, "files": {}, "other": {},
            "people": { "masking": { "ssn": { "type": "ssn", "show": { "roles": ["hr"], "or": "owner" } } } },
            "tasks": { "rows": [
                { "roles": ["admin"] },
                { "column": "team_id", "claim": "teams" },
                { "column": "user_id", "claim": "sub" },
            ] },
            "secrets": { "requiredRoles": ["hr"] },
            "drafts": { "onDelete": false, "fields": ["id", "title"], "history": false },
        },
        "channels": [
            { "topic": "room:*", "read": {}, "write": {}, "presence": {} },
            { "topic": "log:*", "read": {}, "write": {}, "presence": {}, "history": true },
            { "topic": "board:*", "read": {}, "write": { "roles": ["member"] }, "presence": { "roles": ["member"] },
              "presenceRead": {} },
            { "topic": "hr:*", "read": { "roles": ["hr"] }, "write": { "roles": ["hr"] }, "presence": { "roles": ["hr"] } },
            { "topic": "hall:*", "read": {}, "presence": { "roles": ["member"] } },
            { "topic": "lounge:*", "read": { "roles": ["hr"] }, "presence": {} },
            { "topic": "user:{sub}", "read": {}, "write": {}, "presence": {} },
        ],
        "history": { "replay": 30 },
        "limits": { "topics": 5, "presenceMembers": MAX_PRESENT },
        // For dialects that receive nothing of a table without a policy, nor of one that is not enabled.
        "butterbase": { "listeners": -1, "tables": ["*"], "public": ["*"] },
    });
    if from_database {
        realtime["databases"] = database;
    }
    realtime
}

/// The scripts' tables as a database describes them. Its policies show every row, so that only the configuration's
/// rules remain.
pub fn database_tables() -> Value {
    let public = ["notes", "claims", "files", "other", "people", "tasks", "secrets", "drafts"];
    let tables = public.iter().map(|name| ("public", *name)).chain([("app", "claims")]);
    let table = |(schema, name)| {
        json!({ "schema": schema, "table": name, "enabled": true, "row_security": true, "columns": [],
            "primary_key": ["id"], "replica_identity": "full", "roles": { DATABASE_ROLE: { "state": "live", "columns": "*" } } })
    };
    tables.map(table).collect()
}

/// The capacity of a topic: one member of each dialect.
pub const MAX_PRESENT: usize = 7;

const DATABASE_ROLE: &str = "authenticated";

// --- subscriptions ---------------------------------------------------------------------------------------------------

pub const fn private(name: &'static str) -> Topic {
    Topic { name, private: true }
}

pub const fn public(name: &'static str) -> Topic {
    Topic { name, private: false }
}

/// A plain subscription to a topic, with the topic's name.
pub fn to(topic: Topic) -> Subscription {
    let target = Target::Topic { topic, watch: false, echo: false, acknowledge: false };
    Subscription { name: topic.name, target, since: None }
}

/// A subscription to tables.
pub fn tables<const COUNT: usize>(name: &'static str, tables: [Table; COUNT]) -> Subscription {
    Subscription { name, target: Target::Tables(tables.into()), since: None }
}

/// A subscription to all changes of a table, with the table's name.
pub fn all_of(table: &'static str) -> Subscription {
    tables(table, [changes(table)])
}

/// All changes of a table of the usual schema.
pub const fn changes(table: &'static str) -> Table {
    Table { schema: "public", table, event: "*", filter: None }
}

impl Subscription {
    /// With presence.
    pub fn watching(mut self) -> Subscription {
        if let Target::Topic { watch, .. } = &mut self.target {
            *watch = true;
        }
        self
    }

    /// With its own messages.
    pub fn with_echo(mut self) -> Subscription {
        if let Target::Topic { echo, .. } = &mut self.target {
            *echo = true;
        }
        self
    }

    /// With acknowledgements.
    pub fn acknowledged(mut self) -> Subscription {
        if let Target::Topic { acknowledge, .. } = &mut self.target {
            *acknowledge = true;
        }
        self
    }

    /// With the messages since a time.
    pub fn since(mut self, time: u64) -> Subscription {
        self.since = Some(time);
        self
    }
}

impl Table {
    pub const fn on(self, event: &'static str) -> Table {
        Table { event, ..self }
    }

    pub const fn of(self, schema: &'static str) -> Table {
        Table { schema, ..self }
    }

    pub const fn matching(self, filter: &'static str) -> Table {
        Table { filter: Some(filter), ..self }
    }
}

// --- what the API publishes ------------------------------------------------------------------------------------------

pub fn insert(table: &str, new: Value) -> Value {
    json!({ "type": "postgres_changes", "table": table, "eventType": "INSERT", "new": new })
}

pub fn update(table: &str, new: Value, old: Value) -> Value {
    json!({ "type": "postgres_changes", "table": table, "eventType": "UPDATE", "new": new, "old": old })
}

pub fn delete(table: &str, old: Value) -> Value {
    json!({ "type": "postgres_changes", "table": table, "eventType": "DELETE", "old": old })
}

pub fn message(topic: Topic, event: &str, payload: Value) -> Value {
    json!({ "type": "broadcast", "topic": topic.name, "private": topic.private, "event": event, "payload": payload })
}

/// A message to the whole organization.
pub fn message_to_all(event: &str) -> Value {
    json!({ "type": "broadcast", "event": event, "payload": null })
}

/// The same publication with further fields.
pub fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

// --- observations ----------------------------------------------------------------------------------------------------

pub fn inserted(table: &str, new: Value) -> Observation {
    changed(table, "INSERT", new, Value::Null)
}

pub fn updated(table: &str, new: Value, old: Value) -> Observation {
    changed(table, "UPDATE", new, old)
}

pub fn deleted(table: &str, old: Value) -> Observation {
    changed(table, "DELETE", Value::Null, old)
}

fn changed(table: &str, operation: &str, new: Value, old: Value) -> Observation {
    let table = if table.contains('.') { table.to_owned() } else { format!("public.{table}") };
    Observation::Change { table, operation: operation.to_owned(), new, old }
}

pub fn said(topic: Topic, event: &str, payload: Value) -> Observation {
    Observation::Message { topic: topic.name.to_owned(), event: event.to_owned(), payload: Payload::Json(payload) }
}

pub fn said_bytes(topic: Topic, event: &str, bytes: &[u8]) -> Observation {
    Observation::Message {
        topic: topic.name.to_owned(),
        event: event.to_owned(),
        payload: Payload::Bytes(bytes.into()),
    }
}

pub fn said_to_all(event: &str) -> Observation {
    Observation::Message { topic: String::new(), event: event.to_owned(), payload: Payload::Json(Value::Null) }
}

pub fn subscribed(name: &str) -> Observation {
    Observation::Subscribed(name.to_owned())
}

pub fn accepted(what: &str) -> Observation {
    Observation::Accepted(what.to_owned())
}

pub fn refused(what: &str, word: &str) -> Observation {
    Observation::Refused(what.to_owned(), code(word))
}

pub fn ended(name: &str, word: &str) -> Observation {
    Observation::Ended(name.to_owned(), code(word))
}

pub fn present<const COUNT: usize>(topic: Topic, members: [(&str, Value); COUNT]) -> Observation {
    let members = members.into_iter().map(|(who, said)| (who.to_owned(), said));
    Observation::Present(topic.name.to_owned(), members.collect())
}

pub fn joined(topic: Topic, who: &str, metadata: Value) -> Observation {
    Observation::Joined(topic.name.to_owned(), who.to_owned(), metadata)
}

pub fn changed_to(topic: Topic, who: &str, metadata: Value) -> Observation {
    Observation::Updated(topic.name.to_owned(), who.to_owned(), metadata)
}

pub fn left(topic: Topic, who: &str) -> Observation {
    Observation::Left(topic.name.to_owned(), who.to_owned())
}
