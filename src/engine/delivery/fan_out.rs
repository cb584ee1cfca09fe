//! Fan-out: from a publication to the views of its recipients, each worked out once.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::Delivery;
use super::class::{ClassKey, Scope};
use super::rules::{Rules, ViewKey};
use crate::engine::effect::Effect;
use crate::engine::event::{Event, View};
use crate::engine::input::{SocketId, Wire};
use crate::engine::message::{Origin, Out, ToStream};
use crate::engine::publication::{Content, Publication};
use crate::policy::channel::Topic;
use crate::policy::table::Operation;

/// Recipients who get the same bytes: the same view, in the same dialect, with offsets or without. There are few groups,
/// so they are found by looking through them.
struct Group {
    key: ViewKey,
    wire: Wire,
    offsets: bool,
    to: Vec<SocketId>,
}

impl Delivery {
    /// Sends a publication to everyone who may see it, and says in how many frames.
    pub(super) fn publish(&self, publication: &Publication, offset: u64, origin: Option<Origin>, out: &mut Out) {
        let rules = Rules::of(publication, &self.configuration);
        let mut gathering = Gathering::new(publication, &rules);
        if rules.announces() {
            let unheard = origin.as_ref().filter(|origin| !origin.echo).map(|origin| origin.socket);
            self.gather(publication, &rules, unheard, &mut gathering);
        }
        let mut frames = 0;
        for Group { key, wire, offsets, to } in std::mem::take(&mut gathering.groups) {
            if let Some(event) = gathering.event(&key, offsets.then_some(offset)) {
                frames += to.len() as u64;
                out.effects.push(Effect::Deliver { to, wire, event });
            }
        }
        out.to_stream.push_back(ToStream::Delivered { frames });
        if let Some(Origin { socket, acknowledge: Some(id), .. }) = origin {
            self.tell(socket, Event::Acknowledged { id }, out);
        }
    }

    /// The event that one connection gets of a publication, for a replay; `None`: it sees nothing of it.
    pub(super) fn event_for(&self, socket: SocketId, publication: &Publication, offset: u64) -> Option<Event> {
        let connection = self.connections.get(socket)?;
        let principal = connection.principal.as_ref()?;
        let rules = Rules::of(publication, &self.configuration);
        let scope = scope(publication);
        let class = connection.classes.iter().find(|class| class.scope == scope)?;
        let is_meant = publication.user.is_none() || principal.is(publication.user.as_deref());
        if !rules.announces() || !is_meant || !rules.admits(&class.roles) {
            return None;
        }
        let mut gathering = Gathering::new(publication, &rules);
        let key = rules.view_key(&class.roles, rules.sight_of(principal))?;
        gathering.passes(class, &key).then(|| gathering.event(&key, class.offsets.then_some(offset)))?
    }

    /// Tells everyone in a topic who came, changed or left.
    pub(super) fn spread(&self, topic: Option<Topic>, event: Event, out: &mut Out) {
        for (class, members) in self.classes.of(&Scope::Presence(topic)) {
            let to = members.iter().copied().collect();
            out.effects.push(Effect::Deliver { to, wire: class.wire, event: event.clone() });
        }
    }

    fn gather(
        &self,
        publication: &Publication,
        rules: &Rules<'_>,
        unheard: Option<SocketId>,
        gathering: &mut Gathering<'_>,
    ) {
        let scope = scope(publication);
        let named = self.named(publication, rules);
        for (class, members) in self.classes.of(&scope).filter(|(class, _)| rules.admits(&class.roles)) {
            let mut single = BTreeSet::new();
            single.extend(named.intersection(members));
            single.extend(unheard.filter(|socket| members.contains(socket)));
            if publication.user.is_none() {
                gathering.add_class(class, members, &single);
            }
            for socket in single.into_iter().filter(|socket| Some(*socket) != unheard) {
                let principal = self.connections.get(socket).and_then(|connection| connection.principal.as_ref());
                let sight = principal.map(|principal| rules.sight_of(principal)).unwrap_or_default();
                gathering.add(class, rules.view_key(&class.roles, sight), std::iter::once(socket));
            }
        }
    }

    /// The connections that the publication or a rule names: its user, the rows' owners, holders of a row's claims.
    fn named(&self, publication: &Publication, rules: &Rules<'_>) -> BTreeSet<SocketId> {
        let mut named = BTreeSet::new();
        if let Some(user) = &publication.user {
            named.extend(self.people.user(user));
            return named;
        }
        let owners = rules.owners().flat_map(|user| self.people.user(user));
        let claims = rules.claims();
        let holders = claims.iter().flat_map(|(claim, value)| self.people.holders(claim, value));
        named.extend(owners.chain(holders));
        named
    }
}

/// Recipients being gathered, with every view worked out once.
struct Gathering<'a> {
    publication: &'a Publication,
    rules: &'a Rules<'a>,
    groups: Vec<Group>,
    views: Vec<(ViewKey, Option<Rc<View>>)>,
}

impl<'a> Gathering<'a> {
    fn new(publication: &'a Publication, rules: &'a Rules<'a>) -> Gathering<'a> {
        Gathering { publication, rules, groups: Vec::new(), views: Vec::new() }
    }

    /// Adds those members of a class who are nothing but that.
    fn add_class(&mut self, class: &ClassKey, members: &BTreeSet<SocketId>, single: &BTreeSet<SocketId>) {
        let key = self.rules.view_key(&class.roles, self.rules.sight_of_roles(&class.roles));
        if single.is_empty() {
            self.add(class, key, members.iter().copied());
        } else {
            self.add(class, key, members.difference(single).copied());
        }
    }

    /// Adds members of a class who all see the same, if that passes the class's subscriptions.
    fn add(&mut self, class: &ClassKey, key: Option<ViewKey>, members: impl Iterator<Item = SocketId>) {
        let Some(key) = key else { return };
        let mut members = members.peekable();
        if members.peek().is_none() || !self.passes(class, &key) {
            return;
        }
        let (wire, offsets) = (class.wire, class.offsets);
        let same = |group: &&mut Group| group.wire == wire && group.offsets == offsets && group.key == key;
        match self.groups.iter_mut().find(same) {
            Some(group) => group.to.extend(members),
            None => self.groups.push(Group { key, wire, offsets, to: members.collect() }),
        }
    }

    /// Whether what is seen passes the table subscriptions. They are judged on the view, so a filter tells nobody
    /// anything about a value that is masked for them.
    fn passes(&mut self, class: &ClassKey, key: &ViewKey) -> bool {
        let Content::Change { schema, table, .. } = &self.publication.content else { return true };
        let Some(view) = self.seen(key) else { return false };
        let row = if view.operation == Operation::Delete { &view.old } else { &view.new };
        class.narrowing.passes(schema, table, view.operation, row.as_ref(), self.rules.table)
    }

    fn seen(&mut self, key: &ViewKey) -> Option<Rc<View>> {
        if let Some((_, view)) = self.views.iter().find(|(known, _)| known == key) {
            return view.clone();
        }
        let view = self.rules.view(key).map(Rc::new);
        self.views.push((key.clone(), view.clone()));
        view
    }

    fn event(&mut self, key: &ViewKey, offset: Option<u64>) -> Option<Event> {
        let topic = self.publication.topic.clone();
        Some(match &self.publication.content {
            Content::Change { schema, table, .. } => {
                Event::Change { schema: schema.clone(), table: table.clone(), view: self.seen(key)?, topic, offset }
            }
            Content::Message { event, payload } => {
                let payload = self.rules.payload(payload, key);
                Event::Message { event: event.clone(), payload, topic, offset }
            }
        })
    }
}

/// Who can hear a publication at all.
fn scope(publication: &Publication) -> Scope {
    publication.topic.clone().map_or(Scope::Organization, Scope::Topic)
}
