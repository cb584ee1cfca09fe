//! Gathering: groups the recipients of one publication that receive the same bytes, and computes each view once.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::class::{ClassKey, Match, Scope};
use super::filter_meter::Steps;
use super::rules::{Judged, Rules, ViewKey};
use crate::engine::event::{Bindings, Event, Retained, View};
use crate::engine::input::DialectId;
use crate::engine::message::{Accepted, SessionId};
use crate::engine::profile::{Profile, Profiles, SubscribableTables, TableDelivery};
use crate::engine::publication::Content;
use crate::engine::shared_text::SharedText;
use crate::engine::table_settings::TableSetting;
use crate::policy::table::Operation;
use crate::value::row::Row;

/// Recipients of the same bytes: the same view, dialect, choice of offsets and channel name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RecipientGroup {
    pub(super) group_event: GroupEvent,
    pub(super) channel: Option<Rc<str>>,
}

/// The event of a group, regardless of its channel name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupEvent {
    view: ViewNumber,
    pub(super) dialect: DialectId,
    offsets: bool,
    pub(super) batches: bool,
    /// Whether frames carry metadata besides the event itself.
    in_detail: bool,
    is_own: bool,
    matched: Match,
}

/// Identifies a view of one publication by its position among the requested views.
pub(super) type ViewNumber = usize;

/// A view, once it has been requested.
struct CachedView {
    key: ViewKey,
    view: OnceCell<Option<Rc<View>>>,
    /// The same view without the columns that the table's settings exclude.
    set: OnceCell<Option<Rc<View>>>,
}

/// The recipients gathered so far, with every view computed once.
pub(super) struct Gathering<'a> {
    pub(super) accepted: &'a Accepted,
    rules: &'a Rules<'a>,
    profiles: Profiles,
    /// The table's settings, for dialects that apply them.
    setting: Option<&'a TableSetting>,
    is_replay: bool,
    /// The remaining steps for regular expressions.
    pub(super) steps: Steps<'a>,
    /// Whether the next recipient is the sender.
    pub(super) is_own: bool,
    pub(super) groups: BTreeMap<RecipientGroup, Vec<SessionId>>,
    numbers: BTreeMap<ViewKey, ViewNumber>,
    views: Vec<CachedView>,
}

impl<'a> Gathering<'a> {
    pub(super) fn new(
        accepted: &'a Accepted,
        rules: &'a Rules<'a>,
        (profiles, setting): (Profiles, Option<&'a TableSetting>),
        steps: Steps<'a>,
        is_replay: bool,
    ) -> Gathering<'a> {
        Gathering {
            accepted,
            rules,
            profiles,
            setting,
            is_replay,
            steps,
            is_own: false,
            groups: BTreeMap::new(),
            numbers: BTreeMap::new(),
            views: Vec::new(),
        }
    }

    pub(super) fn group_event(&self, class: &ClassKey, view: ViewNumber, matched: Match) -> GroupEvent {
        let names_subscriptions = (self.profiles)(class.dialect).is_some_and(|profile| profile.names_subscriptions);
        GroupEvent {
            view,
            dialect: class.dialect,
            offsets: class.offsets,
            batches: class.batches,
            in_detail: class.channel.is_some() || names_subscriptions,
            is_own: self.is_own,
            matched,
        }
    }

    /// Adds the members of a class that no rule singles out.
    pub(super) fn add_class(
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

    /// Adds members of a class that share one view, if it matches the class's subscriptions.
    pub(super) fn add(&mut self, class: &ClassKey, key: Option<ViewKey>, members: impl Iterator<Item = SessionId>) {
        let Some(key) = key else { return };
        let mut members = members.peekable();
        if members.peek().is_none() {
            return;
        }
        let view = self.number(key);
        let mut matches = self.matches_of(class, view);
        let Some(last) = matches.pop() else { return };
        if matches.is_empty() {
            return self.add_to_group(class, self.group_event(class, view, last), members);
        }
        let members: Vec<SessionId> = members.collect();
        for matched in matches.into_iter().chain([last]) {
            self.add_to_group(class, self.group_event(class, view, matched), members.iter().copied());
        }
    }

    fn add_to_group(&mut self, class: &ClassKey, group_event: GroupEvent, members: impl Iterator<Item = SessionId>) {
        let group = RecipientGroup { group_event, channel: class.channel.clone() };
        self.groups.entry(group).or_default().extend(members);
    }

    /// How a view matches the table subscriptions. Filters are judged on the view, so they reveal nothing about a
    /// masked value.
    pub(super) fn matches_of(&self, class: &ClassKey, view: ViewNumber) -> Vec<Match> {
        let Some(profile) = (self.profiles)(class.dialect) else { return Vec::new() };
        let Content::Change { schema, table, operation, .. } = &self.accepted.publication.content else {
            let is_heard = match class.scope {
                Scope::Organization => profile.receives_organization_messages,
                _ => profile.receives_messages,
            };
            return if is_heard { vec![Match::default()] } else { Vec::new() };
        };
        let flows = |setting: &TableSetting| setting.is_enabled && setting.operations.contains(operation);
        if !self.setting_for(class.dialect).is_none_or(flows) {
            return Vec::new();
        }
        let Some(view) = self.shown(view, class.dialect) else { return Vec::new() };
        let row = if view.operation == Operation::Delete { &view.old } else { &view.new };
        let is_told = profile.removes_unmatched && view.operation == Operation::Update;
        let rows = (row.as_ref(), view.old.as_ref().filter(|_| is_told));
        let take = |steps| self.steps.take(steps);
        class.selector.matches_of((schema, table), view.operation, rows, self.rules.table, &take)
    }

    /// The number of a view.
    pub(super) fn number(&mut self, key: ViewKey) -> ViewNumber {
        let views = &mut self.views;
        *self.numbers.entry(key).or_insert_with_key(|key| {
            views.push(CachedView { key: key.clone(), view: OnceCell::new(), set: OnceCell::new() });
            views.len() - 1
        })
    }

    /// The table's settings for recipients of this dialect.
    fn setting_for(&self, dialect: DialectId) -> Option<&TableSetting> {
        let goes_by_it = |profile: &Profile| {
            profile.tables == SubscribableTables::Enabled || profile.table_delivery == TableDelivery::Enabled
        };
        self.setting.filter(|_| (self.profiles)(dialect).is_some_and(goes_by_it))
    }

    /// A view as recipients of this dialect receive it; filters are judged on it.
    fn shown(&self, view: ViewNumber, dialect: DialectId) -> Option<&Rc<View>> {
        let seen = self.seen(view)?;
        let Some(setting) = self.setting_for(dialect).filter(|setting| !setting.excluded.is_empty()) else {
            return Some(seen);
        };
        let project = |row: &Row| row.project(|column| !setting.excluded.contains(column));
        let set = || View {
            operation: seen.operation,
            new: seen.new.as_ref().map(project),
            old: seen.old.as_ref().map(project),
        };
        self.views.get(view)?.set.get_or_init(|| Some(Rc::new(set()))).as_ref()
    }

    fn seen(&self, view: ViewNumber) -> Option<&Rc<View>> {
        let seen = self.views.get(view)?;
        seen.view.get_or_init(|| self.rules.view(&seen.key).map(Rc::new)).as_ref()
    }

    pub(super) fn event(&self, group_event: &GroupEvent) -> Option<Event> {
        let Accepted { publication, offset, .. } = self.accepted;
        let topic = publication.topic.clone();
        let offset = group_event.offsets.then_some(*offset);
        let shared = SharedText::default();
        Some(match &publication.content {
            Content::Change { schema, table, .. } => {
                let seen = self.shown(group_event.view, group_event.dialect)?;
                let view = group_event
                    .matched
                    .select
                    .as_ref()
                    .map_or_else(|| seen.clone(), |select| self.selected(seen, select));
                let view = if group_event.matched.has_left { removed(&view) } else { view };
                let bindings = group_event.in_detail.then(|| self.bindings(&group_event.matched));
                Event::Change { schema: schema.clone(), table: table.clone(), view, topic, offset, bindings, shared }
            }
            Content::Message { event, payload, whole } => {
                let whole = whole.clone().filter(|_| publication.masking.is_empty());
                let payload = self.rules.payload(payload, &self.views.get(group_event.view)?.key);
                let (retained, is_own) = (group_event.in_detail.then(|| self.retained()).flatten(), group_event.is_own);
                Event::Message { event: event.clone(), payload, whole, topic, offset, retained, is_own, shared }
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

    fn bindings(&self, matched: &Match) -> Rc<Bindings> {
        let mut types = self.rules.table.columns.clone();
        types.extend(self.accepted.publication.columns.clone());
        let database = self.accepted.publication.database.clone();
        let time = database.as_ref().and_then(|database| database.at).unwrap_or(self.accepted.time);
        Rc::new(Bindings { numbers: matched.numbers.clone(), types, time, database })
    }

    pub(super) fn retained(&self) -> Option<Rc<Retained>> {
        let publication = &self.accepted.publication;
        let digest = || Retained::id_of(publication.id.as_deref(), self.accepted.offset);
        let id = publication.message_id.as_deref().map_or_else(digest, str::to_owned);
        self.accepted.is_retained.then(|| Rc::new(Retained { id, replayed: self.is_replay }))
    }
}

/// The change as a delete, for recipients that can no longer see the row.
fn removed(view: &View) -> Rc<View> {
    Rc::new(View { operation: Operation::Delete, new: None, old: view.old.clone() })
}
