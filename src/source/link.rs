//! How it stands with the connection to the database.

/// First wait after a failure, in milliseconds; it doubles up to [`MAX_WAIT`].
const MIN_WAIT: u64 = 250;
/// Longest wait between two attempts, in milliseconds: a feed that was lost is back within five seconds.
const MAX_WAIT: u64 = 4_000;
/// How long connecting may take, in milliseconds.
const PATIENCE: u64 = 5_000;
/// What tokio-postgres says where the server answers its request for TLS with no.
const NO_TLS: &str = "server does not support TLS";

/// The connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// There is none, and none is being made. After failures, for some time.
    Closed {
        /// Why the last attempt failed.
        problem: Option<Problem>,
        /// Attempts that failed in a row.
        attempts: u32,
        /// When the next one is made, in Unix milliseconds.
        until: u64,
    },
    /// It is being made.
    Connecting {
        /// Attempts that failed before, in a row.
        attempts: u32,
        /// When it is given up, in Unix milliseconds.
        until: u64,
    },
    /// It stands.
    Up {
        /// Attempts that failed before: forgotten once a query has been answered.
        attempts: u32,
        /// Whether the database knocks on it.
        listens: bool,
    },
}

/// Why there is no connection, or why a query failed. What the database says itself is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The variable or binding that the configuration names is missing.
    NoConnection,
    /// It is no URL of a PostgreSQL database.
    MalformedUrl,
    /// It asks for a connection without TLS to another machine.
    InsecureUrl,
    /// Its URL demands channel binding, which the runtime's sockets do not have.
    NoChannelBinding,
    /// Nothing answers there in time.
    Unreachable,
    /// The server has no TLS, which the URL demands.
    NoTls,
    /// The server speaks TLS, and no connection came of it: its certificate is not by a public authority, not for this host,
    /// or has expired.
    TlsFailed,
    /// The server does not know the user, or the password is wrong.
    WrongPassword,
    /// The server has no such database.
    UnknownDatabase,
    /// The SQL is not installed, or is of another version.
    NotInstalled,
    /// The user may not do what a reader must.
    MissingPrivilege,
    /// The answer makes no sense.
    NotUnderstood,
    /// The server refused the query.
    QueryFailed,
}

impl Problem {
    /// Its word, in answers and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Problem::NoConnection => "connection_missing",
            Problem::MalformedUrl => "malformed_url",
            Problem::InsecureUrl => "insecure_url",
            Problem::NoChannelBinding => "channel_binding_unsupported",
            Problem::Unreachable => "unreachable",
            Problem::NoTls => "tls_refused",
            Problem::TlsFailed => "tls_failed",
            Problem::WrongPassword => "wrong_password",
            Problem::UnknownDatabase => "unknown_database",
            Problem::NotInstalled => "not_installed",
            Problem::MissingPrivilege => "missing_privilege",
            Problem::NotUnderstood => "not_understood",
            Problem::QueryFailed => "query_failed",
        }
    }

    /// What an error code of PostgreSQL means here (docs of PostgreSQL, Appendix A).
    pub fn of_sqlstate(code: &str) -> Problem {
        match code {
            "28P01" | "28000" => Problem::WrongPassword,
            "3D000" => Problem::UnknownDatabase,
            "42883" | "3F000" | "42P01" => Problem::NotInstalled,
            "42501" => Problem::MissingPrivilege,
            code if code.starts_with("08") || code.starts_with("57P") || code.starts_with("53") => Problem::Unreachable,
            _ => Problem::QueryFailed,
        }
    }

    /// What a failure to connect means for which there is no code. The runtime tells its own log alone what it has against a
    /// certificate, so all that is known is whether TLS had begun.
    pub fn of_transport(words: &str, has_begun_tls: bool) -> Problem {
        if words.contains(NO_TLS) {
            Problem::NoTls
        } else if has_begun_tls {
            Problem::TlsFailed
        } else {
            Problem::Unreachable
        }
    }
}

impl Default for LinkState {
    fn default() -> LinkState {
        LinkState::Closed { problem: None, attempts: 0, until: 0 }
    }
}

impl LinkState {
    /// A word for how it stands.
    pub fn word(&self) -> &'static str {
        match self {
            LinkState::Closed { problem: None, .. } => "closed",
            LinkState::Closed { .. } => "waiting",
            LinkState::Connecting { .. } => "connecting",
            LinkState::Up { listens: true, .. } => "listening",
            LinkState::Up { .. } => "polling",
        }
    }

    /// Why the last attempt failed, while the next one is being waited for.
    pub fn problem(&self) -> Option<Problem> {
        self.waits()
    }

    /// Attempts that failed in a row.
    pub fn attempts(&self) -> u32 {
        match self {
            LinkState::Closed { attempts, .. }
            | LinkState::Connecting { attempts, .. }
            | LinkState::Up { attempts, .. } => *attempts,
        }
    }

    /// Why it is waited for the next attempt, where that is so.
    pub fn waits(&self) -> Option<Problem> {
        match self {
            LinkState::Closed { problem, .. } => *problem,
            _ => None,
        }
    }

    /// Whether it stands.
    pub fn is_up(&self) -> bool {
        matches!(self, LinkState::Up { .. })
    }

    /// Whether the database knocks on it.
    pub fn listens(&self) -> bool {
        matches!(self, LinkState::Up { listens: true, .. })
    }

    /// Whether an attempt may begin.
    pub fn may_connect(&self, now: u64) -> bool {
        matches!(self, LinkState::Closed { until, .. } if *until <= now)
    }

    /// Begins an attempt.
    pub fn connect(&mut self, now: u64) {
        *self = LinkState::Connecting { attempts: self.attempts(), until: now.saturating_add(PATIENCE) };
    }

    /// It stands.
    pub fn connected(&mut self, listens: bool) {
        *self = LinkState::Up { attempts: self.attempts(), listens };
    }

    /// A query has been answered: what failed before is forgotten.
    pub fn proven(&mut self) {
        if let LinkState::Up { attempts, .. } = self {
            *attempts = 0;
        }
    }

    /// It failed: the next attempt comes later the more have failed.
    pub fn fail(&mut self, now: u64, problem: Problem) {
        let attempts = self.attempts();
        let wait = MIN_WAIT.checked_shl(attempts.min(16)).unwrap_or(MAX_WAIT).min(MAX_WAIT);
        let attempts = attempts.saturating_add(1);
        *self = LinkState::Closed { problem: Some(problem), attempts, until: now.saturating_add(wait) };
    }

    /// Whether connecting takes too long.
    pub fn is_overdue(&self, now: u64) -> bool {
        matches!(self, LinkState::Connecting { until, .. } if *until <= now)
    }

    /// When something is due, in Unix milliseconds.
    pub fn deadline(&self) -> Option<u64> {
        match self {
            LinkState::Closed { problem: Some(_), until, .. } | LinkState::Connecting { until, .. } => Some(*until),
            _ => None,
        }
    }
}
