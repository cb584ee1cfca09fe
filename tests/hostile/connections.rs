//! Connections that one user holds, and those that say nothing.

use realtime_worker::code::Code;
use realtime_worker::engine::command::Recover;
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
        third.is_rejected("connection_limit", 1013);
        rig.connect("ada", &[]);
        rig.disconnect(&first);
        rig.connect("eve", &[]);
    });
}

#[test]
fn strangers_of_one_address_make_room_for_each_other() {
    let mut rig = Rig::new(&json!({ "limits": { "pending": 10, "pendingPerAddress": 3 } }));
    let open = |rig: &mut Rig, address: Option<&str>| {
        rig.address = address.map(str::to_owned);
        rig.now += 1;
        rig.open()
    };
    let honest = open(&mut rig, Some("192.0.2.1"));
    let unknown: Vec<Client> = (0..4).map(|_| open(&mut rig, None)).collect();
    let flood: Vec<Client> = (0..20).map(|_| open(&mut rig, Some("192.0.2.2"))).collect();
    let evicted = flood.iter().filter(|stranger| stranger.closed().is_some()).count();
    assert_eq!(evicted, 17, "an address has three");
    assert!(flood.iter().take(17).all(|stranger| stranger.closed() == Some((1013, "connection_limit".to_owned()))));
    assert!(unknown.iter().all(|stranger| stranger.closed().is_none()), "no address, no limit by it");
    let token = rig.token("ada", &[]);
    rig.authenticate(&honest, &token);
    assert_eq!(honest.next()["type"], "auth_success");
    let token = rig.token("eve", &[]);
    rig.authenticate(&flood[19], &token);
    assert_eq!(flood[19].next()["type"], "auth_success");
    open(&mut rig, Some("192.0.2.2"));
    assert!(flood[17].closed().is_none(), "who has authenticated counts no longer");
}

/// A client whose token is not good comes back for ever.
#[test]
fn an_address_that_is_refused_again_and_again_has_to_wait() {
    let mut rig = Rig::new(&json!({ "limits": { "refusedPerAddress": 3 } }));
    let stranger = |rig: &mut Rig, address: &str| {
        rig.address = Some(address.to_owned());
        rig.open_as(None, None, Recover::Off)
    };
    let (bad, good) = (String::from("no token"), rig.token("ada", &[]));
    for frame in 0..3 {
        let eve = stranger(&mut rig, "192.0.2.1").unwrap();
        match frame {
            0 => rig.frame(&eve, json!({ "type": "subscribe", "id": "t", "table": "t" })),
            _ => rig.authenticate(&eve, &bad),
        }
        assert!(eve.closed().is_some());
    }
    let refusal = stranger(&mut rig, "192.0.2.1").err().unwrap();
    assert_eq!((refusal.code, refusal.retry_after), (Code::TooManyAttempts, Some(20_000)));
    assert_eq!(rig.stats()["refusedAttempts"], 4);
    // Neither another address, nor who has proven who they are, pays for it.
    let honest = stranger(&mut rig, "192.0.2.2").unwrap();
    rig.authenticate(&honest, &good);
    assert_eq!(honest.next()["type"], "auth_success");
    rig.address = Some("192.0.2.1".to_owned());
    let principal = rig.principal_of(&good);
    assert!(rig.open_as(Some(principal), None, Recover::Off).is_ok());
    rig.now += 20_000;
    let later = stranger(&mut rig, "192.0.2.1").unwrap();
    rig.authenticate(&later, &good);
    assert_eq!(later.next()["type"], "auth_success", "it waits, and is not banned");
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
