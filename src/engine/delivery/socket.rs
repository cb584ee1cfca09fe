//! One WebSocket as the delivery knows it: it counts frames, errors and bytes, and carries sessions.

use std::collections::VecDeque;
use std::rc::Rc;

use super::session::Session;
use super::state_rows::StateRows;
use crate::engine::bucket::Bucket;
use crate::engine::command::{ChannelAct, ChannelFrame, Command, Malformed};
use crate::engine::input::{DialectId, SocketId};
use crate::engine::message::SessionId;
use crate::engine::profile::Profile;
use crate::policy::limits::{AUTH_DEADLINE, ERROR_WINDOW, Limits};
use crate::policy::principal::Principal;

/// A socket, authenticated or not yet.
pub(super) struct Socket {
    pub(super) id: SocketId,
    /// The public id, random.
    pub(super) client_id: Rc<str>,
    pub(super) dialect: DialectId,
    pub(super) profile: &'static Profile,
    /// When it was opened, in Unix milliseconds.
    pub(super) opened: u64,
    /// The address that it comes from, where that is known: in memory only, since it counts until the socket has
    /// authenticated.
    pub(super) address: Option<Rc<str>>,
    /// Whom the key names that it was opened with, in dialects whose sessions may be entered without a token.
    pub(super) opened_as: Option<Rc<Principal>>,
    /// In the order of their numbers.
    pub(super) sessions: Vec<Session>,
    /// Sessions entered so far, over all lives of the object.
    pub(super) entered: u64,
    pub(super) errors: ErrorWindow,
    pub(super) bucket: Bucket,
    /// What joins are taken from: clients that come back enter all their channels at once, some of them twice.
    pub(super) joins: Bucket,
    /// Frames and joins that were rejected in the current minute.
    pub(super) rejected: ErrorWindow,
    /// In memory only, like every token.
    pub(super) verified: Option<Verified>,
    /// Frames that wait for the key set, while it is being fetched.
    pub(super) waiting: Option<VecDeque<Result<Command, Malformed>>>,
    /// Whether it waits for what it missed to be judged.
    pub(super) is_held: bool,
    /// Its calls of functions that wait for their answers.
    pub(super) calls: u64,
    /// Its state in rows, where it is too large for an attachment.
    pub(super) rows: Option<StateRows>,
    /// Bytes of its state when that was last written, with its sessions.
    pub(super) state_bytes: usize,
}

/// The last token of a socket that was found good, by its digest, and whom it names: clients send one and the same for
/// each of their channels, older ones after every heartbeat.
pub(super) struct Verified {
    pub(super) digest: [u8; 32],
    pub(super) principal: Rc<Principal>,
}

/// Errors of the current minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ErrorWindow {
    /// When it began, in Unix milliseconds.
    pub(super) start: u64,
    pub(super) count: u64,
}

impl ErrorWindow {
    /// Counts an error; `true` when `max` are reached.
    pub(super) fn add(&mut self, now: u64, max: u64) -> bool {
        if now.saturating_sub(self.start) >= ERROR_WINDOW {
            *self = ErrorWindow { start: now, count: 0 };
        }
        self.count += 1;
        self.count >= max
    }
}

impl Socket {
    /// A socket without sessions.
    pub(super) fn new(
        id: SocketId,
        client_id: Rc<str>,
        (dialect, profile): (DialectId, &'static Profile),
        now: u64,
        limits: &Limits,
    ) -> Socket {
        Socket {
            id,
            client_id,
            dialect,
            profile,
            opened: now,
            address: None,
            opened_as: None,
            sessions: Vec::new(),
            entered: 0,
            errors: ErrorWindow::default(),
            bucket: Bucket::full(limits.frames_per_second, now),
            joins: Bucket::full(limits.joins_per_second, now),
            rejected: ErrorWindow::default(),
            verified: None,
            waiting: None,
            calls: 0,
            is_held: false,
            rows: None,
            state_bytes: 0,
        }
    }

    /// Who is on it: whom its key names, else the principal of its session. `None` while it is unauthenticated.
    pub(super) fn principal(&self) -> Option<&Rc<Principal>> {
        self.opened_as.as_ref().or_else(|| self.sessions.first().map(|session| &session.principal))
    }

    /// When an unauthenticated socket is closed, in Unix milliseconds.
    pub(super) fn deadline(&self) -> u64 {
        self.opened.saturating_add(AUTH_DEADLINE)
    }

    /// A session by its number.
    pub(super) fn session(&self, number: u32) -> Option<&Session> {
        self.place(number).and_then(|place| self.sessions.get(place))
    }

    /// The same to change it.
    pub(super) fn session_mut(&mut self, number: u32) -> Option<&mut Session> {
        self.place(number).and_then(|place| self.sessions.get_mut(place))
    }

    /// A number that no session of this life had, and greater than those that stand.
    pub(super) fn next_number(&self) -> u32 {
        let last = self.sessions.last().map_or(0, |session| session.id.number.saturating_add(1));
        last.max(u32::try_from(self.entered).unwrap_or(u32::MAX))
    }

    /// Where a session stands among the others.
    pub(super) fn place(&self, number: u32) -> Option<usize> {
        self.sessions.binary_search_by_key(&number, |session| session.id.number).ok()
    }

    /// The session that a frame is meant for, where it stands.
    pub(super) fn session_of(&self, command: &Command) -> Option<SessionId> {
        match command {
            Command::Channel(frame) => self.addressed(frame),
            _ => self.sessions.first().map(|session| session.id),
        }
    }

    /// The session of a channel. A missing or stale reference does no harm where the name is known.
    pub(super) fn addressed(&self, frame: &ChannelFrame) -> Option<SessionId> {
        let by_name = self.named(&frame.name);
        if !frame.by_reference || frame.reference.is_none() {
            return by_name;
        }
        // Where several have the reference, the name tells them apart.
        let mut with_reference = self.sessions.iter().filter(|session| {
            session.address().is_some_and(|address| address.reference.as_deref() == frame.reference.as_deref())
        });
        let first = with_reference.clone().next().map(|session| session.id);
        let by_both = by_name.filter(|id| with_reference.any(|session| session.id == *id));
        by_both.or(first).or(by_name)
    }

    /// The session of the channel with this name; few enough to be looked through.
    pub(super) fn named(&self, name: &str) -> Option<SessionId> {
        let has_it = |session: &&Session| session.address().is_some_and(|address| *address.name == *name);
        self.sessions.iter().find(has_it).map(|session| session.id)
    }

    /// What a frame is taken from.
    pub(super) fn bucket_for(&mut self, frame: &Result<Command, Malformed>) -> &mut Bucket {
        match frame {
            Ok(Command::Channel(frame)) if matches!(frame.act, ChannelAct::Join(_)) => &mut self.joins,
            _ => &mut self.bucket,
        }
    }
}
