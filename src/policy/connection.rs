//! The names of connections to databases: one name, or a pattern that gives each app its own.

use super::limits::NAME_BYTES;
use crate::code::Refusal;
use crate::value::form::Field;

/// The placeholder for the app's id in a pattern.
const APP: &str = "app";

/// `connection` of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionName {
    /// The name of one secret, or of one Hyperdrive binding.
    One(String),
    /// The text before and after the app's id.
    PerApp(String, String),
}

impl ConnectionName {
    /// Reads a name, possibly with `{app}` in it. A URL is refused: it would put its password into every copy of the
    /// configuration.
    ///
    /// # Errors
    /// When it cannot name a secret or binding.
    pub fn read(field: &Field<'_>) -> Result<ConnectionName, Refusal> {
        let text = field.name(NAME_BYTES)?;
        let name = match pattern(&text) {
            Some((before, after)) => ConnectionName::PerApp(before.to_owned(), after.to_owned()),
            None => ConnectionName::One(text),
        };
        match name.is_valid() {
            true => Ok(name),
            false => Err(field.refuse(
                "must be the name of a secret or of a Hyperdrive binding, not the URL itself; {app} may stand after its first letter",
            )),
        }
    }

    /// The name of an app's secret or binding: its id in upper case. An id with upper case or punctuation has none,
    /// because it would share its name with another app's.
    pub fn of_app(&self, app: &str) -> Option<String> {
        let ConnectionName::PerApp(before, after) = self else { return None };
        let is_distinct = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        app.bytes().all(is_distinct).then(|| [before, &*app.to_ascii_uppercase(), after].concat())
    }

    fn is_valid(&self) -> bool {
        let (first, after) = match self {
            ConnectionName::One(name) => (name, ""),
            ConnectionName::PerApp(before, after) => (before, &**after),
        };
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let begins = first.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        begins && first.bytes().chain(after.bytes()).all(is_word)
    }
}

/// The text before and after `{app}`.
fn pattern(text: &str) -> Option<(&str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (within, after) = rest.split_once('}')?;
    (within.trim() == APP).then_some((before, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_apps_have_the_same_connection() {
        let name = ConnectionName::PerApp("DATABASE_".to_owned(), "_URL".to_owned());
        assert_eq!(name.of_app("app_abc123").as_deref(), Some("DATABASE_APP_ABC123_URL"));
        for app in ["App_abc123", "app-abc123", "app.abc123", "app:abc123", "äpp"] {
            assert_eq!(name.of_app(app), None, "{app}");
        }
        assert_eq!(ConnectionName::One("DATABASE_URL".to_owned()).of_app("app_abc123"), None);
    }
}
