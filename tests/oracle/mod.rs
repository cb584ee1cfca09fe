//! What one person should see of one change, computed directly from the contract (docs/protocol-native.md;
//! docs/configuration.md). It shares no code with the engine.
#![allow(dead_code, reason = "every test file uses its part")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use serde_json::Value;

/// Someone who is connected.
#[derive(Clone, Debug)]
pub struct Person {
    pub user: String,
    pub roles: Vec<String>,
    pub teams: Vec<String>,
    /// The requested table subscriptions.
    pub subscriptions: Vec<Value>,
}

/// By column: the value, and whether it is hidden.
pub type Cells = BTreeMap<String, (Value, bool)>;

/// What someone sees of a change.
#[derive(Clone, Debug)]
pub struct Seen {
    pub operation: &'static str,
    pub new: Option<Cells>,
    pub old: Option<Cells>,
}

/// Removes refused subscriptions: a refused one narrows nothing.
pub fn keep_admitted(table: &Value, person: &mut Person) {
    let may = holds(&table["requiredRoles"], person);
    person.subscriptions.retain(|subscription| may || subscription["table"] != "t");
}

/// A database's verdict on a change for one person.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub new: bool,
    pub old: bool,
    /// The readable columns; `None`: all.
    pub columns: Option<Vec<String>>,
}

/// What the person sees of the change, under the rules of its table; `None`: nothing.
pub fn sees(table: &Value, change: &Value, person: &Person) -> Option<Seen> {
    sees_judged(table, change, person, &Verdict { new: true, old: true, columns: None })
}

/// The same for a change that a database has judged.
pub fn sees_judged(table: &Value, change: &Value, person: &Person, verdict: &Verdict) -> Option<Seen> {
    let flag = match change["eventType"].as_str().unwrap() {
        "INSERT" => "onInsert",
        "UPDATE" => "onUpdate",
        _ => "onDelete",
    };
    let is_meant = change["userId"].is_null() || change["userId"] == person.user.as_str();
    if table[flag] == false
        || !is_meant
        || !holds(&table["requiredRoles"], person)
        || !holds(&change["targetRoles"], person)
    {
        return None;
    }
    let (new, old) = (&change["new"], &change["old"]);
    let operation = operation(table, change, person, verdict)?;
    let may_read = |column: &String| verdict.columns.as_ref().is_none_or(|columns| columns.contains(column));
    let cells = |row: &Value| {
        let mut cells = cells(table, change, row, person);
        cells.retain(|column, _| may_read(column));
        cells
    };
    let seen = match operation {
        "INSERT" => Seen { operation, new: Some(cells(new)), old: None },
        "DELETE" => Seen { operation, new: None, old: Some(cells(old)) },
        _ => Seen { operation, new: Some(cells(new)), old: (!old.is_null()).then(|| cells(old)) },
    };
    passes(&seen, change, person).then_some(seen)
}

fn operation(table: &Value, change: &Value, person: &Person, verdict: &Verdict) -> Option<&'static str> {
    let (new, old) = (&change["new"], &change["old"]);
    let sees = |row: &Value| !row.is_null() && is_visible(&table["rows"], row, person);
    let (sees_new, sees_old) = (verdict.new && sees(new), verdict.old && sees(old));
    match change["eventType"].as_str().unwrap() {
        "INSERT" => sees_new.then_some("INSERT"),
        "DELETE" => sees_old.then_some("DELETE"),
        _ if old.is_null() => sees_new.then_some("UPDATE"),
        _ => match (sees_new, sees_old) {
            (true, true) => Some("UPDATE"),
            (true, false) => Some("INSERT"),
            (false, true) => Some("DELETE"),
            (false, false) => None,
        },
    }
}

/// Absent roles are no condition; otherwise one role must match.
fn holds(wanted: &Value, person: &Person) -> bool {
    let Some(wanted) = wanted.as_array() else { return true };
    wanted.iter().any(|role| person.roles.iter().any(|held| role == held.as_str()))
}

fn is_visible(rules: &Value, row: &Value, person: &Person) -> bool {
    let Some(rules) = rules.as_array() else { return true };
    let matches = |rule: &Value| {
        let pair = match rule["claim"].as_str() {
            None => true,
            Some("sub") => text(&row["userId"]).is_some_and(|cell| cell == person.user),
            Some(_) => text(&row["team"]).is_some_and(|cell| person.teams.contains(&cell)),
        };
        pair && holds(&rule["roles"], person)
    };
    rules.iter().any(matches)
}

fn text(cell: &Value) -> Option<String> {
    match cell {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn cells(table: &Value, change: &Value, row: &Value, person: &Person) -> Cells {
    let is_retained = |column: &str| {
        let lists = [&table["fields"], &change["fields"]];
        lists.into_iter().filter_map(Value::as_array).all(|list| list.iter().any(|one| one == column))
    };
    let owner = change["ownerField"].as_str().unwrap_or("userId");
    let owns = text(&row[owner]).is_some_and(|owner| owner == person.user);
    let is_hidden = |column: &str| {
        let rules = [&table["masking"][column], &change["maskingConfig"][column]];
        rules.into_iter().any(|rule| rule.is_object() && !is_shown(&rule["show"], owns, person))
    };
    let row = row.as_object().unwrap().iter().filter(|(column, _)| is_retained(column));
    row.map(|(column, value)| (column.clone(), (value.clone(), is_hidden(column)))).collect()
}

fn is_shown(show: &Value, owns: bool, person: &Person) -> bool {
    (show["or"] == "owner" && owns) || (show["roles"].is_array() && holds(&show["roles"], person))
}

/// A filter of the form `column=eq.value`; a hidden or missing value equals nothing.
fn passes(seen: &Seen, change: &Value, person: &Person) -> bool {
    let row = if seen.operation == "DELETE" { &seen.old } else { &seen.new };
    let is = |wanted: &Value, given: &str| wanted.is_null() || wanted == "*" || wanted == given;
    let matches = |filter: &str| {
        let (column, value) = filter.split_once("=eq.").unwrap();
        let cell = row.as_ref().unwrap().get(column);
        cell.is_some_and(|(cell, hidden)| !hidden && text(cell).as_deref() == Some(value))
    };
    person.subscriptions.is_empty()
        || person.subscriptions.iter().any(|subscription| {
            is(&subscription["table"], change["table"].as_str().unwrap())
                && is(&subscription["event"], seen.operation)
                && subscription["filter"].as_str().is_none_or(matches)
        })
}
