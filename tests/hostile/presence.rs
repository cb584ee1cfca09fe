//! A presence that changes without end.

use realtime_worker::dialect::phoenix;
use serde_json::{Value, json};

use crate::rig::supabase::{joined, socket};
use crate::rig::{Client, Rig};

fn update(rig: &mut Rig, client: &Client, n: u64) {
    rig.frame(client, json!({ "type": "presence_update", "metadata": { "n": n } }));
}

/// Members of the lobby who have heard everything there was to hear.
fn lobby(users: usize) -> (Rig, Vec<Client>) {
    let mut rig = Rig::new(&json!({}));
    let clients: Vec<Client> = (0..users).map(|n| rig.connect(&format!("u{n}"), &[])).collect();
    for client in &clients {
        rig.frame(client, json!({ "type": "presence_track", "metadata": {} }));
    }
    rig.advance(1_000);
    clients.iter().for_each(|client| drop(client.frames()));
    rig.hold_timer = true;
    (rig, clients)
}

fn types(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect()
}

#[test]
fn a_topic_is_told_of_one_member_twenty_times_a_second_at_most() {
    let (mut rig, clients) = lobby(3);
    for n in 0..90 {
        update(&mut rig, &clients[0], n);
        let end = rig.now + 11;
        while rig.timers.first().is_some_and(|time| *time <= end) {
            rig.tick();
        }
        rig.now = end;
    }
    let frames = clients[1].frames();
    assert!((18..=21).contains(&frames.len()), "{} frames in a second", frames.len());
    while !rig.timers.is_empty() {
        rig.tick();
    }
    let last = clients[1].frames();
    assert_eq!(last.last().or(frames.last()).unwrap()["metadata"], json!({ "n": 89 }), "the latest wins");
}

#[test]
fn the_first_difference_is_told_at_once_and_the_rest_together() {
    let (mut rig, clients) = lobby(4);
    update(&mut rig, &clients[0], 1);
    assert_eq!(types(&clients[3].frames()), ["presence_update"]);
    update(&mut rig, &clients[0], 2);
    update(&mut rig, &clients[0], 3);
    update(&mut rig, &clients[1], 1);
    rig.disconnect(&clients[2]);
    clients[3].gets_nothing();
    assert!(rig.timers.iter().eq([&(rig.now + 50)]));
    rig.tick();
    let frames = clients[3].frames();
    assert_eq!(types(&frames), ["presence_update", "presence_update", "presence_leave"]);
    assert_eq!(frames[0]["metadata"], json!({ "n": 3 }));
    assert!(rig.timers.is_empty(), "nothing waits, so no timer stands");
}

#[test]
fn what_is_undone_within_a_window_is_no_news() {
    let (mut rig, clients) = lobby(2);
    update(&mut rig, &clients[0], 1);
    clients[1].frames();
    let eve = rig.connect("eve", &[]);
    rig.frame(&eve, json!({ "type": "presence_track", "metadata": {} }));
    rig.disconnect(&eve);
    update(&mut rig, &clients[0], 2);
    update(&mut rig, &clients[0], 1);
    rig.tick();
    clients[1].gets_nothing();
}

#[test]
fn whoever_leaves_within_a_window_is_told_so() {
    let (mut rig, clients) = lobby(2);
    update(&mut rig, &clients[0], 1);
    clients[0].frames();
    rig.frame(&clients[0], json!({ "type": "presence_untrack" }));
    assert_eq!(types(&clients[0].frames()), ["presence_leave"]);
    rig.tick();
    clients[0].gets_nothing();
    assert_eq!(types(&clients[1].frames()), ["presence_update", "presence_leave"]);
}

#[test]
fn what_waits_is_also_told_by_the_next_input() {
    let (mut rig, clients) = lobby(2);
    update(&mut rig, &clients[0], 1);
    update(&mut rig, &clients[0], 2);
    clients[1].frames();
    rig.now += 50;
    rig.say("anything");
    assert_eq!(types(&clients[1].frames()), ["presence_update", "broadcast"]);
}

#[test]
fn a_channel_gets_one_frame_of_all_differences() {
    let mut rig = Rig::new(&json!({}));
    let users = ["a", "b", "c", "d"];
    let sockets = users.map(|user| socket(&mut rig, phoenix::V2, user, &[]));
    for (user, client) in users.iter().zip(&sockets) {
        joined(&mut rig, client, "1", "room", json!({ "presence": { "key": user, "enabled": true } }));
    }
    rig.hold_timer = true;
    sockets[0].frames();
    for client in &sockets {
        let track = json!({ "type": "presence", "event": "track", "payload": {} });
        rig.frame(client, json!(["1", "2", "realtime:room", "presence", track]));
    }
    rig.tick();
    let mut frames = sockets[0].frames();
    frames.retain(|frame| frame[3] == "presence_diff");
    let keys = |joins: &Value| joins.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        frames.iter().map(|frame| keys(&frame[4]["joins"])).collect::<Vec<_>>(),
        [vec!["a"], vec!["b", "c", "d"]]
    );
    assert_eq!(frames[1][4]["leaves"], json!({}));
}
