//! Tells a client that its socket is rejected.

use worker::{Response, Result, WebSocketPair};

use super::http;
use super::pump::send;
use crate::server::entrance::Rejection;

/// The response that rejects a socket, with the negotiated subprotocol.
///
/// # Errors
/// When the runtime fails.
pub fn respond(rejection: &Rejection, protocol: Option<&str>) -> Result<Response> {
    match rejection {
        Rejection::Answer(answer) => http::respond(answer),
        Rejection::Close { frames, code, reason } => {
            let pair = WebSocketPair::new()?;
            pair.server.accept()?;
            send(&pair.server, frames);
            pair.server.close(Some(*code), Some(reason))?;
            http::upgrade(pair.client, protocol)
        }
    }
}
