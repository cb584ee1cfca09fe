//! The stream half of a tenant: the order of its publications, their retention, and presence.

mod changes;
mod history;
mod place;
mod presence;
mod publish;
mod recent;

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use super::bucket::Bucket;
use super::command::Position;
use super::database::catalog::Catalog;
use super::effect::{Task, Write};
use super::input::{HistoryRead, PresenceRow, Stored};
use super::message::{Accepted, From, Missed, Out, Read, ToDelivery, ToStream};
use crate::policy::configuration::Configuration;
use crate::policy::database::Database;
use changes::Mark;
use history::{Begun, History, RecoveryRequest};
pub use place::{GAP as GAP_PLACE, ORGANIZATION as ORGANIZATION_PLACES};
use presence::Presence;
use publish::{ClientMessage, Request};

/// One tenant's stream.
pub(super) struct Stream {
    configuration: Rc<Configuration>,
    epoch: Rc<str>,
    /// Whether the epoch is stored, which happens with the first proven identity (invariant 12).
    has_begun: bool,
    history: History,
    presence: Presence,
    rate: Bucket,
    request: Option<Request>,
    /// The connection whose history is being read, and those that recover after it; the stream reads for one at a time.
    reading: Option<RecoveryRequest>,
    resuming: VecDeque<RecoveryRequest>,
    /// Client messages whose idempotency keys must be looked up, one at a time.
    recalling: VecDeque<ClientMessage>,
    /// The database that sends changes.
    database: Option<Rc<Database>>,
    /// The last batch that was applied.
    mark: Option<Mark>,
    catalog: Option<Rc<Catalog>>,
    /// Changes that could not be represented since the object was constructed.
    pub(super) lost: u64,
    /// Groups for which the database failed to give a verdict, since then.
    pub(super) failed: u64,
    /// Publications accepted since the object was constructed.
    pub(super) publications: u64,
    /// Frames handed to sockets since then.
    pub(super) deliveries: u64,
}

impl Stream {
    /// Restores the stream from the storage; a new one starts with `epoch`.
    pub(super) fn wake(
        now: u64,
        (configuration, organization): (Rc<Configuration>, &str),
        epoch: String,
        stored: &Stored,
    ) -> Stream {
        Stream {
            database: configuration.databases().of(organization),
            mark: Mark::read(stored),
            catalog: None,
            lost: 0,
            failed: 0,
            has_begun: stored.epoch.is_some(),
            epoch: Rc::from(stored.epoch.as_deref().unwrap_or(&epoch)),
            rate: Bucket::full(configuration.limits.publications_per_second, now),
            history: History::wake(configuration.history.clone(), stored.newest, stored.oldest),
            presence: Presence::wake(&configuration.limits, &stored.presence),
            configuration,
            request: None,
            reading: None,
            resuming: VecDeque::new(),
            recalling: VecDeque::new(),
            publications: 0,
            deliveries: 0,
        }
    }

    /// Stores the database's catalog of tables.
    pub(super) fn learn(&mut self, catalog: Option<Rc<Catalog>>) {
        self.catalog = catalog;
    }

    /// Stores the epoch with the first accepted authentication or publication.
    pub(super) fn begin(&mut self, out: &mut Out) {
        if !std::mem::replace(&mut self.has_begun, true) {
            out.run(Task::Write(Write::Epoch(self.epoch.to_string())));
        }
    }

    /// Whether anything is stored.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Handles a message of the delivery.
    pub(super) fn receive(&mut self, now: u64, message: ToStream, out: &mut Out) {
        match message {
            ToStream::Begin => self.begin(out),
            ToStream::Publish { publication, keep, origin } => {
                self.publish_for_client(now, ClientMessage { publication, keep, origin }, out);
            }
            ToStream::Delivered { frames } => self.delivered(now, frames, out),
            ToStream::Resume { session, from, then } => {
                self.begin(out);
                self.resuming.push_back(RecoveryRequest { session, from, then });
                self.read_next(out);
            }
            ToStream::Track(tracking) => self.presence.track(tracking, out),
            ToStream::Update { session, topic, client_id, metadata } => {
                self.presence.update(session, topic, &client_id, metadata, out);
            }
            ToStream::Untrack { session, topic, client_id, key } => {
                self.presence.untrack(session, topic, (&client_id, key.as_deref()), out);
            }
            ToStream::Roster { session, topic } => self.presence.tell(session, Some(topic), out),
            ToStream::Gather { topic, change, only } => self.presence.gather(topic, change, only, out),
            ToStream::Gone { client_id } => self.presence.gone(&client_id, out),
        }
    }

    /// Lets waiting connections recover, up to the first one that needs the storage. Only one may read, because the
    /// answer does not name its recipient.
    fn read_next(&mut self, out: &mut Out) {
        while self.reading.is_none()
            && let Some(reading) = self.resuming.pop_front()
        {
            match self.history.begin(&self.epoch, &reading) {
                Begun::Read(task) => {
                    out.run(task);
                    self.reading = Some(reading);
                }
                Begun::Known(missed) => self.resumed(reading, missed, out),
            }
        }
    }

    /// Handles the rows that [`Task::ReadHistory`] requested.
    pub(super) fn history_read(&mut self, HistoryRead { rows, scanned }: HistoryRead, out: &mut Out) {
        let Some(reading) = self.reading.take() else { return };
        let read = Read::of(rows.as_deref().unwrap_or_default(), scanned);
        let missed = rows.and_then(|rows| self.history.told(&reading.from, rows));
        self.resumed(reading, (missed, read), out);
        self.read_next(out);
    }

    /// Removes the members of closed sockets and informs the listeners.
    pub(super) fn let_leave(&mut self, rows: &[PresenceRow], out: &mut Out) {
        self.presence.take_in(rows);
        let gone: BTreeSet<&str> = rows.iter().map(|row| row.client_id.as_str()).collect();
        gone.into_iter().for_each(|client_id| self.presence.gone(&Rc::from(client_id), out));
    }

    /// Whether a history read is pending.
    pub(super) fn is_reading(&self) -> bool {
        self.reading.is_some() || !self.recalling.is_empty()
    }

    /// Reports to the delivery the stream's position, with what a connection missed if it asked.
    fn resumed(&self, reading: RecoveryRequest, (missed, read): (Option<Vec<Accepted>>, Read), out: &mut Out) {
        let nothing_missed =
            matches!(&reading.from, From::Position(from, _) | From::All(from) if *from == self.position());
        let asked = !matches!(reading.from, From::Now);
        let missed = asked.then(|| match missed {
            Some(publications) => Missed::Everything(publications),
            None if nothing_missed => Missed::Everything(Vec::new()),
            None => Missed::TooMuch,
        });
        let message = ToDelivery::Resumed {
            session: reading.session,
            position: self.position(),
            missed,
            read,
            then: reading.then,
        };
        out.to_delivery.push_back(message);
    }

    /// Does what is due; `now` in Unix milliseconds.
    pub(super) fn housekeep(&mut self, now: u64, out: &mut Out) {
        self.history.housekeep(now, out);
    }

    /// The next deadline, in Unix milliseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.history.deadline()
    }

    /// The stream's position.
    pub(super) fn position(&self) -> Position {
        Position { epoch: self.epoch.to_string(), offset: self.history.offset() }
    }

    /// Everyone present.
    pub(super) fn presence(&self) -> &Presence {
        &self.presence
    }
}
