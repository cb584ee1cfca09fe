//! Figures of one tenant's sockets and sessions.

use super::class::Scope;
use super::registry::Registry;
use super::socket::Socket;
use crate::engine::distinct::Distinct;
use crate::engine::effect::{Connection, Connections};
use crate::engine::figures::Figures;
use crate::engine::input::ConnectionQuery;

impl Registry {
    /// The authenticated and pending connections that match a query.
    pub(super) fn connections(&self, query: &ConnectionQuery) -> Connections {
        let user = |socket: &Socket| socket.principal().and_then(|principal| principal.user.clone());
        let is_meant = |socket: &&Socket| {
            socket.client_id.contains(&query.search) || user(socket).is_some_and(|user| user.contains(&query.search))
        };
        let mut found: Vec<&Socket> = self.sockets().iter().filter(is_meant).collect();
        found.sort_by_key(|socket| (socket.opened, socket.client_id.clone()));
        let [offset, limit] = [query.offset, query.limit].map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let connection =
            |socket: &&Socket| Connection { id: socket.client_id.clone(), user: user(socket), opened: socket.opened };
        let list = found.iter().skip(offset).take(limit).map(connection).collect();
        Connections { total: found.len() as u64, list, relays: Vec::new() }
    }

    /// The tables and topics that have a subscriber; `*` counts as one table.
    pub(super) fn channels(&self) -> Distinct {
        let mut channels = Distinct::default();
        for class in self.classes.keys() {
            if let Scope::Topic(topic) = &class.scope {
                channels.add(&[if topic.private { "private" } else { "public" }, &topic.name]);
            }
            let targets = class.selector.targets();
            targets.iter().for_each(|target| channels.add(&["table", &target.schema, &target.table]));
        }
        channels
    }

    /// Adds the counts of sockets, topics and tables.
    pub(super) fn figures(&self, figures: &mut Figures) {
        figures.topics = self.classes.topics();
        figures.tables = self.classes.tables();
        figures.database = self.database_figures();
        for socket in self.sockets().iter() {
            figures.connections += 1;
            count(&mut figures.by_dialect, &socket.dialect);
            match socket.principal() {
                None => figures.pending += 1,
                Some(principal) => {
                    for role in principal.roles.as_slice() {
                        count(&mut figures.by_role, role);
                    }
                }
            }
        }
    }
}

fn count<T: Clone + PartialEq>(counts: &mut Vec<(T, u64)>, what: &T) {
    match counts.iter_mut().find(|(known, _)| known == what) {
        Some((_, count)) => *count += 1,
        None => counts.push((what.clone(), 1)),
    }
}
