//! Helpers that the scripts of Fluxbase's clients share.

use realtime_worker::dialect::fluxbase::ID;
use realtime_worker::engine::command::Recover;
use realtime_worker::policy::principal::Principal;
use serde_json::{Value, json};

use crate::rig::{Client, Rig};

pub fn realtime() -> Value {
    json!({
        "heartbeats": false,
        "tables": {
            "products": {},
            "orders": { "rows": [{ "column": "user_id", "claim": "sub" }, { "roles": ["admin"] }] },
            "auth.users": {},
        },
        "channels": [
            { "topic": "room:*", "read": {}, "write": {}, "presence": {} },
            { "topic": "open:*", "read": { "roles": ["anon"] }, "write": { "roles": ["anon"] },
              "presence": { "roles": ["anon"] } },
            { "topic": "inbox:*", "write": {} },
            { "topic": "*", "read": { "roles": ["admin"] } },
        ],
        "fluxbase": { "organization": crate::rig::ORGANIZATION, "anonymous": ["public.products"] },
    })
}

pub fn open_as(rig: &mut Rig, principal: Principal, recover: Recover) -> Client {
    rig.open_at(ID, Some(principal), None, recover).unwrap()
}

/// A user without a particular role.
pub fn open(rig: &mut Rig, user: &str) -> Client {
    open_as(rig, crate::rig::token::principal(user, &[], None), Recover::Off)
}

pub fn anonymous(rig: &mut Rig) -> Client {
    open_as(rig, Principal::anonymous("anon"), Recover::Off)
}

/// Sends a frame, and returns the answers to it.
pub fn say(rig: &mut Rig, client: &Client, frame: Value) -> Value {
    rig.frame(client, frame);
    client.next()
}

pub fn subscribe(rig: &mut Rig, client: &Client, channel: &str) -> Value {
    say(rig, client, json!({ "type": "subscribe", "channel": channel }))
}

pub fn insert(table: &str, row: Value) -> Value {
    json!({ "type": "postgres_changes", "table": table, "eventType": "INSERT", "new": row })
}
