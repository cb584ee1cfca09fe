//! Relays beside an organization's object of another version: each treats the other as that version did.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod rig;

use realtime_worker::engine::relay::Peer;
use rig::relays::Letter;
use rig::{Client, Rig};
use serde_json::json;

/// A tenant with one socket at its own object and one at its relay.
fn spread() -> (Rig, Client) {
    let mut rig = Rig::with_relays(&json!({}), 1);
    let clients = ["ada", "bob"].map(|user| rig.connect(user, &["member"]));
    rig.say("first");
    let [_, client] = clients;
    (rig, client)
}

fn restarted(client: &Client) -> bool {
    client.closed() == Some((1012, "service_restart".to_owned()))
}

/// The same objects, one of which was deployed yesterday: it names its lives without saying that it can catch up.
fn of_yesterday(letter: &Letter) -> Letter {
    Letter { body: letter.body.replacen("+\"", "\"", 2), ..letter.clone() }
}

#[test]
fn a_relay_of_yesterday_is_told_to_begin_anew() {
    let (mut rig, client) = spread();
    rig.wake_relay(0);
    rig.mail.is_held = true;
    // Whatever happens there first makes it say that it has begun.
    rig.frame(&client, json!({ "type": "ping" }));
    rig.mail.letters.iter_mut().for_each(|letter| *letter = of_yesterday(letter));
    rig.post_one();
    rig.say("kept");
    rig.lose_root();
    let told = rig.mail.letters.front().unwrap();
    assert!(told.body.contains("[\"restart\"]"), "{}", told.body);
    assert_eq!(rig.stats()["missedByRelays"]["lost"], 0, "the history has it");
    rig.release_mail();
    assert!(restarted(&client));
}

#[test]
fn a_root_of_yesterday_is_not_asked() {
    let (mut rig, client) = spread();
    rig.mail.is_held = true;
    rig.say("kept");
    rig.lose_root();
    rig.post_down();
    // A version that cannot be asked is deployed: its next life says nothing of it.
    let question = rig.mail.letters.pop_front().unwrap();
    rig.answer_letter(&question, None);
    rig.say("kept");
    rig.lose_root();
    rig.mail.letters.retain(|letter| letter.from == Peer::Root);
    let told = rig.mail.letters.pop_front().unwrap();
    let told = of_yesterday(&told);
    let told = Letter { body: told.body.replace("behind", "restart"), ..told };
    rig.deliver_letter(&told).unwrap();
    assert!(restarted(&client));
    rig.mail.letters.iter().for_each(|letter| assert!(!letter.body.contains("\"all\""), "{}", letter.body));
}

#[test]
fn what_yesterday_stored_of_relays_is_read() {
    let (mut rig, client) = spread();
    let stored = rig.storage.facts["relay.1"].replace(",\"catches_up\":true", "");
    rig.storage.facts.insert("relay.1".to_owned(), stored);
    // It said of all that was on its way the same.
    rig.storage.facts.insert("relays".to_owned(), "1".to_owned());
    rig.mail.is_held = true;
    rig.lose_root();
    let told = rig.mail.letters.front().unwrap();
    assert!(told.body.contains("[\"restart\"]"), "{}", told.body);
    assert_eq!((&rig.stats()["connections"], &rig.stats()["missedByRelays"]["lost"]), (&json!(2), &json!(1)));
    rig.release_mail();
    assert!(restarted(&client));
}

#[test]
fn without_a_note_beside_the_sockets_the_clients_come_back() {
    let (mut rig, client) = spread();
    rig.strip_relay_notes(0);
    rig.wake_relay(0);
    rig.mail.is_held = true;
    rig.say("kept");
    rig.lose_root();
    rig.release_mail();
    assert!(restarted(&client), "{:?}", client.closed());
}
