//! The figures of a tenant, as administrators see them.

use super::input::DialectId;

/// Figures of one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Connections, authenticated or not.
    pub connections: u64,
    /// Of these, not authenticated yet.
    pub pending: u64,
    /// Connections by dialect variant.
    pub by_dialect: Vec<(DialectId, u64)>,
    /// Connections by role; one with several roles counts for each.
    pub by_role: Vec<(String, u64)>,
    /// Topics with at least one subscriber.
    pub topics: u64,
    /// Tables with at least one subscriber.
    pub tables: u64,
    /// Members present, over all topics.
    pub presence: u64,
    /// The stream's epoch.
    pub epoch: String,
    /// The stream's offset.
    pub offset: u64,
    /// Publications accepted since the object was constructed.
    pub publications: u64,
    /// Frames of publications handed to sockets since then.
    pub deliveries: u64,
    /// Connections closed since then because the client did not read.
    pub too_slow: u64,
    /// Attempts to connect that this object refused since then for their credential, or for those before.
    pub refused_attempts: u64,
    /// When the object was constructed, in Unix milliseconds.
    pub since: u64,
    /// What is known of the relays.
    pub relays: Vec<RelayFigures>,
    /// What relays have missed, if there may be any, including relays that have emptied since.
    pub missed_by_relays: Option<MissedByRelays>,
    /// Figures of the database, if there is one.
    pub database: Option<DatabaseFigures>,
}

/// What relays have missed since the tenant's object came to life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MissedByRelays {
    /// What was in no history; 1 each time that the amount is unknown.
    pub lost: u64,
    /// Publications that were read from the history.
    pub recovered: u64,
}

impl MissedByRelays {
    /// Adds what one relay has missed.
    pub fn add(&mut self, lost: u64, recovered: u64) {
        self.lost = self.lost.saturating_add(lost);
        self.recovered = self.recovered.saturating_add(recovered);
    }
}

/// What a tenant's object knows of a relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayFigures {
    /// Its number.
    pub number: u32,
    /// Connections, authenticated or not.
    pub connections: u64,
    /// Of these, those not authenticated yet.
    pub pending: u64,
    /// Frames of publications handed to sockets since the object came to life.
    pub deliveries: u64,
    /// What it missed since then that is in no history; 1 if the amount is unknown.
    pub lost: u64,
    /// Publications since then that it missed and read from the history.
    pub recovered: u64,
}

/// Figures of the database link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseFigures {
    /// The database.
    pub name: String,
    /// Whether its changes arrive.
    pub is_live: bool,
    /// Groups of principals that it judges for.
    pub groups: u64,
    /// Denials because a group had no verdict, since the object started.
    pub unjudged: u64,
    /// Verdicts that the database could not give, since then.
    pub failed: u64,
    /// Changes that could not be delivered, since then.
    pub lost: u64,
    /// Enabled tables without row-level security: every subscriber receives each of their rows.
    pub without_row_security: Vec<String>,
}
