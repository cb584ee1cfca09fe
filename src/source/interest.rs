//! Who listens in which organization.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::task::SourceTask;
use crate::policy::organization::is_organization;

/// The last word of every organization.
#[derive(Default)]
pub struct Interests {
    organizations: BTreeMap<Rc<str>, OrganizationInterest>,
}

struct OrganizationInterest {
    revision: u64,
    body: String,
    groups: BTreeSet<String>,
    /// Whether the database knows, on the connection that stands.
    is_live: bool,
    /// What the database said of its tables, as the organization was last told.
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
    /// What was stored; what cannot be read is told again by whoever said it.
    pub(super) fn of(stored: Vec<String>) -> Interests {
        let mut interests = Interests::default();
        for body in stored {
            interests.tell(&body, &mut Vec::new());
        }
        interests
    }

    /// Takes in what an organization says, unless a later word came before it. `None` when it makes no sense.
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

    /// Whether no organization ever said anything.
    pub(super) fn is_new(&self) -> bool {
        self.organizations.is_empty()
    }

    /// Whether anybody listens.
    pub(super) fn has_any(&self) -> bool {
        self.live().next().is_some()
    }

    /// Organizations in which somebody listens, with what they said.
    pub(super) fn live(&self) -> impl Iterator<Item = (&Rc<str>, &str)> {
        let listens = |(_, interest): &(&Rc<str>, &OrganizationInterest)| !interest.groups.is_empty();
        self.organizations.iter().filter(listens).map(|(organization, interest)| (organization, interest.body.as_str()))
    }

    /// Whether this group listens there.
    pub(super) fn has(&self, organization: &str, group: &str) -> bool {
        self.organizations.get(organization).is_some_and(|interest| interest.groups.contains(group))
    }

    /// The database knows what an organization said, and answered this. Whether the organization has yet to be told.
    pub(super) fn registered(&mut self, organization: &str, answer: &str) -> bool {
        let Some(interest) = self.organizations.get_mut(organization) else { return false };
        let is_news = !interest.is_live || interest.told.as_deref() != Some(answer);
        interest.is_live = true;
        interest.told = Some(Box::from(answer));
        is_news
    }

    /// The connection is gone: the organizations that were told that their feed is live.
    pub(super) fn lose(&mut self) -> Vec<Rc<str>> {
        let was_live = |(organization, interest): (&Rc<str>, &mut OrganizationInterest)| {
            (std::mem::take(&mut interest.is_live) && !interest.groups.is_empty()).then(|| organization.clone())
        };
        self.organizations.iter_mut().filter_map(was_live).collect()
    }
}

/// The body of `POST /feed`: the feed is lost, or live again for the tables of this answer to `register`.
pub(super) fn feed(database: &str, registered: Option<&str>) -> String {
    let tables = registered.and_then(|text| serde_json::from_str::<Registered<'_>>(text).ok());
    let state = if tables.is_some() { "live" } else { "lost" };
    serde_json::json!({ "database": database, "state": state, "tables": tables.map(|registered| registered.tables) })
        .to_string()
}

/// What an answer to `register` says of the tables.
pub(super) fn tables(registered: &str) -> &str {
    serde_json::from_str::<Registered<'_>>(registered).map_or(registered, |registered| registered.tables.get())
}

/// The answer to an organization in which nobody listens any more, which the database need not be asked for.
pub(super) fn nobody(body: &str) -> String {
    let revision = serde_json::from_str::<InterestText>(body).map_or(0, |text| text.revision);
    serde_json::json!({ "revision": revision, "tables": [] }).to_string()
}
