//! Fan-out: from a publication to the views of its recipients, each worked out once.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::Delivery;
use super::class::{ClassKey, Pass, Scope};
use super::rules::{Rules, ViewKey};
use crate::engine::event::{Address, Bindings, Event, Kept, View};
use crate::engine::input::DialectId;
use crate::engine::message::{Accepted, Origin, Out, SessionId, ToStream};
use crate::engine::publication::{Content, Publication};
use crate::policy::channel::Topic;
use crate::policy::table::Operation;
use crate::value::row::Row;

/// Recipients who get the same bytes: the same view, in the same dialect, with offsets or without, in a channel of the
/// same name. There are few groups, so they are found by looking through them.
struct Group {
    key: ViewKey,
    wire: DialectId,
    channel: Option<Rc<str>>,
    offsets: bool,
    pass: Pass,
    to: Vec<SessionId>,
}

impl Delivery {
    /// Sends a publication to everyone who may see it, and says in how many frames.
    pub(super) fn publish(&self, accepted: &Accepted, origin: Option<Origin>, out: &mut Out) {
        let rules = Rules::of(&accepted.publication, &self.configuration);
        let mut gathering = Gathering::new(accepted, &rules, false);
        if rules.announces() {
            let unheard = origin.as_ref().filter(|origin| !origin.echo).map(|origin| origin.session);
            self.gather(&rules, unheard, &mut gathering);
        }
        let mut frames = 0;
        for group in std::mem::take(&mut gathering.groups) {
            if let Some(event) = gathering.event(&group.key, &group.pass, group.offsets, group.channel.is_some()) {
                frames += group.to.len() as u64;
                let address = group.channel.map(|name| Address { name, reference: None });
                Self::deliver(group.to, group.wire, address, event, out);
            }
        }
        out.to_stream.push_back(ToStream::Delivered { frames });
        if let Some(Origin { session, acknowledge: Some(id), persist, .. }) = origin {
            let kept = if persist { gathering.kept() } else { None };
            self.tell(session, Event::Acknowledged { id, kept }, out);
        }
    }

    /// The events that one connection gets of a publication, for a replay.
    pub(super) fn events_for(&self, session: SessionId, accepted: &Accepted) -> Vec<Event> {
        self.replay(session, accepted).unwrap_or_default()
    }

    fn replay(&self, id: SessionId, accepted: &Accepted) -> Option<Vec<Event>> {
        let session = self.sockets.session(id)?;
        let principal = &session.principal;
        let publication = &accepted.publication;
        let rules = Rules::of(publication, &self.configuration);
        let scope = scope(publication);
        let class = session.classes.iter().find(|class| class.scope == scope)?;
        let is_meant = publication.user.is_none() || principal.is(publication.user.as_deref());
        if !rules.announces() || !is_meant || !rules.admits(&class.roles) {
            return None;
        }
        let mut gathering = Gathering::new(accepted, &rules, true);
        let key = rules.view_key(&class.roles, rules.sight_of(principal))?;
        let passes = gathering.passes(class, &key);
        Some(
            passes
                .iter()
                .filter_map(|pass| gathering.event(&key, pass, class.offsets, class.channel.is_some()))
                .collect(),
        )
    }

    /// Tells everyone in a topic who came, changed or left.
    pub(super) fn spread(&self, topic: Option<Topic>, event: Event, out: &mut Out) {
        for (class, members) in self.classes.of(&Scope::Presence(topic)) {
            let to = members.iter().copied().collect();
            let address = class.channel.clone().map(|name| Address { name, reference: None });
            Self::deliver(to, class.wire, address, event.clone(), out);
        }
    }

    fn gather(&self, rules: &Rules<'_>, unheard: Option<SessionId>, gathering: &mut Gathering<'_>) {
        let publication = &*gathering.accepted.publication;
        let scope = scope(publication);
        let named = self.named(publication, rules);
        for (class, members) in self.classes.of(&scope).filter(|(class, _)| rules.admits(&class.roles)) {
            let mut single = BTreeSet::new();
            single.extend(named.intersection(members));
            single.extend(unheard.filter(|session| members.contains(session)));
            if publication.user.is_none() {
                gathering.add_class(class, members, &single);
            }
            for session in single.into_iter().filter(|session| Some(*session) != unheard) {
                let principal = self.sockets.session(session).map(|session| &session.principal);
                let sight = principal.map(|principal| rules.sight_of(principal)).unwrap_or_default();
                gathering.add(class, rules.view_key(&class.roles, sight), std::iter::once(session));
            }
        }
    }

    /// The connections that the publication or a rule names: its user, the rows' owners, holders of a row's claims.
    fn named(&self, publication: &Publication, rules: &Rules<'_>) -> BTreeSet<SessionId> {
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
    accepted: &'a Accepted,
    rules: &'a Rules<'a>,
    is_replay: bool,
    groups: Vec<Group>,
    views: Vec<(ViewKey, Option<Rc<View>>)>,
}

impl<'a> Gathering<'a> {
    fn new(accepted: &'a Accepted, rules: &'a Rules<'a>, is_replay: bool) -> Gathering<'a> {
        Gathering { accepted, rules, is_replay, groups: Vec::new(), views: Vec::new() }
    }

    /// Adds those members of a class who are nothing but that.
    fn add_class(&mut self, class: &ClassKey, members: &BTreeSet<SessionId>, single: &BTreeSet<SessionId>) {
        let key = self.rules.view_key(&class.roles, self.rules.sight_of_roles(&class.roles));
        if single.is_empty() {
            self.add(class, key, members.iter().copied());
        } else {
            self.add(class, key, members.difference(single).copied());
        }
    }

    /// Adds members of a class who all see the same, if that passes the class's subscriptions.
    fn add(&mut self, class: &ClassKey, key: Option<ViewKey>, members: impl Iterator<Item = SessionId>) {
        let Some(key) = key else { return };
        let mut members = members.peekable();
        if members.peek().is_none() {
            return;
        }
        let mut passes = self.passes(class, &key);
        let Some(last) = passes.pop() else { return };
        if passes.is_empty() {
            return self.add_to_group(class, key, last, members);
        }
        let members: Vec<SessionId> = members.collect();
        for pass in passes.into_iter().chain([last]) {
            self.add_to_group(class, key.clone(), pass, members.iter().copied());
        }
    }

    fn add_to_group(&mut self, class: &ClassKey, key: ViewKey, pass: Pass, members: impl Iterator<Item = SessionId>) {
        let (wire, channel, offsets) = (class.wire, &class.channel, class.offsets);
        let same = |group: &&mut Group| {
            group.wire == wire
                && group.offsets == offsets
                && group.channel == *channel
                && group.pass == pass
                && group.key == key
        };
        match self.groups.iter_mut().find(same) {
            Some(group) => group.to.extend(members),
            None => {
                let channel = channel.clone();
                self.groups.push(Group { key, wire, channel, offsets, pass, to: members.collect() });
            }
        }
    }

    /// How what is seen passes the table subscriptions. They are judged on the view, so a filter tells nobody anything
    /// about a value that is masked for them.
    fn passes(&mut self, class: &ClassKey, key: &ViewKey) -> Vec<Pass> {
        let Content::Change { schema, table, .. } = &self.accepted.publication.content else {
            // A channel receives the messages of its topic only.
            let is_heard = class.channel.is_none() || class.scope != Scope::Organization;
            return if is_heard { vec![Pass::default()] } else { Vec::new() };
        };
        let Some(view) = self.seen(key) else { return Vec::new() };
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

    fn event(&mut self, key: &ViewKey, pass: &Pass, with_offset: bool, in_channel: bool) -> Option<Event> {
        let Accepted { publication, offset, .. } = self.accepted;
        let topic = publication.topic.clone();
        let offset = with_offset.then_some(*offset);
        Some(match &publication.content {
            Content::Change { schema, table, .. } => {
                let seen = self.seen(key)?;
                let view = pass.select.as_ref().map_or_else(|| seen.clone(), |select| self.selected(&seen, select));
                let bindings = in_channel.then(|| self.bindings(pass));
                Event::Change { schema: schema.clone(), table: table.clone(), view, topic, offset, bindings }
            }
            Content::Message { event, payload, whole } => {
                let whole = whole.clone().filter(|_| publication.masking.is_empty());
                let payload = self.rules.payload(payload, key);
                let kept = in_channel.then(|| self.kept()).flatten();
                Event::Message { event: event.clone(), payload, whole, topic, offset, kept }
            }
        })
    }

    /// The view with the selected columns and the primary key.
    fn selected(&self, view: &View, select: &BTreeSet<String>) -> Rc<View> {
        let keys = &self.rules.table.primary_key;
        let project = |row: &Option<Row>| {
            row.clone().map(|row| row.project(|column| select.contains(column) || keys.iter().any(|key| key == column)))
        };
        Rc::new(View { operation: view.operation, new: project(&view.new), old: project(&view.old) })
    }

    fn bindings(&self, pass: &Pass) -> Rc<Bindings> {
        let mut types = self.rules.table.columns.clone();
        types.extend(self.accepted.publication.columns.clone());
        Rc::new(Bindings { numbers: pass.numbers.clone(), types, time: self.accepted.time })
    }

    fn kept(&self) -> Option<Rc<Kept>> {
        let id = self.accepted.publication.id.clone().unwrap_or_else(|| self.accepted.offset.to_string());
        self.accepted.is_kept.then(|| Rc::new(Kept { id, replayed: self.is_replay }))
    }
}

/// Who can hear a publication at all.
fn scope(publication: &Publication) -> Scope {
    publication.topic.clone().map_or(Scope::Organization, Scope::Topic)
}
