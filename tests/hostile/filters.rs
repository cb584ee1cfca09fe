//! Regular expressions that are written to take long.

use serde_json::{Value, json};

use crate::rig::{Client, Rig};

/// Steps that one regular expression takes for the longest text that it is held against.
const BOMB: u64 = 512 * 513;

/// A filter of the largest expressions there may be, in its own words for each number.
fn bomb(number: usize) -> String {
    format!("a=match.^(?:a?){{120}}{number}$")
}

fn change(text: &str) -> Value {
    json!({ "type": "postgres_changes", "table": "t", "eventType": "INSERT", "new": { "id": 1, "a": text } })
}

/// A member with these filters, who has heard everything.
fn member(rig: &mut Rig, user: &str, filters: &[String]) -> Client {
    let client = rig.connect(user, &[]);
    for (n, filter) in filters.iter().enumerate() {
        rig.frame(&client, json!({ "type": "subscribe", "id": format!("s{n}"), "table": "t", "filter": filter }));
        assert_eq!(client.next()["type"], "subscribed", "{filter}");
    }
    client
}

fn of_type(frames: &[Value], kind: &str) -> usize {
    frames.iter().filter(|frame| frame["type"] == kind).count()
}

#[test]
fn what_exceeds_a_users_steps_does_not_match_and_is_told_once() {
    let mut rig = Rig::new(&json!({ "limits": { "filterStepsPerUser": 2 * BOMB } }));
    let bombs: Vec<String> = (0..8).map(bomb).collect();
    let eve = member(&mut rig, "eve", &bombs);
    let second = member(&mut rig, "eve", &[String::from("a=imatch.A+$")]);
    let ada = member(&mut rig, "ada", &[String::from("a=match.^a+$")]);
    for _ in 0..60 {
        rig.accepted(change(&"a".repeat(500)));
        rig.now += 10;
    }
    let told = eve.frames();
    assert_eq!(of_type(&told, "error"), 1, "once, not with each change: {told:?}");
    assert_eq!((&told[0]["code"], &told[0]["id"]), (&json!("rate_limited"), &json!("s0")));
    assert!(of_type(&second.frames(), "postgres_changes") < 60, "sockets of a user share its steps");
    assert_eq!(of_type(&ada.frames(), "postgres_changes"), 60, "another user has steps of its own");
    rig.now += 10_000;
    rig.accepted(change("aa1"));
    assert_eq!(of_type(&eve.frames(), "postgres_changes"), 1, "and they come again");
}

#[test]
fn a_negated_expression_that_was_not_judged_does_not_match_either() {
    let mut rig = Rig::new(&json!({ "limits": { "filterStepsPerUser": 1 } }));
    let eve = member(&mut rig, "eve", &[String::from("a=not.match.^b")]);
    rig.accepted(change("a"));
    assert_eq!(of_type(&eve.frames(), "postgres_changes"), 1, "an empty budget is a full one's worth");
    rig.accepted(change("a"));
    let frames = eve.frames();
    assert_eq!((of_type(&frames, "postgres_changes"), of_type(&frames, "error")), (0, 1));
}

#[test]
fn who_writes_the_same_filter_cannot_have_it_fail_for_others() {
    let mut rig = Rig::new(&json!({ "limits": { "filterStepsPerUser": 2 * BOMB } }));
    let filter = String::from("a=match.^a+$");
    let mut filters: Vec<String> = (0..7).map(bomb).collect();
    member(&mut rig, "eve", &filters);
    filters.clear();
    let eve = member(&mut rig, "eve", std::slice::from_ref(&filter));
    let ada = member(&mut rig, "ada", &[filter]);
    for _ in 0..10 {
        rig.accepted(change(&"a".repeat(500)));
    }
    assert_eq!(of_type(&ada.frames(), "postgres_changes"), 10);
    assert_eq!(of_type(&eve.frames(), "postgres_changes"), 10, "what is judged for one is judged for all of a class");
}

#[test]
fn an_organization_and_a_publication_have_steps_of_their_own() {
    let mut rig = Rig::new(&json!({ "limits": { "filterSteps": 3 * BOMB } }));
    let members: Vec<Client> =
        (0..20).map(|n| member(&mut rig, &format!("u{n}"), &[format!("a=match.^(?:a?){{120}}a*(?:{n})?$")])).collect();
    rig.accepted(change(&"a".repeat(512)));
    let matched = members.iter().filter(|client| of_type(&client.frames(), "postgres_changes") == 1).count();
    assert!((1..20).contains(&matched), "{matched}: a burst of twice as much as a second brings");
    let mut rig = Rig::new(&json!({ "limits": { "filterSteps": 1_000_000_000 } }));
    let members: Vec<Client> =
        (0..40).map(|n| member(&mut rig, &format!("u{n}"), &[format!("a=match.^(?:a?){{120}}a*(?:{n})?$")])).collect();
    rig.accepted(change(&"a".repeat(512)));
    let matched = members.iter().filter(|client| of_type(&client.frames(), "postgres_changes") == 1).count();
    assert!((4_000_000 / BOMB..40).contains(&(matched as u64)), "{matched}");
}

#[test]
fn texts_without_regular_expressions_cost_no_steps() {
    let mut rig = Rig::new(&json!({ "limits": { "filterSteps": 1, "filterStepsPerUser": 1 } }));
    let ada = member(&mut rig, "ada", &[String::from("a=like.a%"), String::from("a=neq.b,id=gt.0")]);
    for _ in 0..10 {
        rig.accepted(change("abc"));
    }
    assert_eq!(of_type(&ada.frames(), "postgres_changes"), 10);
}
