//! What many members take in memory.

use std::rc::Rc;

use realtime_worker::dialect::{native, read_configuration};
use realtime_worker::engine::command::Recover;
use realtime_worker::engine::effect::{Effect, Task};
use realtime_worker::engine::input::{Input, Open, PresenceRow, SocketId, Stored};
use realtime_worker::engine::tenant::Environment;
use realtime_worker::policy::principal::Principal;
use realtime_worker::server::tenant_server::TenantServer;

use crate::counting::live;

const MEMBERS: u32 = 20_000;
const METADATA_BYTES: usize = 200;
const MEGABYTE: f64 = 1e6;

fn environment() -> Environment {
    let variable = |name: &str| match name {
        "ACCESS_TOKEN" | "JWT_SECRET" => Some("a secret of the test, of 32 bytes at least".to_owned()),
        "REALTIME" => Some(r#"{"limits":{"connections":20000,"presenceMembers":20000}}"#.to_owned()),
        _ => None,
    };
    let configuration = Rc::new(read_configuration(&variable).unwrap());
    Environment { now: 0, organization: "org_1".to_owned(), configuration, epoch: "e".to_owned() }
}

/// What is beside as many sockets.
fn sockets() -> Vec<(SocketId, String)> {
    open_to(&mut TenantServer::wake(environment(), Stored::default()).0)
}

/// Opens as many sockets, and hands over what is attached to them.
fn open_to(server: &mut TenantServer) -> Vec<(SocketId, String)> {
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
    let (mut server, effects) = TenantServer::wake(environment(), stored());
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

/// How many sockets there are, and which of them the wake has closed.
fn woken(sockets: Vec<(SocketId, String)>) -> (u64, Vec<SocketId>) {
    let (server, effects) =
        TenantServer::wake(environment(), Stored { epoch: Some("e".to_owned()), sockets, ..Stored::default() });
    let closed = |effect| if let Effect::Do(Task::Close { socket, .. }) = effect { Some(socket) } else { None };
    (server.sockets(), effects.into_iter().filter_map(closed).collect())
}

#[test]
fn an_idle_socket_takes_less_than_a_kilobyte_opened_or_woken() {
    let per_socket = |bytes: usize| bytes / MEMBERS as usize;
    let mut server = TenantServer::wake(environment(), Stored::default()).0;
    let before = live();
    let sockets = open_to(&mut server);
    let attached: usize = sockets.capacity() * size_of::<(SocketId, String)>()
        + sockets.iter().map(|(_, text)| text.capacity()).sum::<usize>();
    let opened = per_socket(live() - before - attached);
    drop(server);
    let woken = per_socket(awake(sockets, Vec::new()) as usize);
    println!("opened {opened} bytes, woken {woken} bytes");
    // With pointers of eight bytes; those of the Wasm have four.
    assert!((500..1_000).contains(&opened) && (500..1_000).contains(&woken), "opened {opened}, woken {woken}");
}

#[test]
fn attachments_that_come_as_lines_are_those_of_the_sockets_that_follow() {
    let sockets = sockets();
    let lines = |from: usize, to: usize| {
        let texts: Vec<&str> = sockets[from..to].iter().map(|(_, text)| text.as_str()).collect();
        (sockets[from].0, texts.join("\n"))
    };
    let members = sockets.len();
    let whole = vec![lines(0, 300), lines(300, 301), lines(301, members)];
    assert_eq!(woken(whole), (u64::from(MEMBERS), vec![]));
    let (first, text) = lines(0, 3);
    let without = |second: &str| vec![(first, text.replacen(&sockets[1].1, second, 1)), lines(3, 5)];
    for second in ["", "{}", "\"version\""] {
        assert_eq!(woken(without(second)), (4, vec![SocketId(1)]));
    }
    // The last of a text may have nothing attached, and so may one that is alone.
    let (first, two) = lines(0, 2);
    assert_eq!(
        woken(vec![(first, format!("{two}\n")), (SocketId(3), String::new())]),
        (2, vec![SocketId(2), SocketId(3)])
    );
}
