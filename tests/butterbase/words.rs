//! Helpers that the scripts of Butterbase's clients share.

use realtime_worker::dialect::butterbase::ID;
use realtime_worker::dialect::butterbase::configuration::{ANONYMOUS, SERVICE, USER};
use realtime_worker::engine::command::Recover;
use realtime_worker::policy::principal::{Method, Principal};
use realtime_worker::policy::roles::Roles;
use serde_json::{Value, json};

use crate::rig::{Client, Rig};

/// A configuration in which every table is enabled and public.
pub fn open_tables() -> Value {
    let app = json!({ "access": "public", "listeners": -1, "tables": ["*"], "public": ["*"] });
    json!({ "butterbase": app, "lobby": { "roles": [ANONYMOUS, USER] } })
}

pub fn user(name: &str) -> Principal {
    Principal {
        user: Some(name.to_owned()),
        roles: Roles::new([USER.to_owned()]),
        method: Method::Session,
        expires: None,
        claims: Default::default(),
        all_claims: None,
        grants: Default::default(),
    }
}

pub fn service() -> Principal {
    Principal { user: None, roles: Roles::new([SERVICE.to_owned()]), method: Method::ApiKey, ..user("") }
}

pub fn connected(rig: &mut Rig, principal: Principal) -> Client {
    let client = rig.open_at(ID, Some(principal), None, Recover::Off).unwrap();
    assert_eq!(client.next()["type"], "connected");
    client
}

#[track_caller]
pub fn subscribed(rig: &mut Rig, client: &Client, more: Value) -> Value {
    let mut frame = json!({ "type": "subscribe", "table": "messages" });
    frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rig.frame(client, frame);
    let answer = client.next();
    assert_eq!(answer["type"], "subscribed", "{answer}");
    answer
}

pub fn insert(rig: &mut Rig, row: Value) -> u64 {
    rig.accepted(json!({ "type": "postgres_changes", "table": "messages", "eventType": "INSERT", "new": row }))
}

pub fn update(rig: &mut Rig, new: Value, old: Value) -> u64 {
    rig.accepted(
        json!({ "type": "postgres_changes", "table": "messages", "eventType": "UPDATE", "new": new, "old": old }),
    )
}

pub fn delete(rig: &mut Rig, old: Value) -> u64 {
    rig.accepted(json!({ "type": "postgres_changes", "table": "messages", "eventType": "DELETE", "old": old }))
}

/// The next change, without its time.
#[track_caller]
pub fn change(client: &Client) -> (String, Value, Value) {
    let frame = client.next();
    assert_eq!((&frame["type"], &frame["table"]), (&json!("change"), &json!("messages")), "{frame}");
    assert!(frame["timestamp"].is_string() && frame.as_object().unwrap().len() >= 6, "all six keys: {frame}");
    (frame["op"].as_str().unwrap().to_owned(), frame["record"].clone(), frame["old_record"].clone())
}
