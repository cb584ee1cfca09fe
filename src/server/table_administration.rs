//! What control planes ask an organization's object of its tables, and what it answers: `POST /tables`. Only the Worker can
//! reach it.

use serde::{Deserialize, Serialize};

use super::answer::Answer;
use crate::code::{Code, Refusal};
use crate::engine::effect::{TableState, TablesAnswer};
use crate::engine::input::TableRequest;

/// The path of the object.
pub const PATH: &str = "/tables";

/// The request's body.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Request {
    /// The tables.
    List,
    /// To enable these, all or none.
    Enable {
        /// By schema and name.
        tables: Vec<(String, String)>,
    },
    /// To disable one.
    Disable {
        /// Its schema.
        schema: String,
        /// Its name.
        table: String,
    },
}

/// The body of an answer that is no refusal.
#[derive(Debug, Serialize, Deserialize)]
pub struct Tables {
    /// Every table of which something was asked for.
    pub tables: Vec<Table>,
    /// Whether anybody is connected.
    pub connected: bool,
}

/// One table.
#[derive(Debug, Serialize, Deserialize)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// When it was first asked for, in Unix milliseconds.
    pub created: u64,
    /// When that last changed.
    pub updated: u64,
}

impl Request {
    /// The body's text.
    pub fn text(&self) -> String {
        // Enums of texts always have a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads the body.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(body: &str) -> Result<TableRequest, Refusal> {
        let request = serde_json::from_str(body).map_err(|_| Refusal::of(Code::InvalidRequest))?;
        Ok(match request {
            Request::List => TableRequest::List,
            Request::Enable { tables } => TableRequest::Enable(tables),
            Request::Disable { schema, table } => TableRequest::Disable { schema, table },
        })
    }
}

impl From<&TablesAnswer> for Answer {
    fn from(answer: &TablesAnswer) -> Answer {
        let table = |state: &TableState| Table {
            schema: state.schema.clone(),
            table: state.table.clone(),
            enabled: state.is_enabled,
            created: state.created,
            updated: state.updated,
        };
        let tables = answer.tables.iter().map(table).collect();
        let body = serde_json::to_value(Tables { tables, connected: answer.is_connected });
        Answer::json(200, &body.unwrap_or_default())
    }
}
