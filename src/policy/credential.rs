//! Verification of credentials (session tokens and API keys), and their principals.

use std::collections::BTreeSet;

use super::api_key::{ApiKey, ApiKeys};
use super::claims::Claims;
use super::database::{Databases, canonical};
use super::key_set::KeySet;
use super::organization::is_organization;
use super::principal::Principal;
use super::token::{TokenError, TokenRules};
use crate::code::Code;

/// Everything needed to verify a credential.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Rules for session tokens.
    pub tokens: TokenRules,
    /// The API keys.
    pub api_keys: ApiKeys,
    /// The organization of clients and tokens that name none.
    pub default_organization: Option<String>,
    /// Another organization for which tokens without an organization are valid.
    pub nameless_organization: Option<String>,
    /// The domain whose subdomains are organizations: there the host decides, not the credential.
    pub organization_domain: Option<String>,
    /// Claims that the configuration's rules refer to, which principals therefore keep.
    pub claims: BTreeSet<String>,
    /// The databases, whose policies may refer to any claim.
    pub databases: Databases,
}

/// A verified credential.
pub enum Proven<'a> {
    /// It is an API key.
    Key(&'a ApiKey),
    /// It is a session token of these claims.
    Token(Claims),
}

impl Credentials {
    /// The principal that `credential` proves within `organization`; `now` in Unix milliseconds.
    ///
    /// # Errors
    /// The code of the refusal, or that the key set must be fetched first.
    pub fn principal(
        &self,
        now: u64,
        credential: &str,
        organization: &str,
        keys: &KeySet,
    ) -> Result<Principal, TokenError> {
        let proven = self.verify(now, credential, keys)?;
        self.within(&proven, organization).map_err(TokenError::Refused)
    }

    /// Verifies a credential, independent of the organization; `now` in Unix milliseconds.
    ///
    /// # Errors
    /// The code of the refusal, or that the key set must be fetched first.
    pub fn verify(&self, now: u64, credential: &str, keys: &KeySet) -> Result<Proven<'_>, TokenError> {
        match self.api_keys.find(credential) {
            Some(key) => Ok(Proven::Key(key)),
            None => self.tokens.verify(now, credential, keys).map(Proven::Token),
        }
    }

    /// The principal within `organization`.
    ///
    /// # Errors
    /// The code of the refusal.
    pub fn within(&self, proven: &Proven<'_>, organization: &str) -> Result<Principal, Code> {
        match proven {
            Proven::Key(key) => key.principal(organization),
            Proven::Token(claims) => {
                let nameless = self.nameless_organization.as_deref().filter(|name| *name == organization);
                let default = nameless.or(self.default_organization.as_deref());
                let principal = claims.principal(organization, &self.claims, default)?;
                let all_claims = self.databases.serve(organization).then(|| canonical(&claims.values));
                Ok(Principal { all_claims, ..principal })
            }
        }
    }

    /// The organization and principal of a caller whose protocol cannot name one: the organization that the host's
    /// first label names, otherwise the only one of the credential, otherwise the first default that the credential is
    /// valid for. Below [`Credentials::organization_domain`] only the host decides.
    ///
    /// # Errors
    /// The code of the refusal; [`Code::WrongOrganization`] when the credential is valid for none of them.
    pub fn tenant(&self, proven: &Proven<'_>, host: &str) -> Result<(String, Principal), Code> {
        let named = match proven {
            Proven::Key(key) => Some(key.organization.as_str()),
            Proven::Token(claims) => claims.organization(),
        };
        let (asked, is_bound) = self.asked_for(host);
        let others = [named, self.default_organization.as_deref()].into_iter().flatten().filter(|_| !is_bound);
        for organization in std::iter::once(asked).chain(others).filter(|name| is_organization(name)) {
            match self.within(proven, organization) {
                Err(Code::WrongOrganization) => {}
                answer => return Ok((organization.to_owned(), answer?)),
            }
        }
        Err(Code::WrongOrganization)
    }

    /// The organization that a host's first label names, and whether it is the only candidate.
    pub fn asked_for<'a>(&self, host: &'a str) -> (&'a str, bool) {
        // A trailing dot denotes the same host.
        let host = host.strip_suffix('.').unwrap_or(host);
        let (asked, domain) = host.split_once('.').unwrap_or((host, ""));
        (asked, self.organization_domain.as_deref() == Some(domain))
    }
}
