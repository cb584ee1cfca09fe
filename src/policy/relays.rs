//! `REALTIME.relays`: whether an organization's sockets may be spread over further objects.

use crate::code::Refusal;
use crate::value::form::Field;

/// Relays of one organization.
pub const MAX_RELAYS: u64 = 64;
/// Sockets that the runtime allows for one object.
pub const MAX_SOCKETS: u64 = 32_768;

/// How sockets are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relays {
    /// Sockets of one object, after which the next is filled.
    pub sockets: u64,
    /// Relays of one organization.
    pub max: u32,
}

impl Relays {
    /// Reads `0`, or `{ sockets, max }`; `None` if there are no relays.
    ///
    /// # Errors
    /// On anything else.
    pub fn read(field: &Field<'_>) -> Result<Option<Relays>, Refusal> {
        if field.json().starts_with('{') {
            let mut form = field.form()?;
            let sockets = within(&form.require("sockets")?, MAX_SOCKETS)?;
            let max = within(&form.require("max")?, MAX_RELAYS)?;
            form.finish()?;
            return Ok(Some(Relays { sockets, max: u32::try_from(max).unwrap_or_default() }));
        }
        match field.count() {
            Ok(0) => Ok(None),
            _ => Err(field.refuse("must be 0, or have sockets and max")),
        }
    }
}

fn within(field: &Field<'_>, most: u64) -> Result<u64, Refusal> {
    let count = field.count()?;
    let refuse = || field.refuse(&format!("must be between 1 and {most}"));
    if (1..=most).contains(&count) { Ok(count) } else { Err(refuse()) }
}
