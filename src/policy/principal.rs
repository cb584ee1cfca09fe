//! Who is behind a connection, and what the rules may ask about them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::roles::Roles;
use super::topic_grant::TopicGrant;
use crate::value::row::Row;

/// Columns that name a row's owner where the publisher names none, in the order in which they are tried.
pub const OWNER_FIELDS: [&str; 6] = ["userId", "user_id", "ownerId", "owner_id", "createdBy", "created_by"];

/// The claim that is the user itself.
pub const SUBJECT: &str = "sub";

/// An authenticated identity within one organization. It is stored in attachments and carried by tickets as JSON:
/// a renamed field is a new version of both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The user, never empty; `None` for a machine key without one, which owns nothing.
    pub user: Option<String>,
    /// The roles held in this organization.
    pub roles: Roles,
    /// How the identity was proven.
    pub method: Method,
    /// When the token ends, in Unix milliseconds; `None` for keys.
    pub expires: Option<u64>,
    /// Values of the claims that the configuration's rules refer to, without [`SUBJECT`].
    pub claims: BTreeMap<String, Vec<String>>,
    /// All claims as [`super::database::canonical`] writes them, where a database judges by them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_claims: Option<String>,
    /// What a database grants in private topics, by name: a session's own, asked for when it needs them.
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
    /// Not at all: nothing was presented.
    Anonymous,
}

impl Method {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Session => "session",
            Method::ApiKey => "api_key",
            Method::Anonymous => "anonymous",
        }
    }
}

impl Principal {
    /// Who has presented nothing, with the one role that the dialect gives it.
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

    /// The values that this principal has for a claim; none when it has not that claim.
    pub fn claim(&self, name: &str) -> &[String] {
        if name == SUBJECT { self.user.as_slice() } else { self.claims.get(name).map_or(&[], Vec::as_slice) }
    }

    /// Whether both are of the same token, whatever a database has granted since.
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
