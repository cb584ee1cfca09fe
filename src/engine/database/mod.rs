//! What a database says: of its tables, of the changes it has committed, of who may see them; and what it is told of
//! those who listen.

use serde::{Deserialize, Deserializer};

pub mod batch;
pub mod catalog;
pub mod interest;
pub mod remote;
pub mod verdict;

/// A value that may be missing or `null`, as SQL leaves out what there is none of.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
