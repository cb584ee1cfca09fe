//! The Butterbase dialect: JSON objects in text frames, distinguished by `type` (docs/protocol-butterbase.md).
//! [`CLIENT_FRAMES`] and [`SERVER_FRAMES`] list all of them.

pub mod configuration;
pub mod decode;
pub mod encode;
pub mod words;

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
pub const ID: DialectId = DialectId(3);
/// The interval of heartbeats, in milliseconds: clients give a socket up after 45 seconds of silence.
pub const HEARTBEAT: u64 = 30_000;
/// Its profile.
pub const PROFILE: Profile = Profile {
    name: "butterbase",
    sessions: Sessions::One,
    auto_response: None,
    rejects_at_handshake: true,
    receives_by_default: false,
    presence: PresenceAudience::SubscribersAndPresent,
    expiry: Expiry::Ends,
    renewal: Renewal::Answered,
    lost_table: LostTable::Ends,
    principal_at_opening: true,
    requires_role: false,
    refusals: Refusals::Errors,
    duplicate: Duplicate::Replaces,
    names_subscriptions: true,
    roster_on_tracking: RosterOnTracking::Always,
    default_role: None,
    tables: SubscribableTables::Any,
    publishing_subscribes: false,
    marks_own: false,
    presence_frames: PresenceFrames::Difference,
    keys_are_owned: false,
    read_confirmation: ReadConfirmation::None,
    heartbeat: Some(HEARTBEAT),
    unknown_subscription: UnknownSubscription::Ended,
    receives_messages: false,
    receives_organization_messages: false,
    sees_own_presence: false,
    untracked_is_error: false,
    removes_unmatched: true,
    table_delivery: TableDelivery::Enabled,
    is_listener: true,
};
/// The `type` of every frame that a client may send. docs/protocol-butterbase.md prints this and a test compares the two.
pub const CLIENT_FRAMES: [&str; 7] =
    ["subscribe", "unsubscribe", "presence_track", "presence_update", "presence_untrack", "event", "auth"];
/// The `type` of every server frame.
pub const SERVER_FRAMES: [&str; 12] = [
    "connected",
    "heartbeat",
    "subscribed",
    "warning",
    "unsubscribed",
    "change",
    "presence_state",
    "presence_join",
    "presence_update",
    "presence_leave",
    "event_response",
    "error",
];
/// Separates table and number in a subscription's id, or precedes its room. It occurs in no table name.
const SEPARATOR: char = '\u{1f}';

/// The dialect.
pub struct Butterbase;

impl Dialect for Butterbase {
    fn decode(&self, frame: Received<'_>) -> Result<Command, Malformed> {
        let text = match frame {
            Received::Text(text) => Some(text),
            Received::Binary(bytes) => std::str::from_utf8(bytes).ok(),
        };
        decode::command(text.unwrap_or_default())
    }

    fn encode(&self, _address: Option<&Address>, event: &Event) -> Vec<Frame> {
        encode::frames(event)
    }

    fn closing(&self, code: Code) -> (u16, &'static str) {
        words::closing(code)
    }
}
