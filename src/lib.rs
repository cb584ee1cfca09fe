//! # realtime-worker
//!
//! Realtime for Cloudflare: one Rust-to-Wasm Worker in front of one Durable Object per organization (a **tenant**). An API
//! worker publishes a change after its commit; every browser that may see it gets it, masked for its role, in the wire
//! format that it speaks. Sockets hibernate, so idle costs nothing; history survives, so a dropped connection loses nothing.
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
//! ## The words
//! A **socket** is one WebSocket; it speaks one dialect and carries one **session**, or one per channel: a **principal**
//! with its **subscriptions** (tables, topics) and presences. A
//! **publication** is a row **change** or a **message** with its **audience**; accepted, it has an **offset**. A **view** is
//! what one **class** of recipients sees of it: filtered, projected, masked. A **frame** is a view in a dialect's bytes.
//!
//! ## What always holds
//! 1. `value`, `policy`, `engine`, `dialect`, `source` and `server` do no I/O, read no clock, make no randomness: these are arguments.
//!    The runtime is a dependency of the Wasm build only, so the native build proves it.
//! 2. One input is handled whole, then its effects run in order, before the next input. No await inside a decision.
//! 3. A dialect never decides; the engine never formats.
//! 4. Whatever must outlive memory is in an attachment or a row before the effects of that input end. There is one
//!    constructor, *wake*, for first start, hibernation, deploy and crash.
//! 5. A masked or unselected value enters no frame, log or error: it is dropped before encoding, in one place
//!    (`engine::delivery::rules`).
//! 6. A publication costs O(classes in scope + recipients), and a class behind an equality filter, or of a group that
//!    a database has judged, is found by index: nothing walks all sockets, nothing per recipient parses or encodes.
//! 7. No panic on any input, in any module: a panic hangs the caller and resets every object of the isolate.
//! 8. Stored formats carry a version.
//! 9. Nothing in the object prevents hibernation: no timer, no pending promise, one alarm for all deadlines.
//! 10. A secret is in no log, error, attachment or row.
//! 11. What runtime or storage say of a failure (a fault) goes to the log and to nobody else.
//! 12. Nothing is stored before someone has proven who they are.
//!
//! Names point one way: `shell` → `server` → `source` → `dialect` → `engine` → `policy` → `value` → `code`, never back
//! (`tests/architecture.rs`).

// In the order in which they are best read.
pub mod code;
pub mod value;
pub mod policy;
pub mod engine;
pub mod dialect;
pub mod source;
pub mod server;
#[cfg(target_arch = "wasm32")]
mod shell;
