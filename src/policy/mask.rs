//! The six masks: what remains of a value for recipients that may not see it (docs/protocol-native.md, Masking).
//!
//! The SDK has the same masks in TypeScript (`sdk/src/view/mask.ts`); `tests/data/views.json` holds both to the same
//! results.

use crate::value::json::{self, Kind};

/// Replaces a value whose shape cannot be kept.
const REDACTED: &str = "[REDACTED]";

/// A way to hide a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mask {
    /// `john@yourdomain.com` → `j***@y*********.com`
    Email,
    /// `(555) 123-4567` → `******4567`
    Phone,
    /// `123-45-6789` → `*****6789`
    Ssn,
    /// `4111-1111-1111-1111` → `**** **** **** 1111`
    CreditCard,
    /// `John Smith` → `J***`
    Name,
    /// anything → `[REDACTED]`
    Redact,
}

impl Mask {
    /// Every mask with its `type` in a masking configuration. docs/protocol-native.md lists them and a test compares
    /// the two.
    pub const ALL: [(&'static str, Mask); 6] = [
        ("email", Mask::Email),
        ("phone", Mask::Phone),
        ("ssn", Mask::Ssn),
        ("creditCard", Mask::CreditCard),
        ("name", Mask::Name),
        ("redact", Mask::Redact),
    ];

    /// The mask of a `type` in a masking configuration; `None` if there is no such mask.
    pub fn named(name: &str) -> Option<Mask> {
        Mask::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, mask)| mask)
    }

    /// The mask that hides what either hides: two different masks redact everything.
    pub fn stricter(self, other: Mask) -> Mask {
        if self == other { self } else { Mask::Redact }
    }

    /// Masks a JSON value given as text and returns JSON text. `null` stays `null`; a value of another shape is
    /// redacted.
    pub fn json(self, value: &str) -> String {
        let masked = match json::kind(value) {
            Kind::Null => return String::from("null"),
            Kind::String => json::string(value).and_then(|text| self.text(&text)),
            Kind::Number => decimal(value).and_then(|text| self.text(&text)),
            Kind::Boolean | Kind::Array | Kind::Object => None,
        };
        let mut out = String::new();
        json::write_string(&mut out, masked.as_deref().unwrap_or(REDACTED));
        out
    }

    /// What remains of `text`; `None` if it lacks the shape that the mask keeps.
    fn text(self, text: &str) -> Option<String> {
        match self {
            Mask::Email => email(text),
            Mask::Phone | Mask::Ssn => digits(text).map(|digits| starred_but_four(&digits)),
            Mask::CreditCard => digits(text).map(|digits| format!("**** **** **** {}", last_four(&digits))),
            Mask::Name => text.chars().next().map(|first| format!("{first}***")),
            Mask::Redact => None,
        }
    }
}

/// The last `@` separates (RFC 5321 allows it in a quoted local part). Only the last label is shown whole, so it must
/// look like a top-level domain: a letter, then letters, digits or hyphens.
fn email(text: &str) -> Option<String> {
    let (local, domain) = text.rsplit_once('@')?;
    let (host, last) = domain.rsplit_once('.')?;
    let is_label = |label: &str| label.chars().all(|c| c.is_alphanumeric() || c == '-');
    if !last.starts_with(char::is_alphabetic) || last.len() > 63 || !is_label(last) {
        return None;
    }
    let mut host = host.chars();
    let (local_first, host_first) = (local.chars().next()?, host.next()?);
    let stars = "*".repeat(host.count());
    Some(format!("{local_first}***@{host_first}{stars}.{last}"))
}

/// The ASCII digits of a text that has at least five: with fewer, showing four would show nearly all.
fn digits(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    (digits.len() >= 5).then_some(digits)
}

fn starred_but_four(digits: &str) -> String {
    "*".repeat(digits.len().saturating_sub(4)) + &last_four(digits)
}

fn last_four(digits: &str) -> String {
    digits.chars().skip(digits.len().saturating_sub(4)).collect()
}

/// A JSON number without an exponent; `None` if it would be longer than any sensible number.
fn decimal(number: &str) -> Option<String> {
    let Some((mantissa, exponent)) = number.split_once(['e', 'E']) else { return Some(number.to_owned()) };
    let exponent: i32 = exponent.parse().ok().filter(|exponent| (-400..=400).contains(exponent))?;
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |mantissa| ("-", mantissa));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    let point = i32::try_from(whole.len()).ok()? + exponent;
    let digits =
        zeros(1 - point) + whole + fraction + &zeros(point - i32::try_from(whole.len() + fraction.len()).ok()?);
    let (whole, fraction) = digits.split_at_checked(usize::try_from(point.max(1)).ok()?)?;
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{}{dot}{fraction}", if whole.is_empty() { "0" } else { whole }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mask: Mask, value: &str, expected: &str) {
        assert_eq!(mask.json(value), expected, "{mask:?} of {value}");
    }

    #[test]
    fn the_examples_of_the_contract() {
        check(Mask::Email, r#""john@yourdomain.com""#, r#""j***@y*********.com""#);
        check(Mask::Phone, r#""(555) 123-4567""#, r#""******4567""#);
        check(Mask::Ssn, r#""123-45-6789""#, r#""*****6789""#);
        check(Mask::CreditCard, r#""4111-1111-1111-1111""#, r#""**** **** **** 1111""#);
        check(Mask::Name, r#""John Smith""#, r#""J***""#);
        check(Mask::Redact, "91000", r#""[REDACTED]""#);
    }

    #[test]
    fn null_stays_null_and_what_does_not_fit_is_redacted() {
        for (_, mask) in Mask::ALL {
            check(mask, "null", "null");
            for value in ["true", "[1,2,3,4,5]", r#"{"a":"12345"}"#, r#""\ud800""#, r#""""#] {
                check(mask, value, r#""[REDACTED]""#);
            }
        }
        for value in [r#""1234""#, "1234", r#""no digits""#, r#""１２３４５６""#] {
            check(Mask::Phone, value, r#""[REDACTED]""#);
            check(Mask::CreditCard, value, r#""[REDACTED]""#);
        }
    }

    #[test]
    fn numbers_are_masked_as_their_decimal_text() {
        check(Mask::Phone, "5551234567", r#""******4567""#);
        check(Mask::Ssn, "1.23456789e8", r#""*****6789""#);
        check(Mask::Ssn, "1e999", r#""[REDACTED]""#);
        check(Mask::Name, "-42", r#""-***""#);
        for (number, text) in [("1.5e3", "1500"), ("12e-1", "1.2"), ("-0.05E2", "-5"), ("1e-3", "0.001"), ("0e5", "0")]
        {
            assert_eq!(decimal(number).as_deref(), Some(text));
        }
    }

    #[test]
    fn characters_are_scalar_values() {
        check(Mask::Name, r#""Émile""#, r#""É***""#);
        check(Mask::Email, r#""émile@bücher.example.de""#, r#""é***@b*************.de""#);
    }

    #[test]
    fn an_email_shows_only_what_is_an_email() {
        check(Mask::Email, r#""a@b@c.com""#, r#""a***@c.com""#);
        let odd = ["localhost", "x@localhost", "@b.com", "a@.com", "a@b.", "a@b.ssn 123", "a@b.123456789", "a@"];
        for value in odd {
            check(Mask::Email, &format!("\"{value}\""), r#""[REDACTED]""#);
        }
    }
}
