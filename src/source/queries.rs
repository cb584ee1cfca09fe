//! The queue of queries, and the one that is being answered.

use std::collections::VecDeque;
use std::rc::Rc;

use super::input::RequestId;
use super::statement::Statement;

/// How long the database may take for an answer, in milliseconds: its own timeouts are shorter.
const PATIENCE: u64 = 10_000;

/// Queries, in the order of sending.
#[derive(Default)]
pub(super) struct Queries {
    waiting: VecDeque<(Purpose, Statement)>,
    sent: Option<Sent>,
    last: u64,
    /// Whether the last one was a `take`. Takes alternate with questions, so that many returning clients do not stop
    /// the feed.
    was_take: bool,
}

struct Sent {
    query: u64,
    purpose: Purpose,
    time: u64,
}

/// The purpose of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Register an organization's interest; after a reconnect without a request.
    Register { organization: Rc<str>, request: Option<RequestId> },
    /// Answer a request.
    Ask(RequestId),
    /// Synchronize the captured tables with the publication.
    Sync,
    /// Take the next batch.
    Take,
}

impl Purpose {
    /// The request that waits for the answer.
    pub(super) fn request(&self) -> Option<RequestId> {
        match self {
            Purpose::Register { request, .. } => *request,
            Purpose::Ask(request) => Some(*request),
            Purpose::Sync | Purpose::Take => None,
        }
    }
}

impl Queries {
    /// Queues an organization's interest.
    pub(super) fn register(&mut self, organization: Rc<str>, request: Option<RequestId>, body: String) {
        self.waiting.push_back((Purpose::Register { organization, request }, Statement::Register(body)));
    }

    /// Queues a question.
    pub(super) fn ask(&mut self, request: RequestId, statement: Statement) {
        self.waiting.push_back((Purpose::Ask(request), statement));
    }

    /// Queues a synchronization before everything else.
    pub(super) fn sync(&mut self) {
        self.waiting.push_front((Purpose::Sync, Statement::Sync));
    }

    /// Whether an organization's interest is queued.
    pub(super) fn registers(&self, organization: &str) -> bool {
        let of = |purpose: &Purpose| matches!(purpose, Purpose::Register { organization: known, .. } if **known == *organization);
        self.waiting.iter().any(|(purpose, _)| of(purpose))
    }

    /// Whether nothing is queued or being answered that someone waits for.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sent.as_ref().is_none_or(|sent| sent.purpose == Purpose::Take)
    }

    /// The next query to send, `take` if there is no other; none while one is being answered. An interest is held back
    /// while `is_behind` is true of its organization: batches that it takes after the answer must have been judged for
    /// the groups that it named.
    pub(super) fn next(
        &mut self,
        now: u64,
        take: Option<Statement>,
        is_behind: impl Fn(&str) -> bool,
    ) -> Option<(u64, Statement)> {
        if self.sent.is_some() {
            return None;
        }
        let may_go = |(purpose, _): &(Purpose, Statement)| match purpose {
            Purpose::Register { organization, request: Some(_) } => !is_behind(organization),
            _ => true,
        };
        let ready = self.waiting.iter().position(may_go);
        let is_question = |place: &usize| matches!(self.waiting.get(*place), Some((Purpose::Ask(_), _)));
        let takes_first = take.is_some() && !self.was_take;
        let ready = ready.filter(|place| !(takes_first && is_question(place)));
        let ready = ready.and_then(|place| self.waiting.remove(place));
        let (purpose, statement) = ready.or_else(|| take.map(|take| (Purpose::Take, take)))?;
        self.last += 1;
        self.was_take = purpose == Purpose::Take;
        self.sent = Some(Sent { query: self.last, purpose, time: now });
        Some((self.last, statement))
    }

    /// Handles an answer: returns its purpose, and when the query was sent. `None` if the query was given up.
    pub(super) fn answered(&mut self, query: u64) -> Option<(Purpose, u64)> {
        let sent = self.sent.take_if(|sent| sent.query == query)?;
        Some((sent.purpose, sent.time))
    }

    /// Whether a query is being answered.
    pub(super) fn is_busy(&self) -> bool {
        self.sent.is_some()
    }

    /// Gives up all queries and returns the requests that waited.
    pub(super) fn abandon(&mut self) -> Vec<RequestId> {
        let sent = self.sent.take().map(|sent| sent.purpose);
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|(purpose, _)| purpose);
        sent.into_iter().chain(waiting).filter_map(|purpose| purpose.request()).collect()
    }

    /// Whether an answer is overdue.
    pub(super) fn is_overdue(&self, now: u64) -> bool {
        self.deadline().is_some_and(|time| time <= now)
    }

    /// When the current query times out, in Unix milliseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.sent.as_ref().map(|sent| sent.time.saturating_add(PATIENCE))
    }
}
