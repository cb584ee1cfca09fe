//! The Phoenix wire protocol, in both of its versions, as Supabase's clients speak it (docs/protocol-supabase.md).
//!
//! A frame names a channel: [`frame`] parses it into a [`push`], [`decode`] turns that into a command, [`encode`]
//! writes events, and [`reason`] words refusals.

pub mod push;
pub mod frame;
mod binary;
pub mod decode;
mod lenient;
mod join;
mod encode;
pub mod reason;

use super::{Dialect, Frame, Received};
use crate::code::Refusal;
use crate::engine::command::{ChannelAct, Command, Malformed};
use crate::engine::event::{Address, Event};
use crate::engine::input::DialectId;
use crate::engine::profile::{
    Duplicate, Expiry, LostTable, PresenceAudience, PresenceFrames, Profile, ReadConfirmation, Refusals, Renewal,
    RosterOnTracking, Sessions, SubscribableTables, TableDelivery, UnknownSubscription,
};
use frame::Version;

/// Version 1.0.0.
pub const V1: DialectId = DialectId(1);
/// Version 2.0.0.
pub const V2: DialectId = DialectId(2);
/// The profile of both versions.
pub const PROFILE: Profile = Profile {
    name: "supabase",
    sessions: Sessions::Many,
    // Every heartbeat has its own reference, so the runtime cannot answer it.
    auto_response: None,
    // Its clients know no frame that gives the reason for closing a socket.
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
    heartbeat: None,
    unknown_subscription: UnknownSubscription::Refused,
    receives_messages: true,
    receives_organization_messages: false,
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
    read_confirmation: ReadConfirmation::ClientFrames,
};
/// The prefix of a channel's name.
const PREFIX: &str = "realtime:";

/// The dialect, in one of its versions.
pub struct Phoenix(pub Version);

impl Dialect for Phoenix {
    fn decode(&self, frame: Received<'_>) -> Result<Command, Malformed> {
        Ok(decode::command(frame::read(self.0, frame)?))
    }

    fn decode_address(&self, frame: Received<'_>, refusal: &Refusal) -> Option<Command> {
        let push = frame::read(self.0, frame).ok()?;
        Some(decode::frame(push, ChannelAct::Refused(refusal.clone())))
    }

    fn encode(&self, address: Option<&Address>, event: &Event) -> Vec<Frame> {
        encode::frames(self.0, address, event)
    }
}
