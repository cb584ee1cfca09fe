//! A relay and the database: questions of its delivery go to the root, the only object that talks to the database's
//! object.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::codec;
use super::database_form::{DatabaseDown, DatabaseUp, QuestionKind};
use super::form::{AnswerForm, Ask, Up};
use super::tenant::{Asked, RelayTenant};
use crate::engine::command::Position;
use crate::engine::database::remote::GroupForm;
use crate::engine::effect::{Effect, Question, Task};
use crate::engine::message::{Announcement, From, Missed, Out, Read, SessionId, ToDelivery};

/// How long a relay waits before it repeats a question, in milliseconds: a root that lost its memory has forgotten it.
const PATIENCE: u64 = 10_000;

/// Questions that the root has not answered.
#[derive(Default)]
pub(super) struct DatabaseQuestions {
    open: BTreeMap<Key, DatabaseUp>,
    /// When they are repeated, in Unix milliseconds.
    again_at: Option<u64>,
    /// Sessions whose recovery had to wait for the database, by their questions.
    returning: BTreeMap<u64, (SessionId, Announcement)>,
}

/// Identifies a question; an interest is reported as a whole, so there is one at a time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Listen,
    Question(QuestionKind, u64),
}

#[derive(Deserialize)]
struct ListenersForm {
    groups: Vec<GroupForm>,
}

impl DatabaseQuestions {
    /// Forgets the postponed recoveries.
    pub(super) fn forget_returning(&mut self) {
        self.returning.clear();
    }

    /// When questions are repeated, in Unix milliseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.again_at
    }
}

impl RelayTenant {
    /// Sends the delivery's questions about the database to the root.
    pub(super) fn relay_questions(&mut self, now: u64, out: &mut Out) {
        let is_question = |effect: &Effect| matches!(effect, Effect::Do(Task::AskDatabase { .. }));
        if !out.effects.iter().any(is_question) {
            return;
        }
        let (asked, effects) = std::mem::take(&mut out.effects).into_iter().partition(is_question);
        out.effects = effects;
        for effect in asked {
            let Effect::Do(Task::AskDatabase { question, .. }) = effect else { continue };
            if let Some((key, question)) = relayed(question) {
                self.link.push(Up::Database(question.clone()));
                self.database.open.insert(key, question);
                self.database.again_at.get_or_insert(now.saturating_add(PATIENCE));
            }
        }
    }

    /// Repeats questions that are overdue.
    pub(super) fn ask_late_database(&mut self, now: u64) {
        if self.database.again_at.is_some_and(|time| time <= now) {
            self.ask_database_again();
            self.database.again_at = Some(now.saturating_add(PATIENCE));
        }
    }

    /// Repeats all unanswered questions.
    pub(super) fn ask_database_again(&mut self) {
        self.database.open.values().cloned().for_each(|question| self.link.push(Up::Database(question)));
    }

    /// Reports the whole interest again: the root may have given this relay up.
    pub(super) fn tell_database_anew(&mut self) {
        self.database.open.remove(&Key::Listen);
        self.settle_patience();
        self.delivery.tell_database_again();
    }

    fn settle_patience(&mut self) {
        if self.database.open.is_empty() {
            self.database.again_at = None;
        }
    }

    /// Handles a message of the root about the database.
    pub(super) fn hear_database(&mut self, now: u64, message: DatabaseDown, is_for_this_life: bool, out: &mut Out) {
        // A relay without sockets stores nothing.
        if self.delivery.is_empty() {
            return;
        }
        match message {
            DatabaseDown::Feed { lost, catalog } => self.delivery.fed(now, lost, catalog, out),
            _ if !is_for_this_life => {}
            DatabaseDown::Listening { revision, lost, catalog } => {
                let is_of = |question: &DatabaseUp| matches!(question, DatabaseUp::Listen { revision: asked, .. } if *asked == revision);
                if self.database.open.get(&Key::Listen).is_some_and(is_of) {
                    self.database.open.remove(&Key::Listen);
                }
                self.delivery.interest_answered(now, revision, (Some(catalog), lost), out);
            }
            DatabaseDown::Answered { kind, number, text } => {
                if self.database.open.remove(&Key::Question(kind, number)).is_some() {
                    match kind {
                        QuestionKind::Judge => self.delivery.judged(number, text, out),
                        QuestionKind::Authorize => self.delivery.authorized(now, number, text.as_deref()),
                    }
                }
            }
        }
        self.settle_patience();
    }

    /// Asks for what a session missed, now that the database judges for it. Its socket is held meanwhile.
    pub(super) fn ask_for_missed(&mut self, session: SessionId, from: &From, then: Announcement) {
        self.delivery.hold_socket(session.socket);
        self.asked += 1;
        let (number, payer) = (self.asked, self.payer_of(session));
        // The frame that asked for the recovery has been charged.
        let from = codec::from_form(from);
        let (enters, listens, only, watch) = (false, false, None, Vec::new());
        let ask = Ask { number, payer, units: 0, enters, listens, from, only, watch };
        self.ask(number, Asked { socket: session.socket, ask });
        self.database.returning.insert(number, (session, then));
    }

    /// Handles the answer to a postponed recovery; returns answers to other questions.
    pub(super) fn missed(&mut self, form: AnswerForm, out: &mut Out) -> Option<AnswerForm> {
        let Some((session, then)) = self.database.returning.remove(&form.number) else { return Some(form) };
        self.asks.remove(&form.number);
        let position = Position { epoch: form.epoch, offset: form.offset };
        let missed = Some(form.missed.map_or(Missed::TooMuch, codec::missed));
        let read = Read::default();
        out.to_delivery.push_back(ToDelivery::Resumed { session, position, missed, read, then });
        None
    }
}

fn relayed(question: Question) -> Option<(Key, DatabaseUp)> {
    Some(match question {
        Question::Interest(report) => {
            let ListenersForm { groups } = serde_json::from_str(&report.body).ok()?;
            (Key::Listen, DatabaseUp::Listen { revision: report.revision, groups })
        }
        Question::Judge { number, body } => (
            Key::Question(QuestionKind::Judge, number),
            DatabaseUp::Question { kind: QuestionKind::Judge, number, body },
        ),
        Question::Authorize { number, body } => (
            Key::Question(QuestionKind::Authorize, number),
            DatabaseUp::Question { kind: QuestionKind::Authorize, number, body },
        ),
    })
}
