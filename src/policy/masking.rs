//! Masking rules: which fields of a row are hidden from whom, and the row as such a recipient sees it.

use std::rc::Rc;

use super::mask::Mask;
use super::roles::Roles;
use crate::code::{Code, Refusal};
use crate::value::form::Field;
use crate::value::json::{self, Kind};
use crate::value::row::{Column, Row};

/// Maximum fields in one masking configuration; each costs work at every publication.
const MAX_FIELDS: usize = 64;
/// Roles that one rule may name.
pub(crate) const MAX_ROLES: usize = 64;
/// Steps of a dotted path.
const MAX_STEPS: usize = 16;
/// Maximum nesting of arrays that a path traverses: each level takes stack, and the writer of a row controls the depth.
const MAX_ARRAYS: usize = 16;

/// The rules of one or several masking configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masking {
    fields: Vec<FieldRules>,
}

/// All rules for one field. A recipient sees the value only if every rule shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldRules {
    field: Rc<str>,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    mask: Mask,
    roles: Vec<String>,
    owner: bool,
}

/// What one recipient does not see: a mask for each field of a [`Masking`], in order. Equal values give equal views.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hidden(Vec<Option<Mask>>);

impl Masking {
    /// Reads `{ field: { type, show?: { roles?, or? } } }`.
    ///
    /// # Errors
    /// On an unknown mask type ([`Code::UnknownMaskType`]), an unknown key, or a wrong type.
    pub fn read(field: &Field<'_>) -> Result<Masking, Refusal> {
        let mut form = field.form()?;
        let entries = form.rest();
        if entries.len() > MAX_FIELDS {
            return Err(field.refuse(&format!("must name at most {MAX_FIELDS} fields")));
        }
        let fields = entries.into_iter().map(|(name, value)| {
            if name.split('.').count() > MAX_STEPS {
                return Err(value.refuse(&format!("must have at most {MAX_STEPS} steps")));
            }
            Ok(FieldRules { field: Rc::from(name), rules: vec![Rule::read(&value)?] })
        });
        Ok(Masking { fields: fields.collect::<Result<_, Refusal>>()? })
    }

    /// Merges two rule sets: what either hides is hidden.
    pub fn and(&self, other: &Masking) -> Masking {
        let mut both = self.clone();
        for theirs in &other.fields {
            match both.fields.iter_mut().find(|ours| ours.field == theirs.field) {
                Some(ours) => ours.rules.extend(theirs.rules.iter().cloned()),
                None => both.fields.push(theirs.clone()),
            }
        }
        both
    }

    /// The masked fields: columns, or dotted paths.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| &*field.field)
    }

    /// Whether nothing is ever masked.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Whether a recipient may see a value in this column that differs from the row's.
    pub fn touches(&self, column: &str) -> bool {
        let leads_to =
            |field: &str| field.strip_prefix(column).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.fields.iter().any(|rules| leads_to(&rules.field))
    }

    /// What a holder of `roles` does not see of a row that it owns or does not own.
    pub fn hidden(&self, roles: &Roles, owner: bool) -> Hidden {
        let mask = |field: &FieldRules| {
            let masks = field.rules.iter().filter(|rule| !rule.shows(roles, owner)).map(|rule| rule.mask);
            masks.reduce(Mask::stricter)
        };
        Hidden(self.fields.iter().map(mask).collect())
    }

    /// The row without what is `hidden`.
    pub fn apply(&self, row: &Row, hidden: &Hidden) -> Row {
        let mut seen = row.clone();
        for (field, mask) in self.fields.iter().zip(&hidden.0) {
            if let Some(mask) = mask {
                hide(&mut seen, row, &field.field, *mask);
            }
        }
        seen
    }

    /// A JSON value that is not a row (any payload) without what is `hidden`.
    pub fn apply_json(&self, json: &str, hidden: &Hidden) -> String {
        let mut seen = json.to_owned();
        for (field, mask) in self.fields.iter().zip(&hidden.0) {
            if let Some(mask) = mask {
                seen = hide_within(&seen, &steps(&field.field), *mask, MAX_ARRAYS);
            }
        }
        seen
    }
}

impl Rule {
    fn read(field: &Field<'_>) -> Result<Rule, Refusal> {
        let mut form = field.form()?;
        let kind = form.require("type")?;
        let mask = Mask::named(&kind.text()?);
        let mask = mask.ok_or_else(|| Refusal { code: Code::UnknownMaskType, ..kind.refuse("is no mask type") })?;
        let mut rule = Rule { mask, roles: Vec::new(), owner: false };
        if let Some(show) = form.take("show") {
            let mut show = show.form()?;
            if let Some(roles) = show.take("roles") {
                rule.roles = roles.texts(MAX_ROLES)?;
            }
            if let Some(or) = show.take("or") {
                rule.owner = or.text()? == "owner";
                if !rule.owner {
                    return Err(or.refuse("must be \"owner\""));
                }
            }
            show.finish()?;
        }
        form.finish()?;
        Ok(rule)
    }

    fn shows(&self, roles: &Roles, owner: bool) -> bool {
        (self.owner && owner) || roles.any(&self.roles)
    }
}

/// A field names a top-level column; if `original` has no such column, it is a dotted path.
fn hide(seen: &mut Row, original: &Row, field: &str, mask: Mask) {
    let steps = steps(field);
    let whole = original.get(field).is_some();
    for column in &mut seen.columns {
        if whole && &*column.name == field {
            column.json = Rc::from(mask.json(&column.json));
        } else if !whole && let Some(further) = beyond(&steps, &column.name) {
            column.json = Rc::from(hide_within(&column.json, further, mask, MAX_ARRAYS));
        }
    }
}

/// The remaining steps of a path below a key. The key may contain dots and so match several steps; `None` if the path
/// does not go through the key.
fn beyond<'a, 'b>(steps: &'a [&'b str], key: &str) -> Option<&'a [&'b str]> {
    let count = key.split('.').count();
    let leads = key.split('.').eq(steps.iter().take(count).copied());
    leads.then(|| steps.get(count..)).flatten()
}

fn steps(field: &str) -> Vec<&str> {
    field.split('.').collect()
}

/// Hides what `steps` point to inside a JSON value, through arrays. A scalar in place of an object is redacted, because
/// it may be that object as text (SQLite stores JSON as text). Values nested in more than `arrays` arrays are redacted
/// too.
fn hide_within(json: &str, steps: &[&str], mask: Mask, arrays: usize) -> String {
    if steps.is_empty() {
        return mask.json(json);
    }
    match json::kind(json) {
        Kind::Null => json.to_owned(),
        Kind::Object => hide_member(json, steps, mask, arrays),
        Kind::Array => match arrays.checked_sub(1) {
            Some(arrays) => hide_elements(json, steps, mask, arrays),
            None => Mask::Redact.json(json),
        },
        Kind::Boolean | Kind::Number | Kind::String => Mask::Redact.json(json),
    }
}

fn hide_member(json: &str, steps: &[&str], mask: Mask, arrays: usize) -> String {
    // A key that is not valid Unicode could be the masked one.
    let Ok(object) = json::lenient_object(json) else { return Mask::Redact.json(json) };
    let mut row = Row::default();
    for (name, value) in &object.members {
        let value = match beyond(steps, name) {
            Some(further) => hide_within(value.get(), further, mask, arrays),
            None => value.get().to_owned(),
        };
        row.columns.push(Column { name: Rc::from(name.as_ref()), json: Rc::from(value) });
    }
    let mut out = String::with_capacity(json.len());
    row.write(&mut out);
    out
}

fn hide_elements(json: &str, steps: &[&str], mask: Mask, arrays: usize) -> String {
    let Ok(elements) = json::array(json) else { return Mask::Redact.json(json) };
    // Only nested objects and arrays can contain the path's target; a list of scalars cannot.
    let hide = |element: &&serde_json::value::RawValue| match json::kind(element.get()) {
        Kind::Object | Kind::Array => hide_within(element.get(), steps, mask, arrays),
        _ => Mask::Redact.json(element.get()),
    };
    format!("[{}]", elements.iter().map(hide).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::form::Form;

    fn masking(text: &str) -> Result<Masking, Refusal> {
        let body = format!("{{\"maskingConfig\":{text}}}");
        let mut form = Form::read(&body, Code::InvalidRequest)?;
        Masking::read(&form.take("maskingConfig").unwrap())
    }

    #[track_caller]
    fn check(config: &str, roles: &[&str], owner: bool, row: &str, expected: &str) {
        let masking = masking(config).unwrap();
        let roles = Roles::new(roles.iter().map(|role| role.to_string()));
        let seen = masking.apply(&Row::read(row).unwrap(), &masking.hidden(&roles, owner));
        let mut out = String::new();
        seen.write(&mut out);
        assert_eq!(out, expected);
    }

    #[test]
    fn roles_and_owners_see_the_value() {
        let config = r#"{"ssn":{"type":"ssn","show":{"roles":["admin"],"or":"owner"}}}"#;
        let row = r#"{"id":1,"ssn":"123-45-6789"}"#;
        let masked = r#"{"id":1,"ssn":"*****6789"}"#;
        check(config, &["member"], false, row, masked);
        check(config, &["member"], true, row, row);
        check(config, &["member", "admin"], false, row, row);
        check(r#"{"ssn":{"type":"ssn"}}"#, &["admin"], true, row, masked);
        check(r#"{"ssn":{"type":"ssn","show":{}}}"#, &["admin"], true, row, masked);
    }

    #[test]
    fn a_path_is_followed_unless_a_column_has_that_name() {
        let config = r#"{"address.phone":{"type":"redact"}}"#;
        check(
            config,
            &[],
            false,
            r#"{"address":{"phone":"1","zip":2}}"#,
            r#"{"address":{"phone":"[REDACTED]","zip":2}}"#,
        );
        check(
            config,
            &[],
            false,
            r#"{"address.phone":"1","address":{"phone":"2"}}"#,
            r#"{"address.phone":"[REDACTED]","address":{"phone":"2"}}"#,
        );
        check(
            config,
            &[],
            false,
            r#"{"address":[{"phone":1},{"x":2}]}"#,
            r#"{"address":[{"phone":"[REDACTED]"},{"x":2}]}"#,
        );
        check(config, &[], false, r#"{"address":"{\"phone\":1}"}"#, r#"{"address":"[REDACTED]"}"#);
        check(config, &[], false, r#"{"address":null}"#, r#"{"address":null}"#);
        check(
            r#"{"a.b.c":{"type":"redact"}}"#,
            &[],
            false,
            r#"{"a.b":{"c":1,"d":2},"a":{"b.c":3,"b":{"c":4}}}"#,
            r#"{"a.b":{"c":"[REDACTED]","d":2},"a":{"b.c":"[REDACTED]","b":{"c":"[REDACTED]"}}}"#,
        );
        check(
            config,
            &[],
            false,
            r#"{"address":{"phone":1,"ph\u006fne":2}}"#,
            r#"{"address":{"phone":"[REDACTED]","phone":"[REDACTED]"}}"#,
        );
    }

    #[test]
    fn two_configurations_hide_what_either_hides() {
        let open = masking(r#"{"a":{"type":"name","show":{"roles":["x","y"]}}}"#).unwrap();
        let strict = masking(r#"{"a":{"type":"name","show":{"roles":["y"]}},"b":{"type":"redact"}}"#).unwrap();
        let other = masking(r#"{"a":{"type":"phone"}}"#).unwrap();
        let hidden = |masking: &Masking, role: &str| masking.hidden(&Roles::new([role.to_owned()]), false).0;
        assert_eq!(hidden(&open.and(&strict), "x"), [Some(Mask::Name), Some(Mask::Redact)]);
        assert_eq!(hidden(&open.and(&strict), "y"), [None, Some(Mask::Redact)]);
        assert_eq!(hidden(&open.and(&other), "z"), [Some(Mask::Redact)]);
        assert_eq!(hidden(&open.and(&other), "x"), [Some(Mask::Phone)]);
    }

    #[test]
    fn mistakes_are_refused_with_their_path() {
        let refused = |text| masking(text).unwrap_err();
        assert_eq!(refused(r#"{"a":{"type":"ssn2"}}"#).code, Code::UnknownMaskType);
        assert_eq!(refused(r#"{"a":{"type":"ssn2"}}"#).field.as_deref(), Some("maskingConfig.a.type"));
        assert_eq!(refused(r#"{"a":{"type":"ssn","shows":{}}}"#).field.as_deref(), Some("maskingConfig.a.shows"));
        assert_eq!(
            refused(r#"{"a":{"type":"ssn","show":{"or":"user"}}}"#).field.as_deref(),
            Some("maskingConfig.a.show.or")
        );
        assert_eq!(refused(r#"{"a":{"type":"ssn","show":{"roles":"admin"}}}"#).code, Code::InvalidRequest);
    }
}
