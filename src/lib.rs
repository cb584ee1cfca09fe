//! Realtime for Cloudflare: one Rust-to-Wasm Worker, one hibernating Durable Object per organization.
pub mod code;
pub mod dialect;
pub mod engine;
pub mod policy;
pub mod server;
#[cfg(target_arch = "wasm32")]
mod shell;
pub mod value;
