//! What a caller presents, session token or API key, and the principal behind it.

use std::collections::BTreeSet;

use super::api_key::ApiKeys;
use super::key_set::KeySet;
use super::principal::Principal;
use super::token::{TokenError, TokenRules};

/// All that is needed to tell who someone is.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Rules for session tokens.
    pub tokens: TokenRules,
    /// The API keys.
    pub api_keys: ApiKeys,
    /// Claims that the configuration's rules refer to, and that a principal keeps therefore.
    pub claims: BTreeSet<String>,
}

impl Credentials {
    /// The principal that `credential` proves within `organization`; `now` in Unix milliseconds.
    ///
    /// # Errors
    /// A code to refuse it with, or that the key set must be fetched first.
    pub fn principal(
        &self,
        now: u64,
        credential: &str,
        organization: &str,
        keys: &KeySet,
    ) -> Result<Principal, TokenError> {
        if let Some(principal) = self.api_keys.principal(credential, organization) {
            return principal.map_err(TokenError::Refused);
        }
        let claims = self.tokens.verify(now, credential, keys)?;
        claims.principal(organization, &self.claims).map_err(TokenError::Refused)
    }
}
