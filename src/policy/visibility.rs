//! Row visibility: which rows of a table a principal may see, from `rows` in the configuration.

use std::collections::BTreeSet;

use super::masking::MAX_ROLES;
use super::principal::Principal;
use crate::code::Refusal;
use crate::value::form::Field;
use crate::value::row::Row;

/// Maximum rules of one table.
const MAX_RULES: usize = 32;
/// Bytes of a column or claim name.
const MAX_NAME: usize = 128;

/// The `rows` of a table: a row is visible if any rule matches. Without rules every row is visible.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visibility {
    rules: Option<Vec<RowRule>>,
}

/// One rule: the principal holds one of `roles` (if given), and the column equals one of the principal's values of the
/// claim (if given).
#[derive(Clone, Debug, PartialEq, Eq)]
struct RowRule {
    roles: Option<Vec<String>>,
    matched: Option<ColumnClaim>,
}

/// A column and the claim that it must equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnClaim {
    /// The column of the row.
    pub column: String,
    /// The claim of the principal.
    pub claim: String,
}

impl Visibility {
    /// Reads `[ { roles?, column?, claim? } ]`.
    ///
    /// # Errors
    /// On an unknown key, a wrong type, or a rule that names nothing.
    pub fn read(field: &Field<'_>) -> Result<Visibility, Refusal> {
        let rules = field.list(MAX_RULES)?;
        Ok(Visibility { rules: Some(rules.iter().map(RowRule::read).collect::<Result<_, Refusal>>()?) })
    }

    /// Lets holders of a role see every row, if rules restrict the table.
    pub fn admit(&mut self, role: &str) {
        let rule = RowRule { roles: Some(vec![role.to_owned()]), matched: None };
        self.rules.iter_mut().for_each(|rules| rules.push(rule.clone()));
    }

    /// Whether every row is visible to everyone.
    pub fn is_open(&self) -> bool {
        self.rules.is_none()
    }

    /// Whether a holder of these roles sees every row, regardless of identity.
    pub fn by_roles(&self, principal_roles: &super::roles::Roles) -> bool {
        let Some(rules) = &self.rules else { return true };
        rules
            .iter()
            .any(|rule| rule.matched.is_none() && rule.roles.as_ref().is_some_and(|roles| principal_roles.any(roles)))
    }

    /// Whether the principal sees this row.
    pub fn shows(&self, row: &Row, principal: &Principal) -> bool {
        let Some(rules) = &self.rules else { return true };
        rules.iter().any(|rule| rule.matches(row, principal))
    }

    /// The pairs of column and claim through which individual principals see rows.
    pub fn matched(&self) -> impl Iterator<Item = &ColumnClaim> {
        self.rules.iter().flatten().filter_map(|rule| rule.matched.as_ref())
    }

    /// Adds the names of the claims that the rules refer to.
    pub fn claims(&self, names: &mut BTreeSet<String>) {
        names.extend(self.matched().map(|pair| pair.claim.clone()));
    }
}

impl RowRule {
    fn read(field: &Field<'_>) -> Result<RowRule, Refusal> {
        let mut form = field.form()?;
        let roles = form.take("roles").map(|roles| roles.texts(MAX_ROLES)).transpose()?;
        let column = form.take("column").map(|column| column.name(MAX_NAME)).transpose()?;
        let claim = form.take("claim").map(|claim| claim.name(MAX_NAME)).transpose()?;
        form.finish()?;
        let matched = match (column, claim) {
            (Some(column), Some(claim)) => Some(ColumnClaim { column, claim }),
            (None, None) if roles.is_some() => None,
            _ => return Err(field.refuse("must name roles, or a column and a claim")),
        };
        Ok(RowRule { roles, matched })
    }

    fn matches(&self, row: &Row, principal: &Principal) -> bool {
        let roles = self.roles.as_ref().is_none_or(|roles| principal.roles.any(roles));
        let matched = self
            .matched
            .as_ref()
            .is_none_or(|pair| row.key(&pair.column).is_some_and(|key| principal.claim(&pair.claim).contains(&key)));
        roles && matched
    }
}
