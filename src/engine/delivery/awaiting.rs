//! Subscriptions that wait for the database: each is confirmed or refused once the database has answered.

use std::rc::Rc;

use super::Delivery;
use super::session::{Awaiting, Subscription};
use crate::code::{Code, Refusal};
use crate::engine::command::Position;
use crate::engine::database::interest::Readiness;
use crate::engine::event::Event;
use crate::engine::message::{Announcement, Out, RecoveryTarget, SessionId, ToStream};
use crate::engine::profile::TableDelivery;
use crate::policy::limits::MAX_DATABASE_WAIT;

impl Delivery {
    /// The subscriptions that a session now waits for.
    pub(super) fn awaiting(now: u64, ids: Vec<String>, announce: bool) -> Option<Box<Awaiting>> {
        let until = Some(now.saturating_add(MAX_DATABASE_WAIT));
        (!ids.is_empty() || announce).then(|| Box::new(Awaiting { until, ids, announce, ..Awaiting::default() }))
    }

    /// Adds subscriptions to those that a session is waiting for.
    pub(super) fn wait_for_database(&mut self, now: u64, id: SessionId, asked: Vec<(String, Option<Rc<str>>)>) {
        let ids: Vec<String> = asked.iter().map(|(id, _)| id.clone()).collect();
        let answers = asked.into_iter().filter_map(|(id, answer)| Some((id, answer?.to_string())));
        self.registry.change(id, |session| {
            let mut awaiting = session.awaiting.take().unwrap_or_default();
            awaiting.until = Some(now.saturating_add(MAX_DATABASE_WAIT));
            awaiting.ids.retain(|known| !ids.contains(known));
            awaiting.ids.extend(ids);
            awaiting.answers.extend(answers);
            session.awaiting = Some(awaiting);
        });
    }

    /// Reports to waiting sessions the outcome of their subscriptions.
    pub(super) fn tell_ready(&mut self, now: u64, out: &mut Out) {
        let waiting: Vec<SessionId> = self.registry.awaiting.iter().copied().collect();
        waiting.into_iter().for_each(|session| self.settle_awaiting(now, session, out));
    }

    /// Reports to one session. Subscriptions that the database has not answered for keep waiting.
    pub(super) fn settle_awaiting(&mut self, now: u64, id: SessionId, out: &mut Out) {
        match (self.is_resuming(id), self.registry.is_pending(id)) {
            (true, true) => return,
            (true, false) => return self.resume(id, out),
            (false, _) => {}
        }
        let Some(session) = self.registry.session(id) else { return };
        let Some(awaiting) = session.awaiting.clone() else { return };
        let (mut left, mut answers) = (Vec::new(), Vec::new());
        for name in awaiting.ids {
            match self.registry.readiness_of(session, &name) {
                None => {}
                Some(Readiness::Pending) => left.push(name),
                Some(Readiness::Live) => answers.push((name, Ok(()))),
                Some(Readiness::Refused(refusal)) => answers.push((name, Err(refusal))),
            }
        }
        if session.channel.is_some() {
            return self.tell_channel(id, Awaiting { ids: left, ..*awaiting }, answers, out);
        }
        let (mut repeats, mut since) = (awaiting.answers.clone(), awaiting.since.clone());
        let awaiting = if left.is_empty() { None } else { Some(Box::new(Awaiting { ids: left, ..*awaiting })) };
        self.registry.change(id, |session| session.awaiting = awaiting);
        for (name, answer) in answers {
            match answer {
                Ok(()) => {
                    let (answer, since) = (repeats.remove(&name).map(Rc::from), since.remove(&name));
                    self.stands(id, name, answer, since, out);
                }
                Err(refusal) => self.drop_subscription(now, id, name, refusal, out),
            }
        }
    }

    /// Confirms a table subscription, and replays what it missed if requested.
    fn stands(
        &mut self,
        id: SessionId,
        name: String,
        answer: Option<Rc<str>>,
        since: Option<(String, u64)>,
        out: &mut Out,
    ) {
        let target = self.registry.session(id).and_then(|session| session.subscriptions.get(&name)?.table());
        match (since, target.cloned()) {
            (Some((epoch, offset)), Some(target)) => {
                let then =
                    Announcement::Subscribed { id: name, answer, to: RecoveryTarget::Table(target), watch: None };
                let from = self.registry.since(id, Position { epoch, offset });
                out.to_stream.push_back(ToStream::Resume { session: id, from, then });
            }
            _ => {
                self.registry.tell(id, Event::Subscribed { id: name.clone(), answer, recovered: None }, out);
                self.warn_of_table(id, &name, out);
            }
        }
    }

    /// Reports to a session whether all its table subscriptions are allowed. Refused subscriptions stay dormant,
    /// because a later token may restore the right; the audience of each change is decided separately.
    pub(super) fn tell_live(&mut self, now: u64, id: SessionId, out: &mut Out) {
        let Some(session) = self.registry.session(id) else { return };
        if session.tables().next().is_none() {
            return;
        }
        if !session.tables().all(|target| self.rights().admits(target, &session.principal)) {
            let tables = Some(Err(Refusal::of(Code::Forbidden)));
            return self.registry.tell(id, Event::Live { tables, announce: false }, out);
        }
        let is_table = |subscription: &&Subscription| subscription.table().is_some();
        let tables = session.subscriptions.iter().filter(is_table);
        let ids = tables.map(|subscription| (subscription.id.clone(), None)).collect();
        self.wait_for_database(now, id, ids);
        self.settle_awaiting(now, id, out);
    }

    /// A channel receives one answer, when none of its subscriptions is pending.
    fn tell_channel(
        &mut self,
        id: SessionId,
        awaiting: Awaiting,
        answers: Vec<(String, Result<(), Refusal>)>,
        out: &mut Out,
    ) {
        let refused = answers.into_iter().find_map(|(_, answer)| answer.err());
        let is_open = !awaiting.announce || self.registry.hears_database();
        if refused.is_none() && (!awaiting.ids.is_empty() || !is_open) {
            return;
        }
        let has_tables = self.registry.session(id).is_some_and(|session| session.tables().next().is_some());
        let tables = has_tables.then(|| refused.map_or(Ok(()), Err));
        self.registry.change(id, |session| session.awaiting = None);
        self.registry.tell(id, Event::Live { tables, announce: awaiting.announce && is_open }, out);
    }

    pub(super) fn drop_subscription(&mut self, now: u64, id: SessionId, name: String, refusal: Refusal, out: &mut Out) {
        self.registry.unsubscribe(id, &name);
        self.refuse(now, id, refusal, (Some(name), None), out);
    }

    /// Reports to a session that the database has not answered in time. Subscriptions of a channel keep waiting.
    pub(super) fn database_timed_out(&mut self, now: u64, id: SessionId, out: &mut Out) {
        let Some(session) = self.registry.session(id) else { return };
        let Some(awaiting) = session.awaiting.clone() else { return };
        if self.is_resuming(id) {
            return self.resume(id, out);
        }
        let refusal = Refusal::of(Code::SourceUnavailable);
        if session.channel.is_some() {
            let has_tables = !awaiting.ids.is_empty();
            self.registry
                .change(id, |session| session.awaiting = Some(Box::new(Awaiting { until: None, ..*awaiting })));
            let tables = has_tables.then_some(Err(refusal));
            return self.registry.tell(id, Event::Live { tables, announce: false }, out);
        }
        self.registry.change(id, |session| session.awaiting = None);
        if self.registry.profile(id.socket).is_some_and(|profile| profile.table_delivery == TableDelivery::Enabled) {
            return self.stand_unanswered(id, *awaiting, out);
        }
        for name in awaiting.ids {
            self.drop_subscription(now, id, name, refusal.clone(), out);
        }
    }

    /// Confirms subscriptions although the database has not said whether they can receive anything: changes follow once
    /// it is back. What was missed until then is unknown.
    fn stand_unanswered(&self, id: SessionId, mut awaiting: Awaiting, out: &mut Out) {
        for name in awaiting.ids {
            let answer = awaiting.answers.remove(&name).map(Rc::from);
            let recovered = awaiting.since.contains_key(&name).then_some(false);
            self.registry.tell(id, Event::Subscribed { id: name, answer, recovered }, out);
        }
    }
}
