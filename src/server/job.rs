//! What the shell has to do: the engine's tasks, and its events as frames.

use serde_json::{Map, Value};

use crate::dialect::{self, Frame};
use crate::engine::effect::{Effect, Log, Task};
use crate::engine::input::SocketId;

/// One thing to do. Jobs are done in their order.
#[derive(Clone, Debug)]
pub enum Job {
    /// Send one frame to several sockets.
    Send {
        /// Whom.
        to: Vec<SocketId>,
        /// The same bytes for all.
        frame: Frame,
    },
    /// Do what the engine says.
    Do(Task),
}

impl Job {
    /// Adds the jobs of an effect.
    pub fn add(effect: Effect, jobs: &mut Vec<Job>) {
        match effect {
            Effect::Deliver { to, wire, address, event } => {
                let Some(dialect) = dialect::of(wire) else { return };
                let mut frames = dialect.encode(address.as_ref(), &event);
                let last = frames.pop();
                jobs.extend(frames.into_iter().map(|frame| Job::Send { to: to.clone(), frame }));
                jobs.extend(last.map(|frame| Job::Send { to, frame }));
            }
            Effect::Do(task) => jobs.push(Job::Do(task)),
        }
    }
}

/// A log line: one JSON object of fixed words, ids and numbers.
pub fn log_line(log: &Log, organization: &str) -> String {
    let mut line = Map::new();
    line.insert("event".to_owned(), Value::from(log.event));
    line.insert("organizationId".to_owned(), Value::from(organization));
    if let Some(connection) = &log.connection {
        line.insert("connection".to_owned(), Value::from(&**connection));
    }
    if let Some(code) = log.code {
        line.insert("code".to_owned(), Value::from(code.wire()));
    }
    for (name, value) in &log.details {
        line.insert((*name).to_owned(), Value::from(value.as_str()));
    }
    Value::Object(line).to_string()
}
