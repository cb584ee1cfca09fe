//! Connections by their numbers, which are small and used again: a vector of places.

use super::connection::Connection;
use crate::engine::input::SocketId;

/// All connections of a tenant.
#[derive(Default)]
pub(super) struct Slab {
    places: Vec<Option<Connection>>,
    /// Places that were free at some time; some may be taken again.
    freed: Vec<u32>,
    count: u64,
    authenticated: u64,
}

impl Slab {
    pub(super) fn get(&self, socket: SocketId) -> Option<&Connection> {
        self.places.get(socket.0 as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, socket: SocketId) -> Option<&mut Connection> {
        self.places.get_mut(socket.0 as usize)?.as_mut()
    }

    /// A number for the next connection; the same one until it is taken.
    pub(super) fn vacant(&mut self) -> SocketId {
        while let Some(place) = self.freed.last() {
            if self.places.get(*place as usize).is_none_or(Option::is_none) {
                return SocketId(*place);
            }
            self.freed.pop();
        }
        SocketId(u32::try_from(self.places.len()).unwrap_or(u32::MAX))
    }

    /// Puts a connection in its place.
    pub(super) fn insert(&mut self, connection: Connection) {
        let place = connection.socket.0 as usize;
        if self.places.len() <= place {
            self.places.resize_with(place + 1, || None);
        }
        if let Some(free) = self.places.get_mut(place) {
            if connection.channel().is_none() {
                self.count += u64::from(free.is_none());
                self.authenticated += u64::from(connection.principal.is_some());
            }
            *free = Some(connection);
        }
    }

    /// Takes a connection out for good.
    pub(super) fn remove(&mut self, socket: SocketId) -> Option<Connection> {
        let connection = self.take(socket)?;
        self.freed.push(socket.0);
        Some(connection)
    }

    /// Takes a connection out that is put back at once.
    pub(super) fn take(&mut self, socket: SocketId) -> Option<Connection> {
        let connection = self.places.get_mut(socket.0 as usize)?.take()?;
        if connection.channel().is_none() {
            self.count -= 1;
            self.authenticated -= u64::from(connection.principal.is_some());
        }
        Some(connection)
    }

    /// How many have said who they are.
    pub(super) fn authenticated(&self) -> u64 {
        self.authenticated
    }

    /// How many have not.
    pub(super) fn pending(&self) -> u64 {
        self.count - self.authenticated
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.places.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.places.iter_mut().flatten()
    }
}
