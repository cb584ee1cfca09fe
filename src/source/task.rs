//! The tasks of a source, to be executed in order.

use std::rc::Rc;

use super::input::RequestId;
use super::statement::Statement;

/// One task for the runtime that hosts the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceTask {
    /// Connect to the database; answered with `Connected` or `Failed`.
    Connect,
    /// Close the connection, if there is one.
    Disconnect,
    /// Send a query; answered with `Answered`.
    Query {
        /// Its number.
        query: u64,
        /// The statement.
        statement: Statement,
    },
    /// `POST /changes` to an organization's object; answered with `Delivered`.
    Deliver {
        /// The organization.
        organization: Rc<str>,
        /// The batch.
        batch: u64,
        /// The body.
        body: Rc<str>,
    },
    /// `POST /feed` to an organization's object.
    Feed {
        /// The organization.
        organization: Rc<str>,
        /// The body.
        body: String,
    },
    /// Answer a request.
    Reply {
        /// Its number.
        request: RequestId,
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// Store an organization's interest, replacing the previous one.
    StoreInterest {
        /// The organization.
        organization: Rc<str>,
        /// The interest.
        body: String,
    },
    /// Store an undelivered part of a batch.
    Park {
        /// The organization.
        organization: Rc<str>,
        /// The batch.
        batch: u64,
        /// The body.
        body: Rc<str>,
    },
    /// Delete a stored part.
    Unpark {
        /// The organization.
        organization: Rc<str>,
        /// The batch.
        batch: u64,
    },
    /// Store when the outbox is drained next, in Unix milliseconds.
    StoreDrain(u64),
    /// Send `Alarm` at this time, in Unix milliseconds, even after a crash; replaces any other.
    SetAlarm(u64),
    /// Send `Timer` after this time; replaces any other.
    Timer {
        /// How long.
        milliseconds: u64,
    },
    /// Write one line to the log.
    Log {
        /// The event.
        event: &'static str,
        /// Details by name; fixed strings, names and numbers only.
        details: Vec<(&'static str, String)>,
    },
}
