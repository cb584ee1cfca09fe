//! One tenant: inputs and the time go in, effects come out. Pure: no I/O, no clock, no randomness.
//!
//! It has two halves, which communicate by messages only: the `stream` (offsets, history, idempotency, presence) and
//! the `delivery` (sockets, sessions, classes, views). [`tenant::Tenant`] passes the messages between them.

// Inputs and effects.
pub mod publication;
pub mod command;
pub mod shared_text;
pub mod event;
pub mod input;
pub mod effect;
pub mod database;
pub mod profile;
pub mod table_settings;
pub mod census;
pub mod distinct;
pub mod figures;
pub use stream::{GAP_PLACE, ORGANIZATION_PLACES};
// What connects them.
pub mod tenant;
pub mod relay;
mod message;
mod stream;
mod leftovers;
mod delivery;
mod bucket;
mod budget;
