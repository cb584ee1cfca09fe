//! Events encoded as frames.

use std::iter::repeat_n;

use crate::code::Code;
use crate::dialect::{self, Frame};
use crate::engine::event::{Address, Event};
use crate::engine::input::{DialectId, SocketId};

/// One frame for several sockets.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The sockets.
    pub to: Vec<SocketId>,
    /// The bytes, which they share.
    pub frame: Frame,
}

/// The close code and reason for a socket, in the terms of its dialect.
pub fn closing(dialect: Option<DialectId>, code: Code) -> (u16, &'static str) {
    dialect.and_then(dialect::of).map_or_else(|| code.closing(), |dialect| dialect.closing(code))
}

impl Outgoing {
    /// The frames of one [`crate::engine::effect::Effect::Deliver`], in order: several, one, or none.
    pub fn of(
        to: Vec<SocketId>,
        dialect: DialectId,
        address: Option<&Address>,
        event: &Event,
    ) -> impl Iterator<Item = Outgoing> + use<> {
        // A socket of an unknown dialect was closed when it was opened or woken, so nothing is sent.
        let frames = dialect::of(dialect).map(|dialect| dialect.encode(address, event)).unwrap_or_default();
        repeat_n(to, frames.len()).zip(frames).map(|(to, frame)| Outgoing { to, frame })
    }
}
