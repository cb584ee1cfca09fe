//! Presence: who is in which topic. It determines what changed; the delivery decides who receives it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::code::{Code, Refusal};
use crate::engine::effect::{Task, Write};
use crate::engine::event::{Event, Member};
use crate::engine::input::PresenceRow;
use crate::engine::message::{Out, SessionId, ToDelivery, Tracking};
use crate::engine::profile::RosterOnTracking;
use crate::policy::channel::Topic;
use crate::policy::limits::Limits;

/// Everyone present in one tenant, as stored.
pub(in crate::engine) struct Presence {
    max_members: u64,
    /// By topic, then by public id.
    members: BTreeMap<(Option<Topic>, Rc<str>), Rc<Member>>,
    /// The topics of each member, so that a disconnect looks at no others.
    places: BTreeSet<(Rc<str>, Option<Topic>)>,
}

impl Presence {
    pub(super) fn wake(limits: &Limits, rows: &[PresenceRow]) -> Presence {
        let mut presence =
            Presence { max_members: limits.presence_members, members: BTreeMap::new(), places: BTreeSet::new() };
        presence.take_in(rows);
        presence
    }

    /// Restores members from their rows.
    pub(super) fn take_in(&mut self, rows: &[PresenceRow]) {
        for row in rows {
            let member = Member {
                client_id: Rc::from(row.client_id.as_str()),
                user: row.user.as_deref().map(Rc::from),
                key: row.key.as_deref().map(Rc::from),
                metadata: Rc::from(row.metadata.as_str()),
            };
            let topic =
                row.topic.as_ref().map(|(private, name)| Topic { private: *private, name: Rc::from(name.as_str()) });
            self.insert(topic, Rc::new(member));
        }
    }

    /// Adds a member; a known one takes the new metadata.
    pub(super) fn track(&mut self, tracking: Tracking, out: &mut Out) {
        let Tracking { session, topic, member, owns_key, roster, id } = tracking;
        let before = self.members.get(&(topic.clone(), member.client_id.clone())).cloned();
        if let Some(refusal) = self.refuse(&topic, &member, owns_key, before.is_some()) {
            out.to_delivery.push_back(ToDelivery::Refused { session, refusal, id, topic });
            return;
        }
        // A member that changes its key first leaves under the previous one.
        let is_there =
            before.is_some_and(|before| before.key == member.key || !self.remove(&topic, &member.client_id, out));
        out.to_delivery.extend(id.map(|id| ToDelivery::Done { session, id }));
        // In most dialects, a member that is already present knows the others, and follows the changes from then on.
        if roster == RosterOnTracking::Always || (roster == RosterOnTracking::Appearing && !is_there) {
            self.tell(session, topic.clone(), out);
        }
        if is_there {
            self.update(session, topic, &member.client_id, member.metadata.clone(), out);
            return;
        }
        out.run(Task::Write(Write::Track(row(&topic, &member))));
        out.to_delivery.push_back(ToDelivery::Present { session, topic: topic.clone(), present: true });
        self.insert(topic.clone(), member.clone());
        let event = Event::PresenceJoined { topic: topic.clone(), member };
        out.to_delivery.push_back(ToDelivery::Presence { topic, event });
    }

    /// Why a member may not be added, or not under its key.
    fn refuse(&self, topic: &Option<Topic>, member: &Member, owns_key: bool, is_there: bool) -> Option<Refusal> {
        if !is_there && self.of(topic).count() as u64 >= self.max_members {
            return Some(Refusal::of(Code::PresenceLimit));
        }
        let is_other = |one: &Member| match &member.user {
            Some(_) => one.user != member.user,
            None => one.client_id != member.client_id,
        };
        let is_taken = owns_key && self.of(topic).any(|one| one.listed_as() == member.listed_as() && is_other(one));
        is_taken.then(|| Refusal::because(Code::Forbidden, "The presence key belongs to somebody else."))
    }

    /// Replaces a member's metadata; identical metadata is not announced.
    pub(super) fn update(
        &mut self,
        session: SessionId,
        topic: Option<Topic>,
        client_id: &Rc<str>,
        metadata: Rc<str>,
        out: &mut Out,
    ) {
        let Some(before) = self.members.get(&(topic.clone(), client_id.clone())) else {
            out.to_delivery.push_back(not_tracked(session, topic));
            return;
        };
        if before.metadata == metadata {
            return;
        }
        let before = before.clone();
        let member = Rc::new(Member { metadata, ..Member::clone(&before) });
        out.run(Task::Write(Write::Track(row(&topic, &member))));
        self.insert(topic.clone(), member.clone());
        let event = Event::PresenceUpdated { topic: topic.clone(), member, before };
        out.to_delivery.push_back(ToDelivery::Presence { topic, event });
    }

    /// Removes a member from one topic.
    pub(super) fn untrack(
        &mut self,
        session: SessionId,
        topic: Option<Topic>,
        (client_id, key): (&Rc<str>, Option<&str>),
        out: &mut Out,
    ) {
        let member = self.members.get(&(topic.clone(), client_id.clone()));
        let is_meant = member.is_some_and(|member| key.is_none_or(|key| member.listed_as() == key));
        if !is_meant || !self.remove(&topic, client_id, out) {
            out.to_delivery.push_back(not_tracked(session, topic));
            return;
        }
        out.to_delivery.push_back(ToDelivery::Present { session, topic, present: false });
    }

    /// Removes a member from every topic.
    pub(super) fn gone(&mut self, client_id: &Rc<str>, out: &mut Out) {
        let all = self.places.range((client_id.clone(), None)..).take_while(|(one, _)| one == client_id);
        for topic in all.map(|(_, topic)| topic.clone()).collect::<Vec<_>>() {
            self.remove(&topic, client_id, out);
        }
    }

    /// Sends the members of a topic to one connection.
    pub(in crate::engine) fn tell(&self, session: SessionId, topic: Option<Topic>, out: &mut Out) {
        let members = self.of(&topic).cloned().collect();
        out.to_delivery.push_back(ToDelivery::Roster { session, topic, members });
    }

    /// Returns a presence event together with the resulting roster. This happens before the effects of the event, so
    /// that a leaving member receives it too.
    pub(super) fn gather(&self, topic: Option<Topic>, change: Box<Event>, only: Option<SessionId>, out: &mut Out) {
        let members = self.of(&topic).cloned().collect();
        out.to_delivery.push_front(ToDelivery::Gathered { topic, event: Event::Roster { change, members }, only });
    }

    /// The public id of every member with each of its topics.
    pub(in crate::engine) fn places(&self) -> &BTreeSet<(Rc<str>, Option<Topic>)> {
        &self.places
    }

    fn insert(&mut self, topic: Option<Topic>, member: Rc<Member>) {
        self.places.insert((member.client_id.clone(), topic.clone()));
        self.members.insert((topic, member.client_id.clone()), member);
    }

    /// The members of one topic.
    fn of(&self, topic: &Option<Topic>) -> impl Iterator<Item = &Rc<Member>> {
        let first = (topic.clone(), Rc::from(""));
        self.members.range(first..).take_while(move |((place, _), _)| place == topic).map(|(_, member)| member)
    }

    fn remove(&mut self, topic: &Option<Topic>, client_id: &Rc<str>, out: &mut Out) -> bool {
        let Some(member) = self.members.remove(&(topic.clone(), client_id.clone())) else { return false };
        self.places.remove(&(client_id.clone(), topic.clone()));
        let place = topic.as_ref().map(|topic| (topic.private, topic.name.clone()));
        out.run(Task::Write(Write::Untrack { client_id: member.client_id.clone(), topic: place }));
        let event = Event::PresenceLeft { topic: topic.clone(), member };
        out.to_delivery.push_back(ToDelivery::Presence { topic: topic.clone(), event });
        true
    }
}

fn not_tracked(session: SessionId, topic: Option<Topic>) -> ToDelivery {
    ToDelivery::Refused { session, refusal: Refusal::of(Code::NotTracked), id: None, topic }
}

fn row(topic: &Option<Topic>, member: &Member) -> PresenceRow {
    PresenceRow {
        client_id: member.client_id.to_string(),
        topic: topic.as_ref().map(|topic| (topic.private, topic.name.to_string())),
        user: member.user.as_deref().map(str::to_owned),
        key: member.key.as_deref().map(str::to_owned),
        metadata: member.metadata.to_string(),
    }
}
