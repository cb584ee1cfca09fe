//! The native dialect `quickback`: JSON objects in text frames, distinguished by `type` (docs/protocol-native.md).
//! [`CLIENT_FRAMES`] and [`SERVER_FRAMES`] list all of them.

mod batch;
mod decode;
mod encode;

use super::{Dialect, Frame, Received};
use crate::code::{Code, Refusal};
use crate::engine::command::{Command, Malformed};
use crate::engine::event::{Address, Event};
use crate::engine::input::DialectId;
use crate::engine::profile::{
    Duplicate, Expiry, LostTable, PresenceAudience, PresenceFrames, Profile, ReadConfirmation, Refusals, Renewal,
    RosterOnTracking, Sessions, SubscribableTables, TableDelivery, UnknownSubscription,
};
use crate::policy::limits::ID_BYTES;
use crate::value::form::Form;
use crate::value::json;

/// Its number.
pub const ID: DialectId = DialectId(0);
/// Its profile.
pub const PROFILE: Profile = Profile {
    name: "quickback",
    sessions: Sessions::One,
    auto_response: Some((r#"{"type":"ping"}"#, r#"{"type":"pong"}"#)),
    rejects_at_handshake: false,
    receives_by_default: true,
    presence: PresenceAudience::SubscribersAndPresent,
    expiry: Expiry::Grace,
    renewal: Renewal::Answered,
    lost_table: LostTable::Ends,
    principal_at_opening: false,
    requires_role: false,
    refusals: Refusals::Errors,
    duplicate: Duplicate::Refused,
    names_subscriptions: false,
    roster_on_tracking: RosterOnTracking::Appearing,
    heartbeat: None,
    unknown_subscription: UnknownSubscription::Refused,
    receives_messages: true,
    receives_organization_messages: true,
    sees_own_presence: true,
    untracked_is_error: true,
    removes_unmatched: false,
    table_delivery: TableDelivery::Published,
    is_listener: false,
    default_role: None,
    tables: SubscribableTables::Any,
    publishing_subscribes: false,
    marks_own: false,
    presence_frames: PresenceFrames::Difference,
    keys_are_owned: false,
    read_confirmation: ReadConfirmation::Pong,
};
/// The `type` of every client frame. docs/protocol-native.md lists them and a test compares the two.
pub const CLIENT_FRAMES: [&str; 8] =
    ["auth", "subscribe", "unsubscribe", "broadcast", "presence_track", "presence_update", "presence_untrack", "ping"];
/// The `type` of every server frame.
pub const SERVER_FRAMES: [&str; 17] = [
    "auth_success",
    "auth_error",
    "auth_expired",
    "subscribed",
    "unsubscribed",
    "ack",
    "error",
    "pong",
    "ping",
    "feed",
    "postgres_changes",
    "broadcast",
    "presence_state",
    "presence_join",
    "presence_update",
    "presence_leave",
    "batch",
];

/// The dialect.
pub struct Native;

impl Dialect for Native {
    fn decode(&self, frame: Received<'_>) -> Result<Command, Malformed> {
        let Received::Text(text) = frame else {
            return Err(Refusal::because(Code::InvalidFrame, "Frames are JSON text.").into());
        };
        let form = Form::read(text, Code::InvalidFrame)?;
        let id = form.peek("id").and_then(json::string).filter(|id| id.len() <= ID_BYTES);
        decode::command(form).map_err(|refusal| Malformed { refusal, id })
    }

    fn encode(&self, _address: Option<&Address>, event: &Event) -> Vec<Frame> {
        if let Event::PresenceChanged { changes, .. } = event {
            return changes.iter().flat_map(|change| self.encode(None, change)).collect();
        }
        if let Event::Batch(events) = event {
            return batch::frames(events);
        }
        let mut out = String::with_capacity(256);
        encode::write(&mut out, event);
        // This dialect has no frames for channels.
        if out.is_empty() { Vec::new() } else { vec![Frame::Text(out)] }
    }
}
