//! What a source wants done, in the order in which it is to be done.

use std::rc::Rc;

use super::input::RequestId;
use super::statement::Statement;

/// One thing to do for whoever runs the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceTask {
    /// Connect to the database; answered with `Connected` or `Failed`.
    Connect,
    /// End the connection, where there is one.
    Disconnect,
    /// Send a query; answered with `Answered`.
    Query {
        /// Its number.
        query: u64,
        /// What.
        statement: Statement,
    },
    /// `POST /changes` to an organization's object; answered with `Delivered`.
    Deliver {
        /// Which organization.
        organization: Rc<str>,
        /// Which batch.
        batch: u64,
        /// The body.
        body: Rc<str>,
    },
    /// `POST /feed` to an organization's object.
    Feed {
        /// Which organization.
        organization: Rc<str>,
        /// The body.
        body: String,
    },
    /// Answer a request.
    Reply {
        /// Which.
        request: RequestId,
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// Store an organization's last word, in place of the one before.
    StoreInterest {
        /// Which organization.
        organization: Rc<str>,
        /// What it said.
        body: String,
    },
    /// Store a part of a batch until its organization takes it.
    Park {
        /// Which organization.
        organization: Rc<str>,
        /// Which batch.
        batch: u64,
        /// The body.
        body: Rc<str>,
    },
    /// Forget a part that was stored.
    Unpark {
        /// Which organization.
        organization: Rc<str>,
        /// Which batch.
        batch: u64,
    },
    /// Store when the database is to be emptied next, in Unix milliseconds, in place of the time before.
    StoreDrain(u64),
    /// Call again at this time, in Unix milliseconds, in place of any other, also after a crash.
    SetAlarm(u64),
    /// Call again after this time, in place of any other.
    Timer {
        /// How long.
        milliseconds: u64,
    },
    /// Write one line of log.
    Log {
        /// What has happened.
        event: &'static str,
        /// More about it: fixed words, names and numbers.
        details: Vec<(&'static str, String)>,
    },
}
