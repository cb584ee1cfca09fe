//! The root's end of the link to one relay: what is gathered for it while the batch before is on its way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::form::{Down, DownAnswer, Report, VERSION, text};
use super::interest::InterestFilter;
use super::life::catches_up;
use crate::value::json;

/// Messages that may wait for a relay; more is a relay that had better begin anew.
const MAX_WAITING: usize = 10_000;
/// Bytes of them: the root has 128 MB for all relays.
const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of one batch: the relay reads it as one text.
const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// The first wait after a batch that did not arrive, in milliseconds; it doubles each time.
const RETRY: u64 = 500;
/// The longest.
const MAX_RETRY: u64 = 30_000;

/// A message that waits.
struct QueuedMessage {
    text: Rc<str>,
    /// Whether it is for one session, which means nothing in another life of the relay.
    is_answer: bool,
    /// The question that it answers.
    answers: Option<u64>,
    /// Whether it is lost for good where it does not arrive: it is for many, and nobody can ask for it.
    is_unretained: bool,
}

impl QueuedMessage {
    /// A relay of an earlier version, which cannot catch up, lets its clients do so.
    fn for_earlier_version(&mut self) {
        if *self.text == text(&Down::Behind) {
            self.text = Rc::from(text(&Down::Restart));
        }
    }
}

/// Someone who is about to be counted.
pub(super) struct Entering {
    /// The user, empty where there is none.
    pub(super) user: String,
    /// Whether it is a listener of the app.
    pub(super) listens: bool,
}

/// A batch that is on its way, or is to be sent again.
struct Flight {
    sequence: u64,
    messages: Vec<QueuedMessage>,
    has_unretained: bool,
    attempts: u32,
    /// Whether it has not arrived, and when it is sent again, in Unix milliseconds.
    again_at: Option<u64>,
}

/// One relay as the root knows it.
#[derive(Default)]
pub(super) struct Link {
    /// Its life; `None` until it has told it to this life of the root.
    pub(super) life: Option<String>,
    /// The last of its requests that was taken.
    pub(super) taken: u64,
    waiting: VecDeque<QueuedMessage>,
    waiting_bytes: usize,
    waiting_unretained: usize,
    flight: Option<Flight>,
    sent: u64,
    pub(super) interest: InterestFilter,
    /// Answers that it has not confirmed: until it has, it may want more than it says.
    unconfirmed: BTreeMap<u64, Option<Entering>>,
    granted: u64,
    pub(super) sockets: u64,
    /// The same as it was stored.
    pub(super) stored_sockets: Option<u64>,
    pub(super) pending: u64,
    pub(super) listeners: u64,
    /// Whether it can ask for what it missed, as far as it has said or the storage tells.
    pub(super) catches_up: bool,
    pub(super) users: BTreeMap<String, u64>,
    /// What it was not told since the root came to life, and cannot ask for.
    pub(super) lost: u64,
    /// Publications that it was told from the history since then.
    pub(super) recovered: u64,
    /// Frames of publications that it handed to sockets since then.
    pub(super) frames: u64,
}

impl Link {
    /// A relay as the storage tells it.
    pub(super) fn stored(interest: InterestFilter, (sockets, listeners): (u64, u64), catches_up: bool) -> Link {
        Link { interest, sockets, listeners, catches_up, stored_sockets: Some(sockets), ..Link::default() }
    }

    /// One of which the storage says nothing that can be read.
    pub(super) fn unknown() -> Link {
        let mut link = Link::default();
        link.push_retained(Rc::from(text(&Down::Restart)));
        link
    }

    /// Whether every message is for it, whatever it has said that it wants.
    pub(super) fn wants_everything(&self) -> bool {
        !self.unconfirmed.is_empty()
    }

    /// Authenticated sockets, those included that are about to be.
    pub(super) fn counted(&self) -> u64 {
        self.sockets + self.unconfirmed.values().flatten().count() as u64
    }

    /// Those of a user.
    pub(super) fn of_user(&self, user: &str) -> u64 {
        let entering = self.unconfirmed.values().flatten().filter(|entering| entering.user == user).count() as u64;
        self.users.get(user).copied().unwrap_or_default() + entering
    }

    /// Listeners of the app, those included that are about to be.
    pub(super) fn listeners(&self) -> u64 {
        self.listeners + self.unconfirmed.values().flatten().filter(|entering| entering.listens).count() as u64
    }

    /// Begins anew with another life of the relay.
    pub(super) fn begin(&mut self, life: &str) {
        self.life = Some(life.to_owned());
        let knew_how = std::mem::replace(&mut self.catches_up, catches_up(life));
        if knew_how != self.catches_up {
            // That is stored with what is stored of its sockets.
            self.stored_sockets = None;
        }
        self.taken = 0;
        self.unconfirmed.clear();
        self.waiting.retain(|waiting| !waiting.is_answer);
        self.flight.iter_mut().for_each(|flight| flight.messages.retain(|message| !message.is_answer));
        let messages = self.flight.iter_mut().flat_map(|flight| &mut flight.messages).chain(&mut self.waiting);
        if !self.catches_up {
            messages.for_each(QueuedMessage::for_earlier_version);
        }
        self.waiting_bytes = self.waiting.iter().map(|waiting| waiting.text.len()).sum();
        self.waiting_unretained = self.waiting.iter().filter(|waiting| waiting.is_unretained).count();
    }

    /// Adds what concerns many and is told once; `false` where that is too much, and all that waits is dropped.
    pub(super) fn push(&mut self, text: Rc<str>) -> bool {
        self.add(QueuedMessage { text, is_answer: false, answers: None, is_unretained: true })
    }

    /// Adds what concerns many, and can be told again: the history has it, or the root.
    pub(super) fn push_retained(&mut self, text: Rc<str>) -> bool {
        self.add(QueuedMessage { text, is_answer: false, answers: None, is_unretained: false })
    }

    /// Adds what one session of the relay is told.
    pub(super) fn push_reply(&mut self, text: Rc<str>) -> bool {
        self.add(QueuedMessage { text, is_answer: true, answers: None, is_unretained: false })
    }

    /// Adds what many of the relay's sessions are told because one of them asked.
    pub(super) fn push_gathered(&mut self, text: Rc<str>) -> bool {
        self.add(QueuedMessage { text, is_answer: true, answers: None, is_unretained: true })
    }

    /// Adds the answer to a question; `enters`: who is to be counted with it.
    pub(super) fn push_answer(&mut self, text: Rc<str>, number: u64, enters: Option<Entering>) -> bool {
        self.unconfirmed.insert(number, enters);
        self.add(QueuedMessage { text, is_answer: true, answers: Some(number), is_unretained: false })
    }

    /// Adds what makes a session want more than the relay has said yet.
    pub(super) fn push_grant(&mut self, text: Rc<str>) -> bool {
        // Questions count up from 1: these never meet them.
        self.granted += 1;
        self.push_answer(text, u64::MAX - self.granted, None)
    }

    fn add(&mut self, waiting: QueuedMessage) -> bool {
        self.waiting_bytes += waiting.text.len();
        self.waiting_unretained += usize::from(waiting.is_unretained);
        self.waiting.push_back(waiting);
        let fits = self.waiting.len() <= MAX_WAITING && self.waiting_bytes <= MAX_WAITING_BYTES;
        if !fits {
            let dropped = std::mem::take(&mut self.waiting);
            self.waiting_bytes = 0;
            self.waiting_unretained = 0;
            // What is on its way arrives, and somebody may want more after it than the relay has said.
            let on_their_way: BTreeSet<u64> =
                self.flight.iter().flat_map(|flight| &flight.messages).filter_map(|message| message.answers).collect();
            self.unconfirmed.retain(|number, _| on_their_way.contains(number));
            self.fall_behind(dropped.iter().filter(|waiting| waiting.is_unretained).count() as u64);
        }
        fits
    }

    /// Something was lost that was for it, and so many messages that nobody can ask for. It asks for what was retained; else
    /// its clients come back.
    pub(super) fn fall_behind(&mut self, lost: u64) {
        self.lost += lost;
        let can_catch_up = lost == 0 && self.catches_up;
        let told = if can_catch_up { Down::Behind } else { Down::Restart };
        self.push_retained(Rc::from(text(&told)));
    }

    /// Whether something is on its way, or waits, that is lost for good where it does not arrive.
    pub(super) fn has_unretained(&self) -> bool {
        self.waiting_unretained > 0 || self.flight.as_ref().is_some_and(|flight| flight.has_unretained)
    }

    /// Whether nothing is on its way, and nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.flight.is_none() && self.waiting.is_empty()
    }

    /// When a batch is to be sent again, in Unix milliseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.flight.as_ref().and_then(|flight| flight.again_at)
    }

    /// The body of the next batch, where one may go.
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
                    Some(Flight { sequence: self.sent, messages, has_unretained, attempts: 0, again_at: None });
            }
        }
        let flight = self.flight.as_mut()?;
        flight.attempts += 1;
        Some(body(flight, root, self.life.as_deref().unwrap_or_default()))
    }

    /// Takes in how a batch was answered; the report that came with that.
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

    /// Ends the batch that was answered: what it said is known at the relay, and counted in its report.
    pub(super) fn confirm(&mut self) {
        let Some(flight) = self.flight.take() else { return };
        for number in flight.messages.iter().filter_map(|message| message.answers) {
            self.unconfirmed.remove(&number);
        }
    }
}

/// The messages are texts already: most are the same for many relays.
fn body(flight: &Flight, root: &str, life: &str) -> String {
    let bytes = flight.messages.iter().map(|message| message.text.len() + 1).sum::<usize>();
    let mut out = String::with_capacity(bytes + 128);
    out.push_str(&format!("{{\"version\":{VERSION},\"root\":"));
    json::write_string(&mut out, root);
    out.push_str(",\"life\":");
    json::write_string(&mut out, life);
    out.push_str(&format!(",\"sequence\":{},\"again\":{},\"messages\":[", flight.sequence, flight.attempts > 1));
    for (number, message) in flight.messages.iter().enumerate() {
        if number > 0 {
            out.push(',');
        }
        out.push_str(&message.text);
    }
    out.push_str("]}");
    out
}

#[cfg(test)]
mod tests {
    use super::super::form::DownBatch;
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
