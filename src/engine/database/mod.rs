//! The database's side of a tenant: its tables, changes and verdicts, and the interest that is reported to it.

use serde::{Deserialize, Deserializer};

pub mod batch;
pub mod catalog;
pub mod interest;
pub mod remote;
pub mod verdict;

/// A value that may be missing or `null`, because SQL leaves out empty values.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
