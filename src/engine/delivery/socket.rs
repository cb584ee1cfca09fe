//! One WebSocket: it counts frames, errors and bytes, and carries sessions.

use std::collections::VecDeque;
use std::rc::Rc;

use super::session::Session;
use super::state_rows::StateRows;
use crate::engine::bucket::Bucket;
use crate::engine::command::{ChannelAct, ChannelFrame, Command, DecodedFrame};
use crate::engine::input::{DialectId, SocketId};
use crate::engine::message::SessionId;
use crate::engine::profile::Profile;
use crate::policy::limits::{AUTH_DEADLINE, ERROR_WINDOW, Limits};
use crate::policy::principal::{Method, Principal};

/// A socket, authenticated or not yet.
pub(super) struct Socket {
    pub(super) id: SocketId,
    /// The public id, random.
    pub(super) client_id: Rc<str>,
    pub(super) dialect: DialectId,
    pub(super) profile: &'static Profile,
    /// When it was opened, in Unix milliseconds.
    pub(super) opened: u64,
    /// The remote address, if known. The socket counts towards it until it has authenticated. It is stored only if the
    /// socket has no credential.
    pub(super) address: Option<Rc<str>>,
    /// The principal of the key in the handshake, in dialects whose sessions may join without a token.
    pub(super) opened_as: Option<Rc<Principal>>,
    /// Ordered by number.
    pub(super) sessions: Vec<Session>,
    /// Sessions started so far, over all lives of the object.
    pub(super) entered: u64,
    pub(super) errors: ErrorWindow,
    /// The rate limit of frames; `None` until it is drawn on.
    bucket: Option<Box<Bucket>>,
    /// The rate limit of joins: reconnecting clients join all their channels at once, some of them twice.
    joins: Option<Box<Bucket>>,
    /// Frames and joins rejected in the current minute.
    pub(super) rejected: ErrorWindow,
    /// In memory only, as all tokens are.
    pub(super) verified: Option<Box<Verified>>,
    /// Frames that wait for the key set to be fetched.
    pub(super) waiting: Option<VecDeque<DecodedFrame>>,
    /// Whether it waits for missed changes to be judged.
    pub(super) is_held: bool,
    /// Its function calls that wait for answers.
    pub(super) calls: u64,
    /// Its state in rows, if that does not fit into an attachment.
    pub(super) rows: Option<Box<StateRows>>,
    /// Bytes of its state, including its sessions, as last written.
    pub(super) state_bytes: usize,
    /// A relay's note about its own progress.
    pub(super) checkpoint: Option<Rc<str>>,
}

/// The last valid token of a socket, by its digest, with its principal: clients send the same token for each of their
/// channels, and older ones after every heartbeat.
pub(super) struct Verified {
    pub(super) digest: [u8; 32],
    pub(super) principal: Rc<Principal>,
}

/// Errors of the current minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ErrorWindow {
    /// The start of the minute, in Unix milliseconds.
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
            bucket: None,
            joins: None,
            rejected: ErrorWindow::default(),
            verified: None,
            waiting: None,
            calls: 0,
            is_held: false,
            rows: None,
            state_bytes: 0,
            checkpoint: None,
        }
    }

    /// The principal of the socket's key, or of its session. `None` while it is unauthenticated.
    pub(super) fn principal(&self) -> Option<&Rc<Principal>> {
        self.opened_as.as_ref().or_else(|| self.sessions.first().map(|session| &session.principal))
    }

    /// The address that a socket counts towards if its principal has no user.
    pub(super) fn userless_address(&self) -> Option<&Rc<str>> {
        let is_userless = self.principal().is_some_and(|principal| principal.user.is_none());
        self.address.as_ref().filter(|_| is_userless)
    }

    /// The same, or that of a socket that has not authenticated yet.
    pub(super) fn counted_address(&self) -> Option<&Rc<str>> {
        if self.principal().is_none() { self.address.as_ref() } else { self.userless_address() }
    }

    /// Whether it was opened without a credential.
    pub(super) fn is_anonymous(&self) -> bool {
        self.principal().is_some_and(|principal| principal.method == Method::Anonymous)
    }

    /// When an unauthenticated socket is closed, in Unix milliseconds.
    pub(super) fn deadline(&self) -> u64 {
        self.opened.saturating_add(AUTH_DEADLINE)
    }

    /// A session by its number.
    pub(super) fn session(&self, number: u32) -> Option<&Session> {
        self.place(number).and_then(|place| self.sessions.get(place))
    }

    /// A session by its number, mutable.
    pub(super) fn session_mut(&mut self, number: u32) -> Option<&mut Session> {
        self.place(number).and_then(|place| self.sessions.get_mut(place))
    }

    /// A number that no session of this life has had, greater than all current ones.
    pub(super) fn next_number(&self) -> u32 {
        let last = self.sessions.last().map_or(0, |session| session.id.number.saturating_add(1));
        last.max(u32::try_from(self.entered).unwrap_or(u32::MAX))
    }

    /// The index of a session among the others.
    pub(super) fn place(&self, number: u32) -> Option<usize> {
        self.sessions.binary_search_by_key(&number, |session| session.id.number).ok()
    }

    /// The session that a frame addresses, if it exists.
    pub(super) fn session_of(&self, command: &Command) -> Option<SessionId> {
        match command {
            Command::Channel(frame) => self.addressed(frame),
            _ => self.sessions.first().map(|session| session.id),
        }
    }

    /// The session of a channel. A missing or stale reference is harmless if the name is known.
    pub(super) fn addressed(&self, frame: &ChannelFrame) -> Option<SessionId> {
        let by_name = self.named(&frame.name);
        if !frame.by_reference || frame.reference.is_none() {
            return by_name;
        }
        // If several sessions have the reference, the name decides.
        let mut with_reference = self.sessions.iter().filter(|session| {
            session.address().is_some_and(|address| address.reference.as_deref() == frame.reference.as_deref())
        });
        let first = with_reference.clone().next().map(|session| session.id);
        let by_both = by_name.filter(|id| with_reference.any(|session| session.id == *id));
        by_both.or(first).or(by_name)
    }

    /// The session of the channel with this name; a socket has few enough for a linear search.
    pub(super) fn named(&self, name: &str) -> Option<SessionId> {
        let has_it = |session: &&Session| session.address().is_some_and(|address| *address.name == *name);
        self.sessions.iter().find(has_it).map(|session| session.id)
    }

    /// The rate limit that a frame draws on.
    pub(super) fn bucket_for(&mut self, frame: &DecodedFrame, limits: &Limits, now: u64) -> &mut Bucket {
        let (bucket, rate) = match frame {
            Ok(Command::Channel(frame)) if matches!(frame.act, ChannelAct::Join(_)) => {
                (&mut self.joins, limits.joins_per_second)
            }
            _ => (&mut self.bucket, limits.frames_per_second),
        };
        bucket.get_or_insert_with(|| Box::new(Bucket::full(rate, now)))
    }
}
