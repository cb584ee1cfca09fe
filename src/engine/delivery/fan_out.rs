//! Fan-out: from a publication to the views of its recipients, each computed once.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::class::{ClassKey, Scope};
use super::filter_meter::FilterMeter;
use super::gathering::{Gathering, GroupEvent, RecipientGroup};
use super::registry::Registry;
use super::rules::Rules;
use super::tables::EnabledTables;
use crate::engine::effect::Effect;
use crate::engine::event::{Address, Event, TableWarning};
use crate::engine::input::DialectId;
use crate::engine::message::{Accepted, Origin, Out, RecoveryTarget, SessionId, ToStream};
use crate::engine::profile::{PresenceFrames, Profiles, TableDelivery};
use crate::engine::publication::{Content, Publication};
use crate::engine::table_settings::TableSetting;
use crate::policy::channel::Topic;
use crate::policy::configuration::Configuration;
use crate::policy::principal::SUBJECT;

/// The sender's session, if it is treated differently from the other recipients.
#[derive(Clone, Copy)]
struct EchoPolicy {
    session: SessionId,
    /// Whether the sender receives its own message.
    receives: bool,
    /// Whether the sender's copy is marked as its own.
    is_marked: bool,
}

/// The fan-out of one publication or presence difference. It changes no session; it counts what filters and denials cost.
pub(super) struct FanOut<'a> {
    pub(super) configuration: &'a Configuration,
    pub(super) profiles: Profiles,
    pub(super) tables: &'a EnabledTables,
    pub(super) registry: &'a Registry,
    pub(super) meter: &'a FilterMeter,
}

impl<'a> FanOut<'a> {
    /// Sends a publication to everyone who may see it, and reports the number of frames to the stream.
    pub(super) fn publish(&self, accepted: &Accepted, origin: Option<Origin>, out: &mut Out) {
        let rules = Rules::of(accepted, self.configuration);
        let mut gathering = Gathering::new(accepted, &rules, self.settings_for(accepted), self.meter.steps(), false);
        if rules.announces() {
            self.registry.count_unjudged(accepted);
            let echo = origin.as_ref().map(|origin| EchoPolicy {
                session: origin.session,
                receives: origin.echo,
                is_marked: self.registry.profile(origin.session.socket).is_some_and(|profile| profile.marks_own),
            });
            self.gather(&rules, echo.filter(|echo| !echo.receives || echo.is_marked), &mut gathering, out);
        }
        let mut frames = 0;
        let mut told: Option<(GroupEvent, Option<Event>)> = None;
        for (RecipientGroup { group_event, channel }, to) in std::mem::take(&mut gathering.groups) {
            // Groups with the same event are adjacent, and share it.
            let (dialect, batches) = (group_event.dialect, group_event.batches);
            let event = match told.take() {
                Some((known, event)) if known == group_event => told.insert((known, event)),
                _ => told.insert((group_event.clone(), gathering.event(&group_event))),
            };
            if let (_, Some(event)) = event {
                frames += to.len() as u64;
                let address = channel.map(|name| Address { name, reference: None });
                deliver(to, (dialect, batches), address, event.clone(), out);
            }
        }
        out.to_stream.push_back(ToStream::Delivered { frames });
        if let Some(Origin { session, acknowledge: Some(id), persist, .. }) = origin {
            let retained = if persist { gathering.retained() } else { None };
            self.registry.tell(session, Event::Acknowledged { id, retained }, out);
        }
    }

    /// The events of a publication for one connection, for a replay.
    pub(super) fn events_for(
        &self,
        session: SessionId,
        accepted: &Accepted,
        only: Option<&RecoveryTarget>,
    ) -> Vec<Event> {
        self.replay(session, accepted, only).unwrap_or_default()
    }

    /// `only`: the single subscription whose missed changes are replayed.
    fn replay(&self, id: SessionId, accepted: &Accepted, only: Option<&RecoveryTarget>) -> Option<Vec<Event>> {
        let session = self.registry.session(id)?;
        let principal = &session.principal;
        let publication = &accepted.publication;
        if matches!(only, Some(RecoveryTarget::Topic(topic)) if publication.topic.as_ref() != Some(topic)) {
            return None;
        }
        let rules = Rules::of(accepted, self.configuration);
        let scope = scope(publication);
        let class = session.classes.get(&scope)?;
        let restricted = only.and_then(|only| class.restricted_to(only));
        let class = restricted.as_ref().unwrap_or(class);
        if matches!(only, Some(RecoveryTarget::Table(_))) && matches!(publication.content, Content::Message { .. }) {
            return None;
        }
        let is_meant = publication.user.is_none() || principal.is(publication.user.as_deref());
        if !rules.announces() || !is_meant || !rules.admits(&class.roles) || !self.delivers(accepted, class) {
            return None;
        }
        let mut gathering = Gathering::new(accepted, &rules, self.settings_for(accepted), self.meter.steps(), true);
        let judged = rules.judged(&class.judge)?;
        let view = gathering.number(rules.view_key(&class.roles, rules.sight_of(principal), &judged)?);
        self.bill(class, std::iter::once(id), &gathering.steps);
        let matches = gathering.matches_of(class, view);
        let group_event = |matched| gathering.group_event(class, view, matched);
        Some(matches.into_iter().filter_map(|matched| gathering.event(&group_event(matched))).collect())
    }

    /// Sends a presence event to everyone in a topic. If some listeners expect the whole roster each time, the stream
    /// is asked for it once.
    pub(super) fn spread(&self, topic: Option<Topic>, event: Event, out: &mut Out) {
        let changes = match &event {
            Event::PresenceChanged { changes, .. } => changes,
            one => std::slice::from_ref(one),
        };
        if !self.spread_to(PresenceFrames::Difference, &topic, (&event, changes), out) {
            return;
        }
        for change in changes {
            let change = Box::new(change.clone());
            out.to_stream.push_back(ToStream::Gather { topic: topic.clone(), change, only: None });
        }
    }

    /// Sends the roster to the sessions that watch it.
    pub(super) fn spread_with_roster(&self, topic: Option<Topic>, event: Event, out: &mut Out) {
        self.spread_to(PresenceFrames::Roster, &topic, (&event, std::slice::from_ref(&event)), out);
    }

    /// Sends `event`, which covers all `changes`, to the listeners whose dialect takes differences; returns whether
    /// others expect a roster.
    fn spread_to(
        &self,
        frames: PresenceFrames,
        topic: &Option<Topic>,
        (event, changes): (&Event, &[Event]),
        out: &mut Out,
    ) -> bool {
        let mut are_others = false;
        for (class, members) in self.registry.classes.of(&Scope::Presence(topic.clone())) {
            let profile = (self.profiles)(class.dialect);
            if profile.is_some_and(|profile| profile.presence_frames != frames) {
                are_others = true;
                continue;
            }
            // In dialects that hide a member's own presence from it, each change has its own recipients.
            let is_told_apart = profile.is_some_and(|profile| !profile.sees_own_presence);
            let events = if is_told_apart { changes } else { std::slice::from_ref(event) };
            for event in events {
                let to = self.recipients_of(class, members, event);
                if to.is_empty() {
                    continue;
                }
                let address = class.channel.clone().map(|name| Address { name, reference: None });
                deliver(to, (class.dialect, false), address, event.clone(), out);
            }
        }
        are_others
    }

    /// The members of a class that receive a presence event: some dialects leave out the member itself.
    fn recipients_of(&self, class: &ClassKey, members: &BTreeSet<SessionId>, event: &Event) -> Vec<SessionId> {
        let hears_oneself = (self.profiles)(class.dialect).is_none_or(|profile| profile.sees_own_presence);
        let (Event::PresenceJoined { member, .. }
        | Event::PresenceUpdated { member, .. }
        | Event::PresenceLeft { member, .. }) = event
        else {
            return members.iter().copied().collect();
        };
        let is_oneself =
            |id: &SessionId| self.registry.session(*id).is_some_and(|session| session.client_id == member.client_id);
        members.iter().copied().filter(|id| hears_oneself || !is_oneself(id)).collect()
    }

    /// Whether a class receives changes of this table in its dialect.
    fn delivers(&self, accepted: &Accepted, class: &ClassKey) -> bool {
        let Content::Change { schema, table, .. } = &accepted.publication.content else { return true };
        let Some(profile) = (self.profiles)(class.dialect) else { return false };
        let (delivery, table) = (profile.table_delivery, (&**schema, &**table));
        let withheld = match accepted.verdict {
            None => self.tables.withheld(delivery, table, &class.roles),
            // A table that the database no longer has appears in no catalog.
            Some(_) => self.registry.catalog().map_or(Some(TableWarning::NoPolicy), |catalog| {
                self.tables.withheld_unjudged(delivery, &catalog, table, &class.roles)
            }),
        };
        delivery == TableDelivery::Published || withheld.is_none()
    }

    /// The profiles of the dialects, and the table's settings.
    fn settings_for(&self, accepted: &Accepted) -> (Profiles, Option<&'a TableSetting>) {
        let setting = match &accepted.publication.content {
            Content::Change { schema, table, .. } => self.tables.of(schema, table),
            Content::Message { .. } => None,
        };
        (self.profiles, setting)
    }

    fn gather(&self, rules: &Rules<'_>, echo: Option<EchoPolicy>, gathering: &mut Gathering<'_>, out: &mut Out) {
        let accepted = gathering.accepted;
        let publication = &*accepted.publication;
        let scope = scope(publication);
        let named = self.named(publication, rules);
        let add = |(class, members): (&Rc<ClassKey>, &BTreeSet<SessionId>)| {
            let Some(judged) = rules.judged(&class.judge) else { return };
            self.bill(class, members.iter().copied(), &gathering.steps);
            let mut single = BTreeSet::new();
            single.extend(named.intersection(members));
            single.extend(echo.map(|echo| echo.session).filter(|session| members.contains(session)));
            if publication.user.is_none() {
                gathering.add_class(class, members, &single, &judged);
            }
            for session in single {
                let own = echo.filter(|echo| echo.session == session);
                if own.is_some_and(|echo| !echo.receives) {
                    continue;
                }
                let principal = self.registry.session(session).map(|session| &session.principal);
                let sight = principal.map(|principal| rules.sight_of(principal)).unwrap_or_default();
                gathering.is_own = own.is_some();
                gathering.add(class, rules.view_key(&class.roles, sight, &judged), std::iter::once(session));
                gathering.is_own = false;
            }
            self.warn_of_costs(members.iter().copied(), &gathering.steps, out);
        };
        let admits = |(class, _): &(&Rc<ClassKey>, _)| rules.admits(&class.roles) && self.delivers(accepted, class);
        match &publication.content {
            Content::Change { schema, table, .. } => match rules.verdict() {
                Some(verdict) => {
                    let judged = self.registry.classes.of_judged(&scope, (schema, table), rules, verdict);
                    judged.into_iter().filter(admits).for_each(add);
                }
                None => self.registry.classes.of_change(&scope, (schema, table), rules).filter(admits).for_each(add),
            },
            Content::Message { .. } => self.registry.classes.of(&scope).filter(admits).for_each(add),
        }
    }

    /// The sessions that the publication or a rule singles out: its user, the rows' owners, holders of a row's claims.
    fn named(&self, publication: &Publication, rules: &Rules<'_>) -> BTreeSet<SessionId> {
        let mut named = BTreeSet::new();
        if let Some(user) = &publication.user {
            named.extend(self.registry.holders(SUBJECT, user));
            return named;
        }
        let owners = rules.owners().flat_map(|user| self.registry.holders(SUBJECT, user));
        let claims = rules.claims();
        let holders = claims.iter().flat_map(|(claim, value)| self.registry.holders(claim, value));
        named.extend(owners.chain(holders));
        named
    }
}

/// Sends one event to several sessions of one dialect variant.
fn deliver(
    to: Vec<SessionId>,
    (dialect, may_wait): (DialectId, bool),
    address: Option<Address>,
    event: Event,
    out: &mut Out,
) {
    let to = to.into_iter().map(|session| session.socket).collect();
    out.effects.push(Effect::Deliver { to, dialect, address, event, may_wait });
}

/// The listeners of a publication, before its rules are applied.
fn scope(publication: &Publication) -> Scope {
    publication.topic.clone().map_or(Scope::Organization, Scope::Topic)
}
