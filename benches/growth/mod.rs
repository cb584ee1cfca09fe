//! The cost of other connections: one change whose cost must not grow with connections that do not receive it, and only
//! linearly with those that do.

mod judged;
mod wake;

use std::hint::black_box;
use std::io::{Error, Result};
use std::time::Instant;

use realtime_worker::dialect::Received;
use realtime_worker::dialect::phoenix::V2;
use realtime_worker::engine::input::{DialectId, Input, SocketId};
use realtime_worker::server::tenant_server::TenantServer;

use super::{ID, Open, PACE, environment, open, publish, refused, sent, tenant};

/// Numbers of connections.
const SIZES: [u32; 3] = [10, 1_000, 10_000];
/// How often each is measured; the shortest time counts.
const ROUNDS: u32 = 50;
const CHANGE: &str = r#"{"organizationId":"org_bench","type":"postgres_changes","table":"tasks","eventType":"INSERT",
    "new":{"id":7,"user_id":"usr_1","title":"Write the figures down","done":false}}"#;
const MESSAGE: &str = r#"{"organizationId":"org_bench","type":"broadcast","event":"moved","topic":"room:1",
    "private":false,"payload":{"x":1,"y":2}}"#;

/// Connections that each subscribe to something of their own.
struct Crowd {
    name: &'static str,
    dialect: DialectId,
    /// The frame with which a connection of this number subscribes.
    listen: fn(u32) -> String,
    publication: &'static str,
    /// Whether all of them receive it, or only one.
    reaches_all: bool,
}

const CROWDS: [Crowd; 3] = [
    Crowd {
        name: "each its own filter, 1 recipient",
        dialect: ID,
        listen: |number| {
            format!(r#"{{"type":"subscribe","id":"s","table":"tasks","filter":"user_id=eq.usr_{number}"}}"#)
        },
        publication: CHANGE,
        reaches_all: false,
    },
    Crowd {
        name: "each its own channel name, all receive",
        dialect: V2,
        listen: |number| {
            format!(
                r#"["1","1","realtime:own-{number}","phx_join",{{"config":{{"presence":{{"enabled":false}},"postgres_changes":[{{"event":"*","schema":"public","table":"tasks"}}]}}}}]"#
            )
        },
        publication: CHANGE,
        reaches_all: true,
    },
    Crowd {
        name: "each its own topic, 1 recipient",
        dialect: ID,
        listen: |number| format!(r#"{{"type":"subscribe","id":"s","topic":"room:{number}","private":false}}"#),
        publication: MESSAGE,
        reaches_all: false,
    },
];

/// Prints the section.
pub fn print() -> Result<()> {
    for crowd in &CROWDS {
        for size in SIZES {
            let (mut server, joining) = crowd.gather(size)?;
            let microseconds = crowd.measure(&mut server, size)?;
            line(&format!("{}, {size} connections", crowd.name), microseconds);
            if size == 10_000 {
                line(&format!("{}, one joins {size}", crowd.name), joining);
            }
        }
    }
    judged::print()?;
    wake::print()
}

fn line(name: &str, microseconds: f64) {
    println!(r#"{{"name":"growth: {name}","microseconds":{microseconds:.2},"isAimedAt":false}}"#);
}

impl Crowd {
    /// A tenant with these connections, and the microseconds to open and subscribe one.
    fn gather(&self, size: u32) -> Result<(TenantServer, f64)> {
        let mut server = tenant()?;
        let start = Instant::now();
        for number in 0..size {
            server.handle(0, Input::Open(Open { dialect: self.dialect, ..open(number, "member") }));
            let text = (self.listen)(number);
            let frame = Received::Text(&text);
            let input = server.frame(SocketId(number), frame);
            black_box(server.handle(0, input));
        }
        Ok((server, start.elapsed().as_secs_f64() * 1e6 / f64::from(size)))
    }

    fn measure(&self, server: &mut TenantServer, size: u32) -> Result<f64> {
        let mut shortest = f64::INFINITY;
        let expected = if self.reaches_all { size } else { 1 };
        for round in 0..ROUNDS {
            let start = Instant::now();
            let frames = publish(server, 1_000_000 + u64::from(round) * PACE, self.publication)?;
            shortest = shortest.min(start.elapsed().as_secs_f64());
            let delivered = sent(&frames);
            if delivered != expected as usize {
                return Err(Error::other(format!("{}: {delivered} frames were sent to {size}", self.name)));
            }
        }
        Ok(shortest * 1e6)
    }
}
