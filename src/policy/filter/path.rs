//! Columns as paths into their JSON: `data->address->>city`, with PostgreSQL's arrows. Both give the value, which is
//! compared by its own kind.

use crate::value::json::{self, Kind};
use crate::value::row::Row;

const ARROW: &str = "->";

/// Whether a column is a path.
pub(super) fn is_path(column: &str) -> bool {
    column.contains(ARROW)
}

/// The JSON text that a column or path leads to; `None` where nothing is there. A column that is called like a path comes
/// first.
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

/// A member of the object that is the whole of `text`, or an element of the array.
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
