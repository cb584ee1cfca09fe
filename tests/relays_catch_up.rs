//! A relay that has missed something reads it from the history by offset: its clients get everything once, in order, and as
//! they may see it. What is in no history is counted, and the clients behind it come back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod rig;

use realtime_worker::engine::relay::Peer;
use rig::{Client, Rig};
use serde_json::{Value, json};

fn realtime() -> Value {
    json!({
        "channels": [{ "topic": "log:*", "read": {}, "write": {}, "history": true }],
        "limits": { "publicationsPerSecond": 100_000 },
    })
}

/// A tenant with one socket at each object: the tenant's own, then its relays.
fn spread(relays: u32) -> (Rig, Vec<Client>) {
    let mut rig = Rig::with_relays(&realtime(), relays);
    let clients = (0..=relays).map(|number| rig.connect(&format!("user{number}"), &["member"])).collect();
    rig.say("first");
    (rig, clients)
}

fn events(client: &Client) -> Vec<String> {
    let event = |frame: Value| frame["event"].as_str().map(str::to_owned);
    client.frames().into_iter().filter_map(event).collect()
}

fn restarted(client: &Client) -> bool {
    client.closed() == Some((1012, "service_restart".to_owned()))
}

fn unretained(event: &str) -> Value {
    json!({ "type": "broadcast", "event": event, "payload": 1, "history": false })
}

fn relay_figures(rig: &mut Rig, relay: usize) -> (u64, u64) {
    let stats = rig.stats();
    let figures = &stats["relays"][relay - 1];
    (figures["lost"].as_u64().unwrap(), figures["recovered"].as_u64().unwrap())
}

/// A relay behind the root's loss of memory, whose question has not arrived yet. `kept` was on its way.
fn behind(relays: u32) -> (Rig, Vec<Client>) {
    let (mut rig, clients) = spread(relays);
    rig.mail.is_held = true;
    rig.say("kept");
    rig.lose_root();
    rig.post_down();
    (rig, clients)
}

#[test]
fn what_the_root_lost_on_its_way_is_read_from_the_history_and_all_sockets_stay_open() {
    let (mut rig, clients) = behind(3);
    assert!(clients[1..].iter().all(|client| events(client) == ["first"]));
    rig.release_mail();
    rig.say("after");
    assert_eq!(events(&clients[0]), ["first", "kept", "after"]);
    for (relay, client) in clients.iter().enumerate().skip(1) {
        assert_eq!(events(client), ["kept", "after"], "relay {relay}");
        assert_eq!(client.closed(), None);
        assert_eq!(relay_figures(&mut rig, relay), (0, 1));
    }
}

#[test]
fn what_comes_meanwhile_waits_and_keeps_its_place() {
    let (mut rig, clients) = behind(1);
    // These wait at the relay; the history that it is told has those of them that are retained too.
    rig.accepted(unretained("between"));
    rig.post_down();
    rig.say("late");
    rig.accepted(unretained("last"));
    rig.post_down();
    assert_eq!(events(&clients[1]), ["first"]);
    rig.release_mail();
    assert_eq!(events(&clients[1]), ["kept", "between", "late", "last"]);
    assert_eq!(clients[1].closed(), None);
}

#[test]
fn who_subscribes_meanwhile_gets_nothing_from_before() {
    let (mut rig, clients) = behind(1);
    rig.frame(&clients[1], json!({ "type": "subscribe", "id": "s", "topic": "log:1" }));
    let log = |event: &str| json!({ "type": "broadcast", "event": event, "payload": 1, "topic": "log:1" });
    rig.accepted(log("too early"));
    rig.release_mail();
    rig.accepted(log("in time"));
    let frames = clients[1].frames();
    let seen = frames.iter().map(|frame| frame["event"].as_str().or(frame["type"].as_str()).unwrap());
    assert_eq!(seen.collect::<Vec<_>>(), ["first", "kept", "subscribed", "in time"]);
}

#[test]
fn a_batch_of_a_lost_life_of_the_root_that_comes_late_is_told_once() {
    let (mut rig, clients) = spread(1);
    rig.mail.is_held = true;
    rig.say("kept");
    let late = rig.mail.letters.pop_front().unwrap();
    rig.lose_root();
    rig.release_mail();
    assert_eq!(rig.deliver_letter(&late), None);
    rig.say("after");
    assert_eq!(events(&clients[1]), ["first", "kept", "after"]);
}

#[test]
fn a_late_batch_between_two_lives_of_the_root_costs_nothing() {
    for comes_first in [true, false] {
        let (mut rig, clients) = spread(1);
        rig.frame(&clients[1], json!({ "type": "subscribe", "id": "s", "topic": "log:1" }));
        rig.mail.is_held = true;
        rig.say("kept");
        let late = rig.mail.letters.pop_front().unwrap();
        rig.wake();
        // The next life is asked before what it says arrives, and knows nothing of the link.
        let said = |event: &str| json!({ "type": "broadcast", "topic": "log:1", "event": event, "payload": 1 });
        rig.frame(&clients[1], said("a"));
        let next = rig.mail.letters.pop_front().unwrap();
        rig.post_one();
        if comes_first {
            assert!(rig.deliver_letter(&late).is_some());
        }
        rig.mail.letters.push_front(next);
        rig.release_mail();
        if !comes_first {
            assert_eq!(rig.deliver_letter(&late), None);
        }
        rig.frame(&clients[1], said("b"));
        assert_eq!(events(&clients[1]), ["first", "kept", "a", "b"]);
        assert_eq!((clients[1].closed(), rig.storage.history.len()), (None, 4));
    }
}

#[test]
fn a_relay_that_crashes_between_two_batches_goes_on_where_it_was() {
    let (mut rig, clients) = spread(1);
    for round in 0..4 {
        rig.mail.is_held = true;
        rig.say(&format!("a{round}"));
        rig.accepted(unretained(&format!("b{round}")));
        let first = rig.mail.letters.pop_front().unwrap();
        let answer = rig.deliver_letter(&first);
        rig.wake_relay(0);
        rig.answer_letter(&first, answer.filter(|_| round % 2 == 0));
        rig.mail.is_held = false;
        rig.advance(60_000);
    }
    let expected: Vec<String> = (0..4).flat_map(|round| [format!("a{round}"), format!("b{round}")]).collect();
    assert_eq!(events(&clients[1])[1..], expected);
    assert_eq!(clients[1].closed(), None);
    assert_eq!(relay_figures(&mut rig, 1), (0, 0));
}

#[test]
fn a_relay_that_was_long_out_of_reach_is_told_in_portions() {
    let mut realtime = realtime();
    realtime["history"] = json!({ "bytes": 100_000_000 });
    let mut rig = Rig::with_relays(&realtime, 2);
    let clients: Vec<Client> = (0..3).map(|number| rig.connect(&format!("user{number}"), &["member"])).collect();
    let payload = "x".repeat(50_000);
    rig.mail.is_held = true;
    let count = 200;
    for number in 0..count {
        rig.accepted(json!({ "type": "broadcast", "event": number.to_string(), "payload": payload }));
        rig.post_where(|letter| letter.to == Peer::Relay(2));
    }
    assert_eq!(clients[1].waiting(), 0);
    let sent = rig.mail.sent.get(&Peer::Relay(1)).copied().unwrap_or_default();
    rig.release_mail();
    rig.say("after");
    let expected: Vec<String> = (0..count).map(|number| number.to_string()).chain(["after".to_owned()]).collect();
    for client in &clients[1..] {
        assert!(events(client) == expected);
        assert_eq!(client.closed(), None);
    }
    let portions = rig.mail.sent[&Peer::Relay(1)] - sent;
    assert!((30..50).contains(&portions), "{portions} portions");
    assert_eq!(relay_figures(&mut rig, 2), (0, 0));
    assert!((150..=199).contains(&relay_figures(&mut rig, 1).1), "what was on its way arrived by itself");
}

#[test]
fn a_relay_out_of_reach_that_misses_what_is_in_no_history_lets_its_clients_go_and_that_is_counted() {
    let (mut rig, clients) = spread(1);
    rig.mail.is_held = true;
    rig.say("on its way");
    (0..10_000).for_each(|number| _ = rig.accepted(unretained(&number.to_string())));
    assert_eq!(relay_figures(&mut rig, 1), (0, 0));
    rig.say("one too many");
    rig.release_mail();
    assert!(restarted(&clients[1]));
    assert_eq!(rig.stats()["missedByRelays"], json!({ "lost": 10_000, "recovered": 0 }));
}

#[test]
fn what_was_in_no_history_counts_once_where_nobody_knows_how_much_it_was() {
    let (mut rig, clients) = spread(2);
    rig.mail.is_held = true;
    rig.say("kept");
    rig.accepted(unretained("not kept"));
    rig.lose_root();
    assert_eq!([relay_figures(&mut rig, 1), relay_figures(&mut rig, 2)], [(1, 0), (1, 0)]);
    rig.release_mail();
    assert!(clients[1..].iter().all(restarted));
}

#[test]
fn more_than_a_relay_can_hold_lets_its_clients_go() {
    let (mut rig, clients) = behind(1);
    let large = "x".repeat(100_000);
    for number in 0..90 {
        rig.accepted(json!({ "type": "broadcast", "event": number.to_string(), "payload": large }));
        rig.post_down();
        assert_eq!(restarted(&clients[1]), number >= 83, "{number}");
    }
    rig.release_mail();
    let again = rig.connect("user2", &["member"]);
    let again = if rig.relay_of(&again).is_some() { again } else { rig.connect("user3", &["member"]) };
    rig.say("after");
    assert_eq!(events(&again), ["after"]);
}

#[test]
fn what_the_history_no_longer_has_lets_the_clients_go_and_is_counted() {
    let mut rig = Rig::with_relays(&json!({ "history": { "count": 10 } }), 1);
    let clients: Vec<Client> = (0..2).map(|number| rig.connect(&format!("user{number}"), &["member"])).collect();
    rig.say("first");
    rig.mail.is_held = true;
    rig.say("kept");
    rig.lose_root();
    (0..200).for_each(|number| _ = rig.say(&number.to_string()));
    rig.post_down();
    rig.post_one();
    assert_eq!(relay_figures(&mut rig, 1), (1, 0));
    rig.release_mail();
    assert!(restarted(&clients[1]));
    assert_eq!(events(&clients[1]), ["first"]);
}

#[test]
fn the_root_may_end_while_a_relay_asks() {
    let (mut rig, clients) = behind(1);
    for _ in 0..3 {
        // The question arrives, and its answer is lost with the root.
        rig.post_where(|letter| letter.to == Peer::Root);
        rig.lose_root();
        rig.say("more");
        rig.post_down();
    }
    assert_eq!(events(&clients[1]), ["first"]);
    rig.release_mail();
    assert_eq!(events(&clients[1]), ["kept", "more", "more", "more"]);
    assert_eq!(clients[1].closed(), None);
}

#[test]
fn an_answer_that_never_comes_is_asked_for_again_by_the_alarm() {
    let (mut rig, clients) = behind(1);
    rig.post_one();
    // The root forgets, and nothing is published that would say so.
    rig.mail.letters.clear();
    rig.wake();
    rig.mail.is_held = false;
    rig.advance(60_000);
    assert_eq!(events(&clients[1]), ["first", "kept"]);
    assert_eq!(clients[1].closed(), None);
}

#[test]
fn a_relay_that_crashes_while_it_catches_up_asks_again() {
    let (mut rig, clients) = behind(1);
    rig.say("held");
    rig.post_down();
    rig.wake_relay(0);
    rig.mail.is_held = false;
    rig.advance(60_000);
    assert_eq!(events(&clients[1]), ["first", "kept", "held"]);
    assert_eq!(clients[1].closed(), None);
}

#[test]
fn a_relay_that_crashes_with_what_is_in_no_history_lets_its_clients_go() {
    let (mut rig, clients) = behind(1);
    rig.accepted(unretained("held"));
    rig.post_down();
    rig.wake_relay(0);
    rig.release_mail();
    assert!(restarted(&clients[1]));
    assert_eq!(events(&clients[1]), ["first"]);
}

#[test]
fn only_who_waits_for_an_answer_that_was_lost_comes_back() {
    let mut rig = Rig::with_relays(&realtime(), 1);
    let clients: Vec<Client> = (0..4).map(|number| rig.connect(&format!("user{number}"), &["member"])).collect();
    rig.say("first");
    rig.mail.is_held = true;
    let log = json!({ "type": "broadcast", "topic": "log:1", "event": "said", "payload": 1, "id": "a" });
    rig.frame(&clients[1], log);
    rig.post_one();
    rig.lose_root();
    rig.release_mail();
    assert!(restarted(&clients[1]), "it may have been published: it asks");
    assert_eq!((clients[3].closed(), rig.storage.history.len()), (None, 2));
}

#[test]
fn what_is_read_from_the_history_is_masked_for_each_and_goes_to_its_audience_only() {
    let mut rig = Rig::with_relays(&realtime(), 1);
    let people = [("root", "member"), ("ada", "admin"), ("root2", "member"), ("bob", "member")];
    let clients: Vec<Client> = people.iter().map(|(user, role)| rig.connect(user, &[role])).collect();
    rig.say("first");
    rig.mail.is_held = true;
    let row = |more: Value| {
        let mut change = json!({ "type": "postgres_changes", "table": "people", "eventType": "INSERT",
            "new": { "id": 1, "ssn": "123-45-6789" },
            "maskingConfig": { "ssn": { "type": "ssn", "show": { "roles": ["admin"] } } } });
        change.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        change
    };
    rig.accepted(row(json!({})));
    rig.accepted(row(json!({ "targetRoles": ["admin"] })));
    rig.accepted(row(json!({ "userId": "bob" })));
    rig.lose_root();
    rig.release_mail();
    let ssns = |client: &Client| -> Vec<String> {
        let ssn = |frame: Value| frame["new"]["ssn"].as_str().map(str::to_owned);
        client.frames().into_iter().filter_map(ssn).collect()
    };
    assert_eq!(ssns(&clients[1]), ["123-45-6789", "123-45-6789"]);
    assert_eq!(ssns(&clients[3]), ["*****6789", "*****6789"]);
    assert_eq!(relay_figures(&mut rig, 1), (0, 3));
}

#[test]
fn a_relay_is_told_only_what_may_have_a_recipient_there() {
    let (mut rig, clients) = spread(2);
    rig.frame(&clients[1], json!({ "type": "subscribe", "id": "s", "topic": "log:1" }));
    rig.mail.is_held = true;
    rig.say("for all");
    rig.accepted(json!({ "type": "broadcast", "event": "for one", "payload": 1, "topic": "log:1" }));
    rig.lose_root();
    rig.release_mail();
    assert_eq!(events(&clients[1]), ["first", "for all", "for one"]);
    assert_eq!(events(&clients[2]), ["first", "for all"]);
    assert_eq!([relay_figures(&mut rig, 1), relay_figures(&mut rig, 2)], [(0, 2), (0, 1)]);
}

#[test]
fn who_comes_to_a_relay_that_has_lost_all_its_sockets_stays() {
    for loses_root in [false, true] {
        let (mut rig, _) = spread(1);
        rig.mail.is_held = true;
        rig.say("kept");
        let letter = rig.mail.letters.pop_front().unwrap();
        rig.reset_relay(0);
        // Whether it arrived is unknown, so it is sent again.
        rig.answer_letter(&letter, None);
        let [_, came] = [rig.open(), rig.open()];
        rig.authenticate(&came, &rig.token("user2", &["member"]));
        if loses_root {
            rig.lose_root();
        }
        rig.release_mail();
        rig.advance(5_000);
        rig.say("after");
        assert_eq!((events(&came), came.closed()), (vec!["after".to_owned()], None));
    }
}

#[test]
fn a_note_outlives_the_socket_that_has_it() {
    let mut rig = Rig::with_relays(&realtime(), 1);
    let clients: Vec<Client> = (0..10).map(|number| rig.connect(&format!("user{number}"), &["member"])).collect();
    let at_relay: Vec<&Client> = clients.iter().filter(|client| rig.relay_of(client).is_some()).collect();
    let (last, others) = at_relay.split_last().unwrap();
    for (number, client) in others.iter().enumerate() {
        rig.say(&number.to_string());
        rig.disconnect(client);
        rig.mail.is_held = true;
        rig.accepted(unretained("once"));
        let letter = rig.mail.letters.pop_front().unwrap();
        rig.deliver_letter(&letter);
        rig.wake_relay(0);
        rig.answer_letter(&letter, None);
        rig.mail.is_held = false;
        rig.advance(60_000);
    }
    assert_eq!(last.closed(), None);
    assert_eq!(events(last), ["0", "once", "1", "once", "2", "once", "3", "once"]);
}
