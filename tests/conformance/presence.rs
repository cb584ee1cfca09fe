//! Presence: who is in a topic, who joins, changes and leaves, and who is informed.

use serde_json::{Value, json};

use super::adapter::{Ask, Can, LOBBY, Observation, PRESENCE, Topic};
use super::stage::{Stage, Who};
use super::words::*;

const ROOM: Topic = private("room:1");

/// Subscribes with presence.
#[track_caller]
fn watches<const COUNT: usize>(stage: &mut Stage<'_>, who: Who, topic: Topic, there: [(&str, Value); COUNT]) {
    stage.ask(who, &Ask::Subscribe(&to(topic).watching()));
    stage.sees(who, [subscribed(topic.name), present(topic, there)]);
}

/// Becomes present where nobody is.
#[track_caller]
fn is_first(stage: &mut Stage<'_>, who: Who, name: &str, topic: Topic) {
    stage.appear(who, topic, json!({}));
    let joined = || joined(topic, name, json!({}));
    stage.sees_if(who, Can::HearRosterOnAppearing, [present(topic, []), joined()], [accepted(PRESENCE), joined()]);
}

pub fn coming_changing_and_leaving_is_told_to_everyone_who_watches(stage: &mut Stage<'_>) {
    let rooms = if stage.all_can(Can::HearMessages) { &[ROOM, public("square")][..] } else { &[ROOM] };
    for &room in rooms {
        let [ada, bob, eve] = ["ada", "bob", "eve"].map(|user| stage.connect(user, &[]));
        [ada, bob].iter().for_each(|who| watches(stage, *who, room, []));
        stage.subscribed(eve, &to(private("room:2")));
        let (busy, free) = (json!({ "state": "busy" }), json!({ "state": "free", "n": [1] }));
        stage.appear(ada, room, busy.clone());
        let came = || joined(room, "ada", busy.clone());
        stage.sees_if(ada, Can::HearRosterOnAppearing, [present(room, []), came()], [accepted(PRESENCE), came()]);
        stage.sees(bob, [came()]);
        stage.change(ada, room, free.clone());
        let changed = || changed_to(room, "ada", free.clone());
        stage.sees_if(ada, Can::HearRosterOnAppearing, [changed()], [accepted(PRESENCE), changed()]);
        stage.sees(bob, [changed()]);
        // Repeating the same is not announced.
        stage.change(ada, room, free.clone());
        stage.sees_if(ada, Can::HearRosterOnAppearing, [], [accepted(PRESENCE)]);
        stage.disconnect(eve);
        let eve = stage.connect("eve", &[]);
        watches(stage, eve, room, [("ada", free.clone())]);
        stage.disappear(ada, room);
        stage.see(&[bob, eve], &[left(room, "ada")]);
        let gone = || left(room, "ada");
        stage.sees_if(ada, Can::HearRosterOnAppearing, [gone()], [accepted(PRESENCE), gone()]);
        [ada, bob, eve].iter().for_each(|who| stage.disconnect(*who));
    }
}

pub fn who_appears_without_watching_is_told_from_then_on(stage: &mut Stage<'_>) {
    let [ada, bob] = ["ada", "bob"].map(|user| stage.connect(user, &[]));
    watches(stage, bob, ROOM, []);
    is_first(stage, bob, "bob", ROOM);
    stage.subscribed(ada, &to(ROOM));
    stage.appear(ada, ROOM, json!({ "n": 1 }));
    let (there, came) = (present(ROOM, [("bob", json!({}))]), joined(ROOM, "ada", json!({ "n": 1 })));
    let all = [there.clone(), came.clone()];
    stage.sees_if(ada, Can::HearRosterOnAppearing, all, [accepted(PRESENCE), there, came.clone()]);
    stage.sees(bob, [came]);
    stage.change(bob, ROOM, json!({ "n": 2 }));
    let changed = || changed_to(ROOM, "bob", json!({ "n": 2 }));
    stage.sees(ada, [changed()]);
    stage.sees_if(bob, Can::HearRosterOnAppearing, [changed()], [accepted(PRESENCE), changed()]);
    stage.disconnect(bob);
    stage.sees(ada, [left(ROOM, "bob")]);
}

pub fn who_disconnects_leaves(stage: &mut Stage<'_>) {
    let [ada, bob] = ["ada", "bob"].map(|user| stage.connect(user, &[]));
    let [one, two] = [ROOM, private("room:2")];
    watches(stage, bob, two, []);
    for topic in [one, two] {
        watches(stage, ada, topic, []);
        is_first(stage, ada, "ada", topic);
    }
    stage.sees(bob, [joined(two, "ada", json!({}))]);
    stage.disconnect(ada);
    stage.sees(bob, [left(two, "ada")]);
}

pub fn being_present_takes_a_right_of_its_own(stage: &mut Stage<'_>) {
    let board = private("board:1");
    let [member, guest] = ["member", "guest"].map(|role| stage.connect(role, &[role]));
    [member, guest].iter().for_each(|who| watches(stage, *who, board, []));
    stage.appear(guest, board, json!({}));
    stage.sees(guest, [refused(PRESENCE, "forbidden")]);
    is_first(stage, member, "member", board);
    stage.sees(guest, [joined(board, "member", json!({}))]);
    // A client that the policy does not name sees nobody.
    stage.refused(guest, &to(private("hr:1")).watching(), "forbidden");
}

pub fn seeing_who_is_present_takes_a_right_of_its_own(stage: &mut Stage<'_>) {
    let hall = private("hall:1");
    let [member, guest] = ["member", "guest"].map(|role| stage.connect(role, &[role]));
    watches(stage, member, hall, []);
    stage.ask(guest, &Ask::Subscribe(&to(hall).watching()));
    stage.sees_if(guest, Can::EnterPartly, [subscribed(hall.name)], [refused(hall.name, "forbidden")]);
    is_first(stage, member, "member", hall);
    stage.publish(message(hall, "e", json!(1)));
    stage.sees(member, [said(hall, "e", json!(1))]);
    stage.sees_if(guest, Can::EnterPartly, [said(hall, "e", json!(1))], []);
    // A fresh token that grants the right shows the members.
    stage.renew(guest, &["member"]);
    stage.sees_if(guest, Can::HearRenewal, [Observation::Renewed], [present(hall, [("member", json!({}))])]);
    stage.disconnect(member);
    stage.sees_if(guest, Can::EnterPartly, [left(hall, "member")], []);
}

pub fn seeing_who_is_present_does_not_need_the_messages(stage: &mut Stage<'_>) {
    let lounge = private("lounge:1");
    let [hr, member] = ["hr", "member"].map(|role| stage.connect(role, &[role]));
    watches(stage, hr, lounge, []);
    stage.refused(member, &to(lounge), "forbidden");
    stage.ask(member, &Ask::Subscribe(&to(lounge).watching()));
    let there = [subscribed(lounge.name), present(lounge, [])];
    stage.sees_if(member, Can::EnterPartly, there, [refused(lounge.name, "forbidden")]);
    is_first(stage, hr, "hr", lounge);
    stage.sees_if(member, Can::EnterPartly, [joined(lounge, "hr", json!({}))], []);
    stage.publish(message(lounge, "e", json!(1)));
    stage.sees(hr, [said(lounge, "e", json!(1))]);
    stage.sees(member, []);
}

pub fn private_and_public_topics_of_one_name_never_meet(stage: &mut Stage<'_>) {
    let [ada, bob] = ["ada", "bob"].map(|user| stage.connect(user, &[]));
    watches(stage, ada, ROOM, []);
    watches(stage, bob, public(ROOM.name), []);
    is_first(stage, ada, "ada", ROOM);
    stage.sees(bob, []);
    is_first(stage, bob, "bob", public(ROOM.name));
    stage.sees(ada, []);
    stage.say(bob, public(ROOM.name), "e", json!(1));
    stage.disconnect(bob);
    stage.sees(ada, []);
}

pub fn a_user_may_be_there_more_than_once(stage: &mut Stage<'_>) {
    let [first, second, bob] = ["ada", "ada", "bob"].map(|user| stage.connect(user, &[]));
    [first, second].iter().for_each(|who| stage.subscribed(*who, &to(ROOM)));
    for (n, who) in [first, second].into_iter().enumerate() {
        stage.appear(who, ROOM, json!({ "n": n }));
        stage.observations(who);
    }
    stage.observations(first);
    watches(stage, bob, ROOM, [("ada", json!({ "n": 0 })), ("ada", json!({ "n": 1 }))]);
    stage.disconnect(first);
    stage.sees(bob, [left(ROOM, "ada")]);
    assert_eq!(stage.observations(second), [left(ROOM, "ada")], "one's other connection is another member");
    let eve = stage.connect("eve", &[]);
    watches(stage, eve, ROOM, [("ada", json!({ "n": 1 }))]);
}

pub fn a_topic_holds_only_so_many(stage: &mut Stage<'_>) {
    for n in 0..MAX_PRESENT {
        let who = stage.connect(&format!("u{n}"), &[]);
        stage.subscribed(who, &to(ROOM));
        stage.appear(who, ROOM, json!({}));
        let came = joined(ROOM, &format!("u{n}"), json!({}));
        assert!(stage.observations(who).contains(&came) || !stage.has_words(who, &came));
    }
    let late = stage.connect("late", &[]);
    stage.subscribed(late, &to(ROOM));
    stage.appear(late, ROOM, json!({}));
    stage.sees(late, [refused(PRESENCE, "presence_limit")]);
    stage.everyone_looks_away();
}

pub fn what_one_says_of_oneself_has_a_greatest_length(stage: &mut Stage<'_>) {
    let [ada, bob] = ["ada", "bob"].map(|user| stage.connect(user, &[]));
    [ada, bob].iter().for_each(|who| watches(stage, *who, ROOM, []));
    let long = json!({ "text": "x".repeat(4_096) });
    stage.appear(ada, ROOM, long.clone());
    stage.sees(ada, [refused(PRESENCE, "metadata_too_large")]);
    is_first(stage, ada, "ada", ROOM);
    stage.change(ada, ROOM, long);
    stage.sees(ada, [refused(PRESENCE, "metadata_too_large")]);
    stage.sees(bob, [joined(ROOM, "ada", json!({}))]);
}

pub fn presence_and_the_subscription_to_its_topic(stage: &mut Stage<'_>) {
    let [ada, bob] = ["ada", "bob"].map(|user| stage.connect(user, &[]));
    [ada, bob].iter().for_each(|who| watches(stage, *who, ROOM, []));
    is_first(stage, ada, "ada", ROOM);
    stage.sees(bob, [joined(ROOM, "ada", json!({}))]);
    stage.unsubscribed(ada, ROOM.name);
    if stage.can(ada, Can::StayWithoutSubscription) {
        stage.sees(bob, []);
        stage.disappear(ada, ROOM);
        stage.sees(ada, [left(ROOM, "ada")]);
    }
    stage.sees(bob, [left(ROOM, "ada")]);
}

pub fn the_lobby_is_a_place_without_a_topic(stage: &mut Stage<'_>) {
    let lobby = Topic { name: LOBBY, private: true };
    let [ada, bob] = ["ada", "bob"].map(|user| stage.connect(user, &[]));
    let metadata = json!({ "n": 1 });
    stage.ask(ada, &Ask::Appear { topic: None, metadata: &metadata });
    stage.sees(ada, [present(lobby, []), joined(lobby, "ada", metadata.clone())]);
    stage.ask(bob, &Ask::Appear { topic: None, metadata: &metadata });
    stage.sees(bob, [present(lobby, [("ada", metadata.clone())]), joined(lobby, "bob", metadata.clone())]);
    stage.sees(ada, [joined(lobby, "bob", metadata)]);
    stage.ask(bob, &Ask::Disappear { topic: None });
    stage.see(&[ada, bob], &[left(lobby, "bob")]);
}
