//! Table settings made by control planes, and their effect on subscribers.

use std::rc::Rc;

use super::Delivery;
use super::session::Subscription;
use crate::code::{Code, Refusal};
use crate::engine::database::catalog::Catalog;
use crate::engine::effect::{Effect, Task, Write};
use crate::engine::event::{Event, TableWarning};
use crate::engine::input::Stored;
use crate::engine::message::{Out, SessionId, ToStream};
use crate::engine::profile::TableDelivery;
use crate::engine::table_settings::{FACT, TableChange, TableSetting, TableSettings, TableState};
use crate::policy::configuration::Configuration;
use crate::policy::roles::Roles;
use crate::policy::table::DEFAULT_SCHEMA;

/// Which tables' changes reach which recipients, in dialects that require settings.
pub(super) struct EnabledTables {
    organization: Rc<str>,
    configuration: Rc<Configuration>,
    settings: TableSettings,
}

impl EnabledTables {
    /// Restores the tables from the storage.
    pub(super) fn wake(organization: Rc<str>, configuration: Rc<Configuration>, stored: &Stored) -> EnabledTables {
        EnabledTables { organization, configuration, settings: TableSettings::read(stored.facts.get(FACT)) }
    }

    /// A table's settings, if a control plane has made any.
    pub(super) fn of(&self, schema: &str, table: &str) -> Option<&TableSetting> {
        self.settings.of(schema, table)
    }

    /// Changes table settings, all or none, and returns all of them.
    pub(super) fn administer(
        &mut self,
        now: u64,
        changes: Vec<TableChange>,
        out: &mut Out,
    ) -> Result<Vec<TableState>, Refusal> {
        let declared = &self.configuration.tables;
        let missing: Vec<&str> = changes
            .iter()
            .filter(|change| !declared.is_declared(&change.schema, &change.table))
            .map(|change| change.table.as_str())
            .collect();
        if !missing.is_empty() {
            return Err(Refusal { field: Some(missing.join(",")), ..Refusal::of(Code::UnknownTable) });
        }
        let is_changed = !changes.is_empty();
        let mut tables = self.settings.clone();
        for change in changes {
            tables.change(now, change, declared)?;
        }
        self.settings = tables;
        if is_changed {
            out.to_stream.push_back(ToStream::Begin);
            out.run(Task::Write(Write::Fact { name: FACT, value: self.settings.text() }));
        }
        Ok(self.settings.states(&self.configuration.tables))
    }

    /// The text to store; `None` if there are no settings.
    fn text(&self) -> Option<String> {
        (!self.settings.is_empty()).then(|| self.settings.text())
    }

    /// Why changes of a table do not reach holders of these roles, in dialects that require settings. A database's
    /// changes have verdicts instead.
    pub(super) fn withheld(
        &self,
        delivery: TableDelivery,
        (schema, table): (&str, &str),
        roles: &Roles,
    ) -> Option<TableWarning> {
        if delivery == TableDelivery::Published {
            return None;
        }
        let app = self.configuration.app(&self.organization).filter(|_| schema == DEFAULT_SCHEMA);
        let is_listed = app.is_some_and(|app| app.enabled.contain(table));
        if !self.settings.of(schema, table).map_or(is_listed, |setting| setting.is_enabled) {
            return Some(TableWarning::NotEnabled);
        }
        (!self.is_open((schema, table), roles)).then_some(TableWarning::NoPolicy)
    }

    /// Whether a rule or the deployment lets holders of these roles see rows of a table.
    fn is_open(&self, (schema, table): (&str, &str), roles: &Roles) -> bool {
        let app = self.configuration.app(&self.organization).filter(|_| schema == DEFAULT_SCHEMA);
        self.configuration.tables.get(schema, table).has_policy()
            || app.is_some_and(|app| app.public.contain(table))
            || self.configuration.is_service(roles)
    }

    /// The same for a database table without row-level security, whose verdicts do not amount to a policy.
    pub(super) fn withheld_unjudged(
        &self,
        delivery: TableDelivery,
        catalog: &Catalog,
        (schema, table): (&str, &str),
        roles: &Roles,
    ) -> Option<TableWarning> {
        let is_open = delivery == TableDelivery::Published
            || !catalog.is_without_row_security(schema, table)
            || self.is_open((schema, table), roles);
        (!is_open).then_some(TableWarning::NoPolicy)
    }
}

impl Delivery {
    /// The table settings as text; `None` if there are none.
    pub(in crate::engine) fn tables_text(&self) -> Option<String> {
        self.tables.text()
    }

    /// Replaces the table settings with those of the object where they are made.
    pub(in crate::engine) fn take_tables(&mut self, text: String, out: &mut Out) {
        self.tables.settings = TableSettings::read(Some(&text));
        self.store_tables(out);
    }

    /// Stores the table settings for the next wake.
    pub(in crate::engine) fn store_tables(&self, out: &mut Out) {
        let text = self.tables.text();
        out.effects.extend(text.map(|value| Effect::Do(Task::Write(Write::Fact { name: FACT, value }))));
    }

    /// Warns a session if its subscription will receive nothing for now.
    pub(super) fn warn_of_table(&self, id: SessionId, name: &str, out: &mut Out) {
        let (Some(session), Some(profile)) = (self.registry.session(id), self.registry.profile(id.socket)) else {
            return;
        };
        let named = session.subscriptions.get(name);
        let Some(target) = named.and_then(Subscription::table) else { return };
        let table = (target.schema.as_str(), target.table.as_str());
        let warning = match (profile.table_delivery, self.registry.is_of_database(target)) {
            (TableDelivery::Published, _) => None,
            (delivery, true) => self.registry.withheld_by_database(session, target).or_else(|| {
                let catalog = self.registry.catalog()?;
                self.tables.withheld_unjudged(delivery, &catalog, table, &session.principal.roles)
            }),
            (delivery, false) => self.tables.withheld(delivery, table, &session.principal.roles),
        };
        if let Some(warning) = warning {
            let organization = self.organization.clone();
            self.registry.tell(id, Event::Warned { id: name.to_owned(), warning, organization }, out);
        }
    }
}
