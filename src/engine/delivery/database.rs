//! The delivery's link to a database: it reports who listens, and informs sessions when changes stop or resume.

use std::cell::Cell;
use std::rc::Rc;

use super::Delivery;
use super::beside::stored_listeners;
use super::grants::Grants;
use super::held::Held;
use super::judging::Judging;
use super::registry::Registry;
use super::session::{Session, Subscribed};
use super::socket::Socket;
use crate::code::{Code, Refusal};
use crate::engine::command::TableTarget;
use crate::engine::database::catalog::Catalog;
use crate::engine::database::interest::{Interest, Readiness};
use crate::engine::effect::{Log, Question, Task, Write};
use crate::engine::event::{Event, TableWarning};
use crate::engine::figures::DatabaseFigures;
use crate::engine::input::Stored;
use crate::engine::message::{Accepted, Out, SessionId};
use crate::engine::profile::TableDelivery;
use crate::engine::publication::Content;
use crate::policy::database::{Database, Standing};
use crate::policy::limits::RETAINED_BYTES;
use crate::policy::principal::Principal;

/// The facts under which a wake finds the database's last answers.
const CATALOG: &str = "database.catalog";
const INTEREST: &str = "database.interest";
const FEED: &str = "database.feed";
const LOST: &str = "lost";

/// The delivery's state about the database.
pub(super) struct DatabaseLink {
    pub(super) interest: Interest,
    /// The tables as text, as the database's object sent them.
    pub(super) catalog_text: Rc<str>,
    /// Groups that were denied because no verdict named them.
    unjudged: Cell<u64>,
}

/// Sessions that wait for the database to answer.
#[derive(Default)]
pub(super) struct DatabaseWaits {
    pub(super) held: Held,
    pub(super) judging: Judging,
    pub(super) grants: Grants,
}

impl DatabaseLink {
    /// The link as storage describes it.
    pub(super) fn wake(database: Rc<Database>, stored: &Stored, max_relay: u32) -> DatabaseLink {
        let fact = |name: &str| stored.facts.get(name).filter(|text| !text.is_empty());
        let catalog = fact(CATALOG).and_then(|text| Catalog::read(text)).unwrap_or_default();
        let told = fact(INTEREST).cloned();
        let is_lost = fact(FEED).is_some_and(|state| state == LOST);
        let mut interest = Interest::wake(database, told, Rc::new(catalog), is_lost);
        let listeners = stored_listeners(stored, max_relay);
        listeners.into_iter().for_each(|(relay, remote)| _ = interest.listen(relay, remote));
        let catalog_text = fact(CATALOG).map_or_else(|| Rc::from(""), |text| Rc::from(text.as_str()));
        DatabaseLink { interest, catalog_text, unjudged: Cell::new(0) }
    }
}

impl Registry {
    /// The tables as the database last described them.
    pub(super) fn catalog(&self) -> Option<Rc<Catalog>> {
        self.database.as_ref().map(|link| link.interest.catalog().clone())
    }

    /// How a principal is judged by the database; `None` without a database.
    pub(super) fn standing(&self, principal: &Principal) -> Option<Standing> {
        self.database.as_ref().map(|link| link.interest.database().standing(principal))
    }

    /// Whether every session of a socket was authenticated with the claims that policies may read; the database may
    /// have been added later.
    pub(super) fn is_judgeable(&self, socket: &Socket) -> bool {
        let mut principals = socket.sessions.iter().map(|session| &session.principal);
        let has_claims = |principal: &Principal| principal.all_claims.is_some();
        principals.all(|principal| has_claims(principal) || self.standing(principal) != Some(Standing::Nobody))
    }

    /// Whether changes of a table reach a principal with this standing.
    pub(super) fn readiness(&self, standing: Option<&Standing>, target: &TableTarget) -> Readiness {
        let (Some(link), Some(standing)) = (&self.database, standing) else { return Readiness::Live };
        let readiness = link.interest.readiness(standing, &(target.schema.clone(), target.table.clone()));
        match readiness {
            Readiness::Refused(refusal) if is_missing(&refusal) && self.is_published(target) => Readiness::Live,
            readiness => readiness,
        }
    }

    /// Why the database sends a session no changes of a table although its subscription is active.
    pub(super) fn withheld_by_database(&self, session: &Session, target: &TableTarget) -> Option<TableWarning> {
        match self.readiness(session.standing.as_ref(), target) {
            Readiness::Refused(refusal) => warning_of(&refusal),
            Readiness::Live | Readiness::Pending => None,
        }
    }

    /// Whether the database has the rows of a table, as far as it has reported.
    pub(super) fn is_of_database(&self, target: &TableTarget) -> bool {
        let is_known = |link: &DatabaseLink| link.interest.catalog().enabled(&target.schema, &target.table).is_some();
        self.database.as_ref().is_some_and(|link| !self.is_published(target) || is_known(link))
    }

    /// Whether one of a session's table subscriptions is active.
    pub(super) fn readiness_of(&self, session: &Session, name: &str) -> Option<Readiness> {
        let subscription = session.subscriptions.get(name)?;
        match &subscription.target {
            Subscribed::Table(target) => {
                let delivery = self.profile(session.id.socket)?.table_delivery;
                Some(self.readiness(session.standing.as_ref(), target).for_delivery(delivery))
            }
            Subscribed::Topic(_) => None,
        }
    }

    /// Whether the database has yet to answer for a table that a session subscribes to.
    pub(super) fn is_pending(&self, id: SessionId) -> bool {
        let (Some(link), Some(session)) = (&self.database, self.session(id)) else { return false };
        let Some(standing) = &session.standing else { return false };
        let mut tables = session.listens.iter().flatten();
        tables.any(|table| link.interest.readiness(standing, table) == Readiness::Pending)
    }

    /// Whether a table outside the database is published over HTTP.
    fn is_published(&self, target: &TableTarget) -> bool {
        let tables = &self.configuration.tables;
        tables.is_configured(&target.schema, &target.table)
            && tables.get(&target.schema, &target.table).deletes.is_none()
    }

    /// Whether the database's messages arrive.
    pub(super) fn hears_database(&self) -> bool {
        self.database.as_ref().is_none_or(|link| link.interest.is_open())
    }

    /// When the database is asked again, in Unix milliseconds.
    pub(super) fn database_deadline(&self) -> Option<u64> {
        self.database.as_ref().and_then(|link| link.interest.deadline())
    }

    fn without_row_security(&self) -> Vec<String> {
        let name = |(schema, table): (&str, &str)| [schema, ".", table].concat();
        let catalog = self.catalog().unwrap_or_default();
        catalog.without_row_security().map(|table| name(table.name())).collect()
    }

    /// Counts the groups that listen to a change's table and have no verdict.
    pub(super) fn count_unjudged(&self, accepted: &Accepted) {
        let (Some(link), Some(verdict)) = (&self.database, &accepted.verdict) else { return };
        if let Content::Change { schema, table, .. } = &accepted.publication.content {
            let listening = link.interest.groups_of(schema, table);
            let unjudged = listening.saturating_sub(verdict.count() as u64);
            link.unjudged.set(link.unjudged.get().saturating_add(unjudged));
        }
    }

    /// The database's figures.
    pub(super) fn database_figures(&self) -> Option<DatabaseFigures> {
        let link = self.database.as_ref()?;
        Some(DatabaseFigures {
            name: link.interest.database().name.to_string(),
            is_live: link.interest.is_open(),
            groups: link.interest.count(),
            unjudged: link.unjudged.get(),
            without_row_security: self.without_row_security(),
            ..DatabaseFigures::default()
        })
    }
}

impl Delivery {
    /// Tells the database's object who listens, if that has changed.
    pub(super) fn tell_database(&mut self, now: u64, out: &mut Out) {
        let Some(link) = &mut self.registry.database else { return };
        if let Some(report) = link.interest.report(now, &self.organization) {
            let database = link.interest.database().name.clone();
            if link.interest.is_ahead_of_storage() {
                // Until this is answered, the other side may have either report.
                out.run(Task::Write(Write::Fact { name: INTEREST, value: String::new() }));
            }
            out.run(Task::AskDatabase { database, question: Question::Interest(report) });
        }
    }

    /// Applies the database object's answer to an interest.
    pub(in crate::engine) fn interest_answered(
        &mut self,
        now: u64,
        revision: u64,
        (text, is_lost): (Option<String>, bool),
        out: &mut Out,
    ) {
        let Some(link) = &mut self.registry.database else { return };
        let (was_lost, before) = (link.interest.is_lost(), link.interest.catalog().clone());
        let catalog = text.as_deref().and_then(Catalog::read);
        let Some(digest) = link.interest.answered(now, revision, (catalog, is_lost)) else { return };
        let text = text.unwrap_or_default();
        link.catalog_text = Rc::from(text.as_str());
        // An answer that cannot be stored is requested again after the next wake.
        let (digest, text) = if text.len() <= RETAINED_BYTES { (digest, text) } else { Default::default() };
        out.run(Task::Write(Write::Fact { name: CATALOG, value: text }));
        out.run(Task::Write(Write::Fact { name: INTEREST, value: digest }));
        if was_lost != is_lost {
            let state = if is_lost { LOST } else { "" };
            out.run(Task::Write(Write::Fact { name: FEED, value: state.to_owned() }));
            self.tell_feed(!is_lost, out);
        }
        self.warn(out);
        self.tell_ready(now, out);
        self.end_unreadable(now, &before, out);
    }

    /// Handles that the change feed has stopped or resumed.
    pub(in crate::engine) fn fed(&mut self, now: u64, is_lost: bool, text: Option<String>, out: &mut Out) {
        let Some(link) = &mut self.registry.database else { return };
        let (was_lost, before) = (link.interest.is_lost(), link.interest.catalog().clone());
        let catalog = text.as_deref().and_then(Catalog::read);
        let has_catalog = catalog.is_some();
        if !link.interest.fed(is_lost, catalog) {
            return;
        }
        let state = if is_lost { LOST } else { "" };
        out.run(Task::Write(Write::Fact { name: FEED, value: state.to_owned() }));
        let text = text.filter(|_| has_catalog);
        if let Some((link, text)) = self.registry.database.as_mut().zip(text.as_deref()) {
            link.catalog_text = Rc::from(text);
        }
        if let Some(text) = text.filter(|text| text.len() <= RETAINED_BYTES) {
            out.run(Task::Write(Write::Fact { name: CATALOG, value: text }));
        }
        let event = if is_lost { "feed_lost" } else { "feed_live" };
        out.run(Task::Log(Log { event, connection: None, code: None, details: Vec::new() }));
        if was_lost != is_lost {
            self.tell_feed(!is_lost, out);
        }
        self.tell_ready(now, out);
        self.end_unreadable(now, &before, out);
    }

    /// Informs all listeners of the database's tables that changes have stopped or resumed. A channel that has not yet
    /// been reported as live receives only that message.
    fn tell_feed(&self, is_live: bool, out: &mut Out) {
        let Some(link) = &self.registry.database else { return };
        let is_fed = |session: &&Session| {
            let Some(standing) = &session.standing else { return false };
            let waits = session.channel.is_some() && session.awaiting.is_some();
            let is_admitted = |table| !matches!(link.interest.readiness(standing, table), Readiness::Refused(_));
            !waits && session.listens.iter().flatten().any(is_admitted)
        };
        let sessions = self.registry.sockets().iter().flat_map(|socket| &socket.sessions);
        let told: Vec<SessionId> = sessions.filter(is_fed).map(|session| session.id).collect();
        told.into_iter().for_each(|id| self.registry.tell(id, Event::Feed { is_live }, out));
    }

    /// Notifies sessions whose table was removed. A channel's subscription stays dormant, as when its right is lost.
    fn end_unreadable(&mut self, now: u64, before: &Catalog, out: &mut Out) {
        let Some(link) = &self.registry.database else { return };
        let is_asked = |schema: &str, table: &str| link.interest.groups_of(schema, table) > 0;
        if !link.interest.catalog().takes_away(before, is_asked) {
            return;
        }
        let mut refused = Vec::new();
        for session in self.registry.sockets().iter().flat_map(|socket| &socket.sessions) {
            for subscription in session.subscriptions.iter() {
                if let Some(Readiness::Refused(refusal)) = self.registry.readiness_of(session, &subscription.id) {
                    refused.push((session.id, session.channel.is_some(), subscription.id.clone(), refusal));
                }
            }
        }
        for (id, is_channel, name, refusal) in refused {
            match is_channel {
                true => self.registry.tell(id, Event::Live { tables: Some(Err(refusal)), announce: false }, out),
                false => self.drop_subscription(now, id, name, refusal, out),
            }
        }
    }

    /// Logs the tables without row-level security.
    fn warn(&self, out: &mut Out) {
        for table in self.registry.without_row_security() {
            let details = vec![("table", table)];
            out.run(Task::Log(Log { event: "no_row_security", connection: None, code: None, details }));
        }
    }
}

impl Readiness {
    /// Dialects that accept subscriptions to tables without changes warn instead of waiting; without a verdict nothing
    /// is sent.
    pub(super) fn for_delivery(self, delivery: TableDelivery) -> Readiness {
        match self {
            Readiness::Refused(refusal) if delivery == TableDelivery::Enabled && warning_of(&refusal).is_some() => {
                Readiness::Live
            }
            readiness => readiness,
        }
    }
}

fn warning_of(refusal: &Refusal) -> Option<TableWarning> {
    match refusal.code {
        Code::UnknownTable | Code::TableNotEnabled => Some(TableWarning::NotEnabled),
        Code::NoPolicy => Some(TableWarning::NoPolicy),
        _ => None,
    }
}

/// Whether a refusal says that the table is not in the database.
fn is_missing(refusal: &Refusal) -> bool {
    matches!(refusal.code, Code::UnknownTable | Code::TableNotEnabled)
}
