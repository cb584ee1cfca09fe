//! Columns as paths into their JSON: `data->address->>city`, with PostgreSQL's arrows. Both arrows give the value,
//! which is compared by its JSON type.

use crate::value::json::{self, Kind};
use crate::value::row::Row;

const ARROW: &str = "->";

/// Whether a column is a path.
pub(super) fn is_path(column: &str) -> bool {
    column.contains(ARROW)
}

/// The JSON text at a column or path; `None` if there is none. A column whose name looks like the path takes
/// precedence.
pub(super) fn cell<'a>(row: &'a Row, column: &str) -> Option<&'a str> {
    if let Some(cell) = row.get(column) {
        return Some(cell);
    }
    let mut steps = column.split(ARROW);
    let mut at = row.get(steps.next()?.trim_end())?;
    for step in steps {
        at = member(at, step.strip_prefix('>').unwrap_or(step).trim())?;
    }
    Some(at).filter(|_| is_path(column))
}

/// A member of an object, or an element of an array.
fn member<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    match json::kind(text) {
        Kind::Object => {
            let object = json::object(text).ok()?;
            object.members.into_iter().find(|(known, _)| known == name).map(|(_, value)| value.get())
        }
        Kind::Array => json::array(text).ok()?.get(name.parse::<usize>().ok()?).map(|value| value.get()),
        _ => None,
    }
}
