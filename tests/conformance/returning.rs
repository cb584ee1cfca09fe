//! Reconnecting: what was missed while disconnected, and what is replayed.

use serde_json::{Value, json};

use super::adapter::{Ask, Can, Observation, PRESENCE};
use super::stage::Stage;
use super::words::*;

pub fn what_was_missed_comes_in_order_and_once(stage: &mut Stage<'_>) {
    let (log, square) = (private("log:1"), public("square"));
    let [ada, bob] = ["ada", "bob"].map(|user| stage.connect(user, &["member"]));
    let speaks = stage.can(bob, Can::HearMessages);
    let topics = if stage.can(ada, Can::HearMessages) { &[square, log][..] } else { &[log] };
    [ada, bob].iter().for_each(|who| stage.subscribed(*who, &all_of("people")));
    topics.iter().for_each(|topic| stage.subscribed(ada, &to(*topic)));
    stage.subscribed(bob, &to(log));
    stage.publish(message(log, "before", json!(0)));
    stage.see(&[ada, bob], &[said(log, "before", json!(0))]);
    stage.wait(10);
    stage.disconnect(ada);
    let since = stage.now();
    stage.wait(10);
    stage.publish(insert("people", json!({ "id": 1, "ssn": "123-45-6789" })));
    stage.publish(message(square, "public", json!(1)));
    stage.publish(message(log, "private", json!(2)));
    // Client messages are retained if the channel says so, and the API's unless it says not.
    if speaks {
        stage.say(bob, log, "kept", json!(3));
    }
    stage.publish(with(message(log, "not kept", json!(4)), json!({ "history": false })));
    let row = || inserted("people", json!({ "id": 1, "ssn": "*****6789" }));
    stage.sees(bob, [row(), said(log, "private", json!(2)), said(log, "not kept", json!(4))]);
    stage.come_back(ada, since);
    let [people, in_square, in_log] = ["people", square.name, log.name].map(subscribed);
    let of_bob = speaks.then(|| said(log, "kept", json!(3)));
    let kept = [said(log, "private", json!(2))].into_iter().chain(of_bob);
    let in_square = (topics.len() > 1).then_some(in_square);
    if stage.can(ada, Can::RecoverOneByOne) {
        let in_square = in_square.into_iter().chain([said(square, "public", json!(1)), in_log]);
        stage.has_seen(ada, [people, row()].into_iter().chain(in_square).chain(kept));
    } else {
        let everything = stage.can(ada, Can::RecoverEverything).then(|| [row(), said(square, "public", json!(1))]);
        let missed = everything.into_iter().flatten().chain(kept);
        stage.has_seen(ada, [people].into_iter().chain(in_square).chain([in_log]).chain(missed));
    }
    stage.publish(message(log, "after", json!(5)));
    stage.see(&[ada, bob], &[said(log, "after", json!(5))]);
}

pub fn what_was_said_before_a_subscription_can_be_asked_for(stage: &mut Stage<'_>) {
    let (log, square) = (private("log:1"), public("square"));
    let [ada, bob] = ["ada", "bob"].map(|user| stage.connect(user, &["member"]));
    let since = stage.now();
    let other = private("log:2");
    stage.subscribed(ada, &to(other));
    for (topic, n) in [(log, 1), (square, 2), (other, 3), (log, 4)] {
        stage.publish(message(topic, "e", json!(n)));
    }
    stage.sees(ada, [said(other, "e", json!(3))]);
    stage.ask(ada, &Ask::Subscribe(&to(log).since(since)));
    stage.sees(ada, [subscribed(log.name), said(log, "e", json!(1)), said(log, "e", json!(4))]);
    stage.ask(bob, &Ask::Subscribe(&to(square).since(since)));
    let everything = [subscribed(square.name), said(square, "e", json!(2))];
    stage.sees_if(bob, Can::RecoverEverything, everything, [refused(square.name, "invalid_frame")]);
    stage.publish(message(log, "e", json!(5)));
    stage.sees(ada, [said(log, "e", json!(5))]);
}

pub fn what_is_missed_is_seen_with_the_identity_of_now(stage: &mut Stage<'_>) {
    let (hr, log) = (private("hr:1"), private("log:1"));
    let ada = stage.connect("ada", &["hr"]);
    [hr, log].iter().for_each(|topic| stage.subscribed(ada, &to(*topic)));
    stage.disconnect(ada);
    let since = stage.now();
    let masking = json!({ "maskingConfig": { "pin": { "type": "redact", "show": { "roles": ["hr"] } } } });
    stage.publish(message(hr, "e", json!(1)));
    stage.publish(with(message(log, "e", json!({ "pin": 1 })), masking));
    stage.publish(with(message(log, "for hr", json!(1)), json!({ "targetRoles": ["hr"] })));
    stage.becomes(ada, &["member"]);
    stage.come_back(ada, since);
    stage.sees(
        ada,
        [refused(hr.name, "forbidden"), subscribed(log.name), said(log, "e", json!({ "pin": "[REDACTED]" }))],
    );
}

pub fn more_than_may_be_told_again(stage: &mut Stage<'_>) {
    let log = private("log:1");
    let ada = stage.connect("ada", &[]);
    stage.subscribed(ada, &to(log));
    stage.disconnect(ada);
    let since = stage.now();
    let batch: Vec<Value> = (1..=31).map(|n| message(log, "e", json!(n))).collect();
    stage.publish(json!({ "messages": batch }));
    stage.come_back(ada, since);
    if stage.can(ada, Can::RecoverEverything) {
        stage.sees(ada, [Observation::Gap, subscribed(log.name)]);
    } else {
        let newest = (7..=31).map(|n| said(log, "e", json!(n)));
        stage.has_seen(ada, std::iter::once(subscribed(log.name)).chain(newest));
    }
    stage.publish(message(log, "after", json!(0)));
    stage.sees(ada, [said(log, "after", json!(0))]);
}

pub fn a_deploy_ends_every_connection_and_leaves_no_ghost(stage: &mut Stage<'_>) {
    let room = private("room:1");
    let [ada, bob] = ["ada", "bob"].map(|user| stage.connect(user, &[]));
    for who in [ada, bob] {
        stage.ask(who, &Ask::Subscribe(&to(room).watching()));
        stage.sees(who, [subscribed(room.name), present(room, [])]);
    }
    stage.appear(bob, room, json!({ "n": 1 }));
    let came = || joined(room, "bob", json!({ "n": 1 }));
    stage.sees_if(bob, Can::HearRosterOnAppearing, [present(room, []), came()], [accepted(PRESENCE), came()]);
    stage.sees(ada, [came()]);
    stage.wait(1);
    stage.deploy();
    let since = stage.now();
    stage.publish(message(room, "missed", json!(1)));
    let back = || [subscribed(room.name), said(room, "missed", json!(1)), present(room, [])];
    for who in [ada, bob] {
        stage.come_back(who, since);
        stage.sees(who, back());
    }
    stage.appear(bob, room, json!({ "n": 1 }));
    stage.sees_if(bob, Can::HearRosterOnAppearing, [present(room, []), came()], [accepted(PRESENCE), came()]);
    stage.sees(ada, [came()]);
    stage.publish(message(room, "new", json!(2)));
    stage.see(&[ada, bob], &[said(room, "new", json!(2))]);
}
