//! The roles that a principal holds.

use serde::{Deserialize, Serialize};

/// An ordered set of roles: the first is the one shown as `role`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Roles(Vec<String>);

impl Roles {
    /// The roles in the given order, without repeated or empty ones.
    pub fn new(roles: impl IntoIterator<Item = String>) -> Roles {
        let mut kept: Vec<String> = Vec::new();
        for role in roles {
            if !role.is_empty() && !kept.contains(&role) {
                kept.push(role);
            }
        }
        Roles(kept)
    }

    /// The first role.
    pub fn first(&self) -> Option<&str> {
        self.0.first().map(String::as_str)
    }

    /// All of them, in order.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// Whether it contains one of `wanted`.
    pub fn any(&self, wanted: &[String]) -> bool {
        wanted.iter().any(|role| self.0.contains(role))
    }

    /// The same set, sorted, so that holders of the same roles share a class.
    pub fn sorted(&self) -> Roles {
        let mut sorted: Vec<&str> = self.0.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        Roles(sorted.into_iter().map(str::to_owned).collect())
    }
}
