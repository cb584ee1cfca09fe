//! Publishing to realtime-worker from an API worker in Rust: the functions of the TypeScript package, under the same names.
//!
//! ```text
//! use realtime_worker_client::{Mask, MaskRule, Options, Realtime};
//!
//! // The binding `REALTIME`, else the address `REALTIME_URL`; and `ACCESS_TOKEN`.
//! let realtime = Realtime::new(&env)?;
//! realtime.insert("claims", &claim, "org_1", &Options::default()).await?;
//! realtime.update("claims", &new, Some(&old), "org_1", &Options::default()).await?;
//! realtime.delete("claims", &old, "org_1", &Options::default()).await?;
//! realtime.broadcast("task-assigned", &task, "org_1", &Options::to_user("u7")).await?;
//!
//! // Or written in the transaction of the row, and published after it.
//! let outbox = realtime.outbox(&database);
//! database.batch(vec![insert_claim, outbox.insert("claims", &claim, "org_1", &Options::default())?]).await?;
//! outbox.flush(&FlushOptions::of("org_1")).await?;
//! ```
//!
//! [`Message`], [`RealtimeError`] and [`Backoff`] are plain Rust and tested natively; `Realtime` and `Outbox`, which send, are
//! there on `wasm32` only.

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
