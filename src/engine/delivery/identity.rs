//! Who is in a channel: whom its token names, when it is entered and whenever a token comes again.

use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::Delivery;
use super::connection::{Connection, Part, Verified};
use crate::code::{Code, Refusal};
use crate::engine::command::{ChannelAct, ChannelFrame, Command, Join};
use crate::engine::input::SocketId;
use crate::engine::message::Out;
use crate::policy::principal::Principal;
use crate::policy::secret::Secret;
use crate::policy::token::{LEEWAY, TokenError};

impl Delivery {
    /// Who enters: whom the join's token names, else whoever the socket belongs to.
    pub(super) fn identify_channel(
        &mut self,
        now: u64,
        socket: SocketId,
        join: &Join,
    ) -> Result<Rc<Principal>, TokenError> {
        let principal = match &join.token {
            Some(token) => self.named_by(now, socket, token)?,
            None => {
                let principal = self.connections.get(socket).and_then(|connection| connection.principal.clone());
                principal.ok_or(TokenError::Refused(Code::AuthRequired))?
            }
        };
        // A channel ends with its token: what is over only by a few seconds would end it for good at once.
        match principal.expires.and_then(|expires| now.checked_sub(expires)) {
            Some(since) => Err(TokenError::Expired(since / 1_000)),
            None => Ok(principal),
        }
    }

    /// Whom a token names on a socket. All channels of one principal share it.
    fn named_by(&mut self, now: u64, carrier: SocketId, token: &Secret) -> Result<Rc<Principal>, TokenError> {
        let digest: [u8; 32] = Sha256::digest(token.expose()).into();
        let known = self.connections.get(carrier).and_then(Connection::carrier);
        let known = known.and_then(|carrier| carrier.verified.as_ref()).filter(|verified| verified.digest == digest);
        if let Some(Verified { principal, .. }) = known {
            let since = principal.expires.and_then(|expires| now.checked_sub(expires)).filter(|since| *since >= LEEWAY);
            return since.map_or(Ok(principal.clone()), |since| Err(TokenError::Expired(since / 1_000)));
        }
        let principal = self.principal(now, token)?;
        let principal = self.present_as(carrier, &principal).unwrap_or_else(|| Rc::new(principal));
        if let Some(Connection { part: Part::Carrier(carrier), .. }) = self.connections.get_mut(carrier) {
            carrier.verified = Some(Verified { digest, principal: principal.clone() });
        }
        Ok(principal)
    }

    /// The same principal as one of the socket's channels or the socket itself has it already.
    fn present_as(&self, carrier: SocketId, principal: &Principal) -> Option<Rc<Principal>> {
        let same = |socket| self.connections.get(socket)?.principal.clone().filter(|present| **present == *principal);
        self.connections.get(carrier)?.carrier()?.numbers().find_map(same).or_else(|| same(carrier))
    }

    /// A new token for a channel: everything that was allowed is decided again. The same once more is no news.
    pub(super) fn refresh_channel(&mut self, now: u64, socket: SocketId, token: Secret, out: &mut Out) {
        let Some(connection) = self.connections.get(socket) else { return };
        let carrier = connection.keeper();
        let before = connection.principal.clone();
        let principal = match self.named_by(now, carrier, &token) {
            Ok(principal) => principal,
            // That the keys cannot be had now says nothing of the token: the identity that stands ends in its own time.
            Err(TokenError::Refused(Code::KeysUnavailable)) => return,
            Err(TokenError::NeedsKeys) => {
                let Some(frame) = self.frame_again(socket, token) else { return };
                return self.wait_for_keys(carrier, Command::Channel(Box::new(frame)), out);
            }
            Err(error) => return self.end_because(socket, Refusal::from(error), out),
        };
        if before.as_ref() == Some(&principal) {
            return;
        }
        let user_changed = before.as_ref().is_none_or(|before| before.user != principal.user);
        let watched = self.may_watch(socket);
        self.change(socket, |connection| {
            connection.principal = Some(principal);
            connection.told_expired = false;
        });
        self.decide_again(socket, user_changed, watched, out);
    }

    fn frame_again(&self, socket: SocketId, token: Secret) -> Option<ChannelFrame> {
        let address = self.connections.get(socket)?.channel()?.address.clone();
        Some(ChannelFrame {
            name: address.name.to_string(),
            reference: address.reference.as_deref().map(str::to_owned),
            by_reference: false,
            id: None,
            act: ChannelAct::Refresh(token),
        })
    }
}

#[cfg(test)]
mod tests {

    use base64ct::{Base64UrlUnpadded, Encoding};
    use hmac::{Hmac, Mac};

    use super::*;
    use crate::engine::input::Stored;
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

    /// A socket with three channels, as an attachment tells it.
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
        let stored = Stored { sockets: vec![(SocketId(0), state)], ..Stored::default() };
        let variable = |name: &str| match name {
            "ACCESS_TOKEN" => Some("an-access-token-long-enough".to_owned()),
            "JWT_SECRET" => Some(SECRET.to_owned()),
            _ => None,
        };
        let configuration = Rc::new(Configuration::read(&variable).unwrap());
        Delivery::wake(NOW, Rc::from("org_1"), configuration, &stored, &Default::default(), &mut Out::default())
    }

    /// The principals of the channels, in order.
    fn principals(delivery: &Delivery) -> Vec<Rc<Principal>> {
        let principal = |channel| delivery.connections.get(channel).unwrap().principal.clone().unwrap();
        delivery.connections.get(SocketId(0)).unwrap().carrier().unwrap().numbers().map(principal).collect()
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
        let channels: Vec<SocketId> = (1..=3).map(SocketId).collect();
        for channel in &channels {
            delivery.refresh_channel(NOW, *channel, token.clone(), &mut Out::default());
        }
        assert!(are_one(&delivery), "one token names them all");
        let before = principals(&delivery);
        assert_eq!(before.first().unwrap().roles.as_slice(), ["hr"]);
        // Another socket's life knows nothing of the token, yet the principal is the same.
        if let Some(Connection { part: Part::Carrier(carrier), .. }) = delivery.connections.get_mut(SocketId(0)) {
            carrier.verified = None;
        }
        delivery.refresh_channel(NOW, SocketId(2), token.clone(), &mut Out::default());
        let named = delivery.named_by(NOW, SocketId(0), &token).unwrap();
        assert!(Rc::ptr_eq(&named, before.first().unwrap()));
    }

    #[test]
    fn a_known_token_is_not_verified_again_and_ends_all_the_same() {
        let mut delivery = delivery();
        let token = token(NOW / 1_000 + 60);
        let first = delivery.named_by(NOW, SocketId(0), &token).unwrap();
        // Nobody can tell any more who has signed it.
        let mut configuration = Configuration::clone(&delivery.configuration);
        configuration.credentials.tokens.secret = None;
        delivery.configuration = Rc::new(configuration);
        assert!(Rc::ptr_eq(&delivery.named_by(NOW, SocketId(0), &token).unwrap(), &first));
        assert!(delivery.named_by(NOW + 60_000 + LEEWAY - 1, SocketId(0), &token).is_ok());
        let later = delivery.named_by(NOW + 60_000 + LEEWAY, SocketId(0), &token).map(drop);
        assert_eq!(later, Err(TokenError::Expired(30)));
        let other = delivery.named_by(NOW, SocketId(0), &Secret::new(format!("{}x", token.expose()))).map(drop);
        assert_eq!(other, Err(TokenError::Refused(Code::InvalidToken)));
    }
}
