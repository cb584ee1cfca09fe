//! Row filters: `status=eq.open,amount=not.gt.10`, one grammar for every dialect (docs/protocol-native.md, Filters).
//!
//! ```text
//! filter := "" | condition ("," condition)*            all must hold
//! condition := column "=" ["not."] operator "." value
//! operator := eq|neq|lt|lte|gt|gte|in|like|ilike|is|match|imatch|isdistinct
//! value := raw | '"' escaped '"'                       \\ and \" inside quotes
//! in := "(" [value ("," value)*] ")"                   at most 100; none matches nothing
//! is := null|true|false|unknown
//! ```
//! A column may be a path into its JSON: `data->address->>city`.
//! White space around a condition, a column and a value of a list does not count.
//!
//! A filter is judged on the row as its subscriber sees it, so a masked or unselected value can be guessed by nobody.

mod column_type;
mod compare;
mod exact;
mod index;
mod instant;
mod parse;
mod path;
mod pattern;

pub use column_type::ColumnType;
use compare::compare;
pub use index::{Cell, Equality};
pub use instant::microseconds;
use pattern::Pattern;

use crate::code::Refusal;
use crate::value::row::Row;
use std::cmp::Ordering;

/// Every operator. docs/protocol-native.md prints this and a test compares the two.
pub const OPERATORS: [&str; 13] =
    ["eq", "neq", "lt", "lte", "gt", "gte", "in", "like", "ilike", "is", "match", "imatch", "isdistinct"];

/// A parsed filter. Filters are equal if their texts are.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    text: String,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug)]
struct Condition {
    column: String,
    negated: bool,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Compare(Comparison, String),
    In(Vec<String>),
    Is(Truth),
    Pattern(Pattern),
    Distinct(String),
    /// Equal to this JSON value, type included.
    Exact(String),
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug)]
enum Truth {
    Null,
    True,
    False,
    Unknown,
}

impl Filter {
    /// Reads a filter; white space alone is an empty filter.
    ///
    /// # Errors
    /// [`crate::code::Code::InvalidFilter`] with the reason.
    pub fn parse(text: &str) -> Result<Filter, Refusal> {
        parse::filter(text)
    }

    /// Reads a filter written as a JSON object: each column must equal its value, including the type.
    ///
    /// # Errors
    /// [`crate::code::Code::InvalidFilter`] with the reason.
    pub fn exact(text: &str) -> Result<Filter, Refusal> {
        exact::filter(text)
    }

    /// Reads the text of [`Filter::text`], of either kind.
    ///
    /// # Errors
    /// [`crate::code::Code::InvalidFilter`] if an earlier build accepted what this one does not.
    pub fn restore(text: &str) -> Result<Filter, Refusal> {
        if text.starts_with('{') { exact::filter(text).or_else(|_| parse::filter(text)) } else { parse::filter(text) }
    }

    /// The conditions of a filter's text, each still as text.
    ///
    /// # Errors
    /// [`crate::code::Code::InvalidFilter`] when a quoted value does not end.
    pub fn split(text: &str) -> Result<Vec<&str>, Refusal> {
        parse::split(text)
    }

    /// The filter's original text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many regular expressions it has: these cost the most, so connections may have few.
    pub fn regular_expressions(&self) -> usize {
        let is_regex = |condition: &&Condition| matches!(&condition.test, Test::Pattern(Pattern::Regex { .. }));
        self.conditions.iter().filter(is_regex).count()
    }

    /// Whether the row matches, given the declared types of its columns. SQL's three-valued logic: a condition that is
    /// neither true nor false does not match.
    pub fn matches(&self, row: &Row, declared: &dyn Fn(&str) -> Option<ColumnType>) -> bool {
        self.matches_within(row, declared, &|_| true)
    }

    /// The same with a budget for regular expressions: one whose steps `take` refuses is unknown.
    pub fn matches_within(
        &self,
        row: &Row,
        declared: &dyn Fn(&str) -> Option<ColumnType>,
        take: &dyn Fn(u64) -> bool,
    ) -> bool {
        self.conditions.iter().all(|condition| condition.holds(row, declared, take) == Some(true))
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Filter) -> bool {
        self.text == other.text
    }
}

impl Eq for Filter {}

impl PartialOrd for Filter {
    fn partial_cmp(&self, other: &Filter) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Filter {
    fn cmp(&self, other: &Filter) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Condition {
    /// `None` is SQL's unknown: the column is missing or NULL, or cannot be compared with the literal.
    fn holds(
        &self,
        row: &Row,
        declared: &dyn Fn(&str) -> Option<ColumnType>,
        take: &dyn Fn(u64) -> bool,
    ) -> Option<bool> {
        let cell = path::cell(row, &self.column)?;
        let declared = declared(&self.column);
        let holds = match &self.test {
            Test::Is(truth) => truth.is(cell, declared)?,
            Test::Distinct(literal) => cell == "null" || compare(cell, literal, declared)? != Ordering::Equal,
            Test::Compare(comparison, literal) => comparison.accepts(compare(cell, literal, declared)?),
            Test::Exact(value) => exact::equal(cell, value),
            Test::In(literals) => in_list(cell, literals, declared)?,
            Test::Pattern(pattern) => pattern.matches(cell, take)?,
        };
        Some(holds != self.negated)
    }
}

/// As in SQL: true if one is equal, unknown if none is but one cannot be compared.
fn in_list(cell: &str, literals: &[String], declared: Option<ColumnType>) -> Option<bool> {
    let orders: Vec<_> = literals.iter().map(|literal| compare(cell, literal, declared)).collect();
    if orders.contains(&Some(Ordering::Equal)) {
        return Some(true);
    }
    orders.iter().all(Option::is_some).then_some(false)
}

impl Comparison {
    fn accepts(self, order: Ordering) -> bool {
        match self {
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
        }
    }
}

impl Truth {
    /// `is true` and the like are never unknown on a boolean column; on other columns they match nothing.
    fn is(self, cell: &str, declared: Option<ColumnType>) -> Option<bool> {
        let value = match (cell, declared) {
            ("true", None | Some(ColumnType::Boolean)) | ("1", Some(ColumnType::Boolean)) => Some(true),
            ("false", None | Some(ColumnType::Boolean)) | ("0", Some(ColumnType::Boolean)) => Some(false),
            _ => None,
        };
        let null = cell == "null";
        let boolean = value.is_some() || (null && declared.is_none_or(|kind| kind == ColumnType::Boolean));
        match self {
            Truth::Null => Some(null),
            Truth::Unknown => boolean.then_some(null),
            Truth::True => boolean.then_some(value == Some(true)),
            Truth::False => boolean.then_some(value == Some(false)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(filter: &str, row: &str, expected: bool) {
        let filter = Filter::parse(filter).unwrap();
        assert_eq!(filter.matches(&Row::read(row).unwrap(), &|_| None), expected, "{} on {row}", filter.text());
    }

    #[test]
    fn every_operator() {
        let row = r#"{"n":10,"s":"open","b":true,"z":null,"big":"9007199254740993","t":"a,b"}"#;
        let matching = [
            "",
            "  ",
            "n=eq.10",
            "n=eq.10.0",
            "n=neq.9",
            "n=lt.11",
            "n=lte.10",
            "n=gt.9",
            "n=gte.10",
            "n=in.(1,10)",
            "s=eq.open",
            "s=like.o%n",
            "s=ilike.O_EN",
            "s=match.^op",
            "s=imatch.EN$",
            "b=is.true",
            "b=eq.true",
            "z=is.null",
            "z=is.unknown",
            "z=isdistinct.x",
            "n=isdistinct.9",
            "n=not.eq.9",
            "s=not.like.x%",
            "b=not.is.false",
            "n=gt.9,s=eq.open",
            "t=eq.\"a,b\"",
            "t=in.(\"a,b\",c)",
            "big=eq.9007199254740993",
            "big=gt.9007199254740992",
            "n=not.isdistinct.10",
            "s=in.(open,closed)",
            "n=not.in.(1,2)",
            "n=in.(1, 10)",
            "n=in.( 10 )",
            "t=in.(\"x,y\", \"a,b\")",
            "s=eq.open ,n=gt.1",
            " s=eq.open, n=gt.1 ",
            "n=not.in.()",
            "b=not.is.null",
        ];
        for filter in matching {
            check(filter, row, true);
        }
        let failing = [
            "n=eq.9",
            "n=lt.9",
            "s=eq.Open",
            "z=eq.1",
            "z=neq.1",
            "z=not.eq.1",
            "missing=neq.1",
            "missing=isdistinct.1",
            "n=gt.abc",
            "n=not.gt.abc",
            "s=is.true",
            "b=is.false",
            "n=gt.9,s=eq.closed",
            "big=eq.9007199254740992",
            "z=in.(1)",
            "z=not.in.(1)",
            "n=in.()",
            "s=in.( )",
            "s=eq. open",
            "n=isdistinct.10",
            "n=like.1%",
            "z=like.%",
        ];
        for filter in failing {
            check(filter, row, false);
        }
    }

    #[test]
    fn a_declared_type_decides_the_comparison() {
        let row = Row::read(r#"{"n":"10"}"#).unwrap();
        let matches = |filter: &str, declared| Filter::parse(filter).unwrap().matches(&row, &|_| declared);
        assert!(matches("n=gt.9", None) && matches("n=gt.9", Some(ColumnType::Number)));
        assert!(!matches("n=gt.9", Some(ColumnType::Text)));
        assert!(!matches("n=gt.x", Some(ColumnType::Number)));
    }
}
