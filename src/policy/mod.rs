//! Who someone is and what they may see. Pure: no I/O, no clock, no randomness.

pub mod api_key;
pub mod channel;
pub mod claims;
pub mod configuration;
pub mod credential;
pub mod filter;
pub mod key_set;
pub mod limits;
pub mod mask;
pub mod masking;
pub mod principal;
pub mod roles;
pub mod secret;
pub mod table;
pub mod ticket;
pub mod token;
pub mod visibility;
