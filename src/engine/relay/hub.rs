//! The root's side of its relays: where sockets go, what each relay is sent, and counts over all of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::codec::{self, Roster};
use super::form::{AnswerForm, Ask, Down, OriginForm, PayerForm, Report, Up, UpAnswer, UpBatch, VERSION, text};
use super::interest::InterestFilter;
use super::life;
use super::link::{Entering, Link};
use super::missing::{Busy, is_retained};
use super::refusal::RefusalForm;
use super::{Peer, relay_of};
use crate::code::Refusal;
use crate::engine::census::Census;
use crate::engine::command::Position;
use crate::engine::effect::{Task, Write};
use crate::engine::figures::{MissedByRelays, RelayFigures};
use crate::engine::input::Stored;
use crate::engine::message::{Missed, Out, Relayed, ToDelivery};
use crate::engine::table_settings::FACT as TABLES;
use crate::policy::relays::Relays;

/// The prefix of the relays' facts.
const FACT: &str = "relay.";
/// The most bytes of rosters, and of what was missed, in one answer.
const MAX_ROSTERS: usize = 1024 * 1024;
const MAX_REPLAY: usize = 6 * 1024 * 1024;
/// While more bytes of answers wait for all relays, no large one is added: an object has 128 MB.
const MAX_ANSWERS: usize = 24 * 1024 * 1024;

/// A relay as it is stored.
#[derive(Serialize, Deserialize)]
struct StoredRelay {
    version: u32,
    sockets: u64,
    interest: String,
    /// Listeners of the app, if its plan limits them.
    #[serde(default)]
    listeners: u64,
    /// Whether it can ask for what it missed.
    #[serde(default)]
    catches_up: bool,
}

pub(super) fn tables_text(settings: String) -> Rc<str> {
    Rc::from(text(&Down::Tables { settings }))
}

/// Everything that the root knows of its relays.
pub(in crate::engine) struct Hub {
    pub(super) configuration: Relays,
    /// Whether the app's plan limits its listeners: each relay's count must then outlive memory.
    limits_listeners: bool,
    /// The random name of this life.
    life: String,
    pub(super) links: BTreeMap<u32, Link>,
    /// What the storage says about batches in flight.
    pub(super) busy: Busy,
    /// The sockets at other objects, for the root's own limits.
    pub(super) census: Rc<RefCell<Census>>,
    /// When the relays were asked for their counts, in Unix milliseconds.
    pub(super) counts_asked: u64,
    /// What relays have missed that were given up since.
    pub(super) missed_before: MissedByRelays,
    /// The table settings as sent to relays; `None` if there are none.
    pub(super) tables: Option<Rc<str>>,
}

impl Hub {
    /// Restores the relays from the storage. Batches that were in flight when the previous life ended may be lost: the
    /// relays are told.
    pub(in crate::engine) fn wake(
        (configuration, limits_listeners): (Relays, bool),
        life: String,
        stored: &Stored,
    ) -> Hub {
        let mut links = BTreeMap::new();
        for (name, state) in &stored.facts {
            let number = name.strip_prefix(FACT).and_then(|number| number.parse().ok());
            let Some(number) = number else { continue };
            // An unreadable relay may have any interest: it starts over, and reports it again.
            let read = serde_json::from_str::<StoredRelay>(state).ok().filter(|stored| stored.version == VERSION);
            let known = read.and_then(|stored| {
                let counts = (stored.sockets, stored.listeners);
                Some(Link::stored(InterestFilter::read(&stored.interest)?, counts, stored.catches_up))
            });
            links.insert(number, known.unwrap_or_else(Link::unknown));
        }
        let busy = Busy::read(stored);
        let tables = stored.facts.get(TABLES).map(|settings| tables_text(settings.clone()));
        let life = life::name(&life);
        let mut hub = Hub {
            configuration,
            limits_listeners,
            life,
            links,
            busy,
            census: Rc::default(),
            counts_asked: 0,
            missed_before: MissedByRelays::default(),
            tables,
        };
        for (relay, link) in &mut hub.links {
            busy.told_after(link);
            if *relay > configuration.max {
                link.begin_elsewhere();
            }
        }
        hub.count();
        hub
    }

    /// Deletes what is stored of relays, where the configuration has none.
    pub(in crate::engine) fn forget_all(stored: &Stored, out: &mut Out) {
        let relays = stored.facts.keys().filter_map(|name| name.strip_prefix(FACT)?.parse().ok());
        for relay in relays {
            out.run(Task::Write(Write::Relay { number: relay, state: None }));
            out.run(Task::Write(Write::Listeners { relay, parts: Vec::new() }));
        }
    }

    fn is_configured(&self, relay: u32) -> bool {
        (1..=self.configuration.max).contains(&relay)
    }

    /// The sockets at other objects, for the root's own limits.
    pub(in crate::engine) fn census(&self) -> Rc<RefCell<Census>> {
        self.census.clone()
    }

    /// Whether a public id belongs to a relay's socket.
    pub(in crate::engine) fn has(&self, client_id: &str) -> bool {
        relay_of(client_id).is_some_and(|relay| self.links.contains_key(&relay))
    }

    /// Handles a relay's request; its messages must be handled in order. A repeated request gets the same answer
    /// without effect.
    pub(in crate::engine) fn receive(&mut self, body: &str, out: &mut Out) -> (u32, Vec<Up>, Vec<(PayerForm, u64)>) {
        let read = serde_json::from_str::<UpBatch>(body).ok().filter(|batch| batch.version == VERSION);
        // One that is no longer configured is heard until its sockets are closed.
        let read = read.filter(|batch| self.is_configured(batch.relay) || self.links.contains_key(&batch.relay));
        let Some(UpBatch { relay, life, sequence, report, messages, .. }) = read else {
            out.run(Task::PeerAnswer(None));
            return Default::default();
        };
        let link = self.links.entry(relay).or_default();
        let is_of_life = link.life.as_ref() == Some(&life);
        if sequence == 1 && !is_of_life {
            link.begin(&life);
        } else if !is_of_life || sequence > link.taken + 1 {
            // It belongs to another life of the root, or to a relay that was given up: this life has accepted none of
            // it.
            out.run(Task::PeerAnswer(Some(text(&UpAnswer { is_taken: false }))));
            return Default::default();
        }
        let is_new = sequence > link.taken;
        link.taken = link.taken.max(sequence);
        link.retry();
        out.run(Task::PeerAnswer(Some(text(&UpAnswer { is_taken: true }))));
        let spent = self.reported(relay, report, out);
        (relay, if is_new { messages } else { Vec::new() }, spent)
    }

    /// Postpones a relay's message whose answer may be too large for now; any other is returned.
    pub(in crate::engine) fn postpone(&mut self, relay: u32, message: Up) -> Option<Up> {
        let is_enough = self.has_enough_answers();
        match self.links.get_mut(&relay) {
            Some(link) => link.postpone(message, is_enough),
            None => Some(message),
        }
    }

    /// The next postponed message that can be handled now.
    pub(in crate::engine) fn next_postponed(&mut self) -> Option<(u32, Up)> {
        if self.has_enough_answers() {
            return None;
        }
        self.links.iter_mut().find_map(|(number, link)| Some((*number, link.next_postponed()?)))
    }

    fn has_enough_answers(&self) -> bool {
        self.links.values().map(Link::answer_bytes).sum::<usize>() > MAX_ANSWERS
    }

    /// Whether a relay's link was just reset, and the relay must be told where its sockets are present.
    pub(in crate::engine) fn is_new(&self, relay: u32) -> bool {
        self.links.get(&relay).is_some_and(|link| link.taken == 1)
    }

    /// Sends a message of the stream to every relay that may have a recipient. `origin` is the relay's client that
    /// published: its own relay acknowledges it. `listens`: whether a relay is sent what a group sees.
    pub(in crate::engine) fn spread(
        &mut self,
        message: &ToDelivery,
        origin: Option<(Relayed, OriginForm)>,
        listens: &dyn Fn(u32, &str) -> bool,
    ) {
        let is_judged = matches!(message, ToDelivery::Publish { accepted, .. } if accepted.verdict.is_some());
        let payer = origin.as_ref().map(|(relayed, _)| &relayed.payer);
        let mut shared: Option<Rc<str>> = None;
        let mut behind = Vec::new();
        for (number, link) in &mut self.links {
            let own = origin.as_ref().filter(|(relayed, _)| relayed.relay == *number);
            let acknowledges = own.is_some_and(|(_, origin)| origin.acknowledge.is_some());
            if !acknowledges && !link.wants_everything() && !link.interest.wants(message) {
                continue;
            }
            let listens = |group: &str| listens(*number, group);
            let encode =
                |origin| codec::spread_form(message, payer, origin, &listens).map(|form| Rc::from(text(&form)));
            let encoded = match own {
                Some((_, origin)) => encode(Some(origin.clone())),
                None if is_judged => encode(None),
                None => shared.take().or_else(|| encode(None)).inspect(|text| shared = Some(Rc::clone(text))),
            };
            let push = if is_retained(message) { Link::push_retained } else { Link::push };
            if encoded.is_some_and(|text| !push(link, text)) {
                behind.push(*number);
            }
        }
        behind.into_iter().for_each(|relay| self.repeat_tables(relay));
    }

    /// The relays that have sockets.
    pub(in crate::engine) fn numbers(&self) -> Vec<u32> {
        self.links.keys().copied().collect()
    }

    /// The tenant's sockets at objects other than a relay: of all users, and of one. `own`: those at the root.
    pub(in crate::engine) fn beside(&self, relay: u32, user: &str, own: &Census) -> Census {
        let others = || self.links.iter().filter(|(number, _)| **number != relay).map(|(_, link)| link);
        let of_user = others().map(|link| link.of_user(user)).sum::<u64>() + own.of_user(user);
        let connections = others().map(Link::counted).sum::<u64>() + own.connections;
        let listeners = others().map(Link::listeners).sum::<u64>() + own.listeners;
        Census { connections, users: [(user.to_owned(), of_user)].into(), listeners }
    }

    /// Answers a relay's question with the stream's current state.
    pub(in crate::engine) fn answer(
        &mut self,
        (relay, ask): (u32, &Ask),
        own: &Census,
        position: Position,
        (refusal, missed, mut rosters): (Option<&Refusal>, Option<&Missed>, Vec<Roster>),
    ) {
        let mut bytes = 0;
        // The relay asks for those that are left out.
        rosters.retain(|(_, members)| {
            bytes += codec::roster_bytes(members);
            bytes <= MAX_ROSTERS
        });
        // More than may wait for a relay would only make it fall behind.
        let missed = missed.map(codec::missed_form).map(|missed| missed.within(MAX_REPLAY));
        let user = ask.payer.user.as_deref().unwrap_or_default();
        let beside = self.beside(relay, user, own);
        let form = Down::Answer(Box::new(AnswerForm {
            number: ask.number,
            epoch: position.epoch,
            offset: position.offset,
            connections: beside.connections,
            of_user: beside.of_user(user),
            listeners: beside.listeners,
            refusal: refusal.map(RefusalForm::from),
            missed,
            read_to: None,
            rosters: codec::rosters_form(rosters),
        }));
        let enters = ask.enters.then(|| Entering { user: user.to_owned(), listens: ask.listens });
        let text = Rc::from(text(&form));
        if self.links.get_mut(&relay).is_some_and(|link| !link.push_answer(text, ask.number, enters)) {
            self.repeat_tables(relay);
        }
        self.count();
    }

    /// The relay's life, if it has reported one.
    pub(super) fn life_of(&self, relay: u32) -> Option<&String> {
        self.links.get(&relay).and_then(|link| link.life.as_ref())
    }

    /// Whether a relay exists.
    pub(super) fn knows(&self, relay: u32) -> bool {
        self.links.contains_key(&relay)
    }

    /// Sends a relay again what was dropped and is not in the history.
    pub(super) fn repeat_tables(&mut self, relay: u32) {
        if let (Some(link), Some(tables)) = (self.links.get_mut(&relay), &self.tables) {
            link.push_retained(tables.clone());
        }
    }

    /// Handles a relay's answer to a batch; returns what clients have spent there.
    pub(in crate::engine) fn answered(
        &mut self,
        now: u64,
        relay: u32,
        answer: Option<&str>,
        out: &mut Out,
    ) -> Vec<(PayerForm, u64)> {
        let Some(report) = self.links.get_mut(&relay).and_then(|link| link.answered(now, answer)) else {
            return Vec::new();
        };
        let spent = self.reported(relay, report, out);
        if let Some(link) = self.links.get_mut(&relay) {
            link.confirm();
        }
        self.count();
        spent
    }

    /// Handles a relay's report on its sockets.
    fn reported(&mut self, relay: u32, report: Report, out: &mut Out) -> Vec<(PayerForm, u64)> {
        let Some(link) = self.links.get_mut(&relay) else { return Vec::new() };
        let is_other_plan = self.limits_listeners && link.listeners != report.listeners;
        (link.sockets, link.pending, link.listeners) = (report.sockets, report.pending, report.listeners);
        link.frames = link.frames.saturating_add(report.frames);
        let mut census = self.census.borrow_mut();
        if report.is_whole {
            std::mem::take(&mut link.users).iter().for_each(|(user, count)| census.recount(user, *count, 0));
        }
        for (user, count) in report.users {
            let before = link.users.get(&user).copied().unwrap_or_default();
            census.recount(&user, before, count);
            match count {
                0 => _ = link.users.remove(&user),
                count => _ = link.users.insert(user, count),
            }
        }
        drop(census);
        // An exact count is not worth a write each time: a wake gets it with the next report.
        let is_far =
            link.stored_sockets.is_none_or(|stored| stored.abs_diff(link.sockets) > self.configuration.sockets / 16);
        let interest =
            report.interest.as_deref().and_then(InterestFilter::read).filter(|interest| *interest != link.interest);
        if interest.is_some() || is_far || is_other_plan {
            link.interest = interest.unwrap_or_else(|| link.interest.clone());
            link.stored_sockets = Some(link.sockets);
            let (sockets, listeners, interest) = (link.sockets, link.listeners, link.interest.text());
            let catches_up = link.catches_up;
            let state = Some(text(&StoredRelay { version: VERSION, sockets, listeners, interest, catches_up }));
            out.run(Task::Write(Write::Relay { number: relay, state }));
        }
        self.count();
        report.spent
    }

    /// Gives up relays without sockets.
    pub(super) fn give_up(&mut self, out: &mut Out) {
        let is_empty = |link: &Link| {
            link.life.is_some() && link.sockets + link.pending == 0 && link.is_idle() && !link.wants_everything()
        };
        let empty: Vec<u32> = self.links.iter().filter(|(_, link)| is_empty(link)).map(|(number, _)| *number).collect();
        for number in empty {
            let Some(link) = self.links.remove(&number) else { continue };
            self.missed_before.add(link.lost, link.recovered);
            link.users.iter().for_each(|(user, count)| self.census.borrow_mut().recount(user, *count, 0));
            out.run(Task::Write(Write::Relay { number, state: None }));
        }
    }

    /// Sends what waits, one batch per relay at a time.
    pub(in crate::engine) fn flush(&mut self, now: u64, out: &mut Out) {
        self.note_busy(out);
        for (number, link) in &mut self.links {
            if let Some(body) = link.next(now, &self.life) {
                out.run(Task::AskPeer { peer: Peer::Relay(*number), body });
            }
        }
    }

    /// When a batch is sent again, in Unix milliseconds.
    pub(in crate::engine) fn deadline(&self) -> Option<u64> {
        self.links.values().filter_map(Link::deadline).min()
    }

    fn count(&mut self) {
        let mut census = self.census.borrow_mut();
        census.connections = self.links.values().map(Link::counted).sum();
        census.listeners = self.links.values().map(Link::listeners).sum();
    }

    /// The figures of each relay.
    pub(in crate::engine) fn figures(&self) -> Vec<RelayFigures> {
        let figures = |(number, link): (&u32, &Link)| RelayFigures {
            number: *number,
            connections: link.counted() + link.pending,
            pending: link.pending,
            deliveries: link.frames,
            lost: link.lost,
            recovered: link.recovered,
        };
        self.links.iter().map(figures).collect()
    }
}
