//! What each dialect brings to the HTTP surface: how its sockets are opened, and an API of its own.

use super::api::Api;
use super::entrance::Entrance;
use super::request_head::RequestHead;
use super::{butterbase, event_stream, fluxbase, native, supabase};
use crate::engine::input::DialectId;

/// In the order in which they are asked whether a request is theirs.
const ENTRANCES: [&dyn Entrance; 5] = [
    &event_stream::EventStreamEntrance,
    &butterbase::ButterbaseEntrance,
    &supabase::SupabaseEntrance,
    &native::NativeEntrance,
    &fluxbase::FluxbaseEntrance,
];

/// The APIs that belong to a dialect.
const APIS: [&dyn Api; 4] =
    [&supabase::rest::Rest, &butterbase::control::Control, &fluxbase::rest::Rest, &event_stream::frames::Frames];

/// The entrance of a request for a socket; `None` where no dialect knows it.
pub fn entrance(head: &RequestHead) -> Option<&'static dyn Entrance> {
    ENTRANCES.into_iter().find(|entrance| entrance.recognizes(head))
}

/// The entrance that a dialect's sockets came through; `None` for an unknown dialect.
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
