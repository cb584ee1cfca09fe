//! Rosters that are asked for again and again.

use std::collections::BTreeSet;

use realtime_worker::dialect::phoenix;
use serde_json::{Value, json};

use crate::rig::supabase::{joined, socket};
use crate::rig::{Client, Rig};

const MEMBERS: usize = 100;

fn of_type(frames: &[Value], kind: &str) -> usize {
    frames.iter().filter(|frame| frame["type"] == kind).count()
}

/// A public topic with members of four kilobytes each.
fn room(rig: &mut Rig) -> Vec<Client> {
    let member = |n| {
        rig.now += 1_000;
        let client = rig.connect(&format!("u{n}"), &[]);
        let metadata = json!({ "m": "x".repeat(4_000) });
        rig.frame(
            &client,
            json!({ "type": "presence_track", "topic": "room", "private": false, "metadata": metadata }),
        );
        client
    };
    (0..MEMBERS).map(member).collect()
}

#[test]
fn whoever_is_tracked_already_is_told_nothing_but_what_changed() {
    let mut rig = Rig::new(&json!({ "limits": { "errorsPerMinute": 1_000_000 } }));
    let members = room(&mut rig);
    let eve = &members[MEMBERS - 1];
    assert_eq!(of_type(&eve.frames(), "presence_state"), 1);
    for n in 0..50 {
        rig.now += 20;
        let metadata = json!({ "n": n % 2 });
        rig.frame(eve, json!({ "type": "presence_track", "topic": "room", "private": false, "metadata": metadata }));
    }
    let frames = eve.frames();
    assert_eq!(of_type(&frames, "presence_state"), 0);
    assert!(of_type(&frames, "presence_update") > 0, "it updates");
}

#[test]
fn whoever_appears_or_subscribes_anew_pays_for_the_roster() {
    for begin in [
        json!({ "type": "presence_track", "topic": "room", "private": false, "metadata": {} }),
        json!({ "type": "subscribe", "id": "s", "topic": "room", "private": false, "presence": true }),
    ] {
        let mut rig = Rig::new(&json!({ "limits": { "errorsPerMinute": 1_000_000, "workPerConnection": 500 } }));
        room(&mut rig);
        let eve = rig.connect("eve", &[]);
        let end = match begin["type"].as_str() {
            Some("subscribe") => json!({ "type": "unsubscribe", "id": "s" }),
            _ => json!({ "type": "presence_untrack", "topic": "room", "private": false }),
        };
        for _ in 0..45 {
            rig.frame(&eve, begin.clone());
            rig.frame(&eve, end.clone());
            rig.now += 22;
        }
        let rosters = of_type(&eve.frames(), "presence_state");
        assert!((1..=5).contains(&rosters), "{rosters} rosters of 400 KB within a second");
    }
}

/// Hundred members of four kilobytes each: whatever the dialect, no frame has them all, and every one is told.
#[test]
fn a_long_roster_comes_in_pages() {
    let mut rig = Rig::new(&json!({ "limits": { "errorsPerMinute": 1_000_000 } }));
    room(&mut rig);
    let watcher = rig.connect("watcher", &[]);
    rig.frame(&watcher, json!({ "type": "subscribe", "id": "s", "topic": "room", "private": false, "presence": true }));
    let frames = watcher.frames();
    let first = frames.iter().find(|frame| frame["type"] == "presence_state").unwrap();
    assert!(first.to_string().len() < 300_000);
    let told = first["clients"]
        .as_array()
        .unwrap()
        .iter()
        .chain(frames.iter().filter(|frame| frame["type"] == "presence_join"));
    let told: BTreeSet<&str> = told.map(|member| member["client_id"].as_str().unwrap()).collect();
    assert_eq!((of_type(&frames, "presence_state"), told.len()), (1, MEMBERS));

    let eve = socket(&mut rig, phoenix::V2, "eve", &[]);
    joined(&mut rig, &eve, "1", "room", json!({ "presence": { "enabled": true } }));
    let frames = eve.frames();
    let state = frames.iter().find(|frame| frame[3] == "presence_state").unwrap();
    let differences: Vec<&Value> = frames.iter().filter(|frame| frame[3] == "presence_diff").collect();
    let told = state[4].as_object().unwrap().len()
        + differences.iter().map(|frame| frame[4]["joins"].as_object().unwrap().len()).sum::<usize>();
    assert_eq!((differences.len(), told), (1, MEMBERS));
    assert!(frames.iter().all(|frame| frame.to_string().len() < 300_000));
}

#[test]
fn a_channel_that_is_entered_anew_pays_for_the_roster() {
    let mut rig = Rig::new(&json!({ "limits": { "workPerConnection": 500 } }));
    room(&mut rig);
    let eve = socket(&mut rig, phoenix::V2, "eve", &[]);
    joined(&mut rig, &eve, "1", "room", json!({ "presence": { "enabled": true } }));
    eve.frames();
    let mut refused = 0;
    for n in 2..60 {
        let payload = json!({ "config": { "presence": { "enabled": true } } });
        rig.frame(&eve, json!([n.to_string(), n.to_string(), "realtime:room", "phx_join", payload]));
        rig.now += 20;
        refused += eve.frames().iter().filter(|frame| frame[4]["status"] == "error").count();
    }
    assert!(refused >= 50, "{refused} of 58 joins were refused");
    rig.now += 10_000;
    joined(&mut rig, &eve, "99", "room", json!({ "presence": { "enabled": true } }));
}
