//! Identity and access: who a caller is and what it may see. Pure: no I/O, no clock, no randomness.

// Identity.
pub mod organization;
pub mod roles;
pub mod principal;
pub mod relays;
pub mod claims;
pub mod secret;
pub mod signature;
pub mod shared_keys;
pub mod key_set;
pub mod token;
pub mod api_key;
pub mod attempts;
pub mod ticket;
pub mod stream_key;
pub mod credential;
// Access.
pub mod mask;
pub mod masking;
pub mod visibility;
pub mod filter;
pub mod channel;
pub mod table;
pub mod function;
pub mod app;
pub mod database;
pub mod topic_grant;
// The configuration of both.
pub mod limits;
pub mod section;
pub mod configuration;
pub mod connection;
