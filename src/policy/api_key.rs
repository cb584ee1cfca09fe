//! API keys of machines, kept as digests only (native.md, section 4; invariant 10).

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::masking::MOST_ROLES;
use super::organization::is_organization;
use super::principal::{Method, Principal};
use super::roles::Roles;
use crate::code::{Code, Refusal};
use crate::value::form::Field;

/// Keys of one deployment: a variable has 5 KB at Cloudflare, so this is no limit in practice.
const MOST_KEYS: usize = 1_000;
/// Bytes of a key's name or user.
const MOST_NAME: usize = 255;

/// The keys of `API_KEYS`, by the digest of the key.
#[derive(Clone, Debug, Default)]
pub struct ApiKeys {
    keys: Vec<([u8; 32], ApiKey)>,
}

#[derive(Clone, Debug)]
struct ApiKey {
    organization: String,
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
        for entry in field.list(MOST_KEYS)? {
            let mut form = entry.form()?;
            form.require("name")?.name(MOST_NAME)?;
            let hash = form.require("hash")?;
            let digest =
                digest_from_hex(&hash.text()?).ok_or_else(|| hash.refuse("must be a SHA-256 in hexadecimal"))?;
            let place = form.require("organizationId")?;
            let organization = place.text()?;
            if !is_organization(&organization) {
                return Err(place.refuse("is no organization id"));
            }
            let user = form.take("userId").map(|user| user.name(MOST_NAME)).transpose()?;
            let roles = form.take("roles").map(|roles| roles.texts(MOST_ROLES)).transpose()?.unwrap_or_default();
            form.finish()?;
            if keys.iter().any(|(known, _)| *known == digest) {
                return Err(hash.refuse("stands twice: a key is of one organization"));
            }
            keys.push((digest, ApiKey { organization, user, roles: Roles::new(roles) }));
        }
        Ok(ApiKeys { keys })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The principal of a key within `organization`; `None` when no key is presented.
    ///
    /// The look-up is by digest, so its time tells nothing about the keys themselves.
    pub fn principal(&self, presented: &str, organization: &str) -> Option<Result<Principal, Code>> {
        let digest: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        let (_, key) = self.keys.iter().find(|(known, _)| *known == digest)?;
        if key.organization != organization {
            return Some(Err(Code::WrongOrganization));
        }
        Some(Ok(Principal {
            user: key.user.clone(),
            roles: key.roles.clone(),
            method: Method::ApiKey,
            expires: None,
            claims: BTreeMap::new(),
        }))
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
