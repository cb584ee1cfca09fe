//! The Butterbase dialect: JSON objects in text frames, told apart by `type` (docs/protocol-butterbase.md).
//! [`CLIENT_FRAMES`] and [`SERVER_FRAMES`] are all there are.

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
    Duplicate, Expiry, LostTable, PresenceAudience, PresenceFrames, Profile, Reading, Refusals, Renewal,
    RosterOnTracking, Sessions, SubscribableTables, TableDelivery, UnknownSubscription,
};

/// Its number.
pub const ID: DialectId = DialectId(3);
/// How often a socket gets a heartbeat, in milliseconds: clients give a socket up after 45 silent seconds.
pub const HEARTBEAT: u64 = 30_000;
/// What is particular to it.
pub const PROFILE: Profile = Profile {
    name: "butterbase",
    sessions: Sessions::One,
    auto_response: None,
    rejects_at_handshake: true,
    receives_unasked: false,
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
    reading: Reading::Unknown,
    heartbeat: Some(HEARTBEAT),
    unknown_subscription: UnknownSubscription::Ended,
    hears_messages: false,
    hears_organization: false,
    hears_oneself_appear: false,
    untracked_is_error: false,
    removes_unmatched: true,
    table_delivery: TableDelivery::Enabled,
    is_listener: true,
};
/// The `type` of every frame that a client may send. docs/protocol-butterbase.md prints this and a test compares the two.
pub const CLIENT_FRAMES: [&str; 7] =
    ["subscribe", "unsubscribe", "presence_track", "presence_update", "presence_untrack", "event", "auth"];
/// The `type` of every frame that a client gets.
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
/// Stands in a subscription's id between its table and its number, or before its room. No table's name has it.
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
