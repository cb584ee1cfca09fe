//! The engine's cost of a publication to many recipients, in each dialect with one session per socket.

use std::hint::black_box;
use std::io::{Error, Result};
use std::rc::Rc;
use std::time::Instant;

use realtime_worker::dialect::{Received, butterbase, fluxbase, native, read_configuration};
use realtime_worker::engine::input::{DialectId, Input, SocketId, Stored};
use realtime_worker::engine::tenant::Environment;
use realtime_worker::server::tenant_server::TenantServer;

use super::{Open, PACE, PUBLICATION, open, publish, refused, sent};

/// The number of connections, and of publications; the shortest time counts.
const CONNECTIONS: u32 = 1_000;
const ROUNDS: u32 = 500;
const REALTIME: &str = r#"{ "tables": { "employees": {} },
    "butterbase": { "access": "public", "listeners": -1, "tables": ["*"], "public": ["*"] },
    "fluxbase": { "organization": "org_bench" } }"#;

/// The dialects, each with the frame that subscribes a client, if it needs one.
const DIALECTS: [(&str, DialectId, Option<&str>); 4] = [
    ("native", native::ID, None),
    ("Butterbase", butterbase::ID, Some(r#"{"type":"subscribe","table":"employees"}"#)),
    ("Fluxbase", fluxbase::ID, Some(r#"{"type":"subscribe","config":{"table":"employees"}}"#)),
    ("Fluxbase's channels", fluxbase::ID, Some(r#"{"type":"subscribe","channel":"table:public.employees"}"#)),
];

/// Prints the section.
pub fn print() -> Result<()> {
    for (name, dialect, hello) in DIALECTS {
        let mut server = gather(dialect, hello)?;
        let microseconds = measure(&mut server, name)?;
        let name = format!("fan-out to {CONNECTIONS} connections, {name}");
        println!(r#"{{"name":"{name}","microseconds":{microseconds:.2},"isAimedAt":false}}"#);
    }
    Ok(())
}

fn gather(dialect: DialectId, hello: Option<&str>) -> Result<TenantServer> {
    let variable = |name: &str| match name {
        "ACCESS_TOKEN" | "JWT_SECRET" => Some("a secret of the benchmark, of 32 bytes at least".to_owned()),
        "REALTIME" => Some(REALTIME.to_owned()),
        _ => None,
    };
    let configuration = Rc::new(read_configuration(&variable).map_err(refused)?);
    let environment =
        Environment { now: 0, organization: "org_bench".to_owned(), configuration, epoch: "epoch".to_owned() };
    let (mut server, _) = TenantServer::wake(environment, Stored::default());
    for number in 0..CONNECTIONS {
        server.handle(0, Input::Open(Open { dialect, ..open(number, "member") }));
        if let Some(hello) = hello {
            let input = server.frame(SocketId(number), Received::Text(hello));
            black_box(server.handle(0, input));
        }
    }
    Ok(server)
}

fn measure(server: &mut TenantServer, name: &str) -> Result<f64> {
    let mut shortest = f64::INFINITY;
    for round in 1..=ROUNDS {
        let start = Instant::now();
        let frames = publish(server, u64::from(round) * PACE, PUBLICATION)?;
        shortest = shortest.min(start.elapsed().as_secs_f64());
        if sent(&frames) != CONNECTIONS as usize {
            return Err(Error::other(format!("{name}: {} frames were sent", sent(&frames))));
        }
    }
    Ok(shortest * 1e6)
}
