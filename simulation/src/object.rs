//! One object: its server, its storage and its sockets.

use std::collections::BTreeSet;
use std::rc::Rc;

use realtime_worker::code::Refusal;
use realtime_worker::engine::effect::{Admitted, Receipt};
use realtime_worker::engine::input::SocketId;
use realtime_worker::engine::relay::{Peer, client_prefix};
use realtime_worker::engine::tenant::Environment;
use realtime_worker::policy::configuration::Configuration;
use realtime_worker::server::tenant_server::TenantServer;

use crate::people::{People, Socket};
use crate::storage::Storage;

/// The simulated organization.
pub(crate) const ORGANIZATION: &str = "org_1";

/// The result of an input.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) opening: Option<Socket>,
    pub(crate) rejected: Option<Refusal>,
    pub(crate) published: Option<Result<Receipt, Refusal>>,
    pub(crate) peer_answer: Option<String>,
    pub(crate) admitted: Option<Admitted>,
    pub(crate) placed: Option<u32>,
}

/// An organization's own object, or the relay of this number.
pub(crate) struct Object {
    pub(crate) number: u32,
    pub(crate) server: TenantServer,
    pub(crate) storage: Storage,
    pub(crate) alarm: Option<u64>,
    /// Incremented with every loss of memory.
    pub(crate) life: u32,
    /// By number.
    pub(crate) sockets: Vec<Option<Socket>>,
    /// Its own pending requests and timers; an object that has any does not sleep.
    pub(crate) pending: usize,
}

impl Object {
    pub(crate) fn peer(number: usize) -> Peer {
        match number as u32 {
            0 => Peer::Root,
            number => Peer::Relay(number),
        }
    }

    pub(crate) fn index(peer: Peer) -> usize {
        match peer {
            Peer::Root => 0,
            Peer::Relay(number) => number as usize,
        }
    }

    /// The public id of a connection to it.
    pub(crate) fn client_id(number: u32, connection: u32) -> String {
        match number {
            0 => format!("c{connection}"),
            relay => format!("{}{connection}", client_prefix(relay)),
        }
    }

    /// The socket of this number.
    pub(crate) fn socket(&self, socket: SocketId) -> Option<Socket> {
        self.sockets.get(socket.0 as usize).copied().flatten()
    }

    pub(crate) fn put(&mut self, socket: SocketId, known: Option<Socket>) {
        let place = socket.0 as usize;
        if self.sockets.len() <= place {
            self.sockets.resize(place + 1, None);
        }
        self.sockets[place] = known;
    }
}

/// A server from the storage. Sockets are numbered anew, from 0.
pub(crate) fn wake(
    (now, number, life): (u64, u32, u32),
    configuration: &Rc<Configuration>,
    (storage, sockets, people): (&Storage, &[Option<Socket>], &People),
) -> (TenantServer, Vec<realtime_worker::engine::effect::Effect>) {
    let open: Vec<String> =
        sockets.iter().flatten().map(|socket| Object::client_id(number, socket.connection)).collect();
    let mut stored = storage.load(&open.iter().map(String::as_str).collect::<BTreeSet<_>>());
    let attachment =
        |(place, socket): (usize, &Socket)| (SocketId(place as u32), people.attachment(*socket).to_owned());
    stored.sockets = sockets.iter().flatten().enumerate().map(attachment).collect();
    let environment = Environment {
        now,
        organization: ORGANIZATION.to_owned(),
        configuration: configuration.clone(),
        epoch: format!("life{number}.{life}"),
    };
    match number {
        0 => TenantServer::wake(environment, stored),
        relay => TenantServer::wake_relay(environment, relay, stored),
    }
}
