//! The queries that wait for the connection, and the one that is being answered.

use std::collections::VecDeque;
use std::rc::Rc;

use super::input::RequestId;
use super::statement::Statement;

/// How long the database may take for one answer, in milliseconds: its own time-outs are shorter.
const PATIENCE: u64 = 10_000;

/// Queries, in the order in which they are sent.
#[derive(Default)]
pub(super) struct Queries {
    waiting: VecDeque<(Purpose, Statement)>,
    sent: Option<Sent>,
    last: u64,
    /// Whether the last one was a `take`: between two questions a batch is taken, so that many who come back do not stop
    /// the feed.
    was_take: bool,
}

struct Sent {
    query: u64,
    purpose: Purpose,
    time: u64,
}

/// Why a query is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// An organization says who listens; nobody waits where a connection has just been made again.
    Register { organization: Rc<str>, request: Option<RequestId> },
    /// Somebody waits for the answer itself.
    Ask(RequestId),
    /// The database's captured tables follow its publication again.
    Sync,
    /// The next batch is wanted.
    Take,
}

impl Purpose {
    /// Who waits.
    pub(super) fn request(&self) -> Option<RequestId> {
        match self {
            Purpose::Register { request, .. } => *request,
            Purpose::Ask(request) => Some(*request),
            Purpose::Sync | Purpose::Take => None,
        }
    }
}

impl Queries {
    /// Lets an organization say who listens.
    pub(super) fn register(&mut self, organization: Rc<str>, request: Option<RequestId>, body: String) {
        self.waiting.push_back((Purpose::Register { organization, request }, Statement::Register(body)));
    }

    /// Lets somebody ask.
    pub(super) fn ask(&mut self, request: RequestId, statement: Statement) {
        self.waiting.push_back((Purpose::Ask(request), statement));
    }

    /// Lets the captured tables follow the publication, before anything else.
    pub(super) fn sync(&mut self) {
        self.waiting.push_front((Purpose::Sync, Statement::Sync));
    }

    /// Whether what an organization said waits to be sent.
    pub(super) fn registers(&self, organization: &str) -> bool {
        let of = |purpose: &Purpose| matches!(purpose, Purpose::Register { organization: known, .. } if **known == *organization);
        self.waiting.iter().any(|(purpose, _)| of(purpose))
    }

    /// Whether nothing waits and nothing is being answered that somebody waits for.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sent.as_ref().is_none_or(|sent| sent.purpose == Purpose::Take)
    }

    /// The next query to send, `take` where nothing else may be sent; none while one is being answered. An organization of
    /// which `is_behind` holds is told nothing yet: what it takes after the answer must have been judged for whom it named.
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

    /// Takes in an answer: what it is to, and when that was sent. `None` for one that is waited for no more.
    pub(super) fn answered(&mut self, query: u64) -> Option<(Purpose, u64)> {
        let sent = self.sent.take_if(|sent| sent.query == query)?;
        Some((sent.purpose, sent.time))
    }

    /// Whether one is being answered.
    pub(super) fn is_busy(&self) -> bool {
        self.sent.is_some()
    }

    /// Gives everything up; those who wait are handed back.
    pub(super) fn abandon(&mut self) -> Vec<RequestId> {
        let sent = self.sent.take().map(|sent| sent.purpose);
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|(purpose, _)| purpose);
        sent.into_iter().chain(waiting).filter_map(|purpose| purpose.request()).collect()
    }

    /// Whether an answer takes too long.
    pub(super) fn is_overdue(&self, now: u64) -> bool {
        self.deadline().is_some_and(|time| time <= now)
    }

    /// When an answer has taken too long, in Unix milliseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.sent.as_ref().map(|sent| sent.time.saturating_add(PATIENCE))
    }
}
