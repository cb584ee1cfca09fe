//! What sockets that did not survive have left behind: it is never read as a whole, is deleted in portions, and
//! listeners are told who left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod rig;

use std::collections::BTreeSet;

use rig::{Client, Rig, every_way};
use serde_json::json;

/// Sockets in one portion.
const PORTION: usize = 64;
/// How many places each of them is present in.
const PLACES: usize = 2;

fn rig() -> Rig {
    Rig::new(&json!({ "limits": { "connections": 10_000, "presenceMembers": 10_000 } }))
}

/// A member of the lobby and of a room.
fn present(rig: &mut Rig, index: usize) -> Client {
    let client = rig.connect(&format!("u{index}"), &[]);
    rig.frame(&client, json!({ "type": "presence_track", "metadata": {} }));
    rig.frame(&client, json!({ "type": "presence_track", "topic": "hall", "private": false, "metadata": {} }));
    client.frames();
    client
}

#[test]
fn what_nobody_can_hear_of_goes_unread() {
    let mut rig = rig();
    (0..3 * PORTION).for_each(|index| drop(present(&mut rig, index)));
    rig.deploy();
    assert_eq!(rig.gone_at_wake, 3 * PORTION);
    assert_eq!(rig.stats()["presence"], 0, "nobody is there, whatever is stored");
    let left = |rig: &Rig| rig.storage.presence.len();
    assert_eq!(left(&rig), 2 * PORTION * PLACES, "a portion goes at once");
    rig.advance(100);
    assert_eq!(left(&rig), PORTION * PLACES, "the next by the alarm");
    rig.advance(100);
    assert_eq!((left(&rig), rig.gone_rows_read.len()), (0, 0));
    rig.deploy();
    assert_eq!(rig.gone_at_wake, 0);
}

#[test]
fn survivors_are_told_who_left_portion_by_portion() {
    let mut rig = rig();
    let witness = present(&mut rig, 9_999);
    let elsewhere = rig.connect("else", &[]);
    let clients: Vec<Client> = (0..2 * PORTION + 1).map(|index| present(&mut rig, index)).collect();
    witness.frames();
    clients.iter().for_each(|client| rig.lose(client));
    rig.hibernate();
    // A client that joins while others are being removed stays.
    let late = present(&mut rig, 10_000);
    rig.advance(1_000);
    let frames = witness.frames();
    let left: BTreeSet<(&str, bool)> = frames
        .iter()
        .filter(|frame| frame["type"] == "presence_leave")
        .map(|frame| (frame["client_id"].as_str().unwrap(), frame["topic"] == "hall"))
        .collect();
    let expected: BTreeSet<_> =
        clients.iter().flat_map(|client| [(client.id.as_str(), false), (client.id.as_str(), true)]).collect();
    assert_eq!(left, expected);
    assert_eq!(rig.gone_rows_read, [PORTION * PLACES, PORTION * PLACES, PLACES], "never all at once");
    assert_eq!(elsewhere.frames().len(), 0, "it hears of no place");
    let stored: BTreeSet<&String> = rig.storage.presence.keys().map(|(client_id, _)| client_id).collect();
    assert_eq!(stored, BTreeSet::from([&witness.id, &late.id]));
}

#[test]
fn a_wake_between_portions_changes_nothing() {
    every_way(json!({}), |rig| {
        let witness = present(rig, 0);
        let lost: Vec<Client> = (1..4).map(|index| present(rig, index)).collect();
        lost.iter().for_each(|client| rig.lose(client));
        rig.hibernate();
        rig.advance(1_000);
        assert_eq!(witness.frames().iter().filter(|frame| frame["type"] == "presence_leave").count(), 6);
    });
}

/// A large state is a row too; its socket's id alone shows that it is gone.
#[test]
fn states_of_sockets_that_are_gone_go_too() {
    let mut rig = rig();
    let client = rig.open();
    let token = rig.token("ada", &[&"ж".repeat(4_500), &"ж".repeat(1_000)]);
    rig.authenticate(&client, &token);
    for id in 0..20 {
        let filter = format!("a=eq.{}", "x".repeat(800));
        rig.frame(&client, json!({ "type": "subscribe", "id": id.to_string(), "table": "t", "filter": filter }));
    }
    assert_eq!(rig.storage.with_state().len(), 1);
    rig.deploy();
    assert_eq!((rig.gone_at_wake, rig.storage.with_state().len()), (1, 0));
}
