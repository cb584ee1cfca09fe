//! Sockets by number: numbers are small and reused, so a vector of slots holds them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::session::Session;
use super::socket::Socket;
use crate::engine::input::SocketId;
use crate::engine::message::SessionId;

/// All sockets of a tenant.
#[derive(Default)]
pub(super) struct Sockets {
    /// Boxed, because growing a vector of sockets would leave half of its memory unused.
    places: Vec<Option<Box<Socket>>>,
    /// Slots that were freed; some may be in use again.
    freed: Vec<u32>,
    count: u64,
    authenticated: u64,
    shares: Shares,
    /// Unauthenticated sockets by their address, the oldest first.
    strangers: BTreeMap<Rc<str>, BTreeSet<(u64, SocketId)>>,
    listeners: u64,
    /// Of these, the authenticated ones.
    entered_listeners: u64,
}

impl Sockets {
    pub(super) fn get(&self, id: SocketId) -> Option<&Socket> {
        self.places.get(id.0 as usize)?.as_deref()
    }

    /// Mutable access to a socket; sessions are added and removed by [`Sockets::enter`] and [`Sockets::leave`].
    pub(super) fn get_mut(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.places.get_mut(id.0 as usize)?.as_deref_mut()
    }

    pub(super) fn session(&self, id: SessionId) -> Option<&Session> {
        self.get(id.socket)?.session(id.number)
    }

    pub(super) fn session_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.get_mut(id.socket)?.session_mut(id.number)
    }

    /// A number for the next socket; the same until it is used.
    pub(super) fn vacant(&mut self) -> SocketId {
        while let Some(place) = self.freed.last() {
            if self.places.get(*place as usize).is_none_or(Option::is_none) {
                return SocketId(*place);
            }
            self.freed.pop();
        }
        SocketId(u32::try_from(self.places.len()).unwrap_or(u32::MAX))
    }

    /// Puts a socket in its slot.
    pub(super) fn insert(&mut self, socket: Socket) {
        self.remove(socket.id);
        self.freed.pop_if(|freed| *freed == socket.id.0);
        let place = socket.id.0 as usize;
        if self.places.len() <= place {
            self.places.resize_with(place + 1, || None);
        }
        if let Some(free) = self.places.get_mut(place) {
            self.count += 1;
            self.authenticated += u64::from(socket.principal().is_some());
            self.shares.count(&socket, true);
            note(&mut self.strangers, &socket, true);
            self.listeners += u64::from(socket.profile.is_listener);
            self.entered_listeners += entered_listener(&socket);
            *free = Some(Box::new(socket));
        }
    }

    /// Removes a socket.
    pub(super) fn remove(&mut self, id: SocketId) -> Option<Socket> {
        let socket = self.places.get_mut(id.0 as usize)?.take()?;
        self.freed.push(id.0);
        self.count -= 1;
        self.authenticated -= u64::from(socket.principal().is_some());
        self.shares.count(&socket, false);
        note(&mut self.strangers, &socket, false);
        self.listeners -= u64::from(socket.profile.is_listener);
        self.entered_listeners -= entered_listener(&socket);
        Some(*socket)
    }

    /// Adds a session to its socket; its number is greater than all others there.
    pub(super) fn enter(&mut self, session: Session) {
        let Some(socket) = self.places.get_mut(session.id.socket.0 as usize).and_then(Option::as_deref_mut) else {
            return;
        };
        self.authenticated += u64::from(socket.principal().is_none());
        self.shares.count(socket, false);
        self.entered_listeners -= entered_listener(socket);
        note(&mut self.strangers, socket, false);
        if socket.sessions.len() == socket.sessions.capacity() {
            // A new vector would have room for four, and most sockets have one session.
            socket.sessions.reserve_exact(socket.sessions.len().max(1));
        }
        socket.sessions.push(session);
        self.shares.count(socket, true);
        self.entered_listeners += entered_listener(socket);
    }

    /// Removes a session from its socket.
    pub(super) fn leave(&mut self, id: SessionId) -> Option<Session> {
        let socket = self.places.get_mut(id.socket.0 as usize)?.as_mut()?;
        let place = socket.place(id.number)?;
        self.shares.count(socket, false);
        self.entered_listeners -= entered_listener(socket);
        let session = socket.sessions.remove(place);
        self.shares.count(socket, true);
        self.entered_listeners += entered_listener(socket);
        self.authenticated -= u64::from(socket.principal().is_none());
        Some(session)
    }

    /// The number of authenticated sockets.
    pub(super) fn authenticated(&self) -> u64 {
        self.authenticated
    }

    /// The number of sockets authenticated as this user.
    pub(super) fn of_user(&self, user: &str) -> u64 {
        self.shares.users.get(user).copied().unwrap_or_default()
    }

    /// Counts a socket for its user or address, or stops counting it.
    pub(super) fn count(&mut self, id: SocketId, is_there: bool) {
        if let Some(socket) = self.places.get(id.0 as usize).and_then(Option::as_deref) {
            self.shares.count(socket, is_there);
        }
    }

    /// The number of sockets without a user from this address: those without a credential, or those with one.
    pub(super) fn userless_of(&self, address: &str, is_anonymous: bool) -> u64 {
        let addresses = if is_anonymous { &self.shares.anonymous } else { &self.shares.keys };
        addresses.get(address).copied().unwrap_or_default()
    }

    /// Every user with the number of its sockets.
    pub(super) fn each_user(&self, mut each: impl FnMut(&str, u64)) {
        self.shares.users.iter().for_each(|(user, count)| each(user, *count));
    }

    /// The oldest of an address's unauthenticated sockets, if it has `max` of them.
    pub(super) fn oldest_of(&self, address: &str, max: u64) -> Option<SocketId> {
        let strangers = self.strangers.get(address).filter(|strangers| strangers.len() as u64 >= max)?;
        strangers.first().map(|(_, id)| *id)
    }

    /// The number of sockets that count as listeners of an app.
    pub(super) fn listeners(&self) -> u64 {
        self.listeners
    }

    /// Of these, the number of authenticated ones.
    pub(super) fn entered_listeners(&self) -> u64 {
        self.entered_listeners
    }

    /// The number of unauthenticated sockets.
    pub(super) fn pending(&self) -> u64 {
        self.count - self.authenticated
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Socket> {
        self.places.iter().flatten().map(|socket| &**socket)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Socket> {
        self.places.iter_mut().flatten().map(|socket| &mut **socket)
    }
}

fn entered_listener(socket: &Socket) -> u64 {
    u64::from(socket.profile.is_listener && socket.principal().is_some())
}

/// Adds an unauthenticated socket to its address's list, or removes it.
fn note(strangers: &mut BTreeMap<Rc<str>, BTreeSet<(u64, SocketId)>>, socket: &Socket, is_there: bool) {
    let Some(address) = socket.address.as_ref().filter(|_| socket.principal().is_none()) else { return };
    let place = (socket.opened, socket.id);
    if is_there {
        strangers.entry(address.clone()).or_default().insert(place);
    } else if let Some(known) = strangers.get_mut(address) {
        known.remove(&place);
        if known.is_empty() {
            strangers.remove(address);
        }
    }
}

/// How many authenticated sockets each user has, and each address: without a credential, and with one that names no user.
#[derive(Default)]
struct Shares {
    users: BTreeMap<String, u64>,
    anonymous: BTreeMap<Rc<str>, u64>,
    keys: BTreeMap<Rc<str>, u64>,
}

impl Shares {
    /// Counts a socket, or stops counting it.
    fn count(&mut self, socket: &Socket, is_there: bool) {
        let Some(principal) = socket.principal() else { return };
        if let Some(user) = &principal.user {
            tally(&mut self.users, user, is_there);
        }
        if let Some(address) = socket.userless_address() {
            let addresses = if socket.is_anonymous() { &mut self.anonymous } else { &mut self.keys };
            tally(addresses, address, is_there);
        }
    }
}

fn tally<K: Ord + Clone>(counts: &mut BTreeMap<K, u64>, key: &K, is_there: bool) {
    if is_there {
        *counts.entry(key.clone()).or_default() += 1;
    } else if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}
