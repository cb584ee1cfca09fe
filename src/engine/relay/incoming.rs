//! What a relay receives from its root: batches of the stream's messages, and answers to its own requests.

use std::rc::Rc;

use super::codec;
use super::form::{Down, DownBatch, VERSION};
use super::held::IncomingMessage;
use super::tenant::RelayTenant;
use super::uplink::Taken;
use crate::engine::effect::Task;
use crate::engine::input::SocketId;
use crate::engine::message::Out;

impl RelayTenant {
    /// Handles a batch of the root.
    pub(super) fn receive(&mut self, now: u64, body: &str, out: &mut Out) {
        let read = serde_json::from_str::<DownBatch>(body).ok().filter(|batch| batch.version == VERSION);
        let Some(DownBatch { root, life, sequence, again, messages, .. }) = read else {
            return out.run(Task::PeerAnswer(None));
        };
        if self.progress.is_late(&root) {
            return out.run(Task::PeerAnswer(None));
        }
        self.to_answer = Some(sequence);
        let before = self.root.replace((root.clone(), sequence));
        match before {
            Some((known, taken)) if known == root && sequence <= taken => {
                self.root = Some((known, taken));
                return self.report.doubt();
            }
            Some((known, taken)) if known == root && sequence > taken + 1 => self.give_up_catching_up(now, out),
            Some((known, _)) if known == root => {}
            // The root has lost its memory, and with it this link's questions.
            Some((known, _)) => self.end_root(known, &life, out),
            None if again && self.progress.was_taken(&root, sequence) => {
                self.root = None;
                return self.report.doubt();
            }
            // Whether the previous life has delivered this batch is unknown.
            None if again && !self.progress.is_certainly_new(&root, sequence) => self.give_up_catching_up(now, out),
            None => {}
        }
        self.progress.batch_received(&root, sequence);
        self.link.retry();
        let is_for_this_life = life == self.link.life();
        let bytes = body.len() / messages.len().max(1);
        for message in messages {
            self.take_message(now, IncomingMessage { message, is_for_this_life, bytes }, out);
        }
    }

    pub(super) fn receive_message(&mut self, now: u64, message: Down, is_for_this_life: bool, out: &mut Out) {
        match message {
            Down::Tables { settings } => self.delivery.take_tables(settings, out),
            Down::Arrived(form) => self.delivery.tell_arrival(&codec::arrival(&form), out),
            Down::Answer(answer) if is_for_this_life => {
                if let Some(answer) = self.missed(*answer, out) {
                    self.answered(now, answer, out);
                }
            }
            Down::Places { places } if is_for_this_life => {
                let places = places.into_iter().map(|(client, topic)| (Rc::from(client), topic.map(codec::topic)));
                self.delivery.be_present(&places.collect(), out);
            }
            Down::Database(message) => self.hear_database(now, message, is_for_this_life, out),
            Down::Answer(_) | Down::Places { .. } => {}
            message => {
                let is_general = matches!(message, Down::Publish { .. } | Down::Presence { .. });
                if !is_general && !is_for_this_life {
                    return;
                }
                let message = without_origin(message, is_for_this_life);
                if let Down::Publish { payer: Some(payer), origin: None, source, .. } = &message {
                    self.payer = Some((payer.clone(), source.get().len()));
                }
                out.to_delivery.extend(codec::to_delivery(message));
            }
        }
    }

    /// Handles the root's answer to a request.
    pub(super) fn link_answered(&mut self, now: u64, answer: Option<&str>, out: &mut Out) {
        // The root may have no relays any more. If it only failed to answer, it says so in its next life.
        if self.is_surplus && answer.is_none() {
            return self.link.give_up();
        }
        match self.link.answered(now, answer) {
            Taken::Yes => {}
            Taken::Later => self.report.doubt(),
            Taken::Forgotten(doubtful) => {
                // Its batches are numbered from 1 again.
                let known = self.root.take();
                self.progress.be_forgotten(known);
                // It may have given this relay up, and its listeners with it.
                self.tell_database_anew();
                self.ask_again();
                doubtful.into_iter().for_each(|socket| self.delivery.restart(SocketId(socket), out));
            }
        }
    }

    /// Begins the link again, unless the root's next life knows it already: it names the relay's life in its batch. A root
    /// from which no batch was received since the link began was asked nothing.
    fn end_root(&mut self, ended: String, known_life: &str, out: &mut Out) {
        let has_received = self.progress.end_life(ended);
        if has_received && known_life != self.link.life() {
            self.begin_anew(out);
        }
    }

    pub(super) fn begin_anew(&mut self, out: &mut Out) {
        let doubtful = self.link.begin_anew();
        self.ask_again();
        doubtful.into_iter().for_each(|socket| self.delivery.restart(SocketId(socket), out));
    }

    pub(super) fn ask_again(&mut self) {
        self.report.doubt();
        match self.progress.is_behind() {
            true => self.ask_what_was_missed(),
            false => self.ask_all_again(),
        }
        self.ask_database_again();
    }

    pub(super) fn restart_all(&mut self, out: &mut Out) {
        self.asks.clear();
        self.database.forget_returning();
        self.parked.clear();
        self.parked_bytes = 0;
        self.delivery.restart_all(out);
    }
}

/// Removes the publisher, whose session means nothing in another life.
fn without_origin(message: Down, is_for_this_life: bool) -> Down {
    match message {
        Down::Publish { offset, time, kept, payer, origin, source, verdict } => {
            let origin = origin.filter(|_| is_for_this_life);
            Down::Publish { offset, time, kept, payer, origin, source, verdict }
        }
        message => message,
    }
}
