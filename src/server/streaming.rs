//! Sockets served as the body of an HTTP response. The Worker holds the response and a WebSocket to the organization's
//! object, which can therefore hibernate as with any socket.

use serde_json::json;

use crate::code::{Code, Refusal};
use crate::value::form::Form;

/// The silence after which the body sends a keep-alive, in milliseconds: intermediaries close idle connections.
pub const MAX_SILENCE: u64 = 15_000;
/// The maximum duration of a body, in milliseconds. Its client reconnects and resumes.
pub const MAX_LIFETIME: u64 = 60 * 60_000;
/// The most bytes that wait for a client to read them.
pub const MAX_BUFFER: usize = 1024 * 1024;
/// The object's path for frames that arrive in separate requests.
pub const FRAME: &str = "/frame";

/// The encoding of a socket's frames, its silence and its close.
pub trait StreamedBody {
    /// Its media type.
    fn media_type(&self) -> &'static str;
    /// What is written before all frames.
    fn opening(&self) -> String;
    /// A text frame of the socket.
    fn frame(&mut self, text: &str) -> String;
    /// Called after [`MAX_SILENCE`] without a frame.
    fn silence(&self) -> &'static str;
    /// The socket was closed with this code and reason.
    fn end(&self, code: u16, reason: &str) -> String;
}

/// The bytes that a client has not read yet.
#[derive(Debug, Default)]
pub struct SendBuffer(String);

impl SendBuffer {
    /// Appends text and returns whether it fitted. If not, everything is dropped: a reconnecting client resumes from
    /// its last position. A frame larger than the limit fits if it is alone; otherwise a client could never get past
    /// it.
    pub fn push(&mut self, text: &str) -> bool {
        let has_room = self.0.is_empty() || self.0.len() + text.len() <= MAX_BUFFER;
        if has_room {
            self.0.push_str(text)
        } else {
            self.0.clear()
        }
        has_room
    }

    /// Whether everything has been taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes all bytes.
    pub fn take(&mut self) -> Option<String> {
        (!self.0.is_empty()).then(|| std::mem::take(&mut self.0))
    }
}

/// The body of a request to [`FRAME`].
pub fn frame_body(client_id: &str, frame: &str) -> String {
    json!({ "clientId": client_id, "frame": frame }).to_string()
}

/// Reads the body: the stream key, and the frame.
///
/// # Errors
/// [`Code::InvalidRequest`]
pub fn read_frame(body: &str) -> Result<(String, String), Refusal> {
    let mut form = Form::read(body, Code::InvalidRequest)?;
    let read = (form.require("clientId")?.text()?, form.require("frame")?.text()?);
    form.finish()?;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_to_be_read_is_bounded() {
        let mut buffer = SendBuffer::default();
        assert_eq!((buffer.take(), buffer.is_empty()), (None, true));
        assert!(buffer.push("a") && buffer.push("b") && !buffer.is_empty());
        assert_eq!((buffer.take().as_deref(), buffer.is_empty()), (Some("ab"), true));
        let most = "x".repeat(MAX_BUFFER);
        assert!(buffer.push(&most));
        assert!(!buffer.push("y"));
        let larger = "x".repeat(MAX_BUFFER + 1);
        assert!(buffer.push(&larger), "who reads gets it, however large");
        assert_eq!(buffer.take().map(|text| text.len()), Some(MAX_BUFFER + 1));
        assert!(buffer.push(&most) && !buffer.push(&larger));
        assert!(buffer.push("end"), "there is room for saying why");
        assert_eq!(buffer.take().as_deref(), Some("end"));
        assert_eq!(buffer.take(), None);
    }

    #[test]
    fn a_frame_travels_as_it_is() {
        for frame in ["", "{\"type\":\"ping\"}", "\u{0}\n\"é🦀"] {
            assert_eq!(read_frame(&frame_body("c1", frame)), Ok(("c1".to_owned(), frame.to_owned())));
        }
        assert!(read_frame("{}").is_err());
    }
}
