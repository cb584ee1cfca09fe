//! What happens to a source.

use std::rc::Rc;

use super::link::Problem;
use super::statement::Statement;

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// One thing that has happened.
#[derive(Clone, Debug)]
pub enum SourceInput {
    /// An organization says who listens there: all of it.
    Interest {
        /// Answered with what the database says of the tables.
        request: RequestId,
        /// `{ organization, revision, groups }`
        body: String,
    },
    /// Somebody asks the database something.
    Ask {
        /// Answered with the database's own words.
        request: RequestId,
        /// What.
        statement: Statement,
    },
    /// The database, or somebody else who knows, says that there are changes.
    Knock,
    /// The connection stands.
    Connected {
        /// Whether the database knocks on it: not so through a pool.
        listens: bool,
    },
    /// The connection could not be made, or is gone.
    Failed(Problem),
    /// A query has been answered, or has failed.
    Answered {
        /// Which.
        query: u64,
        /// The text that it gave.
        answer: Result<String, Problem>,
    },
    /// An organization's object has answered to a part of a batch.
    Delivered {
        /// Which organization.
        organization: Rc<str>,
        /// Which batch.
        batch: u64,
        /// Its HTTP status; 0 where it could not be reached.
        status: u16,
    },
    /// The alarm has rung.
    Alarm,
    /// The timer has run out.
    Timer,
}

/// What a source has stored.
#[derive(Clone, Debug, Default)]
pub struct StoredSource {
    /// The last word of each organization.
    pub interests: Vec<String>,
    /// Parts of batches that the database has been told are taken: organization, batch, body, oldest first.
    pub parked: Vec<(String, u64, String)>,
    /// When the database is to be emptied next if nobody listens, in Unix milliseconds.
    pub drains_at: Option<u64>,
}
