//! Who a session is: whom its token names, when it begins, whenever a token comes again, and when that ends.

use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::grants::NoGrant;
use super::session::{Session, Subscribed};
use super::socket::Verified;
use super::{Delivery, Due};
use crate::code::{Code, Reason, Refusal};
use crate::engine::command::{Authenticate, ChannelAct, ChannelFrame, Command, Join};
use crate::engine::effect::Task;
use crate::engine::event::Event;
use crate::engine::input::SocketId;
use crate::engine::message::{Out, SessionId, ToStream};
use crate::engine::profile::{Expiry, LostTable, Renewal};
use crate::policy::channel::{Action, Topic};
use crate::policy::limits::{EXPIRY_GRACE, WAITING_BYTES};
use crate::policy::principal::{Method, Principal};
use crate::policy::secret::Secret;
use crate::policy::token::{LEEWAY, TokenError};

impl Delivery {
    /// Who joins: whom the join's token names, else whom the socket's key does.
    pub(super) fn identify_join(
        &mut self,
        now: u64,
        socket: SocketId,
        join: &Join,
    ) -> Result<Rc<Principal>, TokenError> {
        let principal = match &join.token {
            Some(token) => self.named_by(now, socket, token)?,
            None => {
                let principal = self.sockets.get(socket).and_then(|socket| socket.opened_as.clone());
                principal.ok_or(TokenError::Refused(Code::AuthRequired))?
            }
        };
        // A channel ends with its token: what is over only by a few seconds would end it for good at once.
        match principal.expires.and_then(|expires| now.checked_sub(expires)) {
            Some(since) => Err(TokenError::Expired(since / 1_000)),
            None => Ok(principal),
        }
    }

    /// Whom an authentication frame names.
    pub(super) fn identify(&self, now: u64, id: SocketId, frame: &Authenticate) -> Result<Principal, TokenError> {
        if frame.organization.as_ref().is_some_and(|organization| **organization != *self.organization) {
            return Err(TokenError::Refused(Code::WrongOrganization));
        }
        let principal = match &frame.proven {
            Some(principal) => Principal::clone(principal),
            None => self.principal(now, &frame.token)?,
        };
        Ok(self.profile(id).map_or(principal.clone(), |profile| profile.with_role(principal)))
    }

    fn principal(&self, now: u64, token: &Secret) -> Result<Principal, TokenError> {
        self.configuration.credentials.principal(now, token.expose(), &self.organization, &self.keys)
    }

    /// Whom a token names on a socket. All sessions of one principal share it.
    fn named_by(&mut self, now: u64, id: SocketId, token: &Secret) -> Result<Rc<Principal>, TokenError> {
        let digest: [u8; 32] = Sha256::digest(token.expose()).into();
        let known = self.sockets.get(id).and_then(|socket| socket.verified.as_ref());
        if let Some(Verified { principal, .. }) = known.filter(|verified| verified.digest == digest) {
            let since = principal.expires.and_then(|expires| now.checked_sub(expires)).filter(|since| *since >= LEEWAY);
            return since.map_or(Ok(principal.clone()), |since| Err(TokenError::Expired(since / 1_000)));
        }
        let principal = self.principal(now, token)?;
        let wants_role = self.profile(id).is_some_and(|profile| profile.requires_role);
        if wants_role && principal.method == Method::Session && principal.roles.first().is_none() {
            return Err(TokenError::Endless);
        }
        let principal = self.present_as(id, &principal).unwrap_or_else(|| Rc::new(principal));
        if let Some(socket) = self.sockets.get_mut(id) {
            socket.verified = Some(Verified { digest, principal: principal.clone() });
        }
        Ok(principal)
    }

    /// The same principal as one of the socket's sessions or the socket itself has it already.
    fn present_as(&self, id: SocketId, principal: &Principal) -> Option<Rc<Principal>> {
        let socket = self.sockets.get(id)?;
        let known = socket.sessions.iter().map(|session| &session.principal).chain(&socket.opened_as);
        known.into_iter().find(|known| ***known == *principal).cloned()
    }

    /// A fresh token for a channel's session.
    pub(super) fn renew_with(&mut self, now: u64, id: SessionId, token: Secret, frame: &ChannelFrame, out: &mut Out) {
        let named = self.named_by(now, id.socket, &token);
        // It waits under the name of its channel, whatever it was addressed by.
        let name = self.sockets.session(id).and_then(Session::address).map(|address| address.name.to_string());
        let act = ChannelAct::Refresh(token);
        let again =
            ChannelFrame { name: name.unwrap_or_default(), by_reference: false, id: None, act, ..frame.clone() };
        self.renew(now, id, named, Command::Channel(Box::new(again)), out);
    }

    /// Goes on as whom a fresh token names, or does what the dialect asks for where it is no good. `again` is the frame
    /// that waits where keys must be fetched first.
    pub(super) fn renew(
        &mut self,
        now: u64,
        id: SessionId,
        named: Result<Rc<Principal>, TokenError>,
        again: Command,
        out: &mut Out,
    ) {
        let (Some(session), Some(profile)) = (self.sockets.session(id), self.profile(id.socket)) else { return };
        let before = session.principal.clone();
        match (profile.renewal, named) {
            (_, Err(TokenError::NeedsKeys)) => self.wait_for_keys(id.socket, again, out),
            // A bad token leaves the identity that stands; its own expiry will end it.
            (Renewal::Answered | Renewal::AnsweredForAnyone, Err(error)) => {
                self.refuse(now, id, Refusal::of(error.code()), (None, None), out);
            }
            // That the keys cannot be had now says nothing of the token: the identity that stands ends in its own time.
            (Renewal::Silent, Err(TokenError::Refused(Code::KeysUnavailable))) => {}
            (Renewal::Silent, Err(error)) => self.end(id, Refusal::from(error), out),
            (Renewal::Answered, Ok(principal))
                if before.user != principal.user || before.method != principal.method =>
            {
                self.refuse(now, id, Refusal::of(Code::WrongUser), (None, None), out);
            }
            // The same once more is no news.
            (Renewal::Silent, Ok(principal)) if before.is_same(&principal) => {}
            (renewal, Ok(principal)) => match (self.granted(now, &principal, &session.places_of_rights()), renewal) {
                (Ok(principal), renewal) => self.go_on_as(now, id, principal, renewal.is_answered(), out),
                (Err(NoGrant::Unknown(group, topic)), _) => self.wait_for_grant(id.socket, (group, topic), again, out),
                (Err(NoGrant::Unavailable), renewal) if renewal.is_answered() => {
                    self.refuse(now, id, Refusal::of(Code::SourceUnavailable), (None, None), out);
                }
                (Err(NoGrant::Unavailable), _) => {}
            },
        }
    }

    fn go_on_as(&mut self, now: u64, id: SessionId, principal: Rc<Principal>, is_answered: bool, out: &mut Out) {
        let Some(session) = self.sockets.session(id) else { return };
        let user_changed = session.principal.user != principal.user;
        let before = self.sight_of(session);
        self.change(id, |session| {
            // Whoever answers with a token that is over too is told no second time: that would go on for ever.
            session.told_expired &= principal.expires.is_some_and(|expires| expires <= now);
            session.principal = principal;
        });
        if is_answered {
            self.welcome(id, (None, None), true, out);
        }
        self.reauthorize(now, id, user_changed, before, out);
    }

    /// What a session reads of the channel that it joined: messages, members.
    fn sight_of(&self, session: &Session) -> (bool, bool) {
        let messages = session.channel.as_ref().is_some_and(|channel| channel.messages);
        (messages, session.watched(&self.configuration).is_some())
    }

    /// Decides again what a session may, after its principal changed. `before` is what it read of its channel until then:
    /// who loses a part of that loses the channel, as its client would not know what it misses.
    fn reauthorize(&mut self, now: u64, id: SessionId, user_changed: bool, before: (bool, bool), out: &mut Out) {
        let (Some(session), Some(profile)) = (self.sockets.session(id), self.profile(id.socket)) else { return };
        if let Some(channel) = &session.channel {
            let messages = match self.sight(&channel.topic, channel.presence, &session.principal) {
                Ok((messages, _)) => messages,
                Err(refusal) => return self.end(id, refusal, out),
            };
            if (before.0 && !messages) || (before.1 && session.watched(&self.configuration).is_none()) {
                return self.end(id, Refusal::with(Code::Forbidden, Reason::ReadRevoked), out);
            }
            self.change(id, |session| session.channel.iter_mut().for_each(|channel| channel.messages = messages));
        }
        self.withdraw(id, user_changed, out);
        match profile.lost_table {
            LostTable::Ends => self.end_lost(id, out),
            LostTable::Rests => self.tell_live(now, id, out),
        }
        let watches = self.sockets.session(id).and_then(|session| session.watched(&self.configuration));
        if let Some(topic) = watches.filter(|_| !before.1) {
            out.to_stream.push_back(ToStream::Roster { session: id, topic: topic.clone() });
        }
    }

    /// Nobody stays listed under another's name, or where they may not be.
    fn withdraw(&self, id: SessionId, user_changed: bool, out: &mut Out) {
        let Some(session) = self.sockets.session(id) else { return };
        let may_stay = |topic: &Option<Topic>| {
            !user_changed && self.configuration.authorize_presence(topic.as_ref(), &session.principal).is_ok()
        };
        for topic in session.present.iter().filter(|topic| !may_stay(topic)).cloned() {
            let client_id = session.client_id.clone();
            out.to_stream.push_back(ToStream::Untrack { session: id, topic, client_id, key: None });
        }
    }

    /// Takes away the subscriptions that the principal may no longer have.
    fn end_lost(&mut self, id: SessionId, out: &mut Out) {
        let Some(session) = self.sockets.session(id) else { return };
        let is_lost = |target: &Subscribed| match target {
            Subscribed::Topic(topic) => self.configuration.authorize(Action::Read, topic, &session.principal).is_err(),
            Subscribed::Table(target) => !self.admits(target, &session.principal),
        };
        let lost = session.subscriptions.iter().filter(|subscription| is_lost(&subscription.target));
        let lost: Vec<String> = lost.map(|subscription| subscription.id.clone()).collect();
        if !lost.is_empty() {
            self.change(id, |session| session.subscriptions.retain(|one| !lost.contains(&one.id)));
        }
        // These are no frames of the client, and count for no mistakes of its own.
        for name in lost {
            self.log_session("refused", id, Some(Code::Forbidden), out);
            self.tell(id, Event::Refused { refusal: Refusal::of(Code::Forbidden), id: Some(name), topic: None }, out);
        }
    }

    /// Does what is due: sockets that never said who they are, tokens that have expired.
    pub(in crate::engine) fn expire(&mut self, now: u64, out: &mut Out) {
        while let Some((time, due)) = self.deadlines.first().copied().filter(|(time, _)| *time <= now) {
            self.deadlines.remove(&(time, due));
            match due {
                Due::Authentication(socket) => self.fail(socket, Code::AuthTimeout, out),
                Due::Expiry(session) => self.expired(now, time, session, out),
                Due::Database(session) => self.waited_in_vain(now, session, out),
            }
        }
        self.beat(now, out);
    }

    fn expired(&mut self, now: u64, time: u64, id: SessionId, out: &mut Out) {
        let (Some(session), Some(profile)) = (self.sockets.session(id), self.profile(id.socket)) else { return };
        match profile.expiry {
            Expiry::Grace if session.told_expired => self.end(id, Refusal::of(Code::TokenExpired), out),
            Expiry::Grace => {
                self.tell(id, Event::AuthExpired, out);
                self.change(id, |session| session.told_expired = true);
            }
            Expiry::Ends => {
                let expired = TokenError::Expired(now.saturating_sub(time) / 1_000);
                self.end(id, Refusal::from(expired), out);
            }
        }
    }

    /// Takes in the key set and lets go the frames that waited for it.
    pub(in crate::engine) fn keys_fetched(&mut self, now: u64, answer: Option<(u64, &str)>) {
        self.keys.shared(now, answer);
        self.fetching_keys = false;
        self.waiting_bytes = 0;
        for socket in self.sockets.iter_mut() {
            let id = socket.id;
            if self.waits.judging.holds(id) || self.waits.grants.makes_wait(id) {
                continue;
            }
            self.released.extend(socket.waiting.take().into_iter().flatten().map(|frame| (id, frame)));
        }
    }

    /// Handles the next frame that has waited; `false` when there is none.
    pub(in crate::engine) fn release(&mut self, now: u64, out: &mut Out) -> bool {
        let Some((socket, frame)) = self.released.pop_front() else { return false };
        self.handle(now, socket, frame, out);
        true
    }

    /// Lets a frame wait for the key set, and those that follow it on its socket.
    pub(super) fn wait_for_keys(&mut self, id: SocketId, command: Command, out: &mut Out) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        if self.waiting_bytes > WAITING_BYTES {
            return match socket.principal() {
                None => self.fail(id, Code::KeysUnavailable, out),
                Some(_) => self.close(id, Code::KeysUnavailable, out),
            };
        }
        socket.waiting.get_or_insert_default().push_front(Ok(command));
        if !std::mem::replace(&mut self.fetching_keys, true) {
            out.run(Task::FetchKeys);
        }
    }
}

// A grace shorter than the leeway would close sockets whose token is still accepted at the door.
const _: () = assert!(EXPIRY_GRACE >= LEEWAY);

#[cfg(test)]
mod tests {

    use base64ct::{Base64UrlUnpadded, Encoding};
    use hmac::{Hmac, Mac};

    use super::*;
    use crate::engine::input::Stored;
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
            "ACCESS_TOKEN" => Some("an-access-token-of-thirty-two-bytes".to_owned()),
            "JWT_SECRET" => Some(SECRET.to_owned()),
            _ => None,
        };
        let configuration = Rc::new(Configuration::read(&variable).unwrap());
        let surroundings = (configuration, (|_| Some(&SEVERAL)) as Profiles);
        Delivery::wake(NOW, Rc::from("org_1"), surroundings, &stored, &Default::default(), &mut Out::default())
    }

    fn renew(delivery: &mut Delivery, number: u32, token: &Secret) {
        let session = SessionId { socket: SocketId(0), number };
        let named = delivery.named_by(NOW, session.socket, token);
        delivery.renew(NOW, session, named, Command::Ping { id: None }, &mut Out::default());
    }

    /// The principals of the channels, in order.
    fn principals(delivery: &Delivery) -> Vec<Rc<Principal>> {
        let socket = delivery.sockets.get(SocketId(0)).unwrap();
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
        // Another socket's life knows nothing of the token, yet the principal is the same.
        delivery.sockets.get_mut(SocketId(0)).unwrap().verified = None;
        renew(&mut delivery, 1, &token);
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
