//! The tables of a database, as its answer to an interest describes them.
//!
//! The text is stored, and during a deploy the other side may be of another version, so it may contain unknown keys.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::Deserialize;

use super::interest::TableName;
use super::or_default;
use crate::code::{Code, Refusal};
use crate::policy::database::Standing;

/// Tables of one group in a report that the database has not described as enabled: clients can make up names, and each of
/// them costs the database a search.
const MAX_OTHER_TABLES: usize = 200;

/// All tables that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    tables: BTreeMap<(String, String), Rc<CatalogTable>>,
}

/// One table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct CatalogTable {
    schema: String,
    table: String,
    #[serde(default, deserialize_with = "or_default")]
    enabled: bool,
    #[serde(default, deserialize_with = "or_default")]
    unknown: bool,
    /// Whether the table has row-level security; assumed if missing.
    #[serde(default, deserialize_with = "or_default")]
    row_security: Option<bool>,
    #[serde(default, deserialize_with = "or_default")]
    columns: Vec<CatalogColumn>,
    #[serde(default, deserialize_with = "or_default")]
    primary_key: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    replica_identity: String,
    #[serde(default, deserialize_with = "or_default")]
    roles: BTreeMap<String, CatalogRole>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct CatalogColumn {
    name: String,
    #[serde(rename = "type")]
    type_name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct CatalogRole {
    #[serde(default, deserialize_with = "or_default")]
    state: String,
}

#[derive(Deserialize)]
struct CatalogText {
    #[serde(default, deserialize_with = "or_default")]
    tables: Vec<CatalogTable>,
}

impl Catalog {
    /// Reads the text of an answer; `None` if it is malformed.
    pub fn read(text: &str) -> Option<Catalog> {
        let CatalogText { tables } = serde_json::from_str(text).ok()?;
        let by_name = |table: CatalogTable| ((table.schema.clone(), table.table.clone()), Rc::new(table));
        Some(Catalog { tables: tables.into_iter().map(by_name).collect() })
    }

    /// A table that the database has enabled.
    pub fn enabled(&self, schema: &str, table: &str) -> Option<&Rc<CatalogTable>> {
        self.get(schema, table).filter(|table| table.enabled)
    }

    /// Whether a principal with this standing may listen to a table.
    ///
    /// # Errors
    /// The code that says what the table lacks.
    pub fn admit(&self, schema: &str, table: &str, standing: &Standing) -> Result<(), Refusal> {
        let known = self.get(schema, table).filter(|known| !known.unknown);
        let known = known.ok_or_else(|| Refusal::of(Code::UnknownTable))?;
        if !known.enabled {
            return Err(Refusal::of(Code::TableNotEnabled));
        }
        let group = match standing {
            Standing::Bypass => return Ok(()),
            Standing::Nobody => return Err(Refusal::of(Code::TableDenied)),
            Standing::Group(group) => group,
        };
        match known.roles.get(&group.role).map(|role| role.state.as_str()) {
            Some("live") => Ok(()),
            Some("no_policy") => Err(Refusal::of(Code::NoPolicy)),
            _ => Err(Refusal::of(Code::TableDenied)),
        }
    }

    /// Removes tables that are not to be reported: names that no table can have, and too many that are not known to be
    /// enabled. Returns whether there were too many.
    pub fn bound(&self, tables: &mut BTreeSet<&TableName>) -> bool {
        tables.retain(|table| is_name(table));
        let named = tables.len();
        if named > MAX_OTHER_TABLES {
            let mut others = 0;
            tables.retain(|(schema, table)| {
                let is_known = (schema == "*" && table == "*") || self.enabled(schema, table).is_some();
                others += usize::from(!is_known);
                is_known || others <= MAX_OTHER_TABLES
            });
        }
        tables.len() < named
    }

    /// Whether a table that could be listened to before no longer can.
    pub fn takes_away(&self, before: &Catalog, is_asked: impl Fn(&str, &str) -> bool) -> bool {
        let is_worse = |old: &CatalogTable| {
            let new = self.get(&old.schema, &old.table);
            let lives = |role: &str| new.is_some_and(|new| new.enabled && new.lets_listen(role));
            old.enabled && old.roles.keys().any(|role| old.lets_listen(role) && !lives(role))
        };
        before.tables.values().any(|old| is_asked(&old.schema, &old.table) && is_worse(old))
    }

    /// Enabled tables without row-level security: every subscriber receives all their rows.
    pub fn without_row_security(&self) -> impl Iterator<Item = &CatalogTable> {
        self.tables.values().map(|table| &**table).filter(|table| table.enabled && table.row_security == Some(false))
    }

    /// Whether a table has no row-level security.
    pub fn is_without_row_security(&self, schema: &str, table: &str) -> bool {
        self.enabled(schema, table).is_some_and(|table| table.row_security == Some(false))
    }

    fn get(&self, schema: &str, table: &str) -> Option<&Rc<CatalogTable>> {
        self.tables.get(&(schema.to_owned(), table.to_owned()))
    }
}

/// Whether PostgreSQL can read the names: it has no text with a zero byte, and one such name would fail a whole report.
pub fn is_name((schema, table): &TableName) -> bool {
    !schema.contains('\0') && !table.contains('\0')
}

impl CatalogTable {
    /// Schema and name.
    pub fn name(&self) -> (&str, &str) {
        (&self.schema, &self.table)
    }

    fn lets_listen(&self, role: &str) -> bool {
        self.roles.get(role).is_some_and(|role| role.state == "live")
    }

    /// The types of its columns.
    pub fn types(&self) -> BTreeMap<String, String> {
        self.columns.iter().map(|column| (column.name.clone(), column.type_name.clone())).collect()
    }

    /// The columns that identify a row.
    pub fn key(&self) -> &[String] {
        &self.primary_key
    }

    /// The columns of an old row that replication would send; `None`: all.
    pub fn identity(&self) -> Option<BTreeSet<String>> {
        match self.replica_identity.as_str() {
            "full" => None,
            "nothing" => Some(BTreeSet::new()),
            _ => Some(self.primary_key.iter().cloned().collect()),
        }
    }
}
