//! The Fluxbase dialect: JSON objects in text frames (docs/protocol-fluxbase.md). There are two contracts, an older one
//! with table channels and a newer one with subscription ids; a socket may use either, frame by frame.

pub mod configuration;
mod decode;
mod encode;
pub mod filter;
pub mod id;

use super::{Dialect, Frame, Received};
use crate::code::Code;
use crate::engine::command::{Command, Malformed};
use crate::engine::event::{Address, Event};
use crate::engine::input::DialectId;
use crate::engine::profile::{
    Duplicate, Expiry, LostTable, PresenceAudience, PresenceFrames, Profile, ReadConfirmation, Refusals, Renewal,
    RosterOnTracking, Sessions, SubscribableTables, TableDelivery, UnknownSubscription,
};

/// Its number.
pub const ID: DialectId = DialectId(4);
/// The interval of heartbeats, in milliseconds.
pub const HEARTBEAT: u64 = 30_000;
/// Its profile.
pub const PROFILE: Profile = Profile {
    name: "fluxbase",
    sessions: Sessions::One,
    // A heartbeat has no answer.
    auto_response: None,
    rejects_at_handshake: false,
    receives_by_default: false,
    presence: PresenceAudience::SubscribersAndPresent,
    expiry: Expiry::Ends,
    renewal: Renewal::AnsweredForAnyone,
    lost_table: LostTable::Ends,
    principal_at_opening: true,
    requires_role: false,
    refusals: Refusals::Errors,
    duplicate: Duplicate::Replaces,
    names_subscriptions: true,
    roster_on_tracking: RosterOnTracking::Never,
    default_role: Some("authenticated"),
    tables: SubscribableTables::Enabled,
    unknown_subscription: UnknownSubscription::Ended,
    publishing_subscribes: true,
    marks_own: true,
    presence_frames: PresenceFrames::Roster,
    keys_are_owned: true,
    read_confirmation: ReadConfirmation::ClientFrames,
    heartbeat: Some(HEARTBEAT),
    receives_messages: true,
    receives_organization_messages: false,
    sees_own_presence: true,
    untracked_is_error: true,
    removes_unmatched: false,
    table_delivery: TableDelivery::Published,
    is_listener: false,
};
/// The role of a socket without a token.
pub const ANONYMOUS_ROLE: &str = "anon";
/// The `type` of every frame that a client may send. docs/protocol-fluxbase.md prints this and a test compares the two.
pub const CLIENT_FRAMES: [&str; 6] = ["subscribe", "unsubscribe", "broadcast", "presence", "access_token", "heartbeat"];
/// The `type` of every server frame.
pub const SERVER_FRAMES: [&str; 6] = ["ack", "postgres_changes", "broadcast", "presence", "heartbeat", "error"];

/// The dialect.
pub struct Fluxbase;

impl Dialect for Fluxbase {
    fn decode(&self, frame: Received<'_>) -> Result<Command, Malformed> {
        decode::command(frame)
    }

    fn encode(&self, _address: Option<&Address>, event: &Event) -> Vec<Frame> {
        encode::texts(event).into_iter().map(Frame::Text).collect()
    }

    fn closing(&self, code: Code) -> (u16, &'static str) {
        match code {
            Code::TooSlow => (1008, "Connection too slow"),
            code => code.closing(),
        }
    }
}
