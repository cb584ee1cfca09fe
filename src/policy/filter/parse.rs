//! The filter grammar.

use super::pattern::Pattern;
use super::{Comparison, Condition, Filter, OPERATORS, Test, Truth};
use crate::code::{Code, Refusal};

/// Bytes of a filter: a hundred quoted UUIDs fit.
pub(super) const MAX_BYTES: usize = 8_192;
/// Values of an `in` list (docs/protocol-native.md, Filters).
const MAX_VALUES: usize = 100;
/// Conditions of one filter.
pub(super) const MAX_CONDITIONS: usize = 32;

pub(super) fn filter(text: &str) -> Result<Filter, Refusal> {
    if text.len() > MAX_BYTES {
        return Err(refuse(format!("a filter has at most {MAX_BYTES} bytes")));
    }
    let conditions = match text.trim() {
        "" => Vec::new(),
        text => split(text)?.into_iter().map(condition).collect::<Result<_, _>>()?,
    };
    if conditions.len() > MAX_CONDITIONS {
        return Err(refuse(format!("a filter has at most {MAX_CONDITIONS} conditions")));
    }
    Ok(Filter { text: text.to_owned(), conditions })
}

pub(super) fn refuse(message: impl Into<String>) -> Refusal {
    Refusal::because(Code::InvalidFilter, message.into())
}

/// Splits at commas outside parentheses and quotes, and trims each part. A quote opens only after `.`, `(` or `,`;
/// white space is allowed after the last two.
pub(super) fn split(text: &str) -> Result<Vec<&str>, Refusal> {
    let (mut parts, mut start, mut depth, mut quoted, mut escaped, mut previous) =
        (Vec::new(), 0, 0_u32, false, false, ',');
    for (place, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if quoted => quoted = false,
            '"' if matches!(previous, '.' | '(' | ',') => quoted = true,
            _ if quoted => {}
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text.get(start..place).unwrap_or_default().trim());
                start = place + 1;
            }
            _ => {}
        }
        if !(c.is_whitespace() && matches!(previous, '(' | ',')) {
            previous = c;
        }
    }
    if quoted {
        return Err(refuse("a quoted value does not end"));
    }
    parts.push(text.get(start..).unwrap_or_default().trim());
    Ok(parts)
}

fn condition(text: &str) -> Result<Condition, Refusal> {
    let (column, test) = text.split_once('=').ok_or_else(|| refuse("a condition is column=operator.value"))?;
    let column = column.trim();
    if column.is_empty() {
        return Err(refuse("a condition names no column"));
    }
    let (negated, test) = test.strip_prefix("not.").map_or((false, test), |test| (true, test));
    let (operator, value) = test.split_once('.').ok_or_else(|| refuse("a condition is column=operator.value"))?;
    let test = operation(operator, value)?;
    debug_assert!(OPERATORS.contains(&operator), "{operator} is missing in OPERATORS");
    Ok(Condition { column: column.to_owned(), negated, test })
}

fn operation(operator: &str, value: &str) -> Result<Test, Refusal> {
    let comparison = match operator {
        "eq" => Comparison::Equal,
        "neq" => Comparison::NotEqual,
        "lt" => Comparison::Less,
        "lte" => Comparison::LessOrEqual,
        "gt" => Comparison::Greater,
        "gte" => Comparison::GreaterOrEqual,
        "in" => return Ok(Test::In(list(value)?)),
        "is" => return Ok(Test::Is(truth(value)?)),
        "like" => return Ok(Test::Pattern(Pattern::like(&literal(value)?, false))),
        "ilike" => return Ok(Test::Pattern(Pattern::like(&literal(value)?, true))),
        "match" => return Pattern::regex(&literal(value)?, false).map(Test::Pattern).map_err(refuse),
        "imatch" => return Pattern::regex(&literal(value)?, true).map(Test::Pattern).map_err(refuse),
        "isdistinct" => return Ok(Test::Distinct(literal(value)?)),
        _ => return Err(refuse("the operator is unknown")),
    };
    Ok(Test::Compare(comparison, literal(value)?))
}

fn list(value: &str) -> Result<Vec<String>, Refusal> {
    let inner = value.strip_prefix('(').and_then(|value| value.strip_suffix(')'));
    let inner = inner.ok_or_else(|| refuse("in takes a list in parentheses"))?;
    if inner.trim().is_empty() {
        return Ok(Vec::new());
    }
    let values = split(inner)?;
    if values.len() > MAX_VALUES {
        return Err(refuse(format!("in takes at most {MAX_VALUES} values")));
    }
    values.into_iter().map(literal).collect()
}

fn truth(value: &str) -> Result<Truth, Refusal> {
    match value {
        "null" => Ok(Truth::Null),
        "true" => Ok(Truth::True),
        "false" => Ok(Truth::False),
        "unknown" => Ok(Truth::Unknown),
        _ => Err(refuse("is takes null, true, false or unknown")),
    }
}

fn literal(value: &str) -> Result<String, Refusal> {
    let Some(quoted) = value.strip_prefix('"') else { return Ok(value.to_owned()) };
    let mut out = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' if characters.as_str().is_empty() => return Ok(out),
            '"' => return Err(refuse("something follows a quoted value")),
            '\\' => out.extend(characters.next()),
            _ => out.push(c),
        }
    }
    Err(refuse("a quoted value does not end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_follow_the_grammar_is_refused() {
        let many = format!("a=in.({})", vec!["1"; 101].join(","));
        let malformed = [
            "a",
            "=eq.1",
            "a=eq",
            "a=eq.1,",
            ",a=eq.1",
            "a=eq.1,,b=eq.2",
            "a=foo.1",
            "a=not.1",
            "a=in.1",
            "a=in.(1",
            "a=is.maybe",
            "a=eq.\"x",
            "a=eq.\"x\"y",
            "a=match.(",
            &many,
        ];
        for text in malformed {
            assert!(filter(text).is_err(), "{text}");
        }
        let hundred = format!("a=in.({})", vec!["1"; 100].join(","));
        for text in ["a=eq.", "a=eq.x=y.z", "a=eq.\"x\\\"y\\\\\"", "a b=eq.1", "a=eq.x\"y", &hundred] {
            assert!(filter(text).is_ok(), "{text}");
        }
    }
}
