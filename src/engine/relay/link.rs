//! The root's end of the link to one relay: messages are collected while the previous batch is being delivered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::flight::{BatchInFlight, QueuedMessage};
use super::form::{Down, DownAnswer, Report, Up, text};
use super::interest::InterestFilter;
use super::life::catches_up;
use super::postponed::Postponed;

/// The most messages that may wait for a relay; beyond this it has to start over.
const MAX_WAITING: usize = 10_000;
/// The most bytes of these: the root has 128 MB for all relays.
const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;
/// The most bytes of one batch: the relay reads it as one text.
const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// The first wait after a failed delivery, in milliseconds; it doubles each time.
const RETRY: u64 = 500;
/// The longest wait.
const MAX_RETRY: u64 = 30_000;

/// A session that will be counted once its answer is confirmed.
pub(super) struct Entering {
    /// The user; empty if there is none.
    pub(super) user: String,
    /// Whether it counts as a listener of the app.
    pub(super) listens: bool,
}

/// One relay as the root knows it.
#[derive(Default)]
pub(super) struct Link {
    /// Its life; `None` until the relay has reported it to this life of the root.
    pub(super) life: Option<String>,
    /// Its last request that was accepted.
    pub(super) taken: u64,
    waiting: VecDeque<QueuedMessage>,
    waiting_bytes: usize,
    waiting_unretained: usize,
    /// Bytes of the answers that wait or are being delivered. No other relay has them, unlike publications.
    answer_bytes: usize,
    flight: Option<BatchInFlight>,
    sent: u64,
    pub(super) interest: InterestFilter,
    /// Answers that are not confirmed: until then, the relay may have more interest than it has reported.
    unconfirmed: BTreeMap<u64, Option<Entering>>,
    granted: u64,
    postponed: Postponed,
    pub(super) sockets: u64,
    /// The number of sockets in the storage.
    pub(super) stored_sockets: Option<u64>,
    pub(super) pending: u64,
    pub(super) listeners: u64,
    /// Whether it can ask for what it missed, as far as it has reported or the storage tells.
    pub(super) catches_up: bool,
    pub(super) users: BTreeMap<String, u64>,
    /// Messages that it missed since the root was constructed, and cannot ask for.
    pub(super) lost: u64,
    /// Publications that it received from the history since then.
    pub(super) recovered: u64,
    /// Frames of publications that it sent to sockets since then.
    pub(super) frames: u64,
}

impl Link {
    /// A relay as stored.
    pub(super) fn stored(interest: InterestFilter, (sockets, listeners): (u64, u64), catches_up: bool) -> Link {
        Link { interest, sockets, listeners, catches_up, stored_sockets: Some(sockets), ..Link::default() }
    }

    /// A relay whose stored state is unreadable.
    pub(super) fn unknown() -> Link {
        let mut link = Link::default();
        link.begin_elsewhere();
        link
    }

    /// Tells the clients of a relay to reconnect.
    pub(super) fn begin_elsewhere(&mut self) {
        self.push_retained(Rc::from(text(&Down::Restart)));
    }

    /// Whether it gets every message, whatever its interest.
    pub(super) fn wants_everything(&self) -> bool {
        !self.unconfirmed.is_empty()
    }

    /// Authenticated sockets, including those about to be.
    pub(super) fn counted(&self) -> u64 {
        self.sockets + self.unconfirmed.values().flatten().count() as u64
    }

    /// Those of a user.
    pub(super) fn of_user(&self, user: &str) -> u64 {
        let entering = self.unconfirmed.values().flatten().filter(|entering| entering.user == user).count() as u64;
        self.users.get(user).copied().unwrap_or_default() + entering
    }

    /// Listeners of the app, including those about to be.
    pub(super) fn listeners(&self) -> u64 {
        self.listeners + self.unconfirmed.values().flatten().filter(|entering| entering.listens).count() as u64
    }

    /// Resets the link for another life of the relay.
    pub(super) fn begin(&mut self, life: &str) {
        self.life = Some(life.to_owned());
        let knew_how = std::mem::replace(&mut self.catches_up, catches_up(life));
        if knew_how != self.catches_up {
            // It is stored together with the number of sockets.
            self.stored_sockets = None;
        }
        self.taken = 0;
        self.unconfirmed.clear();
        self.postponed = Postponed::default();
        self.waiting.retain(|waiting| !waiting.is_answer);
        self.flight.iter_mut().for_each(|flight| flight.messages.retain(|message| !message.is_answer));
        let messages = self.flight.iter_mut().flat_map(|flight| &mut flight.messages).chain(&mut self.waiting);
        if !self.catches_up {
            messages.for_each(QueuedMessage::for_earlier_version);
        }
        self.waiting_bytes = self.waiting.iter().map(|waiting| waiting.text.len()).sum();
        self.waiting_unretained = self.waiting.iter().filter(|waiting| waiting.is_unretained).count();
        self.answer_bytes = 0;
    }

    /// Adds a message for many sessions that cannot be repeated; `false` if too much waits, and all of it is dropped.
    pub(super) fn push(&mut self, text: Rc<str>) -> bool {
        self.add(QueuedMessage { text, is_answer: false, answers: None, is_unretained: true })
    }

    /// Adds a message for many sessions that can be repeated, from the history or by the root.
    pub(super) fn push_retained(&mut self, text: Rc<str>) -> bool {
        self.add(QueuedMessage { text, is_answer: false, answers: None, is_unretained: false })
    }

    /// Adds a message for one session of the relay.
    pub(super) fn push_reply(&mut self, text: Rc<str>) -> bool {
        self.add(QueuedMessage { text, is_answer: true, answers: None, is_unretained: false })
    }

    /// Adds a message for many sessions that one of them asked for.
    pub(super) fn push_gathered(&mut self, text: Rc<str>) -> bool {
        self.add(QueuedMessage { text, is_answer: true, answers: None, is_unretained: true })
    }

    /// Adds the answer to a question; `enters`: the session that is counted with it.
    pub(super) fn push_answer(&mut self, text: Rc<str>, number: u64, enters: Option<Entering>) -> bool {
        self.unconfirmed.insert(number, enters);
        self.add(QueuedMessage { text, is_answer: true, answers: Some(number), is_unretained: false })
    }

    /// Adds a message that increases a session's interest before the relay reports that.
    pub(super) fn push_grant(&mut self, text: Rc<str>) -> bool {
        // Separate from the numbers of questions, which count up from 1.
        self.granted += 1;
        self.push_answer(text, u64::MAX - self.granted, None)
    }

    fn add(&mut self, waiting: QueuedMessage) -> bool {
        self.waiting_bytes += waiting.text.len();
        self.waiting_unretained += usize::from(waiting.is_unretained);
        self.answer_bytes += waiting.answer_bytes();
        self.waiting.push_back(waiting);
        let fits = self.waiting.len() <= MAX_WAITING && self.waiting_bytes <= MAX_WAITING_BYTES;
        if !fits {
            let dropped = std::mem::take(&mut self.waiting);
            self.waiting_bytes = 0;
            self.waiting_unretained = 0;
            self.answer_bytes =
                self.answer_bytes.saturating_sub(dropped.iter().map(QueuedMessage::answer_bytes).sum::<usize>());
            // Messages in flight still arrive, and may increase a session's interest before the relay reports that.
            let on_their_way: BTreeSet<u64> =
                self.flight.iter().flat_map(|flight| &flight.messages).filter_map(|message| message.answers).collect();
            self.unconfirmed.retain(|number, _| on_their_way.contains(number));
            self.fall_behind(dropped.iter().filter(|waiting| waiting.is_unretained).count() as u64);
        }
        fits
    }

    /// Messages were lost, `lost` of them beyond recovery. The relay asks for the retained ones, or its clients
    /// reconnect.
    pub(super) fn fall_behind(&mut self, lost: u64) {
        self.lost += lost;
        self.postponed = Postponed::default();
        let can_catch_up = lost == 0 && self.catches_up;
        let told = if can_catch_up { Down::Behind } else { Down::Restart };
        self.push_retained(Rc::from(text(&told)));
    }

    /// Whether a message in flight or waiting would be lost for good.
    pub(super) fn has_unretained(&self) -> bool {
        self.waiting_unretained > 0 || self.flight.as_ref().is_some_and(|flight| flight.has_unretained)
    }

    /// Bytes of the answers that wait or are being delivered.
    pub(super) fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    /// Postpones a message whose answer may be large while more waits than one batch takes, or while the relays together
    /// have enough; any other is returned.
    pub(super) fn postpone(&mut self, message: Up, is_enough: bool) -> Option<Up> {
        if is_enough || self.has_much() { self.postponed.add(message) } else { Some(message) }
    }

    /// The next postponed message that can be handled.
    pub(super) fn next_postponed(&mut self) -> Option<Up> {
        if self.has_much() { None } else { self.postponed.next() }
    }

    fn has_much(&self) -> bool {
        self.waiting_bytes > MAX_BATCH_BYTES
    }

    /// Whether nothing waits or is being delivered.
    pub(super) fn is_idle(&self) -> bool {
        self.flight.is_none() && self.waiting.is_empty()
    }

    /// The relay was heard from: a batch that did not arrive is sent again at once.
    pub(super) fn retry(&mut self) {
        self.flight.iter_mut().filter_map(|flight| flight.again_at.as_mut()).for_each(|time| *time = 0);
    }

    /// When a batch is sent again, in Unix milliseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.flight.as_ref().and_then(|flight| flight.again_at)
    }

    /// The body of the next batch, if one may be sent.
    pub(super) fn next(&mut self, now: u64, root: &str) -> Option<String> {
        match &mut self.flight {
            Some(flight) if flight.again_at.is_some_and(|time| time <= now) => flight.again_at = None,
            Some(_) => return None,
            None if self.waiting.is_empty() => return None,
            None => {
                let mut bytes = 0;
                let fits = |waiting: &&QueuedMessage| {
                    bytes += waiting.text.len();
                    bytes <= MAX_BATCH_BYTES
                };
                let count = self.waiting.iter().take_while(fits).count().max(1);
                let messages: Vec<QueuedMessage> = self.waiting.drain(..count.min(self.waiting.len())).collect();
                self.waiting_bytes -= messages.iter().map(|waiting| waiting.text.len()).sum::<usize>();
                let unretained = messages.iter().filter(|waiting| waiting.is_unretained).count();
                self.waiting_unretained -= unretained;
                self.sent += 1;
                let has_unretained = unretained > 0;
                self.flight =
                    Some(BatchInFlight { sequence: self.sent, messages, has_unretained, attempts: 0, again_at: None });
            }
        }
        let flight = self.flight.as_mut()?;
        flight.attempts += 1;
        Some(flight.body(root, self.life.as_deref().unwrap_or_default()))
    }

    /// Handles the answer to a batch; returns the report that it carries.
    pub(super) fn answered(&mut self, now: u64, answer: Option<&str>) -> Option<Report> {
        let flight = self.flight.as_mut()?;
        let read = answer.and_then(|text| serde_json::from_str::<DownAnswer>(text).ok());
        let Some(answer) = read.filter(|answer| answer.sequence == flight.sequence) else {
            let wait = RETRY.saturating_mul(1 << flight.attempts.min(6)).min(MAX_RETRY);
            flight.again_at = Some(now.saturating_add(wait));
            return None;
        };
        Some(answer.report)
    }

    /// Completes an answered batch: the relay has handled it, and its report includes the effects.
    pub(super) fn confirm(&mut self) {
        let Some(flight) = self.flight.take() else { return };
        self.answer_bytes =
            self.answer_bytes.saturating_sub(flight.messages.iter().map(QueuedMessage::answer_bytes).sum::<usize>());
        for number in flight.messages.iter().filter_map(|message| message.answers) {
            self.unconfirmed.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::form::{DownBatch, VERSION};
    use super::*;

    fn link() -> Link {
        let mut link = Link::default();
        link.begin("life");
        link
    }

    fn done(id: &str) -> Rc<str> {
        Rc::from(text(&Down::Done { session: (0, 0), id: id.to_owned() }))
    }

    fn sent(link: &mut Link, now: u64) -> Option<(u64, bool, usize)> {
        let body = link.next(now, "root")?;
        let batch: DownBatch = serde_json::from_str(&body).unwrap();
        assert_eq!((batch.version, &*batch.root, &*batch.life), (VERSION, "root", "life"));
        Some((batch.sequence, batch.again, batch.messages.len()))
    }

    fn taken(sequence: u64) -> String {
        text(&DownAnswer { sequence, report: Report::default() })
    }

    #[test]
    fn one_batch_is_on_its_way_and_the_next_gathers() {
        let mut link = link();
        assert_eq!(sent(&mut link, 0), None);
        link.push_reply(done("1"));
        assert_eq!(sent(&mut link, 0), Some((1, false, 1)));
        link.push_reply(done("2"));
        link.push_reply(done("3"));
        assert_eq!(sent(&mut link, 0), None);
        assert!(link.answered(0, Some(&taken(1))).is_some());
        link.confirm();
        assert_eq!(sent(&mut link, 0), Some((2, false, 2)));
    }

    #[test]
    fn what_did_not_arrive_comes_again_later_and_says_so() {
        let mut link = link();
        link.push_reply(done("1"));
        assert_eq!(sent(&mut link, 0), Some((1, false, 1)));
        for wrong in [None, Some(String::from("{}")), Some(taken(7))] {
            assert!(link.answered(0, wrong.as_deref()).is_none());
            let again = link.deadline().unwrap();
            assert!((RETRY..=MAX_RETRY).contains(&again));
            assert_eq!(sent(&mut link, again - 1), None);
            assert_eq!(sent(&mut link, again), Some((1, true, 1)));
        }
    }

    #[test]
    fn a_relay_that_falls_behind_loses_what_waits_and_that_is_counted() {
        let mut link = link();
        link.push_answer(done("a"), 1, Some(Entering { user: "ada".to_owned(), listens: true }));
        assert_eq!((link.counted(), link.of_user("ada"), link.listeners(), link.wants_everything()), (1, 1, 1, true));
        let fits = (0..=MAX_WAITING).map(|_| link.push(done("x"))).filter(|fits| *fits).count();
        assert_eq!((fits, link.lost), (MAX_WAITING, MAX_WAITING as u64));
        assert_eq!((link.counted(), link.wants_everything()), (0, false));
        assert_eq!(link.waiting.front().map(|waiting| &*waiting.text), Some("\"restart\""));
        let large: Rc<str> = Rc::from(text(&"x".repeat(MAX_WAITING_BYTES)));
        assert!(!link.push(large));
    }

    #[test]
    fn another_life_of_the_relay_gets_no_answers_of_the_one_before() {
        let mut link = link();
        link.push(done("for all"));
        link.push_reply(done("for one"));
        link.begin("another");
        let body = link.next(0, "root").unwrap();
        assert_eq!(serde_json::from_str::<DownBatch>(&body).unwrap().messages.len(), 1);
    }
}
