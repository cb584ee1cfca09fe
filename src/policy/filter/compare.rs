//! Compares a JSON cell with a filter's literal: numbers of any length exactly, everything else as text.

use std::cmp::Ordering;

use super::column_type::ColumnType;
use super::instant;
use crate::value::json::{self, Kind};

/// The order of cell and literal; `None` if SQL would yield unknown or refuse the cast.
pub(super) fn compare(cell: &str, literal: &str, declared: Option<ColumnType>) -> Option<Ordering> {
    let text = match json::kind(cell) {
        Kind::String => json::string(cell)?,
        Kind::Number | Kind::Boolean => cell.to_owned(),
        Kind::Null | Kind::Array | Kind::Object => return None,
    };
    let numbers = || Some(Decimal::read(&text)?.compare(&Decimal::read(literal)?));
    match declared.or_else(|| implied(cell)) {
        Some(ColumnType::Number) => numbers(),
        Some(ColumnType::Boolean) => Some(boolean(&text)?.cmp(&boolean(literal)?)),
        Some(ColumnType::Text) => Some(text.as_str().cmp(literal)),
        Some(ColumnType::Timestamp) => Some(instant::microseconds(&text)?.cmp(&instant::microseconds(literal)?)),
        Some(ColumnType::Uuid) => Some(uuid(&text)?.cmp(&uuid(literal)?)),
        Some(ColumnType::Incomparable) => None,
        None => numbers().or_else(|| Some(text.as_str().cmp(literal))),
    }
}

/// The type that a cell's JSON implies; a string implies none, because `int8` and `numeric` are sent as strings.
fn implied(cell: &str) -> Option<ColumnType> {
    match json::kind(cell) {
        Kind::Number => Some(ColumnType::Number),
        Kind::Boolean => Some(ColumnType::Boolean),
        _ => None,
    }
}

/// The spellings of PostgreSQL's `boolean`; SQLite prints 1 and 0.
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" | "y" | "on" => Some(true),
        "false" | "f" | "0" | "no" | "n" | "off" => Some(false),
        _ => None,
    }
}

/// The 32 digits of a UUID, in any case and with or without hyphens and braces (RFC 9562, section 4).
fn uuid(text: &str) -> Option<String> {
    let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    let digits: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    let is_uuid = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_uuid.then_some(digits)
}

/// A decimal number of any length: `0.digits * 10^point`.
pub(super) struct Decimal<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    point: i64,
}

impl<'a> Decimal<'a> {
    pub(super) fn read(text: &'a str) -> Option<Decimal<'a>> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_number = !whole.is_empty() && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
        let point = i64::try_from(whole.len()).ok()? + i64::from(exponent);
        is_number.then_some(Decimal { negative, whole, fraction, point }.normal())
    }

    /// One text for all spellings of the same number, and different ones for different numbers.
    pub(super) fn canonical(&self) -> String {
        let mut out = format!("{}{}:", if self.negative { "-" } else { "" }, self.point);
        out.extend(self.digits().map(char::from));
        out.truncate(out.trim_end_matches('0').len());
        out
    }

    /// Without leading zeros, so that `point` is the magnitude.
    fn normal(mut self) -> Decimal<'a> {
        let all = self.whole.len() + self.fraction.len();
        let zeros = self.digits().take_while(|digit| *digit == b'0').count();
        self.fraction = self.fraction.trim_end_matches('0');
        if zeros == all {
            return Decimal { negative: false, whole: "", fraction: "", point: 0 };
        }
        let in_fraction = zeros.saturating_sub(self.whole.len());
        self.whole = self.whole.get(zeros.min(self.whole.len())..).unwrap_or_default();
        self.fraction = self.fraction.get(in_fraction..).unwrap_or_default();
        self.point -= i64::try_from(zeros).unwrap_or(i64::MAX);
        self
    }

    fn digits(&self) -> impl Iterator<Item = u8> {
        self.whole.bytes().chain(self.fraction.bytes())
    }

    fn is_zero(&self) -> bool {
        self.whole.is_empty() && self.fraction.is_empty()
    }

    fn compare(&self, other: &Decimal<'_>) -> Ordering {
        let sign = |number: &Decimal<'_>| {
            if number.is_zero() {
                0
            } else if number.negative {
                -1
            } else {
                1
            }
        };
        let size = || self.point.cmp(&other.point).then_with(|| compare_digits(self.digits(), other.digits()));
        match sign(self).cmp(&sign(other)) {
            Ordering::Equal if self.negative => size().reverse(),
            Ordering::Equal => size(),
            order => order,
        }
    }
}

/// Compares two fractions digit by digit; the shorter one ends in zeros.
fn compare_digits(mut left: impl Iterator<Item = u8>, mut right: impl Iterator<Item = u8>) -> Ordering {
    loop {
        match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (left, right) => match left.unwrap_or(b'0').cmp(&right.unwrap_or(b'0')) {
                Ordering::Equal => {}
                order => return order,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_compare_exactly() {
        let equal = [
            ("1", "1.0"),
            ("10", "1e1"),
            ("0", "-0"),
            ("0.10", "1e-1"),
            ("00.5", "0.50"),
            ("-0.0", "0e9"),
            ("100", "100.00"),
        ];
        for (left, right) in equal {
            assert_eq!(compare(left, right, None), Some(Ordering::Equal), "{left} {right}");
        }
        let less = [
            ("9", "10"),
            ("-10", "-9"),
            ("-1", "0"),
            ("9007199254740992", "9007199254740993"),
            ("0.09", "0.1"),
            ("1e2", "101"),
            ("-1", "0.001"),
            ("99999999999999999999999999", "1e26"),
            ("0.0012", "0.0013"),
            ("1.5", "10.5"),
        ];
        for (left, right) in less {
            assert_eq!(compare(left, right, None), Some(Ordering::Less), "{left} {right}");
            assert_eq!(compare(right, left, None), Some(Ordering::Greater), "{right} {left}");
        }
    }

    #[test]
    fn a_declared_type_knows_every_spelling_of_a_value() {
        let same = [
            (ColumnType::Boolean, "1", "true"),
            (ColumnType::Boolean, "0", "f"),
            (ColumnType::Boolean, "true", "1"),
            (ColumnType::Boolean, "\"t\"", "yes"),
            (ColumnType::Uuid, "\"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11\"", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            (ColumnType::Uuid, "\"a0eebc999c0b4ef8bb6d6bb9bd380a11\"", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"),
            (ColumnType::Timestamp, "\"2026-08-22T09:30:00+00:00\"", "2026-08-22 11:30:00+02"),
            (ColumnType::Timestamp, "\"2026-08-22T09:30:00.5Z\"", "2026-08-22T09:30:00.500000"),
        ];
        for (declared, cell, literal) in same {
            assert_eq!(compare(cell, literal, Some(declared)), Some(Ordering::Equal), "{cell} {literal}");
        }
        for (declared, cell, literal) in [
            (ColumnType::Boolean, "2", "true"),
            (ColumnType::Uuid, "\"a0eebc99\"", "a0eebc99"),
            (ColumnType::Timestamp, "\"yesterday\"", "2026-08-22"),
            (ColumnType::Timestamp, "1766400000", "2026-08-22"),
            (ColumnType::Incomparable, "\"a\"", "a"),
        ] {
            assert_eq!(compare(cell, literal, Some(declared)), None, "{cell} {literal}");
        }
    }

    #[test]
    fn what_cannot_be_compared_is_unknown() {
        for (cell, literal) in [
            ("1", "x"),
            ("true", "2"),
            ("null", "null"),
            ("[1]", "1"),
            ("{}", "{}"),
            ("1", "1e"),
            ("1", ""),
            ("1", "."),
        ] {
            assert_eq!(compare(cell, literal, None), None, "{cell} {literal}");
        }
        assert_eq!(compare("\"b\"", "a", None), Some(Ordering::Greater));
    }
}
