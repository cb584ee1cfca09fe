//! The interest of an organization: who subscribes to which tables of the database, by groups of principals.
//!
//! It is reported as a whole, one report at a time; changes are collected until the previous report is answered.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::catalog::{Catalog, is_name};
use super::remote::Remote;
use crate::code::{Code, Refusal};
use crate::policy::database::{Database, Group, Standing};
use crate::value::json;

/// The first and the longest wait before an unanswered report is repeated, in milliseconds.
const MIN_BACKOFF: u64 = 250;
const MAX_BACKOFF: u64 = 5_000;
/// After an answer, the next report waits this many times as long as the answer took.
const PACE: u64 = 2;

/// Schema and name of a table, each of which may be `*`.
pub type TableName = (String, String);

/// Groups with their tables, by the group's id.
type Everyone<'a> = BTreeMap<&'a Rc<str>, (&'a Rc<Group>, BTreeSet<&'a TableName>)>;

/// The listeners of one organization, and which of them the database's object knows.
pub struct Interest {
    database: Rc<Database>,
    /// The group under which principals that see every row are reported.
    bypass: Option<Rc<Group>>,
    groups: BTreeMap<Rc<str>, Listeners>,
    /// Those at relays.
    remotes: BTreeMap<u32, Remote>,
    /// Whether groups or tables may have changed since the last report.
    is_changed: bool,
    /// The digest of the last report that was answered.
    told: Option<String>,
    known: InterestSnapshot,
    asking: Option<Asking>,
    revision: u64,
    failures: u32,
    retry: Option<u64>,
    catalog: Rc<Catalog>,
    is_lost: bool,
}

/// The sessions of one group.
struct Listeners {
    group: Rc<Group>,
    sessions: u64,
    tables: BTreeMap<TableName, u64>,
}

/// A report that waits for its answer.
struct Asking {
    /// Also its time, in Unix milliseconds.
    revision: u64,
    digest: String,
    known: InterestSnapshot,
    is_cut: bool,
}

/// The contents of a report: groups, and their tables.
#[derive(Default)]
struct InterestSnapshot {
    groups: BTreeSet<Rc<str>>,
    tables: BTreeSet<(Rc<str>, TableName)>,
    /// How many groups each table has.
    counts: BTreeMap<TableName, u64>,
}

/// Whether changes of a table reach a subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// They do.
    Live,
    /// The database has not answered yet.
    Pending,
    /// They never will under the current configuration and tables.
    Refused(Refusal),
}

/// A report for the database's object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterestReport {
    /// Greater than all previous ones.
    pub revision: u64,
    /// The body.
    pub body: String,
}

impl Interest {
    /// The interest before any session has subscribed. `told` is the digest that was stored last.
    pub fn wake(database: Rc<Database>, told: Option<String>, catalog: Rc<Catalog>, is_lost: bool) -> Interest {
        Interest {
            bypass: database.group_of_bypass(),
            database,
            groups: BTreeMap::new(),
            remotes: BTreeMap::new(),
            is_changed: true,
            told,
            known: InterestSnapshot::default(),
            asking: None,
            revision: 0,
            failures: 0,
            retry: None,
            catalog,
            is_lost,
        }
    }

    /// The database.
    pub fn database(&self) -> &Rc<Database> {
        &self.database
    }

    /// The database's last description of its tables.
    pub fn catalog(&self) -> &Rc<Catalog> {
        &self.catalog
    }

    /// Whether the feed of changes has stopped.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// How many groups listen.
    pub fn count(&self) -> u64 {
        self.everyone().len() as u64
    }

    /// For how many groups the database judges changes of a table.
    pub fn groups_of(&self, schema: &str, table: &str) -> u64 {
        self.known.counts.get(&(schema.to_owned(), table.to_owned())).copied().unwrap_or(0)
    }

    /// Adds a session that listens to these tables; to none if only messages matter to it.
    pub fn add(&mut self, standing: &Standing, tables: &BTreeSet<TableName>) {
        let Some(group) = self.group(standing, tables) else { return };
        let listeners = self.groups.entry(group.id.clone());
        let is_changed = &mut self.is_changed;
        let listeners = listeners.or_insert_with(|| {
            *is_changed = true;
            Listeners { group, sessions: 0, tables: BTreeMap::new() }
        });
        listeners.sessions += 1;
        for table in tables {
            let count = listeners.tables.entry(table.clone()).or_default();
            *count += 1;
            *is_changed |= *count == 1;
        }
    }

    /// Removes such a session.
    pub fn remove(&mut self, standing: &Standing, tables: &BTreeSet<TableName>) {
        let Some(group) = self.group(standing, tables) else { return };
        let Some(listeners) = self.groups.get_mut(&group.id) else { return };
        for table in tables {
            let Some(count) = listeners.tables.get_mut(table) else { continue };
            *count -= 1;
            if *count == 0 {
                listeners.tables.remove(table);
                self.is_changed = true;
            }
        }
        listeners.sessions -= 1;
        if listeners.sessions == 0 {
            self.groups.remove(&group.id);
            self.is_changed = true;
        }
    }

    /// Whether changes of a table reach a principal.
    pub fn readiness(&self, standing: &Standing, table: &TableName) -> Readiness {
        let group = match (standing, &self.bypass) {
            (Standing::Group(group), _) | (Standing::Bypass, Some(group)) => group,
            _ => return Readiness::Refused(Refusal::of(Code::TableDenied)),
        };
        if !is_name(table) {
            return Readiness::Refused(Refusal::of(Code::UnknownTable));
        }
        if !self.known.tables.contains(&(group.id.clone(), table.clone())) {
            return Readiness::Pending;
        }
        let (schema, name) = table;
        let admitted = if schema == "*" || name == "*" { Ok(()) } else { self.catalog.admit(schema, name, standing) };
        match admitted {
            Err(refusal) => Readiness::Refused(refusal),
            Ok(()) if self.is_lost => Readiness::Pending,
            Ok(()) => Readiness::Live,
        }
    }

    /// Whether changes of the database arrive at all.
    pub fn is_open(&self) -> bool {
        !self.is_lost && !self.known.groups.is_empty()
    }

    /// The report that must be sent now; `None` if nothing has changed, or while an answer or the backoff is pending.
    pub fn report(&mut self, now: u64, organization: &str) -> Option<InterestReport> {
        if !self.is_changed || self.asking.is_some() || self.retry.is_some_and(|time| time > now) {
            return None;
        }
        self.retry = None;
        let (groups, is_cut) = self.text();
        let digest = digest(&self.database.name, &groups);
        self.is_changed = false;
        let nothing_was_told = self.told.is_none() && groups == "[]";
        if self.told.as_ref() == Some(&digest) || nothing_was_told {
            self.known = self.listening();
            return None;
        }
        // Greater than in any earlier life, without storing it.
        self.revision = now.max(self.revision.saturating_add(1));
        let revision = self.revision;
        self.asking = Some(Asking { revision, digest, known: self.listening(), is_cut });
        let mut body = String::from("{\"database\":");
        json::write_string(&mut body, &self.database.name);
        body.push_str(",\"organization\":");
        json::write_string(&mut body, organization);
        body.push_str(&format!(",\"revision\":{revision},\"groups\":{groups}}}"));
        Some(InterestReport { revision, body })
    }

    /// Handles the answer to a report, or `None` if there was none, and returns what to store. `is_lost`: whether the
    /// feed is stopped all the same, as a relay may be told.
    pub fn answered(&mut self, now: u64, revision: u64, (catalog, is_lost): (Option<Catalog>, bool)) -> Option<String> {
        let asking = self.asking.take_if(|asking| asking.revision == revision)?;
        let Some(catalog) = catalog else {
            let backoff = MIN_BACKOFF.saturating_mul(1 << self.failures.min(8)).min(MAX_BACKOFF);
            self.failures = self.failures.saturating_add(1);
            self.retry = Some(now.saturating_add(backoff));
            self.is_changed = true;
            return None;
        };
        self.failures = 0;
        // Reports are complete, so the longer one takes, the more changes are collected for the next.
        let rest = now.saturating_sub(revision).saturating_mul(PACE).min(MAX_BACKOFF);
        self.retry = (rest > 0).then(|| now.saturating_add(rest));
        self.known = asking.known;
        self.catalog = Rc::new(catalog);
        // With what the database has said, other tables may be reported.
        self.is_changed |= asking.is_cut;
        self.is_lost = is_lost;
        self.told = Some(asking.digest);
        self.told.clone()
    }

    /// Records that the feed has stopped, or resumed with these tables; returns whether that changed anything.
    pub fn fed(&mut self, is_lost: bool, catalog: Option<Catalog>) -> bool {
        let is_news = self.is_lost != is_lost || catalog.as_ref().is_some_and(|catalog| *catalog != *self.catalog);
        self.is_lost = is_lost;
        self.catalog = catalog.map_or_else(|| self.catalog.clone(), Rc::new);
        is_news
    }

    /// Forces a report, because the other side may have forgotten the last one. An unanswered one is repeated too.
    pub fn tell_again(&mut self) {
        (self.told, self.asking, self.retry) = (None, None, None);
        self.known = InterestSnapshot::default();
        self.is_changed = true;
    }

    /// Whether the stored digest is older than the report that waits for an answer.
    pub fn is_ahead_of_storage(&self) -> bool {
        self.asking.is_some() && self.told.is_some()
    }

    /// The listeners at a relay.
    pub fn remote(&self, relay: u32) -> Option<&Remote> {
        self.remotes.get(&relay)
    }

    /// The relays that have listeners.
    pub fn relays(&self) -> Vec<u32> {
        self.remotes.keys().copied().collect()
    }

    /// Replaces the listeners at a relay; returns whether they are others than before.
    pub fn listen(&mut self, relay: u32, remote: Remote) -> bool {
        let before = self.remotes.insert(relay, remote);
        let is_same = before.zip(self.remotes.get(&relay)).is_some_and(|(before, now)| before.is_same(now));
        self.is_changed |= !is_same;
        !is_same
    }

    /// Removes the listeners at a relay; returns whether there were any.
    pub fn forget(&mut self, relay: u32) -> bool {
        let had = self.remotes.remove(&relay).is_some();
        self.is_changed |= had;
        had
    }

    /// The relays that can be told that the database judges for all their listeners, with the revisions.
    pub fn take_covered(&mut self) -> Vec<(u32, u64)> {
        let mut covered = Vec::new();
        if self.remotes.values().all(|remote| remote.waiting().is_none()) {
            return covered;
        }
        let reported = self.listening();
        for (relay, remote) in &mut self.remotes {
            let is_known = |(group, tables): (&Rc<Group>, &BTreeSet<TableName>)| {
                let known = |table: &TableName| {
                    let place = (group.id.clone(), table.clone());
                    self.known.tables.contains(&place) || !reported.tables.contains(&place)
                };
                self.known.groups.contains(&group.id) && tables.iter().all(known)
            };
            if let Some(revision) = remote.waiting().filter(|_| remote.groups().all(is_known)) {
                remote.answer();
                covered.push((*relay, revision));
            }
        }
        covered
    }

    /// When the next report is due, in Unix milliseconds.
    pub fn deadline(&self) -> Option<u64> {
        self.retry.filter(|_| self.is_changed && self.asking.is_none())
    }

    /// The group of a session. Sessions that receive only messages are in the bypass group, whose verdicts are never
    /// needed.
    fn group(&self, standing: &Standing, tables: &BTreeSet<TableName>) -> Option<Rc<Group>> {
        match standing {
            Standing::Group(group) if !tables.is_empty() => Some(group.clone()),
            Standing::Nobody if !tables.is_empty() => None,
            _ => self.bypass.clone(),
        }
    }

    /// The groups and tables of a report, and whether more tables were named.
    fn reported(&self) -> (Everyone<'_>, bool) {
        let (mut all, mut is_cut) = (self.everyone(), false);
        for (_, tables) in all.values_mut() {
            is_cut |= self.catalog.bound(tables);
        }
        (all, is_cut)
    }

    /// All groups with their tables, including those at relays.
    fn everyone(&self) -> Everyone<'_> {
        let own = self.groups.values().map(|listeners| (&listeners.group, listeners.tables.keys().collect()));
        let remote = self.remotes.values().flat_map(Remote::groups);
        let remote = remote.map(|(group, tables)| (group, tables.iter().collect::<BTreeSet<_>>()));
        let mut all: Everyone<'_> = BTreeMap::new();
        for (group, tables) in own.chain(remote) {
            all.entry(&group.id).or_insert_with(|| (group, BTreeSet::new())).1.extend(tables);
        }
        all
    }

    fn listening(&self) -> InterestSnapshot {
        let mut known = InterestSnapshot::default();
        for (id, (_, tables)) in self.reported().0 {
            known.groups.insert(id.clone());
            tables.iter().for_each(|table| *known.counts.entry((*table).clone()).or_default() += 1);
            known.tables.extend(tables.into_iter().map(|table| (id.clone(), table.clone())));
        }
        known
    }

    /// The groups as JSON, and whether more tables were named.
    fn text(&self) -> (String, bool) {
        let mut out = String::from("[");
        let (reported, is_cut) = self.reported();
        for (index, (group, tables)) in reported.into_values().enumerate() {
            out.push_str(if index > 0 { ",{\"id\":" } else { "{\"id\":" });
            json::write_string(&mut out, &group.id);
            out.push_str(",\"role\":");
            json::write_string(&mut out, &group.role);
            out.push_str(",\"claims\":");
            out.push_str(&group.claims);
            out.push_str(",\"tables\":[");
            for (index, (schema, table)) in tables.into_iter().enumerate() {
                out.push_str(if index > 0 { ",[" } else { "[" });
                json::write_string(&mut out, schema);
                out.push(',');
                json::write_string(&mut out, table);
                out.push(']');
            }
            out.push_str("]}");
        }
        out.push(']');
        (out, is_cut)
    }
}

fn digest(database: &str, groups: &str) -> String {
    let digest = Sha256::new().chain_update(database).chain_update([0]).chain_update(groups).finalize();
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
