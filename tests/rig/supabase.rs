//! Supabase's clients in the rig: sockets, and the channels that they join.

use realtime_worker::code::Refusal;
use realtime_worker::engine::command::Recover;
use realtime_worker::engine::input::DialectId;
use realtime_worker::policy::principal::{Method, Principal};
use realtime_worker::policy::roles::Roles;
use serde_json::{Value, json};

use super::{Client, Rig, SESSION_SECONDS};

/// A user's socket, as the Worker passes it on.
pub fn socket(rig: &mut Rig, dialect: DialectId, user: &str, roles: &[&str]) -> Client {
    try_socket(rig, dialect, user, roles).unwrap()
}

/// The same, if it may be rejected.
pub fn try_socket(rig: &mut Rig, dialect: DialectId, user: &str, roles: &[&str]) -> Result<Client, Refusal> {
    let principal = Principal {
        user: Some(user.to_owned()),
        roles: Roles::new(roles.iter().map(|role| role.to_string())),
        method: Method::Session,
        expires: Some(rig.now + SESSION_SECONDS * 1_000),
        claims: Default::default(),
        all_claims: None,
        grants: Default::default(),
    };
    rig.open_at(dialect, Some(principal), None, Recover::Off)
}

pub fn join(rig: &mut Rig, client: &Client, reference: &str, topic: &str, config: Value) {
    let name = format!("realtime:{topic}");
    rig.frame(client, json!([reference, reference, name, "phx_join", { "config": config }]));
}

/// Joins and checks the answer.
#[track_caller]
pub fn joined(rig: &mut Rig, client: &Client, reference: &str, topic: &str, config: Value) -> Value {
    join(rig, client, reference, topic, config);
    let answer = client.next();
    assert_eq!((&answer[1], &answer[3]), (&json!(reference), &json!("phx_reply")), "{answer}");
    assert_eq!(answer[4]["status"], "ok", "{answer}");
    answer[4]["response"].clone()
}

pub fn quiet() -> Value {
    json!({ "presence": { "enabled": false } })
}
