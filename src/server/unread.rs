//! How many bytes were sent to each socket since its client was last heard from. The runtime does not report how much
//! is unread, and would buffer without limit for a client that stops reading.
//!
//! This is in memory only and needs no timer: a socket to which nothing is sent cannot fall behind, and the runtime
//! does not hibernate an object while bytes are unsent.

use super::outgoing::Outgoing;
use crate::engine::input::SocketId;

/// Bytes sent to each socket since its client was last heard from, by socket number.
pub struct Unread {
    max: u64,
    places: Vec<UnreadSocket>,
}

#[derive(Clone, Copy, Default)]
struct UnreadSocket {
    bytes: u64,
    /// The bytes at which it is checked next; `None`: at half of the limit.
    next: Option<u64>,
    /// When its client was last heard from, in Unix milliseconds.
    heard: u64,
}

impl Unread {
    /// Nothing has been sent yet; `max` is the limit of unconfirmed bytes.
    pub fn new(max: u64) -> Unread {
        Unread { max, places: Vec::new() }
    }

    /// A client sent something, or has just connected; `now` in Unix milliseconds.
    pub fn heard(&mut self, now: u64, socket: SocketId) {
        if let Some(place) = self.places.get_mut(socket.0 as usize) {
            *place = UnreadSocket { heard: now, ..UnreadSocket::default() };
        }
    }

    /// Counts frames, and returns the sockets to check.
    pub fn sent(&mut self, sends: &[Outgoing]) -> Vec<SocketId> {
        let (half, mut due) = (self.max / 2, Vec::new());
        for Outgoing { to, frame } in sends {
            let bytes = frame.len() as u64;
            let highest = to.iter().map(|socket| socket.0 as usize).max().unwrap_or_default();
            if highest >= self.places.len() {
                self.places.resize(highest + 1, UnreadSocket::default());
            }
            for socket in to {
                let Some(place) = self.places.get_mut(socket.0 as usize) else { continue };
                let next = place.next.unwrap_or(half);
                let before = place.bytes;
                place.bytes = before.saturating_add(bytes);
                // Only once, however many frames follow before the check.
                if before < next && place.bytes >= next {
                    due.push(*socket);
                }
            }
        }
        due
    }

    /// How many bytes a client has not confirmed to have read. `answered` is when the runtime last answered its ping,
    /// in Unix milliseconds, which counts as a sign of life.
    pub fn judge(&mut self, socket: SocketId, answered: Option<u64>) -> Option<u64> {
        let max = self.max;
        let place = self.places.get_mut(socket.0 as usize)?;
        match answered.filter(|time| *time > place.heard) {
            Some(time) => {
                *place = UnreadSocket { heard: time, ..UnreadSocket::default() };
                None
            }
            None => {
                place.next = Some(if place.bytes < max { max } else { place.bytes.saturating_add(max) });
                Some(place.bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Frame;

    fn send(unread: &mut Unread, to: u32, bytes: usize) -> Vec<SocketId> {
        unread.sent(&[Outgoing { to: vec![SocketId(to)], frame: Frame::Text("x".repeat(bytes)) }])
    }

    #[test]
    fn a_socket_is_looked_at_with_half_and_with_all_of_what_it_may_be_sent() {
        let mut unread = Unread::new(100);
        assert!(send(&mut unread, 3, 49).is_empty());
        assert_eq!(send(&mut unread, 3, 1), [SocketId(3)]);
        assert_eq!(unread.judge(SocketId(3), None), Some(50));
        assert!(send(&mut unread, 3, 49).is_empty() && send(&mut unread, 2, 1).is_empty());
        assert_eq!(send(&mut unread, 3, 1), [SocketId(3)]);
        assert_eq!(unread.judge(SocketId(3), None), Some(100));
        assert!(send(&mut unread, 3, 99).is_empty());
        assert_eq!(send(&mut unread, 3, 1), [SocketId(3)], "where it may go on");
    }

    #[test]
    fn whoever_is_heard_begins_anew() {
        let mut unread = Unread::new(100);
        send(&mut unread, 0, 99);
        unread.heard(5, SocketId(0));
        assert!(send(&mut unread, 0, 49).is_empty());
        send(&mut unread, 0, 1);
        assert_eq!(unread.judge(SocketId(0), Some(5)), Some(50), "answered before it was heard");
        assert_eq!(unread.judge(SocketId(0), Some(6)), None, "answered since");
        assert!(send(&mut unread, 0, 49).is_empty());
        send(&mut unread, 0, 1);
        assert_eq!(unread.judge(SocketId(0), Some(6)), Some(50), "an answer counts once");
        assert_eq!(unread.judge(SocketId(7), None), None, "one that was sent nothing");
    }
}
