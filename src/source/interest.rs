//! The interests of all organizations: who subscribes to which tables.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::task::SourceTask;
use crate::policy::organization::is_organization;

/// The latest interest of each organization.
#[derive(Default)]
pub struct Interests {
    organizations: BTreeMap<Rc<str>, OrganizationInterest>,
}

struct OrganizationInterest {
    revision: u64,
    body: String,
    groups: BTreeSet<String>,
    /// Whether it is registered on the current connection.
    is_live: bool,
    /// The catalog that was last sent to the organization.
    told: Option<Box<str>>,
}

#[derive(Deserialize)]
struct InterestText {
    organization: String,
    revision: u64,
    groups: Vec<GroupText>,
}

#[derive(Deserialize)]
struct GroupText {
    id: String,
}

#[derive(Deserialize)]
struct Registered<'a> {
    #[serde(borrow)]
    tables: &'a RawValue,
}

impl Interests {
    /// The stored interests; an unreadable one is reported again by its organization.
    pub(super) fn of(stored: Vec<String>) -> Interests {
        let mut interests = Interests::default();
        for body in stored {
            interests.tell(&body, &mut Vec::new());
        }
        interests
    }

    /// Records an interest, unless a newer one is known. `None` if it is malformed.
    pub(super) fn tell(&mut self, body: &str, out: &mut Vec<SourceTask>) -> Option<Rc<str>> {
        let text: InterestText =
            serde_json::from_str(body).ok().filter(|text: &InterestText| is_organization(&text.organization))?;
        let organization: Rc<str> = Rc::from(text.organization);
        let known = self.organizations.get(&organization);
        if known.is_some_and(|known| known.revision > text.revision) {
            return Some(organization);
        }
        if known.is_none_or(|known| known.body != body) {
            out.push(SourceTask::StoreInterest { organization: organization.clone(), body: body.to_owned() });
        }
        let (is_live, told) = known.map_or((false, None), |known| (known.is_live, known.told.clone()));
        let groups = text.groups.into_iter().map(|group| group.id).collect();
        let interest = OrganizationInterest { revision: text.revision, body: body.to_owned(), groups, is_live, told };
        self.organizations.insert(organization.clone(), interest);
        Some(organization)
    }

    /// Whether no organization ever reported an interest.
    pub(super) fn is_new(&self) -> bool {
        self.organizations.is_empty()
    }

    /// Whether anybody listens.
    pub(super) fn has_any(&self) -> bool {
        self.live().next().is_some()
    }

    /// The organizations with listeners, and their interests.
    pub(super) fn live(&self) -> impl Iterator<Item = (&Rc<str>, &str)> {
        let listens = |(_, interest): &(&Rc<str>, &OrganizationInterest)| !interest.groups.is_empty();
        self.organizations.iter().filter(listens).map(|(organization, interest)| (organization, interest.body.as_str()))
    }

    /// The organizations with listeners, and their interests: all, or those that are not registered on this connection.
    pub(super) fn to_register(&self, is_all: bool) -> impl Iterator<Item = (&Rc<str>, &str)> {
        let is_live = |organization: &Rc<str>| self.organizations.get(organization).is_some_and(|known| known.is_live);
        self.live().filter(move |(organization, _)| is_all || !is_live(organization))
    }

    /// Whether a group of an organization listens.
    pub(super) fn has(&self, organization: &str, group: &str) -> bool {
        self.organizations.get(organization).is_some_and(|interest| interest.groups.contains(group))
    }

    /// Records that the database has registered an interest, with its answer; returns whether the organization must
    /// still be informed.
    pub(super) fn registered(&mut self, organization: &str, answer: &str) -> bool {
        let Some(interest) = self.organizations.get_mut(organization) else { return false };
        let is_news = !interest.is_live || interest.told.as_deref() != Some(answer);
        interest.is_live = true;
        interest.told = Some(Box::from(answer));
        is_news
    }

    /// The connection was lost: returns the organizations that believe their feed to be live.
    pub(super) fn lose(&mut self) -> Vec<Rc<str>> {
        let was_live = |(organization, interest): (&Rc<str>, &mut OrganizationInterest)| {
            (std::mem::take(&mut interest.is_live) && !interest.groups.is_empty()).then(|| organization.clone())
        };
        self.organizations.iter_mut().filter_map(was_live).collect()
    }
}

/// The body of `POST /feed`: the feed is lost, or live again for the tables in this answer to `register`.
pub(super) fn feed(database: &str, registered: Option<&str>) -> String {
    let tables = registered.and_then(|text| serde_json::from_str::<Registered<'_>>(text).ok());
    let state = if tables.is_some() { "live" } else { "lost" };
    serde_json::json!({ "database": database, "state": state, "tables": tables.map(|registered| registered.tables) })
        .to_string()
}

/// The catalog in an answer to `register`.
pub(super) fn tables(registered: &str) -> &str {
    serde_json::from_str::<Registered<'_>>(registered).map_or(registered, |registered| registered.tables.get())
}

/// The answer to an organization without listeners, which does not involve the database.
pub(super) fn nobody(body: &str) -> String {
    let revision = serde_json::from_str::<InterestText>(body).map_or(0, |text| text.revision);
    serde_json::json!({ "revision": revision, "tables": [] }).to_string()
}
