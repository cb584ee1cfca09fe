//! What a tenant's own object does for the database listeners of its relays: only it talks to the database's object, so
//! that there is one order of changes and one high-water mark.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::database_form::{DatabaseDown, DatabaseUp, QuestionKind};
use super::form::Down;
use crate::engine::database::catalog::Catalog;
use crate::engine::effect::{Question, Task};
use crate::engine::message::Out;
use crate::engine::tenant::Tenant;

/// Relays' questions are numbered from here; the delivery's own count up from 1 and never reach this.
const FIRST: u64 = 1 << 40;

/// Relays' questions that the database has not answered.
#[derive(Default)]
pub(in crate::engine) struct RelayQuestions {
    last: u64,
    open: BTreeMap<u64, Asker>,
}

/// The relay that asked, its life, and its number of the question.
#[derive(PartialEq, Eq)]
struct Asker {
    relay: u32,
    life: String,
    kind: QuestionKind,
    number: u64,
}

impl Tenant {
    /// Handles a relay's message about the database.
    pub(super) fn database_asked(&mut self, relay: u32, message: DatabaseUp, out: &mut Out) {
        match message {
            DatabaseUp::Listen { revision, groups } => self.delivery.listen_at(relay, revision, groups, out),
            DatabaseUp::Question { kind, number, body } => {
                let life = self.hub.as_ref().and_then(|hub| hub.life_of(relay)).cloned().unwrap_or_default();
                let asker = Asker { relay, life, kind, number };
                // A waiting relay repeats its question, in case this life of the root has never received it.
                if self.questions.open.values().any(|known| *known == asker) {
                    return;
                }
                let Some(database) = self.delivery.database_name() else { return };
                let number = FIRST + self.questions.last;
                self.questions.last += 1;
                self.questions.open.insert(number, asker);
                let question = match kind {
                    QuestionKind::Judge => Question::Judge { number, body },
                    QuestionKind::Authorize => Question::Authorize { number, body },
                };
                out.run(Task::AskDatabase { database, question });
            }
        }
    }

    /// Passes the database's verdicts to whoever asked.
    pub(in crate::engine) fn judged(&mut self, number: u64, verdicts: Option<String>, out: &mut Out) {
        if number < FIRST {
            return self.delivery.judged(number, verdicts, out);
        }
        self.answer_question(number, verdicts);
    }

    /// Passes the database's grants to whoever asked.
    pub(in crate::engine) fn authorized(&mut self, now: u64, number: u64, grant: Option<String>) {
        if number < FIRST {
            return self.delivery.authorized(now, number, grant.as_deref());
        }
        self.answer_question(number, grant);
    }

    fn answer_question(&mut self, number: u64, text: Option<String>) {
        let Some(Asker { relay, life, kind, number }) = self.questions.open.remove(&number) else { return };
        // A later life of the relay did not ask this.
        if let Some(hub) = self.hub.as_mut().filter(|hub| hub.life_of(relay) == Some(&life)) {
            hub.reply(relay, &Down::Database(DatabaseDown::Answered { kind, number, text }));
        }
    }

    /// Handles that the changes have stopped or resumed, with the tables.
    pub(in crate::engine) fn fed(&mut self, now: u64, is_lost: bool, catalog: Option<String>, out: &mut Out) {
        let before = self.delivery.feed_state();
        self.delivery.fed(now, is_lost, catalog, out);
        self.stream.learn(self.delivery.catalog());
        self.tell_feed(before);
    }

    /// Handles the answer of the database's object to an interest.
    pub(in crate::engine) fn interest_answered(
        &mut self,
        now: u64,
        revision: u64,
        catalog: Option<String>,
        out: &mut Out,
    ) {
        let before = self.delivery.feed_state();
        self.delivery.interest_answered(now, revision, (catalog, false), out);
        self.stream.learn(self.delivery.catalog());
        self.tell_feed(before);
    }

    /// Tells relays that the database judges for all their listeners.
    pub(in crate::engine) fn answer_listeners(&mut self, out: &mut Out) {
        let Some(hub) = &mut self.hub else { return };
        for (relay, revision) in self.delivery.take_covered(out) {
            let Some((lost, _, catalog)) = self.delivery.feed_state() else { return };
            let catalog = catalog.to_string();
            hub.reply(relay, &Down::Database(DatabaseDown::Listening { revision, lost, catalog }));
        }
    }

    /// Gives up relays without sockets, and their listeners.
    pub(in crate::engine) fn forget_relays(&mut self, out: &mut Out) {
        let Some(hub) = &mut self.hub else { return };
        hub.give_up(out);
        let gone = self.delivery.listening_relays().into_iter().filter(|relay| !hub.knows(*relay));
        gone.collect::<Vec<_>>().into_iter().for_each(|relay| self.delivery.forget_listeners(relay, out));
    }

    /// Tells relays with listeners that the changes have stopped or resumed, or that the tables have changed.
    fn tell_feed(&mut self, before: Option<(bool, Rc<Catalog>, Rc<str>)>) {
        let (Some(hub), Some((lost, tables, text))) = (&mut self.hub, self.delivery.feed_state()) else { return };
        let Some((was_lost, before, _)) = before else { return };
        let has_changed = *tables != *before;
        if was_lost == lost && !has_changed {
            return;
        }
        for relay in self.delivery.listening_relays() {
            let catalog = has_changed.then(|| text.to_string());
            hub.announce(relay, &Down::Database(DatabaseDown::Feed { lost, catalog }));
        }
    }
}
