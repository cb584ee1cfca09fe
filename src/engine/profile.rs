//! A dialect's semantics as data. Each dialect states its own in its file; the engine reads them and never asks which
//! dialect it is.

use super::input::DialectId;
use crate::policy::principal::Principal;
use crate::policy::roles::Roles;

/// What is particular to a dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name in figures and logs.
    pub name: &'static str,
    /// How many sessions a socket carries.
    pub sessions: Sessions,
    /// A text frame that the runtime answers by itself, and its answer: both always the same bytes.
    pub auto_response: Option<(&'static str, &'static str)>,
    /// Whether a socket that there is no room for is rejected at its handshake; where not, a frame says why it is closed.
    pub rejects_at_handshake: bool,
    /// Whether a session without a table subscription receives every change, and what is said to the whole organization.
    pub receives_unasked: bool,
    /// Who is told of presence without having asked for it.
    pub presence: PresenceAudience,
    /// What the end of a token does.
    pub expiry: Expiry,
    /// What a renewal does.
    pub renewal: Renewal,
    /// What happens to a table subscription whose right is lost.
    pub lost_table: LostTable,
    /// Whether a session token must give a role, as it must say when it ends.
    pub requires_role: bool,
    /// What a refusal within a session is.
    pub refusals: Refusals,
    /// What a subscription does under an id, or a join under a name, that stands already.
    pub duplicate: Duplicate,
    /// Whether frames of changes name the subscriptions that let them through.
    pub names_subscriptions: bool,
    /// Whether whoever appears is told who is there; where not, that it is done.
    pub roster_on_appearing: bool,
    /// How often the server says that it is there, in milliseconds; `None`: clients ask.
    pub heartbeat: Option<u64>,
    /// What it does to end a subscription that does not stand.
    pub unknown_subscription: UnknownSubscription,
    /// Whether its clients understand messages; where not, none is sent.
    pub hears_messages: bool,
    /// Whether whoever appears or changes is told so too, and is listed among those who are there.
    pub hears_oneself_appear: bool,
    /// Whether changing what one says of oneself before one has appeared is an error; where not, it does nothing.
    pub untracked_is_error: bool,
    /// Whether an update that takes a row out of a subscription's filter is told as a removal.
    pub removes_unmatched: bool,
    /// Of which tables changes are sent.
    pub table_delivery: TableDelivery,
    /// Whether a socket counts as a listener of its app, of which a plan allows so many.
    pub is_listener: bool,
    /// The role of a token that gives none.
    pub default_role: Option<&'static str>,
    /// Which tables can be subscribed to.
    pub tables: SubscribableTables,
    /// Whether whoever publishes to a topic that it may read is subscribed to it from then on.
    pub publishing_subscribes: bool,
    /// Whether frames tell who gets its own message that it is its own.
    pub marks_own: bool,
    /// What is told when someone appears, changes or disappears.
    pub presence_frames: PresenceFrames,
    /// Whether the key under which somebody is listed in a topic can be no other user's.
    pub keys_are_owned: bool,
    /// How it is known that a client reads what it is sent.
    pub reading: Reading,
}

impl Profile {
    /// The principal of a token, with the role that those get which give none.
    pub fn with_role(&self, principal: Principal) -> Principal {
        match self.default_role.filter(|_| principal.roles.first().is_none()) {
            Some(role) => Principal { roles: Roles::new([role.to_owned()]), ..principal },
            None => principal,
        }
    }
}

/// How many sessions a socket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// One: the session and the socket end together.
    One,
    /// One per channel; each ends by itself.
    Many,
}

/// How it is known that a client reads what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It answers a ping of the server, with whatever it likes.
    Answered,
    /// It speaks by itself, at least every half minute: no frame of the server makes it speak.
    Spoken,
    /// It need not ever say anything.
    Unknown,
}

/// Who is told of presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceAudience {
    /// Subscribers of the topic, and whoever is present there.
    SubscribersAndPresent,
    /// Those who asked for it when they joined, or appeared.
    Requested,
}

/// What the end of a token does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The client is told, and has some time to renew.
    Grace,
    /// The session ends.
    Ends,
}

/// What a fresh token of a session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It must be the same user's, and is answered; one that is no good is refused, and the identity that stands goes on.
    Answered,
    /// It may be any user's, and is answered; one that is no good is refused, and the identity that stands goes on.
    AnsweredForAnyone,
    /// It may be any user's, and is not answered; one that is no good ends the session.
    Silent,
}

impl Renewal {
    /// Whether a fresh token is answered, and one that is no good leaves the identity that stands.
    pub fn is_answered(self) -> bool {
        self != Renewal::Silent
    }
}

/// Which tables can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribableTables {
    /// All that the roles admit.
    Any,
    /// Those that exist and are enabled, none of the database's own schemas; without a credential those that are marked
    /// for it.
    Enabled,
}

/// What it does to end a subscription that does not stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownSubscription {
    /// It is refused.
    Refused,
    /// It has ended, which is what was asked for.
    Ended,
}

/// Of which tables changes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableDelivery {
    /// Of all that are published.
    Published,
    /// Of those that are enabled, and that have a rule for who may see their rows or are marked public.
    Enabled,
}

/// What is told when someone appears, changes or disappears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceFrames {
    /// The difference.
    Difference,
    /// The difference, and everyone who is present after it.
    Roster,
}

/// What happens to a table subscription whose right is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostTable {
    /// It ends.
    Ends,
    /// It rests: a later token may give the right back.
    Rests,
}

/// What a refusal within a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusals {
    /// Always told, and an error of its socket: too many of them end it.
    Errors,
    /// The reply to a frame that asks for one.
    Replies,
}

/// What a subscription does that stands already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicate {
    /// It is refused.
    Refused,
    /// It takes the place of the one before.
    Replaces,
}

/// Where the profile of a dialect is looked up; `None` for an unknown one.
pub type Profiles = fn(DialectId) -> Option<&'static Profile>;

/// A dialect whose sockets carry several sessions.
#[cfg(test)]
pub(super) const SEVERAL: Profile = Profile {
    name: "several",
    sessions: Sessions::Many,
    auto_response: None,
    rejects_at_handshake: true,
    receives_unasked: false,
    presence: PresenceAudience::Requested,
    expiry: Expiry::Ends,
    renewal: Renewal::Silent,
    lost_table: LostTable::Rests,
    requires_role: true,
    refusals: Refusals::Replies,
    duplicate: Duplicate::Replaces,
    names_subscriptions: true,
    roster_on_appearing: false,
    default_role: None,
    tables: SubscribableTables::Any,
    unknown_subscription: UnknownSubscription::Refused,
    publishing_subscribes: false,
    marks_own: false,
    presence_frames: PresenceFrames::Difference,
    keys_are_owned: false,
    reading: Reading::Spoken,
    heartbeat: None,
    hears_messages: true,
    hears_oneself_appear: true,
    untracked_is_error: true,
    removes_unmatched: false,
    table_delivery: TableDelivery::Published,
    is_listener: false,
};
