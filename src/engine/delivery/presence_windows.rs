//! Presence coalesced per topic: the first difference is sent at once. Later ones are sent together when the window
//! ends, only the latest for each member. So a topic receives presence at most once per window, however fast its
//! members change.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::Delivery;
use super::class::Scope;
use crate::engine::event::Event;
use crate::engine::message::{Out, SessionId, ToStream};
use crate::engine::profile::PresenceFrames;
use crate::policy::channel::Topic;
use crate::policy::limits::PRESENCE_WINDOW;

/// The topics with an open window.
#[derive(Default)]
pub(super) struct PresenceWindows {
    windows: BTreeMap<Option<Topic>, Window>,
    /// When each window ends. The clock may go back, so windows need not end in the order in which they were opened.
    ends: BTreeSet<(u64, Option<Topic>)>,
    /// The windows with a pending difference.
    due: BTreeSet<(u64, Option<Topic>)>,
}

struct Window {
    end: u64,
    /// By the member's public id.
    waiting: BTreeMap<Rc<str>, Event>,
}

impl PresenceWindows {
    /// Records a difference, and returns it if it must be sent at once.
    fn add(&mut self, now: u64, place: &Option<Topic>, event: Event) -> Option<Event> {
        let Some(window) = self.windows.get_mut(place) else {
            self.open(now, place.clone());
            return Some(event);
        };
        let Some(member) = event.member().map(|member| member.client_id.clone()) else { return Some(event) };
        if window.waiting.is_empty() {
            self.due.insert((window.end, place.clone()));
        }
        if let Some(latest) = combine(window.waiting.remove(&member), event) {
            window.waiting.insert(member, latest);
        }
        None
    }

    /// The pending differences of the next topic whose window has ended.
    fn next_due(&mut self, now: u64) -> Option<(Option<Topic>, Vec<Event>)> {
        while self.ends.first().is_some_and(|(end, _)| *end <= now) {
            let Some((end, place)) = self.ends.pop_first() else { break };
            self.due.remove(&(end, place.clone()));
            let waiting = self.windows.remove(&place).map(|window| window.waiting).unwrap_or_default();
            if !waiting.is_empty() {
                self.open(now, place.clone());
                return Some((place, waiting.into_values().collect()));
            }
        }
        None
    }

    /// The pending difference of a member.
    pub(super) fn waiting(&self, place: &Option<Topic>, client_id: &str) -> Option<&Event> {
        self.windows.get(place)?.waiting.get(client_id)
    }

    fn open(&mut self, now: u64, place: Option<Topic>) {
        let end = now.saturating_add(PRESENCE_WINDOW);
        self.windows.insert(place.clone(), Window { end, waiting: BTreeMap::new() });
        self.ends.insert((end, place));
    }
}

impl Delivery {
    /// Handles a presence difference from the stream.
    pub(super) fn presence_changed(&mut self, now: u64, topic: Option<Topic>, event: Event, out: &mut Out) {
        if let Some(event) = self.presence_windows.add(now, &topic, event) {
            self.fan_out().spread(topic, event, out);
        }
    }

    /// Sends the differences whose window has ended.
    pub(in crate::engine) fn flush_presence(&mut self, now: u64, out: &mut Out) {
        while let Some((topic, mut changes)) = self.presence_windows.next_due(now) {
            let event = match (changes.pop(), changes.is_empty()) {
                (Some(only), true) => only,
                (last, _) => {
                    changes.extend(last);
                    Event::PresenceChanged { topic: topic.clone(), changes: Rc::from(changes) }
                }
            };
            self.fan_out().spread(topic, event, out);
        }
    }

    /// When the next window with a pending difference ends, in Unix milliseconds.
    pub(in crate::engine) fn next_flush(&self) -> Option<u64> {
        self.presence_windows.due.first().map(|(end, _)| *end)
    }

    /// Records that a session is now present in a topic, or no longer is.
    pub(super) fn present(&mut self, id: SessionId, topic: Option<Topic>, present: bool, out: &mut Out) {
        self.registry.relist_topic(id, &topic, |session| {
            session.asked_presence.get_mut().remove(&topic);
            session.present.retain(|place| *place != topic);
            if present {
                session.present.push(topic.clone());
            }
        });
        self.registry.save_places(id);
        let Some(session) = self.registry.session(id).filter(|_| !present) else { return };
        // A session that leaves together with its subscription would miss its own leave at the end of the window.
        let still_hears = session.classes.has(&Scope::Presence(topic.clone()));
        let Some(own) = self.presence_windows.waiting(&topic, &session.client_id).filter(|_| !still_hears) else {
            return;
        };
        let own = own.clone();
        match self.registry.profile(id.socket) {
            Some(profile) if profile.presence_frames == PresenceFrames::Roster => {
                out.to_stream.push_back(ToStream::Gather { topic, change: Box::new(own), only: Some(id) });
            }
            Some(profile) if profile.sees_own_presence => self.registry.tell(id, own, out),
            _ => {}
        }
    }
}

/// Merges two differences of one member; `None` when they cancel out.
fn combine(before: Option<Event>, after: Event) -> Option<Event> {
    Some(match (before, after) {
        (Some(Event::PresenceJoined { topic, .. }), Event::PresenceUpdated { member, .. }) => {
            Event::PresenceJoined { topic, member }
        }
        (Some(Event::PresenceJoined { .. }), Event::PresenceLeft { .. }) => return None,
        (
            Some(Event::PresenceUpdated { topic, before, .. } | Event::PresenceLeft { topic, member: before }),
            Event::PresenceUpdated { member, .. } | Event::PresenceJoined { member, .. },
        ) => {
            if before == member {
                return None;
            }
            Event::PresenceUpdated { topic, member, before }
        }
        // Listeners know the member by its earlier metadata, so the leave carries that.
        (Some(Event::PresenceUpdated { topic, before, .. }), Event::PresenceLeft { .. }) => {
            Event::PresenceLeft { topic, member: before }
        }
        (_, after) => after,
    })
}
