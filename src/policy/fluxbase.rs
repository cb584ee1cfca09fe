//! The settings for Fluxbase's clients: `REALTIME.fluxbase` (docs/protocol-fluxbase.md, Configuration).

use std::collections::BTreeSet;

use super::limits::NAME_BYTES;
use super::organization::is_organization;
use super::table::{DEFAULT_SCHEMA, MAX_COLUMNS};
use crate::code::Refusal;
use crate::value::form::Field;

/// Channels that only administrators may subscribe to.
pub const ADMIN_CHANNELS: &str = "realtime:admin:";
/// Holders of one of these roles are administrators.
pub const ADMIN_ROLES: [&str; 3] = ["admin", "instance_admin", "service_role"];

/// How Fluxbase's clients are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fluxbase {
    /// The organization of all these clients.
    pub organization: String,
    /// The database of `REALTIME.databases` with their tables; `None`: the tables that `REALTIME.tables` declares.
    pub database: Option<String>,
    /// Tables, with their schemas, that sockets without a credential may subscribe to.
    pub anonymous: BTreeSet<String>,
}

impl Fluxbase {
    /// Reads `{ organization?, database?, anonymous? }`.
    ///
    /// # Errors
    /// On an unknown key or a wrong type, or when neither it nor the deployment names an organization.
    pub fn read(field: &Field<'_>, default: Option<&str>) -> Result<Fluxbase, Refusal> {
        let mut form = field.form()?;
        let organization = match form.take("organization") {
            None => default.map(str::to_owned).ok_or_else(|| form.refuse("organization", "is required"))?,
            Some(name) => {
                let text = name.text()?;
                if !is_organization(&text) {
                    return Err(name.refuse("is no organization id"));
                }
                text
            }
        };
        let tables = form.take("anonymous").map(|tables| tables.texts(MAX_COLUMNS)).transpose()?.unwrap_or_default();
        let database = form.take("database").map(|name| name.name(NAME_BYTES)).transpose()?;
        form.finish()?;
        Ok(Fluxbase { organization, database, anonymous: tables.into_iter().map(qualified).collect() })
    }
}

fn qualified(name: String) -> String {
    if name.contains('.') { name } else { format!("{DEFAULT_SCHEMA}.{name}") }
}
