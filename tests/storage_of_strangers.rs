//! Nothing is stored before someone has authenticated, and an object that nobody authenticated at deletes its storage.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod rig;

use rig::Rig;
use serde_json::json;

/// Milliseconds after which an unauthenticated connection is closed.
const AUTH_DEADLINE: u64 = 10_000;

fn rig() -> Rig {
    Rig::new(&json!({}))
}

#[test]
fn unauthenticated_connections_write_no_row() {
    let mut rig = rig();
    let clients: Vec<_> = (0..50).map(|_| rig.open()).collect();
    rig.text(&clients[0], "{}");
    rig.authenticate(&clients[1], "no token");
    rig.frame(&clients[2], json!({ "type": "ping" }));
    assert_eq!(rig.storage.writes, 0);
    rig.hibernate();
    rig.advance(AUTH_DEADLINE);
    assert!(clients.iter().all(|client| client.closed().is_some()));
    assert_eq!(rig.storage.writes, 0);
    assert_eq!(rig.storage_deletions, 1, "the alarm was stored, and goes with everything else");
    assert_eq!(rig.alarm, None);
}

#[test]
fn what_is_read_of_an_untouched_organization_stores_nothing() {
    let mut rig = rig();
    rig.stats();
    rig.publish(json!({ "type": "no such type" }));
    assert_eq!((rig.storage.writes, rig.storage_deletions), (0, 0));
}

#[test]
fn the_last_stranger_who_leaves_early_takes_the_alarm_along() {
    let mut rig = rig();
    let (one, other) = (rig.open(), rig.open());
    rig.disconnect(&one);
    assert_eq!(rig.storage_deletions, 0);
    rig.disconnect(&other);
    assert_eq!((rig.storage_deletions, rig.alarm), (1, None));
}

#[test]
fn what_has_begun_is_never_deleted() {
    let mut rig = rig();
    rig.say("first");
    let epoch = rig.epoch();
    rig.open();
    rig.advance(AUTH_DEADLINE);
    assert_eq!(rig.storage_deletions, 0);
    assert_eq!(rig.epoch(), epoch);
}

#[test]
fn the_epoch_that_a_client_was_told_outlives_the_object() {
    let mut rig = rig();
    let claims = rig.claims("ada", &["member"]);
    let client = rig.open();
    rig.authenticate_saying(&client, &rig::token::hs256(&claims), json!({ "recover": true }));
    let told = client.next()["epoch"].as_str().unwrap().to_owned();
    rig.crash();
    assert_eq!(rig.epoch(), told);
}

#[test]
fn a_used_ticket_is_remembered_even_where_its_connection_is_refused() {
    let mut rig = Rig::new(&json!({ "limits": { "connections": 0 } }));
    let expires = rig.now + 60_000;
    let refused = rig.open_as(None, Some(("t1", expires)), Default::default());
    assert!(refused.is_ok_and(|client| client.closed().is_some()));
    assert_eq!(rig.storage_deletions, 0);
    assert!(rig.storage.is_spent("t1"));
}
