//! The rules of one publication: the stricter of the configuration's and the request's (docs/configuration.md).

use std::collections::BTreeSet;
use std::rc::Rc;

use super::class::Judge;
use crate::engine::database::verdict::{Seen, Verdict};
use crate::engine::event::View;
use crate::engine::message::Accepted;
use crate::engine::publication::{Content, Payload, Publication};
use crate::policy::configuration::Configuration;
use crate::policy::masking::{Hidden, Masking};
use crate::policy::principal::{self, Principal};
use crate::policy::roles::Roles;
use crate::policy::table::{Deletes, Operation, Table};
use crate::value::json::{self, Kind};
use crate::value::row::Row;

/// Everything that decides who sees what of one publication.
pub(super) struct Rules<'a> {
    publication: &'a Publication,
    /// The database's verdict on who may see it.
    verdict: Option<&'a Verdict>,
    pub(super) table: &'a Table,
    masking: Masking,
    new_owner: Option<String>,
    old_owner: Option<String>,
}

/// How a recipient, or a class of them, relates to the rows of a publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sight {
    pub(super) sees_new: bool,
    pub(super) sees_old: bool,
    pub(super) owns_new: bool,
    pub(super) owns_old: bool,
}

/// What a database lets a recipient see, before any other rule applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    sees_new: bool,
    sees_old: bool,
    /// The readable columns; `None` means all.
    columns: Option<Rc<BTreeSet<String>>>,
}

/// Determines a view before it is computed: equal keys give equal views.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ViewKey {
    operation: Option<Operation>,
    new: Option<Hidden>,
    old: Option<Hidden>,
    /// The columns that the database lets the recipient read; `None` means all.
    columns: Option<Rc<BTreeSet<String>>>,
}

impl<'a> Rules<'a> {
    pub(super) fn of(accepted: &'a Accepted, configuration: &'a Configuration) -> Rules<'a> {
        let publication = &*accepted.publication;
        let table = match &publication.content {
            Content::Change { schema, table, .. } => configuration.tables.get(schema, table),
            Content::Message { .. } => configuration.tables.unknown(),
        };
        let masking = table.masking.and(&publication.masking);
        let owner_field = table.owner_field.as_deref().or(publication.owner_field.as_deref());
        let owner = |row: Option<&Row>| row.and_then(|row| principal::owner(row, owner_field));
        let (new_owner, old_owner) = match &publication.content {
            // Without masks, owners see no more than others and need not be looked up.
            _ if masking.is_empty() => (None, None),
            Content::Change { new, old, .. } => (owner(new.as_ref()), owner(old.as_ref())),
            Content::Message { payload: Payload::Json(json), .. } => (owner(Row::read(json).ok().as_ref()), None),
            Content::Message { payload: Payload::Binary(_), .. } => (None, None),
        };
        Rules { publication, verdict: accepted.verdict.as_deref(), table, masking, new_owner, old_owner }
    }

    /// Whether any event is sent.
    pub(super) fn announces(&self) -> bool {
        match &self.publication.content {
            Content::Change { operation, .. } => self.table.announces(*operation),
            Content::Message { .. } => true,
        }
    }

    /// Whether holders of these roles are in the audience.
    pub(super) fn admits(&self, roles: &Roles) -> bool {
        let holds = |wanted: &Option<Vec<String>>| wanted.as_ref().is_none_or(|wanted| roles.any(wanted));
        holds(&self.publication.target_roles) && holds(&self.table.required_roles)
    }

    /// What a database shows recipients with this judge; `None` means nothing. A row without a verdict is visible to
    /// nobody.
    pub(super) fn judged(&self, judge: &Judge) -> Option<Judged> {
        let all = Judged { sees_new: true, sees_old: true, columns: None };
        let Some(database) = &self.publication.database else { return Some(all) };
        let judged = match judge {
            Judge::Nobody => return None,
            Judge::Bypass => all,
            Judge::Group(group) => {
                let Seen { new, old, columns } = self.verdict?.seen_by(group)?;
                Judged { sees_new: new, sees_old: old, columns: Some(columns) }
            }
        };
        if !self.deletes_by_key() {
            return (judged.sees_new || judged.sees_old).then_some(judged);
        }
        let may_read = |column: &&String| judged.columns.as_ref().is_none_or(|columns| columns.contains(*column));
        let key: BTreeSet<String> = database.key.iter().filter(may_read).cloned().collect();
        (!key.is_empty()).then(|| Judged { sees_new: false, sees_old: true, columns: Some(Rc::new(key)) })
    }

    /// The verdict by which recipients are found; `None` when every subscriber may be one.
    pub(super) fn verdict(&self) -> Option<&'a Verdict> {
        self.verdict.filter(|_| !self.deletes_by_key())
    }

    /// Whether every subscriber receives the key of a deleted row.
    fn deletes_by_key(&self) -> bool {
        let is_delete = matches!(self.publication.content, Content::Change { operation: Operation::Delete, .. });
        self.publication.database.is_some() && is_delete && self.table.deletes == Some(Deletes::Key)
    }

    /// Whether a recipient may see a value in this column that differs from the row's.
    pub(super) fn masks(&self, column: &str) -> bool {
        self.masking.touches(column)
    }

    /// How recipients that have only these roles relate to the rows.
    pub(super) fn sight_of_roles(&self, roles: &Roles) -> Sight {
        let sees = self.table.visibility.by_roles(roles);
        Sight { sees_new: sees, sees_old: sees, owns_new: false, owns_old: false }
    }

    /// How one principal relates to the rows.
    pub(super) fn sight_of(&self, principal: &Principal) -> Sight {
        let visibility = &self.table.visibility;
        let sees = |row: Option<&Row>| match row {
            Some(row) => visibility.shows(row, principal),
            None => visibility.by_roles(&principal.roles),
        };
        let (new, old) = self.rows();
        Sight {
            sees_new: sees(new),
            sees_old: sees(old),
            owns_new: principal.is(self.new_owner.as_deref()),
            owns_old: principal.is(self.old_owner.as_deref()),
        }
    }

    /// The users that own a row.
    pub(super) fn owners(&self) -> impl Iterator<Item = &String> {
        self.new_owner.iter().chain(&self.old_owner)
    }

    /// The claims and values through which principals see a row that their roles do not show.
    pub(super) fn claims(&self) -> Vec<(&str, String)> {
        let (new, old) = self.rows();
        let pairs = self.table.visibility.matched();
        pairs
            .flat_map(|pair| {
                [new, old].into_iter().flatten().filter_map(|row| Some((pair.claim.as_str(), row.key(&pair.column)?)))
            })
            .collect()
    }

    /// What a recipient with these roles and this sight sees; `None` means nothing.
    pub(super) fn view_key(&self, roles: &Roles, sight: Sight, judged: &Judged) -> Option<ViewKey> {
        let sight =
            Sight { sees_new: sight.sees_new && judged.sees_new, sees_old: sight.sees_old && judged.sees_old, ..sight };
        let columns = judged.columns.clone();
        let hidden = |owns| self.masking.hidden(roles, owns);
        let Content::Change { operation, old, .. } = &self.publication.content else {
            return Some(ViewKey { operation: None, new: Some(hidden(sight.owns_new)), old: None, columns });
        };
        let operation = self.operation_for(*operation, old.is_some(), sight)?;
        let with_new = operation != Operation::Delete;
        let with_old = old.is_some() && sight.sees_old && operation != Operation::Insert;
        Some(ViewKey {
            operation: Some(operation),
            new: with_new.then(|| hidden(sight.owns_new)),
            old: with_old.then(|| hidden(sight.owns_old)),
            columns,
        })
    }

    /// The change as its recipients see it.
    pub(super) fn view(&self, key: &ViewKey) -> Option<View> {
        let (new, old) = self.rows();
        let seen = |row: Option<&Row>, hidden: &Option<Hidden>| {
            let row = self.seen(row?, hidden.as_ref()?);
            Some(key.columns.as_ref().map_or(row.clone(), |columns| row.project(|column| columns.contains(column))))
        };
        Some(View { operation: key.operation?, new: seen(new, &key.new), old: seen(old, &key.old) })
    }

    /// The message's payload as its recipients see it. Bytes are never masked: a publication has either bytes or masks.
    pub(super) fn payload(&self, payload: &Payload, key: &ViewKey) -> Payload {
        match (payload, &key.new) {
            (Payload::Json(json), Some(hidden)) if !self.masking.is_empty() => {
                Payload::Json(Rc::from(self.masked(json, hidden)))
            }
            _ => payload.clone(),
        }
    }

    fn masked(&self, json: &str, hidden: &Hidden) -> String {
        match (json::kind(json), Row::read(json)) {
            (Kind::Object, Ok(row)) => {
                let mut out = String::with_capacity(json.len());
                self.masking.apply(&row, hidden).write(&mut out);
                out
            }
            _ => self.masking.apply_json(json, hidden),
        }
    }

    /// The operation for a recipient that sees the row before it, after it, or both (docs/protocol-native.md, Row
    /// visibility).
    fn operation_for(&self, operation: Operation, old_is_known: bool, sight: Sight) -> Option<Operation> {
        match (operation, sight.sees_new, sight.sees_old) {
            (Operation::Insert, sees, _) => sees.then_some(Operation::Insert),
            (Operation::Delete, _, sees) => sees.then_some(Operation::Delete),
            (Operation::Update, true, true) => Some(Operation::Update),
            // Without the old row, it is unknown whether they saw it.
            (Operation::Update, true, false) => Some(if old_is_known { Operation::Insert } else { Operation::Update }),
            (Operation::Update, false, true) => old_is_known.then_some(Operation::Delete),
            (Operation::Update, false, false) => None,
        }
    }

    pub(super) fn rows(&self) -> (Option<&'a Row>, Option<&'a Row>) {
        match &self.publication.content {
            Content::Change { new, old, .. } => (new.as_ref(), old.as_ref()),
            Content::Message { .. } => (None, None),
        }
    }

    /// A row without the columns that are excluded or hidden. Masks need the whole row, because a dotted name is a path
    /// only if no column has that name.
    fn seen(&self, row: &Row, hidden: &Hidden) -> Row {
        let masked = self.masking.apply(row, hidden);
        match (&self.publication.fields, &self.table.fields) {
            (None, None) => masked,
            (request, table) => {
                masked.project(|column| [request, table].into_iter().flatten().all(|fields| fields.contains(column)))
            }
        }
    }
}
