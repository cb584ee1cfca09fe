#![doc = include_str!("../README.md")]

mod message;
mod error;
mod backoff;
mod outbox;
#[cfg(target_arch = "wasm32")]
mod publishing;
#[cfg(target_arch = "wasm32")]
mod realtime;
#[cfg(target_arch = "wasm32")]
mod d1;

pub use backoff::Backoff;
#[cfg(target_arch = "wasm32")]
pub use d1::Outbox;
pub use error::{RealtimeError, Receipt, read_answer};
pub use message::{Encoding, Mask, MaskRule, Message, Options, Show, batch_body};
pub use outbox::{FlushOptions, FlushReport, OUTBOX_TABLE, is_guilty, is_refusal, is_theirs, stored_body};
#[cfg(target_arch = "wasm32")]
pub use realtime::Realtime;
