//! The engine's log entries as lines.

use serde_json::{Map, Value};

use crate::engine::effect::Log;

/// A log line: one JSON object of fixed strings, ids and numbers.
pub fn log_line(log: &Log, organization: &str) -> String {
    let mut line = Map::new();
    line.insert("event".to_owned(), Value::from(log.event));
    line.insert("organizationId".to_owned(), Value::from(organization));
    if let Some(connection) = &log.connection {
        line.insert("connection".to_owned(), Value::from(&**connection));
    }
    if let Some(code) = log.code {
        line.insert("code".to_owned(), Value::from(code.as_str()));
    }
    for (name, value) in &log.details {
        line.insert((*name).to_owned(), Value::from(value.as_str()));
    }
    Value::Object(line).to_string()
}
