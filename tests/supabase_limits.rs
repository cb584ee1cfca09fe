//! What a Supabase client may request at once, and what excess costs it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use realtime_worker::code::Code;
use realtime_worker::dialect::phoenix::{V1, V2};
use rig::supabase::{join, joined, quiet, socket, try_socket};
use rig::{Client, Rig, token};
use serde_json::{Value, json};

/// Joins of the channels `0` to `count`, as a reconnecting client sends them.
fn joins(count: usize) -> Vec<Value> {
    let join =
        |n: usize| json!([n.to_string(), n.to_string(), format!("realtime:{n}"), "phx_join", { "config": quiet() }]);
    (0..count).map(join).collect()
}

#[test]
fn a_socket_that_floods_with_joins_is_closed_and_no_other() {
    let mut rig = Rig::new(&json!({ "limits": { "joinsPerSecond": 5 } }));
    let [mallory, ada] = ["mallory", "ada"].map(|user| socket(&mut rig, V2, user, &["member"]));
    joined(&mut rig, &ada, "1", "room", quiet());
    rig.burst(&mallory, &joins(10));
    assert!(mallory.frames().iter().all(|answer| answer[4]["status"] == "ok"));
    // Other frames are not joins, and the heartbeat continues.
    rig.frame(&mallory, json!([null, "h", "phoenix", "heartbeat", {}]));
    assert_eq!(mallory.next()[4]["status"], "ok");
    join(&mut rig, &mallory, "11", "another", quiet());
    let reason = json!({ "reason": "ClientJoinRateLimitReached: Too many joins per second" });
    mallory.gets(json!(["11", "11", "realtime:another", "phx_reply", { "status": "error", "response": reason }]));
    mallory.is_closed(1001, "join_limit");
    assert_eq!((ada.closed(), rig.stats()["connections"].clone()), (None, json!(1)));
    // After a second there is room again.
    let ben = socket(&mut rig, V2, "ben", &["member"]);
    rig.burst(&ben, &joins(10));
    rig.advance(1_000);
    rig.burst(&ben, &joins(5));
    assert_eq!(ben.closed(), None);
}

/// A client joins all its channels when it reconnects, and after a failed connection each of them twice.
#[test]
fn as_many_channels_as_one_may_have_are_entered_at_once() {
    let mut rig = Rig::new(&json!({}));
    let ada = socket(&mut rig, V2, "ada", &["member"]);
    let twice = [joins(100), joins(100)].concat();
    rig.burst(&ada, &twice);
    let token = rig.token("ada", &["member"]);
    let refresh =
        |n: usize| json!([n.to_string(), "r", format!("realtime:{n}"), "access_token", { "access_token": token }]);
    rig.burst(&ada, &(0..100).map(refresh).collect::<Vec<_>>());
    let answers = ada.frames();
    assert_eq!(answers.iter().filter(|answer| answer[3] == "phx_reply" && answer[4]["status"] == "ok").count(), 200);
    assert_eq!(answers.iter().filter(|answer| answer[3] == "phx_close").count(), 100);
    assert_eq!(ada.closed(), None);
}

#[test]
fn a_full_organization_turns_sockets_away_before_they_are_open() {
    let mut rig = Rig::new(&json!({ "limits": { "connections": 2 } }));
    let ada = socket(&mut rig, V2, "ada", &["member"]);
    // Channels are not connections.
    rig.burst(&ada, &joins(3));
    rig.connect("nat", &["member"]);
    for dialect in [V1, V2] {
        let refusal = try_socket(&mut rig, dialect, "ben", &["member"]).unwrap_err();
        assert_eq!(refusal.code, Code::ConnectionLimit);
    }
    // Native clients are informed by a frame.
    let native = rig.open();
    rig.authenticate(&native, &rig.token("eve", &["member"]));
    native.is_rejected("connection_limit", 1013);
    rig.disconnect(&ada);
    assert_eq!(rig.stats()["connections"], 1);
    socket(&mut rig, V2, "ben", &["member"]);
}

/// A table's changes for the channels `0` to `count`, whose roles decide what they see of it.
fn enter_table(rig: &mut Rig, client: &Client, count: usize) {
    let bindings = json!([{ "event": "*", "schema": "public", "table": "people" }]);
    let config = json!({ "postgres_changes": bindings, "presence": { "enabled": false } });
    let join = |n: usize| {
        let reference = n.to_string();
        json!([reference, reference, format!("realtime:{n}"), "phx_join", { "config": config }])
    };
    rig.burst(client, &(0..count).map(join).collect::<Vec<_>>());
    client.frames();
}

fn refresh(n: usize, token: &str) -> Value {
    json!([n.to_string(), null, format!("realtime:{n}"), "access_token", { "access_token": token }])
}

/// A token whose verification needs the issuer's keys.
fn public(rig: &Rig, roles: &[&str]) -> String {
    token::ed25519(1, "a", &rig.claims("ada", roles))
}

/// What each channel sees of a number that only some roles may see, by channel.
fn seen(rig: &mut Rig, client: &Client) -> Vec<(String, String)> {
    let row = json!({ "id": 1, "ssn": "123-45-6789" });
    rig.accepted(json!({ "type": "postgres_changes", "table": "people", "eventType": "INSERT", "new": row }));
    let frames = client.frames().into_iter().filter(|frame| frame[3] == "postgres_changes");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut seen: Vec<_> = frames.map(|frame| (text(&frame[2]), text(&frame[4]["data"]["record"]["ssn"]))).collect();
    seen.sort();
    seen
}

fn people() -> Value {
    json!({ "tables": { "people": { "masking": { "ssn": { "type": "ssn", "show": { "roles": ["hr"] } } } } } })
}

#[test]
fn while_keys_are_fetched_no_channel_loses_its_fresh_token() {
    let mut rig = Rig::new(&people());
    rig.hold_keys = true;
    rig.key_set = Some(token::key_set(&[(1, "a")]));
    let ada = socket(&mut rig, V2, "ada", &["member"]);
    enter_table(&mut rig, &ada, 100);
    let [first, second] = [["member"], ["hr"]].map(|roles| public(&rig, &roles));
    rig.burst(&ada, &(0..100).map(|n| refresh(n, &first)).collect::<Vec<_>>());
    // The newest counts, wherever it is in the queue.
    rig.burst(&ada, &(50..100).map(|n| refresh(n, &second)).collect::<Vec<_>>());
    // Of other frames, as many as usual.
    let beats = |n: usize| json!([null, n.to_string(), "phoenix", "heartbeat", {}]);
    rig.burst(&ada, &(0..32).map(beats).collect::<Vec<_>>());
    ada.gets_nothing();
    rig.answer_keys();
    assert_eq!((ada.frames().iter().filter(|frame| frame[2] == "phoenix").count(), rig.key_fetches), (32, 1));
    let seen = seen(&mut rig, &ada);
    assert_eq!(seen.len(), 100);
    for (channel, ssn) in seen {
        let number: usize = channel.strip_prefix("realtime:").unwrap().parse().unwrap();
        assert_eq!(ssn, if number < 50 { "*****6789" } else { "123-45-6789" }, "{channel}");
    }
}

/// A reconnecting client sends a token for each of its channels.
#[test]
fn while_keys_are_fetched_all_joins_wait() {
    let mut rig = Rig::new(&json!({}));
    rig.hold_keys = true;
    rig.key_set = Some(token::key_set(&[(1, "a")]));
    let ada = socket(&mut rig, V2, "ada", &["member"]);
    let token = public(&rig, &["member"]);
    let mut all = joins(101);
    all.iter_mut().for_each(|join| join[4]["access_token"] = json!(token));
    rig.burst(&ada, &all);
    let refused = ada.next();
    assert_eq!((&refused[2], &refused[4]["status"]), (&json!("realtime:100"), &json!("error")));
    rig.answer_keys();
    let answers = ada.frames();
    assert_eq!(answers.iter().filter(|answer| answer[4]["status"] == "ok").count(), 100);
}

/// An object that wakes does not fetch keys that its isolate has.
#[test]
fn a_fresh_token_counts_after_a_sleep_though_the_issuer_is_silent() {
    let mut rig = Rig::new(&people());
    rig.key_set = Some(token::key_set(&[(1, "a")]));
    let ada = socket(&mut rig, V2, "ada", &["member"]);
    enter_table(&mut rig, &ada, 1);
    rig.frame(&ada, refresh(0, &public(&rig, &["member"])));
    rig.key_set = None;
    rig.hibernate();
    rig.frame(&ada, refresh(0, &public(&rig, &["hr"])));
    assert_eq!(seen(&mut rig, &ada), [("realtime:0".to_owned(), "123-45-6789".to_owned())]);
    assert_eq!(rig.key_fetches, 1);
    // Known keys still expire.
    rig.advance(11 * 60_000);
    rig.hibernate();
    rig.frame(&ada, refresh(0, &public(&rig, &["member"])));
    assert_eq!(rig.key_fetches, 2);
}

/// Many sockets that each wait with large frames would exhaust the memory.
#[test]
fn what_waits_for_keys_is_bounded_for_all_connections_together() {
    let mut rig = Rig::new(&json!({}));
    rig.hold_keys = true;
    rig.key_set = Some(token::key_set(&[(1, "a")]));
    let token = public(&rig, &["member"]);
    let large = json!(["0", "1", "realtime:0", "what", { "x": "x".repeat(60_000) }]);
    let clients: Vec<Client> = (0..12).map(|_| socket(&mut rig, V2, "ada", &["member"])).collect();
    for client in &clients {
        let mut join = joins(1).remove(0);
        join[4]["access_token"] = json!(token);
        rig.frame(client, join);
        rig.burst(client, &vec![large.clone(); 32]);
    }
    let rejected: usize = clients.iter().map(|client| client.frames().len()).sum();
    // 279 of these are 16 MiB.
    assert_eq!(rejected, 12 * 32 - 279);
    rig.answer_keys();
    for client in &clients {
        assert!(client.frames().iter().any(|frame| frame[3] == "phx_reply" && frame[0] == "0"), "all have entered");
    }
}

/// Not even one frame each.
#[test]
fn who_would_have_to_wait_beyond_that_is_to_come_back() {
    let mut rig = Rig::new(&json!({ "limits": { "frameBytes": 1_000_000 } }));
    rig.hold_keys = true;
    rig.key_set = Some(token::key_set(&[(1, "a")]));
    let token = public(&rig, &["member"]);
    let mut join = joins(1).remove(0);
    join[4]["access_token"] = json!(token);
    join[4]["padding"] = json!("x".repeat(900_000));
    let clients: Vec<Client> = (0..20).map(|_| socket(&mut rig, V2, "ada", &["member"])).collect();
    clients.iter().for_each(|client| rig.frame(client, join.clone()));
    let native = rig.open();
    rig.authenticate(&native, &token);
    native.is_rejected("keys_unavailable", 1013);
    let (waiting, rejected) = clients.split_at(19);
    rejected[0].is_closed(1013, "keys_unavailable");
    rig.answer_keys();
    assert!(waiting.iter().all(|client| client.next()[4]["status"] == "ok"));
    let later = socket(&mut rig, V2, "ada", &["member"]);
    joined(&mut rig, &later, "1", "room", quiet());
}

#[test]
fn a_socket_that_floods_on_and_on_is_closed() {
    let mut rig = Rig::new(&json!({ "limits": { "framesPerSecond": 5, "topics": 5 } }));
    let [mallory, ada] = ["mallory", "ada"].map(|user| socket(&mut rig, V2, user, &["member"]));
    joined(&mut rig, &ada, "1", "room", quiet());
    let unknown = json!(["1", "2", "realtime:room", "what", {}]);
    rig.burst(&mallory, &vec![unknown.clone(); 10 + 99]);
    assert_eq!((mallory.closed(), mallory.frames().len()), (None, 10 + 99));
    rig.burst(&mallory, &[unknown]);
    mallory.is_closed(1008, "too_many_errors");
    assert_eq!(ada.closed(), None);
}

#[test]
fn a_socket_that_tries_to_enter_in_vain_for_long_is_closed() {
    let mut rig = Rig::new(&json!({ "limits": { "framesPerSecond": 5, "topics": 5 } }));
    let mallory = socket(&mut rig, V2, "mallory", &["member"]);
    let mut join = joins(1).remove(0);
    join[4]["access_token"] = json!("none");
    for _ in 0..99 {
        rig.frame(&mallory, join.clone());
        assert_eq!(mallory.next()[4]["status"], "error");
    }
    rig.frame(&mallory, join.clone());
    mallory.is_closed(1008, "too_many_errors");
    // A client whose token has expired retries about ten times a minute.
    let ada = socket(&mut rig, V2, "ada", &["member"]);
    for _ in 0..99 {
        rig.frame(&ada, join.clone());
        rig.advance(6_000);
    }
    assert_eq!((ada.closed(), ada.frames().len()), (None, 99));
}

/// A token that waits for a channel that is joined again in between belongs to the new one.
#[test]
fn tokens_keep_their_place_around_a_join() {
    let mut rig = Rig::new(&people());
    rig.hold_keys = true;
    rig.key_set = Some(token::key_set(&[(1, "a")]));
    let ada = socket(&mut rig, V2, "ada", &["member"]);
    enter_table(&mut rig, &ada, 1);
    let [member, hr] = [["member"], ["hr"]].map(|roles| public(&rig, &roles));
    rig.frame(&ada, refresh(0, &member));
    enter_table(&mut rig, &ada, 1);
    rig.frame(&ada, refresh(0, &member));
    rig.frame(&ada, refresh(0, &hr));
    // There is no such channel, and none is about to be joined, so nothing is reserved for it.
    rig.burst(&ada, &(1..100).map(|n| refresh(n, &hr)).collect::<Vec<_>>());
    rig.answer_keys();
    assert_eq!(seen(&mut rig, &ada), [("realtime:0".to_owned(), "123-45-6789".to_owned())]);
    assert_eq!(ada.closed(), None);
}

/// A socket's state must fit into a row; otherwise the storage would refuse it, and everyone's life would end.
#[test]
fn where_limits_are_raised_what_is_kept_of_a_socket_still_fits_into_its_row() {
    let limits = json!({ "frameBytes": 4_000_000, "subscriptions": 1_000, "filterBytes": 100_000_000 });
    let mut rig = Rig::new(&json!({ "limits": limits }));
    let ada = socket(&mut rig, V2, "ada", &["member"]);
    let columns: Vec<String> = (0..900).map(|n| format!("{n:0250}")).collect();
    let bindings = vec![json!({ "event": "*", "table": "people", "select": columns }); 7];
    joined(&mut rig, &ada, "1", "large", json!({ "postgres_changes": bindings, "presence": { "enabled": false } }));
    ada.frames();
    rig.hibernate();
    join(&mut rig, &ada, "1", "small", quiet());
    assert_eq!(ada.next()[4]["response"]["reason"], "ChannelRateLimitReached: Too many channels");
    rig.frame(&ada, json!(["1", "2", "realtime:large", "phx_leave", {}]));
    ada.frames();
    joined(&mut rig, &ada, "1", "small", quiet());
}

#[test]
fn the_same_holds_for_the_subscriptions_of_a_native_client() {
    let limits = json!({ "frameBytes": 4_000_000, "subscriptions": 1_000, "filterBytes": 100_000_000 });
    let mut rig = Rig::new(&json!({ "limits": limits }));
    let filter = format!("a=eq.{}", "x".repeat(8_000));
    let subscription = |n: usize| json!({ "id": n.to_string(), "table": "people", "filter": filter });
    let all: Vec<Value> = (0..186).map(subscription).collect();
    let claims = rig.claims("nat", &["member"]);
    let nat = rig.connect_saying(&claims, json!({ "subscriptions": all }));
    assert_eq!(nat.frames().len(), 186);
    rig.hibernate();
    let one_more = json!({ "type": "subscribe", "id": "x", "topic": "room", "private": false });
    rig.frame(&nat, one_more.clone());
    nat.is_refused("subscription_limit");
    for n in ["0", "1"] {
        rig.frame(&nat, json!({ "type": "unsubscribe", "id": n }));
        nat.next();
    }
    rig.frame(&nat, one_more);
    nat.gets(json!({ "type": "subscribed", "id": "x" }));
}
