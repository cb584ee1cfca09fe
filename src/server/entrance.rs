//! How sockets of a dialect are opened: the part of the handshake that differs between dialects.

use super::admission::Admission;
use super::answer::Answer;
use super::handshake::Step;
use super::request_head::RequestHead;
use super::streaming::StreamedBody;
use crate::code::Refusal;
use crate::dialect::Frame;
use crate::engine::input::DialectId;
use crate::policy::configuration::Configuration;
use crate::policy::credential::{Credentials, Proven};
use crate::policy::principal::Principal;
use crate::policy::token::TokenError;

/// A dialect's way in. Each stands in its route module, and in the table of [`super::dialects`].
pub trait Entrance: Sync {
    /// The dialects whose sockets are opened here: one, or one per version.
    fn dialects(&self) -> &'static [DialectId];

    /// Whether its sockets are opened at this path.
    fn is_path(&self, path: &str) -> bool;

    /// Whether a request for a socket is from a client of this dialect. The first entrance that says so decides.
    fn recognizes(&self, head: &RequestHead) -> bool;

    /// Takes the first step: all that needs no key.
    ///
    /// # Errors
    /// The refusal that is told with [`Entrance::refused`].
    fn admit(&self, head: &RequestHead, configuration: &Configuration, now: u64) -> Result<Step, Refusal>;

    /// The organization that a socket enters, and as whom, from what its credential proved. `asked` is what
    /// [`Entrance::admit`] noted of where it wants to go.
    ///
    /// # Errors
    /// The refusal that is told with [`Entrance::refused`].
    fn enter(
        &self,
        asked: String,
        credentials: &Credentials,
        proven: Result<Proven<'_>, TokenError>,
    ) -> Result<(String, Principal), Refusal>;

    /// How a client of this dialect learns that its socket is refused. `head` is missing where the organization's object
    /// refuses.
    fn refused(&self, head: Option<&RequestHead>, refusal: &Refusal) -> Rejection;

    /// Whether its sockets leave as the bodies of HTTP answers; where not, as WebSockets.
    fn is_streamed(&self) -> bool {
        false
    }

    /// The body that a socket of this admission leaves as; `None` for WebSockets.
    fn body(
        &self,
        _organization: &str,
        _admission: &Admission,
        _configuration: &Configuration,
    ) -> Option<Box<dyn StreamedBody>> {
        None
    }
}

/// How a client learns that it gets no socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// By an HTTP answer in place of the upgrade.
    Answer(Answer),
    /// By frames on a socket that is closed after them: browsers show no script the status of a refused upgrade.
    Close {
        /// What is sent before.
        frames: Vec<Frame>,
        /// The close code (RFC 6455, 7.4).
        code: u16,
        /// The close reason, at most 123 bytes.
        reason: String,
    },
}
