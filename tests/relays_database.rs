//! A database beside relays: what its listeners see is the same wherever their sockets are, whichever object sleeps or
//! crashes. The scripts of all dialects over relays are in `conformance.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod rig;

use realtime_worker::engine::relay::Peer;
use rig::listeners::{connect, messages, subscribe, with_database};
use rig::relays::every_way_with_relays;
use rig::source::change;
use rig::{Client, Rig, token};
use serde_json::{Value, json};

/// Runs a script over one and three relays, with any of the objects asleep or crashed between two steps.
#[track_caller]
fn over_relays(more: &Value, script: impl Fn(&mut Rig)) {
    for relays in [1, 3] {
        every_way_with_relays(with_database(more.clone()), relays, |rig| {
            prepare(rig);
            script(rig);
        });
    }
}

/// Rows are for their owners.
fn prepare(rig: &mut Rig) {
    rig.source.tables = Some(json!([messages()]));
    rig.source.policy = |_, claims, _, row| claims["sub"] == row["owner"];
}

fn listener(rig: &mut Rig, user: &str) -> Client {
    let client = connect(rig, user, json!({}));
    subscribe(rig, &client, "m", "messages");
    client.gets(json!({ "type": "subscribed", "id": "m" }));
    client
}

#[track_caller]
fn hand_over(rig: &mut Rig, changes: &[Value]) {
    let batch = rig.source.batch(changes);
    assert_eq!(rig.hand_over(&batch).status, 200);
    // A batch that comes twice is told once.
    assert_eq!(rig.hand_over(&batch).status, 200);
}

fn insert(id: u64, owner: &str) -> Value {
    change("INSERT", "messages", json!({ "id": id, "owner": owner }), Value::Null)
}

fn moved(id: u64, from: &str, to: &str) -> Value {
    change("UPDATE", "messages", json!({ "id": id, "owner": to }), json!({ "id": id, "owner": from }))
}

fn rows(client: &Client) -> Vec<(String, u64)> {
    let row = |frame: Value| {
        let id = frame["new"]["id"].as_u64().or(frame["old"]["id"].as_u64()).expect("a row");
        (frame["eventType"].as_str().expect("a change").to_owned(), id)
    };
    client.frames().into_iter().map(row).collect()
}

fn row(operation: &str, id: u64) -> (String, u64) {
    (operation.to_owned(), id)
}

#[test]
fn everyone_sees_their_own_rows_wherever_they_are_connected() {
    over_relays(&json!({}), |rig| {
        let users = ["ada", "bob", "eve", "ada", "bob", "eve", "ada"];
        let clients = users.map(|user| (user, listener(rig, user)));
        assert_eq!(rig.source.groups().len(), 3, "a group that several objects have is told once");
        assert_eq!(rig.stats()["database"]["groups"], 3);
        hand_over(rig, &[insert(1, "ada"), insert(2, "bob"), moved(1, "ada", "bob")]);
        for (user, client) in &clients {
            let expected = match *user {
                "ada" => vec![row("INSERT", 1), row("DELETE", 1)],
                "bob" => vec![row("INSERT", 2), row("INSERT", 1)],
                _ => Vec::new(),
            };
            assert_eq!(rows(client), expected, "{user}, {:?}", rig.interruption);
        }
    });
}

#[test]
fn what_was_missed_is_judged_under_the_policies_of_now() {
    over_relays(&json!({}), |rig| {
        let _first = listener(rig, "ada");
        let start = json!({ "epoch": rig.epoch(), "offset": 0 });
        hand_over(rig, &[insert(1, "ada"), insert(2, "bob")]);
        for user in ["ada", "bob", "ada", "bob"] {
            let client = rig.open();
            let token = rig.token(user, &[]);
            let more = json!({ "recover": start, "subscriptions": [{ "id": "m", "table": "messages" }] });
            rig.authenticate_saying(&client, &token, more);
            assert_eq!(client.next()["recovered"], true, "{user}, {:?}", rig.interruption);
            client.gets(json!({ "type": "subscribed", "id": "m" }));
            assert_eq!(rows(&client), [row("INSERT", if user == "ada" { 1 } else { 2 })]);
        }
        rig.source.policy = |_, _, _, _| false;
        for _ in 0..2 {
            let client = rig.open();
            let token = rig.token("ada", &[]);
            rig.authenticate_saying(&client, &token, json!({ "recover": start }));
            assert_eq!(client.next()["recovered"], true);
            client.gets_nothing();
        }
    });
}

#[test]
fn the_feed_is_lost_and_live_for_listeners_everywhere() {
    over_relays(&json!({}), |rig| {
        let clients = ["ada", "bob"].map(|user| listener(rig, user));
        rig.feed(&json!({ "database": "main", "state": "lost" }));
        clients.iter().for_each(|client| client.gets(json!({ "type": "feed", "status": "lost" })));
        subscribe(rig, &clients[1], "n", "messages");
        clients[1].gets_nothing();
        let tables = json!({ "revision": 1, "tables": [messages()] });
        rig.feed(&json!({ "database": "main", "state": "live", "tables": tables }));
        clients.iter().for_each(|client| client.gets(json!({ "type": "feed", "status": "live" })));
        clients[1].gets(json!({ "type": "subscribed", "id": "n" }));
    });
}

#[test]
fn a_table_that_is_taken_away_is_told_at_relays() {
    over_relays(&json!({}), |rig| {
        let clients = ["ada", "bob"].map(|user| listener(rig, user));
        rig.feed(&json!({ "database": "main", "state": "live", "tables": { "revision": 1, "tables": [] } }));
        clients.iter().for_each(|client| drop(client.is_refused("unknown_table")));
        hand_over(rig, &[insert(1, "ada"), insert(2, "bob")]);
        clients.iter().for_each(Client::gets_nothing);
    });
}

#[test]
fn nobody_is_called_live_before_the_database_has_answered() {
    let mut rig = Rig::with_relays(&with_database(json!({})), 1);
    prepare(&mut rig);
    let [_, bob] = ["ada", "bob"].map(|user| connect(&mut rig, user, json!({})));
    rig.source.is_slow = true;
    subscribe(&mut rig, &bob, "m", "messages");
    bob.gets_nothing();
    rig.answer_source();
    bob.gets(json!({ "type": "subscribed", "id": "m" }));
    hand_over(&mut rig, &[insert(1, "bob")]);
    assert_eq!(rows(&bob), [row("INSERT", 1)]);
}

/// With row-level security by user, the groups of a relay are megabytes.
#[test]
fn that_listeners_were_answered_rewrites_none_of_them() {
    let mut rig = Rig::with_relays(&with_database(json!({})), 1);
    prepare(&mut rig);
    let [_, bob] = ["ada", "bob"].map(|user| connect(&mut rig, user, json!({})));
    rig.source.is_slow = true;
    subscribe(&mut rig, &bob, "m", "messages");
    let stored = rig.storage.facts.get_mut("listeners.1.0").unwrap();
    stored.push(' ');
    let stored = stored.clone();
    rig.answer_source();
    bob.gets(json!({ "type": "subscribed", "id": "m" }));
    assert_eq!(rig.storage.facts["listeners.1.0"], stored);
    let asked = rig.mail.sent.clone();
    rig.wake();
    assert_eq!(rig.mail.sent, asked, "its next life knows of the answer");
    rig.disconnect(&bob);
    assert!(rig.storage.facts.keys().all(|name| !name.starts_with("listen")), "{:?}", rig.storage.facts);
}

/// The root forgets what it was asked with its memory, and nobody tells the relay.
#[test]
fn a_question_that_the_root_has_lost_is_asked_again() {
    let mut rig = Rig::with_relays(&with_database(json!({})), 1);
    prepare(&mut rig);
    let _ada = listener(&mut rig, "ada");
    let start = json!({ "epoch": rig.epoch(), "offset": 0 });
    hand_over(&mut rig, &[insert(1, "bob")]);
    let bob = listener(&mut rig, "bob");
    rig.source.is_slow = true;
    let _root = rig.open();
    let again = rig.open();
    rig.authenticate_saying(&again, &token::hs256(&rig.claims("bob", &[])), json!({ "recover": start }));
    assert!(rig.source.is_asked());
    again.gets_nothing();
    rig.wake();
    rig.source.is_slow = false;
    rig.advance(11_000);
    assert_eq!(again.next()["recovered"], true);
    assert_eq!(rows(&again), [row("INSERT", 1)]);
    hand_over(&mut rig, &[insert(2, "bob")]);
    assert_eq!((rows(&again), rows(&bob)), (vec![row("INSERT", 2)], vec![row("INSERT", 2)]));
}

/// Between the answer to who listens and that to what was missed, a change comes live: it is in the replay too.
#[test]
fn a_change_that_comes_while_a_session_catches_up_is_told_once() {
    let mut rig = Rig::with_relays(&with_database(json!({})), 1);
    prepare(&mut rig);
    let _ada = listener(&mut rig, "ada");
    let start = json!({ "epoch": rig.epoch(), "offset": 0 });
    rig.source.is_slow = true;
    let bob = rig.open();
    rig.authenticate_saying(&bob, &token::hs256(&rig.claims("bob", &[])), json!({ "recover": start }));
    bob.gets_nothing();
    rig.mail.is_held = true;
    rig.answer_source();
    for number in 1..=20 {
        hand_over(&mut rig, &[insert(number, "bob")]);
        if !rig.mail.letters.is_empty() {
            rig.post_one();
        }
    }
    rig.mail.is_held = false;
    rig.post();
    assert_eq!(bob.next()["recovered"], true);
    assert_eq!(rows(&bob), (1..=20).map(|number| row("INSERT", number)).collect::<Vec<_>>());
}

#[test]
fn the_last_listener_anywhere_ends_the_interest() {
    over_relays(&json!({}), |rig| {
        let clients = ["ada", "bob", "bob"].map(|user| listener(rig, user));
        for (left, client) in [(2, &clients[0]), (1, &clients[1]), (0, &clients[2])] {
            rig.disconnect(client);
            rig.advance(60_000);
            let groups = rig.source.groups().len();
            assert_eq!(groups, if left == 0 { 0 } else { 1 }, "{left} are left, {:?}", rig.interruption);
        }
        assert!(rig.storage.facts.keys().all(|name| !name.starts_with("listeners.")), "{:?}", rig.storage.facts);
    });
}

#[test]
fn a_relay_that_lost_its_sockets_listens_no_more() {
    let mut rig = Rig::with_relays(&with_database(json!({})), 1);
    prepare(&mut rig);
    let _clients = ["ada", "bob"].map(|user| listener(&mut rig, user));
    assert_eq!(rig.source.groups().len(), 2);
    rig.reset_relay(0);
    rig.advance(60_000);
    rig.say("whatever wakes it");
    rig.advance(60_000);
    assert_eq!(rig.source.groups().len(), 1);
}

#[test]
fn a_relay_s_wake_asks_the_database_nothing() {
    let mut rig = Rig::with_relays(&with_database(json!({})), 2);
    prepare(&mut rig);
    let clients = ["ada", "bob", "eve"].map(|user| listener(&mut rig, user));
    let told = rig.source.interests.len();
    let up = |rig: &Rig| rig.mail.sent[&Peer::Relay(1)] + rig.mail.sent[&Peer::Relay(2)];
    rig.hibernate();
    let before = up(&rig);
    hand_over(&mut rig, &[insert(1, "bob")]);
    assert_eq!(rows(&clients[1]), [row("INSERT", 1)]);
    assert!(up(&rig) - before <= 4, "each says that it lives, and begins its link");
    assert_eq!(rig.source.interests.len(), told);
}

#[test]
fn private_topics_are_granted_by_the_database_at_relays_too() {
    over_relays(&json!({}), |rig| {
        rig.source.grants =
            |_, claims, _| Some(json!({ "read": claims["sub"] != "eve", "write": claims["sub"] == "ada" }));
        let clients = ["ada", "bob", "eve", "ada"].map(|user| connect(rig, user, json!({})));
        for client in &clients {
            rig.frame(client, json!({ "type": "subscribe", "id": "s", "topic": "room" }));
        }
        for client in [&clients[0], &clients[1], &clients[3]] {
            client.gets(json!({ "type": "subscribed", "id": "s" }));
        }
        clients[2].is_refused("forbidden");
        rig.accepted(json!({ "type": "broadcast", "event": "e", "payload": 1, "topic": "room" }));
        for client in [&clients[0], &clients[1], &clients[3]] {
            assert_eq!(client.next()["event"], "e");
        }
        clients[2].gets_nothing();
    });
}
