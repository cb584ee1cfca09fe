//! Fan-out: from a publication to the views of its recipients, each worked out once.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::Delivery;
use super::class::{ClassKey, Pass, Scope};
use super::rules::{Judged, Rules, ViewKey};
use crate::engine::event::{Address, Bindings, Event, Kept, View};
use crate::engine::input::DialectId;
use crate::engine::message::{Accepted, Missable, Origin, Out, SessionId, ToStream};
use crate::engine::profile::{PresenceFrames, Profiles};
use crate::engine::publication::{Content, Publication};
use crate::engine::shared_text::SharedText;
use crate::policy::channel::Topic;
use crate::policy::table::Operation;
use crate::value::row::Row;

/// Recipients who get the same bytes: the same view, in the same dialect, with offsets or without, in a channel of the
/// same name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    said: Said,
    channel: Option<Rc<str>>,
}

/// What the recipients of a group are told, whatever the name of their channel.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    view: ViewNumber,
    dialect: DialectId,
    offsets: bool,
    /// Whether frames say more of it than what it is.
    in_detail: bool,
    is_own: bool,
    pass: Pass,
}

/// Names a view of one publication: its place among those that were asked for.
type ViewNumber = usize;

/// A view, once somebody looked.
struct Seen {
    key: ViewKey,
    view: OnceCell<Option<Rc<View>>>,
}

impl Delivery {
    /// Sends a publication to everyone who may see it, and says in how many frames.
    pub(super) fn publish(&self, accepted: &Accepted, origin: Option<Origin>, out: &mut Out) {
        let rules = Rules::of(accepted, &self.configuration);
        let mut gathering = Gathering::new(accepted, &rules, self.profiles, false);
        if rules.announces() {
            self.count_unjudged(accepted);
            let speaker = origin.as_ref().map(|origin| Speaker {
                session: origin.session,
                hears: origin.echo,
                is_told: self.profile(origin.session.socket).is_some_and(|profile| profile.marks_own),
            });
            self.gather(&rules, speaker.filter(|speaker| !speaker.hears || speaker.is_told), &mut gathering);
        }
        let mut frames = 0;
        let mut told: Option<(Said, Option<Event>)> = None;
        for (Group { said, channel }, to) in std::mem::take(&mut gathering.groups) {
            // Groups that are told the same stand side by side, and share the event.
            let dialect = said.dialect;
            let event = match told.take() {
                Some((known, event)) if known == said => told.insert((known, event)),
                _ => told.insert((said.clone(), gathering.event(&said))),
            };
            if let (_, Some(event)) = event {
                frames += to.len() as u64;
                let address = channel.map(|name| Address { name, reference: None });
                Self::deliver(to, dialect, address, event.clone(), out);
            }
        }
        out.to_stream.push_back(ToStream::Delivered { frames });
        if let Some(Origin { session, acknowledge: Some(id), persist, .. }) = origin {
            let kept = if persist { gathering.kept() } else { None };
            self.tell(session, Event::Acknowledged { id, kept }, out);
        }
    }

    /// The events that one connection gets of a publication, for a replay.
    pub(super) fn events_for(&self, session: SessionId, accepted: &Accepted, only: Option<&Missable>) -> Vec<Event> {
        self.replay(session, accepted, only).unwrap_or_default()
    }

    /// `only`: what a single subscription is to that is told what it missed.
    fn replay(&self, id: SessionId, accepted: &Accepted, only: Option<&Missable>) -> Option<Vec<Event>> {
        let session = self.sockets.session(id)?;
        let principal = &session.principal;
        let publication = &accepted.publication;
        if matches!(only, Some(Missable::Topic(topic)) if publication.topic.as_ref() != Some(topic)) {
            return None;
        }
        let rules = Rules::of(accepted, &self.configuration);
        let scope = scope(publication);
        let class = session.classes.iter().find(|class| class.scope == scope)?;
        let narrowed = only.and_then(|only| class.narrowed_to(only));
        let class = narrowed.as_ref().unwrap_or(class);
        if matches!(only, Some(Missable::Table(_))) && matches!(publication.content, Content::Message { .. }) {
            return None;
        }
        let is_meant = publication.user.is_none() || principal.is(publication.user.as_deref());
        if !rules.announces() || !is_meant || !rules.admits(&class.roles) || !self.delivers(publication, class) {
            return None;
        }
        let mut gathering = Gathering::new(accepted, &rules, self.profiles, true);
        let judged = rules.judged(&class.judge)?;
        let view = gathering.number(rules.view_key(&class.roles, rules.sight_of(principal), &judged)?);
        let passes = gathering.passes(class, view);
        let said = |pass| gathering.said(class, view, pass);
        Some(passes.into_iter().filter_map(|pass| gathering.event(&said(pass))).collect())
    }

    /// Tells everyone in a topic who came, changed or left. Where some want to know each time who is there, the stream
    /// is asked once for all of them.
    pub(super) fn spread(&self, topic: Option<Topic>, event: Event, out: &mut Out) {
        let changes = match &event {
            Event::PresenceChanged { changes, .. } => changes,
            one => std::slice::from_ref(one),
        };
        if !self.spread_to(PresenceFrames::Difference, &topic, (&event, changes), out) {
            return;
        }
        for change in changes {
            out.to_stream.push_back(ToStream::Gather { topic: topic.clone(), change: Box::new(change.clone()) });
        }
    }

    /// Tells those who want to know who is there.
    pub(super) fn spread_with_roster(&self, topic: Option<Topic>, event: Event, out: &mut Out) {
        self.spread_to(PresenceFrames::Roster, &topic, (&event, std::slice::from_ref(&event)), out);
    }

    /// Tells those of a topic whose frames are these, and says whether there are others. `event` is all of `changes`.
    fn spread_to(
        &self,
        frames: PresenceFrames,
        topic: &Option<Topic>,
        (event, changes): (&Event, &[Event]),
        out: &mut Out,
    ) -> bool {
        let mut are_others = false;
        for (class, members) in self.classes.of(&Scope::Presence(topic.clone())) {
            let profile = (self.profiles)(class.dialect);
            if profile.is_some_and(|profile| profile.presence_frames != frames) {
                are_others = true;
                continue;
            }
            // Where whoever appears is not told of it, each change has recipients of its own.
            let is_told_apart = profile.is_some_and(|profile| !profile.hears_oneself_appear);
            let events = if is_told_apart { changes } else { std::slice::from_ref(event) };
            for event in events {
                let to = self.told_of(class, members, event);
                if to.is_empty() {
                    continue;
                }
                let address = class.channel.clone().map(|name| Address { name, reference: None });
                Self::deliver(to, class.dialect, address, event.clone(), out);
            }
        }
        are_others
    }

    /// Those members of a class who are told of a presence: in some dialects not whose it is.
    fn told_of(&self, class: &ClassKey, members: &BTreeSet<SessionId>, event: &Event) -> Vec<SessionId> {
        let hears_oneself = (self.profiles)(class.dialect).is_none_or(|profile| profile.hears_oneself_appear);
        let (Event::PresenceJoined { member, .. } | Event::PresenceUpdated { member, .. }) = event else {
            return members.iter().copied().collect();
        };
        let is_oneself =
            |id: &SessionId| self.sockets.session(*id).is_some_and(|session| session.client_id == member.client_id);
        members.iter().copied().filter(|id| hears_oneself || !is_oneself(id)).collect()
    }

    /// Whether the table of a change is one whose changes a class gets in its dialect.
    fn delivers(&self, publication: &Publication, class: &ClassKey) -> bool {
        let Content::Change { schema, table, .. } = &publication.content else { return true };
        let delivery = (self.profiles)(class.dialect).map(|profile| profile.table_delivery);
        delivery.is_some_and(|delivery| self.withheld(delivery, (schema, table), &class.roles).is_none())
    }

    fn gather(&self, rules: &Rules<'_>, speaker: Option<Speaker>, gathering: &mut Gathering<'_>) {
        let publication = &*gathering.accepted.publication;
        let scope = scope(publication);
        let named = self.named(publication, rules);
        let add = |(class, members): (&Rc<ClassKey>, &BTreeSet<SessionId>)| {
            let Some(judged) = rules.judged(&class.judge) else { return };
            let mut single = BTreeSet::new();
            single.extend(named.intersection(members));
            single.extend(speaker.map(|speaker| speaker.session).filter(|session| members.contains(session)));
            if publication.user.is_none() {
                gathering.add_class(class, members, &single, &judged);
            }
            for session in single {
                let speaks = speaker.filter(|speaker| speaker.session == session);
                if speaks.is_some_and(|speaker| !speaker.hears) {
                    continue;
                }
                let principal = self.sockets.session(session).map(|session| &session.principal);
                let sight = principal.map(|principal| rules.sight_of(principal)).unwrap_or_default();
                gathering.is_own = speaks.is_some();
                gathering.add(class, rules.view_key(&class.roles, sight, &judged), std::iter::once(session));
                gathering.is_own = false;
            }
        };
        let admits = |(class, _): &(&Rc<ClassKey>, _)| rules.admits(&class.roles) && self.delivers(publication, class);
        match &publication.content {
            Content::Change { schema, table, .. } => match rules.verdict() {
                Some(verdict) => {
                    let judged = self.classes.of_judged(&scope, (schema, table), rules, verdict);
                    judged.into_iter().filter(admits).for_each(add);
                }
                None => self.classes.of_change(&scope, (schema, table), rules).filter(admits).for_each(add),
            },
            Content::Message { .. } => self.classes.of(&scope).filter(admits).for_each(add),
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

/// The session that a message is from, where it does not get what the others get.
#[derive(Clone, Copy)]
struct Speaker {
    session: SessionId,
    /// Whether it gets its own message.
    hears: bool,
    /// Whether it is told that it is its own.
    is_told: bool,
}

/// Recipients being gathered, with every view worked out once.
struct Gathering<'a> {
    accepted: &'a Accepted,
    rules: &'a Rules<'a>,
    profiles: Profiles,
    is_replay: bool,
    /// Whether the next to be added is who said it.
    is_own: bool,
    groups: BTreeMap<Group, Vec<SessionId>>,
    numbers: BTreeMap<ViewKey, ViewNumber>,
    views: Vec<Seen>,
}

impl<'a> Gathering<'a> {
    fn new(accepted: &'a Accepted, rules: &'a Rules<'a>, profiles: Profiles, is_replay: bool) -> Gathering<'a> {
        Gathering {
            accepted,
            rules,
            profiles,
            is_replay,
            is_own: false,
            groups: BTreeMap::new(),
            numbers: BTreeMap::new(),
            views: Vec::new(),
        }
    }

    fn said(&self, class: &ClassKey, view: ViewNumber, pass: Pass) -> Said {
        let names_subscriptions = (self.profiles)(class.dialect).is_some_and(|profile| profile.names_subscriptions);
        Said {
            view,
            dialect: class.dialect,
            offsets: class.offsets,
            in_detail: class.channel.is_some() || names_subscriptions,
            is_own: self.is_own,
            pass,
        }
    }

    /// Adds those members of a class who are nothing but that.
    fn add_class(
        &mut self,
        class: &ClassKey,
        members: &BTreeSet<SessionId>,
        single: &BTreeSet<SessionId>,
        judged: &Judged,
    ) {
        let key = self.rules.view_key(&class.roles, self.rules.sight_of_roles(&class.roles), judged);
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
        let view = self.number(key);
        let mut passes = self.passes(class, view);
        let Some(last) = passes.pop() else { return };
        if passes.is_empty() {
            return self.add_to_group(class, self.said(class, view, last), members);
        }
        let members: Vec<SessionId> = members.collect();
        for pass in passes.into_iter().chain([last]) {
            self.add_to_group(class, self.said(class, view, pass), members.iter().copied());
        }
    }

    fn add_to_group(&mut self, class: &ClassKey, said: Said, members: impl Iterator<Item = SessionId>) {
        let group = Group { said, channel: class.channel.clone() };
        self.groups.entry(group).or_default().extend(members);
    }

    /// How what is seen passes the table subscriptions. They are judged on the view, so a filter tells nobody anything
    /// about a value that is masked for them.
    fn passes(&self, class: &ClassKey, view: ViewNumber) -> Vec<Pass> {
        let Some(profile) = (self.profiles)(class.dialect) else { return Vec::new() };
        let Content::Change { schema, table, .. } = &self.accepted.publication.content else {
            // A channel receives the messages of its topic only.
            let is_heard = (class.channel.is_none() || class.scope != Scope::Organization) && profile.hears_messages;
            return if is_heard { vec![Pass::default()] } else { Vec::new() };
        };
        let Some(view) = self.seen(view) else { return Vec::new() };
        let row = if view.operation == Operation::Delete { &view.old } else { &view.new };
        let is_told = profile.removes_unmatched && view.operation == Operation::Update;
        let rows = (row.as_ref(), view.old.as_ref().filter(|_| is_told));
        class.narrowing.passes((schema, table), view.operation, rows, self.rules.table)
    }

    /// The number of a view.
    fn number(&mut self, key: ViewKey) -> ViewNumber {
        let views = &mut self.views;
        *self.numbers.entry(key).or_insert_with_key(|key| {
            views.push(Seen { key: key.clone(), view: OnceCell::new() });
            views.len() - 1
        })
    }

    fn seen(&self, view: ViewNumber) -> Option<&Rc<View>> {
        let seen = self.views.get(view)?;
        seen.view.get_or_init(|| self.rules.view(&seen.key).map(Rc::new)).as_ref()
    }

    fn event(&self, said: &Said) -> Option<Event> {
        let Accepted { publication, offset, .. } = self.accepted;
        let topic = publication.topic.clone();
        let offset = said.offsets.then_some(*offset);
        let shared = SharedText::default();
        Some(match &publication.content {
            Content::Change { schema, table, .. } => {
                let seen = self.seen(said.view)?;
                let view = said.pass.select.as_ref().map_or_else(|| seen.clone(), |select| self.selected(seen, select));
                let view = if said.pass.has_left { removed(&view) } else { view };
                let bindings = said.in_detail.then(|| self.bindings(&said.pass));
                Event::Change { schema: schema.clone(), table: table.clone(), view, topic, offset, bindings, shared }
            }
            Content::Message { event, payload, whole } => {
                let whole = whole.clone().filter(|_| publication.masking.is_empty());
                let payload = self.rules.payload(payload, &self.views.get(said.view)?.key);
                let (kept, is_own) = (said.in_detail.then(|| self.kept()).flatten(), said.is_own);
                Event::Message { event: event.clone(), payload, whole, topic, offset, kept, is_own, shared }
            }
        })
    }

    /// The view with the selected columns and the primary key.
    fn selected(&self, view: &View, select: &BTreeSet<String>) -> Rc<View> {
        let database = self.accepted.publication.database.as_ref();
        let keys: Vec<&String> = match database {
            Some(database) => database.key.iter().collect(),
            None => self.rules.table.primary_key.iter().collect(),
        };
        let project = |row: &Option<Row>| {
            row.clone()
                .map(|row| row.project(|column| select.contains(column) || keys.iter().any(|key| *key == column)))
        };
        Rc::new(View { operation: view.operation, new: project(&view.new), old: project(&view.old) })
    }

    fn bindings(&self, pass: &Pass) -> Rc<Bindings> {
        let mut types = self.rules.table.columns.clone();
        types.extend(self.accepted.publication.columns.clone());
        let database = self.accepted.publication.database.clone();
        let time = database.as_ref().and_then(|database| database.at).unwrap_or(self.accepted.time);
        Rc::new(Bindings { numbers: pass.numbers.clone(), types, time, database })
    }

    fn kept(&self) -> Option<Rc<Kept>> {
        let id = self.accepted.publication.id.clone().unwrap_or_else(|| self.accepted.offset.to_string());
        self.accepted.is_kept.then(|| Rc::new(Kept { id, replayed: self.is_replay }))
    }
}

/// A change for those from whose sight it takes the row.
fn removed(view: &View) -> Rc<View> {
    Rc::new(View { operation: Operation::Delete, new: None, old: view.old.clone() })
}

/// Who can hear a publication at all.
fn scope(publication: &Publication) -> Scope {
    publication.topic.clone().map_or(Scope::Organization, Scope::Topic)
}
