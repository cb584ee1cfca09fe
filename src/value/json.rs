//! One level of JSON at a time: an object's members and an array's elements as slices of the source text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of one object, in order, each value as unparsed text.
#[derive(Debug)]
pub struct Object<'a> {
    /// Key (unescaped) and value (untouched) of each member.
    pub members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// Reads the members of the object that is the whole of `text`.
///
/// # Errors
/// When the text is not a JSON object, or repeats a key: readers may disagree about which value counts (RFC 8259,
/// section 4).
pub fn object(text: &str) -> Result<Object<'_>, serde_json::Error> {
    let object: Object<'_> = serde_json::from_str(text)?;
    let mut names: Vec<&str> = object.members.iter().map(|(name, _)| name.as_ref()).collect();
    names.sort_unstable();
    let repeated = names.windows(2).any(|pair| matches!(pair, [left, right] if left == right));
    if repeated { Err(serde_json::Error::custom("a key stands twice in one object")) } else { Ok(object) }
}

/// Reads the members of an object without refusing repeated keys, for values that are passed on unchanged.
///
/// # Errors
/// When the text is not a JSON object or a key is not valid Unicode.
pub fn lenient_object(text: &str) -> Result<Object<'_>, serde_json::Error> {
    serde_json::from_str(text)
}

/// Reads the elements of the array that is the whole of `text`.
///
/// # Errors
/// When the text is not a JSON array.
pub fn array(text: &str) -> Result<Vec<&RawValue>, serde_json::Error> {
    serde_json::from_str(text)
}

/// Reads a JSON string; `None` for anything else, including lone surrogates.
pub fn string(text: &str) -> Option<String> {
    if text.starts_with('"') { serde_json::from_str(text).ok() } else { None }
}

/// Writes `text` as a JSON string.
pub fn write_string(out: &mut String, text: &str) {
    // Writing a string to memory cannot fail; an empty string would still be valid JSON.
    out.push_str(&serde_json::to_string(text).unwrap_or_else(|_| String::from("\"\"")));
}

/// The type of a JSON text, determined by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean,
    /// A number, in any notation.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// The type of a valid JSON text without surrounding white space.
pub fn kind(text: &str) -> Kind {
    match text.as_bytes().first() {
        Some(b'n') => Kind::Null,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'"') => Kind::String,
        Some(b'[') => Kind::Array,
        Some(b'{') => Kind::Object,
        _ => Kind::Number,
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members = Vec::with_capacity(8);
                while let Some(Key(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Object { members })
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// An object's key: a slice of the text if it needs no unescaping.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_as_they_were_written() {
        let object = object(r#"{"a\u0062":1.10e2,"b":"\ud800","c":[ 1 ]}"#).unwrap();
        let seen: Vec<_> = object.members.iter().map(|(name, value)| (name.as_ref(), value.get())).collect();
        assert_eq!(seen, [("ab", "1.10e2"), ("b", r#""\ud800""#), ("c", "[ 1 ]")]);
    }

    #[test]
    fn a_repeated_key_is_refused_however_it_is_spelt() {
        assert!(object(r#"{"ssn":1,"\u0073sn":2}"#).is_err());
        assert!(lenient_object(r#"{"ssn":1,"\u0073sn":2}"#).is_ok());
    }

    #[test]
    fn a_lone_surrogate_is_no_text() {
        assert_eq!(string(r#""\ud800""#), None);
        assert_eq!(string(r#""é""#).as_deref(), Some("é"));
    }
}
