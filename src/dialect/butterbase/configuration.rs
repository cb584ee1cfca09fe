//! The settings of apps, `REALTIME.butterbase`, and the names of their tokens and roles (docs/protocol-butterbase.md,
//! Configuration).

use crate::code::Refusal;
use crate::policy::app::{AppTerms, Apps};
use crate::policy::configuration::Configuration;
use crate::policy::section::Section;
use crate::value::form::Field;

/// The role of a client without a credential.
pub const ANONYMOUS: &str = "butterbase_anon";
/// The role of an end user.
pub const USER: &str = "butterbase_user";
/// The role of a service key.
pub const SERVICE: &str = "butterbase_service";
/// The section.
pub const SECTION: Section = Section { name: "butterbase", read };
/// The names of tokens and roles.
pub const TERMS: AppTerms =
    AppTerms { issuer: "butterbase:app:", algorithm: "RS256", user: USER, service: SERVICE, reserved: "butterbase_" };

fn read(field: &Field<'_>, configuration: &mut Configuration) -> Result<(), Refusal> {
    let apps = Apps::read(field, &TERMS, configuration.databases())?;
    configuration.serve_apps(apps);
    Ok(())
}
