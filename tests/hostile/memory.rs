//! What many members take in memory.

use std::rc::Rc;

use realtime_worker::dialect::{native, read_configuration};
use realtime_worker::engine::command::Recover;
use realtime_worker::engine::effect::{Effect, Task};
use realtime_worker::engine::input::{Input, Open, PresenceRow, SocketId, Stored};
use realtime_worker::engine::tenant::Surroundings;
use realtime_worker::policy::principal::Principal;
use realtime_worker::server::tenant_server::TenantServer;

use crate::counting::live;

const MEMBERS: u32 = 20_000;
const METADATA_BYTES: usize = 200;
const MEGABYTE: f64 = 1e6;

fn surroundings() -> Surroundings {
    let variable = |name: &str| match name {
        "ACCESS_TOKEN" | "JWT_SECRET" => Some("a secret of the test, of 32 bytes at least".to_owned()),
        "REALTIME" => Some(r#"{"limits":{"connections":20000,"presenceMembers":20000}}"#.to_owned()),
        _ => None,
    };
    let configuration = Rc::new(read_configuration(&variable).unwrap());
    Surroundings { now: 0, organization: "org_1".to_owned(), configuration, epoch: "e".to_owned() }
}

/// What is beside as many sockets.
fn sockets() -> Vec<(SocketId, String)> {
    let mut server = TenantServer::wake(surroundings(), Stored::default()).0;
    let attach = |number: u32| {
        let opening = Open {
            socket: SocketId(number),
            client_id: format!("{number:032x}"),
            dialect: native::ID,
            principal: Some(Principal { user: Some(format!("usr_{number}")), ..Principal::anonymous("member") }),
            ticket: None,
            recover: Recover::Off,
            batches: false,
            address: None,
        };
        let attached = server.handle(0, Input::Open(opening)).into_iter().find_map(|effect| match effect {
            Effect::Do(Task::Attach { state, .. }) => Some(state),
            _ => None,
        });
        (SocketId(number), attached.unwrap())
    };
    (0..MEMBERS).map(attach).collect()
}

fn member(number: u32) -> PresenceRow {
    PresenceRow {
        client_id: format!("{number:032x}"),
        topic: Some((false, "lobby of the whole organization".to_owned())),
        user: Some(format!("usr_{number}")),
        key: None,
        metadata: "x".repeat(METADATA_BYTES),
    }
}

/// The bytes that an object has once it is awake.
fn awake(sockets: Vec<(SocketId, String)>, presence: Vec<PresenceRow>) -> f64 {
    let before = live();
    let stored = || Stored {
        epoch: Some("e".to_owned()),
        sockets: sockets.clone(),
        presence: presence.clone(),
        ..Stored::default()
    };
    let (mut server, effects) = TenantServer::wake(surroundings(), stored());
    drop(effects);
    drop(server.handle(0, Input::Alarm));
    (live() - before) as f64
}

#[test]
fn twenty_thousand_members_take_less_than_forty_megabytes() {
    let sockets = sockets();
    let silent = awake(sockets.clone(), Vec::new());
    let present = awake(sockets, (0..MEMBERS).map(member).collect());
    let megabytes = (present - silent) / MEGABYTE;
    println!("sockets {:.1} MB, their presence {megabytes:.1} MB", silent / MEGABYTE);
    // With pointers of eight bytes; those of the Wasm have four.
    assert!((10.0..40.0).contains(&megabytes), "{megabytes:.1} MB");
}
