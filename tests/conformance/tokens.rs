//! Tokens: what a fresh one grants and revokes, and what happens to expired and invalid ones.

use realtime_worker::code::Code;
use serde_json::json;

use super::adapter::{Ask, Can, Observation, PRESENCE, TOKEN};
use super::stage::{Stage, Who};
use super::words::*;
use crate::rig::token;

/// Continues with these roles, and checks the answer, if there is one.
#[track_caller]
fn renews(stage: &mut Stage<'_>, who: Who, roles: &[&str]) {
    stage.renew(who, roles);
    is_renewed(stage, who);
}

#[track_caller]
fn is_renewed(stage: &mut Stage<'_>, who: Who) {
    stage.sees_if(who, Can::HearRenewal, [Observation::Renewed], []);
}

pub fn a_fresh_token_that_takes_the_right_to_a_topic_ends_the_subscription(stage: &mut Stage<'_>) {
    let (hr, own) = (private("hr:1"), private("user:ada"));
    let ada = stage.connect("ada", &["hr"]);
    [hr, own].iter().for_each(|topic| stage.subscribed(ada, &to(*topic)));
    stage.renew(ada, &["member"]);
    let lost = || ended(hr.name, "forbidden");
    stage.sees_if(ada, Can::HearRenewal, [Observation::Renewed, lost()], [lost()]);
    for topic in [hr, own] {
        stage.publish(message(topic, "e", json!(1)));
    }
    stage.sees(ada, [said(own, "e", json!(1))]);
    stage.refused(ada, &to(hr), "forbidden");
}

pub fn a_fresh_token_that_takes_and_gives_the_right_to_a_table(stage: &mut Stage<'_>) {
    let ada = stage.connect("ada", &["hr"]);
    stage.subscribed(ada, &all_of("secrets"));
    stage.subscribed(ada, &all_of("notes"));
    let rests = || Observation::Rests("secrets".to_owned(), Code::Forbidden);
    let resumed = |name: &str| Observation::Resumed(name.to_owned());
    let publish =
        |stage: &mut Stage<'_>| ["secrets", "notes"].iter().for_each(|table| stage.publish(insert(table, json!({}))));
    stage.renew(ada, &["member"]);
    if stage.can(ada, Can::Rest) {
        stage.sees(ada, [rests(), resumed("notes")]);
    } else {
        stage.sees(ada, [Observation::Renewed, ended("secrets", "forbidden")]);
    }
    publish(stage);
    stage.sees(ada, [inserted("notes", json!({}))]);
    stage.renew(ada, &["hr"]);
    if stage.can(ada, Can::Rest) {
        stage.sees(ada, [resumed("secrets"), resumed("notes")]);
    } else {
        stage.sees(ada, [Observation::Renewed]);
        stage.subscribed(ada, &all_of("secrets"));
    }
    publish(stage);
    stage.sees(ada, [inserted("secrets", json!({})), inserted("notes", json!({}))]);
}

pub fn a_fresh_token_gives_rights_at_once(stage: &mut Stage<'_>) {
    let (hr, board) = (private("hr:1"), private("board:1"));
    let [ada, bob] = ["ada", "bob"].map(|user| stage.connect(user, &["guest"]));
    stage.refused(ada, &to(hr), "forbidden");
    [ada, bob].iter().for_each(|who| stage.subscribed(*who, &to(board).acknowledged()));
    stage.say(ada, board, "e", json!(1));
    stage.sees(ada, [refused("e", "forbidden")]);
    renews(stage, ada, &["hr", "member"]);
    stage.subscribed(ada, &to(hr));
    stage.publish(message(hr, "e", json!(1)));
    stage.sees(ada, [said(hr, "e", json!(1))]);
    stage.say(ada, board, "e", json!(2));
    stage.sees(ada, [accepted("e")]);
    stage.sees(bob, [said(board, "e", json!(2))]);
}

pub fn a_fresh_token_changes_what_is_seen_of_rows(stage: &mut Stage<'_>) {
    let ada = stage.connect("ada", &["member"]);
    stage.subscribed(ada, &tables("both", [changes("people"), changes("tasks")]));
    let publish = |stage: &mut Stage<'_>| {
        stage.publish(insert("people", json!({ "ssn": "123-45-6789" })));
        stage.publish(insert("tasks", json!({ "team_id": "red" })));
    };
    publish(stage);
    stage.sees(ada, [inserted("people", json!({ "ssn": "*****6789" }))]);
    let task = || inserted("tasks", json!({ "team_id": "red" }));
    for (team, task) in [("red", Some(task())), ("blue", None)] {
        let claims = stage.claims("ada", &["hr"], json!({ "teams": [team] }));
        stage.renew_with(ada, claims);
        let resumed = Observation::Resumed("both".to_owned());
        stage.sees_if(ada, Can::HearRenewal, [Observation::Renewed], [resumed]);
        publish(stage);
        stage.has_seen(ada, [inserted("people", json!({ "ssn": "123-45-6789" }))].into_iter().chain(task));
    }
}

pub fn a_fresh_token_that_takes_the_right_to_be_present_ends_the_presence(stage: &mut Stage<'_>) {
    let board = private("board:1");
    let [ada, bob] = ["ada", "bob"].map(|user| stage.connect(user, &["member"]));
    stage.ask(bob, &Ask::Subscribe(&to(board).watching()));
    stage.sees(bob, [subscribed(board.name), present(board, [])]);
    stage.subscribed(ada, &to(board));
    stage.appear(ada, board, json!({}));
    let came = || joined(board, "ada", json!({}));
    let there = || present(board, []);
    stage.sees_if(ada, Can::HearRosterOnAppearing, [there(), came()], [accepted(PRESENCE), there(), came()]);
    stage.sees(bob, [came()]);
    stage.renew(ada, &["guest"]);
    let gone = || left(board, "ada");
    stage.sees_if(ada, Can::HearRenewal, [Observation::Renewed, gone()], [gone()]);
    stage.sees(bob, [gone()]);
    stage.publish(message(board, "e", json!(1)));
    stage.see(&[ada, bob], &[said(board, "e", json!(1))]);
}

/// If a connection belongs to its token and has no grace period, it has ended.
#[track_caller]
fn is_lost_at_once(stage: &mut Stage<'_>, who: Who) -> bool {
    let is_lost = stage.can(who, Can::LoseConnection) && !stage.can(who, Can::OutliveToken);
    if is_lost {
        stage.sees(who, [Observation::Closed(Code::TokenExpired)]);
    }
    is_lost
}

pub fn a_token_that_ends_is_told(stage: &mut Stage<'_>) {
    let (room, other) = (private("room:1"), private("room:2"));
    let claims = stage.claims_for("ada", &[], 60);
    let ada = stage.connect_with(claims);
    [room, other].iter().for_each(|topic| stage.subscribed(ada, &to(*topic)));
    stage.wait(59);
    stage.publish(message(room, "e", json!(1)));
    stage.sees(ada, [said(room, "e", json!(1))]);
    stage.wait(1);
    if is_lost_at_once(stage, ada) {
        return;
    }
    let ends = || [room, other].map(|topic| ended(topic.name, "token_expired"));
    stage.sees_if(ada, Can::OutliveToken, [Observation::Expired], ends());
    stage.wait(29);
    stage.publish(message(room, "e", json!(2)));
    stage.sees_if(ada, Can::OutliveToken, [said(room, "e", json!(2))], []);
    stage.wait(1);
    let closed = Observation::Closed(Code::TokenExpired);
    stage.sees_if(ada, Can::LoseConnection, [closed], []);
    stage.publish(message(room, "e", json!(3)));
    stage.sees(ada, []);
}

pub fn whose_token_ends_leaves(stage: &mut Stage<'_>) {
    let room = private("room:1");
    let claims = stage.claims_for("ada", &[], 60);
    let [ada, bob] = [stage.connect_with(claims), stage.connect("bob", &[])];
    stage.ask(bob, &Ask::Subscribe(&to(room).watching()));
    stage.sees(bob, [subscribed(room.name), present(room, [])]);
    stage.subscribed(ada, &to(room));
    stage.appear(ada, room, json!({}));
    stage.observations(ada);
    stage.sees(bob, [joined(room, "ada", json!({}))]);
    stage.wait(60);
    let gone = || left(room, "ada");
    let is_there = stage.can(ada, Can::OutliveToken);
    stage.has_seen(bob, (!is_there).then(gone));
    stage.wait(30);
    stage.has_seen(bob, is_there.then(gone));
    stage.observations(ada);
}

pub fn a_token_that_is_renewed_in_time_ends_nothing(stage: &mut Stage<'_>) {
    let room = private("room:1");
    let claims = stage.claims_for("ada", &[], 60);
    let ada = stage.connect_with(claims);
    stage.subscribed(ada, &to(room));
    stage.wait(30);
    renews(stage, ada, &[]);
    stage.wait(300);
    stage.publish(message(room, "e", json!(1)));
    stage.sees(ada, [said(room, "e", json!(1))]);
}

pub fn a_token_that_is_renewed_after_its_end(stage: &mut Stage<'_>) {
    let room = private("room:1");
    let claims = stage.claims_for("ada", &[], 60);
    let ada = stage.connect_with(claims);
    stage.subscribed(ada, &to(room));
    stage.wait(70);
    if is_lost_at_once(stage, ada) {
        return;
    }
    stage.sees_if(ada, Can::OutliveToken, [Observation::Expired], [ended(room.name, "token_expired")]);
    renews(stage, ada, &[]);
    // If the subscription has ended, a fresh token allows a new one.
    if !stage.can(ada, Can::OutliveToken) {
        stage.subscribed(ada, &to(room));
    }
    stage.wait(60);
    stage.publish(message(room, "e", json!(1)));
    stage.sees(ada, [said(room, "e", json!(1))]);
}

pub fn a_fresh_token_that_is_none(stage: &mut Stage<'_>) {
    let room = private("room:1");
    let ada = stage.connect("ada", &[]);
    stage.subscribed(ada, &to(room));
    stage.ask(ada, &Ask::Renew { token: "a.b.c" });
    let refusal = refused(TOKEN, "invalid_token");
    stage.sees_if(ada, Can::SurviveBadToken, [refusal], [ended(room.name, "invalid_token")]);
    stage.publish(message(room, "e", json!(1)));
    stage.sees_if(ada, Can::SurviveBadToken, [said(room, "e", json!(1))], []);
}

pub fn a_first_token_that_is_not_good(stage: &mut Stage<'_>) {
    let other = stage.claims("ada", &[], json!({ "organizationId": "org_2" }));
    let over = stage.claims("ada", &[], json!({ "exp": stage.now() / 1_000 - 31 }));
    for (token, code) in [
        ("a.b.c".to_owned(), Code::InvalidToken),
        (token::hs256(&over), Code::TokenExpired),
        (token::hs256(&other), Code::WrongOrganization),
    ] {
        let ada = stage.connect_with_token("ada", &token);
        if stage.can(ada, Can::BeginAnonymously) {
            stage.sees(ada, [refused(TOKEN, code.as_str())]);
        } else if stage.can(ada, Can::LoseConnection) {
            stage.sees(ada, [refused(TOKEN, code.as_str()), Observation::Closed(code)]);
        } else {
            stage.refused(ada, &to(private("room:1")), code.as_str());
            stage.refused(ada, &all_of("notes"), code.as_str());
        }
        stage.publish(insert("notes", json!({})));
        stage.sees(ada, []);
    }
}

pub fn a_fresh_token_of_another_user(stage: &mut Stage<'_>) {
    let own = private("user:ada");
    let ada = stage.connect("ada", &[]);
    stage.subscribed(ada, &to(own));
    let claims = stage.claims("eve", &[], json!({}));
    stage.renew_with(ada, claims);
    if stage.can(ada, Can::BecomeAnother) && stage.can(ada, Can::HearRenewal) {
        stage.sees(ada, [Observation::Renewed, ended(own.name, "forbidden")]);
    } else {
        stage.sees_if(ada, Can::BecomeAnother, [ended(own.name, "forbidden")], [refused(TOKEN, "wrong_user")]);
    }
    stage.publish(message(own, "e", json!(1)));
    stage.sees_if(ada, Can::BecomeAnother, [], [said(own, "e", json!(1))]);
}
