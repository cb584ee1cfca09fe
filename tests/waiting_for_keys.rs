//! Frames whose token needs a key that is not known yet wait for the issuer's key set, in order and within bounds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use rig::token;
use rig::{Client, Rig, every_way};
use serde_json::json;

/// The claims of a session whose token is signed by an issuer with public keys.
fn session(rig: &Rig, user: &str, number: u8, kid: &str) -> String {
    token::ed25519(number, kid, &rig.claims(user, &["member"]))
}

#[test]
fn keys_are_fetched_when_a_token_needs_them() {
    every_way(json!({}), |rig| {
        rig.key_set = Some(token::key_set(&[(1, "a")]));
        let [ada, bob] = [rig.open(), rig.open()];
        let tokens = [session(rig, "ada", 1, "a"), session(rig, "bob", 2, "a")];
        rig.authenticate(&ada, &tokens[0]);
        assert_eq!(ada.next()["userId"], "ada");
        rig.authenticate(&bob, &tokens[1]);
        bob.is_rejected("invalid_token", 1008);
    });
}

#[test]
fn frames_wait_for_the_keys_in_their_order() {
    every_way(json!({}), |rig| {
        rig.hold_keys = true;
        rig.key_set = Some(token::key_set(&[(1, "a")]));
        let [ada, bob] = [rig.open(), rig.open()];
        let tokens = [session(rig, "ada", 1, "a"), session(rig, "bob", 1, "a")];
        rig.authenticate(&ada, &tokens[0]);
        rig.frame(&ada, json!({ "type": "subscribe", "id": "s", "topic": "t", "private": false }));
        rig.frame(&ada, json!({ "type": "broadcast", "topic": "t", "private": false, "event": "e", "id": "m" }));
        rig.text(&ada, "nonsense");
        rig.authenticate(&bob, &tokens[1]);
        [&ada, &bob].iter().for_each(|client| client.gets_nothing());
        rig.answer_keys();
        let types = |client: &Client| client.frames().iter().map(|frame| frame["type"].clone()).collect::<Vec<_>>();
        assert_eq!(types(&ada), ["auth_success", "subscribed", "broadcast", "ack", "error"]);
        assert_eq!(types(&bob), ["auth_success"]);
        assert_eq!(rig.key_fetches, 1, "one fetch serves all who wait");
    });
}

#[test]
fn everyone_who_waited_may_recover() {
    every_way(json!({}), |rig| {
        rig.say("one");
        rig.say("two");
        rig.hold_keys = true;
        rig.key_set = Some(token::key_set(&[(1, "a")]));
        let from = json!({ "recover": { "epoch": rig.epoch(), "offset": 1 } });
        let clients = ["ada", "bob", "eve"].map(|user| {
            let client = rig.open();
            let token = session(rig, user, 1, "a");
            rig.authenticate_saying(&client, &token, from.clone());
            client
        });
        let publish = json!({ "type": "broadcast", "topic": "t", "private": false, "event": "e", "id": "m" });
        rig.frame(&clients[0], publish);
        rig.answer_keys();
        for client in &clients {
            let welcome = client.next();
            assert_eq!((&welcome["type"], &welcome["recovered"]), (&json!("auth_success"), &json!(true)));
            assert_eq!(client.next()["event"], "two", "everyone is told what they missed");
        }
        clients[0].gets(json!({ "type": "ack", "id": "m" }));
        clients.iter().for_each(Client::gets_nothing);
    });
}

#[test]
fn who_waits_is_still_bound_to_the_deadline() {
    every_way(json!({}), |rig| {
        rig.hold_keys = true;
        let ada = rig.open();
        let token = session(rig, "ada", 1, "a");
        rig.authenticate(&ada, &token);
        rig.advance(10_000);
        ada.is_rejected("auth_timeout", 1008);
        rig.answer_keys();
    });
}

#[test]
fn only_so_many_frames_wait() {
    let mut rig = Rig::new(&json!({ "limits": { "errorsPerMinute": 100 } }));
    rig.hold_keys = true;
    rig.key_set = Some(token::key_set(&[(1, "a")]));
    let ada = rig.open();
    let token = session(&rig, "ada", 1, "a");
    rig.authenticate(&ada, &token);
    for n in 0..40 {
        rig.frame(&ada, json!({ "type": "subscribe", "id": n.to_string(), "table": "t" }));
    }
    let refused = ada.frames();
    assert!(refused.iter().all(|frame| frame["code"] == "rate_limited"), "{refused:?}");
    rig.answer_keys();
    let answers = ada.frames();
    assert_eq!((answers.len(), refused.len()), (32, 9), "the auth frame and 31 more have waited");
}

#[test]
fn keys_that_cannot_be_fetched_are_asked_for_later() {
    let mut rig = Rig::new(&json!({}));
    let attempt = |rig: &mut Rig| {
        let client = rig.open();
        let token = session(rig, "ada", 1, "a");
        rig.authenticate(&client, &token);
        client
    };
    attempt(&mut rig).is_rejected("keys_unavailable", 1013);
    rig.key_set = Some(token::key_set(&[(1, "a")]));
    attempt(&mut rig).is_rejected("keys_unavailable", 1013);
    assert_eq!(rig.key_fetches, 1, "not again within 30 seconds");
    rig.advance(30_000);
    assert_eq!(attempt(&mut rig).next()["userId"], "ada");
    assert_eq!(rig.key_fetches, 2);
}

#[test]
fn a_rotated_key_is_found_at_once() {
    let mut rig = Rig::new(&json!({}));
    let attempt = |rig: &mut Rig, number: u8, kid: &str| {
        let client = rig.open();
        let token = session(rig, "ada", number, kid);
        rig.authenticate(&client, &token);
        client.next()
    };
    rig.key_set = Some(token::key_set(&[(1, "a")]));
    assert_eq!(attempt(&mut rig, 1, "a")["type"], "auth_success");
    rig.advance(30_000);
    rig.key_set = Some(token::key_set(&[(1, "a"), (2, "b")]));
    assert_eq!(attempt(&mut rig, 2, "b")["type"], "auth_success", "an unknown kid is asked for at once");
    assert_eq!(attempt(&mut rig, 3, "c")["code"], "invalid_token", "but not twice within 30 seconds");
    assert_eq!(rig.key_fetches, 2);
    rig.key_set = Some(token::key_set(&[(2, "b")]));
    rig.advance(10 * 60_000);
    assert_eq!(attempt(&mut rig, 1, "a")["code"], "invalid_token", "a withdrawn key is not believed any more");
    assert_eq!(rig.key_fetches, 3);
}
