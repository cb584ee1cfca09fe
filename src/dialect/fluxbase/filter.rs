//! Converts filters as Fluxbase's clients write them to the common grammar: `*` is the wildcard of `like`, and values
//! may contain commas.

use std::borrow::Cow;

use crate::code::Refusal;
use crate::policy::filter::Filter;

/// Reads `column=operator.value`.
///
/// # Errors
/// [`crate::code::Code::InvalidFilter`] with the reason.
pub fn read(text: &str) -> Result<Filter, Refusal> {
    if text.trim().is_empty() {
        return Ok(Filter::default());
    }
    let parts = Filter::split(text)?;
    let (first, rest) = parts.split_first().map_or((text, &[][..]), |(first, rest)| (*first, rest));
    // Text after a comma that is not a condition belongs to the value before it.
    let is_one_value = !rest.is_empty() && rest.iter().all(|part| !part.is_empty() && !part.contains('='));
    let is_list = first.contains("=in.") || first.contains("=not.in.");
    if is_one_value && !is_list {
        return Filter::parse(&quoted_whole(text));
    }
    let conditions: Vec<Cow<'_, str>> = parts.iter().map(|part| condition(part)).collect();
    Filter::parse(&conditions.join(","))
}

/// A condition whose value contains commas, with the value quoted.
fn quoted_whole(text: &str) -> String {
    let Some((head, value)) = head_and_value(text) else { return text.to_owned() };
    let value = if is_pattern(head) { pattern(value) } else { value.to_owned() };
    [head, &quoted(&value)].concat()
}

/// A condition in the common grammar.
fn condition(text: &str) -> Cow<'_, str> {
    match head_and_value(text) {
        Some((head, value)) if is_pattern(head) && !value.starts_with('"') => {
            Cow::Owned([head, &quoted(&pattern(value))].concat())
        }
        _ => Cow::Borrowed(text),
    }
}

/// `column=operator.`, and the value.
fn head_and_value(text: &str) -> Option<(&str, &str)> {
    let start = text.find('=')? + 1;
    let operator = text.get(start..)?;
    let not = if operator.starts_with("not.") { "not.".len() } else { 0 };
    let end = start + not + operator.get(not..)?.find('.')? + 1;
    Some((text.get(..end)?, text.get(end..)?))
}

fn is_pattern(head: &str) -> bool {
    head.ends_with("like.")
}

/// A pattern with `%` for `*`. Wildcards of SQL are escaped, and text after a `\` stays literal.
fn pattern(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '*' => out.push('%'),
            '\\' => {
                out.push('\\');
                out.push(characters.next().unwrap_or('\\'));
            }
            '%' | '_' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

fn quoted(text: &str) -> String {
    ["\"", &text.replace('\\', "\\\\").replace('"', "\\\""), "\""].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::row::Row;

    fn matches(filter: &str, row: &str) -> bool {
        read(filter).unwrap().matches(&Row::read(row).unwrap(), &|_| None)
    }

    #[test]
    fn every_operator_means_what_the_contract_says() {
        let row = r#"{"n":9,"s":"Doe, John","t":"100%_a","b":true,"z":null,"d":{"k":{"x":"y"},"m":2}}"#;
        let holds = [
            "n=eq.9",
            "n=neq.10",
            "n=gt.8",
            "n=gte.9",
            "n=lt.10",
            "n=lte.9",
            "n=in.(1,9)",
            "b=is.true",
            "z=is.null",
            "s=eq.Doe, John",
            "s=like.Doe*",
            "s=ilike.*JOHN",
            "s=like.D*, J*",
            "t=like.*%_a",
            "t=like.100%_a",
            "d->k->>x=eq.y",
            "d->m=gt.1",
            "d->>m=in.(1,2)",
            "s=gt.Dod",
        ];
        for filter in holds {
            assert!(matches(filter, row), "{filter}");
        }
        let fails = [
            "n=eq.8",
            "missing=neq.1",
            "missing=is.null",
            "s=like.John",
            "t=like.100_a",
            "t=like.1__*",
            "d->q=neq.1",
            "d->k->x->y=eq.1",
            "z=neq.1",
            "s=like.\\*",
            "b=is.false",
            "n->k=neq.1",
        ];
        for filter in fails {
            assert!(!matches(filter, row), "{filter}");
        }
        assert!(matches("s=like.\\**", r#"{"s":"*x"}"#) && !matches("s=like.\\**", r#"{"s":"x"}"#));
        assert!(matches("s=eq.a\"b,c\\", r#"{"s":"a\"b,c\\"}"#));
    }

    /// `eq` and `neq` compare the printed form, the others numbers wherever the filter names one.
    #[test]
    fn values_are_compared_as_they_are_printed() {
        let row = r#"{"n":99.99,"whole":10,"s":"11","b":true,"word":"pear","big":9007199254740993,"d":{"n":7}}"#;
        let holds = [
            "n=eq.99.99",
            "whole=eq.10",
            "s=eq.11",
            "b=eq.true",
            "b=neq.false",
            "word=neq.11",
            "big=eq.9007199254740993",
            "big=neq.9007199254740992",
            "s=gt.9",
            "s=lte.11",
            "whole=gte.10",
            "word=gt.apple",
            "word=in.(apple,pear)",
            "whole=in.(9,10)",
            "word=ilike.P*R",
            "d->>n=eq.7",
            "d->n=gt.6",
        ];
        for filter in holds {
            assert!(matches(filter, row), "{filter}");
        }
        for filter in ["s=gt.100", "word=like.P*R", "n=is.true", "whole=lt.9", "d->k=neq.1"] {
            assert!(!matches(filter, row), "{filter}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in ["a", "a=eq", "a=foo.1", "=eq.1", "a=eq.1,", "a=is.maybe", "a=in.1,2", "a=eq.1,b=2"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(read(" ").unwrap(), Filter::default());
    }

    #[test]
    fn what_is_stored_is_read_back_as_the_same() {
        for text in ["s=like.*a%", "s=eq.a, b", "n=gt.1,m=lt.2", "d->>k=eq.\"x\""] {
            let filter = read(text).unwrap();
            assert_eq!(Filter::parse(filter.text()).unwrap(), filter, "{text}");
        }
    }
}
