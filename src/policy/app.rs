//! Apps: organizations with a plan, a token issuer of their own, and functions. What tokens and roles are called is up
//! to their protocol.

use std::collections::{BTreeMap, BTreeSet};

use super::database::Databases;
use super::function::Functions;
use super::limits::NAME_BYTES;
use super::organization::is_organization;
use super::roles::Roles;
use super::table::MAX_COLUMNS;
use crate::code::Refusal;
use crate::value::form::{Field, Form};

/// The default listener limit of an app: that of the smallest plan.
pub const MIN_LISTENERS: u64 = 20;
/// The wildcard for every table in a list of tables.
const EVERY_TABLE: &str = "*";

/// What the protocol of apps calls their tokens and roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppTerms {
    /// The issuer of an app's end-user tokens, before the app's id.
    pub issuer: &'static str,
    /// The only algorithm that such an issuer may use.
    pub algorithm: &'static str,
    /// The role of an end user.
    pub user: &'static str,
    /// The role of a service key: row rules do not restrict it.
    pub service: &'static str,
    /// The prefix of roles that an end user's token cannot grant.
    pub reserved: &'static str,
}

impl AppTerms {
    /// The roles of an end user whose token names these roles; the token cannot grant reserved ones.
    pub fn user_roles(&self, named: &Roles) -> Roles {
        let own = named.as_slice().iter().filter(|role| !role.starts_with(self.reserved)).cloned();
        Roles::new(std::iter::once(self.user.to_owned()).chain(own))
    }

    /// Whether these roles include a service's.
    pub fn is_service(&self, roles: &Roles) -> bool {
        roles.as_slice().iter().any(|role| role == self.service)
    }
}

/// The apps of a deployment.
#[derive(Clone, Debug)]
pub struct Apps {
    /// What their protocol calls tokens and roles.
    pub terms: &'static AppTerms,
    others: App,
    declared: BTreeMap<String, App>,
}

/// The settings of one app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Whether clients may connect without a credential.
    pub anonymous: bool,
    /// The maximum number of concurrent sockets; `None`: unlimited.
    pub listeners: Option<u64>,
    /// The reason why the app is paused; may be empty.
    pub paused: Option<String>,
    /// The functions that answer client events.
    pub functions: Functions,
    /// Tables that are enabled without a request of the control plane.
    pub enabled: TableNames,
    /// Tables whose changes may go to everyone although they have no visibility rule.
    pub public: TableNames,
}

/// Some tables of the schema `public`, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableNames(BTreeSet<String>);

impl Default for App {
    fn default() -> App {
        App {
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
    /// Reads the settings of every app, and under `apps` the overrides of individual ones.
    ///
    /// # Errors
    /// On an unknown key or a wrong type, with its path.
    pub fn read(field: &Field<'_>, terms: &'static AppTerms, databases: &Databases) -> Result<Apps, Refusal> {
        let mut form = field.form()?;
        let some = form.take("apps");
        let others = App::read(form, &App::default(), |database| databases.declare(database))?;
        let mut declared = BTreeMap::new();
        for (name, app) in some.map(|some| some.form()).transpose()?.iter_mut().flat_map(Form::rest) {
            if !is_organization(&name) {
                return Err(app.refuse("is no app's id"));
            }
            let its_own = |database: &str| databases.declared_name(&name) == Some(database);
            let settings = App::read(app.form()?, &others, its_own)?;
            declared.insert(name, settings);
        }
        Ok(Apps { terms, others, declared })
    }

    /// The settings of an app.
    pub fn get(&self, app: &str) -> &App {
        self.declared.get(app).unwrap_or(&self.others)
    }

    /// Whether the deployment names the app.
    pub fn declares(&self, app: &str) -> bool {
        self.declared.contains_key(app)
    }
}

impl App {
    fn read(mut form: Form<'_>, others: &App, may_be: impl Fn(&str) -> bool) -> Result<App, Refusal> {
        let mut app = others.clone();
        if let Some(database) = form.take("database")
            && !may_be(&database.name(NAME_BYTES)?)
        {
            return Err(database.refuse("is not in databases, or is another app's there"));
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

    /// Whether it contains a table of the schema `public`.
    pub fn contain(&self, table: &str) -> bool {
        self.0.contains(table) || self.0.contains(EVERY_TABLE)
    }
}
