//! Connections by their numbers, which are small and used again: a vector of places.

use super::connection::Connection;
use crate::engine::input::SocketId;

/// All connections of a tenant.
#[derive(Default)]
pub(super) struct Slab {
    places: Vec<Option<Connection>>,
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

    /// Puts a connection in its place.
    pub(super) fn insert(&mut self, connection: Connection) {
        let place = connection.socket.0 as usize;
        if self.places.len() <= place {
            self.places.resize_with(place + 1, || None);
        }
        if let Some(free) = self.places.get_mut(place) {
            self.count += u64::from(free.is_none());
            self.authenticated += u64::from(connection.principal.is_some());
            *free = Some(connection);
        }
    }

    pub(super) fn remove(&mut self, socket: SocketId) -> Option<Connection> {
        let connection = self.places.get_mut(socket.0 as usize)?.take()?;
        self.count -= 1;
        self.authenticated -= u64::from(connection.principal.is_some());
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
