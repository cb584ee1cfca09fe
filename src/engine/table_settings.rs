//! Tables as administrators set them at run time, where no database says it: whether their changes flow, which of them,
//! and without which columns. Dialects whose clients administer tables go by it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::code::{Code, Refusal};
use crate::policy::table::{Operation, Tables, distinct, is_system_schema};

/// The fact under which a wake finds the settings.
pub const FACT: &str = "tables";
/// The version of their text.
const VERSION: u32 = 1;
/// Everything that can happen to a row.
pub const OPERATIONS: [Operation; 3] = [Operation::Insert, Operation::Update, Operation::Delete];

/// A table as it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSetting {
    /// Whether its changes flow.
    pub is_enabled: bool,
    /// Which of them.
    pub operations: BTreeSet<Operation>,
    /// Columns that do not leave.
    pub excluded: BTreeSet<String>,
    /// When it was first set, in Unix milliseconds.
    pub created: u64,
    /// When it was last set, in Unix milliseconds.
    pub updated: u64,
}

/// A declared table and how it is set; 0 stands for the time of the deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableState {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// How it is set.
    pub setting: TableSetting,
}

/// What an administrator does with a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableChange {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// What is done.
    pub act: TableAct,
}

/// What is done with a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableAct {
    /// Its changes flow.
    Enable {
        /// Which of them.
        operations: BTreeSet<Operation>,
        /// Columns that do not leave; `None`: those that were excluded before.
        excluded: Option<BTreeSet<String>>,
    },
    /// Some of its settings change; it must be enabled.
    Update {
        /// Which changes flow.
        operations: Option<BTreeSet<Operation>>,
        /// Columns that do not leave.
        excluded: Option<BTreeSet<String>>,
    },
    /// Nothing flows any more.
    Disable,
}

/// What was set of a tenant's tables.
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
    /// Reads what was stored; nothing where there is nothing, or a text of another version.
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

    /// What is stored.
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

    /// Whether nobody has set any.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// How a table is set; `None` where nobody has set it.
    pub fn of(&self, schema: &str, table: &str) -> Option<&TableSetting> {
        self.set.get(&(schema.to_owned(), table.to_owned()))
    }

    /// All declared tables, in the order of their names.
    pub fn states(&self, tables: &Tables) -> Vec<TableState> {
        let state = |(schema, table): (&str, &str)| TableState {
            schema: schema.to_owned(),
            table: table.to_owned(),
            setting: self.setting(schema, table, tables),
        };
        tables.declared().filter(|(schema, _)| !is_system_schema(schema)).map(state).collect()
    }

    /// Changes how a table is set.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`] for a schema of the database's own, [`Code::UnknownTable`], or [`Code::TableNotEnabled`]
    /// where what is not enabled should change.
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

    /// How a declared table is set: where nobody has, its declaration enables it.
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
