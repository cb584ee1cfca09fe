//! Requests to a database's object: its own paths, the doorbell, and its state.

use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::request_head::RequestHead;
use crate::code::{Code, Refusal};
use crate::policy::configuration::Configuration;
use crate::source::statement::Statement;

/// A request to a database's object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceCommand {
    /// The doorbell: there are changes.
    Wake,
    /// An organization reports who listens.
    Interest(String),
    /// A question to the database.
    Question(Statement),
}

/// Reads a request. Only the Worker and other objects can send one.
///
/// # Errors
/// When there is no such path, or the body is malformed.
pub fn read(path: &str, body: String) -> Result<SourceCommand, Refusal> {
    Ok(match path {
        "/wake" => SourceCommand::Wake,
        "/interest" => SourceCommand::Interest(body),
        "/judge" => SourceCommand::Question(Statement::Judge(body)),
        "/authorize" => SourceCommand::Question(Statement::Authorize(body)),
        "/status" => SourceCommand::Question(Statement::Status),
        "/tables" => SourceCommand::Question(Statement::of_table(&body).ok_or(Code::InvalidRequest)?),
        _ => return Err(Refusal::of(Code::NotFound)),
    })
}

/// The database that a request with the access token names, or the only one.
///
/// # Errors
/// When there is no database of that name.
pub fn database(head: &RequestHead, configuration: &Configuration) -> Result<String, Refusal> {
    let databases = configuration.databases();
    let database = match head.parameter("database") {
        Some(name) => databases.get(name),
        None => databases.only(),
    };
    let message = "database must name one of REALTIME.databases, with /{app} where each app has its own";
    let database = database.ok_or_else(|| Refusal::at(Code::InvalidRequest, "database", message))?;
    Ok(database.name.to_string())
}

/// The state of the source and of its database, from the database's answer.
pub fn status(figures: Value, status: u16, body: &str) -> Answer {
    let mut answer = figures.as_object().cloned().unwrap_or_default();
    let body: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    let database = match status {
        200 => body,
        _ => {
            // For example, a database without the installed SQL, although the connection works.
            let problem = body.pointer("/error/message").cloned().unwrap_or(Value::Null);
            answer.insert("problem".to_owned(), problem);
            Value::Null
        }
    };
    answer.insert("database".to_owned(), database);
    Answer::json(200, &Value::Object(answer))
}

/// A log line of a database's object.
pub fn log_line(database: &str, event: &str, details: &[(&'static str, String)]) -> String {
    let mut line = Map::new();
    line.insert("event".to_owned(), json!(event));
    line.insert("database".to_owned(), json!(database));
    line.extend(details.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    Value::Object(line).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_failed_is_the_problem_of_the_status() {
        let figures = || json!({ "connection": "listening", "problem": null });
        let body = |answer: Answer| serde_json::from_str::<Value>(&answer.body).unwrap_or_default();
        let failed =
            body(status(figures(), 503, r#"{"error":{"code":"source_unavailable","message":"not_installed"}}"#));
        assert_eq!(failed, json!({ "connection": "listening", "problem": "not_installed", "database": null }));
        let told = body(status(figures(), 200, r#"{"version":11}"#));
        assert_eq!(told, json!({ "connection": "listening", "problem": null, "database": { "version": 11 } }));
    }

    #[test]
    fn only_known_paths_and_bodies_that_make_sense_are_asked() {
        let asked = |path: &str, body: &str| read(path, body.to_owned()).ok();
        assert_eq!(asked("/wake", ""), Some(SourceCommand::Wake));
        assert_eq!(asked("/status", ""), Some(SourceCommand::Question(Statement::Status)));
        assert_eq!(asked("/take", ""), None);
        assert_eq!(asked("/tables", r#"{"action":"drop","schema":"public","table":"t"}"#), None);
        assert_eq!(
            asked("/tables", r#"{"action":"disable","schema":"public","table":"t"}"#),
            Some(SourceCommand::Question(Statement::Disable { schema: "public".to_owned(), table: "t".to_owned() }))
        );
    }
}
