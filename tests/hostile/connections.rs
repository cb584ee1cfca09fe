//! Connections that one user holds, and those that say nothing.

use serde_json::json;

use crate::rig::{Client, Rig, every_way};

#[test]
fn one_user_holds_a_share_of_the_connections() {
    every_way(json!({ "limits": { "connections": 5, "connectionsPerUser": 2 } }), |rig| {
        let first = rig.connect("eve", &[]);
        rig.connect("eve", &[]);
        let third = rig.open();
        let token = rig.token("eve", &[]);
        rig.authenticate(&third, &token);
        third.is_turned_away("connection_limit", 1013);
        rig.connect("ada", &[]);
        rig.disconnect(&first);
        rig.connect("eve", &[]);
    });
}

#[test]
fn honest_logins_come_in_beside_a_thousand_silent_strangers() {
    let mut rig = Rig::new(&json!({}));
    let open = |rig: &mut Rig| {
        rig.now += 1;
        rig.open()
    };
    let strangers: Vec<Client> = (0..1_000).map(|_| open(&mut rig)).collect();
    for number in 0..40 {
        open(&mut rig);
        rig.connect(&format!("u{number}"), &[]);
    }
    let is_evicted = |stranger: &Client| stranger.closed() == Some((1013, "connection_limit".to_owned()));
    let evicted = strangers.iter().filter(|stranger| is_evicted(stranger)).count();
    assert_eq!(evicted, 41, "one for each that found no room");
    assert!(strangers.iter().take(41).all(is_evicted), "the oldest went first");
    assert_eq!(rig.stats()["pending"], 999);
}
