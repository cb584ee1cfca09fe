//! Equality by key, for an index over filters: a row finds the filters that may match it.
//!
//! Keys are necessary, not sufficient: a cell that a filter calls equal to a literal shares a key with it, and each
//! filter found is still judged by [`Filter::matches`].

use super::column_type::ColumnType;
use super::compare::Decimal;
use super::path;
use super::{Comparison, Condition, Filter, Test};
use crate::value::json::{self, Kind};

/// A necessary condition of a filter: the column equals one of the values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equality<'a> {
    /// The column.
    pub column: &'a str,
    /// The keys of the values.
    pub keys: Vec<String>,
}

/// How a row's cell is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// By this key, which all equal literals have.
    Key(String),
    /// Not at all: nothing is equal to it.
    Nothing,
    /// Keys do not decide: every filter on the column must be judged.
    Anything,
}

impl Filter {
    /// The filter's first condition that is an equality.
    pub fn equality(&self) -> Option<Equality<'_>> {
        self.conditions.iter().find_map(Condition::equality)
    }
}

impl Condition {
    fn equality(&self) -> Option<Equality<'_>> {
        let literals = match &self.test {
            _ if self.negated || path::is_path(&self.column) => return None,
            Test::Compare(Comparison::Equal, literal) => std::slice::from_ref(literal),
            Test::In(literals) => literals,
            Test::Exact(value) => {
                let text = match json::kind(value) {
                    Kind::Number => value.clone(),
                    Kind::String => json::string(value)?,
                    // Truth values have no key.
                    _ => return None,
                };
                return Some(Equality { column: &self.column, keys: vec![key(&text)] });
            }
            _ => return None,
        };
        Some(Equality { column: &self.column, keys: literals.iter().map(|literal| key(literal)).collect() })
    }
}

impl Cell {
    /// The look-up for a cell of a column of the `declared` type.
    pub fn of(cell: &str, declared: Option<ColumnType>) -> Cell {
        match declared {
            None | Some(ColumnType::Number | ColumnType::Text) => {}
            // Several spellings are one truth value, and other types have comparisons of their own.
            Some(_) => return Cell::Anything,
        }
        match json::kind(cell) {
            Kind::Number => Cell::Key(key(cell)),
            Kind::String => json::string(cell).map_or(Cell::Nothing, |text| Cell::Key(key(&text))),
            Kind::Boolean => Cell::Anything,
            Kind::Null | Kind::Array | Kind::Object => Cell::Nothing,
        }
    }
}

/// Numbers have one key for all spellings, because either side may be compared as a number; every other text is its own
/// key.
fn key(text: &str) -> String {
    Decimal::read(text).map_or_else(|| format!("t{text}"), |number| format!("n{}", number.canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_number_share_a_key_and_numbers_do_not() {
        for (left, right) in [("1", "1.0"), ("10", "1e1"), ("0", "-0.0"), ("0.10", "1e-1"), ("1e2", "00100.00")] {
            assert_eq!(key(left), key(right), "{left} {right}");
        }
        for (left, right) in [("1", "10"), ("1", "-1"), ("0.1", "0.01"), ("1e1", "1e-1"), ("1", "1 ")] {
            assert_ne!(key(left), key(right), "{left} {right}");
        }
    }

    #[test]
    fn only_what_must_hold_is_an_equality() {
        let keys = |text: &str| Filter::parse(text).unwrap().equality().map(|equality| equality.keys);
        assert_eq!(keys("n=gt.1,a=eq.1.0,b=eq.2"), Some(vec![key("1")]));
        assert_eq!(keys("a=in.(1,x)"), Some(vec![key("1"), key("x")]));
        for text in ["", "a=not.eq.1", "a=not.in.(1)", "a=neq.1", "a=is.true", "a=like.x", "a=isdistinct.1"] {
            assert_eq!(keys(text), None, "{text}");
        }
    }

    #[test]
    fn a_type_with_several_texts_for_a_value_is_judged() {
        assert_eq!(Cell::of("\"t\"", Some(ColumnType::Boolean)), Cell::Anything);
        assert_eq!(Cell::of("true", None), Cell::Anything);
        assert_eq!(Cell::of("null", None), Cell::Nothing);
        assert_eq!(Cell::of("1.0", Some(ColumnType::Text)), Cell::Key(key("1")));
    }
}
