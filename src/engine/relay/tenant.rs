//! A relay: the delivery half, with a link to the root in place of the stream.
//!
//! A frame that depends on the stream, such as a subscription or a first authentication, waits until the root has
//! reported the stream's state. The answer is ordered with the publications, so the frame has the same effect as at the
//! root.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::catch_up::Progress;
use super::codec::{self, Roster};
use super::database::DatabaseQuestions;
use super::form::{Ask, DownAnswer, PayerForm, Up, text};
use super::report::Reporter;
use super::uplink::Uplink;
use super::{Peer, client_prefix};
use crate::code::{Code, Refusal};
use crate::engine::census::Census;
use crate::engine::command::{DecodedFrame, Position, Recover};
use crate::engine::delivery::Delivery;
use crate::engine::effect::{Administered, Effect, Task};
use crate::engine::figures::Figures;
use crate::engine::input::{DialectId, Input, Open, SocketId, Stored};
use crate::engine::message::{From, Missed, Out};
use crate::engine::profile::Profiles;
use crate::engine::tenant::Environment;
use crate::policy::limits::AUTH_DEADLINE;
use crate::policy::principal::Principal;

/// A relay of one tenant.
pub struct RelayTenant {
    pub(super) delivery: Delivery,
    pub(super) link: Uplink,
    pub(super) report: Reporter,
    /// Its progress in the root's messages.
    pub(super) progress: Progress,
    /// The root's life, and its last batch that was accepted.
    pub(super) root: Option<(String, u64)>,
    /// A batch that is answered once all its effects are done.
    pub(super) to_answer: Option<u64>,
    pub(super) asked: u64,
    /// Questions that wait for their answers.
    pub(super) asks: BTreeMap<u64, Asked>,
    /// Sockets whose frames wait for an answer.
    pub(super) parked: BTreeMap<SocketId, Parked>,
    pub(super) parked_bytes: usize,
    /// The root's answer, while the frame that needed it is handled.
    pub(super) answer: Option<AnsweredState>,
    /// Who is charged for the publication that is being delivered, and its bytes.
    pub(super) payer: Option<(PayerForm, usize)>,
    pub(super) database: DatabaseQuestions,
    pub(super) census: Rc<RefCell<Census>>,
    pub(super) alarm: Option<u64>,
    /// The pending timers, by due time.
    pub(super) timers: BTreeSet<u64>,
    pub(super) since: u64,
    pub(super) frames: u64,
    /// Whether the configuration no longer has this relay.
    pub(super) is_surplus: bool,
    /// Whether an earlier life may have stored something although no socket is left.
    leaves_storage: bool,
}

/// A question that waits for its answer.
pub(super) struct Asked {
    pub(super) socket: SocketId,
    pub(super) ask: Ask,
}

/// Waiting frames: the first is the one that asked, unless the socket is being opened.
pub(super) struct Parked {
    pub(super) number: u64,
    pub(super) client_id: Rc<str>,
    pub(super) opening: Option<(Principal, Recover, bool)>,
    pub(super) frames: VecDeque<(DecodedFrame, usize)>,
}

/// The state of the stream at the position of an answer.
pub(super) struct AnsweredState {
    pub(super) position: Position,
    pub(super) missed: Option<Missed>,
    pub(super) rosters: Vec<Roster>,
}

impl RelayTenant {
    /// Wakes a relay. Its first message announces this to the root.
    pub fn wake(
        environment: Environment,
        number: u32,
        profiles: Profiles,
        mut stored: Stored,
        effects: &mut Vec<Effect>,
    ) -> RelayTenant {
        let Environment { now, organization, configuration, epoch } = environment;
        let mut out = Out::default();
        let is_surplus = configuration.relays.is_none_or(|relays| number > relays.max);
        let environment = (configuration, profiles);
        let (progress, root) = Progress::wake(&stored);
        let mut delivery = Delivery::wake(now, Rc::from(organization), environment, &mut stored, None, &mut out);
        let census = Rc::<RefCell<Census>>::default();
        delivery.count_in(census.clone());
        delivery.become_relay();
        let mut relay = RelayTenant {
            delivery,
            link: Uplink::new(number, epoch),
            report: Reporter::new(),
            progress,
            root,
            to_answer: None,
            asked: 0,
            asks: BTreeMap::new(),
            parked: BTreeMap::new(),
            parked_bytes: 0,
            answer: None,
            payer: None,
            database: DatabaseQuestions::default(),
            census,
            alarm: None,
            timers: BTreeSet::new(),
            since: now,
            frames: 0,
            is_surplus,
            leaves_storage: is_surplus,
        };
        // Its sockets must reconnect elsewhere.
        if is_surplus {
            relay.delivery.restart_all(&mut out);
        }
        relay.catch_up_again(now, &mut out);
        // Sent with the first input: at a wake there is no request to answer yet.
        relay.carry(now, &mut out);
        relay.delivery.save(now, &mut out);
        relay.relay_questions(now, &mut out);
        effects.append(&mut out.effects);
        relay
    }

    /// Handles one input; `now` in Unix milliseconds.
    pub fn handle(&mut self, now: u64, input: Input, effects: &mut Vec<Effect>) {
        let mut out = Out::default();
        let was_empty = self.delivery.is_empty();
        self.delivery.prepare(None);
        self.delivery.expire(now, &mut out);
        self.delivery.flush_presence(now, &mut out);
        self.ask_when_due(now, &mut out);
        self.ask_late_database(now);
        self.dispatch(now, input, &mut out);
        if was_empty && !self.delivery.is_empty() {
            self.delivery.store_tables(&mut out);
        }
        self.settle(now, out, effects);
        // All that is stored here belongs to its sockets.
        if self.delivery.is_empty() && (!was_empty || std::mem::take(&mut self.leaves_storage)) {
            self.alarm = None;
            self.tell_database_anew();
            effects.push(Effect::Do(Task::DeleteStorage));
        }
        self.arm(effects);
    }

    fn dispatch(&mut self, now: u64, input: Input, out: &mut Out) {
        match input {
            Input::Open(open) => self.open(now, open, out),
            Input::OpenAtRelay { open, census } => {
                *self.census.borrow_mut() = census;
                self.open(now, open, out);
            }
            Input::Frame { socket, frame, bytes } => self.frame(now, socket, frame, bytes, out),
            Input::Closed { socket } => self.closed(socket, out),
            Input::KeysFetched(answer) => {
                self.delivery.keys_fetched(now, answer.as_ref().map(|(time, text)| (*time, text.as_str())));
            }
            Input::PeerAsked { body } => self.receive(now, &body, out),
            Input::PeerAnswered { answer, .. } => self.link_answered(now, answer.as_deref(), out),
            Input::Called(answer) => self.delivery.called(answer, out),
            Input::Unread { socket, bytes } => self.delivery.unread(socket, bytes, out),
            Input::Tick => drop(self.timers.pop_first()),
            Input::Alarm => self.alarm = None,
            Input::Connections(query) => {
                let connections = Administered::Connections(self.delivery.connections(&query));
                out.run(Task::Administered(Ok(connections)));
            }
            Input::Stats => out.run(Task::Figures(Box::new(self.figures()))),
            Input::Channels => out.run(Task::Administered(Ok(Administered::Channels(self.delivery.channels())))),
            // Only the object with the stream can handle these.
            Input::Publish { .. } | Input::PublishForClient { .. } => {
                out.run(Task::Published(Err(Refusal::of(Code::Internal))));
            }
            Input::Tables(_) => out.run(Task::Administered(Err(Refusal::of(Code::Internal)))),
            Input::Changes(_) => out.run(Task::Taken(Err(Refusal::of(Code::Internal)))),
            Input::HistoryRead(_)
            | Input::Feed { .. }
            | Input::InterestAnswered { .. }
            | Input::Judged { .. }
            | Input::Authorized { .. }
            | Input::GoneRead(_)
            | Input::Recalled(_)
            | Input::Admit { .. }
            | Input::Place => {}
        }
    }

    /// A free socket number, the same until a connection opens under it.
    pub fn vacant(&mut self) -> SocketId {
        self.delivery.vacant()
    }

    /// Ends this life because not all its effects could be executed; returns effects that close sockets.
    pub fn give_up(&mut self) -> Vec<Effect> {
        self.delivery.give_up()
    }

    /// How many sockets there are, authenticated or not.
    pub fn sockets(&self) -> u64 {
        let (authenticated, pending) = self.delivery.counts();
        authenticated + pending
    }

    /// The dialect of a connection; `None` if it does not exist.
    pub fn dialect(&self, socket: SocketId) -> Option<DialectId> {
        self.delivery.dialect(socket)
    }

    /// A session that starts with its socket waits for the stream's state.
    fn open(&mut self, now: u64, mut open: Open, out: &mut Out) {
        if self.is_surplus {
            return out.run(Task::Reject(Refusal::of(Code::Overloaded)));
        }
        if self.delivery.rejects_stranger(now, &open, out) {
            return;
        }
        let socket = open.socket;
        // The number may have been another socket's, whose answer is still pending.
        self.forget_parked(socket);
        let begins = self.delivery.begins_at_once(open.dialect);
        let opening = match &open.principal {
            Some(principal) if begins && self.delivery.has_room_for(principal) => {
                open.principal.take().map(|principal| (principal, open.recover.clone(), open.batches))
            }
            _ => None,
        };
        let client_id: Rc<str> = Rc::from(open.client_id.as_str());
        self.delivery.open(now, open, out);
        let Some((principal, recover, batches)) = opening.filter(|_| self.delivery.payer(socket).is_some()) else {
            return;
        };
        let from = match &recover {
            Recover::From(position) => codec::from_form(&From::Position(position.clone(), Vec::new())),
            Recover::Off | Recover::On => None,
        };
        let payer = PayerForm { socket: client_id.to_string(), user: principal.user.clone() };
        let units = u64::from(from.is_some());
        let listens = self.delivery.is_listener(socket);
        let ask = Ask { number: 0, payer, units, enters: true, listens, from, only: None, watch: Vec::new() };
        self.delivery.wait_for_root(socket);
        self.park(socket, ask, (client_id, Some((principal, recover, batches))), VecDeque::new());
    }

    fn frame(&mut self, now: u64, socket: SocketId, frame: DecodedFrame, bytes: usize, out: &mut Out) {
        let Some(frame) = self.delivery.take_in(now, socket, frame, bytes, out) else { return };
        self.take(now, socket, (frame, bytes), out);
    }

    pub(super) fn carry(&mut self, now: u64, out: &mut Out) {
        loop {
            self.carry_messages(now, out);
            let Some((socket, frame)) = self.delivery.next_released() else { break };
            // Its bytes were counted while it waited for keys.
            self.take(now, socket, (frame, 0), out);
        }
    }

    pub(super) fn carry_messages(&mut self, now: u64, out: &mut Out) {
        loop {
            self.exchange(now, out);
            self.delivery.hold(out);
            if out.to_stream.is_empty() && out.to_delivery.is_empty() {
                break;
            }
        }
    }

    fn exchange(&mut self, now: u64, out: &mut Out) {
        loop {
            if let Some(message) = out.to_stream.pop_front() {
                self.say(message, out);
            } else if let Some(message) = out.to_delivery.pop_front() {
                self.delivery.receive(now, message, out);
            } else {
                break;
            }
        }
    }

    /// Stores what must outlive memory, answers the root, and sends it what has been collected.
    fn settle(&mut self, now: u64, mut out: Out, effects: &mut Vec<Effect>) {
        self.carry(now, &mut out);
        self.delivery.batch(now, &mut out);
        self.note_progress();
        self.delivery.save(now, &mut out);
        for arrival in self.delivery.take_arrivals() {
            self.link.push(Up::Arrived(codec::arrival_form(&arrival)));
        }
        self.relay_questions(now, &mut out);
        self.report.note(&mut self.delivery);
        self.report.hold_grants(self.progress.holds_grants());
        if let Some(sequence) = self.to_answer.take() {
            let report = self.report.take(now, &self.delivery);
            out.run(Task::PeerAnswer(Some(text(&DownAnswer { sequence, report }))));
        }
        let wants_to_speak = self.link.has_messages() || self.link.is_new() || self.report.is_due(&self.delivery);
        if wants_to_speak && self.link.is_free(now) {
            let body = self.link.next(self.report.take(now, &self.delivery));
            out.run(Task::AskPeer { peer: Peer::Root, body });
        }
        effects.append(&mut out.effects);
        let due = [self.delivery.next_flush(), self.delivery.next_batch()].into_iter().flatten().min();
        let is_sooner = |due: &u64| self.timers.first().is_none_or(|first| due < first);
        if let Some(due) = due.filter(is_sooner) {
            self.timers.insert(due);
            effects.push(Effect::Do(Task::SetTimer(due)));
        }
    }

    /// Sets the alarm if it would fire too late or much too early, like the tenant's own object.
    fn arm(&mut self, effects: &mut Vec<Effect>) {
        let deadlines =
            [self.delivery.deadline(), self.link.deadline(), self.progress.deadline(), self.database.deadline()];
        let Some(next) = deadlines.into_iter().flatten().min() else { return };
        let fits = |alarm: u64| (next.saturating_sub(AUTH_DEADLINE)..=next).contains(&alarm);
        if !self.alarm.is_some_and(fits) {
            self.alarm = Some(next);
            effects.push(Effect::Do(Task::SetAlarm(next)));
        }
    }

    fn figures(&self) -> Figures {
        let mut figures = Figures { deliveries: self.frames, since: self.since, ..Figures::default() };
        self.delivery.figures(&mut figures);
        figures
    }
}

/// The public id of a relay's socket, from a random one.
pub fn client_id(relay: u32, random: &str) -> String {
    client_prefix(relay) + random
}
