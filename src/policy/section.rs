//! Sections of `REALTIME` that belong to one kind of client: read by the module that serves it, and stored here.

use std::any::Any;
use std::fmt;
use std::rc::Rc;

use super::configuration::Configuration;
use crate::code::Refusal;
use crate::value::form::Field;

/// A section: its key and its reader.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// The key in `REALTIME`.
    pub name: &'static str,
    /// Reads it into the configuration. All other keys have been read by then.
    ///
    /// # Errors
    /// On an unknown key or a wrong type, with its path.
    pub read: fn(&Field<'_>, &mut Configuration) -> Result<(), Refusal>,
}

/// Settings of sections, by their type: only the module with the type can read them.
#[derive(Clone, Default)]
pub struct Sections(Vec<Rc<dyn Any>>);

impl Sections {
    /// Adds the settings of a section.
    pub fn insert<T: Any>(&mut self, settings: T) {
        self.0.push(Rc::new(settings));
    }

    /// The settings of this type; `None` if the deployment has none.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.iter().find_map(|settings| settings.downcast_ref())
    }
}

impl fmt::Debug for Sections {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Sections").field(&self.0.len()).finish()
    }
}
