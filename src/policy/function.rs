//! Functions: the deployment's services that answer client events.

use std::collections::BTreeMap;

use super::configuration::is_safe;
use super::limits::NAME_BYTES;
use crate::code::Refusal;
use crate::value::form::Field;

/// The functions of one app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Functions {
    service: Option<Service>,
    /// Paths by event name.
    paths: BTreeMap<String, String>,
}

/// Where the functions are hosted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// Behind a service binding of this name.
    Binding(String),
    /// At this address, without a trailing slash.
    Url(String),
}

impl Functions {
    /// Reads `{ binding | url, events = { name = path } }`.
    ///
    /// # Errors
    /// On an unknown key, or a function that could not be called.
    pub fn read(field: &Field<'_>) -> Result<Functions, Refusal> {
        let mut form = field.form()?;
        let service = match (form.take("binding"), form.take("url")) {
            (Some(binding), None) => Service::Binding(binding.name(NAME_BYTES)?),
            (None, Some(url)) => {
                let text = url.text()?;
                if !is_safe(&text) || text.contains(['?', '#']) {
                    return Err(url.refuse("must be an https URL without parameters"));
                }
                Service::Url(text.trim_end_matches('/').to_owned())
            }
            _ => return Err(field.refuse("must name a binding or a url")),
        };
        let mut paths = BTreeMap::new();
        for (event, path) in form.require("events")?.form()?.rest() {
            let text = path.name(NAME_BYTES)?;
            if !text.starts_with('/') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(path.refuse("must be a path"));
            }
            paths.insert(event, text);
        }
        form.finish()?;
        Ok(Functions { service: Some(service), paths })
    }

    /// The service and path that answer an event; `None` if there is none.
    pub fn of(&self, event: &str) -> Option<(&Service, &str)> {
        Some((self.service.as_ref()?, self.paths.get(event)?.as_str()))
    }
}
