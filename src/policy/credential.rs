//! What a caller presents, session token or API key, and the principal behind it.

use std::collections::BTreeSet;

use super::api_key::{ApiKey, ApiKeys};
use super::claims::Claims;
use super::database::{Databases, canonical};
use super::key_set::KeySet;
use super::organization::is_organization;
use super::principal::Principal;
use super::token::{TokenError, TokenRules};
use crate::code::Code;

/// All that is needed to tell who someone is.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Rules for session tokens.
    pub tokens: TokenRules,
    /// The API keys.
    pub api_keys: ApiKeys,
    /// The organization of clients and of tokens that name none.
    pub default_organization: Option<String>,
    /// Another organization that tokens are good for which name none.
    pub nameless_organization: Option<String>,
    /// The domain whose hosts are organizations: below it the host decides, and no credential.
    pub organization_domain: Option<String>,
    /// Claims that the configuration's rules refer to, and that a principal keeps therefore.
    pub claims: BTreeSet<String>,
    /// The databases, whose policies may refer to any claim.
    pub databases: Databases,
}

/// What a credential that was found good says.
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
    /// A code to refuse it with, or that the key set must be fetched first.
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

    /// Finds out whether a credential is good, wherever it may lead; `now` in Unix milliseconds.
    ///
    /// # Errors
    /// A code to refuse it with, or that the key set must be fetched first.
    pub fn verify(&self, now: u64, credential: &str, keys: &KeySet) -> Result<Proven<'_>, TokenError> {
        match self.api_keys.find(credential) {
            Some(key) => Ok(Proven::Key(key)),
            None => self.tokens.verify(now, credential, keys).map(Proven::Token),
        }
    }

    /// The principal within `organization`.
    ///
    /// # Errors
    /// A code to refuse it with.
    pub fn within(&self, proven: &Proven<'_>, organization: &str) -> Result<Principal, Code> {
        match proven {
            Proven::Key(key) => key.principal(organization),
            Proven::Token(claims) => {
                let nameless = self.nameless_organization.as_deref().filter(|name| *name == organization);
                let default = nameless.or(self.default_organization.as_deref());
                let principal = claims.principal(organization, &self.claims, default)?;
                let all_claims = self.databases.of(organization).map(|_| canonical(&claims.values));
                Ok(Principal { all_claims, ..principal })
            }
        }
    }

    /// The organization of a caller who may not say which, with the principal there: the one that the host's first label
    /// asks for, else the only one that the credential names, else the default, the first that the credential is good for.
    /// Of the hosts below [`Credentials::organization_domain`], only the first.
    ///
    /// # Errors
    /// A code to refuse it with; [`Code::WrongOrganization`] when it is good for none of them.
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

    /// The organization that a host's first label asks for, and whether no other may be meant.
    pub fn asked_for<'a>(&self, host: &'a str) -> (&'a str, bool) {
        // With the root's dot it is the same host.
        let host = host.strip_suffix('.').unwrap_or(host);
        let (asked, domain) = host.split_once('.').unwrap_or((host, ""));
        (asked, self.organization_domain.as_deref() == Some(domain))
    }
}
