//! Several events in one frame: which are sent together, which must not wait, and that batching changes nothing else.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod oracle;
mod random;
mod rig;

use oracle::Person;
use proptest::collection::vec;
use proptest::prelude::*;
use random::{change, interruption, person, table};
use realtime_worker::engine::command::Recover;
use rig::{Client, Interruption, Rig, every_way};
use serde_json::{Value, json};

const WINDOW: u64 = 20;
/// The maximum bytes of a frame with several events.
const MAX_BYTES: usize = 64 * 1024;

fn connect(rig: &mut Rig, user: &str) -> Client {
    rig.connect_saying(&rig.claims(user, &["member"]), json!({ "recover": true, "batch": true }))
}

/// Publishes messages of these names in one request.
fn say_all(rig: &mut Rig, names: &[&str]) {
    let messages: Vec<_> =
        names.iter().map(|name| json!({ "type": "broadcast", "event": name, "payload": 1 })).collect();
    let answer = rig.publish(json!({ "messages": messages }));
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// The frames that a client without batches would have received.
fn flat(client: &Client) -> Vec<Value> {
    let events = |frame: Value| match frame["events"].as_array() {
        Some(events) => {
            assert!(frame["type"] == "batch" && events.len() > 1, "{frame}");
            events.clone()
        }
        None => vec![frame],
    };
    client.frames().into_iter().flat_map(events).collect()
}

/// For each frame the names of its events, or its type.
fn names(client: &Client) -> Vec<Vec<String>> {
    let name = |frame: &Value| frame["event"].as_str().or(frame["type"].as_str()).unwrap().to_owned();
    let of = |frame: Value| match frame["events"].as_array() {
        Some(events) => events.iter().map(name).collect(),
        None => vec![name(&frame)],
    };
    client.frames().into_iter().map(of).collect()
}

#[test]
fn a_request_is_one_frame_for_those_who_ask() {
    every_way(json!({}), |rig| {
        let batched = connect(rig, "ada");
        let plain = rig.connect_saying(&rig.claims("bob", &["member"]), json!({ "recover": true, "batch": false }));
        say_all(rig, &["1", "2", "3"]);
        let event = |n: u64| json!({ "type": "broadcast", "event": n.to_string(), "payload": 1, "offset": n });
        batched.gets(json!({ "type": "batch", "events": [event(1), event(2), event(3)] }));
        (1..=3).for_each(|n| plain.gets(event(n)));
        rig.advance(WINDOW);
        rig.say("4");
        assert_eq!((names(&batched), names(&plain)), (vec![vec!["4".to_owned()]], vec![vec!["4".to_owned()]]));
        assert_eq!(rig.stats()["deliveries"], if rig.interruption == Interruption::None { 8 } else { 0 });
    });
}

#[test]
fn only_under_load_does_anything_wait() {
    let mut rig = Rig::new(&json!({}));
    let client = connect(&mut rig, "ada");
    rig.hold_timer = true;
    rig.say("1");
    assert_eq!(
        (names(&client), rig.timers.len()),
        (vec![vec!["1".to_owned()]], 0),
        "at once, and nothing stays behind"
    );
    rig.now += WINDOW - 1;
    rig.say("2");
    rig.say("3");
    client.gets_nothing();
    assert_eq!(rig.timers.len(), 1);
    rig.tick();
    assert_eq!(names(&client), [["2", "3"]]);
    assert_eq!(rig.timers.len(), 0);
    // The frame at the end of a window begins the next one.
    rig.say("4");
    client.gets_nothing();
    // If the timer is late, the next input does its work.
    rig.now += WINDOW;
    rig.say("5");
    assert_eq!(names(&client), [["4", "5"]]);
}

#[test]
fn the_time_may_be_set() {
    let mut rig = Rig::new(&json!({ "batchMilliseconds": 0 }));
    let client = connect(&mut rig, "ada");
    rig.hold_timer = true;
    ["1", "2"].iter().for_each(|name| assert!(rig.say(name) > 0));
    assert_eq!(names(&client), [["1"], ["2"]]);
    say_all(&mut rig, &["3", "4"]);
    assert_eq!(names(&client), [["3", "4"]]);
}

#[test]
fn a_clock_that_goes_back_holds_up_nothing() {
    let mut rig = Rig::new(&json!({}));
    let client = connect(&mut rig, "ada");
    rig.hold_timer = true;
    rig.say("1");
    rig.now -= 3_600_000;
    rig.say("2");
    assert_eq!(names(&client), [["1"], ["2"]]);
}

#[test]
fn presence_and_batches_have_a_timer_each() {
    let mut rig = Rig::new(&json!({}));
    let (ada, bob) = (connect(&mut rig, "ada"), connect(&mut rig, "bob"));
    rig.hold_timer = true;
    for metadata in [json!({ "n": 1 }), json!({ "n": 2 })] {
        let kind = if metadata["n"] == 1 { "presence_track" } else { "presence_update" };
        rig.frame(&ada, json!({ "type": kind, "metadata": metadata }));
    }
    ["1", "2"].iter().for_each(|name| assert!(rig.say(name) > 0));
    assert_eq!(names(&bob), [["1"]]);
    ada.frames();
    rig.tick();
    assert_eq!(names(&bob), [["2"]], "the shorter wait ends first");
    rig.tick();
    assert_eq!(names(&ada), [["2"], ["presence_update"]]);
    assert!(rig.timers.is_empty());
}

#[test]
fn no_answer_overtakes_an_event() {
    let mut rig = Rig::new(&json!({ "channels": [{ "topic": "room", "read": {}, "write": {} }] }));
    let (ada, bob) = (connect(&mut rig, "ada"), connect(&mut rig, "bob"));
    for client in [&ada, &bob] {
        rig.frame(client, json!({ "type": "subscribe", "id": "s", "topic": "room" }));
        client.frames();
    }
    rig.hold_timer = true;
    ["1", "2"].iter().for_each(|name| assert!(rig.say(name) > 0));
    rig.frame(&ada, json!({ "type": "broadcast", "topic": "room", "event": "3", "id": "c1" }));
    assert_eq!(names(&ada), [vec!["1"], vec!["2", "3"], vec!["ack"]], "who asks does not wait");
    rig.say("4");
    assert_eq!(names(&bob), [["1"]], "the others do");
    rig.tick();
    assert_eq!(
        (names(&ada), names(&bob)),
        (vec![vec!["4".to_owned()]], vec![["2", "3", "4"].map(str::to_owned).to_vec()])
    );
}

#[test]
fn what_was_missed_comes_in_one_frame() {
    every_way(json!({}), |rig| {
        ["1", "2", "3"].iter().for_each(|name| assert_eq!(rig.say(name), 0));
        let recover = json!({ "epoch": rig.epoch(), "offset": 1 });
        let client = rig.open();
        let token = rig.token("ada", &[]);
        rig.authenticate_saying(&client, &token, json!({ "recover": recover, "batch": true }));
        assert_eq!(names(&client), [vec!["auth_success"], vec!["2", "3"]]);
    });
}

#[test]
fn those_with_a_ticket_ask_in_the_address() {
    let mut rig = Rig::new(&json!({}));
    let known = connect(&mut rig, "ada");
    rig.open_batched = true;
    let client = rig.open_as(Some(rig::token::principal("bob", &["member"], None)), None, Recover::On).unwrap();
    assert_eq!(client.next()["type"], "auth_success");
    rig.advance(WINDOW);
    say_all(&mut rig, &["1", "2"]);
    assert_eq!(
        (names(&client), names(&known)),
        (vec![vec!["1".to_owned(), "2".to_owned()]], vec![vec!["1".to_owned(), "2".to_owned()]])
    );
}

#[test]
fn frames_stay_small() {
    let mut rig = Rig::new(&json!({}));
    let client = connect(&mut rig, "ada");
    let message = |bytes: usize| json!({ "type": "broadcast", "event": "e", "payload": "x".repeat(bytes) });
    let mut messages: Vec<Value> = (0..90).map(|_| message(2_000)).collect();
    messages.insert(40, message(3 * MAX_BYTES));
    assert_eq!(rig.publish(json!({ "messages": messages })).status, 202);
    let texts = client.texts().split_off(1);
    let sizes: Vec<usize> = texts.iter().map(String::len).collect();
    assert_eq!(sizes.iter().filter(|size| **size > MAX_BYTES).count(), 1, "{sizes:?}");
    assert!(sizes.len() < 7, "{sizes:?}");
    let offsets: Vec<_> = flat(&client).iter().map(|frame| frame["offset"].as_u64().unwrap()).collect();
    assert!(offsets.into_iter().eq(1..=91));
}

#[test]
fn what_waits_is_bounded() {
    let mut rig = Rig::new(&json!({ "limits": { "publicationsPerSecond": 100_000 } }));
    let client = connect(&mut rig, "ada");
    rig.hold_timer = true;
    rig.say("first");
    client.frames();
    for _ in 0..11 {
        say_all(&mut rig, &["x"; 100]);
    }
    assert_eq!(flat(&client).len(), 1_100, "as many as may wait, and one more request");
    let large = json!({ "type": "broadcast", "event": "large", "payload": "x".repeat(600_000) });
    rig.accepted(large.clone());
    client.gets_nothing();
    rig.accepted(large);
    assert_eq!(flat(&client).len(), 2);
}

#[test]
fn a_number_that_is_used_again_brings_nothing_of_the_socket_before() {
    let mut rig = Rig::new(&json!({}));
    let (ada, bob) = (connect(&mut rig, "ada"), connect(&mut rig, "bob"));
    rig.hold_timer = true;
    ["1", "2"].iter().for_each(|name| assert!(rig.say(name) > 0));
    rig.disconnect(&bob);
    let eve = connect(&mut rig, "eve");
    rig.tick();
    assert_eq!(names(&ada), [["1"], ["2"]]);
    eve.gets_nothing();
}

#[test]
fn who_is_closed_gets_first_what_waited() {
    let mut rig = Rig::new(&json!({ "limits": { "errorsPerMinute": 1 } }));
    let client = connect(&mut rig, "ada");
    rig.hold_timer = true;
    ["1", "2"].iter().for_each(|name| assert!(rig.say(name) > 0));
    rig.text(&client, "nonsense");
    assert_eq!(names(&client), [["1"], ["2"], ["error"]]);
    assert!(client.closed().is_some());
}

#[test]
fn a_life_that_fails_loses_nothing() {
    let mut rig = Rig::new(&json!({}));
    let (batched, plain) = (connect(&mut rig, "ada"), rig.connect("bob", &["member"]));
    rig.hold_timer = true;
    ["1", "2"].iter().for_each(|name| assert!(rig.say(name) > 0));
    rig.fail();
    assert_eq!(names(&batched), [["1"]]);
    batched.is_closed(1012, "service_restart");
    assert_eq!(plain.closed(), None, "nothing waited for it");
    let recover = json!({ "epoch": rig.epoch(), "offset": 1 });
    let back = rig.connect_saying(&rig.claims("ada", &["member"]), json!({ "recover": recover, "batch": true }));
    assert_eq!(names(&back), [["2"]]);
}

/// One step of a script.
#[derive(Clone, Debug)]
enum Step {
    Publish(Vec<Value>),
    Say,
    Wait(u64),
    Tick,
    Return,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => vec(change(), 1..5).prop_map(Step::Publish),
        1 => Just(Step::Say),
        2 => (0_u64..30).prop_map(Step::Wait),
        1 => Just(Step::Tick),
        1 => Just(Step::Return),
    ]
}

fn enter(rig: &mut Rig, person: &Person, recover: &Value, batch: bool) -> Client {
    let client = rig.open();
    let mut claims = rig.claims(&person.user, &person.roles.iter().map(String::as_str).collect::<Vec<_>>());
    claims["teams"] = json!(person.teams);
    let mut subscriptions = person.subscriptions.clone();
    subscriptions.push(json!({ "topic": "room" }));
    for (id, subscription) in subscriptions.iter_mut().enumerate() {
        subscription["id"] = json!(id.to_string());
    }
    let more = json!({ "recover": recover, "batch": batch, "subscriptions": subscriptions });
    rig.authenticate_saying(&client, &rig::token::hs256(&claims), more);
    client
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each person has two clients, one with batches and one without; both receive the same frames in the same order.
    #[test]
    fn batches_change_nothing_but_the_number_of_frames(
        table in table(),
        mut people in vec(person(), 1..4),
        steps in vec((step(), interruption()), 1..20),
    ) {
        people.iter_mut().for_each(|person| oracle::keep_admitted(&table, person));
        let mut rig = Rig::new(&json!({ "tables": { "t": table, "keeper": { "rows": [{ "column": "x", "claim": "teams" }] } },
            "channels": [{ "topic": "room", "read": {}, "write": {}, "history": true }] }));
        rig.hold_timer = true;
        let mut twins = Vec::new();
        for person in &people {
            twins.push([true, false].map(|batch| enter(&mut rig, person, &json!(true), batch)));
        }
        let speaker = rig.connect("speaker", &[]);
        let mut told = vec![[Vec::new(), Vec::new()]; people.len()];
        for (step, interruption) in steps {
            rig.interruption = interruption;
            match step {
                Step::Publish(changes) => drop(rig.publish(json!({ "messages": changes }))),
                Step::Say => rig.frame(&speaker, json!({ "type": "broadcast", "topic": "room", "event": "e", "id": "c" })),
                Step::Wait(milliseconds) => rig.advance(milliseconds),
                Step::Tick => if !rig.timers.is_empty() { rig.tick() },
                Step::Return => {
                    for (n, person) in people.iter().enumerate() {
                        // In one step, so that both have missed the same; the pending events reach the one that stays
                        // connected.
                        while !rig.timers.is_empty() { rig.tick() }
                        let recover = json!({ "epoch": rig.epoch(), "offset": rig.storage.history.len().saturating_sub(3) });
                        twins[n].clone().iter().zip(&mut told[n]).for_each(|(client, told)| told.extend(flat(client)));
                        twins[n].clone().iter().for_each(|client| rig.disconnect(client));
                        twins[n] = [true, false].map(|batch| enter(&mut rig, person, &recover, batch));
                    }
                }
            }
        }
        while !rig.timers.is_empty() { rig.tick() }
        for (twins, told) in twins.iter().zip(&mut told) {
            twins.iter().zip(told.iter_mut()).for_each(|(client, told)| told.extend(flat(client)));
            let [batched, plain] = told;
            prop_assert_eq!(batched, plain);
            prop_assert!(twins[0].texts().len() <= twins[1].texts().len());
        }
    }
}
