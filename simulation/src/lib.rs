//! An organization on its own object and many relays, on a virtual clock and without sockets: the real engine, storage
//! and codecs, with a network between the objects that delays and loses requests. Clients connect, leave and recover;
//! objects sleep, crash and are deployed.
//!
//! Every client checks that it receives each publication of its room once and in order. The requests between objects
//! are counted; docs/scaling.md computes its prices from these counts.

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

/// The parameters of a simulation.
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
    /// The same seed gives the same run.
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { sockets: 1_000_000, relays: 64, steps: 200, interval: 200, seed: 1 }
    }
}

/// The result of a simulation.
#[derive(Clone, Debug)]
pub struct Report {
    /// The counts of each phase.
    pub phases: Vec<(&'static str, Counts)>,
    /// What clients found wrong.
    pub mistakes: Mistakes,
}

/// Runs a simulation; `tell` is called at the end of each phase.
pub fn simulate(plan: Plan, tell: impl FnMut(&str, &Counts)) -> Report {
    script::Script::new(plan).run(tell)
}
