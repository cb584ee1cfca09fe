//! The cost of a wake with thousands of sockets: their attachments are read, and their sessions indexed.

use std::hint::black_box;
use std::io::{Error, Result};
use std::time::Instant;

use realtime_worker::dialect::Received;
use realtime_worker::engine::effect::{Effect, Task};
use realtime_worker::engine::input::{Input, SocketId, Stored};
use realtime_worker::server::tenant_server::TenantServer;

use super::{environment, line, open, tenant};

const SOCKETS: u32 = 10_000;
const ROUNDS: u32 = 20;

/// Prints the section: microseconds per wake.
pub fn print() -> Result<()> {
    for (name, listen) in [
        ("nothing subscribed", ""),
        ("a topic each", r#"{"type":"subscribe","id":"s","topic":"room:{}","private":false}"#),
    ] {
        let sockets = attachments(listen)?;
        let mut shortest = f64::INFINITY;
        for _ in 0..ROUNDS {
            let stored = Stored { epoch: Some("e".to_owned()), sockets: sockets.clone(), ..Stored::default() };
            let environment = environment()?;
            let start = Instant::now();
            black_box(TenantServer::wake(environment, stored));
            shortest = shortest.min(start.elapsed().as_secs_f64());
        }
        line(&format!("a wake with {SOCKETS} sockets, {name}"), shortest * 1e6);
    }
    Ok(())
}

/// The attachments of this many sockets, each of which has sent `listen` with its own number.
fn attachments(listen: &str) -> Result<Vec<(SocketId, String)>> {
    let mut server = tenant()?;
    let mut attachments = Vec::new();
    for number in 0..SOCKETS {
        let mut effects = server.handle(0, Input::Open(open(number, "member")));
        if !listen.is_empty() {
            let text = listen.replace("{}", &number.to_string());
            let frame = server.frame(SocketId(number), Received::Text(&text));
            effects.extend(server.handle(0, frame));
        }
        let attached = effects.into_iter().rev().find_map(|effect| match effect {
            Effect::Do(Task::Attach { state, .. }) => Some(state),
            _ => None,
        });
        attachments.push((SocketId(number), attached.ok_or_else(|| Error::other("nothing was attached"))?));
    }
    Ok(attachments)
}
