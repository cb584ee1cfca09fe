//! Realtime for Cloudflare: one Rust-to-Wasm Worker, one hibernating Durable Object per organization.
pub mod code;
pub mod policy;
pub mod value;
