//! Properties on random configurations, people, changes and interruptions: nobody outside the audience receives
//! anything, nobody sees what is masked for them, a returning client misses nothing, and nothing panics.
//!
//! `oracle` computes a second time, for one person at a time, what each should see.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod oracle;
mod random;
mod rig;

use oracle::{Person, Seen};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::Index;
use random::{Deed, change, deed, interruption, person, table};
use realtime_worker::dialect::phoenix::V2;
use realtime_worker::dialect::{butterbase, fluxbase};
use realtime_worker::engine::command::Recover;
use realtime_worker::engine::input::DialectId;
use realtime_worker::policy::principal::{Method, Principal};
use realtime_worker::policy::roles::Roles;
use rig::{Client, Interruption, Rig};
use serde_json::{Value, json};

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn realtime(table: &Value) -> Value {
    // The rule keeps the claim `teams` in every principal, whatever the table's own rules are.
    json!({ "tables": { "t": table, "keeper": { "rows": [{ "column": "x", "claim": "teams" }] } },
        "history": { "replay": 10_000 }, "butterbase": { "listeners": -1, "tables": ["*"], "public": ["*"] } })
}

fn connect(rig: &mut Rig, person: &Person, recover: Value) -> Client {
    let client = rig.open();
    let mut claims = rig.claims(&person.user, &person.roles.iter().map(String::as_str).collect::<Vec<_>>());
    claims["teams"] = json!(person.teams);
    let mut subscriptions = person.subscriptions.clone();
    for (id, subscription) in subscriptions.iter_mut().enumerate() {
        subscription["id"] = json!(id.to_string());
    }
    let mut more = json!({ "recover": recover });
    // A list, even an empty one, restricts the session to what it names.
    if !subscriptions.is_empty() {
        more["subscriptions"] = json!(subscriptions);
    }
    rig.authenticate_saying(&client, &rig::token::hs256(&claims), more);
    client
}

/// Connects someone as a Supabase client: one channel, whose bindings are the subscriptions.
fn connect_channel(rig: &mut Rig, person: &Person) -> Client {
    // The dialect requires a role in every token; no rule names this one.
    let roles = person.roles.iter().map(String::as_str).chain(["nobody"]);
    let mut claims = rig.claims(&person.user, &roles.collect::<Vec<_>>());
    claims["teams"] = json!(person.teams);
    let nobody = Principal {
        user: None,
        roles: Roles::default(),
        method: Method::ApiKey,
        expires: None,
        claims: Default::default(),
        all_claims: None,
        grants: Default::default(),
    };
    let client = rig.open_at(V2, Some(nobody), None, Recover::Off).unwrap();
    let config = json!({ "postgres_changes": person.subscriptions, "presence": { "enabled": false } });
    let payload = json!({ "config": config, "access_token": rig::token::hs256(&claims) });
    rig.frame(&client, json!(["1", "1", "realtime:room", "phx_join", payload]));
    let answer = client.next();
    assert_eq!(answer[4]["status"], "ok", "{answer}");
    client
}

/// Connects someone in a dialect with separate frames for authentication and each subscription.
fn connect_saying(rig: &mut Rig, person: &Person, (dialect, says_who): (DialectId, &str)) -> Client {
    let mut claims = rig.claims(&person.user, &person.roles.iter().map(String::as_str).collect::<Vec<_>>());
    claims["teams"] = json!(person.teams);
    let anonymous = (dialect == fluxbase::ID).then(|| Principal::anonymous(fluxbase::ANONYMOUS_ROLE));
    let client = rig.open_at(dialect, anonymous, None, Recover::Off).unwrap();
    rig.frame(&client, json!({ "type": says_who, "token": rig::token::hs256(&claims) }));
    for subscription in &person.subscriptions {
        let mut frame = json!({ "type": "subscribe" });
        frame.as_object_mut().unwrap().extend(subscription.as_object().unwrap().clone());
        rig.frame(&client, frame);
    }
    assert!(client.frames().iter().all(|frame| frame["type"] != "error"), "{person:?}");
    client
}

fn butterbases_changes(client: &Client) -> Vec<Value> {
    let words = |frame: &Value| json!({ "eventType": frame["op"], "new": frame["record"], "old": frame["old_record"] });
    client.frames().iter().filter(|frame| frame["type"] == "change").map(words).collect()
}

fn fluxbases_changes(client: &Client) -> Vec<Value> {
    let words = |frame: &Value| {
        let payload = &frame["payload"];
        json!({ "eventType": payload["type"], "new": payload["record"], "old": payload["old_record"] })
    };
    client.frames().iter().filter(|frame| frame["type"] == "postgres_changes").map(words).collect()
}

/// A channel's change in the native format. An unknown previous row is `{}` there.
fn in_native_words(frame: &Value) -> Value {
    let data = &frame[4]["data"];
    let mut native =
        json!({ "type": frame[3], "eventType": data["type"], "new": data["record"], "old": data["old_record"] });
    if native["old"] == json!({}) {
        native["old"] = Value::Null;
    }
    native
}

/// The change frames among those that the script has not read.
fn changes(client: &Client) -> Vec<Value> {
    client.frames().into_iter().filter(|frame| frame["type"] == "postgres_changes").collect()
}

/// The frame shows exactly what the oracle says: a hidden cell shows something other than the value.
fn check_frame(frame: &Value, seen: &Seen) -> Result<(), TestCaseError> {
    prop_assert_eq!(&frame["eventType"], seen.operation);
    for (side, expected) in [("new", &seen.new), ("old", &seen.old)] {
        let Some(expected) = expected else {
            prop_assert!(frame[side].is_null(), "{frame}");
            continue;
        };
        let shown = frame[side].as_object().unwrap();
        prop_assert!(shown.keys().eq(expected.keys()), "{frame} {expected:?}");
        for (column, (value, hidden)) in expected {
            let is_shown = shown[column] == *value;
            prop_assert!(is_shown != *hidden || value.is_null(), "{} of {}", column, frame);
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            prop_assert!(value.is_null() || !*hidden || !shown[column].to_string().contains(&text));
        }
    }
    Ok(())
}

/// How a dialect delivers the same publications.
struct Recipient {
    connect: fn(&mut Rig, &Person) -> Client,
    /// Its changes that the script has not read, in the native format.
    changes: fn(&Client) -> Vec<Value>,
    /// Which of the visible changes reach someone.
    hears: fn(&Person, Seen) -> Option<Seen>,
}

fn check_everyone(
    table: &Value,
    mut people: Vec<Person>,
    steps: Vec<(Value, Interruption)>,
    recipient: Recipient,
) -> Result<(), TestCaseError> {
    people.iter_mut().for_each(|person| oracle::keep_admitted(table, person));
    let mut rig = Rig::new(&realtime(table));
    let clients: Vec<Client> = people.iter().map(|person| (recipient.connect)(&mut rig, person)).collect();
    clients.iter().for_each(|client| drop(client.frames()));
    for (change, interruption) in steps {
        rig.interruption = interruption;
        let delivered = rig.accepted(change.clone());
        let mut count = 0;
        for (client, person) in clients.iter().zip(&people) {
            let rules = if change["table"] == "t" { table } else { &Value::Null };
            let seen = oracle::sees(rules, &change, person).and_then(|seen| (recipient.hears)(person, seen));
            let frames = (recipient.changes)(client);
            prop_assert_eq!(frames.len(), usize::from(seen.is_some()), "{:?} of {} for {:?}", seen, change, person);
            count += frames.len() as u64;
            if let (Some(frame), Some(seen)) = (frames.first(), seen) {
                check_frame(frame, &seen)?;
            }
        }
        prop_assert_eq!(delivered, count);
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn everyone_sees_what_the_rules_say_and_nothing_else(
        table in table(),
        people in vec(person(), 1..5),
        steps in vec((change(), interruption()), 1..12),
    ) {
        let connect = |rig: &mut Rig, person: &Person| connect(rig, person, json!(false));
        check_everyone(&table, people, steps, Recipient { connect, changes, hears: |_, seen| Some(seen) })?;
    }

    /// The same for channels, each of which receives only what it has a binding for, in one frame.
    #[test]
    fn a_channel_sees_what_the_rules_say_and_nothing_else(
        table in table(),
        people in vec(person(), 1..5),
        steps in vec((change(), interruption()), 1..12),
    ) {
        let changes = |client: &Client| client.frames().iter().map(in_native_words).collect();
        let hears = |person: &Person, mut seen: Seen| {
            seen.old = seen.old.filter(|cells| !cells.is_empty());
            (!person.subscriptions.is_empty()).then_some(seen)
        };
        check_everyone(&table, people, steps, Recipient { connect: connect_channel, changes, hears })?;
    }

    #[test]
    fn who_comes_back_has_missed_nothing(
        table in table(),
        person in person(),
        steps in vec((vec(change(), 1..4), any::<bool>(), interruption()), 1..16),
    ) {
        let mut rig = Rig::new(&realtime(&table));
        let twin = connect(&mut rig, &person, json!(true));
        let mut client = connect(&mut rig, &person, json!(true));
        let (mut received, mut position) = (Vec::new(), 0);
        for (messages, leaves, interruption) in steps {
            rig.interruption = interruption;
            if leaves {
                take(&client, &mut received, &mut position)?;
                rig.disconnect(&client);
            }
            rig.publish(json!({ "messages": messages }));
            if leaves {
                let from = json!({ "epoch": rig.epoch(), "offset": position });
                client = connect(&mut rig, &person, from);
                prop_assert_eq!(&client.next()["recovered"], &json!(true));
            }
        }
        take(&client, &mut received, &mut position)?;
        prop_assert_eq!(received, changes(&twin));
    }
}

proptest! {
    #![proptest_config(cases(100))]

    /// The same for dialects that receive nothing by default.
    #[test]
    fn a_subscriber_of_any_dialect_sees_what_the_rules_say_and_nothing_else(
        table in table(),
        mut people in vec(person(), 1..5),
        steps in vec((change(), interruption()), 1..8),
        is_butterbase in any::<bool>(),
    ) {
        people.iter_mut().for_each(|person| person.subscriptions = vec![json!({ "table": "t" })]);
        let hears = |person: &Person, seen| (!person.subscriptions.is_empty()).then_some(seen);
        let recipient = if is_butterbase {
            let connect = |rig: &mut Rig, person: &Person| connect_saying(rig, person, (butterbase::ID, "auth"));
            Recipient { connect, changes: butterbases_changes, hears }
        } else {
            let connect = |rig: &mut Rig, person: &Person| connect_saying(rig, person, (fluxbase::ID, "access_token"));
            Recipient { connect, changes: fluxbases_changes, hears }
        };
        check_everyone(&table, people, steps, recipient)?;
    }
}

/// Reads the new frames; offsets only increase.
fn take(client: &Client, received: &mut Vec<Value>, position: &mut u64) -> Result<(), TestCaseError> {
    for frame in changes(client) {
        let offset = frame["offset"].as_u64().unwrap();
        prop_assert!(offset > *position, "{offset} after {position}");
        *position = offset;
        received.push(frame);
    }
    Ok(())
}

fn act(rig: &mut Rig, clients: &mut Vec<Client>, deed: Deed) {
    match deed {
        Deed::Connect(person) => clients.push(connect(rig, &person, json!(true))),
        Deed::Say(who, frame) => rig.frame(who.get(clients), frame),
        Deed::Text(who, text) => rig.text(who.get(clients), &text),
        Deed::Publish(change) => drop(rig.publish(change)),
        Deed::Leave(who) => rig.disconnect(who.get(clients)),
        Deed::Lose(who) => {
            // A socket can only disappear unnoticed while the object sleeps.
            rig.lose(who.get(clients));
            rig.hibernate();
        }
        Deed::Wait(milliseconds) => rig.advance(milliseconds),
        Deed::Deploy => rig.deploy(),
    }
}

proptest! {
    #![proptest_config(cases(200))]

    /// The rig itself fails on frames to closed connections, on repeated offsets and on endless alarms.
    #[test]
    fn no_sequence_of_inputs_panics(table in table(), deeds in vec((deed(), interruption()), 1..60)) {
        let mut configuration = realtime(&table);
        configuration["channels"] = json!([{ "topic": "room:*", "read": {}, "write": {}, "presence": { "roles": ["hr"] }, "history": true }]);
        configuration["limits"] = json!({ "connections": 4, "topics": 2, "subscriptions": 2, "presences": 2, "presenceMembers": 2 });
        configuration["history"] = json!({ "count": 5, "seconds": 1_000, "replay": 3 });
        let mut rig = Rig::new(&configuration);
        let mut clients = vec![rig.open()];
        for (deed, interruption) in deeds {
            rig.interruption = interruption;
            act(&mut rig, &mut clients, deed);
        }
        rig.deploy();
        let stats = rig.stats();
        prop_assert_eq!([&stats["connections"], &stats["presence"], &stats["topics"]], [&json!(0), &json!(0), &json!(0)]);
        prop_assert!(rig.storage.state.is_empty() && rig.storage.presence.is_empty());
    }

    #[test]
    fn a_script_is_the_same_in_every_way(table in table(), people in vec(person(), 1..3), deeds in vec(deed(), 1..30)) {
        let calm = |deed: &Deed| !matches!(deed, Deed::Lose(_) | Deed::Connect(_));
        let deeds: Vec<Deed> = deeds.into_iter().filter(calm).collect();
        let configuration = realtime(&table);
        rig::every_way(configuration, |rig| {
            let mut clients: Vec<Client> = people.iter().map(|person| connect(rig, person, json!(true))).collect();
            deeds.iter().for_each(|deed| act(rig, &mut clients, deed.clone()));
        });
    }

    #[test]
    fn a_filter_is_no_oracle(values in btree_set("[a-z]{6}", 2..4), guess in any::<Index>()) {
        let values: Vec<String> = values.into_iter().collect();
        let guess = guess.get(&values);
        let mut rig = Rig::new(&json!({ "tables": { "t": { "masking": { "pin": { "type": "redact" } } } } }));
        let client = rig.connect("mallory", &[]);
        for (n, operator) in ["eq", "neq", "gt", "lt", "like", "in", "match", "isdistinct", "not.eq"].iter().enumerate() {
            let literal = if *operator == "in" { format!("({guess})") } else { guess.clone() };
            let filter = format!("pin={operator}.{literal}");
            rig.frame(&client, json!({ "type": "subscribe", "id": n.to_string(), "table": "t", "filter": filter }));
            client.frames();
            let told = |value: &String| {
                let insert = json!({ "type": "postgres_changes", "table": "t", "eventType": "INSERT", "new": { "pin": value } });
                rig.accepted(insert)
            };
            let told: Vec<u64> = values.iter().map(told).collect();
            prop_assert!(told.iter().all(|one| *one == told[0]), "{operator} tells {values:?} apart");
            rig.frame(&client, json!({ "type": "unsubscribe", "id": n.to_string() }));
        }
    }
}
