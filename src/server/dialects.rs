//! The HTTP surface of each dialect: how its sockets are opened, and its own API, if it has one.

use super::api::Api;
use super::entrance::Entrance;
use super::request_head::RequestHead;
use super::{butterbase, event_stream, fluxbase, native, supabase};
use crate::engine::input::DialectId;

/// The first one that recognizes a request decides.
const ENTRANCES: [&dyn Entrance; 5] = [
    &event_stream::EventStreamEntrance,
    &butterbase::ButterbaseEntrance,
    &supabase::SupabaseEntrance,
    &native::NativeEntrance,
    &fluxbase::FluxbaseEntrance,
];

/// The APIs that belong to a dialect.
const APIS: [&dyn Api; 4] = [
    &supabase::rest::SupabaseRest,
    &butterbase::control::Control,
    &fluxbase::rest::FluxbaseRest,
    &event_stream::frames::Frames,
];

/// The entrance for a socket request; `None` if no dialect recognizes it.
pub fn entrance(head: &RequestHead) -> Option<&'static dyn Entrance> {
    ENTRANCES.into_iter().find(|entrance| entrance.recognizes(head))
}

/// The entrance for a dialect's sockets; `None` for an unknown dialect.
pub fn entrance_of(dialect: DialectId) -> Option<&'static dyn Entrance> {
    ENTRANCES.into_iter().find(|entrance| entrance.dialects().contains(&dialect))
}

/// Whether sockets are opened at a path.
pub fn opens_sockets(path: &str) -> bool {
    ENTRANCES.into_iter().any(|entrance| entrance.is_path(path))
}

/// The API that a path belongs to.
pub fn api(path: &str) -> Option<&'static dyn Api> {
    APIS.into_iter().find(|api| api.methods(path).is_some())
}
