//! Filters, for random texts and rows: an answer, never a panic, and never both a test and its negation. Numbers are
//! compared exactly, against an oracle that shifts digits.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a test may ask how long something took")]

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use realtime_worker::policy::filter::{ColumnType, Filter};
use realtime_worker::value::row::Row;
use serde_json::json;

const TYPES: [Option<ColumnType>; 4] =
    [None, Some(ColumnType::Number), Some(ColumnType::Boolean), Some(ColumnType::Text)];

/// Pieces of filters, in right places and in wrong ones.
const PIECES: [&str; 44] = [
    "a",
    "b",
    "missing",
    "=",
    "=",
    "=",
    ".",
    ".",
    "eq",
    "neq",
    "lt",
    "lte",
    "gt",
    "gte",
    "in",
    "like",
    "ilike",
    "is",
    "match",
    "imatch",
    "isdistinct",
    "not.",
    ",",
    "(",
    ")",
    "\"",
    "\\",
    "null",
    "true",
    "false",
    "unknown",
    "1",
    "-0.5",
    "1e9",
    "%",
    "_",
    ".*",
    "[",
    "é",
    "\u{0}",
    " ",
    "İ",
    "𝒳",
    "{99}",
];

fn filters() -> impl Strategy<Value = String> {
    let operator = select(["eq", "neq", "lt", "gte", "like", "ilike", "match", "isdistinct"].as_slice());
    let literal = prop_oneof!["[a-c0-9%_.*-]{0,6}", "\"[a,()]{0,4}\"", Just("1e2147483647".to_owned())];
    let well_formed = (select(["a", "b"].as_slice()), any::<bool>(), operator, literal)
        .prop_map(|(column, not, op, value)| format!("{column}={}{op}.{value}", if not { "not." } else { "" }));
    prop_oneof![
        vec(select(PIECES.as_slice()), 0..14).prop_map(|pieces| pieces.concat()),
        vec(well_formed, 1..4).prop_map(|conditions| conditions.join(",")),
        any::<String>(),
    ]
}

/// The JSON text of a cell of any kind.
fn cells() -> impl Strategy<Value = String> {
    let texts = prop_oneof![any::<String>(), "[a-c0-9.]{0,5}"].prop_map(|text| json!(text).to_string());
    let others =
        ["null", "true", "false", "[]", "{}", "[1]", r#""\ud800""#, "1e999999999999", "-0", "\"t\"", "\"1e5\""];
    prop_oneof![
        texts,
        select(others.to_vec()).prop_map(str::to_owned),
        decimals(),
        decimals().prop_map(|text| json!(text).to_string())
    ]
}

fn rows() -> impl Strategy<Value = Row> {
    (option::of(cells()), option::of(cells())).prop_map(|(a, b)| {
        let members = [("a", a), ("b", b)].into_iter().filter_map(|(name, cell)| Some(format!("\"{name}\":{}", cell?)));
        Row::read(&format!("{{{}}}", members.collect::<Vec<_>>().join(","))).unwrap()
    })
}

/// A number as JSON writes it, with many spellings of equal ones.
fn decimals() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?([eE][+-]?[0-9])?",
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?",
        "-?[01](\\.[01]{1,2})?(e-?[0-2])?",
        "-?10{0,9}(\\.0{1,9})?(e-[0-9])?",
    ]
}

/// The number times 10^200, as its sign and its digits without leading zeros.
fn shifted(number: &str) -> (bool, String) {
    let (negative, number) = number.strip_prefix('-').map_or((false, number), |number| (true, number));
    let number = number.replace('E', "e");
    let (mantissa, exponent) = number.split_once('e').unwrap_or((&number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let zeros = 200 + exponent.trim_start_matches('+').parse::<i64>().unwrap() - i64::try_from(fraction.len()).unwrap();
    let digits = format!("{whole}{fraction}{}", "0".repeat(usize::try_from(zeros).unwrap()));
    let digits = digits.trim_start_matches('0').to_owned();
    (negative && !digits.is_empty(), digits)
}

fn exact_order(left: &str, right: &str) -> Ordering {
    let size = |left: &str, right: &str| left.len().cmp(&right.len()).then_with(|| left.cmp(right));
    match (shifted(left), shifted(right)) {
        ((false, left), (false, right)) => size(&left, &right),
        ((true, left), (true, right)) => size(&right, &left),
        ((left, _), (right, _)) => right.cmp(&left),
    }
}

fn holds(filter: &str, row: &Row, declared: Option<ColumnType>) -> bool {
    Filter::parse(filter).unwrap().matches(row, &|_| declared)
}

/// How cell and literal compare, according to all six operators and their negations.
fn order_by_filters(cell: &str, literal: &str, declared: Option<ColumnType>) -> Ordering {
    let row = Row::read(&format!("{{\"n\":{cell}}}")).unwrap();
    let says = |operator: &str| {
        let says = holds(&format!("n={operator}.{literal}"), &row, declared);
        assert_ne!(says, holds(&format!("n=not.{operator}.{literal}"), &row, declared), "{cell} {operator} {literal}");
        says
    };
    let order = match (says("lt"), says("eq"), says("gt")) {
        (true, false, false) => Ordering::Less,
        (false, true, false) => Ordering::Equal,
        (false, false, true) => Ordering::Greater,
        other => panic!("{cell} {literal}: {other:?}"),
    };
    let others = (says("lte"), says("gte"), says("neq"), says("isdistinct"));
    assert_eq!(others, (order.is_le(), order.is_ge(), order.is_ne(), order.is_ne()), "{cell} {literal}");
    assert_eq!(
        holds(&format!("n=in.(-7e77,{literal})"), &row, declared),
        order.is_eq() || exact_order(cell.trim_matches('"'), "-7e77").is_eq()
    );
    order
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_a_filter_or_refused_and_any_row_is_judged(text in filters(), row in rows()) {
        match Filter::parse(&text) {
            Ok(filter) => {
                prop_assert_eq!(filter.text(), text.as_str());
                for declared in TYPES {
                    let first = filter.matches(&row, &|_| declared);
                    prop_assert_eq!(first, filter.matches(&row, &|_| declared));
                }
            }
            Err(refusal) => prop_assert_eq!(refusal.code, realtime_worker::code::Code::InvalidFilter),
        }
    }

    #[test]
    fn a_test_and_its_negation_never_both_hold(
        column in select(["a", "b", "missing"].as_slice()),
        operator in select(["eq", "neq", "lt", "lte", "gt", "gte", "in", "like", "ilike", "is", "match", "imatch", "isdistinct"].as_slice()),
        value in prop_oneof!["[a-c0-9%_.*-]{0,6}", "\\(([a-c0-9]{0,3},){0,3}x\\)", decimals(), "(null|true|false|unknown)"],
        row in rows(),
    ) {
        let plain = Filter::parse(&format!("{column}={operator}.{value}"));
        let negated = Filter::parse(&format!("{column}=not.{operator}.{value}"));
        prop_assert_eq!(plain.is_ok(), negated.is_ok());
        let (Ok(plain), Ok(negated)) = (plain, negated) else { return Ok(()) };
        for declared in TYPES {
            prop_assert!(!(plain.matches(&row, &|_| declared) && negated.matches(&row, &|_| declared)));
            // A missing or NULL value is unknown to every operator but those that test for NULL.
            let absent = row.get(column).is_none_or(|cell| cell == "null");
            if absent && !matches!(operator, "is" | "isdistinct") {
                prop_assert!(!plain.matches(&row, &|_| declared) && !negated.matches(&row, &|_| declared));
            }
        }
    }

    #[test]
    fn another_condition_never_matches_more(one in filters(), other in filters(), row in rows()) {
        let (Ok(_), Ok(second)) = (Filter::parse(&one), Filter::parse(&other)) else { return Ok(()) };
        let Ok(both) = Filter::parse(&format!("{other},{one}")) else { return Ok(()) };
        // An open parenthesis in the first takes the comma into its value, which makes another condition.
        if !other.contains(['(', ')', '"', '\\']) && !other.trim().is_empty() {
            prop_assert!(!both.matches(&row, &|_| None) || second.matches(&row, &|_| None));
        }
    }

    #[test]
    fn numbers_stand_in_their_exact_order(left in decimals(), right in decimals()) {
        let expected = exact_order(&left, &right);
        prop_assert_eq!(order_by_filters(&left, &right, None), expected);
        prop_assert_eq!(order_by_filters(&left, &right, Some(ColumnType::Number)), expected);
        prop_assert_eq!(order_by_filters(&format!("\"{left}\""), &right, None), expected);
        prop_assert_eq!(order_by_filters(&format!("\"{left}\""), &right, Some(ColumnType::Number)), expected);
        prop_assert_eq!(order_by_filters(&right, &left, None), expected.reverse());
    }

    /// Where no oracle reaches: exponents up to the last accepted one, and beyond it.
    #[test]
    fn enormous_numbers_are_ordered_or_unknown(
        numbers in vec("-?[1-9](\\.[0-9])?e-?(2147483647|2147483646|[0-9]{9}|99999999999)", 3),
    ) {
        let order = |left: &str, right: &str| {
            let row = Row::read(&format!("{{\"n\":{left}}}")).unwrap();
            let says = |operator: &str| holds(&format!("n={operator}.{right}"), &row, None);
            match (says("lt"), says("eq"), says("gt")) {
                (true, false, false) => Some(Ordering::Less),
                (false, true, false) => Some(Ordering::Equal),
                (false, false, true) => Some(Ordering::Greater),
                (false, false, false) => None,
                _ => panic!("{left} {right}"),
            }
        };
        let (a, b, c) = (numbers[0].as_str(), numbers[1].as_str(), numbers[2].as_str());
        prop_assert_eq!(order(a, b), order(b, a).map(Ordering::reverse));
        if let (Some(first), Some(second), Some(both)) = (order(a, b), order(b, c), order(a, c)) {
            prop_assert!(first != second || both == first, "{} {} {}", a, b, c);
        }
    }
}

/// The longest accepted filters, on the longest texts that they consider: any subscriber may write them.
#[test]
fn the_worst_patterns_end_soon() {
    let cell = "a".repeat(4_096);
    let row = Row::read(&json!({ "a": cell }).to_string()).unwrap();
    let worst = [
        format!("a=like.{}b", "%a".repeat(4_000)),
        format!("a=like.%{}b", "a".repeat(4_000)),
        format!("a=ilike.{}b", "%_a".repeat(2_600)),
        format!("a=match.{}", "(a|a)*".repeat(15)),
        format!("a=match.{}b$", "a?".repeat(100)),
        ["a=match.(.*a){9}b"; 32].join(","),
    ];
    for filter in &worst {
        let start = Instant::now();
        if let Ok(parsed) = Filter::parse(filter) {
            parsed.matches(&row, &|_| None);
        }
        let took = start.elapsed();
        println!("{took:?} {}", filter.chars().take(30).collect::<String>());
        assert!(took < Duration::from_secs(5), "{took:?} for {}", filter.chars().take(60).collect::<String>());
    }
}
