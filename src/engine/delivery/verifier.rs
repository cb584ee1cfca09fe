//! Verification of tokens: the principals that they name.

use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::registry::Registry;
use super::socket::Verified;
use crate::code::Code;
use crate::engine::command::{Authenticate, Join};
use crate::engine::input::{SocketId, Stored};
use crate::engine::profile::Profile;
use crate::policy::configuration::Configuration;
use crate::policy::key_set::KeySet;
use crate::policy::principal::{Method, Principal};
use crate::policy::secret::Secret;
use crate::policy::token::{LEEWAY, TokenError};

/// Verifies the tokens of one organization, with its current keys.
pub(super) struct Verifier {
    organization: Rc<str>,
    configuration: Rc<Configuration>,
    keys: KeySet,
    is_fetching: bool,
}

impl Verifier {
    /// A verifier with the key set that was stored last.
    pub(super) fn wake(organization: Rc<str>, configuration: Rc<Configuration>, stored: &Stored) -> Verifier {
        let mut keys = KeySet::default();
        if let Some((time, text)) = &stored.keys {
            keys.answered(*time, Some(text));
        }
        Verifier { organization, configuration, keys, is_fetching: false }
    }

    /// Applies a fetched key set.
    pub(super) fn fetched(&mut self, now: u64, answer: Option<(u64, &str)>) {
        self.keys.shared(now, answer);
        self.is_fetching = false;
    }

    /// Records that the key set is needed; returns whether a fetch must be started.
    pub(super) fn must_fetch(&mut self) -> bool {
        !std::mem::replace(&mut self.is_fetching, true)
    }

    /// The principal of a join: its token's, or the socket key's.
    pub(super) fn identify_join(
        &self,
        now: u64,
        (registry, socket): (&mut Registry, SocketId),
        join: &Join,
    ) -> Result<Rc<Principal>, TokenError> {
        let principal = match &join.token {
            Some(token) => self.named_by(now, (registry, socket), token)?,
            None => {
                let principal = registry.socket(socket).and_then(|socket| socket.opened_as.clone());
                principal.ok_or(TokenError::Refused(Code::AuthRequired))?
            }
        };
        // A channel ends with its token, so a token that expired seconds ago would end the channel at once.
        match principal.expires.and_then(|expires| now.checked_sub(expires)) {
            Some(since) => Err(TokenError::Expired(since / 1_000)),
            None => Ok(principal),
        }
    }

    /// The principal that an authentication frame names.
    pub(super) fn identify(
        &self,
        now: u64,
        profile: Option<&Profile>,
        frame: &Authenticate,
    ) -> Result<Principal, TokenError> {
        if frame.organization.as_ref().is_some_and(|organization| **organization != *self.organization) {
            return Err(TokenError::Refused(Code::WrongOrganization));
        }
        let principal = match &frame.proven {
            Some(principal) => Principal::clone(principal),
            None => self.principal(now, &frame.token)?,
        };
        Ok(profile.map_or(principal.clone(), |profile| profile.with_role(principal)))
    }

    /// The principal that a token names. Sessions of a socket with equal principals share one value.
    pub(super) fn named_by(
        &self,
        now: u64,
        (registry, id): (&mut Registry, SocketId),
        token: &Secret,
    ) -> Result<Rc<Principal>, TokenError> {
        let digest: [u8; 32] = Sha256::digest(token.expose()).into();
        let known = registry.socket(id).and_then(|socket| socket.verified.as_deref());
        if let Some(Verified { principal, .. }) = known.filter(|verified| verified.digest == digest) {
            let since = principal.expires.and_then(|expires| now.checked_sub(expires)).filter(|since| *since >= LEEWAY);
            return since.map_or(Ok(principal.clone()), |since| Err(TokenError::Expired(since / 1_000)));
        }
        let principal = self.principal(now, token)?;
        let wants_role = registry.profile(id).is_some_and(|profile| profile.requires_role);
        if wants_role && principal.method == Method::Session && principal.roles.first().is_none() {
            return Err(TokenError::Endless);
        }
        let principal = present_as(registry, id, &principal).unwrap_or_else(|| Rc::new(principal));
        if let Some(socket) = registry.socket_mut(id) {
            socket.verified = Some(Box::new(Verified { digest, principal: principal.clone() }));
        }
        Ok(principal)
    }

    fn principal(&self, now: u64, token: &Secret) -> Result<Principal, TokenError> {
        self.configuration.credentials.principal(now, token.expose(), &self.organization, &self.keys)
    }
}

/// Reuses an equal principal of the socket or of one of its sessions.
fn present_as(registry: &Registry, id: SocketId, principal: &Principal) -> Option<Rc<Principal>> {
    let socket = registry.socket(id)?;
    let known = socket.sessions.iter().map(|session| &session.principal).chain(&socket.opened_as);
    known.into_iter().find(|known| ***known == *principal).cloned()
}

#[cfg(test)]
mod tests {

    use base64ct::{Base64UrlUnpadded, Encoding};
    use hmac::{Hmac, Mac};

    use super::super::Delivery;
    use super::*;
    use crate::engine::command::Command;
    use crate::engine::input::Stored;
    use crate::engine::message::{Out, SessionId};
    use crate::engine::profile::{Profiles, SEVERAL};
    use crate::policy::configuration::Configuration;

    const SECRET: &str = "a-secret-of-thirty-two-bytes-or-more";
    const NOW: u64 = 1_700_000_000_000;
    const PRINCIPAL: &str = r#"{"user":"ada","roles":["member"],"method":"session","expires":null,"claims":{}}"#;

    fn token(seconds: u64) -> Secret {
        let claims = format!(r#"{{"sub":"ada","role":"hr","org_id":"org_1","exp":{seconds}}}"#);
        let part = |text: &str| Base64UrlUnpadded::encode_string(text.as_bytes());
        let message = format!("{}.{}", part(r#"{"alg":"HS256"}"#), part(&claims));
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(message.as_bytes());
        Secret::new(format!("{message}.{}", Base64UrlUnpadded::encode_string(&mac.finalize().into_bytes())))
    }

    /// A socket with three channels, as read from an attachment.
    fn delivery() -> Delivery {
        let channel = |n: usize| {
            format!(
                r#"{{"client_id":"c1.{n}","name":"realtime:{n}","reference":"1","private":false,"topic":"{n}","principal":0,"told_expired":false,"messages":true,"presence":false,"presence_key":null,"echo":false,"acknowledge":false,"tables":[]}}"#
            )
        };
        let channels = [0, 1, 2].map(channel).join(",");
        let state = format!(
            r#"{{"version":2,"client_id":"c1","state":{{"wire":2,"opened":1,"principal":{PRINCIPAL},"carries":{{"next":3,"principals":[{PRINCIPAL}],"channels":[{channels}]}}}}}}"#
        );
        let mut stored = Stored { sockets: vec![(SocketId(0), state)], ..Stored::default() };
        let variable = |name: &str| match name {
            "ACCESS_TOKEN" => Some("an-access-token-of-thirty-two-bytes".to_owned()),
            "JWT_SECRET" => Some(SECRET.to_owned()),
            _ => None,
        };
        let configuration = Rc::new(Configuration::read(&variable, &[]).unwrap());
        let environment = (configuration, (|_| Some(&SEVERAL)) as Profiles);
        Delivery::wake(NOW, Rc::from("org_1"), environment, &mut stored, None, &mut Out::default())
    }

    fn named_by(delivery: &mut Delivery, now: u64, token: &Secret) -> Result<Rc<Principal>, TokenError> {
        delivery.verifier.named_by(now, (&mut delivery.registry, SocketId(0)), token)
    }

    fn renew(delivery: &mut Delivery, number: u32, token: &Secret) {
        let session = SessionId { socket: SocketId(0), number };
        let named = named_by(delivery, NOW, token);
        delivery.renew(NOW, session, named, Command::Ping { id: None }, &mut Out::default());
    }

    /// The principals of the channels, in order.
    fn principals(delivery: &Delivery) -> Vec<Rc<Principal>> {
        let socket = delivery.registry.socket(SocketId(0)).unwrap();
        socket.sessions.iter().map(|session| session.principal.clone()).collect()
    }

    #[test]
    fn channels_of_one_principal_share_it() {
        let mut delivery = delivery();
        let are_one = |delivery: &Delivery| {
            let all = principals(delivery);
            all.len() == 3 && all.windows(2).all(|pair| matches!(pair, [one, other] if Rc::ptr_eq(one, other)))
        };
        assert!(are_one(&delivery), "as they were kept");
        let token = token(NOW / 1_000 + 60);
        for number in 0..3 {
            renew(&mut delivery, number, &token);
        }
        assert!(are_one(&delivery), "one token names them all");
        let before = principals(&delivery);
        assert_eq!(before.first().unwrap().roles.as_slice(), ["hr"]);
        // A restored socket does not know the token, yet the principal is the same.
        delivery.registry.socket_mut(SocketId(0)).unwrap().verified = None;
        renew(&mut delivery, 1, &token);
        let named = named_by(&mut delivery, NOW, &token).unwrap();
        assert!(Rc::ptr_eq(&named, before.first().unwrap()));
    }

    #[test]
    fn a_known_token_is_not_verified_again_and_ends_all_the_same() {
        let mut delivery = delivery();
        let token = token(NOW / 1_000 + 60);
        let first = named_by(&mut delivery, NOW, &token).unwrap();
        // The signing key is no longer known.
        let mut configuration = Configuration::clone(&delivery.configuration);
        configuration.credentials.tokens.secret = None;
        delivery.verifier.configuration = Rc::new(configuration);
        assert!(Rc::ptr_eq(&named_by(&mut delivery, NOW, &token).unwrap(), &first));
        assert!(named_by(&mut delivery, NOW + 60_000 + LEEWAY - 1, &token).is_ok());
        let later = named_by(&mut delivery, NOW + 60_000 + LEEWAY, &token).map(drop);
        assert_eq!(later, Err(TokenError::Expired(30)));
        let other = named_by(&mut delivery, NOW, &Secret::new(format!("{}x", token.expose()))).map(drop);
        assert_eq!(other, Err(TokenError::Refused(Code::InvalidToken)));
    }
}
