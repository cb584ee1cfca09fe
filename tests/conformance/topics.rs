//! Messages in topics: who receives and who publishes, what is acknowledged, what is refused.

use serde_json::json;

use super::adapter::{Ask, Can, Observation, Payload};
use super::stage::Stage;
use super::words::*;

pub fn what_the_api_says_is_for_the_subscribers(stage: &mut Stage<'_>) {
    let [inside, outside, elsewhere] = ["ada", "bob", "eve"].map(|user| stage.connect(user, &[]));
    stage.subscribed(inside, &to(private("room:1")));
    stage.subscribed(outside, &to(public("room:1")));
    stage.subscribed(elsewhere, &to(private("room:2")));
    stage.publish(message(private("room:1"), "e", json!({ "n": 1 })));
    stage.sees(inside, [said(private("room:1"), "e", json!({ "n": 1 }))]);
    stage.publish(message(public("room:1"), "e", json!("é\u{1F600}")));
    stage.sees(outside, [said(public("room:1"), "e", json!("é\u{1F600}"))]);
    stage.publish(message(private("room:3"), "e", json!(null)));
    stage.see(&[inside, outside, elsewhere], &[]);
}

pub fn what_a_member_says_is_for_the_others(stage: &mut Stage<'_>) {
    for topic in [private("room:1"), public("square")] {
        let [ada, bob, eve] = ["ada", "bob", "eve"].map(|user| stage.connect(user, &[]));
        [ada, bob].iter().for_each(|who| stage.subscribed(*who, &to(topic)));
        stage.subscribed(eve, &to(private("room:2")));
        stage.say(ada, topic, "cursor", json!({ "x": 1 }));
        stage.sees(bob, [said(topic, "cursor", json!({ "x": 1 }))]);
        stage.say(bob, topic, "é", json!([1, null, "€"]));
        stage.sees(ada, [said(topic, "é", json!([1, null, "€"]))]);
        stage.see(&[bob, eve], &[]);
        [ada, bob, eve].iter().for_each(|who| stage.disconnect(*who));
    }
}

pub fn echo_and_acknowledgement_are_asked_for(stage: &mut Stage<'_>) {
    let room = private("room:1");
    let witness = stage.connect("eve", &[]);
    stage.subscribed(witness, &to(room));
    let message = || said(room, "e", json!(1));
    for (subscription, expected) in [
        (to(room), vec![]),
        (to(room).with_echo(), vec![message()]),
        (to(room).acknowledged(), vec![accepted("e")]),
        (to(room).with_echo().acknowledged(), vec![message(), accepted("e")]),
    ] {
        let ada = stage.connect("ada", &[]);
        stage.subscribed(ada, &subscription);
        stage.say(ada, room, "e", json!(1));
        stage.has_seen(ada, expected);
        stage.sees(witness, [message()]);
        stage.disconnect(ada);
    }
}

pub fn bytes_are_for_those_who_have_frames_for_them(stage: &mut Stage<'_>) {
    let room = private("room:1");
    let [ada, bob] = ["ada", "bob"].map(|user| stage.connect(user, &[]));
    [ada, bob].iter().for_each(|who| stage.subscribed(*who, &to(room).with_echo()));
    stage.publish(with(message(room, "b", json!("AQL/")), json!({ "encoding": "base64" })));
    let heard = || said_bytes(room, "b", &[1, 2, 255]);
    [ada, bob].iter().for_each(|who| stage.sees_if(*who, Can::HearBytes, [heard()], []));
    if stage.can(ada, Can::SpeakBytes) {
        stage.ask(ada, &Ask::Say { topic: room, event: "b", payload: &Payload::Bytes(vec![1, 2, 255]) });
        [ada, bob].iter().for_each(|who| stage.sees_if(*who, Can::HearBytes, [heard()], []));
    }
    // A client that is excluded from one message receives the next.
    stage.publish(message(room, "j", json!(1)));
    stage.see(&[ada, bob], &[said(room, "j", json!(1))]);
}

pub fn messages_are_masked_and_have_an_audience(stage: &mut Stage<'_>) {
    let room = private("room:1");
    let [hr, member] = ["hr", "member"].map(|role| stage.connect(role, &[role]));
    [hr, member].iter().for_each(|who| stage.subscribed(*who, &to(room)));
    let masking = json!({ "maskingConfig": { "to.ssn": { "type": "ssn", "show": { "roles": ["hr"] } } } });
    let payload = |ssn: &str| json!({ "to": { "ssn": ssn } });
    stage.publish(with(message(room, "e", payload("123-45-6789")), masking));
    stage.sees(hr, [said(room, "e", payload("123-45-6789"))]);
    stage.sees(member, [said(room, "e", payload("*****6789"))]);
    stage.publish(with(message(room, "roles", json!(1)), json!({ "targetRoles": ["hr"] })));
    stage.publish(with(message(room, "user", json!(1)), json!({ "userId": "member" })));
    stage.sees(hr, [said(room, "roles", json!(1))]);
    stage.sees(member, [said(room, "user", json!(1))]);
}

pub fn a_change_to_a_topic_is_for_those_who_asked_for_changes(stage: &mut Stage<'_>) {
    let room = private("room:1");
    let ada = stage.connect("ada", &[]);
    stage.subscribed(ada, &to(room));
    stage.publish(with(insert("notes", json!({ "id": 1 })), json!({ "topic": room.name })));
    stage.sees_if(ada, Can::HearUnasked, [inserted("notes", json!({ "id": 1 }))], []);
}

pub fn reading_takes_a_right(stage: &mut Stage<'_>) {
    let [hr, member] = ["hr", "member"].map(|role| stage.connect(role, &[role]));
    stage.subscribed(hr, &to(private("hr:1")));
    for name in ["hr:1", "user:hr", "of:nobody", "room"] {
        stage.refused(member, &to(private(name)), "forbidden");
    }
    stage.subscribed(member, &to(private("user:member")));
    if stage.can(member, Can::HearMessages) {
        stage.subscribed(member, &to(public("hr:1")));
    }
    stage.publish(message(private("hr:1"), "e", json!(1)));
    stage.sees(hr, [said(private("hr:1"), "e", json!(1))]);
    stage.publish(message(private("user:member"), "e", json!(2)));
    stage.sees(member, [said(private("user:member"), "e", json!(2))]);
}

pub fn writing_takes_a_right_of_its_own(stage: &mut Stage<'_>) {
    let board = private("board:1");
    let [member, guest, silent] =
        [("ada", "member"), ("bob", "guest"), ("eve", "guest")].map(|(user, role)| stage.connect(user, &[role]));
    [member, guest].iter().for_each(|who| stage.subscribed(*who, &to(board).acknowledged()));
    stage.subscribed(silent, &to(board));
    stage.say(guest, board, "e", json!(1));
    stage.sees(guest, [refused("e", "forbidden")]);
    stage.say(silent, board, "e", json!(1));
    stage.sees_if(silent, Can::HearEveryRefusal, [refused("e", "forbidden")], []);
    stage.sees(member, []);
    stage.say(member, board, "e", json!(2));
    stage.sees(member, [accepted("e")]);
    stage.see(&[guest, silent], &[said(board, "e", json!(2))]);
}

pub fn a_message_that_is_too_large_is_refused(stage: &mut Stage<'_>) {
    let room = private("room:1");
    let [ada, bob] = ["ada", "bob"].map(|user| stage.connect(user, &[]));
    [ada, bob].iter().for_each(|who| stage.subscribed(*who, &to(room).acknowledged()));
    stage.say(ada, room, "e", json!("x".repeat(65_536)));
    stage.sees(ada, [refused("e", "frame_too_large")]);
    stage.say(ada, room, "e", json!("x".repeat(60_000)));
    stage.sees(ada, [accepted("e")]);
    stage.sees(bob, [said(room, "e", json!("x".repeat(60_000)))]);
}

pub fn who_is_not_subscribed_may_speak_or_is_told_that_it_is_not(stage: &mut Stage<'_>) {
    let room = private("room:1");
    let [ada, bob] = ["ada", "bob"].map(|user| stage.connect(user, &[]));
    stage.subscribed(bob, &to(room));
    stage.say(ada, room, "e", json!(1));
    stage.sees_if(ada, Can::SpeakFromOutside, [accepted("e")], [refused("e", "unknown_subscription")]);
    if stage.can(ada, Can::SpeakFromOutside) {
        stage.sees(bob, [said(room, "e", json!(1))])
    } else {
        stage.sees(bob, [])
    }
}

pub fn who_has_unsubscribed_hears_nothing_until_it_subscribes_again(stage: &mut Stage<'_>) {
    let [one, two] = [private("room:1"), private("room:2")];
    let ada = stage.connect("ada", &[]);
    [one, two].iter().for_each(|topic| stage.subscribed(ada, &to(*topic)));
    stage.unsubscribed(ada, one.name);
    let publish =
        |stage: &mut Stage<'_>| [one, two].iter().for_each(|topic| stage.publish(message(*topic, "e", json!(1))));
    publish(stage);
    stage.sees(ada, [said(two, "e", json!(1))]);
    stage.subscribed(ada, &to(one));
    publish(stage);
    stage.sees(ada, [one, two].map(|topic| said(topic, "e", json!(1))));
}

pub fn a_name_stands_for_one_subscription(stage: &mut Stage<'_>) {
    let room = private("room:1");
    let ada = stage.connect("ada", &[]);
    stage.subscribed(ada, &to(room));
    stage.ask(ada, &Ask::Subscribe(&to(room).with_echo()));
    let replaced = [Observation::Unsubscribed(room.name.to_owned()), subscribed(room.name)];
    stage.sees_if(ada, Can::Replace, replaced, [refused(room.name, "subscription_exists")]);
    stage.publish(message(room, "e", json!(1)));
    stage.sees(ada, [said(room, "e", json!(1))]);
    stage.unsubscribed(ada, room.name);
    stage.publish(message(room, "e", json!(2)));
    stage.sees(ada, []);
}

pub fn a_connection_has_only_so_many_topics(stage: &mut Stage<'_>) {
    let ada = stage.connect("ada", &[]);
    for name in ["room:1", "room:2", "room:3", "room:4", "room:5"] {
        stage.subscribed(ada, &to(private(name)));
    }
    stage.refused(ada, &to(private("room:6")), "topic_limit");
    stage.unsubscribed(ada, "room:3");
    stage.subscribed(ada, &to(private("room:6")));
    for name in ["room:3", "room:6"] {
        stage.publish(message(private(name), "e", json!(1)));
    }
    stage.sees(ada, [said(private("room:6"), "e", json!(1))]);
}

pub fn whether_anyone_is_there_is_answered(stage: &mut Stage<'_>) {
    let ada = stage.connect("ada", &[]);
    stage.ask(ada, &Ask::Ping);
    stage.sees(ada, [Observation::Alive]);
}
