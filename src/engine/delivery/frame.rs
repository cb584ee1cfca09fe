//! Incoming frames of a socket: their limits, the session that each belongs to, and their dispatch.

use std::collections::VecDeque;

use super::Delivery;
use super::socket::Socket;
use crate::code::{Code, Refusal};
use crate::engine::command::{ChannelAct, ChannelFrame, Command, DecodedFrame};
use crate::engine::event::Event;
use crate::engine::input::SocketId;
use crate::engine::message::Out;
use crate::policy::channel::Topic;
use crate::policy::limits::WAITING_FRAMES;

impl Delivery {
    /// Handles an incoming frame. While the key set is fetched, frames are queued to keep their order.
    pub(in crate::engine) fn frame(
        &mut self,
        now: u64,
        socket: SocketId,
        frame: DecodedFrame,
        bytes: usize,
        out: &mut Out,
    ) {
        if let Some(frame) = self.take_in(now, socket, frame, bytes, out) {
            self.handle(now, socket, frame, out);
            if self.registry.socket(socket).is_some_and(|socket| socket.waiting.is_some()) {
                self.backlog.add(socket, bytes);
            }
        }
    }

    /// Returns the frame if no earlier one is waiting and it is within the limits.
    pub(in crate::engine) fn take_in(
        &mut self,
        now: u64,
        socket: SocketId,
        frame: DecodedFrame,
        bytes: usize,
        out: &mut Out,
    ) -> Option<DecodedFrame> {
        let limits = &self.configuration.limits;
        let max_topics = limits.topics;
        let has_room = self.backlog.has_room_for(bytes);
        let known = self.registry.socket_mut(socket)?;
        let limited = !known.bucket_for(&frame, limits, now).take(1, now);
        let waits = known.waiting.is_some();
        let full = !limited && waits && !(has_room && known.has_room_for(&frame, max_topics));
        if limited || full {
            match frame {
                Ok(Command::Channel(frame)) => self.slow_down(now, socket, *frame, limited, out),
                _ => self.refuse_frame(now, socket, Refusal::of(Code::RateLimited).into(), out),
            }
            return None;
        }
        let Some(waiting) = &mut known.waiting else { return Some(frame) };
        wait(waiting, frame);
        self.backlog.add(socket, bytes);
        None
    }

    /// Handles a frame whose turn has come.
    pub(in crate::engine) fn handle(&mut self, now: u64, id: SocketId, frame: DecodedFrame, out: &mut Out) {
        let Some(socket) = self.registry.socket_mut(id) else { return };
        // An earlier frame may be waiting for keys a second time.
        if let Some(waiting) = &mut socket.waiting {
            waiting.push_back(frame);
            return;
        }
        let command = match frame {
            Ok(command) => command,
            Err(malformed) => return self.refuse_frame(now, id, malformed, out),
        };
        let is_authenticated = socket.principal().is_some();
        let session = socket.session_of(&command);
        if let Some((session, Err(refusal))) = session.map(|session| (session, self.pay(now, session, &command))) {
            return self.refuse(now, session, refusal, named(command), out);
        }
        match (session, command) {
            (_, Command::Authenticate(frame)) => self.authenticate(now, id, frame, out),
            (_, Command::Ping { id: reference }) => {
                self.registry.tell_socket(id, None, Event::Pong { id: reference }, out)
            }
            _ if !is_authenticated => self.fail_attempt(now, id, Code::AuthRequired, out),
            (session, Command::Channel(frame)) => self.in_channel(now, id, session, *frame, out),
            (Some(session), command) => self.execute(now, session, command, out),
            (None, _) => self.refuse_frame(now, id, Refusal::of(Code::UnknownSubscription).into(), out),
        }
    }
}

/// The correlation id of a frame's answer, and the frame's topic.
fn named(command: Command) -> (Option<String>, Option<Topic>) {
    match command {
        Command::Subscribe(subscribe) => (Some(subscribe.id), None),
        Command::Publish { id, topic, .. } => (id, Some(topic)),
        Command::Track { topic, .. } | Command::Update { topic, .. } => (None, topic),
        Command::Channel(frame) => (frame.id, None),
        _ => (None, None),
    }
}

type Waiting = VecDeque<DecodedFrame>;

impl Socket {
    /// Whether one more frame may wait. A reconnecting client joins all its channels at once and sends a fresh token to
    /// each; a client whose token is rejected here would keep the old one for a long time.
    fn has_room_for(&self, frame: &DecodedFrame, max_topics: u64) -> bool {
        let mut waiting = self.waiting.iter().flatten();
        if let Some(name) = refreshed(frame) {
            return self.named(name).is_some() || waiting.any(|known| entered(known) == Some(name));
        }
        if entered(frame).is_some() {
            return (waiting.filter_map(entered).count() as u64) < max_topics;
        }
        waiting.filter(|known| refreshed(known).or(entered(known)).is_none()).count() < WAITING_FRAMES
    }
}

/// Queues a frame. A fresh token for a channel replaces a waiting one.
fn wait(waiting: &mut Waiting, frame: DecodedFrame) {
    let name = refreshed(&frame);
    let of_same = |known: &&mut DecodedFrame| refreshed(known).or_else(|| entered(known)) == name;
    match waiting.iter_mut().rev().find(of_same) {
        Some(before) if name.is_some() && refreshed(before) == name => *before = frame,
        _ => waiting.push_back(frame),
    }
}

/// The channel for which a frame carries a fresh token.
fn refreshed(frame: &DecodedFrame) -> Option<&str> {
    channel(frame).filter(|frame| matches!(frame.act, ChannelAct::Refresh(_))).map(|frame| &*frame.name)
}

/// The channel that a frame joins.
fn entered(frame: &DecodedFrame) -> Option<&str> {
    channel(frame).filter(|frame| matches!(frame.act, ChannelAct::Join(_))).map(|frame| &*frame.name)
}

fn channel(frame: &DecodedFrame) -> Option<&ChannelFrame> {
    match frame {
        Ok(Command::Channel(frame)) => Some(frame),
        _ => None,
    }
}
