//! A dialect's semantics as data. Each dialect states its profile in its own module; the engine reads it and never asks
//! which dialect it is.

use super::input::DialectId;
use crate::policy::principal::Principal;
use crate::policy::roles::Roles;

/// The properties of a dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name in figures and logs.
    pub name: &'static str,
    /// How many sessions a socket carries.
    pub sessions: Sessions,
    /// A text frame that the runtime answers by itself, and the answer; both are constant.
    pub auto_response: Option<(&'static str, &'static str)>,
    /// Whether a socket that exceeds the limits is rejected at its handshake; otherwise a frame gives the reason for
    /// closing it.
    pub rejects_at_handshake: bool,
    /// Whether a session without table subscriptions receives every change and the organization's messages.
    pub receives_by_default: bool,
    /// Who receives presence without asking.
    pub presence: PresenceAudience,
    /// What happens when a token expires.
    pub expiry: Expiry,
    /// What a token renewal does.
    pub renewal: Renewal,
    /// What happens to a table subscription whose right is lost.
    pub lost_table: LostTable,
    /// Whether a socket is opened with its principal; a socket without one has lost it and cannot get another.
    pub principal_at_opening: bool,
    /// Whether a session token must name a role and an expiry.
    pub requires_role: bool,
    /// How a refusal within a session is reported.
    pub refusals: Refusals,
    /// What a subscription with a known id, or a join with a known name, does.
    pub duplicate: Duplicate,
    /// Whether change frames name the subscriptions that they match.
    pub names_subscriptions: bool,
    /// Which requests to be tracked are answered with the roster.
    pub roster_on_tracking: RosterOnTracking,
    /// The interval of the server's heartbeats, in milliseconds; `None`: clients send them.
    pub heartbeat: Option<u64>,
    /// What happens when a client ends a subscription that does not exist.
    pub unknown_subscription: UnknownSubscription,
    /// Whether its clients understand messages; otherwise none are sent.
    pub receives_messages: bool,
    /// Whether its clients understand messages without a topic, which are for the whole organization.
    pub receives_organization_messages: bool,
    /// Whether members receive their own presence, and are listed in their own roster.
    pub sees_own_presence: bool,
    /// Whether changing the metadata of an absent member is an error; otherwise it does nothing.
    pub untracked_is_error: bool,
    /// Whether an update that moves a row out of a subscription's filter is sent as a delete.
    pub removes_unmatched: bool,
    /// The tables whose changes are sent.
    pub table_delivery: TableDelivery,
    /// Whether a socket counts towards its app's listener limit.
    pub is_listener: bool,
    /// The role of a token that names none.
    pub default_role: Option<&'static str>,
    /// The tables that can be subscribed to.
    pub tables: SubscribableTables,
    /// Whether a publisher is subscribed to its topic, if it may read it.
    pub publishing_subscribes: bool,
    /// Whether frames mark the sender's own message.
    pub marks_own: bool,
    /// The frames sent when presence changes.
    pub presence_frames: PresenceFrames,
    /// Whether a presence key belongs to one user only.
    pub keys_are_owned: bool,
    /// How the server can tell that a client still reads.
    pub read_confirmation: ReadConfirmation,
}

impl Profile {
    /// The principal of a token, with the default role if the token names none.
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

/// How the server can tell that a client still reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadConfirmation {
    /// It answers the server's pings.
    Pong,
    /// It sends frames by itself at least every 30 seconds, but answers none of the server's.
    ClientFrames,
    /// It may stay silent for ever.
    None,
}

/// Who receives presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceAudience {
    /// Subscribers of the topic, and its members.
    SubscribersAndPresent,
    /// Sessions that requested it when they joined or became present.
    Requested,
}

/// What happens when a token expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The client is notified, and has a grace period to renew.
    Grace,
    /// The session ends.
    Ends,
}

/// What a renewed token does to its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It must name the same user, and is acknowledged; an invalid token is refused and the identity stays.
    Answered,
    /// It may name any user, and is acknowledged; an invalid token is refused and the identity stays.
    AnsweredForAnyone,
    /// It may name any user, and is not acknowledged; an invalid token ends the session.
    Silent,
}

impl Renewal {
    /// Whether a renewal is acknowledged, and an invalid token keeps the identity.
    pub fn is_answered(self) -> bool {
        self != Renewal::Silent
    }
}

/// The tables that can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribableTables {
    /// All tables that the roles admit.
    Any,
    /// Existing, enabled tables outside the database's system schemas; without a credential, only tables marked as
    /// public.
    Enabled,
}

/// What happens when a client ends a subscription that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownSubscription {
    /// The command is refused.
    Refused,
    /// The command succeeds, because the subscription has ended.
    Ended,
}

/// The tables whose changes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableDelivery {
    /// All published tables.
    Published,
    /// Enabled tables that have a visibility rule or are marked public.
    Enabled,
}

/// The frames sent when presence changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceFrames {
    /// The difference.
    Difference,
    /// The difference, and the resulting roster.
    Roster,
}

/// Which requests to be tracked are answered with the roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RosterOnTracking {
    /// None, unless the client asks for it.
    Never,
    /// That of a session that was not tracked.
    Appearing,
    /// All.
    Always,
}

/// What happens to a table subscription whose right is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostTable {
    /// It ends.
    Ends,
    /// It receives nothing, until a later token restores the right.
    Dormant,
}

/// How a refusal within a session is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusals {
    /// Always reported, and counted as an error of its socket: too many close it.
    Errors,
    /// As the reply to a frame that has a correlation id.
    Replies,
}

/// What a repeated subscription does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicate {
    /// It is refused.
    Refused,
    /// It replaces the previous one.
    Replaces,
}

/// Looks up the profile of a dialect; `None` for an unknown one.
pub type Profiles = fn(DialectId) -> Option<&'static Profile>;

/// A dialect whose sockets carry several sessions.
#[cfg(test)]
pub(super) const SEVERAL: Profile = Profile {
    name: "several",
    sessions: Sessions::Many,
    auto_response: None,
    rejects_at_handshake: true,
    receives_by_default: false,
    presence: PresenceAudience::Requested,
    expiry: Expiry::Ends,
    renewal: Renewal::Silent,
    lost_table: LostTable::Dormant,
    principal_at_opening: false,
    requires_role: true,
    refusals: Refusals::Replies,
    duplicate: Duplicate::Replaces,
    names_subscriptions: true,
    roster_on_tracking: RosterOnTracking::Never,
    default_role: None,
    tables: SubscribableTables::Any,
    unknown_subscription: UnknownSubscription::Refused,
    publishing_subscribes: false,
    marks_own: false,
    presence_frames: PresenceFrames::Difference,
    keys_are_owned: false,
    read_confirmation: ReadConfirmation::ClientFrames,
    heartbeat: None,
    receives_messages: true,
    receives_organization_messages: false,
    sees_own_presence: true,
    untracked_is_error: true,
    removes_unmatched: false,
    table_delivery: TableDelivery::Published,
    is_listener: false,
};
