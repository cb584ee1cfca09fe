//! Filters written as a JSON object of columns and values: each column must be equal, including its type.

use std::cmp::Ordering;

use super::compare::compare;
use super::parse::{MAX_BYTES, MAX_CONDITIONS, refuse};
use super::{ColumnType, Condition, Filter, Test};
use crate::code::Refusal;
use crate::value::json::{self, Kind};

/// Reads `{"column":value}`. Such a filter's text begins with a brace.
pub(super) fn filter(text: &str) -> Result<Filter, Refusal> {
    if text.len() > MAX_BYTES {
        return Err(refuse(format!("a filter has at most {MAX_BYTES} bytes")));
    }
    let object = json::object(text).map_err(|_| refuse("a filter is an object that names no column twice"))?;
    if object.members.len() > MAX_CONDITIONS {
        return Err(refuse(format!("a filter has at most {MAX_CONDITIONS} conditions")));
    }
    let condition = |(column, value): (std::borrow::Cow<'_, str>, &serde_json::value::RawValue)| Condition {
        column: column.into_owned(),
        negated: false,
        test: Test::Exact(value.get().to_owned()),
    };
    let conditions = object.members.into_iter().map(condition).collect();
    Ok(Filter { text: text.to_owned(), conditions })
}

/// Whether two JSON values are equal and of the same type: `1` and `1.0` are, `1` and `"1"` are not.
pub(super) fn equal(left: &str, right: &str) -> bool {
    match (json::kind(left), json::kind(right)) {
        (Kind::Number, Kind::Number) => compare(left, right, Some(ColumnType::Number)) == Some(Ordering::Equal),
        (Kind::String, Kind::String) => json::string(left).is_some_and(|left| Some(left) == json::string(right)),
        (Kind::Object, Kind::Object) | (Kind::Array, Kind::Array) => {
            let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
            value(left).is_some_and(|left| Some(left) == value(right))
        }
        _ => left == right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::filter::Cell;
    use crate::value::row::Row;

    #[test]
    fn values_are_equal_in_any_spelling_and_in_no_other_type() {
        let equal_pairs = [
            ("1", "1.0"),
            ("9007199254740993", "9007199254740993"),
            ("\"é\"", "\"\\u00e9\""),
            ("null", "null"),
            ("true", "true"),
            (r#"{"a":1,"b":[2]}"#, r#"{"b":[2],"a":1}"#),
        ];
        for (left, right) in equal_pairs {
            assert!(equal(left, right), "{left} {right}");
        }
        let others = [
            ("1", "\"1\""),
            ("9007199254740993", "9007199254740992"),
            ("true", "\"true\""),
            ("true", "1"),
            ("null", "false"),
            ("null", "\"null\""),
            ("[1]", "[2]"),
            ("[]", "{}"),
        ];
        for (left, right) in others {
            assert!(!equal(left, right), "{left} {right}");
        }
    }

    #[test]
    fn every_member_must_match() {
        let row = Row::read(r#"{"room_id":"r1","archived":false,"n":1.0,"gone":null}"#).unwrap();
        let matches = |text: &str| Filter::exact(text).unwrap().matches(&row, &|_| None);
        for text in ["{}", r#"{"room_id":"r1","archived":false}"#, r#"{"n":1,"gone":null}"#] {
            assert!(matches(text), "{text}");
        }
        for text in [r#"{"room_id":"r1","archived":true}"#, r#"{"n":"1"}"#, r#"{"missing":null}"#] {
            assert!(!matches(text), "{text}");
        }
        for text in ["[]", "1", r#"{"a":1,"a":2}"#, "{"] {
            assert!(Filter::exact(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_row_finds_the_filter_by_its_value() {
        let keys = |text: &str| Filter::exact(text).unwrap().equality().map(|equality| equality.keys);
        for (text, cell) in [(r#"{"a":"x"}"#, "\"x\""), (r#"{"a":1}"#, "1.0"), (r#"{"a":null,"b":"1"}"#, "\"1\"")] {
            let Cell::Key(key) = Cell::of(cell, None) else { panic!("{cell}") };
            assert_eq!(keys(text), Some(vec![key]), "{text}");
        }
        for text in ["{}", r#"{"a":null}"#, r#"{"a":true}"#, r#"{"a":[1]}"#] {
            assert_eq!(keys(text), None, "{text}");
        }
    }

    #[test]
    fn what_was_stored_is_read_as_what_it_was() {
        for text in [r#"{"a":1}"#, "{}"] {
            let restored = Filter::restore(text).unwrap();
            assert!(restored.matches(&Row::read(r#"{"a":1}"#).unwrap(), &|_| None) && restored.text() == text);
        }
        assert!(Filter::restore("a=eq.1").unwrap().equality().is_some());
        assert!(Filter::restore("{").is_err());
    }
}
