//! The verdicts of row-level security on a change, by group of principals.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What a group sees of a change: its id, whether it sees the new row, and the old row.
type GroupSight<'a> = (&'a Rc<str>, bool, bool);

/// The verdicts on one change. A group that has none is denied.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    parts: Vec<Part>,
}

/// What the groups of one role see of one change.
#[derive(Clone, Debug)]
struct Part {
    role: Rc<RoleVerdicts>,
    /// The index of the change in them.
    place: usize,
    /// The groups that see anything, precomputed because most see nothing.
    seeing: Vec<Rc<str>>,
}

/// What the groups of one role see of some changes of one table.
#[derive(Clone, Debug, Default)]
pub struct RoleVerdicts {
    /// Columns that the role may read.
    pub columns: Rc<BTreeSet<String>>,
    /// For each group, one digit per change, `0` or `1`: first for the new rows, then for the old rows.
    pub groups: BTreeMap<Rc<str>, (String, String)>,
}

/// What one group sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whether it sees the new row.
    pub new: bool,
    /// Whether it sees the old row.
    pub old: bool,
    /// The columns that its role may read.
    pub columns: Rc<BTreeSet<String>>,
}

impl Verdict {
    /// Adds the verdicts of a role; `place` is the index of the change in them, and `seeing` are the groups that see
    /// it.
    fn add(&mut self, role: Rc<RoleVerdicts>, place: usize, seeing: Vec<Rc<str>>) {
        self.parts.push(Part { role, place, seeing });
    }

    /// Distributes the verdicts of a role, in order, to the changes that they concern.
    pub fn share<'a>(role: RoleVerdicts, verdicts: impl Iterator<Item = Option<&'a mut Verdict>>) {
        let role = Rc::new(role);
        let verdicts: Vec<Option<&mut Verdict>> = verdicts.collect();
        let mut seeing: Vec<Vec<Rc<str>>> = vec![Vec::new(); verdicts.len()];
        for (group, digits) in &role.groups {
            let places = seeing.iter_mut().enumerate().filter(|(place, _)| role.shows(digits, *place));
            places.for_each(|(_, seeing)| seeing.push(group.clone()));
        }
        for ((place, verdict), seeing) in verdicts.into_iter().enumerate().zip(seeing) {
            if let Some(verdict) = verdict {
                verdict.add(role.clone(), place, seeing);
            }
        }
    }

    /// The verdict on a change for one group alone.
    pub fn of_group(group: Rc<str>, seen: &Seen) -> Verdict {
        let digit = |sees: bool| if sees { "1" } else { "0" }.to_owned();
        let groups = [(group, (digit(seen.new), digit(seen.old)))].into();
        let mut verdict = Verdict::default();
        let role = RoleVerdicts { columns: seen.columns.clone(), groups };
        Verdict::share(role, std::iter::once(Some(&mut verdict)));
        verdict
    }

    /// What a group sees; `None` if there is no verdict for it.
    pub fn seen_by(&self, group: &str) -> Option<Seen> {
        self.parts.iter().find_map(|part| Some(part.role.seen(part.role.groups.get(group)?, part.place)))
    }

    /// The groups that see anything.
    pub fn seeing(&self) -> impl Iterator<Item = &Rc<str>> {
        self.parts.iter().flat_map(|part| &part.seeing)
    }

    /// For each role, its readable columns, and the wanted groups that see anything: group, new row, old row.
    pub fn parts_for<'a>(
        &'a self,
        is_wanted: &'a dyn Fn(&str) -> bool,
    ) -> impl Iterator<Item = (&'a BTreeSet<String>, Vec<GroupSight<'a>>)> {
        self.parts.iter().map(move |part| {
            let wanted = part.seeing.iter().filter(|group| is_wanted(group));
            let seen = wanted.filter_map(|group| {
                let Seen { new, old, .. } = part.role.seen(part.role.groups.get(group)?, part.place);
                Some((group, new, old))
            });
            (&*part.role.columns, seen.collect())
        })
    }

    /// How many groups were judged.
    pub fn count(&self) -> usize {
        self.parts.iter().map(|part| part.role.groups.len()).sum()
    }
}

impl RoleVerdicts {
    fn seen(&self, (new, old): &(String, String), place: usize) -> Seen {
        Seen { new: self.is_one(new, place), old: self.is_one(old, place), columns: self.columns.clone() }
    }

    fn shows(&self, (new, old): &(String, String), place: usize) -> bool {
        self.is_one(new, place) || self.is_one(old, place)
    }

    /// Missing digits deny, and so does a role that may read no column.
    fn is_one(&self, digits: &str, place: usize) -> bool {
        digits.as_bytes().get(place) == Some(&b'1') && !self.columns.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_denied() {
        let role = |columns: &[&str], groups: &[(&str, &str, &str)]| {
            let columns = Rc::new(columns.iter().map(|column| (*column).to_owned()).collect());
            let group = |(id, new, old): &(&str, &str, &str)| (Rc::from(*id), ((*new).to_owned(), (*old).to_owned()));
            RoleVerdicts { columns, groups: groups.iter().map(group).collect() }
        };
        let mut verdict = Verdict::default();
        // The change is the second of those that the role has verdicts on; the first is not in the batch.
        let roles = [
            role(&["id"], &[("short", "0", ""), ("odd", "0x", "01"), ("sees", "01", "00")]),
            role(&[], &[("blind", "11", "11")]),
        ];
        roles.into_iter().for_each(|role| Verdict::share(role, [None, Some(&mut verdict)].into_iter()));
        let seen = |group: &str| verdict.seen_by(group).map(|seen| (seen.new, seen.old));
        assert_eq!(seen("short"), Some((false, false)));
        assert_eq!(seen("odd"), Some((false, true)));
        assert_eq!(seen("sees"), Some((true, false)));
        assert_eq!(seen("blind"), Some((false, false)), "no column may be read");
        assert_eq!(seen("other"), None);
        let seeing: Vec<&str> = verdict.seeing().map(|group| &**group).collect();
        assert_eq!((seeing, verdict.count()), (vec!["odd", "sees"], 4));
    }
}
