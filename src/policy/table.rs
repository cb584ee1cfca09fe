//! The rules of a table in the configuration: who receives its changes, which rows, which columns, masked how.

use std::collections::{BTreeMap, BTreeSet};

use super::filter::ColumnType;
use super::limits::NAME_BYTES;
use super::masking::{MAX_ROLES, Masking};
use super::visibility::Visibility;
use crate::code::Refusal;
use crate::value::form::{Field, Form};

/// The default schema.
pub const DEFAULT_SCHEMA: &str = "public";
/// The default primary key column.
pub const PRIMARY_KEY: &str = "id";
/// The schemas of the database system, of credentials and of the realtime installation.
pub const SYSTEM_SCHEMAS: [&str; 4] = ["pg_catalog", "information_schema", "auth", "realtime"];
/// Columns that one list may name.
pub const MAX_COLUMNS: usize = 1_000;

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// The row is new, or has become visible.
    Insert,
    /// The row has changed.
    Update,
    /// The row is gone, or has become invisible.
    Delete,
}

impl Operation {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Insert => "INSERT",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
        }
    }

    /// The operation with this name.
    pub fn named(word: &str) -> Option<Operation> {
        [Operation::Insert, Operation::Update, Operation::Delete]
            .into_iter()
            .find(|operation| operation.as_str() == word)
    }
}

/// Who receives the deletion of a row of a database's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deletes {
    /// Those who could see it: the database's policies judge the old row.
    #[default]
    Policy,
    /// Every subscriber of the table; they receive only the primary key.
    Key,
}

/// The rules of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Roles of which a subscriber must hold one; `None`: everyone in the organization.
    pub required_roles: Option<Vec<String>>,
    /// The columns that are sent; `None`: all.
    pub fields: Option<BTreeSet<String>>,
    /// The masking rules.
    pub masking: Masking,
    /// The visibility rules.
    pub visibility: Visibility,
    /// The column that names the owner; it takes precedence over the request's.
    pub owner_field: Option<String>,
    /// The columns that identify a row.
    pub primary_key: Vec<String>,
    /// Declared types by column, such as `int8`.
    pub columns: BTreeMap<String, String>,
    /// Whether changes are retained for recovery.
    pub history: bool,
    /// Who receives the deletion of a database's row; `None` if the configuration does not assign the table to a
    /// database.
    pub deletes: Option<Deletes>,
    operations: [bool; 3],
}

impl Default for Table {
    /// A table without configuration: only its publisher's rules apply.
    fn default() -> Self {
        Table {
            required_roles: None,
            fields: None,
            masking: Masking::default(),
            visibility: Visibility::default(),
            owner_field: None,
            primary_key: vec![PRIMARY_KEY.to_owned()],
            columns: BTreeMap::new(),
            history: true,
            deletes: None,
            operations: [true; 3],
        }
    }
}

impl Table {
    /// Reads the table's object.
    ///
    /// # Errors
    /// On an unknown key or a wrong type, with its path.
    pub fn read(field: &Field<'_>) -> Result<Table, Refusal> {
        let mut form = field.form()?;
        let flag = |form: &mut Form<'_>, name: &str| form.take(name).map_or(Ok(true), |value| value.boolean());
        let table = Table {
            required_roles: form.take("requiredRoles").map(|roles| roles.texts(MAX_ROLES)).transpose()?,
            fields: form.take("fields").map(|fields| fields.texts(MAX_COLUMNS)).transpose()?.map(distinct),
            masking: form.take("masking").map(|masking| Masking::read(&masking)).transpose()?.unwrap_or_default(),
            visibility: form.take("rows").map(|rows| Visibility::read(&rows)).transpose()?.unwrap_or_default(),
            owner_field: form.take("ownerField").map(|column| column.name(NAME_BYTES)).transpose()?,
            primary_key: primary_key(&mut form)?,
            columns: form.take("columns").map(|columns| known_types(&columns)).transpose()?.unwrap_or_default(),
            history: flag(&mut form, "history")?,
            deletes: form.take("deletes").map(|deletes| Deletes::read(&deletes)).transpose()?,
            operations: [flag(&mut form, "onInsert")?, flag(&mut form, "onUpdate")?, flag(&mut form, "onDelete")?],
        };
        form.finish()?;
        table.check_columns(field)?;
        Ok(table)
    }

    /// Whether changes of this kind are sent.
    pub fn announces(&self, operation: Operation) -> bool {
        let [insert, update, delete] = self.operations;
        match operation {
            Operation::Insert => insert,
            Operation::Update => update,
            Operation::Delete => delete,
        }
    }

    /// Whether a rule restricts who receives the table's changes.
    pub fn has_policy(&self) -> bool {
        self.required_roles.is_some() || !self.visibility.is_open()
    }

    /// The declared type of a column, for comparisons.
    pub fn column_type(&self, column: &str) -> Option<ColumnType> {
        // Unknown types were refused with the configuration.
        self.columns.get(column).map(|name| ColumnType::named(name).unwrap_or(ColumnType::Incomparable))
    }

    /// Refuses a rule about a column that is not declared: it would protect nothing.
    fn check_columns(&self, field: &Field<'_>) -> Result<(), Refusal> {
        if self.columns.is_empty() {
            return Ok(());
        }
        let is_declared = |column: &str| self.columns.contains_key(column);
        let is_declared_path = |path: &str| {
            let ends = path.match_indices('.').map(|(end, _)| end).chain([path.len()]);
            ends.filter_map(|end| path.get(..end)).any(is_declared)
        };
        let fields = self.fields.iter().flatten().map(|column| ("fields", column.as_str(), is_declared(column)));
        let masks = self.masking.fields().map(|path| ("masking", path, is_declared_path(path)));
        let owner = self.owner_field.iter().map(|column| ("ownerField", column.as_str(), is_declared(column)));
        let rows = self.visibility.matched().map(|pair| ("rows", pair.column.as_str(), is_declared(&pair.column)));
        match fields.chain(masks).chain(owner).chain(rows).find(|(_, _, is_declared)| !is_declared) {
            Some((rule, column, _)) => {
                Err(field.refuse(&format!("has {rule} for {column}, which columns does not declare")))
            }
            None => Ok(()),
        }
    }
}

impl Deletes {
    fn read(field: &Field<'_>) -> Result<Deletes, Refusal> {
        match field.text()?.as_str() {
            "policy" => Ok(Deletes::Policy),
            "key" => Ok(Deletes::Key),
            _ => Err(field.refuse("must be \"policy\" or \"key\"")),
        }
    }
}

/// Whether a schema belongs to the database system, or has credentials.
pub fn is_system_schema(schema: &str) -> bool {
    SYSTEM_SCHEMAS.contains(&schema)
}

/// A set of strings. Inserting one by one avoids the sorting code that `collect` would add to the Wasm.
pub(crate) fn distinct(texts: Vec<String>) -> BTreeSet<String> {
    let mut set = BTreeSet::new();
    set.extend(texts);
    set
}

fn primary_key(form: &mut Form<'_>) -> Result<Vec<String>, Refusal> {
    let Some(field) = form.take("primaryKey") else { return Ok(vec![PRIMARY_KEY.to_owned()]) };
    let columns = field.texts(MAX_COLUMNS)?;
    let distinct = distinct(columns.clone()).len() == columns.len();
    let named = !columns.is_empty() && columns.iter().all(|column| !column.is_empty());
    if distinct && named { Ok(columns) } else { Err(field.refuse("must list one or several columns, each once")) }
}

/// Reads `{ column: type }` with types that comparisons know.
fn known_types(field: &Field<'_>) -> Result<BTreeMap<String, String>, Refusal> {
    for (_, value) in field.form()?.rest() {
        if ColumnType::named(&value.name(NAME_BYTES)?).is_none() {
            return Err(value.refuse("is no known column type; declare \"text\" for one that is compared as text"));
        }
    }
    types(field)
}

/// Reads `{ column: type }`.
///
/// # Errors
/// On a type that is not a short string.
pub(crate) fn types(field: &Field<'_>) -> Result<BTreeMap<String, String>, Refusal> {
    let columns = field.form()?.rest();
    let mut types = BTreeMap::new();
    for (name, value) in columns {
        types.insert(name, value.name(NAME_BYTES)?);
    }
    Ok(types)
}

/// The tables of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    tables: BTreeMap<String, Table>,
    /// Qualified names by their form without case and white space.
    folded: BTreeMap<String, String>,
    /// Whether unconfigured tables are refused.
    refuses_unknown: bool,
    unknown: Table,
}

impl Tables {
    /// Reads `{ name: table }`; a name is `table`, which is in schema `public`, or `schema.table`.
    ///
    /// # Errors
    /// On a malformed table or one that is named twice, with its path.
    pub fn read(field: &Field<'_>) -> Result<Tables, Refusal> {
        let mut tables = BTreeMap::new();
        for (name, value) in field.form()?.rest() {
            // `t` and `public.t` are one table; with both, the rules of one would silently not apply.
            if tables.insert(qualified(&name), Table::read(&value)?).is_some() {
                return Err(value.refuse("is named twice"));
            }
        }
        let folded = tables.keys().map(|name| (folded(name), name.clone())).collect();
        Ok(Tables { tables, folded, ..Tables::default() })
    }

    /// The same tables, and whether any other is refused (`unknownTables`).
    pub fn refusing_unknown(self, refuses_unknown: bool) -> Tables {
        Tables { refuses_unknown, ..self }
    }

    /// Whether changes of a table may be published: a name that differs from a configured one only in case or white
    /// space would bypass all its rules.
    ///
    /// # Errors
    /// What is wrong with the table's name.
    pub fn check(&self, schema: &str, table: &str) -> Result<(), &'static str> {
        let name = format!("{schema}.{table}");
        if self.tables.contains_key(&name) {
            return Ok(());
        }
        if self.folded.contains_key(&folded(&name)) {
            return Err("differs from a configured table in case or white space only");
        }
        if self.refuses_unknown { Err("is not configured, and unknownTables is \"refuse\"") } else { Ok(()) }
    }

    /// The rules of a table.
    pub fn get(&self, schema: &str, table: &str) -> &Table {
        self.tables.get(&format!("{schema}.{table}")).unwrap_or(&self.unknown)
    }

    /// Lets holders of a role receive every row of every table. Masks still apply to them.
    pub fn admit_everywhere(&mut self, role: &str) {
        for table in self.tables.values_mut() {
            table.required_roles.iter_mut().for_each(|roles| roles.push(role.to_owned()));
            table.visibility.admit(role);
        }
    }

    /// Schema and name of every declared table, in their order.
    pub fn declared(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tables.keys().filter_map(|name| name.split_once('.'))
    }

    /// Whether a table is declared; for `*`, whether any is.
    pub fn is_declared(&self, schema: &str, table: &str) -> bool {
        schema == "*" || table == "*" || self.tables.contains_key(&format!("{schema}.{table}"))
    }

    /// The rules of an undeclared table: none.
    pub fn unknown(&self) -> &Table {
        &self.unknown
    }

    /// Whether the configuration names this table.
    pub fn is_configured(&self, schema: &str, table: &str) -> bool {
        self.tables.contains_key(&format!("{schema}.{table}"))
    }

    /// A table that is assigned to a database, if there is one.
    pub fn of_database(&self) -> Option<&str> {
        let mut named = self.tables.iter().filter(|(_, table)| table.deletes.is_some());
        named.next().map(|(name, _)| name.as_str())
    }

    /// The claims that row rules refer to.
    pub fn claims(&self, names: &mut BTreeSet<String>) {
        self.tables.values().for_each(|table| table.visibility.claims(names));
    }
}

fn folded(name: &str) -> String {
    name.split_whitespace().collect::<String>().to_lowercase()
}

fn qualified(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { format!("{DEFAULT_SCHEMA}.{name}") }
}
