//! Table settings that administrators make at run time, for tables without a database to hold them: whether changes are
//! sent, for which operations, and without which columns.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::code::{Code, Refusal};
use crate::policy::table::{Operation, Tables, distinct, is_system_schema};

/// The name of the stored fact that holds the settings.
pub const FACT: &str = "tables";
/// The version of its text.
const VERSION: u32 = 1;
/// All operations on a row.
pub const OPERATIONS: [Operation; 3] = [Operation::Insert, Operation::Update, Operation::Delete];

/// The settings of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSetting {
    /// Whether its changes are sent.
    pub is_enabled: bool,
    /// Which operations.
    pub operations: BTreeSet<Operation>,
    /// Columns that are never sent.
    pub excluded: BTreeSet<String>,
    /// When it was first set, in Unix milliseconds.
    pub created: u64,
    /// When it was last set, in Unix milliseconds.
    pub updated: u64,
}

/// A declared table with its settings. A time of 0 means the time of the deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableState {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// Its settings.
    pub setting: TableSetting,
}

/// A change of a table's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableChange {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// The change.
    pub act: TableAct,
}

/// What to do with a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableAct {
    /// Send its changes.
    Enable {
        /// Which operations.
        operations: BTreeSet<Operation>,
        /// Columns that are never sent; `None`: as before.
        excluded: Option<BTreeSet<String>>,
    },
    /// Change some of its settings; it must be enabled.
    Update {
        /// Which operations are sent.
        operations: Option<BTreeSet<Operation>>,
        /// Columns that are never sent.
        excluded: Option<BTreeSet<String>>,
    },
    /// Send none of its changes.
    Disable,
}

/// The settings made for a tenant's tables.
#[derive(Clone, Debug, Default)]
pub struct TableSettings {
    set: BTreeMap<(String, String), TableSetting>,
}

#[derive(Serialize, Deserialize)]
struct SettingsText {
    version: u32,
    tables: Vec<TextSetting>,
}

#[derive(Serialize, Deserialize)]
struct TextSetting {
    schema: String,
    table: String,
    enabled: bool,
    operations: Vec<String>,
    excluded: Vec<String>,
    created: u64,
    updated: u64,
}

impl TableSettings {
    /// Reads the stored settings; empty if there are none, or if they are of another version.
    pub fn read(text: Option<&String>) -> TableSettings {
        let text: Option<SettingsText> = text.and_then(|text| serde_json::from_str(text).ok());
        let tables = text.filter(|text| text.version == VERSION).map(|text| text.tables).unwrap_or_default();
        let mut set = BTreeMap::new();
        for one in tables {
            let setting = TableSetting {
                is_enabled: one.enabled,
                operations: operations(&one.operations),
                excluded: distinct(one.excluded),
                created: one.created,
                updated: one.updated,
            };
            set.insert((one.schema, one.table), setting);
        }
        TableSettings { set }
    }

    /// The text to store.
    pub fn text(&self) -> String {
        let one = |((schema, table), setting): (&(String, String), &TableSetting)| TextSetting {
            schema: schema.clone(),
            table: table.clone(),
            enabled: setting.is_enabled,
            operations: setting.operations.iter().map(|operation| operation.as_str().to_owned()).collect(),
            excluded: setting.excluded.iter().cloned().collect(),
            created: setting.created,
            updated: setting.updated,
        };
        let text = SettingsText { version: VERSION, tables: self.set.iter().map(one).collect() };
        // Texts and numbers always have a JSON form.
        serde_json::to_string(&text).unwrap_or_default()
    }

    /// Whether there are no settings.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// The settings of a table; `None` if there are none.
    pub fn of(&self, schema: &str, table: &str) -> Option<&TableSetting> {
        self.set.get(&(schema.to_owned(), table.to_owned()))
    }

    /// All declared tables, sorted by name.
    pub fn states(&self, tables: &Tables) -> Vec<TableState> {
        let state = |(schema, table): (&str, &str)| TableState {
            schema: schema.to_owned(),
            table: table.to_owned(),
            setting: self.setting(schema, table, tables),
        };
        tables.declared().filter(|(schema, _)| !is_system_schema(schema)).map(state).collect()
    }

    /// Changes the settings of a table.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`] for a schema of the database system, [`Code::UnknownTable`], or
    /// [`Code::TableNotEnabled`] for an update of a table that is not enabled.
    pub fn change(&mut self, now: u64, change: TableChange, tables: &Tables) -> Result<(), Refusal> {
        let TableChange { schema, table, act } = change;
        if is_system_schema(&schema) {
            return Err(Refusal::at(Code::InvalidRequest, "schema", "The schema's tables are the database's own."));
        }
        if !tables.is_declared(&schema, &table) {
            return Err(Refusal::of(Code::UnknownTable));
        }
        let mut setting = self.setting(&schema, &table, tables);
        match act {
            TableAct::Enable { operations, excluded } => {
                (setting.is_enabled, setting.operations) = (true, operations);
                setting.excluded = excluded.unwrap_or(setting.excluded);
            }
            TableAct::Update { .. } if !setting.is_enabled => return Err(Refusal::of(Code::TableNotEnabled)),
            TableAct::Update { operations, excluded } => {
                setting.operations = operations.unwrap_or(setting.operations);
                setting.excluded = excluded.unwrap_or(setting.excluded);
            }
            TableAct::Disable => setting.is_enabled = false,
        }
        setting.updated = now;
        if setting.created == 0 {
            setting.created = now;
        }
        self.set.insert((schema, table), setting);
        Ok(())
    }

    /// The settings of a declared table: enabled as declared unless set otherwise.
    fn setting(&self, schema: &str, table: &str, tables: &Tables) -> TableSetting {
        let declared = || {
            let rules = tables.get(schema, table);
            let mut operations = BTreeSet::new();
            operations.extend(OPERATIONS.into_iter().filter(|operation| rules.announces(*operation)));
            TableSetting { is_enabled: true, operations, excluded: BTreeSet::new(), created: 0, updated: 0 }
        };
        self.of(schema, table).cloned().unwrap_or_else(declared)
    }
}

fn operations(words: &[String]) -> BTreeSet<Operation> {
    let mut operations = BTreeSet::new();
    operations.extend(words.iter().filter_map(|word| Operation::named(word)));
    operations
}
