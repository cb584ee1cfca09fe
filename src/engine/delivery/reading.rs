//! Sockets whose clients no longer read.

use super::Delivery;
use crate::code::Code;
use crate::engine::event::Event;
use crate::engine::input::SocketId;
use crate::engine::message::Out;
use crate::engine::profile::ReadConfirmation;

impl Delivery {
    /// Checks a socket to which many bytes were sent since its client was last heard from: unread bytes fill the
    /// memory. If its dialect has pings, it is pinged first; beyond the limit it is closed.
    pub(in crate::engine) fn unread(&mut self, id: SocketId, bytes: u64, out: &mut Out) {
        let Some(profile) = self.registry.profile(id) else { return };
        match profile.read_confirmation {
            ReadConfirmation::None => {}
            _ if bytes >= self.configuration.limits.unread_bytes => {
                self.too_slow += 1;
                self.close(id, Code::TooSlow, out);
            }
            ReadConfirmation::Pong => self.registry.tell_socket(id, None, Event::Ping, out),
            ReadConfirmation::ClientFrames => {}
        }
    }
}
