//! Forms: JSON objects whose keys are all known. An error names the path of a missing, misspelt or mistyped value.

use std::borrow::Cow;
use std::rc::Rc;

use super::json::{self, Kind};
use crate::code::{Code, Refusal};

/// An object that is read key by key. [`Form::finish`] refuses keys that were not read.
pub struct Form<'a> {
    path: Rc<str>,
    code: Code,
    members: Vec<Option<(Cow<'a, str>, &'a str)>>,
}

/// One value of a form, with its path.
pub struct Field<'a> {
    parent: Rc<str>,
    key: FieldKey<'a>,
    code: Code,
    text: &'a str,
}

enum FieldKey<'a> {
    Name(Cow<'a, str>),
    Index(usize),
}

impl<'a> Form<'a> {
    /// Starts reading the object that is the whole of `text`; refusals carry `code`.
    ///
    /// # Errors
    /// When the text is not a JSON object or names a key twice.
    pub fn read(text: &'a str, code: Code) -> Result<Self, Refusal> {
        Form::at(text, Rc::from(""), code)
    }

    fn at(text: &'a str, path: Rc<str>, code: Code) -> Result<Self, Refusal> {
        let refuse = |error: serde_json::Error| Refusal {
            code,
            message: Cow::Owned(describe(&error)),
            field: (!path.is_empty()).then(|| path.to_string()),
            reason: None,
            retry_after: None,
        };
        let object = json::object(text).map_err(refuse)?;
        let members = object.members.into_iter().map(|(name, value)| Some((name, value.get()))).collect();
        Ok(Form { path, code, members })
    }

    /// Takes the value of `name`, `None` when the key is absent.
    pub fn take(&mut self, name: &str) -> Option<Field<'a>> {
        let place = self.members.iter_mut().find(|member| matches!(member, Some((key, _)) if key == name))?;
        let (key, text) = place.take()?;
        Some(Field { parent: self.path.clone(), key: FieldKey::Name(key), code: self.code, text })
    }

    /// The JSON text of `name`, without taking it.
    pub fn peek(&self, name: &str) -> Option<&'a str> {
        self.members.iter().flatten().find(|(key, _)| key == name).map(|(_, text)| *text)
    }

    /// Takes the value of `name`.
    ///
    /// # Errors
    /// When the key is absent.
    pub fn require(&mut self, name: &str) -> Result<Field<'a>, Refusal> {
        self.take(name).ok_or_else(|| self.refuse(name, "is required"))
    }

    /// Takes every remaining value with its key.
    pub fn rest(&mut self) -> Vec<(String, Field<'a>)> {
        let (parent, code) = (self.path.clone(), self.code);
        let left = self.members.iter_mut().filter_map(Option::take);
        left.map(|(name, text)| {
            (name.to_string(), Field { parent: parent.clone(), key: FieldKey::Name(name), code, text })
        })
        .collect()
    }

    /// Finishes reading.
    ///
    /// # Errors
    /// When a key was not read: a misspelt one must never widen an audience.
    pub fn finish(self) -> Result<(), Refusal> {
        match self.members.iter().flatten().next() {
            Some((name, _)) => Err(self.refuse(name, "is not a known key")),
            None => Ok(()),
        }
    }

    /// A refusal of the key `name`: `what` completes the sentence.
    pub fn refuse(&self, name: &str, what: &str) -> Refusal {
        let path = join(&self.path, name);
        Refusal::at(self.code, path.clone(), format!("{path} {what}"))
    }
}

impl<'a> Field<'a> {
    /// The value's JSON text.
    pub fn json(&self) -> &'a str {
        self.text
    }

    /// Whether the value is `null`.
    pub fn is_null(&self) -> bool {
        json::kind(self.text) == Kind::Null
    }

    /// A string.
    ///
    /// # Errors
    /// When it is something else.
    pub fn text(&self) -> Result<String, Refusal> {
        json::string(self.text).ok_or_else(|| self.refuse("must be a string"))
    }

    /// A string of 1 to `most` bytes.
    ///
    /// # Errors
    /// When it is something else.
    pub fn name(&self, most: usize) -> Result<String, Refusal> {
        let text = self.text()?;
        if text.is_empty() {
            return Err(self.refuse("must not be empty"));
        }
        if text.len() > most {
            let message = format!("{} is longer than {most} bytes", self.path());
            return Err(Refusal::at(self.code.for_long_names(), self.path(), message));
        }
        Ok(text)
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// When it is something else.
    pub fn boolean(&self) -> Result<bool, Refusal> {
        match self.text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.refuse("must be true or false")),
        }
    }

    /// A whole number from 0 to 2^53 - 1.
    ///
    /// # Errors
    /// When it is something else.
    pub fn count(&self) -> Result<u64, Refusal> {
        let number = self.text.parse::<u64>().ok().filter(|number| *number < 1 << 53);
        number.ok_or_else(|| self.refuse("must be a whole number"))
    }

    /// An object.
    ///
    /// # Errors
    /// When it is something else.
    pub fn form(&self) -> Result<Form<'a>, Refusal> {
        if json::kind(self.text) != Kind::Object {
            return Err(self.refuse("must be an object"));
        }
        Form::at(self.text, Rc::from(self.path()), self.code)
    }

    /// An array of at most `most` elements.
    ///
    /// # Errors
    /// When it is something else.
    pub fn list(&self, most: usize) -> Result<Vec<Field<'a>>, Refusal> {
        let parent: Rc<str> = Rc::from(self.path());
        let elements = match json::kind(self.text) {
            Kind::Array => json::array(self.text).map_err(|_| self.refuse("must be an array"))?,
            _ => return Err(self.refuse("must be an array")),
        };
        if elements.len() > most {
            return Err(self.refuse(&format!("must have at most {most} elements")));
        }
        let field = |(index, value): (usize, &'a serde_json::value::RawValue)| Field {
            parent: parent.clone(),
            key: FieldKey::Index(index),
            code: self.code,
            text: value.get(),
        };
        Ok(elements.into_iter().enumerate().map(field).collect())
    }

    /// An array of at most `most` strings.
    ///
    /// # Errors
    /// When it is something else.
    pub fn texts(&self, most: usize) -> Result<Vec<String>, Refusal> {
        self.list(most)?.iter().map(Field::text).collect()
    }

    /// A refusal of this value: `what` completes the sentence.
    pub fn refuse(&self, what: &str) -> Refusal {
        Refusal::at(self.code, self.path(), format!("{} {what}", self.path()))
    }

    /// The path of the value, such as `messages[3].eventType`.
    pub fn path(&self) -> String {
        match &self.key {
            FieldKey::Name(name) => join(&self.parent, name),
            FieldKey::Index(index) => format!("{}[{index}]", self.parent),
        }
    }
}

impl Code {
    /// A long name has a code of its own on sockets, and none over HTTP (docs/protocol-native.md, Publishing).
    fn for_long_names(self) -> Code {
        if self == Code::InvalidFrame { Code::NameTooLong } else { self }
    }
}

/// Paths are shown to people and sent in answers, so a hostile key must not make them long.
fn join(parent: &str, name: &str) -> String {
    let shown: String = name.chars().take(64).collect();
    if parent.is_empty() { shown } else { format!("{parent}.{shown}") }
}

/// Describes a JSON error without quoting the text (invariant 10).
fn describe(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Eof => String::from("the JSON text ends too early"),
        serde_json::error::Category::Syntax => {
            format!("not valid JSON at line {} column {}", error.line(), error.column())
        }
        _ if error.to_string().starts_with("a key stands twice") => String::from("a key stands twice in one object"),
        _ => String::from("must be a JSON object"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Form<'_>, Refusal> {
        Form::read(text, Code::InvalidRequest)
    }

    #[test]
    fn the_path_names_the_offender() {
        let mut form = read(r#"{"messages":[{"a":1},{"a":"x","b":2}]}"#).unwrap();
        let elements = form.take("messages").unwrap().list(10).unwrap();
        let mut second = elements[1].form().unwrap();
        assert_eq!(second.take("a").unwrap().text().unwrap(), "x");
        let refusal = second.finish().unwrap_err();
        assert_eq!(refusal.field.as_deref(), Some("messages[1].b"));
        assert_eq!(
            elements[0].form().unwrap().take("a").unwrap().text().unwrap_err().message,
            "messages[0].a must be a string"
        );
    }

    #[test]
    fn errors_quote_nothing_of_the_input() {
        for text in ["{\"secret\":tru}", "[\"secret\"]", "\"secret\"", "{\"secret\":1,\"secret\":2}", "{\"secret"] {
            let refusal = read(text).err().unwrap();
            assert!(!refusal.message.contains("secret"), "{}", refusal.message);
        }
    }
}
