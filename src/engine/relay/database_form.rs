//! Messages between the objects of one tenant about its database: interests, questions, answers and verdicts.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::engine::database::remote::GroupForm;
use crate::engine::database::verdict::{RoleVerdicts, Verdict};
use crate::policy::table::distinct;

/// From a relay to the root.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::engine) enum DatabaseUp {
    /// Who listens to which tables, replacing the previous report.
    Listen { revision: u64, groups: Vec<GroupForm> },
    /// A question to the database.
    Question { kind: QuestionKind, number: u64, body: String },
}

/// From the root to a relay.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::engine) enum DatabaseDown {
    /// The database judges for this interest, with these tables.
    Listening { revision: u64, lost: bool, catalog: String },
    /// The answer to a question; `None` if there was none.
    Answered { kind: QuestionKind, number: u64, text: Option<String> },
    /// The changes have stopped or resumed; with the tables if they have changed.
    Feed { lost: bool, catalog: Option<String> },
}

/// The kind of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::engine) enum QuestionKind {
    /// Who sees these rows now.
    Judge,
    /// What a principal may do in a topic.
    Authorize,
}

/// What a role's groups at a relay see of a change: group, new row, old row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VerdictForm {
    columns: Vec<String>,
    groups: Vec<(String, bool, bool)>,
}

/// The part of a verdict for the groups that `is_wanted` selects. All others see nothing.
pub(super) fn verdict_form(verdict: &Verdict, is_wanted: &dyn Fn(&str) -> bool) -> Vec<VerdictForm> {
    let forms = verdict.parts_for(is_wanted).map(|(columns, groups)| VerdictForm {
        columns: columns.iter().cloned().collect(),
        groups: groups.into_iter().map(|(group, new, old)| (group.to_string(), new, old)).collect(),
    });
    forms.filter(|form| !form.groups.is_empty()).collect()
}

/// The verdict.
pub(super) fn verdict(forms: Vec<VerdictForm>) -> Rc<Verdict> {
    let mut verdict = Verdict::default();
    let digit = |sees: bool| if sees { "1" } else { "0" }.to_owned();
    for form in forms {
        let of_group = |(group, new, old): (String, bool, bool)| (Rc::from(group), (digit(new), digit(old)));
        let groups = form.groups.into_iter().map(of_group).collect();
        let role = RoleVerdicts { columns: Rc::new(distinct(form.columns)), groups };
        Verdict::share(role, std::iter::once(Some(&mut verdict)));
    }
    Rc::new(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_told_what_its_own_groups_see_and_nothing_of_others() {
        let columns = Rc::new(["id".to_owned()].into());
        let digits = |new: &str, old: &str| (new.to_owned(), old.to_owned());
        let groups = [("mine", digits("1", "0")), ("theirs", digits("1", "1")), ("blind", digits("0", "0"))];
        let role = RoleVerdicts { columns, groups: groups.map(|(id, digits)| (Rc::from(id), digits)).into() };
        let mut whole = Verdict::default();
        Verdict::share(role, std::iter::once(Some(&mut whole)));
        let forms = verdict_form(&whole, &|group| group != "theirs");
        assert_eq!(forms, [VerdictForm { columns: vec!["id".into()], groups: vec![("mine".into(), true, false)] }]);
        let back = verdict(forms);
        assert_eq!(back.seen_by("mine"), whole.seen_by("mine"));
        assert_eq!((back.seen_by("theirs"), back.seen_by("blind")), (None, None));
        assert!(verdict_form(&whole, &|_| false).is_empty());
    }
}
