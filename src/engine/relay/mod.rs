//! Relays: objects that run the delivery half for a share of a tenant's sockets, while the tenant's own object, the root,
//! keeps the stream half (docs/scaling.md). The halves' messages travel in requests between the objects.

mod asking;
mod catch_up;
mod codec;
mod database;
mod database_form;
mod flight;
mod form;
mod checkpoint;
mod held;
mod hub;
mod incoming;
mod interest;
mod life;
mod link;
mod listeners;
mod missing;
mod outgoing;
mod pending_answers;
mod places;
mod postponed;
mod refusal;
mod report;
mod root;
mod announcements;
pub mod tenant;
mod uplink;

pub(super) use form::{Ask, PayerForm, Up};
pub(super) use hub::Hub;
pub(super) use listeners::RelayQuestions;

/// The other side of a request between two objects of one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// The object with the stream.
    Root,
    /// The relay with this number, counted from 1.
    Relay(u32),
}

/// The prefix of the public ids of a relay's sockets, by which the root recognizes their presences.
pub fn client_prefix(relay: u32) -> String {
    format!("r{relay}-")
}

/// The relay whose socket has this public id; `None`: the root's.
fn relay_of(client_id: &str) -> Option<u32> {
    client_id.strip_prefix('r')?.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_id_tells_its_relay() {
        let id = format!("{}5b1c", client_prefix(12));
        assert_eq!(relay_of(&id), Some(12));
        // The root's own are random UUIDs, which begin with a hexadecimal digit.
        assert_eq!(relay_of("5b1c7a90-0000-4000-a000-000000000000"), None);
        assert_eq!((relay_of("r-1"), relay_of("rx-1"), relay_of("")), (None, None, None));
    }
}
