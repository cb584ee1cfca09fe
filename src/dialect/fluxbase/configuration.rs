//! The settings of Fluxbase's clients: `REALTIME.fluxbase` (docs/protocol-fluxbase.md, Configuration).

use std::rc::Rc;

use crate::code::Refusal;
use crate::policy::channel::{Channel, Topic};
use crate::policy::configuration::Configuration;
use crate::policy::limits::NAME_BYTES;
use crate::policy::organization::is_organization;
use crate::policy::section::Section;
use crate::policy::table::{DEFAULT_SCHEMA, MAX_COLUMNS};
use crate::value::form::Field;

/// Channels that only administrators may subscribe to.
pub const ADMIN_CHANNELS: &str = "realtime:admin:";
/// The topic of announced connections, after [`ADMIN_CHANNELS`].
const CONNECTIONS: &str = "connections";
/// The roles of administrators.
pub const ADMIN_ROLES: [&str; 3] = ["admin", "instance_admin", "service_role"];
/// The section.
pub const SECTION: Section = Section { name: "fluxbase", read };

/// The settings of the section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The organization of all these clients.
    pub organization: String,
}

/// Reads `{ organization?, database?, anonymous? }`. Without a database, the tables are those declared in
/// `REALTIME.tables`.
fn read(field: &Field<'_>, configuration: &mut Configuration) -> Result<(), Refusal> {
    let mut form = field.form()?;
    let organization = match form.take("organization") {
        None => {
            let default = configuration.credentials.default_organization.clone();
            default.ok_or_else(|| form.refuse("organization", "is required"))?
        }
        Some(name) => {
            let text = name.text()?;
            if !is_organization(&text) {
                return Err(name.refuse("is no organization id"));
            }
            text
        }
    };
    if let Some(database) = form.take("database") {
        let name = database.name(NAME_BYTES)?;
        if configuration.databases().declared_name(&organization) != Some(&*name) {
            return Err(database.refuse("is not the database of this organization in databases"));
        }
    }
    let tables = form.take("anonymous").map(|tables| tables.texts(MAX_COLUMNS)).transpose()?.unwrap_or_default();
    form.finish()?;
    configuration.open_tables.extend(tables.into_iter().map(qualified));
    configuration.credentials.nameless_organization = Some(organization.clone());
    // First, so that no other policy can grant more.
    configuration.channels.insert(0, Channel::for_administrators(ADMIN_CHANNELS, &ADMIN_ROLES));
    let name = Rc::from([ADMIN_CHANNELS, CONNECTIONS].concat());
    configuration.connections_topic = Some(Topic { private: true, name });
    configuration.sections.insert(Settings { organization });
    Ok(())
}

fn qualified(name: String) -> String {
    if name.contains('.') { name } else { format!("{DEFAULT_SCHEMA}.{name}") }
}
