//! Catching up: a relay that has missed part of the stream asks the root for it by offset, one portion at a time.
//! Messages that arrive meanwhile are held, so that its sockets receive everything once and in order.

use std::collections::VecDeque;
use std::rc::Rc;

use super::checkpoint::{Checkpoint, CheckpointSocket};
use super::codec;
use super::form::{AnswerForm, Ask, Down, FromForm, OriginForm, PayerForm, Up};
use super::held::{HeldMessages, IncomingMessage};
use super::life::catches_up;
use super::pending_answers::PendingAnswers;
use super::tenant::RelayTenant;
use crate::engine::command::Position;
use crate::engine::input::Stored;
use crate::engine::message::{Accepted, Missed, Out, ToDelivery};

/// The most bytes of messages that are held while a relay catches up.
const MAX_HELD_BYTES: usize = 8 * 1024 * 1024;
/// How long until an unanswered question is repeated, in milliseconds.
const ASK_AGAIN: u64 = 15_000;
/// How often it is asked before the root is considered unable to answer.
const MAX_QUESTIONS: u32 = 4;
/// How many ended lives of the root are remembered: a late batch of theirs must be ignored.
const MAX_ENDED_LIVES: usize = 4;

/// How far a relay has received the stream.
#[derive(Default)]
pub(super) struct Progress {
    /// Every retained publication up to here was delivered to the sockets that it concerns; `None` if unknown.
    position: Option<Position>,
    /// Whether this life began without sockets: nothing was delivered before it that could be delivered twice.
    began_empty: bool,
    ended_lives: VecDeque<String>,
    /// Whether a batch of the root was received since the link to it began.
    has_received: bool,
    /// The life of the root before it answered that it does not know this link, and its last batch that was accepted.
    forgotten: Option<(String, u64)>,
    behind: Option<Behind>,
    /// The answers that the root owes to sockets.
    pub(super) pending_answers: PendingAnswers,
    noted: Checkpoint,
    note: Option<Rc<str>>,
    noted_sockets: Vec<CheckpointSocket>,
}

/// What is missing, and the messages held until it arrives.
struct Behind {
    /// The number of the question for the next portion.
    number: u64,
    questions: u32,
    again_at: u64,
    held: HeldMessages,
}

impl Progress {
    /// The progress noted in the sockets' attachments, and the last batch of the root that was accepted.
    pub(super) fn wake(stored: &Stored) -> (Progress, Option<(String, u64)>) {
        let (latest, noted_sockets) = super::checkpoint::read(&stored.sockets);
        let noted = latest.unwrap_or_default();
        let position = noted.position.clone().map(|(epoch, offset)| Position { epoch, offset });
        let root = noted.root.clone();
        let began_empty = stored.sockets.is_empty();
        let ended_lives = noted.ended_lives.iter().cloned().collect();
        (Progress { position, began_empty, ended_lives, noted, noted_sockets, ..Progress::default() }, root)
    }

    /// Whether the previous life was behind, and whether it held messages that are not in the history.
    pub(super) fn was_behind(&self) -> (bool, bool) {
        (self.noted.is_behind, self.noted.holds_unretained)
    }

    /// Whether no session has begun at this relay: what its root says now concerns none that is there already.
    pub(super) fn is_at_beginning(&self) -> bool {
        self.began_empty && self.position.is_none()
    }

    /// Whether a batch is from an ended life of the root.
    pub(super) fn is_late(&self, root: &str) -> bool {
        self.ended_lives.iter().any(|life| life == root)
    }

    /// Whether a batch after the link began was accepted before it. Of the batches before, only the last is repeated.
    pub(super) fn was_taken(&self, root: &str, sequence: u64) -> bool {
        self.forgotten.as_ref().is_some_and(|(life, last)| life == root && sequence == *last && *last > 1)
    }

    /// Whether a repeated batch after the link began was certainly not accepted before it: the root numbers the batches of
    /// a new link from 1.
    pub(super) fn is_certainly_new(&self, root: &str, sequence: u64) -> bool {
        let is_other = |(life, last): &(String, u64)| life != root || sequence != *last;
        self.is_at_beginning() || self.forgotten.as_ref().is_some_and(is_other)
    }

    /// Records whose batch is received. A late batch from before the link began says nothing about this link.
    pub(super) fn batch_received(&mut self, root: &str, sequence: u64) {
        let is_late = |(life, last): &(String, u64)| life == root && sequence > *last;
        self.has_received = !self.forgotten.as_ref().is_some_and(is_late);
        if self.has_received {
            // Another life answers by now: what this one sent may still come late, and must not end its successor.
            let ended = self.forgotten.take().filter(|(life, _)| life != root);
            ended.into_iter().for_each(|(life, _)| _ = self.end_life(life));
        }
    }

    /// Records that the root does not know this link: it has another life, or has given the relay up.
    pub(super) fn be_forgotten(&mut self, known: Option<(String, u64)>) {
        self.has_received = false;
        self.forgotten = known.or(self.forgotten.take());
    }

    /// Records that a life of the root has ended; returns whether a batch of it was received since the
    /// link to it began.
    pub(super) fn end_life(&mut self, root: String) -> bool {
        if !self.is_late(&root) {
            self.ended_lives.push_back(root);
        }
        if self.ended_lives.len() > MAX_ENDED_LIVES {
            self.ended_lives.pop_front();
        }
        self.has_received
    }

    /// Whether something is missing.
    pub(super) fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// Whether messages are held that will increase a session's interest.
    pub(super) fn holds_grants(&self) -> bool {
        self.behind.as_ref().is_some_and(|behind| behind.held.has_grant)
    }

    /// When a question is repeated, in Unix milliseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.behind.as_ref().map(|behind| behind.again_at)
    }

    /// Whether an answer is for the question about missed messages.
    fn is_asking(&self, number: u64) -> bool {
        self.behind.as_ref().is_some_and(|behind| behind.number == number)
    }

    fn has(&self, offset: u64) -> bool {
        self.position.as_ref().is_some_and(|position| offset <= position.offset)
    }

    /// Advances the position by a message. A late one never moves it back.
    fn advance(&mut self, message: &Down) {
        match message {
            Down::Publish { offset, .. } => {
                self.position.iter_mut().for_each(|position| position.offset = position.offset.max(*offset));
            }
            Down::Answer(form) => self.reach(&form.epoch, form.offset),
            _ => {}
        }
    }

    fn reach(&mut self, epoch: &str, offset: u64) {
        let known = self.position.as_ref().filter(|known| known.epoch == epoch).map_or(0, |known| known.offset);
        self.position = Some(Position { epoch: epoch.to_owned(), offset: offset.max(known) });
    }

    fn checkpoint(&self, root: Option<(String, u64)>) -> Checkpoint {
        Checkpoint {
            root,
            position: self.position.clone().map(|Position { epoch, offset }| (epoch, offset)),
            is_behind: self.behind.is_some(),
            holds_unretained: self.behind.as_ref().is_some_and(|behind| behind.held.has_unretained),
            ended_lives: self.ended_lives.iter().cloned().collect(),
            ..Checkpoint::default()
        }
    }
}

impl RelayTenant {
    /// Handles one message of a batch.
    pub(super) fn take_message(&mut self, now: u64, incoming: IncomingMessage, out: &mut Out) {
        // The root's next life is of an earlier version.
        if self.progress.behind.is_some() && self.root_cannot_be_asked() {
            self.give_up_catching_up(now, out);
        }
        match incoming.message {
            Down::Behind => self.fall_behind(now, out),
            Down::Restart => self.give_up_catching_up(now, out),
            // Missed changes are sent under the current settings, as in any recovery.
            Down::Tables { .. } => self.tell(now, incoming, out),
            Down::Answer(form) if incoming.is_for_this_life && self.progress.is_asking(form.number) => {
                self.catch_up(now, *form, out);
            }
            _ => match &mut self.progress.behind {
                Some(behind) => {
                    behind.held.push(incoming);
                    if behind.held.bytes > MAX_HELD_BYTES {
                        self.give_up_catching_up(now, out);
                    }
                }
                None => self.tell(now, incoming, out),
            },
        }
    }

    /// Delivers a message to the sockets that it concerns, once.
    fn tell(&mut self, now: u64, IncomingMessage { message, is_for_this_life, .. }: IncomingMessage, out: &mut Out) {
        if is_for_this_life {
            self.progress.pending_answers.answered(&message);
        }
        match message {
            Down::Publish { offset, kept: true, origin, .. } if self.progress.has(offset) => {
                let acknowledged = origin.filter(|_| is_for_this_life).and_then(OriginForm::done);
                out.to_delivery.extend(acknowledged.and_then(codec::to_delivery));
            }
            message => {
                self.progress.advance(&message);
                self.receive_message(now, message, is_for_this_life, out);
            }
        }
        self.carry_messages(now, out);
    }

    /// A retained message is missing: asks for everything after the last known position. Without a position, nothing
    /// can be recovered.
    pub(super) fn fall_behind(&mut self, now: u64, out: &mut Out) {
        if self.progress.is_at_beginning() {
            self.link.forget_questions();
            return self.ask_again();
        }
        if self.progress.position.is_none() || self.root_cannot_be_asked() || self.delivery.is_empty() {
            return self.give_up_catching_up(now, out);
        }
        // The answers to these are not in the history.
        for (socket, client_id) in self.progress.pending_answers.take() {
            if self.delivery.payer(socket).is_some_and(|(known, _)| known == client_id) {
                self.delivery.restart(socket, out);
            }
        }
        let held = self.progress.behind.take().map(|behind| behind.held).unwrap_or_default();
        self.ask_for_portion(now, held);
        self.link.forget_questions();
        self.ask_again();
    }

    fn ask_for_portion(&mut self, now: u64, held: HeldMessages) {
        self.asked += 1;
        let again_at = now.saturating_add(ASK_AGAIN);
        self.progress.behind = Some(Behind { number: self.asked, questions: 1, again_at, held });
    }

    /// Asks for what was missed; the question stays the same until it is answered.
    pub(super) fn ask_what_was_missed(&mut self) {
        let (Some(behind), Some(position)) = (&self.progress.behind, &self.progress.position) else { return };
        // A session that a held message grants something also needs what follows it.
        let everything = behind.held.has_grant;
        let from = FromForm::All { epoch: position.epoch.clone(), offset: position.offset, everything };
        let payer = PayerForm { socket: String::new(), user: None };
        let (number, from, watch) = (behind.number, Some(from), Vec::new());
        self.link.push(Up::Ask(Ask {
            number,
            payer,
            units: 0,
            enters: false,
            listens: false,
            from,
            only: None,
            watch,
        }));
    }

    /// Repeats an overdue question.
    pub(super) fn ask_when_due(&mut self, now: u64, out: &mut Out) {
        let Some(behind) = self.progress.behind.as_mut().filter(|behind| behind.again_at <= now) else { return };
        if behind.questions >= MAX_QUESTIONS {
            return self.give_up_catching_up(now, out);
        }
        behind.questions += 1;
        behind.again_at = now.saturating_add(ASK_AGAIN);
        // A request in flight, or to be sent again, contains the question already.
        if !self.link.has_messages() {
            self.ask_what_was_missed();
        }
    }

    /// Delivers a portion of what was missed, merged with the held messages.
    fn catch_up(&mut self, now: u64, form: AnswerForm, out: &mut Out) {
        let Some(Missed::Everything(rows)) = form.missed.map(codec::missed) else {
            return self.give_up_catching_up(now, out);
        };
        let Some(Behind { mut held, .. }) = self.progress.behind.take() else { return };
        let before = held.take(form.read_to);
        self.tell_merged(now, VecDeque::from(rows), before, out);
        self.progress.reach(&form.epoch, form.read_to.unwrap_or(form.offset));
        if form.read_to.is_some() {
            self.ask_for_portion(now, held);
            return self.ask_what_was_missed();
        }
        self.ask_all_again();
    }

    /// Delivers both in stream order. A message in both is delivered as it arrived, because that names its publisher.
    fn tell_merged(&mut self, now: u64, mut rows: VecDeque<Accepted>, held: VecDeque<IncomingMessage>, out: &mut Out) {
        for incoming in held {
            let includes_its_own = incoming.follows_its_offset();
            let end = incoming.offset().unwrap_or_default();
            let is_before = |row: &Accepted| row.offset < end || (includes_its_own && row.offset == end);
            while rows.front().is_some_and(is_before) {
                rows.pop_front().into_iter().for_each(|row| self.tell_row(now, row, out));
            }
            self.tell(now, incoming, out);
        }
        rows.into_iter().for_each(|row| self.tell_row(now, row, out));
    }

    fn tell_row(&mut self, now: u64, accepted: Accepted, out: &mut Out) {
        if self.progress.has(accepted.offset) {
            return;
        }
        self.progress.position.iter_mut().for_each(|position| position.offset = accepted.offset);
        out.to_delivery.push_back(ToDelivery::Publish { accepted, origin: None });
        self.carry_messages(now, out);
    }

    /// What is missing cannot be recovered here: clients must reconnect, and recover what was retained by themselves.
    pub(super) fn give_up_catching_up(&mut self, now: u64, out: &mut Out) {
        let behind = self.progress.behind.take();
        self.link.forget_missed();
        self.progress.pending_answers.take();
        self.restart_all(out);
        // No socket is left that could miss anything, but table settings and presence must still be applied.
        behind
            .into_iter()
            .flat_map(|mut behind| behind.held.take(None))
            .for_each(|incoming| self.tell(now, incoming, out));
    }

    /// Continues if the previous life was still catching up.
    pub(super) fn catch_up_again(&mut self, now: u64, out: &mut Out) {
        match self.progress.was_behind() {
            (true, false) => self.fall_behind(now, out),
            (true, true) => self.give_up_catching_up(now, out),
            (false, _) => {}
        }
    }

    /// Stores the progress in the attachments of two sockets if it has changed, or if one of them has closed.
    pub(super) fn note_progress(&mut self) {
        let checkpoint = self.progress.checkpoint(self.root.clone());
        if let Some(next) = self.progress.noted.next(checkpoint) {
            self.progress.note = Some(next.text());
            self.progress.noted = next;
        }
        if let Some(note) = &self.progress.note {
            self.delivery.note(note, &mut self.progress.noted_sockets);
        }
    }

    /// Whether the root is of an earlier version, which cannot be asked by offset.
    fn root_cannot_be_asked(&self) -> bool {
        self.root.as_ref().is_some_and(|(life, _)| !catches_up(life))
    }
}
