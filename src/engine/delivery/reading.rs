//! Sockets whose clients no longer read.

use super::Delivery;
use crate::code::Code;
use crate::engine::event::Event;
use crate::engine::input::SocketId;
use crate::engine::message::Out;
use crate::engine::profile::Reading;

impl Delivery {
    /// A socket was sent so many bytes since it was last heard. It is asked for a sign of life first, where its client
    /// answers, and closed where none has come: what it does not read waits in memory.
    pub(in crate::engine) fn unread(&mut self, id: SocketId, bytes: u64, out: &mut Out) {
        let Some(profile) = self.registry.profile(id) else { return };
        match profile.reading {
            Reading::Unknown => {}
            _ if bytes >= self.configuration.limits.unread_bytes => {
                self.too_slow += 1;
                self.close(id, Code::TooSlow, out);
            }
            Reading::Answered => self.registry.tell_socket(id, None, Event::Ping, out),
            Reading::Spoken => {}
        }
    }
}
