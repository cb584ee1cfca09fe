//! Admission of Butterbase's clients: which credential opens which app, and how refusals are worded
//! (docs/protocol-butterbase.md, Connecting).

pub mod control;

use super::admission::Admission;
use super::entrance::{Entrance, Rejection};
use super::handshake::{HandshakeStep, Unverified};
use super::request_head::RequestHead;
use crate::code::{Code, Refusal};
use crate::dialect::Dialect;
use crate::dialect::butterbase::configuration::{ANONYMOUS, TERMS};
use crate::dialect::butterbase::{Butterbase, ID, words};
use crate::engine::event::Event;
use crate::engine::input::DialectId;
use crate::policy::app::App;
use crate::policy::configuration::Configuration;
use crate::policy::credential::{Credentials, Proven};
use crate::policy::organization::is_organization;
use crate::policy::principal::Principal;
use crate::policy::token::TokenError;

/// The text before and after an app's id in a path.
const AROUND: (&str, &str) = ("/v1/", "/realtime");
/// Appended to the app's id if the credential comes from a header: only there may it be the platform's.
const IN_HEADER: &str = " header";

/// How sockets of Butterbase's clients are opened.
pub struct ButterbaseEntrance;

impl Entrance for ButterbaseEntrance {
    fn dialects(&self) -> &'static [DialectId] {
        &[ID]
    }

    fn is_path(&self, path: &str) -> bool {
        place(path).is_some_and(|(_, rest)| rest.is_empty())
    }

    fn admit(&self, head: &RequestHead, configuration: &Configuration, _now: u64) -> Result<HandshakeStep, Refusal> {
        let (name, _) = place(&head.path).ok_or(Code::NotFound)?;
        let credential = head.socket_credential();
        let app = known(name, credential.is_some(), configuration)?;
        check_plan(app)?;
        let (recover, missed_after) = recovery(head);
        let admission = Admission { recover, missed_after, ..Admission::of(ID, head) };
        match credential {
            Some(credential) => {
                let asked = if head.bearer().is_some() { [name, IN_HEADER].concat() } else { name.to_owned() };
                Ok(HandshakeStep::Verify(Box::new(Unverified::new(credential.to_owned(), asked, admission))))
            }
            None if app.anonymous => {
                let admission = Admission { principal: Some(Principal::anonymous(ANONYMOUS)), ..admission };
                Ok(HandshakeStep::Open(name.to_owned(), Box::new(admission)))
            }
            None => Err(Refusal::of(Code::AuthRequired)),
        }
    }

    fn enter(
        &self,
        asked: String,
        credentials: &Credentials,
        proven: Result<Proven<'_>, TokenError>,
    ) -> Result<(String, Principal), Refusal> {
        let (app, in_header) = asked.strip_suffix(IN_HEADER).map_or((&*asked, false), |app| (app, true));
        let principal = entered(app, in_header, credentials, &proven?)?;
        Ok((app.to_owned(), principal))
    }

    fn refused(&self, _head: Option<&RequestHead>, refusal: &Refusal) -> Rejection {
        let (code, reason) = words::closing(refusal.code);
        let frames = Butterbase.encode(None, &Event::Ended(refusal.clone()));
        Rejection::Close { frames, code, reason: reason.to_owned() }
    }
}

/// The app of a path, and the rest: nothing, or `/` and more. `None` for other paths.
fn place(path: &str) -> Option<(&str, &str)> {
    let (name, rest) = path.strip_prefix(AROUND.0)?.split_once('/')?;
    let rest = rest.strip_prefix(AROUND.1.trim_start_matches('/'))?;
    let is_app = is_organization(name) && (rest.is_empty() || rest.starts_with('/'));
    is_app.then_some((name, rest))
}

/// The settings of an app. An app that the deployment does not name must be named by a key or a token's issuer, so that
/// nobody can create an object by inventing a name.
fn known<'a>(name: &str, has_credential: bool, configuration: &'a Configuration) -> Result<&'a App, Refusal> {
    let apps = configuration.apps.as_ref().ok_or(Code::WrongOrganization)?;
    let is_default = configuration.credentials.default_organization.as_deref() == Some(name);
    if apps.declares(name) || is_default || has_credential {
        Ok(apps.get(name))
    } else {
        Err(Refusal::of(Code::WrongOrganization))
    }
}

/// Refuses everyone while an app is paused, or if its plan includes no sockets.
fn check_plan(app: &App) -> Result<(), Refusal> {
    match (app.paused.as_deref(), app.listeners) {
        (Some(""), _) => Err(Refusal::because(Code::AppPaused, "App is paused")),
        (Some(reason), _) => Err(Refusal::because(Code::AppPaused, ["App is paused: ", reason].concat())),
        (None, Some(0)) => Err(Refusal::of(Code::RealtimeDisabled)),
        (None, _) => Ok(()),
    }
}

/// The principal of a credential within an app. A credential that is not valid for the app is refused: an invalid
/// credential never makes its holder anonymous.
fn entered(app: &str, in_header: bool, credentials: &Credentials, proven: &Proven<'_>) -> Result<Principal, Refusal> {
    match proven {
        Proven::Key(_) => service(credentials.within(proven, app)?),
        Proven::Token(claims) if claims.app.as_ref().is_some_and(|signing| signing.id == app) => {
            Ok(credentials.within(proven, app)?)
        }
        // The platform's own token, held by the app's owner.
        Proven::Token(claims) if claims.app.is_none() && in_header => {
            let principal = credentials.within(proven, app).map_err(|_| Code::InvalidToken)?;
            service(principal)
        }
        Proven::Token(_) => Err(Refusal::of(Code::InvalidToken)),
    }
}

/// A service's principal, which has no user.
fn service(principal: Principal) -> Result<Principal, Refusal> {
    if TERMS.is_service(&principal.roles) {
        Ok(Principal { user: None, ..principal })
    } else {
        Err(Refusal::of(Code::InvalidToken))
    }
}

/// `recover=true`, or `epoch` and `offset`. Anything else may come from a client of another version, and is ignored.
fn recovery(head: &RequestHead) -> (bool, Option<(String, u64)>) {
    let offset = head.parameter("offset").and_then(|offset| offset.parse().ok());
    match (head.parameter("epoch"), offset) {
        (Some(epoch), Some(offset)) => (true, Some((epoch.to_owned(), offset))),
        _ => (head.parameter("recover") == Some("true"), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_the_app_and_what_is_asked_of_it() {
        assert_eq!(place("/v1/app_abc123/realtime"), Some(("app_abc123", "")));
        assert_eq!(place("/v1/app_abc123/realtime/config"), Some(("app_abc123", "/config")));
        for path in
            ["/v1/realtime", "/v1//realtime", "/v1/a%20b/realtime", "/v1/app/realtimes", "/v1/a/b/realtime", "/"]
        {
            assert_eq!(place(path), None, "{path}");
        }
    }
}
