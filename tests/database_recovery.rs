//! Missed database changes are replayed under the current policies, or reported as not recoverable.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use rig::source::{change, table};
use rig::{Client, ORGANIZATION, Rig, every_way, token};
use serde_json::{Value, json};

fn realtime() -> Value {
    json!({ "databases": { "main": { "connection": "DATABASE_URL", "organization": ORGANIZATION,
        "roles": ["authenticated"], "bypass": ["service_role"] } } })
}

fn prepare(rig: &mut Rig) {
    rig.source.tables = Some(json!([table("messages", &[("id", "int8"), ("owner", "text")], &["authenticated"])]));
    rig.source.policy = |_, claims, _, row| claims["sub"] == row["owner"];
}

/// A first client that subscribes, so that a group is judged for, and the position before anything has happened.
fn begin(rig: &mut Rig, user: &str) -> (Client, Value) {
    prepare(rig);
    let claims = rig.claims(user, &[]);
    let client = rig.connect_saying(&claims, json!({ "recover": true }));
    let position = json!({ "epoch": rig.epoch(), "offset": 0 });
    (client, position)
}

fn hand_over(rig: &mut Rig, changes: &[Value]) {
    let batch = rig.source.batch(changes);
    assert_eq!(rig.hand_over(&batch).status, 200);
}

fn insert(id: u64, owner: &str) -> Value {
    change("INSERT", "messages", json!({ "id": id, "owner": owner }), Value::Null)
}

/// Reconnects with a position.
fn come_back(rig: &mut Rig, user: &str, more: Value, position: &Value) -> Client {
    let client = rig.open();
    let mut claims = rig.claims(user, &[]);
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rig.authenticate_saying(&client, &token::hs256(&claims), json!({ "recover": position }));
    client
}

fn ids(frames: &[Value]) -> Vec<Value> {
    frames.iter().map(|frame| json!([frame["eventType"], frame["new"]["id"], frame["old"]["id"]])).collect()
}

#[test]
fn what_was_missed_is_told_to_whoever_may_see_it_now() {
    every_way(realtime(), |rig| {
        let (_ada, start) = begin(rig, "ada");
        let moved =
            change("UPDATE", "messages", json!({ "id": 2, "owner": "bob" }), json!({ "id": 2, "owner": "ada" }));
        let gone = change("DELETE", "messages", Value::Null, json!({ "id": 1, "owner": "ada" }));
        hand_over(rig, &[insert(1, "ada"), insert(3, "bob"), moved, gone]);
        // Nobody judged for bob when it happened.
        let bob = come_back(rig, "bob", json!({}), &start);
        let frames = bob.frames();
        assert_eq!((&frames[0]["type"], &frames[0]["recovered"]), (&json!("auth_success"), &json!(true)));
        assert_eq!(ids(&frames[1..]), [json!(["INSERT", 3, null]), json!(["INSERT", 2, null])]);
        let ada = come_back(rig, "ada", json!({}), &start);
        let told = [json!(["INSERT", 1, null]), json!(["DELETE", null, 2]), json!(["DELETE", null, 1])];
        assert_eq!(ids(&ada.frames()[1..]), told);
        let chief = come_back(rig, "chief", json!({ "role": "service_role" }), &start);
        assert_eq!(ids(&chief.frames()[1..]).len(), 4);
        // A policy that has changed since applies to what happened before.
        rig.source.policy = |_, _, _, _| false;
        let frames = come_back(rig, "ada", json!({}), &start).frames();
        assert_eq!((frames.len(), &frames[0]["recovered"]), (1, &json!(true)));
    });
}

#[test]
fn what_cannot_be_judged_is_not_recovered() {
    every_way(realtime(), |rig| {
        let (_ada, start) = begin(rig, "ada");
        hand_over(rig, &[insert(1, "ada")]);
        rig.source.judges = false;
        let frames = come_back(rig, "ada", json!({}), &start).frames();
        assert_eq!((frames.len(), &frames[0]["recovered"]), (1, &json!(false)));
        // The table is gone from the database, so nobody can judge its rows.
        rig.source.judges = true;
        rig.source.tables = Some(json!([]));
        let frames = come_back(rig, "ada", json!({}), &start).frames();
        assert_eq!((frames.len(), &frames[0]["recovered"]), (1, &json!(false)));
        let chief = come_back(rig, "chief", json!({ "role": "service_role" }), &start).frames();
        assert_eq!((chief.len(), &chief[0]["recovered"]), (2, &json!(true)), "who sees all needs no judge");
    });
}

/// A database restart in between loses nothing.
#[test]
fn a_question_that_was_not_answered_is_asked_again() {
    every_way(realtime(), |rig| {
        let (_ada, start) = begin(rig, "ada");
        hand_over(rig, &[insert(1, "ada")]);
        rig.source.judge_failures = 5;
        let frames = come_back(rig, "ada", json!({}), &start).frames();
        assert_eq!((&frames[0]["recovered"], ids(&frames[1..])), (&json!(true), vec![json!(["INSERT", 1, null])]));
        assert_eq!(rig.source.judge_failures, 0);
        // But not for ever.
        rig.source.judge_failures = 1_000;
        let frames = come_back(rig, "ada", json!({}), &start).frames();
        assert_eq!((frames.len(), &frames[0]["recovered"]), (1, &json!(false)));
        rig.source.judge_failures = 0;
    });
}

#[test]
fn what_comes_while_the_judge_is_asked_is_told_after_it() {
    let mut rig = Rig::new(&realtime());
    let (other, start) = begin(&mut rig, "ada");
    hand_over(&mut rig, &[insert(1, "ada")]);
    rig.source.is_slow = true;
    let ada = come_back(&mut rig, "ada", json!({}), &start);
    ada.gets_nothing();
    hand_over(&mut rig, &[insert(2, "ada"), insert(9, "bob")]);
    rig.say("hello");
    rig.frame(&ada, json!({ "type": "subscribe", "id": "p", "topic": "p", "private": false }));
    ada.gets_nothing();
    assert_eq!(other.frames().len(), 3, "nobody else waits");
    rig.answer_source();
    let frames = ada.frames();
    assert_eq!((&frames[0]["type"], &frames[0]["recovered"]), (&json!("auth_success"), &json!(true)));
    assert_eq!(ids(&frames[1..3]), [json!(["INSERT", 1, null]), json!(["INSERT", 2, null])]);
    assert_eq!((&frames[3]["event"], &frames[4]), (&json!("hello"), &json!({ "type": "subscribed", "id": "p" })));
    assert_eq!(frames.len(), 5);
    hand_over(&mut rig, &[insert(3, "ada")]);
    assert_eq!(ids(&ada.frames()), [json!(["INSERT", 3, null])]);
}

/// The question is lost with the memory: nothing was sent yet, and the client reconnects with its old position.
#[test]
fn a_crash_while_the_judge_is_asked_loses_nothing() {
    let mut rig = Rig::new(&realtime());
    let (_other, start) = begin(&mut rig, "ada");
    hand_over(&mut rig, &[insert(1, "ada")]);
    rig.source.is_slow = true;
    let ada = come_back(&mut rig, "ada", json!({}), &start);
    rig.crash();
    ada.is_closed(1012, "service_restart");
    rig.source.is_slow = false;
    let frames = come_back(&mut rig, "ada", json!({}), &start).frames();
    assert_eq!(ids(&frames[1..]), [json!(["INSERT", 1, null])]);
}

#[test]
fn a_client_that_leaves_while_the_judge_is_asked_is_forgotten() {
    let mut rig = Rig::new(&realtime());
    let (other, start) = begin(&mut rig, "ada");
    hand_over(&mut rig, &[insert(1, "ada")]);
    other.frames();
    rig.source.is_slow = true;
    let ada = come_back(&mut rig, "ada", json!({}), &start);
    rig.disconnect(&ada);
    let next = rig.open();
    rig.answer_source();
    next.gets_nothing();
    hand_over(&mut rig, &[insert(2, "ada")]);
    assert_eq!((other.frames().len(), next.frames().len()), (1, 0));
}

/// A long absence causes no question that the database could not answer in time, and changes that are committed
/// meanwhile, however fast, do not send the client away again.
#[test]
fn much_that_was_missed_is_judged_in_portions() {
    let mut rig = Rig::new(&realtime());
    let (other, start) = begin(&mut rig, "ada");
    let inserts = |ids: std::ops::Range<u64>| ids.map(|id| insert(id, "ada")).collect::<Vec<_>>();
    hand_over(&mut rig, &inserts(0..2_500));
    rig.source.is_slow = true;
    let ada = come_back(&mut rig, "ada", json!({}), &start);
    (0..20).for_each(|part| hand_over(&mut rig, &inserts(2_500 + 100 * part..2_600 + 100 * part)));
    ada.gets_nothing();
    rig.source.judge_failures = 2;
    rig.answer_source();
    let images = |question: &Value| question["images"].as_array().unwrap().len();
    assert_eq!(rig.source.judged.iter().map(images).collect::<Vec<_>>(), [1_000, 1_000, 1_000, 1_000, 500]);
    let frames = ada.frames();
    assert_eq!((&frames[0]["type"], &frames[0]["recovered"]), (&json!("auth_success"), &json!(true)));
    assert_eq!(ids(&frames[1..]), (0..4_500).map(|id| json!(["INSERT", id, null])).collect::<Vec<_>>());
    assert_eq!(other.frames().len(), 4_500);
    // One portion that cannot be judged suffices.
    rig.source.judge_failures = 0;
    rig.source.judges = false;
    let frames = come_back(&mut rig, "ada", json!({}), &start).frames();
    assert_eq!((frames.len(), &frames[0]["recovered"]), (1, &json!(false)));
    assert!(rig.logs.iter().any(|line| line.contains("\"not_recovered\"") && line.contains("no_answer")));
}

/// A slow database receives smaller questions; a policy that hangs is given up.
#[test]
fn what_the_database_does_not_judge_in_time_is_asked_in_smaller_portions() {
    for (max_judged, asked) in [(100, vec![500, 100, 100, 100, 100, 100]), (99, vec![500, 100])] {
        let mut rig = Rig::new(&realtime());
        let (_other, start) = begin(&mut rig, "ada");
        hand_over(&mut rig, &(1..=500).map(|id| insert(id, "ada")).collect::<Vec<_>>());
        rig.source.max_judged = max_judged;
        let frames = come_back(&mut rig, "ada", json!({}), &start).frames();
        let images = |question: &Value| question["images"].as_array().unwrap().len();
        assert_eq!(rig.source.judged.iter().map(images).collect::<Vec<_>>(), asked);
        let recovered = asked.len() > 2;
        assert_eq!((&frames[0]["recovered"], frames.len()), (&json!(recovered), if recovered { 501 } else { 1 }));
        assert_eq!(rig.logs.iter().any(|line| line.contains("not_recovered") && line.contains("57014")), !recovered);
    }
}

/// Nothing waits in memory without a bound.
#[test]
fn a_client_that_is_told_too_much_meanwhile_comes_back() {
    let mut rig = Rig::new(&realtime());
    let (_other, start) = begin(&mut rig, "ada");
    hand_over(&mut rig, &[insert(1, "ada")]);
    rig.source.is_slow = true;
    let ada = come_back(&mut rig, "ada", json!({}), &start);
    let large = json!({ "id": "x".repeat(50_000), "owner": "ada" });
    let changes = vec![change("INSERT", "messages", large, Value::Null); 50];
    hand_over(&mut rig, &changes);
    ada.gets_nothing();
    hand_over(&mut rig, &changes);
    ada.is_closed(1012, "service_restart");
    rig.answer_source();
}

#[test]
fn a_stored_change_is_no_publication_that_nobody_judges() {
    let mut rig = Rig::new(&realtime());
    let (_other, start) = begin(&mut rig, "ada");
    hand_over(&mut rig, &[insert(1, "bob")]);
    let row = rig.storage.history.get_mut(&1).unwrap();
    assert!(row.text.contains("\"database\":{"), "{}", row.text);
    // A row that a later build wrote in another format is not guessed at.
    row.text = row.text.replace("\"database\":{", "\"database\":{\"key\":7,");
    rig.hibernate();
    let frames = come_back(&mut rig, "ada", json!({}), &start).frames();
    assert_eq!((frames.len(), &frames[0]["recovered"]), (1, &json!(false)));
}

#[test]
fn nobody_publishes_in_the_databases_name() {
    let mut rig = Rig::new(&realtime());
    let forged = json!({ "type": "postgres_changes", "table": "t", "eventType": "INSERT", "new": { "id": 1 },
        "database": { "at": null, "truncated": false, "key": ["id"], "identity": null } });
    assert_eq!(rig.publish(forged).status, 400);
    let forged = json!({ "type": "broadcast", "event": "e", "payload": {}, "topic": "t", "messageId": "a" });
    assert_eq!(rig.publish(forged).status, 400);
}

/// Without listeners, nobody judges for a group: changes that are committed until the database has answered again are
/// replayed from the history.
#[test]
fn what_is_committed_before_the_database_answers_is_told_to_who_comes_back() {
    let mut rig = Rig::new(&realtime());
    let (other, start) = begin(&mut rig, "other");
    rig.source.is_slow = true;
    let ada = come_back(&mut rig, "ada", json!({}), &start);
    ada.gets_nothing();
    // The database was asked for the group and has not registered it yet.
    let mut batch = rig.source.batch(&[insert(1, "ada"), insert(2, "other")]);
    batch["verdicts"][0]["groups"] = json!([]);
    rig.hand_over(&batch);
    rig.frame(&ada, json!({ "type": "ping" }));
    ada.gets_nothing();
    rig.answer_source();
    let frames = ada.frames();
    assert_eq!((&frames[0]["type"], &frames[0]["recovered"]), (&json!("auth_success"), &json!(true)));
    assert_eq!(ids(&frames[1..2]), [json!(["INSERT", 1, null])]);
    assert_eq!((frames.len(), &frames[2]["type"]), (3, &json!("pong")));
    hand_over(&mut rig, &[insert(3, "ada")]);
    assert_eq!(ids(&ada.frames()), [json!(["INSERT", 3, null])]);
    other.gets_nothing();
}

#[test]
fn who_comes_back_while_the_database_is_away_is_told_that_it_did_not_recover() {
    let mut rig = Rig::new(&realtime());
    let (_other, start) = begin(&mut rig, "other");
    hand_over(&mut rig, &[insert(1, "ada")]);
    rig.source.tables = None;
    let ada = rig.open();
    let token = rig.token("ada", &[]);
    let asked = json!([{ "id": "m", "table": "messages" }, { "id": "t", "topic": "t", "private": false }]);
    rig.authenticate_saying(&ada, &token, json!({ "recover": start, "subscriptions": asked }));
    rig.advance(14_999);
    ada.gets_nothing();
    rig.advance(1);
    let frames = ada.frames();
    assert_eq!((&frames[0]["type"], &frames[0]["recovered"]), (&json!("auth_success"), &json!(false)));
    assert_eq!((&frames[1]["code"], &frames[1]["id"]), (&json!("source_unavailable"), &json!("m")));
    assert_eq!((frames.len(), &frames[2]), (3, &json!({ "type": "subscribed", "id": "t" })));
    // So does one whose memory is lost meanwhile.
    let bob = come_back(&mut rig, "bob", json!({}), &start);
    rig.hibernate();
    bob.is_closed(1012, "service_restart");
}

#[test]
fn who_comes_back_to_a_table_that_is_gone_is_told_which() {
    every_way(realtime(), |rig| {
        let (_other, start) = begin(rig, "other");
        hand_over(rig, &[insert(1, "ada")]);
        let ada = rig.open();
        let token = rig.token("ada", &[]);
        let asked = json!([{ "id": "n", "table": "nothing" }, { "id": "m", "table": "messages" }]);
        rig.authenticate_saying(&ada, &token, json!({ "recover": start, "subscriptions": asked }));
        let frames = ada.frames();
        assert_eq!((&frames[0]["type"], &frames[0]["recovered"]), (&json!("auth_success"), &json!(true)));
        assert_eq!((&frames[1]["code"], &frames[1]["id"]), (&json!("unknown_table"), &json!("n")));
        assert_eq!(
            (&frames[2], ids(&frames[3..])),
            (&json!({ "type": "subscribed", "id": "m" }), vec![json!(["INSERT", 1, null])])
        );
    });
}

/// Without the database, nobody can judge its changes.
#[test]
fn a_deployment_without_the_database_tells_nothing_of_it() {
    let mut rig = Rig::new(&realtime());
    let (_other, start) = begin(&mut rig, "ada");
    hand_over(&mut rig, &[insert(1, "ada")]);
    rig.deploy_with(&json!({}));
    let frames = come_back(&mut rig, "ada", json!({}), &start).frames();
    assert_eq!((frames.len(), &frames[0]["recovered"]), (1, &json!(false)));
}

/// After a deploy, the answer to one question lets many continue at once, whose history is in the storage only.
#[test]
fn each_of_many_who_come_back_at_once_is_told_what_it_missed_itself() {
    let mut rig = Rig::new(&realtime());
    let (_first, start) = begin(&mut rig, "first");
    hand_over(&mut rig, &(1..=9).map(|id| insert(id, ["ada", "bob", "eve"][id as usize % 3])).collect::<Vec<_>>());
    rig.deploy();
    rig.source.is_slow = true;
    // The pending question names only the first one; clients that arrive until it is answered are named by the next.
    let _first = come_back(&mut rig, "first", json!({}), &start);
    let returning = [("ada", 0), ("bob", 4), ("eve", 8), ("ada", 6)].map(|(user, offset)| {
        (come_back(&mut rig, user, json!({}), &json!({ "epoch": start["epoch"], "offset": offset })), user, offset)
    });
    rig.answer_source();
    for (client, user, offset) in returning {
        let frames = client.frames();
        assert_eq!((&frames[0]["type"], &frames[0]["recovered"]), (&json!("auth_success"), &json!(true)), "{user}");
        let missed = (offset + 1..=9).filter(|id| ["ada", "bob", "eve"][id % 3] == user);
        let expected: Vec<Value> = missed.map(|id| json!(["INSERT", id, null])).collect();
        assert_eq!(ids(&frames[1..]), expected, "{user} from {offset}");
    }
}
