//! Frames that depend on the stream: they wait until the root has reported the stream's state.

use std::collections::VecDeque;
use std::rc::Rc;

use super::codec;
use super::form::{AnswerForm, Ask, PayerForm, TopicForm, Up};
use super::refusal::RefusalForm;
use super::tenant::{AnsweredState, Asked, Parked, RelayTenant};
use crate::code::{Code, Refusal};
use crate::engine::census::Census;
use crate::engine::command::{Authenticate, ChannelAct, Command, DecodedFrame, Join, Position, Recover, Subscribe};
use crate::engine::input::SocketId;
use crate::engine::message::{From, Out};
use crate::policy::channel::Topic;
use crate::policy::limits::WAITING_BYTES;
use crate::policy::principal::Principal;

/// How many frames of one socket may wait for the root: as many as the default rate admits in two seconds.
const MAX_PARKED: usize = 256;

impl RelayTenant {
    /// Handles a frame whose turn has come, or queues it.
    pub(super) fn take(&mut self, now: u64, socket: SocketId, (frame, bytes): (DecodedFrame, usize), out: &mut Out) {
        let Some((client_id, _)) = self.delivery.payer(socket) else { return };
        if let Some(parked) = self.parked.get_mut(&socket).filter(|parked| parked.client_id == client_id) {
            if parked.frames.len() >= MAX_PARKED || self.parked_bytes + bytes > WAITING_BYTES {
                return self.delivery.refuse_frame(now, socket, Refusal::of(Code::RateLimited).into(), out);
            }
            self.parked_bytes += bytes;
            return parked.frames.push_back((frame, bytes));
        }
        match self.question(now, socket, &frame) {
            Some(ask) => {
                self.parked_bytes += bytes;
                // Without a session the deadline for authentication is all that must outlive memory.
                if self.delivery.is_authenticated(socket) {
                    self.delivery.wait_for_root(socket);
                }
                self.park(socket, ask, (client_id, None), VecDeque::from([(frame, bytes)]));
            }
            None => self.execute(now, socket, frame, None, out),
        }
    }

    pub(super) fn execute(
        &mut self,
        now: u64,
        socket: SocketId,
        frame: DecodedFrame,
        refusal: Option<Refusal>,
        out: &mut Out,
    ) {
        self.delivery.prepare(refusal);
        self.delivery.handle(now, socket, frame, out);
        self.carry_messages(now, out);
    }

    pub(super) fn park(
        &mut self,
        socket: SocketId,
        ask: Ask,
        (client_id, opening): (Rc<str>, Option<(Principal, Recover, bool)>),
        frames: VecDeque<(DecodedFrame, usize)>,
    ) {
        self.asked += 1;
        let number = self.asked;
        self.ask(number, Asked { socket, ask: Ask { number, ..ask } });
        self.parked.insert(socket, Parked { number, client_id, opening, frames });
    }

    /// Asks the root. While the relay catches up this waits: answers would only be held.
    pub(super) fn ask(&mut self, number: u64, asked: Asked) {
        if !self.progress.is_behind() {
            self.link.push(Up::Ask(asked.ask.clone()));
        }
        self.asks.insert(number, asked);
    }

    /// A socket has closed: its answer is for nobody.
    pub(super) fn closed(&mut self, socket: SocketId, out: &mut Out) {
        self.forget_parked(socket);
        self.delivery.closed(socket, out);
    }

    /// Forgets what a socket has asked.
    pub(super) fn forget_parked(&mut self, socket: SocketId) {
        if let Some(parked) = self.unpark(socket) {
            self.asks.remove(&parked.number);
        }
    }

    /// Asks again whatever is not answered, except for sockets that were closed here meanwhile.
    pub(super) fn ask_all_again(&mut self) {
        let is_open = |socket: SocketId, client_id: &Rc<str>| {
            self.delivery.payer(socket).is_some_and(|(known, _)| known == *client_id)
        };
        let parked = self.parked.iter().filter(|(socket, parked)| !is_open(**socket, &parked.client_id));
        let closed: Vec<SocketId> = parked.map(|(socket, _)| *socket).collect();
        closed.into_iter().for_each(|socket| self.forget_parked(socket));
        self.asks.values().for_each(|asked| self.link.push(Up::Ask(asked.ask.clone())));
    }

    pub(super) fn unpark(&mut self, socket: SocketId) -> Option<Parked> {
        let parked = self.parked.remove(&socket)?;
        self.parked_bytes -= parked.frames.iter().map(|(_, bytes)| bytes).sum::<usize>();
        Some(parked)
    }

    /// What must be asked of the root before a frame can be handled; `None`: nothing.
    pub(super) fn question(&self, now: u64, socket: SocketId, frame: &DecodedFrame) -> Option<Ask> {
        let command = frame.as_ref().ok()?;
        // It waits behind frames that wait for the database, and asks when its turn comes.
        if self.delivery.is_waiting(socket) {
            return None;
        }
        match (command, self.delivery.is_authenticated(socket)) {
            (Command::Authenticate(frame), false) => self.ask_to_enter(now, socket, frame),
            (Command::Subscribe(subscribe), true) => self.ask_to_subscribe(socket, subscribe),
            (Command::Channel(frame), true) => match &frame.act {
                ChannelAct::Join(join) => self.ask_to_join(socket, join),
                _ => None,
            },
            _ => None,
        }
    }

    fn ask_to_enter(&self, now: u64, socket: SocketId, frame: &Authenticate) -> Option<Ask> {
        // An invalid token asks nothing: nobody is counted, and no stream starts for it.
        let user = self.delivery.authenticating_user(now, socket, frame)?;
        let subscriptions = || frame.subscriptions.iter().flatten();
        let from = match &frame.recover {
            Recover::From(position) => {
                let topics = subscriptions().filter_map(|one| one.topic().cloned());
                codec::from_form(&From::Position(position.clone(), topics.collect()))
            }
            Recover::Off | Recover::On => None,
        };
        let units = u64::from(from.is_some());
        let listens = self.delivery.is_listener(socket);
        let watch = topic_forms(subscriptions().filter_map(Subscribe::watched));
        let payer = PayerForm { user, ..self.ask_payer(socket)? };
        Some(Ask { number: 0, payer, units, enters: true, listens, from, only: None, watch })
    }

    fn ask_to_subscribe(&self, socket: SocketId, subscribe: &Subscribe) -> Option<Ask> {
        let topics_of = || self.delivery.topics_of(socket).into_iter().chain(subscribe.topic().cloned()).collect();
        let from = subscribe.recover.clone();
        let from = from.and_then(|from| codec::from_form(&From::Position(from, topics_of())));
        let only = subscribe.topic().filter(|_| from.is_some()).map(codec::topic_form);
        let watch = topic_forms(subscribe.watched());
        let payer = self.ask_payer(socket)?;
        Some(Ask { number: 0, payer, units: 1, enters: false, listens: false, from, only, watch })
    }

    fn ask_to_join(&self, socket: SocketId, join: &Join) -> Option<Ask> {
        let from = join.replay.filter(|_| join.topic.private);
        let from = from.and_then(|replay| codec::from_form(&From::Topic(join.topic.name.clone(), replay)));
        let watch = topic_forms(join.presence.then(|| join.topic.clone()));
        let payer = self.ask_payer(socket)?;
        Some(Ask { number: 0, payer, units: 1, enters: false, listens: false, from, only: None, watch })
    }

    fn ask_payer(&self, socket: SocketId) -> Option<PayerForm> {
        let (client_id, user) = self.delivery.payer(socket)?;
        Some(PayerForm { socket: client_id.to_string(), user })
    }

    /// Continues with a socket's frames, given the stream's state.
    pub(super) fn answered(&mut self, now: u64, mut form: AnswerForm, out: &mut Out) {
        let Some(Asked { socket, ask }) = self.asks.remove(&form.number) else { return };
        if self.parked.get(&socket).is_none_or(|parked| parked.number != form.number) {
            return;
        }
        let Some(Parked { client_id, opening, mut frames, .. }) = self.unpark(socket) else { return };
        if self.delivery.payer(socket).is_none_or(|(known, _)| known != client_id) {
            return;
        }
        let users = ask.payer.user.into_iter().map(|user| (user, form.of_user)).collect();
        *self.census.borrow_mut() = Census { connections: form.connections, users, listeners: form.listeners };
        let rosters = codec::rosters(&mut form);
        let position = Position { epoch: form.epoch, offset: form.offset };
        self.answer = Some(AnsweredState { position, missed: form.missed.map(codec::missed), rosters });
        let refusal = form.refusal.map(RefusalForm::refusal);
        match opening {
            Some(opening) => {
                self.delivery.prepare(refusal);
                self.delivery.begin_opened(now, socket, opening, out);
                self.carry_messages(now, out);
            }
            None => {
                self.delivery.wait_no_longer(socket);
                if let Some((frame, _)) = frames.pop_front() {
                    self.execute(now, socket, frame, refusal, out);
                }
            }
        }
        self.answer = None;
        frames.into_iter().for_each(|frame| self.take(now, socket, frame, out));
    }
}

fn topic_forms(topics: impl IntoIterator<Item = Topic>) -> Vec<TopicForm> {
    topics.into_iter().map(|topic| codec::topic_form(&topic)).collect()
}
