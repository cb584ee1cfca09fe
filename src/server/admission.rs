//! What the Worker has verified of a socket and passes to the organization's object.

use serde::{Deserialize, Serialize};

use super::request_head::RequestHead;
use crate::code::{Code, Refusal};
use crate::dialect::{self, Received};
use crate::engine::command::{Authenticate, Command, Position, Recover};
use crate::engine::input::{DialectId, Open, SocketId, UsedTicket};
use crate::policy::principal::Principal;

/// The header that carries it. Only the Worker can reach the object. During a deploy either side may run the previous
/// version: names are added, never changed.
pub const HEADER: &str = "x-realtime-pass";

/// What the Worker has verified of a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// The principal, if a ticket or a header has proven it.
    pub principal: Option<Principal>,
    /// Id and expiry (Unix milliseconds) of the ticket; the object enforces its single use.
    pub ticket: Option<(String, u64)>,
    /// Whether the client wants offsets.
    pub recover: bool,
    /// Whether one frame may carry several events.
    #[serde(default)]
    pub batches: bool,
    /// The position to recover from: epoch and offset.
    pub missed_after: Option<(String, u64)>,
    /// The dialect of its frames.
    #[serde(default, rename = "wire")]
    pub dialect: u8,
    /// The negotiated subprotocol.
    #[serde(default)]
    pub protocol: Option<String>,
    /// The frame that the address implies. It is handled before any other, on behalf of `principal`.
    #[serde(default)]
    pub first: Option<String>,
    /// Its public id, if the Worker had to choose it.
    #[serde(default)]
    pub client_id: Option<String>,
    /// The remote address, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl Admission {
    /// The part that the request's head determines for every socket of this dialect.
    pub fn of(dialect: DialectId, head: &RequestHead) -> Admission {
        let protocol = head.subprotocol().map(str::to_owned);
        Admission { dialect: dialect.0, protocol, address: head.address.clone(), ..Admission::default() }
    }

    /// The header's text: JSON in ASCII only, because header values are Latin-1 and a user's name may be anything.
    ///
    /// # Errors
    /// Never: every field serializes to JSON.
    pub fn header(&self) -> serde_json::Result<String> {
        serde_json::to_string(self).map(|json| ascii(&json))
    }

    /// Reads the header.
    pub fn read(header: &str) -> Option<Admission> {
        serde_json::from_str(header).ok()
    }

    /// The first frame as decoded by its dialect, with the proven principal.
    ///
    /// # Errors
    /// When it is malformed: during a deploy the Worker may run the previous version.
    pub fn first(&self) -> Result<Option<Command>, Refusal> {
        let Some(text) = &self.first else { return Ok(None) };
        let dialect = dialect::of(DialectId(self.dialect)).ok_or(Code::Internal)?;
        match dialect.decode(Received::Text(text)).map_err(|malformed| malformed.refusal)? {
            Command::Authenticate(frame) => {
                let proven = self.principal.clone().map(Box::new);
                Ok(Some(Command::Authenticate(Authenticate { proven, ..frame })))
            }
            _ => Err(Refusal::of(Code::AuthRequired)),
        }
    }

    /// The socket as the engine opens it; `is_used` says whether its ticket was redeemed before.
    pub fn open(self, socket: SocketId, client_id: String, is_used: bool) -> Open {
        let recover = match self.missed_after {
            None if self.recover => Recover::On,
            None => Recover::Off,
            Some((epoch, offset)) => Recover::From(Position { epoch, offset }),
        };
        Open {
            socket,
            client_id,
            dialect: DialectId(self.dialect),
            principal: self.principal.filter(|_| self.first.is_none()),
            ticket: self.ticket.map(|(id, expires)| UsedTicket { id, expires, spent: is_used }),
            recover,
            batches: self.batches,
            // Whose first frame has a proven principal is no stranger, and no neighbour counts against it.
            address: self.address.filter(|_| self.first.is_none()),
        }
    }
}

fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let mut units = [0; 2];
            out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    out
}
