//! A tenant with both a database and relays. The root's delivery reports the listeners of all objects to the database,
//! and a relay sends its questions through the root (`engine/relay`).

use std::collections::BTreeSet;
use std::rc::Rc;

use super::Delivery;
use crate::engine::database::catalog::Catalog;
use crate::engine::database::remote::{GroupForm, Remote};
use crate::engine::effect::{Task, Write};
use crate::engine::event::Event;
use crate::engine::input::Stored;
use crate::engine::message::{Announcement, Missed, Out, RecoveryTarget, SessionId};
use crate::engine::profile::Sessions;
use crate::engine::publication::Content;

/// The prefix of the facts about relays' listeners.
const FACT: &str = "listeners.";
/// The prefix of the facts about what they have been answered.
const STATE: &str = "listening.";

/// The stored listeners at relays, except at relays that are no longer configured.
pub(super) fn stored_listeners(stored: &Stored, max_relay: u32) -> Vec<(u32, Remote)> {
    let number = |name: &str| name.strip_prefix(FACT)?.split_once('.')?.0.parse::<u32>().ok();
    let relays: BTreeSet<u32> = stored.facts.keys().filter_map(|name| number(name)).collect();
    let remote = |relay: u32| {
        let parts = stored.facts.iter().filter(|(name, _)| number(name) == Some(relay));
        let state = stored.facts.get(&format!("{STATE}{relay}")).map(String::as_str);
        Some((relay, Remote::stored(parts.map(|(_, text)| text.as_str()), state)?))
    };
    relays.into_iter().filter(|relay| *relay <= max_relay).filter_map(remote).collect()
}

impl Delivery {
    /// Records who listens at a relay, replacing its previous report.
    pub(in crate::engine) fn listen_at(&mut self, relay: u32, revision: u64, groups: Vec<GroupForm>, out: &mut Out) {
        let Some(link) = &mut self.registry.database else { return };
        if link.interest.listen(relay, Remote::told(revision, groups)) {
            self.store_listeners(relay, out);
        }
        self.store_state(relay, out);
    }

    /// Removes the listeners at a relay.
    pub(in crate::engine) fn forget_listeners(&mut self, relay: u32, out: &mut Out) {
        let had = self.registry.database.as_mut().is_some_and(|link| link.interest.forget(relay));
        if had {
            self.store_listeners(relay, out);
        }
    }

    fn store_listeners(&self, relay: u32, out: &mut Out) {
        let remote = self.registry.database.as_ref().and_then(|link| link.interest.remote(relay));
        let parts = remote.map(Remote::parts).unwrap_or_default();
        out.run(Task::Write(Write::Listeners { relay, parts }));
    }

    /// The groups may take megabytes, and stay the same while this changes.
    fn store_state(&self, relay: u32, out: &mut Out) {
        let remote = self.registry.database.as_ref().and_then(|link| link.interest.remote(relay));
        if let Some(remote) = remote.filter(|remote| !remote.is_empty()) {
            out.run(Task::Write(Write::ListenersState { relay, state: remote.state() }));
        }
    }

    /// The relays whose listeners are now all judged for and that have not been informed, with the revisions.
    pub(in crate::engine) fn take_covered(&mut self, out: &mut Out) -> Vec<(u32, u64)> {
        let covered = self.registry.database.as_mut().map(|link| link.interest.take_covered()).unwrap_or_default();
        covered.iter().for_each(|(relay, _)| self.store_state(*relay, out));
        covered
    }

    /// The relays with listeners.
    pub(in crate::engine) fn listening_relays(&self) -> Vec<u32> {
        self.registry.database.as_ref().map(|link| link.interest.relays()).unwrap_or_default()
    }

    /// Whether a group at a relay listens to a table.
    pub(in crate::engine) fn listens_at(&self, relay: u32, group: &str, (schema, table): (&str, &str)) -> bool {
        let remote = self.registry.database.as_ref().and_then(|link| link.interest.remote(relay));
        remote.is_some_and(|remote| remote.shows(group, schema, table))
    }

    /// Whether the changes have stopped, and the tables, also as text; `None` without a database.
    pub(in crate::engine) fn feed_state(&self) -> Option<(bool, Rc<Catalog>, Rc<str>)> {
        let link = self.registry.database.as_ref()?;
        Some((link.interest.is_lost(), link.interest.catalog().clone(), link.catalog_text.clone()))
    }

    /// The database's name.
    pub(in crate::engine) fn database_name(&self) -> Option<Rc<str>> {
        self.registry.database.as_ref().map(|link| link.interest.database().name.clone())
    }

    /// Reports the whole interest again, because the other side may have forgotten it.
    pub(in crate::engine) fn tell_database_again(&mut self) {
        if let Some(link) = &mut self.registry.database {
            link.interest.tell_again();
        }
    }

    /// Drops queued events that the replay will repeat: a change may be judged, and sent live, before the session
    /// requests what it missed.
    pub(super) fn drop_replayed(&mut self, id: SessionId, missed: Option<&Missed>, then: &Announcement) {
        let Some(Missed::Everything(missed)) = missed else { return };
        if self.registry.profile(id.socket).is_none_or(|profile| profile.sessions != Sessions::One) {
            return;
        }
        let only = match then {
            Announcement::Subscribed { to: RecoveryTarget::Table(target), .. } => {
                Some((&*target.schema, &*target.table))
            }
            _ => None,
        };
        let is_of = |content: &Content, (in_schema, name): (&str, &str)| {
            matches!(content, Content::Change { schema, table, .. }
                if (in_schema == "*" || in_schema == &**schema) && (name == "*" || name == &**table))
        };
        let is_missed = |accepted: &crate::engine::message::Accepted| {
            only.is_none_or(|only| is_of(&accepted.publication.content, only))
        };
        let offsets: BTreeSet<u64> =
            missed.iter().filter(|accepted| is_missed(accepted)).map(|accepted| accepted.offset).collect();
        let is_replayed = |event: &Event| match event {
            Event::Change { offset: Some(offset), .. } | Event::Message { offset: Some(offset), .. } => {
                offsets.contains(offset)
            }
            // Without an offset, drop all events of the table: the replay includes everything until now.
            Event::Change { offset: None, schema, table, .. } => only.is_some_and(|(in_schema, name)| {
                let is = |wanted: &str, given: &str| wanted == "*" || wanted == given;
                !offsets.is_empty() && is(in_schema, schema) && is(name, table)
            }),
            _ => false,
        };
        self.waits.held.drop_events(id.socket, is_replayed);
    }
}
