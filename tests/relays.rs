//! Relays: one tenant over several objects, with requests between them that come late, twice, or never. What all clients
//! see over relays is in `conformance.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod rig;

use realtime_worker::engine::command::Recover;
use realtime_worker::engine::input::Input;
use realtime_worker::engine::relay::Peer;
use realtime_worker::policy::relays::Relays;
use rig::relays::Letter;
use rig::runtime::Outcome;
use rig::{Client, Rig, token};
use serde_json::{Value, json};

fn realtime() -> Value {
    json!({ "channels": [
        { "topic": "room:*", "read": {}, "write": {}, "presence": {} },
        { "topic": "log:*", "read": {}, "write": {}, "history": true },
    ] })
}

/// A tenant with one socket at each object: the tenant's own, then its relays.
fn spread(relays: u32) -> (Rig, Vec<Client>) {
    let mut rig = Rig::with_relays(&realtime(), relays);
    let clients = (0..=relays).map(|number| rig.connect(&format!("user{number}"), &["member"])).collect();
    (rig, clients)
}

fn events(client: &Client) -> Vec<String> {
    let event = |frame: Value| frame["event"].as_str().map(str::to_owned);
    client.frames().into_iter().filter_map(event).collect()
}

fn subscribe(rig: &mut Rig, client: &Client, topic: &str) {
    rig.frame(client, json!({ "type": "subscribe", "id": topic, "topic": topic }));
    assert_eq!(client.next()["type"], "subscribed");
}

fn restarted(client: &Client) -> bool {
    client.closed() == Some((1012, "service_restart".to_owned()))
}

#[test]
fn a_batch_is_on_its_way_while_the_next_gathers() {
    let (mut rig, clients) = spread(2);
    rig.mail.is_held = true;
    for number in 0..5 {
        rig.say(&number.to_string());
    }
    // One to each relay, and what came since then waits.
    assert_eq!(rig.mail.letters.len(), 2);
    let before = rig.mail.sent.clone();
    rig.mail.is_held = false;
    rig.post();
    for client in &clients {
        assert_eq!(events(client), ["0", "1", "2", "3", "4"]);
    }
    assert_eq!(rig.mail.sent[&Peer::Root] - before[&Peer::Root], 2, "four events in one request");
    assert_eq!(
        rig.mail.sent.get(&Peer::Relay(1)),
        before.get(&Peer::Relay(1)),
        "a relay's answer says all it has to say"
    );
}

#[test]
fn a_batch_that_comes_twice_is_told_once() {
    let (mut rig, clients) = spread(1);
    rig.mail.is_held = true;
    rig.say("once");
    let letter = rig.mail.letters.pop_front().unwrap();
    assert!(rig.deliver_letter(&letter).is_some());
    // The answer was lost: it comes again.
    rig.answer_letter(&letter, None);
    rig.say("then");
    rig.mail.is_held = false;
    rig.advance(60_000);
    assert_eq!(events(&clients[1]), ["once", "then"]);
    assert_eq!(clients[1].closed(), None);
}

#[test]
fn what_a_life_of_a_relay_may_have_told_is_not_told_by_the_next() {
    let (mut rig, clients) = spread(1);
    rig.mail.is_held = true;
    rig.say("perhaps");
    let letter = rig.mail.letters.pop_front().unwrap();
    rig.deliver_letter(&letter);
    rig.wake_relay(0);
    rig.answer_letter(&letter, None);
    rig.mail.is_held = false;
    rig.advance(60_000);
    rig.say("then");
    assert_eq!(events(&clients[1]), ["perhaps", "then"]);
    assert_eq!(clients[1].closed(), None);
}

#[test]
fn a_root_that_loses_what_was_on_its_way_and_is_in_no_history_says_so() {
    let (mut rig, clients) = spread(2);
    rig.mail.is_held = true;
    let position = json!({ "epoch": rig.epoch(), "offset": rig.storage.history.len() });
    rig.say("kept");
    rig.accepted(json!({ "type": "broadcast", "event": "not kept", "payload": 1, "history": false }));
    rig.mail.is_held = false;
    rig.lose_root();
    assert_eq!(clients[0].closed(), None);
    assert_eq!(events(&clients[0]), ["kept", "not kept"]);
    assert!(clients[1..].iter().all(restarted));
    let back = rig.open();
    rig.authenticate_saying(&back, &rig.token("user1", &["member"]), json!({ "recover": position }));
    assert_eq!(back.next()["recovered"], true);
    assert_eq!(events(&back), ["kept"]);
}

#[test]
fn a_root_that_slept_with_nothing_on_its_way_wakes_nobody() {
    let (mut rig, clients) = spread(2);
    let before = rig.mail.sent.clone();
    rig.wake();
    rig.run(Input::Alarm, &mut Outcome::default());
    assert_eq!(rig.mail.sent, before);
    rig.say("after");
    assert!(clients.iter().all(|client| events(client) == ["after"]));
}

#[test]
fn only_relays_with_a_possible_recipient_are_asked() {
    let (mut rig, clients) = spread(3);
    subscribe(&mut rig, &clients[2], "room:2");
    let asked = |rig: &Rig| rig.mail.sent[&Peer::Root];
    let room = json!({ "type": "broadcast", "event": "e", "payload": 1, "topic": "room:2" });
    let untouched = rig.mail.sent[&Peer::Relay(1)];
    // The first batch of another life of the root begins the link anew, which brings a second one.
    for (wakes, batches) in [(false, 1), (true, 2)] {
        if wakes {
            rig.wake();
        }
        let before = asked(&rig);
        rig.accepted(room.clone());
        assert_eq!(asked(&rig) - before, batches, "of three relays one; the root was woken: {wakes}");
        let to_user = json!({ "type": "broadcast", "event": "e", "payload": 1, "userId": "user3" });
        rig.accepted(to_user);
        assert_eq!(asked(&rig) - before, 2 * batches);
    }
    assert_eq!(rig.mail.sent[&Peer::Relay(1)], untouched);
    assert_eq!(events(&clients[2]), ["e", "e"]);
    assert_eq!(events(&clients[3]), ["e", "e"]);
    assert!(events(&clients[1]).is_empty());
}

#[test]
fn what_is_published_while_somebody_subscribes_is_in_its_place() {
    let (mut rig, clients) = spread(1);
    let member = &clients[1];
    rig.mail.is_held = true;
    rig.say("before");
    rig.frame(member, json!({ "type": "subscribe", "id": "s", "topic": "room:1" }));
    rig.frame(member, json!({ "type": "ping" }));
    let room = |event: &str| json!({ "type": "broadcast", "event": event, "payload": 1, "topic": "room:1" });
    rig.accepted(room("too early"));
    assert_eq!(member.waiting(), 0);
    // The batch that is on its way arrives, then the question, then whatever comes of them.
    rig.mail.is_held = false;
    rig.post();
    rig.accepted(room("in time"));
    let seen: Vec<String> = member
        .frames()
        .iter()
        .map(|frame| frame["event"].as_str().or(frame["type"].as_str()).unwrap().to_owned())
        .collect();
    assert_eq!(seen, ["before", "subscribed", "pong", "in time"]);
}

#[test]
fn a_client_s_message_is_published_once_though_an_answer_is_lost() {
    let (mut rig, clients) = spread(1);
    clients.iter().for_each(|client| subscribe(&mut rig, client, "log:1"));
    rig.mail.is_held = true;
    let say = json!({ "type": "broadcast", "topic": "log:1", "event": "said", "payload": 1, "id": "a" });
    rig.frame(&clients[1], say);
    let letter = rig.mail.letters.pop_front().unwrap();
    assert_eq!(letter.from, Peer::Relay(1));
    rig.deliver_letter(&letter);
    rig.answer_letter(&letter, None);
    rig.mail.is_held = false;
    rig.advance(60_000);
    assert_eq!(rig.storage.history.len(), 1);
    assert_eq!(events(&clients[0]), ["said"]);
    let frames = clients[1].frames();
    assert_eq!(frames.iter().filter(|frame| frame["event"] == "said").count(), 1);
    assert_eq!(frames.iter().filter(|frame| frame["type"] == "ack").count(), 1);
}

#[test]
fn what_a_lost_life_of_the_root_may_have_published_is_not_published_again() {
    let (mut rig, clients) = spread(1);
    subscribe(&mut rig, &clients[1], "log:1");
    rig.mail.is_held = true;
    let say = json!({ "type": "broadcast", "topic": "log:1", "event": "said", "payload": 1, "id": "a" });
    rig.frame(&clients[1], say);
    let letter = rig.mail.letters.pop_front().unwrap();
    rig.deliver_letter(&letter);
    rig.answer_letter(&letter, None);
    rig.mail.letters.clear();
    rig.wake();
    rig.mail.is_held = false;
    rig.advance(60_000);
    assert_eq!(rig.storage.history.len(), 1);
    assert!(restarted(&clients[1]), "whether it was published its client has to ask");
}

#[test]
fn a_message_with_a_key_is_published_once_wherever_it_is_sent() {
    let mut rig = Rig::with_relays(&realtime(), 2);
    let clients: Vec<Client> = (0..3).map(|_| rig.connect("ada", &["member"])).collect();
    clients.iter().for_each(|client| subscribe(&mut rig, client, "log:1"));
    let say = |event: &str| json!({ "type": "broadcast", "topic": "log:1", "event": event, "payload": 1, "id": event });
    for client in &clients {
        let mut keyed = say("keyed");
        keyed["key"] = json!("k");
        rig.frame(client, keyed);
        let acks = client.frames().into_iter().filter(|frame| frame["type"] == "ack");
        assert_eq!(acks.map(|frame| frame["id"].clone()).collect::<Vec<_>>(), ["keyed"]);
    }
    assert_eq!(rig.storage.history.len(), 1);
    // The next message of a client does not overtake the one whose key is looked up.
    rig.mail.is_held = true;
    rig.frame(&clients[1], say("opens the way"));
    for (event, key) in [("first", Some("k2")), ("second", None)] {
        let mut frame = say(event);
        key.into_iter().for_each(|key| frame["key"] = json!(key));
        rig.frame(&clients[1], frame);
    }
    rig.mail.is_held = false;
    rig.post();
    for client in &clients[..2] {
        let said = events(client);
        assert_eq!(said[said.len() - 3..], ["opens the way", "first", "second"]);
    }
}

#[test]
fn what_a_lost_life_of_the_root_may_have_published_under_a_key_is_sent_again() {
    let (mut rig, clients) = spread(1);
    subscribe(&mut rig, &clients[1], "log:1");
    rig.mail.is_held = true;
    let say = json!({ "type": "broadcast", "topic": "log:1", "event": "said", "payload": 1, "id": "a", "key": "k" });
    rig.frame(&clients[1], say);
    let letter = rig.mail.letters.pop_front().unwrap();
    rig.answer_letter(&letter, None);
    rig.wake();
    rig.mail.is_held = false;
    rig.advance(60_000);
    assert_eq!(rig.storage.history.len(), 1);
    assert_eq!(clients[1].closed(), None);
    assert!(clients[1].frames().iter().any(|frame| frame["type"] == "ack"));
}

#[test]
fn who_owes_for_earlier_replays_recovers_nothing_at_a_relay() {
    let mut realtime = realtime();
    realtime["limits"] = json!({ "workPerConnection": 100, "workPerUser": 1 });
    let mut rig = Rig::with_relays(&realtime, 1);
    for number in 0..500 {
        let change =
            json!({ "type": "postgres_changes", "table": "t", "eventType": "INSERT", "new": { "id": number } });
        rig.accepted(change);
    }
    let position = json!({ "epoch": rig.epoch(), "offset": 0 });
    let recovered = |rig: &mut Rig| {
        let client = rig.open();
        rig.authenticate_saying(&client, &rig.token("ada", &["member"]), json!({ "recover": position }));
        client.next()["recovered"].as_bool().unwrap()
    };
    // In turn at the root and at its relay: whichever it was, the other knows.
    assert_eq!([recovered(&mut rig), recovered(&mut rig), recovered(&mut rig)], [true, false, false]);
}

#[test]
fn a_ticket_is_good_once_at_whatever_object() {
    let (mut rig, _) = spread(2);
    let end = rig.now + 60_000;
    let principal = || Some(token::principal("ada", &["member"], None));
    let first = rig.open_as(principal(), Some(("ticket", end)), Recover::Off).unwrap();
    assert_eq!(first.next()["type"], "auth_success");
    for _ in 0..3 {
        let refused = rig.open_as(principal(), Some(("ticket", end)), Recover::Off).unwrap_err();
        assert_eq!(refused.code.as_str(), "invalid_token");
    }
    assert_eq!(rig.storage.tickets.len(), 1);
    assert!(rig.relays.iter().all(|relay| relay.storage.tickets.is_empty()));
}

#[test]
fn the_limits_of_a_user_and_of_the_organization_count_all_objects() {
    let limits = json!({ "limits": { "connections": 5, "connectionsPerUser": 3 } });
    let mut rig = Rig::with_relays(&limits, 2);
    let enter = |rig: &mut Rig, user: &str| {
        let client = rig.open();
        rig.authenticate(&client, &rig.token(user, &["member"]));
        (client.next()["type"].as_str().unwrap().to_owned(), client)
    };
    let (_, first) = enter(&mut rig, "ada");
    for _ in 0..2 {
        assert_eq!(enter(&mut rig, "ada").0, "auth_success");
    }
    for _ in 0..3 {
        let (answer, client) = enter(&mut rig, "ada");
        assert_eq!((answer.as_str(), client.closed().unwrap().1.as_str()), ("auth_error", "connection_limit"));
    }
    for user in ["bob", "eve"] {
        assert_eq!(enter(&mut rig, user).0, "auth_success");
    }
    for _ in 0..3 {
        assert_eq!(enter(&mut rig, "tom").0, "auth_error");
    }
    rig.disconnect(&first);
    assert_eq!(enter(&mut rig, "ada").0, "auth_success");
    assert_eq!(rig.stats()["connections"], 5);
}

#[test]
fn a_user_s_budget_is_one_over_all_objects() {
    let mut realtime = realtime();
    realtime["limits"] = json!({ "workPerConnection": 100, "workPerUser": 10, "framesPerSecond": 1_000 });
    let mut rig = Rig::with_relays(&realtime, 2);
    let clients: Vec<Client> = (0..3).map(|_| rig.connect("ada", &["member"])).collect();
    let say = |rig: &mut Rig, client: &Client| {
        rig.frame(client, json!({ "type": "broadcast", "topic": "room:1", "event": "e", "payload": 1, "id": "a" }));
        client.next()
    };
    let mut accepted = 0;
    for round in 0..60 {
        let answer = say(&mut rig, &clients[round % 3]);
        accepted += usize::from(answer["type"] == "ack");
        if answer["type"] != "ack" {
            assert_eq!(answer["code"], "rate_limited");
            break;
        }
    }
    assert_eq!(accepted, 20, "ten a second, with a burst of twice as many");
}

#[test]
fn a_relay_that_has_emptied_is_given_up_and_begins_anew() {
    let (mut rig, clients) = spread(1);
    assert!(rig.storage.facts.contains_key("relay.1"));
    rig.disconnect(&clients[1]);
    assert!(!rig.storage.facts.contains_key("relay.1"), "{:?}", rig.storage.facts);
    assert_eq!(rig.relays[0].storage_deletions, 1);
    assert_eq!((rig.relays[0].alarm, rig.stats().get("relays").cloned()), (None, None));
    rig.disconnect(&clients[0]);
    let [_, again] = ["ada", "bob"].map(|user| rig.connect(user, &["member"]));
    rig.say("hello");
    assert_eq!(events(&again), ["hello"]);
}

#[test]
fn new_sockets_fill_one_object_after_the_other() {
    let mut rig = Rig::filling(&realtime(), Relays { sockets: 2, max: 2 });
    let place = |rig: &mut Rig| {
        let mut outcome = Outcome::default();
        rig.run(Input::Place, &mut outcome);
        outcome.placed.unwrap()
    };
    assert_eq!(place(&mut rig), 0);
    rig.open();
    rig.connect("ada", &["member"]);
    assert_eq!(place(&mut rig), 1);
}

#[test]
fn a_request_of_another_version_or_form_is_refused() {
    let (mut rig, _) = spread(1);
    let up = |version: u32, relay: u32, more: &str| {
        format!(
            r#"{{"version":{version},"relay":{relay},"life":"x","sequence":1,"report":{{"sockets":0,"pending":0}},"messages":[]{more}}}"#
        )
    };
    let mut send = |to, body: String| {
        let from = if to == Peer::Root { Peer::Relay(1) } else { Peer::Root };
        rig.deliver_letter(&Letter { from, to, body })
    };
    for body in [up(2, 1, ""), up(1, 0, ""), up(1, 2, ""), up(1, 1, r#","x":1"#), String::new(), "[]".to_owned()] {
        assert_eq!(send(Peer::Root, body.clone()), None, "{body}");
        assert_eq!(send(Peer::Relay(1), body.clone()), None, "{body}");
    }
    assert!(send(Peer::Root, up(1, 1, "")).is_some());
}

#[test]
fn a_relay_that_the_configuration_no_longer_has_lets_its_clients_go() {
    let (mut rig, clients) = spread(2);
    rig.switch_relays(&realtime(), None);
    assert_eq!(clients[0].closed(), None);
    assert!(clients[1..].iter().all(restarted));
}
