//! Which tables are enabled, where no database says so: what the control planes of dialects have asked for, and what
//! comes of it for subscribers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Delivery;
use super::session::Subscription;
use crate::code::{Code, Refusal};
use crate::engine::effect::{TableState, TablesAnswer, Task, Write};
use crate::engine::event::{Event, TableWarning};
use crate::engine::input::TableRequest;
use crate::engine::message::{Out, SessionId, ToStream};
use crate::engine::profile::TableDelivery;
use crate::policy::app::is_service;
use crate::policy::roles::Roles;
use crate::policy::table::DEFAULT_SCHEMA;

/// The fact under which a wake finds them.
pub(super) const TABLES: &str = "tables";

/// What was asked for of each table, by schema and name.
#[derive(Default)]
pub(super) struct TableStates(BTreeMap<(String, String), State>);

#[derive(Clone, Copy)]
struct State {
    is_enabled: bool,
    created: u64,
    updated: u64,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    schema: String,
    table: String,
    enabled: bool,
    created: u64,
    updated: u64,
}

impl TableStates {
    /// As they were stored; none where they cannot be read.
    pub(super) fn read(text: Option<&String>) -> TableStates {
        let stored: Vec<Stored> = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let state = |one: Stored| {
            let state = State { is_enabled: one.enabled, created: one.created, updated: one.updated };
            ((one.schema, one.table), state)
        };
        TableStates(stored.into_iter().map(state).collect())
    }

    fn write(&self) -> String {
        let stored = self.0.iter().map(|((schema, table), state)| Stored {
            schema: schema.clone(),
            table: table.clone(),
            enabled: state.is_enabled,
            created: state.created,
            updated: state.updated,
        });
        // Structs of texts and numbers always have a JSON form.
        serde_json::to_string(&stored.collect::<Vec<_>>()).unwrap_or_default()
    }

    /// Whether somebody has said that a table is enabled, or is not; `None`: nobody has.
    fn said(&self, schema: &str, table: &str) -> Option<bool> {
        self.0.get(&(schema.to_owned(), table.to_owned())).map(|state| state.is_enabled)
    }

    fn set(&mut self, now: u64, (schema, table): (String, String), is_enabled: bool) {
        let state = self.0.entry((schema, table)).or_insert(State { is_enabled, created: now, updated: now });
        if state.is_enabled != is_enabled {
            (state.is_enabled, state.updated) = (is_enabled, now);
        }
    }

    fn all(&self) -> Vec<TableState> {
        let state = |((schema, table), state): (&(String, String), &State)| TableState {
            schema: schema.clone(),
            table: table.clone(),
            is_enabled: state.is_enabled,
            created: state.created,
            updated: state.updated,
        };
        self.0.iter().map(state).collect()
    }
}

impl Delivery {
    /// Does what a control plane asks for. All tables are looked at before any is changed.
    pub(in crate::engine) fn administer(&mut self, now: u64, request: TableRequest, out: &mut Out) {
        let answer = match request {
            TableRequest::List => Ok(()),
            TableRequest::Enable(tables) => self.enable(now, tables, out),
            TableRequest::Disable { schema, table } => {
                if self.tables.said(&schema, &table).is_some() || self.configuration.tables.declares(&schema, &table) {
                    self.set_tables(now, vec![(schema, table)], false, out);
                }
                Ok(())
            }
        };
        let is_connected = !self.is_empty();
        out.run(Task::Tables(answer.map(|()| TablesAnswer { tables: self.tables.all(), is_connected })));
    }

    fn enable(&mut self, now: u64, tables: Vec<(String, String)>, out: &mut Out) -> Result<(), Refusal> {
        let is_missing = |(schema, table): &&(String, String)| !self.configuration.tables.declares(schema, table);
        let missing: Vec<&str> = tables.iter().filter(is_missing).map(|(_, table)| table.as_str()).collect();
        if !missing.is_empty() {
            let message = ["Tables not found: ", &missing.join(", ")].concat();
            return Err(Refusal::at(Code::NotFound, missing.join(","), message));
        }
        self.set_tables(now, tables, true, out);
        Ok(())
    }

    fn set_tables(&mut self, now: u64, tables: Vec<(String, String)>, is_enabled: bool, out: &mut Out) {
        tables.into_iter().for_each(|table| self.tables.set(now, table, is_enabled));
        out.to_stream.push_back(ToStream::Begin);
        out.run(Task::Write(Write::Fact { name: TABLES, value: self.tables.write() }));
    }

    /// Why changes of a table do not reach holders of these roles, in dialects that ask for more than that they are
    /// published. Where there is a database, it is the one to judge.
    pub(super) fn withheld(
        &self,
        delivery: TableDelivery,
        (schema, table): (&str, &str),
        roles: &Roles,
    ) -> Option<TableWarning> {
        if delivery == TableDelivery::Published || self.database.is_some() {
            return None;
        }
        let app = self.configuration.app(&self.organization).filter(|_| schema == DEFAULT_SCHEMA);
        let is_listed = app.is_some_and(|app| app.enabled.contain(table));
        if !self.tables.said(schema, table).unwrap_or(is_listed) {
            return Some(TableWarning::NotEnabled);
        }
        let is_open = self.configuration.tables.get(schema, table).has_policy()
            || app.is_some_and(|app| app.public.contain(table))
            || is_service(roles);
        (!is_open).then_some(TableWarning::NoPolicy)
    }

    /// Tells a session that nothing will come to a subscription for now, where that is so.
    pub(super) fn warn_of_table(&self, id: SessionId, name: &str, out: &mut Out) {
        let (Some(session), Some(profile)) = (self.sockets.session(id), self.profile(id.socket)) else { return };
        let named = session.subscriptions.iter().find(|subscription| subscription.id == name);
        let Some(target) = named.and_then(Subscription::table) else { return };
        let table = (target.schema.as_str(), target.table.as_str());
        if let Some(warning) = self.withheld(profile.table_delivery, table, &session.principal.roles) {
            let organization = self.organization.clone();
            self.tell(id, Event::Warned { id: name.to_owned(), warning, organization }, out);
        }
    }
}
