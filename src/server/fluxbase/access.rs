//! Identifies callers of Fluxbase's REST API.

use std::rc::Rc;

use super::answer_to;
use crate::code::{Code, Refusal};
use crate::dialect::fluxbase::PROFILE;
use crate::dialect::fluxbase::configuration::{ADMIN_ROLES, Settings};
use crate::policy::configuration::Configuration;
use crate::policy::credential::Proven;
use crate::policy::principal::Principal;
use crate::policy::token::TokenError;
use crate::server::api::{ApiStep, Rejected};
use crate::server::request_head::RequestHead;

/// An authenticated caller.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The holder of the access token, who may do everything.
    Service,
    /// A client.
    Client(Principal),
}

impl Caller {
    /// Whether the caller is an administrator.
    pub fn is_admin(&self) -> bool {
        match self {
            Caller::Service => true,
            Caller::Client(principal) => principal.roles.any(&ADMIN_ROLES.map(str::to_owned)),
        }
    }
}

/// A request whose caller has been authenticated, in the organization of Fluxbase's clients.
pub struct AuthenticatedRequest {
    /// The head of the request.
    pub head: Rc<RequestHead>,
    /// The caller.
    pub caller: Caller,
    /// The organization.
    pub organization: String,
}

/// The rejection for a refusal, in this API's format.
pub fn rejected(refusal: impl Into<Refusal>) -> Rejected {
    let refusal = refusal.into();
    Rejected { code: refusal.code, answer: answer_to(&refusal) }
}

/// Identifies the caller, then continues.
///
/// # Errors
/// When there is no credential, or the page's origin is not allowed.
pub fn identify(
    head: Rc<RequestHead>,
    configuration: &Configuration,
    then: impl FnOnce(&Configuration, AuthenticatedRequest) -> Result<ApiStep, Rejected> + 'static,
) -> Result<ApiStep, Rejected> {
    head.check_origin(configuration).map_err(rejected)?;
    let organization = organization(configuration)?;
    let credential = head.bearer().ok_or_else(|| rejected(Code::Unauthorized))?.to_owned();
    if configuration.is_access_token(&credential) {
        return then(configuration, AuthenticatedRequest { head, caller: Caller::Service, organization });
    }
    Ok(ApiStep::verify(credential, move |configuration, proven| {
        let principal = client(configuration, &organization, proven).map_err(rejected)?;
        then(configuration, AuthenticatedRequest { head, caller: Caller::Client(principal), organization })
    }))
}

/// The organization of Fluxbase's clients.
///
/// # Errors
/// When there are none.
pub fn organization(configuration: &Configuration) -> Result<String, Rejected> {
    let settings: &Settings = configuration.sections.get().ok_or_else(|| rejected(Code::NotFound))?;
    Ok(settings.organization.clone())
}

fn client(
    configuration: &Configuration,
    organization: &str,
    proven: Result<Proven<'_>, TokenError>,
) -> Result<Principal, Code> {
    let proven = proven.map_err(TokenError::code)?;
    configuration.credentials.within(&proven, organization).map(|principal| PROFILE.with_role(principal))
}
