//! Private topics that no channel policy covers: the database's policies decide.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use realtime_worker::dialect::phoenix::V2;
use realtime_worker::engine::command::Recover;
use rig::{Client, ORGANIZATION, Rig, every_way, token};
use serde_json::{Value, json};

fn realtime() -> Value {
    json!({
        "databases": { "main": { "connection": "DATABASE_URL", "organization": ORGANIZATION,
            "roles": ["authenticated"], "bypass": ["service_role"] } },
        "channels": [{ "topic": "config:*", "read": {} }],
    })
}

/// Members read and write their room; everyone reads the news.
fn grants(_: &str, claims: &Value, topic: &str) -> Option<Value> {
    let is_member = topic == "room" && claims["member"] == true;
    let reads = is_member || topic == "news";
    Some(json!({ "read": reads, "write": is_member, "presence_read": is_member, "presence_write": is_member }))
}

fn claims(rig: &Rig, user: &str, member: bool) -> Value {
    let mut claims = rig.claims(user, &["authenticated"]);
    claims["member"] = json!(member);
    claims
}

fn connect(rig: &mut Rig, user: &str, member: bool) -> Client {
    let claims = claims(rig, user, member);
    rig.connect_with(&claims)
}

fn subscribe(rig: &mut Rig, client: &Client, topic: &str) {
    rig.frame(client, json!({ "type": "subscribe", "id": topic, "topic": topic }));
}

/// PostgreSQL has no text with a zero byte, so there is nothing to ask.
#[test]
fn a_topic_that_no_policy_can_name_is_forbidden_without_asking() {
    every_way(realtime(), |rig| {
        rig.source.grants = |_, _, _| None;
        let ada = connect(rig, "ada", true);
        subscribe(rig, &ada, "room\u{0}");
        assert_eq!(ada.is_refused("forbidden")["id"], "room\u{0}");
        assert_eq!(rig.source.authorized, Vec::<Value>::new());
    });
}

fn say(rig: &mut Rig, client: &Client, topic: &str) {
    rig.frame(client, json!({ "type": "broadcast", "id": "b", "topic": topic, "event": "e", "payload": 1 }));
}

#[test]
fn the_policies_of_the_database_decide_where_no_policy_of_the_configuration_does() {
    every_way(realtime(), |rig| {
        rig.source.grants = grants;
        let [ada, eve] = [("ada", true), ("eve", false)].map(|(user, member)| connect(rig, user, member));
        subscribe(rig, &ada, "room");
        ada.gets(json!({ "type": "subscribed", "id": "room" }));
        subscribe(rig, &eve, "room");
        assert_eq!(eve.is_refused("forbidden")["id"], "room");
        subscribe(rig, &eve, "news");
        eve.gets(json!({ "type": "subscribed", "id": "news" }));
        say(rig, &eve, "news");
        assert_eq!(eve.is_refused("forbidden")["id"], "b", "who may read may not thereby write");
        say(rig, &ada, "room");
        assert_eq!(ada.next()["type"], "broadcast");
        ada.gets(json!({ "type": "ack", "id": "b" }));
        rig.frame(&ada, json!({ "type": "presence_track", "topic": "room", "metadata": {} }));
        assert_eq!(ada.next()["type"], "presence_state");
        rig.frame(&eve, json!({ "type": "presence_track", "topic": "news", "metadata": {} }));
        eve.is_refused("forbidden");
    });
}

#[test]
fn who_sees_every_row_may_do_everything_and_nobody_is_asked() {
    let mut rig = Rig::new(&realtime());
    let claims = json!({ "sub": "chief", "role": "service_role", "organizationId": ORGANIZATION,
        "exp": rig.now / 1_000 + 60 });
    let chief = rig.connect_with(&claims);
    subscribe(&mut rig, &chief, "room");
    chief.gets(json!({ "type": "subscribed", "id": "room" }));
    assert_eq!(rig.source.authorized.len(), 0);
}

#[test]
fn a_topic_of_the_configuration_and_a_public_one_need_no_answer() {
    let mut rig = Rig::new(&realtime());
    rig.source.is_slow = true;
    let ada = connect(&mut rig, "ada", true);
    rig.frame(&ada, json!({ "type": "subscribe", "id": "p", "topic": "p", "private": false }));
    ada.gets(json!({ "type": "subscribed", "id": "p" }));
    subscribe(&mut rig, &ada, "config:1");
    ada.gets(json!({ "type": "subscribed", "id": "config:1" }));
    assert_eq!(rig.source.authorized.len(), 0);
}

#[test]
fn frames_keep_their_order_while_one_waits_for_the_answer() {
    let mut rig = Rig::new(&realtime());
    rig.source.grants = grants;
    let ada = connect(&mut rig, "ada", true);
    rig.source.is_slow = true;
    subscribe(&mut rig, &ada, "room");
    say(&mut rig, &ada, "room");
    rig.frame(&ada, json!({ "type": "subscribe", "id": "p", "topic": "p", "private": false }));
    ada.gets_nothing();
    rig.answer_source();
    ada.gets(json!({ "type": "subscribed", "id": "room" }));
    assert_eq!(ada.next()["type"], "broadcast");
    ada.gets(json!({ "type": "ack", "id": "b" }));
    ada.gets(json!({ "type": "subscribed", "id": "p" }));
    assert_eq!(rig.source.authorized.len(), 1, "a session asks once");
}

#[test]
fn many_of_one_group_ask_once() {
    let mut rig = Rig::new(&realtime());
    rig.source.grants = grants;
    let clients: Vec<Client> = (0..10).map(|_| connect(&mut rig, "ada", true)).collect();
    rig.source.is_slow = true;
    clients.iter().for_each(|client| subscribe(&mut rig, client, "room"));
    // A client that has disconnected receives no answer.
    rig.disconnect(&clients[0]);
    rig.answer_source();
    clients[1..].iter().for_each(|client| client.gets(json!({ "type": "subscribed", "id": "room" })));
    clients[0].gets_nothing();
    assert_eq!(rig.source.authorized.len(), 1);
    let asked = &rig.source.authorized[0];
    assert_eq!((&asked["role"], &asked["topic"]), (&json!("authenticated"), &json!("room")));
    assert_eq!(asked["claims"]["member"], true);
}

#[test]
fn a_database_that_does_not_answer_grants_nothing_and_may_be_asked_again() {
    every_way(realtime(), |rig| {
        rig.source.grants = |_, _, _| None;
        let ada = connect(rig, "ada", true);
        subscribe(rig, &ada, "room");
        assert_eq!(ada.is_refused("source_unavailable")["id"], "room");
        rig.source.grants = grants;
        rig.advance(5_000);
        subscribe(rig, &ada, "room");
        ada.gets(json!({ "type": "subscribed", "id": "room" }));
    });
}

#[test]
fn a_fresh_token_is_asked_for_anew() {
    every_way(realtime(), |rig| {
        rig.source.grants = grants;
        let ada = connect(rig, "ada", true);
        subscribe(rig, &ada, "room");
        ada.gets(json!({ "type": "subscribed", "id": "room" }));
        let fresh = claims(rig, "ada", false);
        rig.authenticate(&ada, &token::hs256(&fresh));
        assert_eq!(ada.next()["type"], "auth_success");
        assert_eq!(ada.is_refused("forbidden")["id"], "room");
        let other = connect(rig, "other", true);
        say(rig, &other, "room");
        other.gets(json!({ "type": "ack", "id": "b" }));
        ada.gets_nothing();
    });
}

#[test]
fn topics_that_come_with_the_authentication_are_asked_for_first() {
    every_way(realtime(), |rig| {
        rig.source.grants = grants;
        let ada = rig.open();
        let asked = ["news", "room", "other"].map(|topic| json!({ "id": topic, "topic": topic }));
        let token = token::hs256(&claims(rig, "ada", true));
        rig.authenticate_saying(&ada, &token, json!({ "subscriptions": asked }));
        assert_eq!(ada.next()["type"], "auth_success");
        ada.gets(json!({ "type": "subscribed", "id": "news" }));
        ada.gets(json!({ "type": "subscribed", "id": "room" }));
        assert_eq!(ada.is_refused("forbidden")["id"], "other");
    });
}

/// A socket of a Supabase client.
fn socket(rig: &mut Rig, user: &str, member: bool) -> Client {
    let token = token::hs256(&claims(rig, user, member));
    let principal = rig.principal_of(&token);
    rig.open_at(V2, Some(principal), None, Recover::Off).unwrap()
}

fn join(rig: &mut Rig, client: &Client, topic: &str) -> Value {
    let config = json!({ "private": true, "broadcast": { "self": true, "ack": true } });
    rig.frame(client, json!(["1", "1", format!("realtime:{topic}"), "phx_join", { "config": config }]));
    client.next()
}

#[test]
fn a_private_channel_is_entered_by_the_policies_of_the_database() {
    every_way(realtime(), |rig| {
        rig.source.grants = grants;
        let [ada, eve] = [("ada", true), ("eve", false)].map(|(user, member)| socket(rig, user, member));
        assert_eq!(join(rig, &ada, "room")[4]["status"], "ok");
        let refused = join(rig, &eve, "room");
        let reason = "Unauthorized: You do not have permissions to read from this Channel topic: room";
        assert_eq!(refused[4]["response"]["reason"], reason, "{refused}");
        ada.frames();
        let message = json!({ "type": "broadcast", "event": "e", "payload": {} });
        rig.frame(&ada, json!(["1", "2", "realtime:room", "broadcast", message]));
        assert_eq!(ada.frames().len(), 2, "the message and its acknowledgement");
        rig.frame(
            &ada,
            json!(["1", "3", "realtime:room", "presence", { "type": "presence", "event": "track", "payload": {} }]),
        );
        assert_eq!(ada.frames().len(), 2, "the answer and the difference");
        // A fresh token that revokes the right to read closes the channel.
        let fresh = token::hs256(&claims(rig, "ada", false));
        rig.frame(&ada, json!(["1", "4", "realtime:room", "access_token", { "access_token": fresh }]));
        let told = ada.next();
        assert_eq!((&told[3], &told[4]["status"]), (&json!("system"), &json!("error")), "{told}");
    });
}

/// What `realtime.send` published to the topic before a join is replayed as Supabase does it: the requested number of
/// newest messages, oldest first, marked, with the id of the row of `realtime.messages`, which the live message has
/// too.
#[test]
fn messages_of_the_database_are_replayed_to_who_may_read_the_topic() {
    every_way(realtime(), |rig| {
        rig.source.grants = grants;
        let ada = socket(rig, "ada", true);
        assert_eq!(join(rig, &ada, "room")[4]["status"], "ok");
        ada.frames();
        let message = |topic: &str, n: u64, private: bool| {
            let id = format!("00000000-0000-4000-8000-{n:012}");
            json!({ "op": "MESSAGE", "at": "2026-11-26T01:02:03.123Z", "message": { "id": id, "topic": topic, "event": "e",
                "payload": { "n": n }, "private": private, "binary": null } })
        };
        let messages = [
            message("room", 1, true),
            message("room", 2, false),
            message("news", 3, true),
            message("room", 4, true),
            message("room", 5, true),
        ];
        let batch = rig.source.batch(&messages);
        assert_eq!(rig.hand_over(&batch).status, 200);
        let told = |frames: &[Value]| {
            let of = |frame: &Value| (frame[4]["payload"]["n"].clone(), frame[4]["meta"].clone());
            frames.iter().map(of).collect::<Vec<_>>()
        };
        let meta = |n: u64| json!({ "id": format!("00000000-0000-4000-8000-{n:012}") });
        assert_eq!(told(&ada.frames()), [1, 4, 5].map(|n| (json!(n), meta(n))));
        let replay = json!({ "private": true, "broadcast": { "replay": { "since": rig.now - 1_000, "limit": 2 } },
            "presence": { "enabled": false } });
        let mut enter = |user: &str, member: bool| {
            let client = socket(rig, user, member);
            rig.frame(&client, json!(["1", "1", "realtime:room", "phx_join", { "config": replay }]));
            client.frames()
        };
        let frames = enter("bob", true);
        assert_eq!(frames[0][4]["status"], "ok");
        let replayed = |n: u64| json!({ "id": meta(n)["id"], "replayed": true });
        assert_eq!(told(&frames[1..]), [4, 5].map(|n| (json!(n), replayed(n))));
        let refused = enter("eve", false);
        assert_eq!((refused.len(), &refused[0][4]["status"]), (1, &json!("error")), "{refused:?}");
    });
}
