//! All dialects on one tenant at once.

use serde_json::json;

use super::adapter::{Ask, Can, Observation, Payload, Topic};
use super::stage::{Stage, Who};
use super::words::*;

const ROOM: Topic = private("room:1");

/// What each member has observed, without answers to requests of its own.
fn all_seen(stage: &mut Stage<'_>, members: &[Who]) -> Vec<Vec<Observation>> {
    let is_for_all = |one: &Observation| !matches!(one, Observation::Accepted(_) | Observation::Present(..));
    let mut seen = Vec::new();
    for who in members {
        seen.push(stage.observations(*who).into_iter().filter(is_for_all).collect());
    }
    seen
}

/// All members have observed the same, and it is this, except for what their dialects have no frames for.
#[track_caller]
fn all_see(stage: &mut Stage<'_>, members: &[Who], expected: &[Observation]) {
    for (who, seen) in members.iter().zip(all_seen(stage, members)) {
        let expected: Vec<_> = expected.iter().filter(|one| stage.has_words(*who, one)).cloned().collect();
        assert_eq!(seen, expected, "{who:?}");
    }
}

/// A member of each dialect in one room.
fn enter(stage: &mut Stage<'_>, count: usize) -> Vec<Who> {
    let members: Vec<Who> = (0..count).map(|n| stage.connect(&user(n), &["member"])).collect();
    for who in &members {
        stage.subscribed(*who, &all_of("people"));
        stage.ask(*who, &Ask::Subscribe(&to(ROOM).watching().with_echo().acknowledged()));
        stage.sees(*who, [subscribed(ROOM.name), present(ROOM, [])]);
    }
    members
}

fn user(number: usize) -> String {
    format!("u{number}")
}

/// One member of each dialect does everything, and all of them observe the same.
pub fn everyone_sees_the_same(stage: &mut Stage<'_>, count: usize) {
    let members = enter(stage, count);
    stage.publish(insert("people", json!({ "id": 1, "ssn": "123-45-6789", "list": [1.50, null] })));
    all_see(stage, &members, &[inserted("people", json!({ "id": 1, "ssn": "*****6789", "list": [1.50, null] }))]);
    let speaks = |(_, who): &(usize, &Who)| stage.can(**who, Can::HearMessages);
    for (number, who) in members.iter().enumerate().filter(speaks).collect::<Vec<_>>() {
        let payload = json!({ "by": number, "text": "é\u{1F600}" });
        stage.say(*who, ROOM, "e", payload.clone());
        all_see(stage, &members, &[said(ROOM, "e", payload)]);
    }
    bytes_reach_whoever_has_frames_for_them(stage, &members);
    presence_is_told_to_all(stage, &members);
}

fn bytes_reach_whoever_has_frames_for_them(stage: &mut Stage<'_>, members: &[Who]) {
    let able = |stage: &Stage<'_>, can| members.iter().copied().filter(|who| stage.can(*who, can)).collect::<Vec<_>>();
    let (speakers, listeners) = (able(stage, Can::SpeakBytes), able(stage, Can::HearBytes));
    let deaf: Vec<Who> = members.iter().copied().filter(|who| !listeners.contains(who)).collect();
    for who in speakers {
        stage.ask(who, &Ask::Say { topic: ROOM, event: "b", payload: &Payload::Bytes(vec![0, 255, 13]) });
        all_see(stage, &listeners, &[said_bytes(ROOM, "b", &[0, 255, 13])]);
        all_see(stage, &deaf, &[]);
    }
}

fn presence_is_told_to_all(stage: &mut Stage<'_>, members: &[Who]) {
    let says = |number: usize, n: u64| json!({ "number": number, "n": n });
    for (number, who) in members.iter().enumerate() {
        stage.appear(*who, ROOM, says(number, 1));
        all_see(stage, members, &[joined(ROOM, &user(number), says(number, 1))]);
        stage.change(*who, ROOM, says(number, 2));
        all_see(stage, members, &[changed_to(ROOM, &user(number), says(number, 2))]);
    }
    let late = stage.connect("late", &["member"]);
    stage.ask(late, &Ask::Subscribe(&to(ROOM).watching()));
    let there = (0..members.len()).map(|number| (user(number), says(number, 2)));
    stage.has_seen(late, [subscribed(ROOM.name), Observation::Present(ROOM.name.to_owned(), there.collect())]);
    let mut here = members.to_vec();
    here.push(late);
    for (number, who) in members.iter().enumerate() {
        if number % 2 == 0 {
            stage.disappear(*who, ROOM);
        } else {
            stage.disconnect(*who);
            here.retain(|one| one != who);
        }
        all_see(stage, &here, &[left(ROOM, &user(number))]);
    }
}
