//! What row-level security says of one change, for each group of principals.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The verdicts on one change. A group that has none is denied.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Those of each role, and where in them this change stands.
    parts: Vec<(Rc<RoleVerdicts>, usize)>,
}

/// What the groups of one role see of some changes of one table.
#[derive(Clone, Debug, Default)]
pub struct RoleVerdicts {
    /// Columns that the role may read.
    pub columns: Rc<BTreeSet<String>>,
    /// For each group `0` or `1` a change: of the rows after the changes, and of the rows before.
    pub groups: BTreeMap<Rc<str>, (String, String)>,
}

/// What one group sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whether it sees the row after the change.
    pub new: bool,
    /// Whether it sees the row before the change.
    pub old: bool,
    /// The columns that its role may read.
    pub columns: Rc<BTreeSet<String>>,
}

impl Verdict {
    /// Adds the verdicts of a role; the change is the one at `place` of them.
    pub fn add(&mut self, role: Rc<RoleVerdicts>, place: usize) {
        self.parts.push((role, place));
    }

    /// The verdict on a change for one group alone.
    pub fn of_group(group: Rc<str>, seen: &Seen) -> Verdict {
        let digit = |sees: bool| if sees { "1" } else { "0" }.to_owned();
        let groups = [(group, (digit(seen.new), digit(seen.old)))].into();
        Verdict { parts: vec![(Rc::new(RoleVerdicts { columns: seen.columns.clone(), groups }), 0)] }
    }

    /// What a group sees; `None` where nobody has judged for it.
    pub fn seen_by(&self, group: &str) -> Option<Seen> {
        self.parts.iter().find_map(|(role, place)| Some(role.seen(role.groups.get(group)?, *place)))
    }

    /// The groups that see anything.
    pub fn seeing(&self) -> impl Iterator<Item = (&Rc<str>, Seen)> {
        let of_role = |(role, place): &(Rc<RoleVerdicts>, usize)| (role.clone(), *place);
        self.parts
            .iter()
            .flat_map(move |part| {
                let (role, place) = of_role(part);
                part.0.groups.iter().map(move |(group, digits)| (group, role.seen(digits, place)))
            })
            .filter(|(_, seen)| seen.new || seen.old)
    }

    /// How many groups were judged.
    pub fn count(&self) -> usize {
        self.parts.iter().map(|(role, _)| role.groups.len()).sum()
    }
}

impl RoleVerdicts {
    /// What is not said is denied, and so is a row of which no column may be read.
    fn seen(&self, (new, old): &(String, String), place: usize) -> Seen {
        let sees = |digits: &str| digits.as_bytes().get(place) == Some(&b'1') && !self.columns.is_empty();
        Seen { new: sees(new), old: sees(old), columns: self.columns.clone() }
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
            Rc::new(RoleVerdicts { columns, groups: groups.iter().map(group).collect() })
        };
        let mut verdict = Verdict::default();
        verdict.add(role(&["id"], &[("short", "0", ""), ("odd", "0x", "01"), ("sees", "01", "00")]), 1);
        verdict.add(role(&[], &[("blind", "11", "11")]), 1);
        let seen = |group: &str| verdict.seen_by(group).map(|seen| (seen.new, seen.old));
        assert_eq!(seen("short"), Some((false, false)));
        assert_eq!(seen("odd"), Some((false, true)));
        assert_eq!(seen("sees"), Some((true, false)));
        assert_eq!(seen("blind"), Some((false, false)), "no column may be read");
        assert_eq!(seen("other"), None);
        let seeing: Vec<&str> = verdict.seeing().map(|(group, _)| &**group).collect();
        assert_eq!((seeing, verdict.count()), (vec!["odd", "sees"], 4));
    }
}
