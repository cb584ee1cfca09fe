//! What a client of Supabase may ask for at once, and who loses what for asking more.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use realtime_worker::code::Code;
use realtime_worker::dialect::phoenix::{WIRE_ONE, WIRE_TWO};
use rig::Rig;
use rig::supabase::{join, joined, quiet, socket, try_socket};
use serde_json::{Value, json};

/// Joins of the channels `0` to `count`, as a client sends them that comes back.
fn joins(count: usize) -> Vec<Value> {
    let join =
        |n: usize| json!([n.to_string(), n.to_string(), format!("realtime:{n}"), "phx_join", { "config": quiet() }]);
    (0..count).map(join).collect()
}

#[test]
fn a_socket_that_floods_with_joins_is_closed_and_no_other() {
    let mut rig = Rig::new(&json!({ "limits": { "joinsPerSecond": 5 } }));
    let [mallory, ada] = ["mallory", "ada"].map(|user| socket(&mut rig, WIRE_TWO, user, &["member"]));
    joined(&mut rig, &ada, "1", "room", quiet());
    rig.burst(&mallory, &joins(10));
    assert!(mallory.frames().iter().all(|answer| answer[4]["status"] == "ok"));
    // Other frames are not joins, and the heartbeat goes on.
    rig.frame(&mallory, json!([null, "h", "phoenix", "heartbeat", {}]));
    assert_eq!(mallory.next()[4]["status"], "ok");
    join(&mut rig, &mallory, "11", "another", quiet());
    let reason = json!({ "reason": "ClientJoinRateLimitReached: Too many joins per second" });
    mallory.gets(json!(["11", "11", "realtime:another", "phx_reply", { "status": "error", "response": reason }]));
    mallory.is_closed(1001, "join_limit");
    assert_eq!((ada.closed(), rig.stats()["connections"].clone()), (None, json!(1)));
    // After a second there is room again.
    let ben = socket(&mut rig, WIRE_TWO, "ben", &["member"]);
    rig.burst(&ben, &joins(10));
    rig.advance(1_000);
    rig.burst(&ben, &joins(5));
    assert_eq!(ben.closed(), None);
}

/// A client enters all its channels when it comes back, and after a failed connection each of them twice.
#[test]
fn as_many_channels_as_one_may_have_are_entered_at_once() {
    let mut rig = Rig::new(&json!({}));
    let ada = socket(&mut rig, WIRE_TWO, "ada", &["member"]);
    let twice = [joins(100), joins(100)].concat();
    rig.burst(&ada, &twice);
    let token = rig.token("ada", &["member"]);
    let refresh =
        |n: usize| json!([n.to_string(), "r", format!("realtime:{n}"), "access_token", { "access_token": token }]);
    rig.burst(&ada, &(0..100).map(refresh).collect::<Vec<_>>());
    let answers = ada.frames();
    assert_eq!(answers.iter().filter(|answer| answer[3] == "phx_reply" && answer[4]["status"] == "ok").count(), 200);
    assert_eq!(answers.iter().filter(|answer| answer[3] == "phx_close").count(), 100);
    assert_eq!(ada.closed(), None);
}

#[test]
fn a_full_organization_turns_sockets_away_before_they_are_open() {
    let mut rig = Rig::new(&json!({ "limits": { "connections": 2 } }));
    let ada = socket(&mut rig, WIRE_TWO, "ada", &["member"]);
    // Channels are no connections.
    rig.burst(&ada, &joins(3));
    rig.connect("nat", &["member"]);
    for wire in [WIRE_ONE, WIRE_TWO] {
        let refusal = try_socket(&mut rig, wire, "ben", &["member"]).unwrap_err();
        assert_eq!(refusal.code, Code::ConnectionLimit);
    }
    // Native clients are told in a frame.
    let native = rig.open();
    rig.authenticate(&native, &rig.token("eve", &["member"]));
    native.is_turned_away("connection_limit", 1013);
    rig.disconnect(&ada);
    assert_eq!(rig.stats()["connections"], 1);
    socket(&mut rig, WIRE_TWO, "ben", &["member"]);
}
