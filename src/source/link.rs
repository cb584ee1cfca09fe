//! The state of the connection to the database, with its backoff.

/// The first wait after a failure, in milliseconds; it doubles up to [`MAX_WAIT`].
const MIN_WAIT: u64 = 250;
/// The longest wait between two attempts, in milliseconds: a lost feed is back within five seconds.
const MAX_WAIT: u64 = 4_000;
/// How long connecting may take, in milliseconds.
const PATIENCE: u64 = 5_000;
/// The error of tokio-postgres if the server declines TLS.
const NO_TLS: &str = "server does not support TLS";

/// The connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// There is none, and none is being made; after failures, until the backoff ends.
    Closed {
        /// Why the last attempt failed.
        problem: Option<Problem>,
        /// Failed attempts in a row.
        attempts: u32,
        /// When the next attempt starts, in Unix milliseconds.
        until: u64,
    },
    /// It is being established.
    Connecting {
        /// Failed attempts in a row before this one.
        attempts: u32,
        /// When the attempt times out, in Unix milliseconds.
        until: u64,
    },
    /// It is established.
    Up {
        /// Failed attempts before it; reset by the first answered query.
        attempts: u32,
        /// Whether notifications arrive on it.
        listens: bool,
    },
}

/// Why there is no connection, or why a query failed. The database's own message goes to the log only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The variable or binding that the configuration names is missing.
    NoConnection,
    /// The URL is not a PostgreSQL URL.
    MalformedUrl,
    /// The URL asks for an unencrypted connection to another machine.
    InsecureUrl,
    /// The URL requires channel binding, which the runtime's sockets do not support.
    NoChannelBinding,
    /// The server does not answer in time.
    Unreachable,
    /// The server has no TLS, which the URL requires.
    NoTls,
    /// The TLS handshake failed: the certificate is not from a public authority, not for this host, or expired.
    TlsFailed,
    /// The user is unknown, or the password is wrong.
    WrongPassword,
    /// The server has no such database.
    UnknownDatabase,
    /// The SQL is not installed, or is of another version.
    NotInstalled,
    /// The role lacks a privilege that the reader needs.
    MissingPrivilege,
    /// The answer is malformed.
    NotUnderstood,
    /// The server rejected the query.
    QueryFailed,
}

impl Problem {
    /// The name in answers and logs.
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

    /// The problem for an SQLSTATE (PostgreSQL documentation, Appendix A).
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

    /// The problem for a failed connection without an SQLSTATE. The runtime reports what is wrong with a certificate to
    /// its own log only, so all that is known is whether TLS had begun.
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
    /// The name of the state.
    pub fn word(&self) -> &'static str {
        match self {
            LinkState::Closed { problem: None, .. } => "closed",
            LinkState::Closed { .. } => "waiting",
            LinkState::Connecting { .. } => "connecting",
            LinkState::Up { listens: true, .. } => "listening",
            LinkState::Up { .. } => "polling",
        }
    }

    /// Why the last attempt failed, during the backoff.
    pub fn problem(&self) -> Option<Problem> {
        self.waits()
    }

    /// Failed attempts in a row.
    pub fn attempts(&self) -> u32 {
        match self {
            LinkState::Closed { attempts, .. }
            | LinkState::Connecting { attempts, .. }
            | LinkState::Up { attempts, .. } => *attempts,
        }
    }

    /// The reason for the current backoff, if there is one.
    pub fn waits(&self) -> Option<Problem> {
        match self {
            LinkState::Closed { problem, .. } => *problem,
            _ => None,
        }
    }

    /// Whether the connection is established.
    pub fn is_up(&self) -> bool {
        matches!(self, LinkState::Up { .. })
    }

    /// Whether notifications arrive on it.
    pub fn listens(&self) -> bool {
        matches!(self, LinkState::Up { listens: true, .. })
    }

    /// Whether an attempt may start.
    pub fn may_connect(&self, now: u64) -> bool {
        matches!(self, LinkState::Closed { until, .. } if *until <= now)
    }

    /// Starts an attempt.
    pub fn connect(&mut self, now: u64) {
        *self = LinkState::Connecting { attempts: self.attempts(), until: now.saturating_add(PATIENCE) };
    }

    /// The connection is established.
    pub fn connected(&mut self, listens: bool) {
        *self = LinkState::Up { attempts: self.attempts(), listens };
    }

    /// A query was answered: earlier failures are forgotten.
    pub fn proven(&mut self) {
        if let LinkState::Up { attempts, .. } = self {
            *attempts = 0;
        }
    }

    /// The attempt or the connection failed: the backoff grows with every failure.
    pub fn fail(&mut self, now: u64, problem: Problem) {
        let attempts = self.attempts();
        let wait = MIN_WAIT.checked_shl(attempts.min(16)).unwrap_or(MAX_WAIT).min(MAX_WAIT);
        let attempts = attempts.saturating_add(1);
        *self = LinkState::Closed { problem: Some(problem), attempts, until: now.saturating_add(wait) };
    }

    /// Whether the attempt has timed out.
    pub fn is_overdue(&self, now: u64) -> bool {
        matches!(self, LinkState::Connecting { until, .. } if *until <= now)
    }

    /// The next deadline, in Unix milliseconds.
    pub fn deadline(&self) -> Option<u64> {
        match self {
            LinkState::Closed { problem: Some(_), until, .. } | LinkState::Connecting { until, .. } => Some(*until),
            _ => None,
        }
    }
}
