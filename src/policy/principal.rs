//! The identity behind a connection, and what rules may ask about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::roles::Roles;
use super::topic_grant::TopicGrant;
use crate::value::row::Row;

/// Columns that may name a row's owner if the publisher names none, in the order of preference.
pub const OWNER_FIELDS: [&str; 6] = ["userId", "user_id", "ownerId", "owner_id", "createdBy", "created_by"];

/// The claim that holds the user id.
pub const SUBJECT: &str = "sub";

/// An authenticated identity within one organization. Attachments store it and tickets carry it as JSON: renaming a
/// field changes both formats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The user, never empty; `None` for a machine key without one, which owns nothing.
    pub user: Option<String>,
    /// The roles held in this organization.
    pub roles: Roles,
    /// How the identity was proven.
    pub method: Method,
    /// When the token expires, in Unix milliseconds; `None` for keys.
    pub expires: Option<u64>,
    /// Values of the claims that the configuration's rules refer to, without [`SUBJECT`].
    pub claims: BTreeMap<String, Vec<String>>,
    /// All claims as [`super::database::canonical`] writes them, if a database's policies use them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_claims: Option<String>,
    /// A database's grants in private topics, by name: fetched for a session when it needs them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub grants: BTreeMap<String, TopicGrant>,
}

/// How an identity was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A session token (JWT).
    Session,
    /// An API key.
    ApiKey,
    /// Not proven: no credential was presented.
    Anonymous,
}

impl Method {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Session => "session",
            Method::ApiKey => "api_key",
            Method::Anonymous => "anonymous",
        }
    }
}

impl Principal {
    /// An anonymous principal with the role that its dialect assigns.
    pub fn anonymous(role: &str) -> Principal {
        Principal {
            user: None,
            roles: Roles::new([role.to_owned()]),
            method: Method::Anonymous,
            expires: None,
            claims: BTreeMap::new(),
            all_claims: None,
            grants: BTreeMap::new(),
        }
    }

    /// The principal's values of a claim; empty if it does not have the claim.
    pub fn claim(&self, name: &str) -> &[String] {
        if name == SUBJECT { self.user.as_slice() } else { self.claims.get(name).map_or(&[], Vec::as_slice) }
    }

    /// Whether both come from the same token, regardless of later database grants.
    pub fn is_same(&self, other: &Principal) -> bool {
        let plain = |principal: &Principal| Principal { grants: BTreeMap::new(), ..principal.clone() };
        plain(self) == plain(other)
    }

    /// Whether this principal is the user `owner`.
    pub fn is(&self, owner: Option<&str>) -> bool {
        owner.is_some() && self.user.as_deref() == owner
    }
}

/// The user that owns a row: the value of `field`, or of the first of [`OWNER_FIELDS`] that the row has.
pub fn owner(row: &Row, field: Option<&str>) -> Option<String> {
    match field {
        Some(field) => row.key(field),
        None => row.key(OWNER_FIELDS.into_iter().find(|field| row.get(field).is_some())?),
    }
}
