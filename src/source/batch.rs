//! A batch as the database returns it, and its parts for the organizations.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::interest::Interests;
use crate::policy::database::{Database, Serves};
use crate::policy::organization::is_organization;

/// The answer to `take`. Rows remain unparsed text.
#[derive(Deserialize)]
pub(super) struct TakenBatch<'a> {
    batch: Option<u64>,
    #[serde(default)]
    next: Option<String>,
    #[serde(default)]
    system: Option<String>,
    #[serde(borrow, default)]
    changes: Vec<TakenChange<'a>>,
    #[serde(borrow, default)]
    verdicts: Vec<TakenVerdict<'a>>,
}

#[derive(Clone, Deserialize, Serialize)]
struct TakenChange<'a> {
    schema: Option<String>,
    table: Option<String>,
    op: String,
    at: Option<String>,
    organization: Option<String>,
    old_organization: Option<String>,
    #[serde(borrow)]
    new: Option<&'a RawValue>,
    #[serde(borrow)]
    old: Option<&'a RawValue>,
    #[serde(default)]
    truncated: bool,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct TakenVerdict<'a> {
    schema: String,
    table: String,
    role: String,
    #[serde(borrow)]
    columns: &'a RawValue,
    changes: Vec<usize>,
    groups: Vec<String>,
    new: Vec<String>,
    old: Vec<String>,
    #[serde(borrow, default)]
    failed: BTreeMap<String, &'a RawValue>,
}

/// The part of one organization, as its object reads it.
#[derive(Serialize)]
struct OrganizationPart<'a> {
    database: &'a str,
    epoch: &'a str,
    batch: u64,
    changes: Vec<&'a TakenChange<'a>>,
    verdicts: Vec<PartVerdict<'a>>,
}

#[derive(Serialize)]
struct PartVerdict<'a> {
    schema: &'a str,
    table: &'a str,
    role: &'a str,
    columns: &'a RawValue,
    changes: Vec<usize>,
    groups: Vec<&'a str>,
    new: Vec<String>,
    old: Vec<String>,
    failed: BTreeMap<&'a str, &'a RawValue>,
}

/// A change of one organization: its index in the batch, and which of its row images belong to this organization.
struct OwnedChange<'a> {
    number: usize,
    change: TakenChange<'a>,
    has_new: bool,
    has_old: bool,
}

impl<'a> TakenBatch<'a> {
    pub(super) fn read(text: &'a str) -> serde_json::Result<TakenBatch<'a>> {
        serde_json::from_str(text)
    }

    /// Its number; `None` if there are no changes.
    pub(super) fn number(&self) -> Option<u64> {
        self.batch
    }

    /// How many changes it has.
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether the database will notify when there are further changes.
    pub(super) fn may_sleep(&self) -> bool {
        self.next.as_deref() == Some("sleep")
    }

    /// The body for each organization with a change in the batch.
    pub(super) fn parts(&self, database: &Database, interests: &Interests) -> Vec<(Rc<str>, String)> {
        let mut owned: BTreeMap<&str, Vec<OwnedChange<'a>>> = BTreeMap::new();
        for (number, change) in self.changes.iter().enumerate() {
            for (organization, of) in owners(number, change, &database.serves) {
                owned.entry(organization).or_default().push(of);
            }
        }
        let body = |(organization, changes): (&str, Vec<OwnedChange<'a>>)| {
            let part = self.part(organization, &changes, database, interests);
            // This always serializes: its keys are strings.
            Some((Rc::from(organization), serde_json::to_string(&part).ok()?))
        };
        owned.into_iter().filter_map(body).collect()
    }

    fn part<'b>(
        &'b self,
        organization: &str,
        owned: &'b [OwnedChange<'a>],
        database: &'b Database,
        interests: &Interests,
    ) -> OrganizationPart<'b>
    where
        'a: 'b,
    {
        let verdicts = self.verdicts.iter().filter_map(|verdict| verdict.of(organization, owned, interests));
        OrganizationPart {
            database: &database.name,
            epoch: self.system.as_deref().unwrap_or_default(),
            batch: self.batch.unwrap_or_default(),
            changes: owned.iter().map(|owned| &owned.change).collect(),
            verdicts: verdicts.collect(),
        }
    }
}

/// The organizations of a change: a row that moves leaves one and enters another.
fn owners<'b, 'a: 'b>(
    number: usize,
    change: &'b TakenChange<'a>,
    serves: &'b Serves,
) -> Vec<(&'b str, OwnedChange<'a>)> {
    let whole = |organization: &'b str| (organization, OwnedChange::whole(number, change));
    let (new, old) = match serves {
        Serves::Organization(organization) => return vec![whole(organization)],
        Serves::Column(_) | Serves::Each(_) => (change.organization.as_deref(), change.old_organization.as_deref()),
    };
    let moves = change.op == "UPDATE" && new != old;
    let owners = match moves {
        false => vec![new.or(old).map(whole)],
        true => vec![
            old.map(|old| (old, OwnedChange { has_new: false, ..OwnedChange::moved(number, change, "DELETE") })),
            new.map(|new| (new, OwnedChange { has_old: false, ..OwnedChange::moved(number, change, "INSERT") })),
        ],
    };
    owners.into_iter().flatten().filter(|(organization, _)| is_organization(organization)).collect()
}

impl<'a> OwnedChange<'a> {
    fn whole(number: usize, change: &TakenChange<'a>) -> OwnedChange<'a> {
        OwnedChange { number, change: change.clone(), has_new: true, has_old: true }
    }

    fn moved(number: usize, change: &TakenChange<'a>, op: &str) -> OwnedChange<'a> {
        let mut moved = OwnedChange::whole(number, change);
        moved.change.op = op.to_owned();
        match op {
            "DELETE" => moved.change.new = None,
            _ => moved.change.old = None,
        }
        moved
    }
}

impl TakenVerdict<'_> {
    /// The part of this verdict for an organization's changes and groups; `None` if there is nothing.
    fn of<'b>(
        &'b self,
        organization: &str,
        owned: &[OwnedChange<'_>],
        interests: &Interests,
    ) -> Option<PartVerdict<'b>> {
        // The index of a change in this verdict, and in the organization's part.
        let heres: BTreeMap<usize, usize> =
            self.changes.iter().enumerate().map(|(here, number)| (*number, here)).collect();
        let places: Vec<(usize, usize, &OwnedChange<'_>)> = owned
            .iter()
            .enumerate()
            .filter_map(|(place, owned)| Some((*heres.get(&owned.number)?, place, owned)))
            .collect();
        let listens: Vec<usize> = (0..self.groups.len())
            .filter(|index| self.groups.get(*index).is_some_and(|group| interests.has(organization, group)))
            .collect();
        if places.is_empty() || listens.is_empty() {
            return None;
        }
        let digits = |all, has| digits(all, has, &listens, &places);
        let groups: Vec<&str> =
            listens.iter().filter_map(|index| self.groups.get(*index)).map(String::as_str).collect();
        let failed = self.failed.iter().filter(|(group, _)| groups.contains(&group.as_str()));
        Some(PartVerdict {
            schema: &self.schema,
            table: &self.table,
            role: &self.role,
            columns: self.columns,
            changes: places.iter().map(|(_, place, _)| *place).collect(),
            new: digits(&self.new, |owned| owned.has_new),
            old: digits(&self.old, |owned| owned.has_old),
            failed: failed.map(|(group, code)| (group.as_str(), *code)).collect(),
            groups,
        })
    }
}

/// The digits of the groups that listen, for the changes at these places.
fn digits(
    all: &[String],
    has: fn(&OwnedChange<'_>) -> bool,
    listens: &[usize],
    places: &[(usize, usize, &OwnedChange<'_>)],
) -> Vec<String> {
    let of_group = |index: &usize| {
        let sees = all.get(*index).map_or(&[] as &[u8], |text| text.as_bytes());
        let digit = |(here, _, owned): &(usize, usize, &OwnedChange<'_>)| {
            // Visible only if the verdict says so.
            if has(owned) && sees.get(*here) == Some(&b'1') { '1' } else { '0' }
        };
        places.iter().map(digit).collect::<String>()
    };
    listens.iter().map(of_group).collect()
}
