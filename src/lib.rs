//! # realtime-worker
//!
//! Realtime for Cloudflare: one Rust-to-Wasm Worker in front of one Durable Object per organization (a **tenant**). An API
//! worker publishes a change after its commit; every client that may see it receives it, masked for its roles, in its own
//! wire format. Sockets hibernate, so idle connections cost nothing; history is stored, so a dropped connection loses
//! nothing.
//!
//! ```text
//!  POST /broadcast ──► server::publish ───► shell::broadcaster ────────────────────── one object per organization
//!  WebSocket ────────► server::handshake ─►   │  frame, request      ▲ frames, rows, alarm
//!                                             ▼                      │
//!                                      server::tenant_server ── dialect: frame ⇄ command, event ⇄ frame
//!                                         ▼                        ▲
//!                                      engine::tenant    stream ⇄ delivery (messages only)
//!                                         ▼                        ▲
//!                                      policy: who is it, what may they see?
//!
//!  PostgreSQL ◄─── shell::source ◄─► source: batches, judged by the database, to `/changes` of each organization's object
//! ```
//!
//! ## Glossary
//! A **socket** is one WebSocket; it speaks one dialect and carries one **session**, or one per channel: a **principal**
//! with its **subscriptions** (tables, topics) and presences. A **publication** is a row **change** or a **message** with
//! its **audience**; once accepted, it has an **offset**. A **view** is what one **class** of recipients sees of it:
//! filtered, projected, masked. A **frame** is a view encoded by a dialect.
//!
//! ## Invariants
//! 1. `value`, `policy`, `engine`, `dialect`, `source` and `server` have no I/O, no clock and no randomness: these are
//!    arguments. The runtime is a dependency of the Wasm build only, so the native build proves it.
//! 2. One input is handled completely, then its effects run in order, before the next input. No decision awaits anything.
//! 3. A dialect never decides; the engine never formats.
//! 4. Whatever must outlive memory is in an attachment or a row before the effects of that input end. There is one
//!    constructor, *wake*, for first start, hibernation, deploy and crash.
//! 5. A masked or unselected value enters no frame, log or error: it is dropped before encoding, in one place
//!    (`engine::delivery::rules`).
//! 6. A publication costs O(classes in scope + recipients), and classes with an equality filter, or of a group that a
//!    database has judged, are found by index: nothing walks all sockets, and nothing is parsed or encoded per recipient.
//! 7. No panic on any input, in any module: a panic hangs the caller and resets every object of the isolate.
//! 8. Stored formats carry a version.
//! 9. Nothing in the object prevents hibernation: no timer, no pending promise, one alarm for all deadlines.
//! 10. A secret is in no log, error, attachment or row.
//! 11. The error text of the runtime or storage (a fault) goes to the log only.
//! 12. Nothing is stored before the first accepted authentication or publication.
//!
//! Dependencies point one way: `shell` → `server` → `source` → `dialect` → `engine` → `policy` → `value` → `code`, never back
//! (`tests/architecture.rs`).

// In reading order.
pub mod code;
pub mod value;
pub mod policy;
pub mod engine;
pub mod dialect;
pub mod source;
pub mod server;
#[cfg(target_arch = "wasm32")]
mod shell;
