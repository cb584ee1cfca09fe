//! A JSON object as the protocol's own server reads it: invalid parts count as absent.

use crate::policy::secret::Secret;
use crate::policy::token::MAX_TOKEN;
use crate::value::json;

/// The members of an object; none for any other value.
pub(super) struct Lenient<'a>(Option<json::Object<'a>>);

impl<'a> Lenient<'a> {
    pub(super) fn read(text: &'a str) -> Lenient<'a> {
        // Readers may disagree about a repeated key, so an object with one is ignored entirely.
        Lenient(json::object(text).ok())
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        let members = &self.0.as_ref()?.members;
        members.iter().find(|(known, _)| known == name).map(|(_, value)| value.get())
    }

    pub(super) fn is_object(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn count(&self) -> usize {
        self.0.as_ref().map_or(0, |object| object.members.len())
    }

    pub(super) fn within(&self, name: &str) -> Lenient<'a> {
        self.get(name).map_or(Lenient(None), Lenient::read)
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(json::string)
    }

    /// A boolean, or its name as a string.
    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            "true" | "\"true\"" => Some(true),
            "false" | "\"false\"" => Some(false),
            _ => None,
        }
    }

    /// A token to verify: opaque keys (`sb_…`) stand for the connection's own. An oversized token becomes an empty,
    /// invalid one, because many tokens may have to wait for keys.
    pub(super) fn token(&self, name: &str) -> Option<Secret> {
        let mut token = self.text(name).filter(|token| !token.starts_with("sb_"))?;
        if token.len() > MAX_TOKEN {
            token = String::new();
        }
        Some(Secret::new(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_of_a_token_that_is_too_long() {
        let left = |token: &str| {
            let text = format!("{{\"t\":\"{token}\"}}");
            Lenient::read(&text).token("t").map(|token| token.expose().len())
        };
        assert_eq!(left(&"x".repeat(MAX_TOKEN)), Some(MAX_TOKEN));
        assert_eq!(left(&"x".repeat(MAX_TOKEN + 1)), Some(0), "and not the socket's own");
        assert_eq!(left(""), Some(0), "an empty one is no token");
        assert_eq!(left("sb_publishable_x"), None);
    }
}
