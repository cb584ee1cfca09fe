//! API keys for machines, stored as digests only (docs/protocol-native.md, Connecting; invariant 10).

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::masking::MAX_ROLES;
use super::organization::is_organization;
use super::principal::{Method, Principal};
use super::roles::Roles;
use crate::code::{Code, Refusal};
use crate::value::form::Field;

/// Maximum keys of one deployment; Cloudflare's limit of 5 KB per variable is reached earlier.
const MAX_KEYS: usize = 1_000;
/// Bytes of a key's name or user.
const MAX_NAME: usize = 255;

/// The keys of `API_KEYS`, by the digest of the key.
#[derive(Clone, Debug, Default)]
pub struct ApiKeys {
    keys: Vec<([u8; 32], ApiKey)>,
}

/// One key, without the key itself.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// The organization that it grants access to.
    pub organization: String,
    user: Option<String>,
    roles: Roles,
}

impl ApiKeys {
    /// Reads `[ { name, hash, organizationId, userId?, roles? } ]`.
    ///
    /// # Errors
    /// On a malformed entry. The message names the place, never a hash.
    pub fn read(field: &Field<'_>) -> Result<ApiKeys, Refusal> {
        let mut keys: Vec<([u8; 32], ApiKey)> = Vec::new();
        for entry in field.list(MAX_KEYS)? {
            let mut form = entry.form()?;
            form.require("name")?.name(MAX_NAME)?;
            let hash = form.require("hash")?;
            let digest =
                digest_from_hex(&hash.text()?).ok_or_else(|| hash.refuse("must be a SHA-256 in hexadecimal"))?;
            let place = form.require("organizationId")?;
            let organization = place.text()?;
            if !is_organization(&organization) {
                return Err(place.refuse("is no organization id"));
            }
            let user = form.take("userId").map(|user| user.name(MAX_NAME)).transpose()?;
            let roles = form.take("roles").map(|roles| roles.texts(MAX_ROLES)).transpose()?.unwrap_or_default();
            form.finish()?;
            if keys.iter().any(|(known, _)| *known == digest) {
                return Err(hash.refuse("stands twice: a key is of one organization"));
            }
            keys.push((digest, ApiKey { organization, user, roles: Roles::new(roles) }));
        }
        Ok(ApiKeys { keys })
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The entry of a presented key, if it exists.
    ///
    /// The lookup is by digest, so its time reveals nothing about the keys.
    pub fn find(&self, presented: &str) -> Option<&ApiKey> {
        let digest: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        self.keys.iter().find(|(known, _)| *known == digest).map(|(_, key)| key)
    }
}

impl ApiKey {
    /// The key's principal within `organization`.
    ///
    /// # Errors
    /// [`Code::WrongOrganization`] when the key belongs to another organization.
    pub fn principal(&self, organization: &str) -> Result<Principal, Code> {
        if self.organization != organization {
            return Err(Code::WrongOrganization);
        }
        Ok(Principal {
            user: self.user.clone(),
            roles: self.roles.clone(),
            method: Method::ApiKey,
            expires: None,
            claims: BTreeMap::new(),
            all_claims: None,
            grants: Default::default(),
        })
    }
}

fn digest_from_hex(text: &str) -> Option<[u8; 32]> {
    let bytes = bytes_from_hex(text)?;
    bytes.try_into().ok()
}

fn bytes_from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits?;
    let byte = |pair: &[u32]| match pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    };
    digits.chunks(2).map(byte).collect()
}
