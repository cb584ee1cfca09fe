//! A row: columns in order, each value as its original JSON text.

use std::rc::Rc;

use super::json::{self, Kind};

/// The columns of a row or the keys of an object payload. Cheap to clone: names and texts are shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// In the publisher's order.
    pub columns: Vec<Column>,
}

/// One column of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The name, unescaped.
    pub name: Rc<str>,
    /// The value's JSON text.
    pub json: Rc<str>,
}

impl Row {
    /// Reads a row from the JSON object that is the whole of `text`.
    ///
    /// # Errors
    /// When the text is not an object or names a column twice.
    pub fn read(text: &str) -> Result<Row, serde_json::Error> {
        let object = json::object(text)?;
        let column = |(name, value): &(_, &serde_json::value::RawValue)| Column {
            name: Rc::from(<std::borrow::Cow<'_, str> as AsRef<str>>::as_ref(name)),
            json: Rc::from(value.get()),
        };
        Ok(Row { columns: object.members.iter().map(column).collect() })
    }

    /// Bytes of its names and values.
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(|column| column.name.len() + column.json.len()).sum()
    }

    /// The JSON text of the column `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.columns.iter().find(|column| &*column.name == name).map(|column| &*column.json)
    }

    /// The column's value as a comparison key: a string's text or a number's digits, nothing for any other type.
    pub fn key(&self, name: &str) -> Option<String> {
        key_text(self.get(name)?)
    }

    /// The columns for which `keep` is true.
    pub fn project(&self, keep: impl Fn(&str) -> bool) -> Row {
        Row { columns: self.columns.iter().filter(|column| keep(&column.name)).cloned().collect() }
    }

    /// Appends the row as a JSON object.
    pub fn write(&self, out: &mut String) {
        out.push('{');
        for (index, column) in self.columns.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            json::write_string(out, &column.name);
            out.push(':');
            out.push_str(&column.json);
        }
        out.push('}');
    }
}

/// A JSON scalar as text, for comparison with an identity or a claim: never empty, never a `null`.
pub fn key_text(text: &str) -> Option<String> {
    let key = match json::kind(text) {
        Kind::String => json::string(text)?,
        Kind::Number => text.to_owned(),
        _ => return None,
    };
    (!key.is_empty()).then_some(key)
}
