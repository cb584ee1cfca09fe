//! How sockets of a dialect are opened: the part of the handshake that differs between dialects.

use super::admission::Admission;
use super::answer::Answer;
use super::handshake::HandshakeStep;
use super::request_head::RequestHead;
use super::streaming::StreamedBody;
use crate::code::Refusal;
use crate::dialect::Frame;
use crate::engine::input::DialectId;
use crate::policy::configuration::Configuration;
use crate::policy::credential::{Credentials, Proven};
use crate::policy::principal::Principal;
use crate::policy::token::TokenError;

/// How a dialect admits sockets, implemented in its route module and listed in [`super::dialects`].
pub trait Entrance: Sync {
    /// The dialects of these sockets: one, or one per version.
    fn dialects(&self) -> &'static [DialectId];

    /// Whether its sockets are opened at this path.
    fn is_path(&self, path: &str) -> bool;

    /// Whether a socket request comes from a client of this dialect. The first entrance that recognizes it decides.
    fn recognizes(&self, head: &RequestHead) -> bool {
        self.is_path(&head.path)
    }

    /// The first step: everything that needs no keys.
    ///
    /// # Errors
    /// The refusal, which is reported with [`Entrance::refused`].
    fn admit(&self, head: &RequestHead, configuration: &Configuration, now: u64) -> Result<HandshakeStep, Refusal>;

    /// The organization and principal of a socket, from its verified credential. `asked` is what [`Entrance::admit`]
    /// noted: the organization, unless the dialect needs something else.
    ///
    /// # Errors
    /// The refusal, which is reported with [`Entrance::refused`].
    fn enter(
        &self,
        asked: String,
        credentials: &Credentials,
        proven: Result<Proven<'_>, TokenError>,
    ) -> Result<(String, Principal), Refusal> {
        let principal = credentials.within(&proven.map_err(TokenError::code)?, &asked)?;
        Ok((asked, principal))
    }

    /// How a client of this dialect is told that its socket is refused. `head` is missing when the organization's
    /// object refuses.
    fn refused(&self, head: Option<&RequestHead>, refusal: &Refusal) -> Rejection;

    /// Whether its sockets are served as bodies of HTTP answers instead of WebSockets.
    fn is_streamed(&self) -> bool {
        false
    }

    /// The HTTP body that serves a socket of this admission; `None` for WebSockets.
    fn body(
        &self,
        _organization: &str,
        _admission: &Admission,
        _configuration: &Configuration,
    ) -> Option<Box<dyn StreamedBody>> {
        None
    }
}

/// How a client is told that its socket is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// By an HTTP answer in place of the upgrade.
    Answer(Answer),
    /// By frames on a socket that is then closed: browsers do not show scripts the status of a refused upgrade.
    Close {
        /// The frames to send first.
        frames: Vec<Frame>,
        /// The close code (RFC 6455, 7.4).
        code: u16,
        /// The close reason, at most 123 bytes.
        reason: String,
    },
}
