//! A relay's end of the link to the root: one request is in flight while the next is collected.

use super::database_form::DatabaseUp;
use super::form::{Report, Up, UpAnswer, UpBatch, VERSION, text};
use super::life;

/// The first wait after a failed request, in milliseconds; it doubles each time.
const RETRY: u64 = 500;
/// The longest wait.
const MAX_RETRY: u64 = 30_000;
/// The most bytes of clients' messages that may wait.
const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;
/// The most bytes of one request: the root reads it as one text.
const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// What a message takes besides its payload.
const MESSAGE_BYTES: usize = 256;

/// A request that is in flight, or will be sent again.
struct Flight {
    sequence: u64,
    messages: Vec<Up>,
    attempts: u32,
    again_at: Option<u64>,
}

/// The link.
pub(super) struct Uplink {
    relay: u32,
    life: String,
    waiting: Vec<Up>,
    waiting_bytes: usize,
    flight: Option<Flight>,
    sent: u64,
    /// Whether the answer to a request of the link before is still to come. It names no request, so until then the next
    /// one is not sent.
    expects_late_answer: bool,
}

/// The outcome of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was accepted.
    Yes,
    /// It may not have arrived: it is sent again.
    Later,
    /// The root has forgotten the link, which is reset. Whether an earlier life of the root accepted the publications
    /// of these sockets is unknown.
    Forgotten(Vec<u32>),
}

impl Uplink {
    /// A link before its first request.
    pub(super) fn new(relay: u32, life: String) -> Uplink {
        Uplink {
            relay,
            life: life::name(&life),
            waiting: Vec::new(),
            waiting_bytes: 0,
            flight: None,
            sent: 0,
            expects_late_answer: false,
        }
    }

    /// The life whose sessions answers are for.
    pub(super) fn life(&self) -> &str {
        &self.life
    }

    /// Drops the question for what was missed, which the root does not answer.
    pub(super) fn forget_missed(&mut self) {
        let flight = self.flight.iter_mut().map(|flight| &mut flight.messages);
        let is_other = |message: &Up| !matches!(message, Up::Ask(ask) if ask.is_for_relay());
        flight.chain([&mut self.waiting]).for_each(|messages| messages.retain(is_other));
        self.weigh();
    }

    /// Drops questions that were not sent yet: they are asked anew.
    pub(super) fn forget_questions(&mut self) {
        self.waiting.retain(|message| !matches!(message, Up::Ask(_) | Up::Database(_)));
        self.weigh();
    }

    /// Adds a message.
    pub(super) fn push(&mut self, message: Up) {
        self.waiting_bytes += bytes(&message);
        self.waiting.push(message);
    }

    /// Whether so much waits that clients' messages must be refused.
    pub(super) fn is_full(&self) -> bool {
        self.waiting_bytes > MAX_WAITING_BYTES
    }

    fn weigh(&mut self) {
        self.waiting_bytes = self.waiting.iter().map(bytes).sum();
    }

    /// Whether a request may be sent.
    pub(super) fn is_free(&self, now: u64) -> bool {
        let is_due = |flight: &Flight| flight.again_at.is_some_and(|time| time <= now);
        !self.expects_late_answer && self.flight.as_ref().is_none_or(is_due)
    }

    /// Whether messages wait, besides a report.
    pub(super) fn has_messages(&self) -> bool {
        self.flight.is_some() || !self.waiting.is_empty()
    }

    /// Whether nothing was ever sent, so that the root does not know of this life.
    pub(super) fn is_new(&self) -> bool {
        self.sent == 0
    }

    /// The root was heard from: a request that did not arrive is sent again at once.
    pub(super) fn retry(&mut self) {
        self.flight.iter_mut().filter_map(|flight| flight.again_at.as_mut()).for_each(|time| *time = 0);
    }

    /// When a request is sent again, in Unix milliseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.flight.as_ref().and_then(|flight| flight.again_at)
    }

    /// The body of the next request.
    pub(super) fn next(&mut self, report: Report) -> String {
        if self.flight.is_none() {
            self.sent += 1;
            let mut sum = 0;
            let fits = |message: &&Up| {
                sum += bytes(message);
                sum <= MAX_BATCH_BYTES
            };
            let count = self.waiting.iter().take_while(fits).count().max(1).min(self.waiting.len());
            let messages: Vec<Up> = self.waiting.drain(..count).collect();
            self.waiting_bytes -= messages.iter().map(bytes).sum::<usize>();
            self.flight = Some(Flight { sequence: self.sent, messages, attempts: 0, again_at: None });
        }
        let Some(flight) = &mut self.flight else { return String::new() };
        (flight.attempts, flight.again_at) = (flight.attempts + 1, None);
        let batch = UpBatch {
            version: VERSION,
            relay: self.relay,
            life: self.life.clone(),
            sequence: flight.sequence,
            report,
            messages: std::mem::take(&mut flight.messages),
        };
        let body = text(&batch);
        flight.messages = batch.messages;
        body
    }

    /// Handles the answer to the request in flight.
    pub(super) fn answered(&mut self, now: u64, answer: Option<&str>) -> Taken {
        if std::mem::take(&mut self.expects_late_answer) {
            return Taken::Later;
        }
        let read = answer.and_then(|text| serde_json::from_str::<UpAnswer>(text).ok());
        match (read, &mut self.flight) {
            (Some(UpAnswer { is_taken: true }), _) => {
                self.flight = None;
                Taken::Yes
            }
            (Some(UpAnswer { is_taken: false }), _) => Taken::Forgotten(self.reset(true)),
            (None, Some(flight)) => {
                let wait = RETRY.saturating_mul(1 << flight.attempts.min(6)).min(MAX_RETRY);
                flight.again_at = Some(now.saturating_add(wait));
                Taken::Later
            }
            (None, None) => Taken::Later,
        }
    }

    /// Drops everything: nobody waits for the answers.
    pub(super) fn give_up(&mut self) {
        self.flight = None;
        self.waiting.clear();
        self.waiting_bytes = 0;
    }

    /// Resets the link for another life of the root, and sends everything again that was not accepted, except
    /// publications without a key in an unanswered request: the root may have accepted them, and must not publish them
    /// twice. Returns the sockets of these.
    pub(super) fn begin_anew(&mut self) -> Vec<u32> {
        self.expects_late_answer |= self.flight.as_ref().is_some_and(|flight| flight.again_at.is_none());
        self.reset(false)
    }

    /// A request that was refused and never sent before was certainly not accepted.
    fn reset(&mut self, is_refused: bool) -> Vec<u32> {
        self.sent = 0;
        let Some(Flight { messages, attempts, .. }) = self.flight.take() else { return Vec::new() };
        let is_doubtful = !is_refused || attempts > 1;
        let mut doubtful = Vec::new();
        let mut again: Vec<Up> = Vec::with_capacity(messages.len() + self.waiting.len());
        for message in messages {
            match message {
                Up::Publish { session: (socket, _), key: None, .. } if is_doubtful => doubtful.push(socket),
                message => again.push(message),
            }
        }
        again.append(&mut self.waiting);
        // The sender repeats these itself.
        again.retain(|message| !matches!(message, Up::Ask(_) | Up::Database(_)));
        self.waiting = again;
        self.weigh();
        doubtful
    }
}

/// About how long a message is as text.
fn bytes(message: &Up) -> usize {
    let payload = match message {
        Up::Publish { source, .. } => source.get().len(),
        Up::Track { member, .. } => member.metadata.get().len(),
        Up::Update { metadata, .. } => metadata.get().len(),
        Up::Arrived(form) => form.payload.get().len(),
        Up::Database(DatabaseUp::Question { body, .. }) => body.len(),
        Up::Database(DatabaseUp::Listen { groups, .. }) => groups.len() * MESSAGE_BYTES,
        Up::Ask(_) | Up::Untrack { .. } | Up::Roster { .. } | Up::Gather { .. } | Up::Gone { .. } => 0,
    };
    payload + MESSAGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::super::codec::raw;
    use super::super::form::PayerForm;
    use super::*;

    const YES: &str = r#"{"is_taken":true}"#;
    const NO: &str = r#"{"is_taken":false}"#;

    fn link() -> Uplink {
        Uplink::new(3, "life".to_owned())
    }

    fn publish(socket: u32) -> Up {
        Up::Publish {
            session: (socket, 0),
            payer: PayerForm { socket: "r3-c1".to_owned(), user: None },
            units: 1,
            keep: true,
            source: raw("{}"),
            acknowledge: None,
            echo: false,
            persist: false,
            key: None,
        }
    }

    fn sent(link: &mut Uplink) -> (u64, usize) {
        let batch: UpBatch = serde_json::from_str(&link.next(Report::default())).unwrap();
        assert_eq!((batch.version, batch.relay, &*batch.life), (VERSION, 3, "life+"));
        (batch.sequence, batch.messages.len())
    }

    #[test]
    fn one_request_is_on_its_way_and_the_next_gathers() {
        let mut link = link();
        link.push(Up::Gone { client: "a".to_owned() });
        assert!(link.is_free(0));
        assert_eq!(sent(&mut link), (1, 1));
        link.push(publish(1));
        link.push(publish(2));
        assert!(!link.is_free(u64::MAX));
        assert_eq!(link.answered(0, Some(YES)), Taken::Yes);
        assert_eq!(sent(&mut link), (2, 2));
    }

    #[test]
    fn what_may_have_been_accepted_is_not_published_twice() {
        let mut link = link();
        link.push(publish(1));
        link.push(Up::Gone { client: "a".to_owned() });
        assert_eq!(sent(&mut link), (1, 2));
        assert_eq!(link.answered(0, None), Taken::Later);
        let again = link.deadline().unwrap();
        assert!(!link.is_free(again - 1) && link.is_free(again));
        assert_eq!(sent(&mut link), (1, 2), "the root knows the number, if it has taken it");
        assert_eq!(link.answered(0, Some(NO)), Taken::Forgotten(vec![1]));
        assert_eq!(sent(&mut link), (1, 1), "who is gone is gone, however often it is said");
    }

    #[test]
    fn what_was_sent_to_a_life_that_ended_is_in_doubt_and_its_answer_says_nothing_of_the_next_request() {
        let mut link = link();
        link.push(publish(1));
        assert_eq!(sent(&mut link), (1, 1));
        assert_eq!(link.begin_anew(), [1], "the life that ended may have accepted it");
        link.push(publish(2));
        assert!(!link.is_free(u64::MAX), "two answers could not be told apart");
        for answer in [YES, NO] {
            assert_eq!(link.answered(0, Some(answer)), Taken::Later);
            assert!(link.is_free(0));
            assert_eq!(sent(&mut link), (1, 1));
            assert_eq!(link.begin_anew(), [2]);
            link.push(publish(2));
        }
        link.answered(0, None);
        assert_eq!(sent(&mut link), (1, 1));
        assert_eq!(link.answered(0, None), Taken::Later);
        assert_eq!(link.begin_anew(), [2]);
        assert!(link.is_free(0), "the request had failed: nothing more comes of it");
    }

    #[test]
    fn what_was_refused_at_once_was_not_accepted() {
        let mut link = link();
        link.push(publish(1));
        assert_eq!(sent(&mut link), (1, 1));
        assert_eq!(link.answered(0, Some(NO)), Taken::Forgotten(Vec::new()));
        assert_eq!(sent(&mut link), (1, 1));
    }
}
