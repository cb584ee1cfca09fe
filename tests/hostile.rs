//! What one member, or a stranger, may cost the others: each attack runs on the virtual clock beside honest members.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "hostile/budgets.rs"]
mod budgets;
#[path = "hostile/connections.rs"]
mod connections;
#[path = "hostile/counting.rs"]
mod counting;
#[path = "hostile/filters.rs"]
mod filters;
#[path = "hostile/memory.rs"]
mod memory;
#[path = "hostile/presence.rs"]
mod presence;
#[path = "hostile/reading.rs"]
mod reading;
#[path = "hostile/rosters.rs"]
mod rosters;
#[path = "hostile/subscriptions.rs"]
mod subscriptions;
mod rig;
