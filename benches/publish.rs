//! What a publication costs the engine, from the request's text to the frames: one line of JSON for each number of
//! connections. `cargo xtask bench` runs it and shows it beside what the Worker costs on workerd.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock, and it never runs as Wasm")]

mod fan_out;
mod growth;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{Error, Result};
use std::rc::Rc;
use std::time::Instant;

use realtime_worker::code::Refusal;
use realtime_worker::dialect::native::ID;
use realtime_worker::dialect::read_configuration;
use realtime_worker::engine::command::Recover;
use realtime_worker::engine::effect::Effect;
use realtime_worker::engine::input::{Input, Open, SocketId, Stored};
use realtime_worker::engine::tenant::Surroundings;
use realtime_worker::policy::principal::{Method, Principal};
use realtime_worker::policy::roles::Roles;
use realtime_worker::server::outgoing::Outgoing;
use realtime_worker::server::publish::PublishRequest;
use realtime_worker::server::tenant_server::TenantServer;

/// One change with three masked fields, which look different to each of the roles.
const PUBLICATION: &str = include_str!("../miniflare/bench/publication.json");
const ROLES: [&str; 3] = ["admin", "hr", "member"];
/// Publications whose time is taken together, and how often it is. The shortest time counts: the clock goes on while
/// other programs have the core, so all that they can do is make it longer.
const BATCH: u32 = 100;
const BATCHES: usize = 200;
/// Milliseconds between two publications, so that the rate limit never refuses one.
const PACE: u64 = 10;

fn main() -> Result<()> {
    for (connections, name) in [
        (0, "publishing to nobody"),
        (ROLES.len(), "publishing to 3 roles, 1 connection each"),
        (1_000, "publishing to 3 roles, 1000 connections"),
        (10_000, "publishing to 3 roles, 10000 connections"),
    ] {
        // What stays the same for every connection more is the runtime's to send; the aim is at the rest.
        let is_aimed_at = connections <= ROLES.len();
        let microseconds = measure(connections)?;
        println!(r#"{{"name":"{name}","microseconds":{microseconds:.2},"isAimedAt":{is_aimed_at}}}"#);
    }
    fan_out::print()?;
    growth::print()
}

/// Microseconds of one publication to this many connections.
fn measure(connections: usize) -> Result<f64> {
    let mut server = serve(connections)?;
    let mut now = 1;
    let mut shortest = f64::INFINITY;
    for _ in 0..BATCHES {
        let start = Instant::now();
        for _ in 0..BATCH {
            now += PACE;
            black_box(publish(&mut server, now, PUBLICATION)?);
        }
        shortest = shortest.min(start.elapsed().as_secs_f64());
    }
    Ok(shortest * 1e6 / f64::from(BATCH))
}

fn publish(server: &mut TenantServer, now: u64, text: &str) -> Result<Vec<Outgoing>> {
    let request = PublishRequest::read(black_box(text)).map_err(refused)?;
    let publish = Input::Publish { publications: request.publications, remembered: BTreeMap::new() };
    let mut frames = Vec::new();
    for effect in server.handle(now, publish) {
        match effect {
            Effect::Deliver { to, dialect, address, event, .. } => {
                frames.extend(Outgoing::of(to, dialect, address.as_ref(), &event));
            }
            Effect::Do(task) => drop(black_box(task)),
        }
    }
    Ok(frames)
}

/// A tenant whose connections hold one of the roles, in turn, and receive what is published.
fn serve(connections: usize) -> Result<TenantServer> {
    let mut server = tenant()?;
    for (number, role) in (0..).zip(ROLES.into_iter().cycle()).take(connections) {
        server.handle(0, Input::Open(open(number, role)));
    }
    let delivered = sent(&publish(&mut server, 1, PUBLICATION)?);
    if delivered == connections { Ok(server) } else { Err(Error::other(format!("{delivered} frames were sent"))) }
}

/// A tenant without connections.
fn tenant() -> Result<TenantServer> {
    Ok(TenantServer::wake(surroundings()?, Stored::default()).0)
}

fn surroundings() -> Result<Surroundings> {
    let variable = |name: &str| match name {
        "ACCESS_TOKEN" | "JWT_SECRET" => Some("a secret of the benchmark, of 32 bytes at least".to_owned()),
        _ => None,
    };
    Ok(Surroundings {
        now: 0,
        organization: "org_bench".to_owned(),
        configuration: Rc::new(read_configuration(&variable).map_err(refused)?),
        epoch: "0123456789abcdef".to_owned(),
    })
}

fn open(number: u32, role: &str) -> Open {
    let principal = Principal {
        user: Some(format!("usr_{number}")),
        roles: Roles::new([role.to_owned()]),
        method: Method::Session,
        expires: None,
        claims: BTreeMap::new(),
        all_claims: None,
        grants: Default::default(),
    };
    Open {
        socket: SocketId(number),
        client_id: format!("client_{number}"),
        dialect: ID,
        principal: Some(principal),
        ticket: None,
        recover: Recover::Off,
        batches: false,
        address: None,
    }
}

/// Frames that are sent.
fn sent(frames: &[Outgoing]) -> usize {
    frames.iter().map(|frame| frame.to.len()).sum()
}

fn refused(refusal: Refusal) -> Error {
    Error::other(refusal.message)
}
