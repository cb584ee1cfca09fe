//! Clients that subscribe to tables of the rig's database, in the native dialect.

use serde_json::{Value, json};

use super::source::table;
use super::{Client, ORGANIZATION, Rig};

/// The database roles that judge.
pub const ROLES: [&str; 2] = ["authenticated", "auditor"];

/// The configuration of an organization with a database, with additional settings.
pub fn with_database(more: Value) -> Value {
    let mut realtime = json!({ "databases": { "main": { "connection": "DATABASE_URL", "organization": ORGANIZATION,
        "roles": ROLES, "bypass": ["service_role"] } } });
    realtime.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    realtime
}

/// The table `messages`, whose rows have an owner.
pub fn messages() -> Value {
    table("messages", &[("id", "int8"), ("owner", "text")], &ROLES)
}

/// Connects a client without subscriptions; `more` are claims of its token.
pub fn connect(rig: &mut Rig, user: &str, more: Value) -> Client {
    let mut claims = rig.claims(user, &[]);
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rig.connect_saying(&claims, json!({ "subscriptions": [] }))
}

/// Subscribes to a table.
pub fn subscribe(rig: &mut Rig, client: &Client, id: &str, table: &str) {
    rig.frame(client, json!({ "type": "subscribe", "id": id, "table": table }));
}
