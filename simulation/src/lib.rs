//! An organization over its own object and many relays, on a virtual clock and without sockets: the real engine, storage
//! and codecs, with a network between the objects that delays and loses requests. Clients come, go and recover; objects
//! sleep, crash and are deployed anew.
//!
//! Every client checks that it gets each publication of its place once and in order. What the objects ask each other is
//! counted: docs/scaling.md computes its prices from these counts.

mod clients;
mod counts;
mod event;
mod identity;
mod object;
mod people;
mod random;
mod script;
#[path = "../../tests/rig/storage.rs"]
#[allow(dead_code, missing_docs, reason = "it is shared with the Rust tests, which use all of it")]
mod storage;
mod world;

pub use counts::{Counts, Mistakes};

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Clients, each with one socket.
    pub sockets: usize,
    /// Relays beside the organization's own object.
    pub relays: u32,
    /// Publications of each phase.
    pub steps: usize,
    /// Milliseconds between two publications.
    pub interval: u64,
    /// The same one gives the same run.
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { sockets: 1_000_000, relays: 64, steps: 200, interval: 200, seed: 1 }
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was counted in each phase.
    pub phases: Vec<(&'static str, Counts)>,
    /// What clients found wrong.
    pub mistakes: Mistakes,
}

/// Runs a simulation; `tell` hears of each phase as it ends.
pub fn simulate(plan: Plan, tell: impl FnMut(&str, &Counts)) -> Report {
    script::Script::new(plan).run(tell)
}
