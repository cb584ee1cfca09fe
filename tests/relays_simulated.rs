//! An organization over several objects for a long virtual time: clients come, go and recover, objects sleep and crash,
//! requests between them come late, are lost, or lose their answers. Nobody misses a publication, sees one twice, or out of order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod rig;

use realtime_worker::engine::relay::Peer;
use rig::{Client, Rig};
use serde_json::json;

const RELAYS: u32 = 4;
const PEOPLE: usize = 40;
const STEPS: usize = 1_500;

/// xorshift64*: the same script for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

/// Someone who comes back after each end and asks for what came since.
#[derive(Default)]
struct Person {
    client: Option<Client>,
    /// The offset of the last publication seen; `None` before the first welcome.
    offset: Option<u64>,
    seen: usize,
    returns: usize,
}

impl Person {
    /// Reads what has come, each the next of the stream.
    fn read(&mut self, name: usize) {
        let Some(client) = &self.client else { return };
        for frame in client.frames() {
            match (frame["type"].as_str().unwrap(), self.offset) {
                ("auth_success", None) => self.offset = frame["offset"].as_u64(),
                ("auth_success", Some(_)) => {
                    assert_eq!(frame["recovered"], true, "{name}: everything is retained");
                    self.returns += 1;
                }
                ("broadcast", Some(before)) => {
                    assert_eq!(frame["offset"], before + 1, "{name}: lost, twice or out of order");
                    (self.offset, self.seen) = (Some(before + 1), self.seen + 1);
                }
                // What waited for the root for too long is closed.
                ("auth_error", _) => assert_eq!(frame["code"], "auth_timeout"),
                _ => panic!("{name}: {frame}"),
            }
        }
        if client.closed().is_some() {
            self.client = None;
        }
    }

    fn come(&mut self, name: usize, rig: &mut Rig) {
        let recover = self.offset.map_or(json!(true), |offset| json!({ "epoch": rig.epoch(), "offset": offset }));
        let client = rig.open();
        rig.authenticate_saying(
            &client,
            &rig.token(&format!("user{name}"), &["member"]),
            json!({ "recover": recover }),
        );
        self.client = Some(client);
    }
}

/// What goes wrong, or goes on.
fn step(rig: &mut Rig, random: &mut Random, people: &mut [Person]) {
    let (name, relay) = (random.below(PEOPLE), random.below(RELAYS as usize));
    match random.below(100) {
        0..40 => _ = rig.say("e"),
        40..60 if people[name].client.is_none() => people[name].come(name, rig),
        60..66 => {
            if let Some(client) = people[name].client.take() {
                // What has arrived was seen.
                people[name].client = Some(client.clone());
                people[name].read(name);
                rig.disconnect(&client);
                people[name].client = None;
            }
        }
        66..70 => rig.wake_relay(relay),
        70..72 => {
            let gone = Peer::Relay(relay as u32 + 1);
            rig.mail.letters.retain(|letter| letter.from != gone);
            rig.reset_relay(relay);
        }
        72..74 => {
            rig.mail.letters.retain(|letter| letter.from != Peer::Root);
            rig.wake();
        }
        74..80 => rig.mail.is_held = true,
        80..90 => {
            rig.mail.is_held = false;
            rig.post();
        }
        90..92 if !rig.mail.letters.is_empty() => {
            let lost = rig.mail.letters.pop_front().unwrap();
            rig.answer_letter(&lost, None);
        }
        92..94 if !rig.mail.letters.is_empty() => {
            let letter = rig.mail.letters.pop_front().unwrap();
            rig.deliver_letter(&letter);
            rig.answer_letter(&letter, None);
        }
        94..96 if !rig.mail.letters.is_empty() => rig.post_one(),
        96.. => rig.advance(1_000),
        _ => {}
    }
}

fn simulate(seed: u64) -> (u64, usize, usize, usize) {
    let mut rig = Rig::with_relays(&json!({}), RELAYS);
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut people: Vec<Person> = (0..PEOPLE).map(|_| Person::default()).collect();
    for _ in 0..STEPS {
        step(&mut rig, &mut random, &mut people);
        people.iter_mut().enumerate().for_each(|(name, person)| person.read(name));
    }
    // Everything goes well again, and everyone comes back.
    rig.mail.is_held = false;
    rig.post();
    rig.advance(120_000);
    for (name, person) in people.iter_mut().enumerate() {
        person.read(name);
        if person.client.is_none() {
            person.come(name, &mut rig);
        }
        person.read(name);
        assert!(person.client.is_some(), "{name} cannot come back");
    }
    rig.say("the last");
    let published = rig.storage.history.len() as u64;
    for (name, person) in people.iter_mut().enumerate() {
        person.read(name);
        assert_eq!(person.offset, Some(published), "{name} has seen the last");
    }
    let seen = people.iter().map(|person| person.seen).sum();
    let returns = people.iter().map(|person| person.returns).sum();
    (published, seen, returns, rig.mail.sent.values().sum())
}

#[test]
fn nothing_is_lost_twice_or_out_of_order_whatever_fails() {
    for seed in 1..=6 {
        let (published, seen, returns, requests) = simulate(seed);
        println!("seed {seed}: {published} publications, {seen} seen, {returns} recoveries, {requests} requests");
        assert!(published > 500 && seen as u64 > 2 * published && returns > 20, "little has happened");
    }
}

#[test]
fn without_relays_nothing_is_asked_of_them_or_stored_for_them() {
    let mut rig = Rig::new(&json!({}));
    let clients: Vec<Client> = (0..3).map(|name| rig.connect(&format!("user{name}"), &["member"])).collect();
    rig.say("e");
    rig.hibernate();
    rig.say("f");
    clients.iter().for_each(|client| assert_eq!(client.frames().len(), 2));
    assert_eq!((rig.mail.sent.len(), &rig.storage.facts), (0, &Default::default()));
    // The epoch and two publications; attachments are no rows.
    assert_eq!((rig.storage.writes, rig.stats().get("relays")), (3, None));
}
