//! The stage: the members of a script, each in its dialect, with one tenant.

use realtime_worker::dialect::Frame;
use realtime_worker::engine::command::Recover;
use realtime_worker::policy::principal::Principal;
use serde_json::{Value, json};

use super::adapter::{Adapter, Ask, Can, Dialect, Observation, Payload, Subscription, Topic, code};
use super::feed::Feed;
use super::words::database_tables;
use crate::rig::source::change;
use crate::rig::{Client, Rig, token};

/// A member of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who(usize);

struct Member {
    user: String,
    claims: Value,
    dialect: Dialect,
    adapter: Box<dyn Adapter>,
    client: Client,
    /// Whether the end of its connection was observed, or was its own doing.
    has_ended: bool,
}

/// One tenant and the members of one script.
pub struct Stage<'a> {
    rig: &'a mut Rig,
    cast: &'a [Dialect],
    members: Vec<Member>,
    /// Every public id of a connection, and its user.
    ids: Vec<(String, String)>,
    observed: usize,
    /// Whether changes come from the database; otherwise the API worker publishes them.
    feed: Option<Feed>,
}

impl<'a> Stage<'a> {
    /// The members are assigned the dialects of the cast in turn.
    pub fn new(rig: &'a mut Rig, cast: &'a [Dialect], from_database: bool) -> Stage<'a> {
        rig.source.tables = Some(database_tables());
        rig.source.policy = |_, _, _, _| true;
        let feed = from_database.then(|| Feed::new(rig));
        Stage { rig, cast, members: Vec::new(), ids: Vec::new(), observed: 0, feed }
    }

    // --- what members do ---------------------------------------------------------------------------------------------

    /// Connects a user with these roles; nothing else is observed.
    #[track_caller]
    pub fn connect(&mut self, user: &str, roles: &[&str]) -> Who {
        let claims = self.rig.claims(user, some(roles));
        self.connect_with(claims)
    }

    /// Connects a user with these claims.
    #[track_caller]
    pub fn connect_with(&mut self, claims: Value) -> Who {
        let signed = token::hs256(&claims);
        let who = self.enter(claims, &signed);
        self.sees(who, []);
        who
    }

    /// Connects with any text as the token.
    pub fn connect_with_token(&mut self, user: &str, token: &str) -> Who {
        let claims = self.rig.claims(user, some(&[]));
        self.enter(claims, token)
    }

    fn enter(&mut self, claims: Value, token: &str) -> Who {
        let dialect = self.cast[self.members.len() % self.cast.len()];
        let user = claims["sub"].as_str().unwrap().to_owned();
        let client = self.open(dialect, &user);
        let adapter = (dialect.adapter)(&user);
        self.members.push(Member { user, claims, dialect, adapter, client, has_ended: false });
        let who = Who(self.members.len() - 1);
        self.ask(who, &Ask::Enter { token, since: None });
        who
    }

    fn open(&mut self, dialect: Dialect, user: &str) -> Client {
        let principal = match dialect.key {
            Some(role) => Some(token::principal(role, &[role], None)),
            None => dialect.can(Can::BeginAnonymously).then(|| Principal::anonymous("anon")),
        };
        let recover = if dialect.can(Can::BeginAnonymously) { Recover::On } else { Recover::Off };
        let client = self.rig.open_at(dialect.dialect, principal, None, recover).unwrap();
        self.ids.push((client.id.clone(), user.to_owned()));
        client
    }

    /// A new connection of a member with all its previous subscriptions, which requests what it missed.
    pub fn come_back(&mut self, who: Who, since: u64) {
        let Member { dialect, user, claims, .. } = &self.members[who.0];
        let (dialect, user, signed) = (*dialect, user.clone(), token::hs256(claims));
        let client = self.open(dialect, &user);
        (self.members[who.0].client, self.members[who.0].has_ended) = (client, false);
        self.ask(who, &Ask::Enter { token: &signed, since: Some(since) });
    }

    pub fn ask(&mut self, who: Who, ask: &Ask<'_>) {
        let member = &mut self.members[who.0];
        for frame in member.adapter.write(ask) {
            match frame {
                Frame::Text(text) => self.rig.text(&member.client, &text),
                Frame::Binary(bytes) => self.rig.binary(&member.client, &bytes),
            }
        }
    }

    /// Subscribes, and observes only the confirmation.
    #[track_caller]
    pub fn subscribed(&mut self, who: Who, subscription: &Subscription) {
        self.ask(who, &Ask::Subscribe(subscription));
        self.sees(who, [Observation::Subscribed(subscription.name.to_owned())]);
    }

    /// Subscribes, and is refused.
    #[track_caller]
    pub fn refused(&mut self, who: Who, subscription: &Subscription, word: &str) {
        self.ask(who, &Ask::Subscribe(subscription));
        self.sees(who, [Observation::Refused(subscription.name.to_owned(), code(word))]);
    }

    #[track_caller]
    pub fn unsubscribed(&mut self, who: Who, name: &str) {
        self.ask(who, &Ask::Unsubscribe(name));
        self.sees(who, [Observation::Unsubscribed(name.to_owned())]);
    }

    pub fn say(&mut self, who: Who, topic: Topic, event: &str, payload: Value) {
        self.ask(who, &Ask::Say { topic, event, payload: &Payload::Json(payload) });
    }

    pub fn appear(&mut self, who: Who, topic: Topic, metadata: Value) {
        self.ask(who, &Ask::Appear { topic: Some(topic), metadata: &metadata });
    }

    pub fn change(&mut self, who: Who, topic: Topic, metadata: Value) {
        self.ask(who, &Ask::Change { topic: Some(topic), metadata: &metadata });
    }

    pub fn disappear(&mut self, who: Who, topic: Topic) {
        self.ask(who, &Ask::Disappear { topic: Some(topic) });
    }

    /// Continues with a fresh token with these roles.
    pub fn renew(&mut self, who: Who, roles: &[&str]) {
        let claims = self.rig.claims(&self.members[who.0].user, some(roles));
        self.renew_with(who, claims);
    }

    /// Continues with a fresh token with these claims.
    pub fn renew_with(&mut self, who: Who, claims: Value) {
        let signed = token::hs256(&claims);
        self.members[who.0].claims = claims;
        self.ask(who, &Ask::Renew { token: &signed });
    }

    /// Its next connection will have these roles.
    pub fn becomes(&mut self, who: Who, roles: &[&str]) {
        self.members[who.0].claims = self.rig.claims(&self.members[who.0].user, some(roles));
    }

    /// The member closes its connection.
    pub fn disconnect(&mut self, who: Who) {
        let member = &mut self.members[who.0];
        member.has_ended = true;
        self.rig.disconnect(&member.client);
    }

    // --- what happens around them ------------------------------------------------------------------------------------

    /// Publishes what must be accepted.
    #[track_caller]
    pub fn publish(&mut self, body: Value) {
        let Some(feed) = self.feed.as_mut().filter(|_| body["type"] == "postgres_changes") else {
            self.rig.accepted(body);
            return;
        };
        let known = ["type", "schema", "table", "eventType", "new", "old"];
        let beyond: Vec<&String> =
            body.as_object().unwrap().keys().filter(|key| !known.contains(&key.as_str())).collect();
        assert!(beyond.is_empty(), "a database does not say {beyond:?}");
        let (operation, table) = (body["eventType"].as_str().unwrap(), body["table"].as_str().unwrap());
        let mut change = change(operation, table, body["new"].clone(), body["old"].clone());
        change["schema"] = body.get("schema").cloned().unwrap_or(json!("public"));
        feed.commit(self.rig, &change);
    }

    pub fn wait(&mut self, seconds: u64) {
        self.rig.advance(seconds * 1_000);
    }

    /// A new version is deployed: every connection is lost without a close frame.
    pub fn deploy(&mut self) {
        self.rig.deploy();
        self.members.iter_mut().for_each(|member| member.has_ended = true);
    }

    /// In Unix milliseconds.
    pub fn now(&self) -> u64 {
        self.rig.now
    }

    /// The claims of a session that is valid for an hour, with additional ones.
    pub fn claims(&self, user: &str, roles: &[&str], more: Value) -> Value {
        let mut claims = self.rig.claims(user, some(roles));
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims
    }

    /// The claims of a session that expires this soon.
    pub fn claims_for(&self, user: &str, roles: &[&str], seconds: u64) -> Value {
        self.claims(user, roles, json!({ "exp": self.rig.now / 1_000 + seconds }))
    }

    // --- what members observe ----------------------------------------------------------------------------------------

    /// Whether a member's dialect has a capability.
    pub fn can(&self, who: Who, can: Can) -> bool {
        self.members[who.0].dialect.can(can)
    }

    /// Whether all dialects of the cast have it.
    pub fn all_can(&self, can: Can) -> bool {
        self.cast.iter().all(|dialect| dialect.can(can))
    }

    /// Everything that a member has observed since the last look.
    pub fn observations(&mut self, who: Who) -> Vec<Observation> {
        let member = &mut self.members[who.0];
        let mut seen = Vec::new();
        while let Some(frame) = member.client.next_frame() {
            seen.extend(member.adapter.read(&frame));
        }
        if let Some((number, reason)) = member.client.closed().filter(|_| !member.has_ended) {
            member.has_ended = true;
            seen.push(Observation::Closed(member.adapter.closed(number, &reason)));
        }
        self.observed += seen.len();
        seen.into_iter().map(|one| self.named(one)).collect()
    }

    /// A member has observed exactly this.
    #[track_caller]
    pub fn sees<const COUNT: usize>(&mut self, who: Who, expected: [Observation; COUNT]) {
        self.has_seen(who, expected);
    }

    /// A member has observed exactly this, however much it is, except for what its dialect has no frames for.
    #[track_caller]
    pub fn has_seen(&mut self, who: Who, expected: impl IntoIterator<Item = Observation>) {
        let expected = expected.into_iter().filter(|one| self.has_words(who, one)).collect::<Vec<_>>();
        let seen = self.observations(who);
        let Member { user, dialect, .. } = &self.members[who.0];
        assert_eq!(seen, expected, "{user} in {}, {:?} between two steps", dialect.name, self.rig.interruption);
    }

    /// Whether a member can observe this at all: some dialects have no messages, and some do not show a client its own
    /// presence.
    pub fn has_words(&self, who: Who, observation: &Observation) -> bool {
        match observation {
            Observation::Message { .. } => self.can(who, Can::HearMessages),
            Observation::Joined(_, name, _) | Observation::Updated(_, name, _) | Observation::Left(_, name) => {
                self.can(who, Can::HearOneself) || *name != self.members[who.0].user
            }
            _ => true,
        }
    }

    /// Each of these has observed exactly this.
    #[track_caller]
    pub fn see<const COUNT: usize>(&mut self, all: &[Who], expected: &[Observation; COUNT]) {
        all.iter().for_each(|who| self.sees(*who, expected.clone()));
    }

    /// A member has observed this if its dialect has the capability, and otherwise that.
    #[track_caller]
    pub fn sees_if<const THEN: usize, const ELSE: usize>(
        &mut self,
        who: Who,
        can: Can,
        then: [Observation; THEN],
        otherwise: [Observation; ELSE],
    ) {
        if self.can(who, can) { self.sees(who, then) } else { self.sees(who, otherwise) }
    }

    /// Ignores what everyone has observed so far.
    pub fn everyone_looks_away(&mut self) {
        (0..self.members.len()).for_each(|member| drop(self.observations(Who(member))));
    }

    /// Nobody has observed anything that the script has not stated, and something was observed.
    #[track_caller]
    pub fn ends(mut self) {
        (0..self.members.len()).for_each(|member| self.sees(Who(member), []));
        assert!(self.observed > 0, "the script has looked at something");
    }

    /// Members that a dialect names by the public id of their connection are named by their user.
    fn named(&self, observation: Observation) -> Observation {
        let name = |who: String| {
            let id = who.split('.').next().unwrap();
            self.ids.iter().find(|(known, _)| known == id).map_or_else(|| who.clone(), |(_, user)| user.clone())
        };
        match observation {
            Observation::Present(topic, members) => {
                let mut members: Vec<_> = members.into_iter().map(|(who, said)| (name(who), said)).collect();
                members.sort_by_key(|(who, said)| (who.clone(), said.to_string()));
                Observation::Present(topic, members)
            }
            Observation::Joined(topic, who, metadata) => Observation::Joined(topic, name(who), metadata),
            Observation::Updated(topic, who, metadata) => Observation::Updated(topic, name(who), metadata),
            Observation::Left(topic, who) => Observation::Left(topic, name(who)),
            other => other,
        }
    }
}

/// Some dialects require a role in every token: clients without one have a role that no rule names.
fn some<'a>(roles: &'a [&'a str]) -> &'a [&'a str] {
    if roles.is_empty() { &["nobody"] } else { roles }
}
