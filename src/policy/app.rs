//! Apps: what a deployment says of the organizations that are opened at `/v1/{app}/realtime` (docs/protocol-butterbase.md).

use std::collections::{BTreeMap, BTreeSet};

use super::function::Functions;
use super::limits::NAME_BYTES;
use super::organization::is_organization;
use super::roles::Roles;
use super::table::MAX_COLUMNS;
use crate::code::Refusal;
use crate::value::form::{Field, Form};

/// What the issuer of an app's end users is called, before the app's id.
pub const ISSUER: &str = "butterbase:app:";
/// The only algorithm with which such an issuer signs.
pub const ALGORITHM: &str = "RS256";
/// The role of whoever brings no credential.
pub const ANONYMOUS: &str = "butterbase_anon";
/// The role of an end user.
pub const USER: &str = "butterbase_user";
/// The role of a service key: no row rule holds it back.
pub const SERVICE: &str = "butterbase_service";
/// What roles begin with that no token of an end user can give.
const RESERVED: &str = "butterbase_";
/// Listeners of an app for which the deployment names no number: those of the smallest plan.
pub const MIN_LISTENERS: u64 = 20;
/// What stands for every table in a list of tables.
const EVERY_TABLE: &str = "*";

/// The apps of a deployment.
#[derive(Clone, Debug, Default)]
pub struct Apps {
    others: App,
    declared: BTreeMap<String, App>,
}

/// What a deployment says of one app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// The database that its tables are in, of those that the deployment names.
    pub database: Option<String>,
    /// Whether someone may come without a credential.
    pub anonymous: bool,
    /// Sockets that it may have at once; `None`: any number.
    pub listeners: Option<u64>,
    /// Why nobody is let in for now; empty where no reason is given.
    pub paused: Option<String>,
    /// The functions that answer events.
    pub functions: Functions,
    /// Tables that are enabled though nobody has asked for it.
    pub enabled: TableNames,
    /// Tables that may go to everyone though no rule says to whom.
    pub public: TableNames,
}

/// Some tables of the schema `public`, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableNames(BTreeSet<String>);

impl Default for App {
    fn default() -> App {
        App {
            database: None,
            anonymous: false,
            listeners: Some(MIN_LISTENERS),
            paused: None,
            functions: Functions::default(),
            enabled: TableNames::default(),
            public: TableNames::default(),
        }
    }
}

impl Apps {
    /// Reads what holds for every app, and below `apps` what is different for some.
    ///
    /// # Errors
    /// On an unknown key or a wrong type, with its path.
    pub fn read(field: &Field<'_>) -> Result<Apps, Refusal> {
        let mut form = field.form()?;
        let some = form.take("apps");
        let others = App::read(form, &App::default())?;
        let mut declared = BTreeMap::new();
        for (name, app) in some.map(|some| some.form()).transpose()?.iter_mut().flat_map(Form::rest) {
            if !is_organization(&name) {
                return Err(app.refuse("is no app's id"));
            }
            declared.insert(name, App::read(app.form()?, &others)?);
        }
        Ok(Apps { others, declared })
    }

    /// What the deployment says of an app.
    pub fn get(&self, app: &str) -> &App {
        self.declared.get(app).unwrap_or(&self.others)
    }

    /// Whether the deployment names it.
    pub fn declares(&self, app: &str) -> bool {
        self.declared.contains_key(app)
    }
}

impl App {
    fn read(mut form: Form<'_>, others: &App) -> Result<App, Refusal> {
        let mut app = others.clone();
        if let Some(database) = form.take("database") {
            app.database = Some(database.name(NAME_BYTES)?);
        }
        if let Some(access) = form.take("access") {
            app.anonymous = match access.text()?.as_str() {
                "public" => true,
                "authenticated" => false,
                _ => return Err(access.refuse("must be \"public\" or \"authenticated\"")),
            };
        }
        if let Some(listeners) = form.take("listeners") {
            app.listeners = if listeners.json() == "-1" { None } else { Some(listeners.count()?) };
        }
        if let Some(paused) = form.take("paused") {
            let reason = paused.text().ok().map(Ok);
            let reason = reason.or_else(|| paused.boolean().map(|paused| paused.then(String::new)).transpose());
            app.paused = reason.transpose()?;
        }
        if let Some(functions) = form.take("functions") {
            app.functions = Functions::read(&functions)?;
        }
        if let Some(tables) = form.take("tables") {
            app.enabled = TableNames::read(&tables)?;
        }
        if let Some(tables) = form.take("public") {
            app.public = TableNames::read(&tables)?;
        }
        form.finish()?;
        Ok(app)
    }
}

impl TableNames {
    fn read(field: &Field<'_>) -> Result<TableNames, Refusal> {
        let mut names = BTreeSet::new();
        for table in field.list(MAX_COLUMNS)? {
            names.insert(table.name(NAME_BYTES)?);
        }
        Ok(TableNames(names))
    }

    /// Whether a table of the schema `public` is one of them.
    pub fn contain(&self, table: &str) -> bool {
        self.0.contains(table) || self.0.contains(EVERY_TABLE)
    }
}

/// The roles of an end user whose token names these: who they are to the app is not for their token to say.
pub fn user_roles(named: &Roles) -> Roles {
    let own = named.as_slice().iter().filter(|role| !role.starts_with(RESERVED)).cloned();
    Roles::new(std::iter::once(USER.to_owned()).chain(own))
}

/// Whether these roles are those of a service.
pub fn is_service(roles: &Roles) -> bool {
    roles.as_slice().iter().any(|role| role == SERVICE)
}
