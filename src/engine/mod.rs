//! One tenant: inputs and the time go in, effects come out. Pure: no I/O, no clock, no randomness.
//!
//! Two halves that know each other by messages only: the [`stream`] (offsets, history, idempotency, presence) and the
//! [`delivery`] (connections, subscriptions, classes, views). [`tenant::Tenant`] carries the messages.

mod bucket;
pub mod command;
mod delivery;
pub mod effect;
pub mod event;
pub mod input;
mod message;
pub mod publication;
mod stream;
pub mod tenant;
