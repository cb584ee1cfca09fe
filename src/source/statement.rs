//! The SQL that is sent to the database: single statements without session state, so that a connection pool may be in
//! between.

use crate::value::form::Form;

/// A statement of the SQL interface (docs/postgres.md).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// Register who listens in an organization, as the organization reported it.
    Register(String),
    /// Take the next batch with its verdicts.
    Take {
        /// The batch that all organizations have taken.
        done: Option<u64>,
        /// The maximum number of changes.
        max_changes: u32,
    },
    /// Which groups see these rows now.
    Judge(String),
    /// What a principal may do in a topic.
    Authorize(String),
    /// The state of tables and capture.
    Status,
    /// Synchronize with the publication, and repair drift.
    Sync,
    /// Whether there is a table.
    Find {
        /// The schema.
        schema: String,
        /// The table.
        table: String,
    },
    /// Capture the changes of tables.
    Enable(CaptureSettings),
    /// Stop capturing a table.
    Disable {
        /// The schema.
        schema: String,
        /// The table.
        table: String,
    },
}

/// How tables are captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureSettings {
    /// The schema.
    pub schema: String,
    /// The tables: all are enabled, or none if one does not exist.
    pub tables: Vec<String>,
    /// `INSERT`, `UPDATE`, `DELETE`; `None`: unchanged, initially all.
    pub events: Option<Vec<String>>,
    /// Columns whose values never leave the database; `None`: unchanged, initially none.
    pub exclude: Option<Vec<String>>,
    /// The column that names the organization of a row; `None`: unchanged.
    pub organization_column: Option<String>,
}

/// Returns the missing tables, or enables all of them. Only the selected branch is executed, because neither depends on
/// a row of the outer query.
const ENABLE: &str =
    "select case when absent.names is null then json_build_object('missing', json_build_array(), 'tables',
        (select json_agg(realtime_worker.enable_realtime($1, named.name, $3::text[], $4::text[], $5))
           from unnest($2::text[]) named (name)))
        else json_build_object('missing', absent.names) end::text
    from (select json_agg(named.name) as names from unnest($2::text[]) named (name)
           where realtime_worker.find_table($1, named.name) is null) absent";

impl Statement {
    /// The statement's text and its parameters. All parameters are strings that the statement casts: nothing from a
    /// caller is ever part of the text.
    pub fn sql(&self) -> (&'static str, Vec<Option<String>>) {
        match self {
            Statement::Register(body) => ("select realtime_worker.register($1::json)::text", vec![Some(body.clone())]),
            Statement::Take { done, max_changes } => (
                "select realtime_worker.take($1::bigint, $2::int)::text",
                vec![done.map(|done| done.to_string()), Some(max_changes.to_string())],
            ),
            Statement::Judge(body) => ("select realtime_worker.judge($1::json)::text", vec![Some(body.clone())]),
            Statement::Authorize(body) => {
                ("select realtime_worker.authorize($1::json)::text", vec![Some(body.clone())])
            }
            Statement::Status => ("select realtime_worker.status()::text", Vec::new()),
            Statement::Sync => ("select realtime_worker.sync()::text", Vec::new()),
            Statement::Find { schema, table } => (
                "select json_build_object('found', realtime_worker.find_table($1, $2) is not null)::text",
                vec![Some(schema.clone()), Some(table.clone())],
            ),
            Statement::Enable(settings) => (
                ENABLE,
                vec![
                    Some(settings.schema.clone()),
                    Some(array(&settings.tables)),
                    settings.events.as_deref().map(array),
                    settings.exclude.as_deref().map(array),
                    settings.organization_column.clone(),
                ],
            ),
            Statement::Disable { schema, table } => (
                "select realtime_worker.disable_realtime($1, $2)::text",
                vec![Some(schema.clone()), Some(table.clone())],
            ),
        }
    }

    /// Reads the body of `POST /tables`: `{ action, schema, table | tables, events?, exclude?, organization_column? }`.
    pub fn of_table(body: &str) -> Option<Statement> {
        let mut form = Form::read(body, crate::code::Code::InvalidRequest).ok()?;
        let mut name = |key: &str| form.take(key)?.text().ok();
        let (action, schema, table) = (name("action")?, name("schema")?, name("table"));
        if action == "find" {
            return Some(Statement::Find { schema, table: table? });
        }
        if action == "disable" {
            return Some(Statement::Disable { schema, table: table? });
        }
        let organization_column = name("organization_column");
        let mut list = |key: &str| {
            let list = form.take(key).filter(|list| !list.is_null())?.list(1_000).ok()?;
            Some(list.iter().filter_map(|item| item.text().ok()).collect::<Vec<String>>())
        };
        let (events, exclude) = (list("events"), list("exclude"));
        let tables = list("tables").or_else(|| Some(vec![table?]))?;
        let settings = CaptureSettings { schema, tables, events, exclude, organization_column };
        (action == "enable").then_some(Statement::Enable(settings))
    }
}

/// A list as a PostgreSQL array literal (PostgreSQL documentation, 8.15.6): every element quoted.
fn array(items: &[String]) -> String {
    let quoted = items.iter().map(|item| format!("\"{}\"", item.replace('\\', "\\\\").replace('"', "\\\"")));
    format!("{{{}}}", quoted.collect::<Vec<_>>().join(","))
}
