//! The inputs of a source.

use std::rc::Rc;

use super::link::Problem;
use super::statement::Statement;

/// A request that is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// One input.
#[derive(Clone, Debug)]
pub enum SourceInput {
    /// An organization reports its whole interest: the groups, and the tables that they subscribe to.
    Interest {
        /// Answered with the database's catalog of tables.
        request: RequestId,
        /// `{ organization, revision, groups }`
        body: String,
    },
    /// A request with a question to the database.
    Ask {
        /// Answered with the database's own text.
        request: RequestId,
        /// The statement.
        statement: Statement,
    },
    /// The database, or whoever changed it, notifies of changes.
    Knock,
    /// The connection is established.
    Connected {
        /// Whether notifications arrive on it, which they do not through a pool.
        listens: bool,
    },
    /// The connection failed, or was lost.
    Failed(Problem),
    /// A query was answered, or failed.
    Answered {
        /// Its number.
        query: u64,
        /// The text of the answer.
        answer: Result<String, Problem>,
    },
    /// An organization's object answered a part of a batch.
    Delivered {
        /// The organization.
        organization: Rc<str>,
        /// The batch.
        batch: u64,
        /// The HTTP status; 0 if the object is unreachable.
        status: u16,
    },
    /// The alarm has fired.
    Alarm,
    /// The timer has fired.
    Timer,
}

/// The stored state of a source.
#[derive(Clone, Debug, Default)]
pub struct StoredSource {
    /// The latest interest of each organization.
    pub interests: Vec<String>,
    /// Parts of acknowledged batches that are undelivered: organization, batch, body, oldest first.
    pub parked: Vec<(String, u64, String)>,
    /// When the outbox is drained next if nobody listens, in Unix milliseconds.
    pub drains_at: Option<u64>,
}
