//! Relays whose root begins another life, gives them up, or has more to tell them than may wait: nothing is lost or told
//! twice, and nobody has to come back who need not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod rig;

use realtime_worker::code::Code;
use realtime_worker::engine::command::Recover;
use realtime_worker::engine::input::Input;
use realtime_worker::engine::relay::Peer;
use realtime_worker::policy::relays::Relays;
use rig::relays::Letter;
use rig::runtime::Outcome;
use rig::{Client, Rig};
use serde_json::{Value, json};

/// Table settings as they are stored.
const SETTINGS: &str = r#"{"version":1,"tables":[{"schema":"public","table":"todos","enabled":false,"operations":[],"excluded":[],"created":1,"updated":1}]}"#;

fn realtime() -> Value {
    json!({
        "channels": [{ "topic": "log:*", "read": {}, "write": {}, "history": true, "presence": {} }],
        "limits": { "publicationsPerSecond": 100_000, "workOfClients": 1_000_000 },
    })
}

/// A tenant with one socket at its own object and one at its relay.
fn spread() -> (Rig, Client) {
    let mut rig = Rig::with_relays(&realtime(), 1);
    let [_, client] = ["user0", "user1"].map(|user| rig.connect(user, &["member"]));
    rig.say("first");
    (rig, client)
}

/// Opens a socket at the relay, and one at the tenant's own object.
fn open_at_relay(rig: &mut Rig) -> Client {
    let both = [rig.open(), rig.open()];
    both.into_iter().find(|client| rig.relay_of(client).is_some()).unwrap()
}

/// The names of events, or the types of other frames.
fn seen(client: &Client) -> Vec<String> {
    let name = |frame: Value| frame["event"].as_str().or(frame["type"].as_str()).unwrap().to_owned();
    client.frames().into_iter().map(name).collect()
}

fn restarted(client: &Client) -> bool {
    client.closed() == Some((1012, "service_restart".to_owned()))
}

fn subscribe(rig: &mut Rig, client: &Client) {
    rig.frame(client, json!({ "type": "subscribe", "id": "s", "topic": "log:1" }));
}

fn said(event: &str) -> Value {
    json!({ "type": "broadcast", "topic": "log:1", "event": event, "payload": 1 })
}

/// The root's next life speaks first: before the relay repeats its request, or before that is answered.
#[test]
fn what_was_said_to_a_life_of_the_root_that_has_ended_is_not_published_by_the_next() {
    for is_answered in [true, false] {
        let (mut rig, client) = spread();
        subscribe(&mut rig, &client);
        rig.mail.is_held = true;
        rig.frame(&client, said("once"));
        let letter = rig.mail.letters.pop_front().unwrap();
        let answer = rig.deliver_letter(&letter);
        if !is_answered {
            rig.answer_letter(&letter, None);
        }
        rig.lose_root();
        rig.post_down();
        if is_answered {
            // Until that answer is there, nothing else is asked: the next answer could not be told from it.
            let other = open_at_relay(&mut rig);
            rig.authenticate(&other, &rig.token("user3", &["member"]));
            assert!(rig.mail.letters.iter().all(|letter| letter.to != Peer::Root));
            rig.answer_letter(&letter, answer);
            rig.release_mail();
            assert_eq!(other.next()["type"], "auth_success");
        }
        rig.release_mail();
        rig.advance(60_000);
        assert_eq!(rig.storage.history.len(), 2, "it was answered: {is_answered}");
        assert!(restarted(&client), "whether it was published its client has to ask");
    }
}

/// The relay learns from an answer that the root has another life, and that one's first batch is lost.
#[test]
fn the_first_batch_of_the_root_s_next_life_may_be_lost() {
    let (mut rig, client) = spread();
    rig.wake();
    rig.mail.is_held = true;
    subscribe(&mut rig, &client);
    rig.post_where(|letter| letter.to == Peer::Root);
    let first = rig.mail.letters.pop_front().unwrap();
    rig.answer_letter(&first, None);
    rig.mail.is_held = false;
    rig.advance(60_000);
    rig.say("after");
    assert_eq!((seen(&client), client.closed()), (["first", "subscribed", "after"].map(str::to_owned).into(), None));
}

/// The root gives the relay up, and the link begins again within the same life of the root.
#[test]
fn the_first_batch_after_a_relay_was_given_up_may_be_lost() {
    let (mut rig, client) = spread();
    rig.disconnect(&client);
    assert!(!rig.storage.facts.contains_key("relay.1"));
    rig.mail.is_held = true;
    let again = open_at_relay(&mut rig);
    rig.authenticate(&again, &rig.token("user3", &["member"]));
    rig.post_where(|letter| letter.to == Peer::Root);
    let first = rig.mail.letters.pop_front().unwrap();
    rig.answer_letter(&first, None);
    rig.mail.is_held = false;
    rig.advance(5_000);
    rig.say("after");
    rig.lose_root();
    rig.say("later");
    let expected = ["auth_success", "after", "later"].map(str::to_owned);
    assert_eq!((seen(&again), again.closed()), (expected.into(), None));
}

/// What a relay cannot recover from says nothing about the rest of the batch that it learns this from.
#[test]
fn a_batch_with_which_a_relay_starts_over_is_applied() {
    let (mut rig, client) = spread();
    rig.mail.is_held = true;
    rig.say("lost");
    let batch = rig.mail.letters.pop_front().unwrap();
    let tables = json!([{ "tables": { "settings": SETTINGS } }]).to_string();
    let (before, _) = batch.body.split_once("\"messages\":").unwrap();
    let later = before.replacen("\"sequence\":", "\"sequence\":9", 1);
    let body = format!("{later}\"messages\":{tables}}}");
    let answer = rig.deliver_letter(&Letter { body, ..batch.clone() });
    assert!(restarted(&client));
    rig.answer_letter(&batch, answer);
    rig.release_mail();
    rig.advance(60_000);
    let [_, _] = ["user2", "user3"].map(|user| rig.connect(user, &["member"]));
    assert_eq!(rig.relays[0].storage.facts.get("tables").map(String::as_str), Some(SETTINGS));
}

/// The relay slept since it read what that batch had, and has another life too.
#[test]
fn a_batch_of_a_life_of_the_root_that_ended_long_ago_does_not_end_the_next() {
    let (mut rig, client) = spread();
    rig.mail.is_held = true;
    rig.say("kept");
    let late = rig.mail.letters.pop_front().unwrap();
    rig.lose_root();
    rig.release_mail();
    rig.wake_relay(0);
    assert_eq!(rig.deliver_letter(&late), None);
    rig.say("after");
    assert_eq!((seen(&client), client.closed()), (["first", "kept", "after"].map(str::to_owned).into(), None));
}

/// A frame that waits for the root is in memory only.
#[test]
fn a_relay_that_sleeps_while_a_client_waits_for_an_answer_lets_it_go() {
    let (mut rig, client) = spread();
    let other = open_at_relay(&mut rig);
    rig.authenticate(&other, &rig.token("user3", &["member"]));
    rig.mail.is_held = true;
    subscribe(&mut rig, &client);
    rig.post_where(|letter| letter.to == Peer::Root);
    rig.wake_relay(0);
    assert!(restarted(&client));
    rig.release_mail();
    subscribe(&mut rig, &other);
    rig.wake_relay(0);
    assert_eq!((seen(&other), other.closed()), (["auth_success", "subscribed"].map(str::to_owned).into(), None));
}

/// While the root is out of reach, what clients say waits in memory.
#[test]
fn what_waits_for_a_root_out_of_reach_is_bounded_and_is_sent_in_portions() {
    let mut realtime = realtime();
    for name in ["framesPerSecond", "errorsPerMinute", "workPerConnection", "workPerUser"] {
        realtime["limits"][name] = json!(1_000_000);
    }
    let mut rig = Rig::with_relays(&realtime, 1);
    let [_, client] = ["user0", "user1"].map(|user| rig.connect(user, &["member"]));
    rig.mail.is_held = true;
    let payload = "x".repeat(60_000);
    for number in 0..160 {
        let message = json!({ "type": "broadcast", "topic": "log:1", "event": "e", "payload": payload, "id": number.to_string() });
        rig.frame(&client, message);
    }
    let refused = client.frames().iter().filter(|frame| frame["code"] == "overloaded").count();
    assert!((10..60).contains(&refused), "{refused}");
    let mut longest = 0;
    while let Some(letter) = rig.mail.letters.pop_front() {
        longest = longest.max(letter.body.len());
        let answer = rig.deliver_letter(&letter);
        rig.answer_letter(&letter, answer);
    }
    assert!(longest < 1_200_000, "{longest}");
    assert_eq!(client.frames().iter().filter(|frame| frame["type"] == "ack").count(), 160 - refused);
}

/// Nothing comes back of it: it is not acknowledged, and nobody at the relay receives it.
#[test]
fn who_has_said_something_to_others_only_waits_for_no_answer() {
    let (mut rig, client) = spread();
    let mut message = said("to others");
    message["echo"] = json!(false);
    rig.frame(&client, message);
    rig.mail.is_held = true;
    rig.say("kept");
    rig.lose_root();
    rig.release_mail();
    assert_eq!((seen(&client), client.closed()), (["first", "kept"].map(str::to_owned).into(), None));
}

/// After a deploy the root remembers how many sockets its relays had, and nothing wakes these.
#[test]
fn nobody_is_refused_for_sockets_that_a_relay_has_lost() {
    let mut rig = Rig::with_relays(&json!({ "limits": { "connections": 3 } }), 2);
    ["user0", "user1", "user2"].into_iter().for_each(|user| _ = rig.connect(user, &["member"]));
    [0, 1].into_iter().for_each(|relay| rig.reset_relay(relay));
    rig.wake();
    assert_eq!(rig.stats()["connections"], 3, "nobody has said otherwise");
    // The Worker asks where the next socket goes before it opens one.
    rig.run(Input::Place, &mut Outcome::default());
    rig.post();
    for user in ["user3", "user4"] {
        assert_eq!(rig.connect(user, &["member"]).closed(), None);
    }
    assert_eq!(rig.stats()["connections"], 3);
    let refused = rig.open();
    rig.authenticate(&refused, &rig.token("user5", &["member"]));
    assert_eq!(refused.next()["code"], "connection_limit");
}

/// A socket opens and closes while the answer that counts it is slower than the request that does not.
#[test]
fn a_count_that_was_overtaken_does_not_stay() {
    let mut rig = Rig::with_relays(&json!({ "limits": { "connectionsPerUser": 1 } }), 1);
    let [_, client] = ["user0", "user1"].map(|user| rig.connect(user, &["member"]));
    let short = open_at_relay(&mut rig);
    rig.mail.is_held = true;
    rig.authenticate(&short, &rig.token("ada", &["member"]));
    rig.post_where(|letter| letter.to == Peer::Root);
    let batch = rig.mail.letters.pop_front().unwrap();
    let counted = rig.deliver_letter(&batch);
    rig.disconnect(&short);
    rig.post_where(|letter| letter.to == Peer::Root);
    rig.answer_letter(&batch, counted);
    rig.release_mail();
    rig.advance(61_000);
    rig.say("something");
    assert_eq!(rig.connect("ada", &["member"]).closed(), None);
    assert_eq!(client.closed(), None);
}

/// The wait between two attempts has grown, and the relay can be reached again.
#[test]
fn a_batch_that_did_not_arrive_is_sent_again_once_its_relay_is_heard() {
    let (mut rig, client) = spread();
    rig.mail.is_held = true;
    rig.say("late");
    for _ in 0..8 {
        let letter = rig.mail.letters.pop_front().unwrap();
        rig.answer_letter(&letter, None);
        rig.advance(30_000);
    }
    let letter = rig.mail.letters.pop_front().unwrap();
    rig.answer_letter(&letter, None);
    subscribe(&mut rig, &client);
    rig.release_mail();
    assert_eq!(seen(&client), ["first", "late", "subscribed"]);
}

/// The answer is held at a relay that is catching up, so its report does not name the topic yet.
#[test]
fn what_is_published_after_an_answer_that_a_relay_holds_reaches_the_subscriber() {
    let (mut rig, client) = spread();
    rig.mail.is_held = true;
    rig.say("kept");
    rig.lose_root();
    subscribe(&mut rig, &client);
    rig.post_where(|letter| letter.to == Peer::Root);
    rig.post_down();
    rig.accepted(said("before the relay asks"));
    rig.post_where(|letter| letter.to == Peer::Root);
    rig.accepted(said("kept too"));
    let mut unretained = said("not kept");
    unretained["history"] = json!(false);
    rig.accepted(unretained);
    rig.release_mail();
    let expected = ["first", "kept", "subscribed", "before the relay asks", "kept too", "not kept"];
    assert_eq!((seen(&client), client.closed()), (expected.map(str::to_owned).into(), None));
}

/// A recovery may be 4 MiB, and 8 MiB may wait for a relay.
#[test]
fn clients_of_a_relay_that_recover_much_at_once_do_not_crowd_each_other_out() {
    let (mut rig, client) = spread();
    let start = json!({ "epoch": rig.epoch(), "offset": 1 });
    let payload = "x".repeat(100_000);
    let count = 32;
    for number in 0..count {
        rig.accepted(json!({ "type": "broadcast", "event": number.to_string(), "payload": payload }));
    }
    rig.mail.is_held = true;
    let back: Vec<Client> = (0..4).map(|_| open_at_relay(&mut rig)).collect();
    for (number, client) in back.iter().enumerate() {
        let token = rig.token(&format!("user{number}"), &["member"]);
        rig.authenticate_saying(client, &token, json!({ "recover": start }));
    }
    rig.say("after");
    rig.release_mail();
    let missed = (0..count).map(|number: usize| number.to_string()).chain(["after".to_owned()]);
    let expected: Vec<String> = ["auth_success".to_owned()].into_iter().chain(missed).collect();
    for client in &back {
        assert!(seen(client) == expected);
    }
    assert_eq!(client.closed(), None);
    assert_eq!(rig.stats()["missedByRelays"], json!({ "lost": 0, "recovered": 0 }));
}

/// After a deployment the clients of all relays recover at once, and the root has 128 MB.
#[test]
fn clients_of_all_relays_that_recover_at_once_do_not_fill_the_memory_of_the_root() {
    let mut rig = Rig::with_relays(&realtime(), 16);
    for number in 0..17 {
        rig.connect(&format!("user{number}"), &["member"]);
    }
    rig.say("first");
    let start = json!({ "epoch": rig.epoch(), "offset": 1 });
    let payload = "x".repeat(100_000);
    for number in 0..32 {
        rig.accepted(json!({ "type": "broadcast", "event": number.to_string(), "payload": payload }));
    }
    rig.mail.is_held = true;
    let back: Vec<Client> = (0..17).map(|_| rig.open()).collect();
    for (number, client) in back.iter().enumerate() {
        let token = rig.token(&format!("user{number}"), &["member"]);
        rig.authenticate_saying(client, &token, json!({ "recover": start }));
    }
    rig.post_where(|letter| letter.to == Peer::Root);
    let waiting: usize = rig.mail.letters.iter().map(|letter| letter.body.len()).sum();
    assert!((10_000_000..32_000_000).contains(&waiting), "{waiting} bytes");
    rig.release_mail();
    for client in &back {
        assert_eq!((seen(client).len(), client.closed()), (33, None));
    }
}

#[test]
fn with_fewer_relays_the_others_empty_and_are_given_up() {
    let mut rig = Rig::with_relays(&realtime(), 2);
    let clients = ["user0", "user1", "user2"].map(|user| rig.connect(user, &["member"]));
    rig.frame(&clients[2], json!({ "type": "presence_track", "topic": "log:1", "metadata": {} }));
    assert_eq!((&rig.stats()["presence"], &rig.stats()["connections"]), (&json!(1), &json!(3)));
    rig.switch_relays(&realtime(), Some(Relays { sockets: 1, max: 1 }));
    assert_eq!(clients.each_ref().map(restarted), [false, false, true]);
    rig.say("after");
    assert_eq!((&rig.stats()["presence"], &rig.stats()["connections"]), (&json!(0), &json!(2)));
    assert!(rig.storage.facts.contains_key("relay.1") && !rig.storage.facts.contains_key("relay.2"));
    rig.run_relay(1, Input::Alarm, &mut Outcome::default());
    rests(&mut rig, 1);
}

#[test]
fn without_relays_those_of_before_rest_and_nothing_is_stored_of_them() {
    let (mut rig, client) = spread();
    rig.switch_relays(&realtime(), None);
    assert!(restarted(&client));
    assert!(rig.storage.facts.keys().all(|name| !name.starts_with("relay.")), "{:?}", rig.storage.facts);
    rig.run_relay(0, Input::Alarm, &mut Outcome::default());
    rests(&mut rig, 0);
    // An isolate of the version before may still send someone there.
    assert_eq!(
        rig.open_as(None, None, Recover::Off).and_then(|_| rig.open_as(None, None, Recover::Off)).unwrap_err().code,
        Code::Overloaded
    );
}

/// A relay without sockets stores nothing, and neither wakes nor asks.
#[track_caller]
fn rests(rig: &mut Rig, index: usize) {
    let number = Peer::Relay(rig.relays[index].number);
    let asked = rig.mail.sent.get(&number).copied();
    rig.advance(600_000);
    assert_eq!((rig.relays[index].alarm, rig.mail.sent.get(&number).copied()), (None, asked));
    assert!(rig.relays[index].storage_deletions > 0 && rig.relays[index].storage.facts.is_empty());
}
