//! Authentication: the first frame, tickets and headers, renewal and expiry.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use realtime_worker::code::Code;
use realtime_worker::engine::command::Recover;
use rig::token::{self, principal};
use rig::{API_KEY, Rig, every_way};
use serde_json::{Value, json};

#[test]
fn the_first_frame_proves_who_it_is() {
    every_way(json!({}), |rig| {
        let ada = rig.open();
        let token = rig.token("u7", &["admin", "hr"]);
        rig.authenticate(&ada, &token);
        ada.gets(json!({ "type": "auth_success", "organizationId": "org_1", "userId": "u7", "role": "admin",
            "roles": ["admin", "hr"], "authMethod": "session" }));
        let robot = rig.open();
        rig.authenticate(&robot, API_KEY);
        robot.gets(json!({ "type": "auth_success", "organizationId": "org_1", "userId": "robot", "role": "service",
            "roles": ["service"], "authMethod": "api_key" }));
        let nobody = rig.open();
        let claims = json!({ "organizationId": "org_1", "exp": rig.now / 1_000 + 60 });
        rig.authenticate(&nobody, &token::hs256(&claims));
        nobody.gets(json!({ "type": "auth_success", "organizationId": "org_1", "userId": null, "role": null,
            "roles": [], "authMethod": "session" }));
    });
}

#[test]
fn what_does_not_prove_it_ends_the_connection() {
    every_way(json!({}), |rig| {
        let claims = rig.claims("u7", &[]);
        let with = |name: &str, value: Value| {
            let mut claims = claims.clone();
            claims[name] = value;
            token::hs256(&claims)
        };
        let seconds = rig.now / 1_000;
        let cases = [
            (String::from("not a token"), "invalid_token"),
            (String::new(), "invalid_token"),
            (with("exp", json!(null)), "invalid_token"),
            (with("exp", json!(seconds - 30)), "token_expired"),
            (with("nbf", json!(seconds + 31)), "invalid_token"),
            (with("organizationId", json!("org_2")), "wrong_organization"),
            (with("sub", json!(7)), "invalid_token"),
        ];
        for (token, code) in cases {
            let client = rig.open();
            rig.authenticate(&client, &token);
            client.is_rejected(code, 1008);
        }
        let client = rig.open();
        rig.frame(&client, json!({ "type": "auth", "token": with("x", json!(1)), "organizationId": "org_2" }));
        client.is_rejected("wrong_organization", 1008);
        let client = rig.open();
        rig.frame(&client, json!({ "type": "auth", "token": with("x", json!(1)) }));
        assert_eq!(client.next()["type"], "auth_success", "the address has named the organization");
    });
}

#[test]
fn another_frame_first_is_refused() {
    let frames = [
        json!({ "type": "subscribe", "id": "s", "table": "t" }),
        json!({ "type": "unsubscribe", "id": "s" }),
        json!({ "type": "broadcast", "topic": "t", "private": false, "event": "e" }),
        json!({ "type": "presence_track", "metadata": {} }),
        json!({ "type": "presence_update", "metadata": {} }),
        json!({ "type": "presence_untrack" }),
    ];
    every_way(json!({}), |rig| {
        for frame in &frames {
            let client = rig.open();
            rig.frame(&client, frame.clone());
            client.is_rejected("auth_required", 1008);
        }
        let client = rig.open();
        rig.text(&client, r#"{"type":"ping"}"#);
        client.gets(json!({ "type": "pong" }));
        rig.text(&client, "nonsense");
        client.is_refused("invalid_frame");
        assert_eq!(client.closed(), None);
    });
}

#[test]
fn ten_seconds_are_all_there_is() {
    every_way(json!({}), |rig| {
        let slow = rig.open();
        rig.advance(5_000);
        let quick = rig.open();
        let token = rig.token("ada", &[]);
        rig.advance(4_999);
        rig.authenticate(&quick, &token);
        assert_eq!((slow.waiting(), quick.next()["type"].clone()), (0, json!("auth_success")));
        rig.advance(1);
        slow.is_rejected("auth_timeout", 1008);
        rig.authenticate(&slow, &token);
        rig.advance(60_000);
        quick.gets_nothing();
        assert_eq!(quick.closed(), None);
    });
}

#[test]
fn an_expired_session_has_thirty_seconds_to_renew() {
    every_way(json!({}), |rig| {
        let [gone, kept] = ["ada", "bob"].map(|user| rig.connect(user, &[]));
        rig.advance(3_600_000 - 1);
        gone.gets_nothing();
        rig.advance(1);
        [&gone, &kept].iter().for_each(|client| client.gets(json!({ "type": "auth_expired" })));
        rig.advance(29_999);
        assert_eq!(rig.say("still there"), 2);
        let token = rig.token("bob", &["admin"]);
        rig.authenticate(&kept, &token);
        rig.advance(1);
        assert_eq!(gone.frames().len(), 1);
        gone.is_closed(1008, "token_expired");
        assert_eq!(kept.frames()[1]["role"], "admin");
        rig.advance(3_000_000);
        kept.gets_nothing();
        assert_eq!(kept.closed(), None);
    });
}

#[test]
fn a_token_that_has_just_expired_is_taken_within_the_leeway() {
    every_way(json!({}), |rig| {
        let client = rig.open();
        let mut claims = rig.claims("ada", &[]);
        claims["exp"] = json!(rig.now / 1_000 - 10);
        rig.authenticate(&client, &token::hs256(&claims));
        assert_eq!(client.next()["type"], "auth_success");
        rig.advance(19_999);
        client.gets(json!({ "type": "auth_expired" }));
        rig.advance(1);
        client.is_closed(1008, "token_expired");
    });
}

#[test]
fn who_renews_with_the_expired_token_is_told_no_second_time() {
    every_way(json!({}), |rig| {
        let client = rig.open();
        let token = rig.token("ada", &[]);
        rig.authenticate(&client, &token);
        client.next();
        rig.advance(3_600_000);
        client.gets(json!({ "type": "auth_expired" }));
        rig.authenticate(&client, &token);
        assert_eq!(client.next()["type"], "auth_success");
        rig.advance(29_999);
        client.gets_nothing();
        rig.advance(1);
        client.is_closed(1008, "token_expired");
    });
}

#[test]
fn a_refresh_is_for_the_same_user() {
    every_way(json!({}), |rig| {
        let ada = rig.connect("ada", &["member"]);
        let renewed = rig.token("ada", &["admin"]);
        rig.authenticate(&ada, &renewed);
        ada.gets(json!({ "type": "auth_success", "organizationId": "org_1", "userId": "ada", "role": "admin",
            "roles": ["admin"], "authMethod": "session" }));
        let other = rig.token("bob", &["admin"]);
        rig.authenticate(&ada, &other);
        ada.is_refused("wrong_user");
        rig.authenticate(&ada, API_KEY);
        ada.is_refused("wrong_user");
        rig.authenticate(&ada, "nonsense");
        ada.is_refused("invalid_token");
        rig.frame(&ada, json!({ "type": "auth", "token": renewed, "organizationId": "org_2" }));
        ada.is_refused("wrong_organization");
        assert_eq!(ada.closed(), None);
        let admins = json!({ "type": "broadcast", "event": "e", "payload": 1, "targetRoles": ["admin"] });
        assert_eq!(rig.accepted(admins), 1, "what was refused has changed nothing");
    });
}

#[test]
fn a_header_or_ticket_has_proven_it_before() {
    every_way(json!({}), |rig| {
        let expires = Some(rig.now + 60_000);
        let header = rig.open_as(Some(principal("ada", &["admin"], expires)), None, Recover::Off).unwrap();
        header.gets(json!({ "type": "auth_success", "organizationId": "org_1", "userId": "ada", "role": "admin",
            "roles": ["admin"], "authMethod": "session" }));
        let recovering = rig.open_as(Some(principal("ada", &[], expires)), None, Recover::On).unwrap();
        let frame = recovering.next();
        assert_eq!(
            (&frame["epoch"], &frame["offset"], &frame["recovered"]),
            (&json!("epoch1"), &json!(0), &json!(null))
        );
        rig.advance(60_000);
        header.gets(json!({ "type": "auth_expired" }));
    });
}

#[test]
fn a_ticket_is_used_once() {
    every_way(json!({}), |rig| {
        let expires = rig.now + 60_000;
        let enter =
            |rig: &mut Rig, id: &str| rig.open_as(Some(principal("ada", &[], None)), Some((id, expires)), Recover::Off);
        let ada = enter(rig, "ticket 1").unwrap();
        assert_eq!(ada.next()["type"], "auth_success");
        let refusal = enter(rig, "ticket 1").unwrap_err();
        assert_eq!(refusal.code, Code::InvalidToken);
        assert_eq!(rig.say("e"), 1, "a rejected socket counts as no connection");
        assert!(enter(rig, "ticket 2").is_ok());
    });
}

#[test]
fn old_tickets_are_forgotten() {
    let mut rig = Rig::new(&json!({}));
    for n in 0..20 {
        let expires = rig.now + 60_000;
        rig.open_as(Some(principal("ada", &[], None)), Some((&format!("ticket {n}"), expires)), Recover::Off).unwrap();
        rig.advance(20_000);
    }
    assert!(rig.storage.tickets.len() <= 4, "only those that could be used again are remembered");
}

#[test]
fn a_full_organization_turns_away() {
    every_way(json!({ "limits": { "connections": 2 } }), |rig| {
        let ada = rig.connect("ada", &[]);
        let late = rig.open();
        rig.connect("bob", &[]);
        let third = rig.open();
        third.is_rejected("connection_limit", 1013);
        let fourth = rig.open_as(Some(principal("bob", &[], None)), None, Recover::Off).unwrap();
        fourth.is_rejected("connection_limit", 1013);
        let token = rig.token("eve", &[]);
        rig.authenticate(&late, &token);
        late.is_rejected("connection_limit", 1013);
        rig.disconnect(&ada);
        rig.connect("eve", &[]);
    });
}

#[test]
fn those_who_say_nothing_keep_nobody_out_who_can_prove_who_they_are() {
    every_way(json!({ "limits": { "connections": 2, "pending": 1 } }), |rig| {
        let oldest = rig.open();
        let silent = rig.open();
        oldest.is_rejected("connection_limit", 1013);
        rig.open_as(Some(principal("ada", &[], None)), None, Recover::Off).unwrap();
        rig.open_as(Some(principal("bob", &[], None)), None, Recover::Off).unwrap();
        let token = rig.token("eve", &[]);
        rig.authenticate(&silent, &token);
        silent.is_rejected("connection_limit", 1013);
    });
}

#[test]
fn white_space_around_a_token_does_not_count() {
    every_way(json!({}), |rig| {
        let client = rig.open();
        let token = format!("  {}\n", rig.token("ada", &["member"]));
        rig.authenticate(&client, &token);
        assert_eq!(client.next()["type"], "auth_success");
    });
}
