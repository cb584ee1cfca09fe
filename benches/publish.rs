//! The engine's cost of a publication, from the request's text to the frames: one line of JSON for each number of
//! connections. `cargo xtask bench` runs it and shows it beside the Worker's cost on workerd.
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
use realtime_worker::engine::tenant::Environment;
use realtime_worker::policy::principal::{Method, Principal};
use realtime_worker::policy::roles::Roles;
use realtime_worker::server::outgoing::Outgoing;
use realtime_worker::server::publish::PublishRequest;
use realtime_worker::server::tenant_server::TenantServer;

/// One change with three masked fields, which each of the roles sees differently.
const PUBLICATION: &str = include_str!("../miniflare/bench/publication.json");
const ROLES: [&str; 3] = ["admin", "hr", "member"];
/// How many publications are timed together, and how often. The shortest time counts, because other programs can only
/// make it longer.
const BATCH: u32 = 100;
const BATCHES: usize = 200;
/// Milliseconds between two publications, so that the rate limit never rejects one.
const PACE: u64 = 10;

fn main() -> Result<()> {
    for (connections, name) in [
        (0, "publishing to nobody"),
        (ROLES.len(), "publishing to 3 roles, 1 connection each"),
        (1_000, "publishing to 3 roles, 1000 connections"),
        (10_000, "publishing to 3 roles, 10000 connections"),
    ] {
        // The cost per connection is the runtime's, which sends the frames; the aim concerns the rest.
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

/// A tenant whose connections each hold one of the roles, in turn, and receive the publications.
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
    Ok(TenantServer::wake(environment()?, Stored::default()).0)
}

fn environment() -> Result<Environment> {
    let variable = |name: &str| match name {
        "ACCESS_TOKEN" | "JWT_SECRET" => Some("a secret of the benchmark, of 32 bytes at least".to_owned()),
        _ => None,
    };
    Ok(Environment {
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

/// The number of frames sent.
fn sent(frames: &[Outgoing]) -> usize {
    frames.iter().map(|frame| frame.to.len()).sum()
}

fn refused(refusal: Refusal) -> Error {
    Error::other(refusal.message)
}
