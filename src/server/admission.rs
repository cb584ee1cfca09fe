//! What the Worker has verified of a socket, and tells the organization's object.

use serde::{Deserialize, Serialize};

use super::request_head::RequestHead;
use crate::code::{Code, Refusal};
use crate::dialect::{self, Received};
use crate::engine::command::{Authenticate, Command, Position, Recover};
use crate::engine::input::{DialectId, Open, SocketId, UsedTicket};
use crate::policy::principal::Principal;

/// The header in which it travels. Only the Worker can reach the object. While a version is being deployed, either side
/// may be of the one before: names are added, never changed.
pub const HEADER: &str = "x-realtime-pass";

/// What the Worker has verified of a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// Who it is, where a ticket or a header has proven it.
    pub principal: Option<Principal>,
    /// Id and end (Unix milliseconds) of the ticket, whose single use the object sees to.
    pub ticket: Option<(String, u64)>,
    /// Whether offsets are wanted.
    pub recover: bool,
    /// Whether several events may come in one frame.
    #[serde(default)]
    pub batches: bool,
    /// The position, epoch and offset, after which events were missed.
    pub missed_after: Option<(String, u64)>,
    /// How its frames are written.
    #[serde(default, rename = "wire")]
    pub dialect: u8,
    /// The subprotocol that is agreed to.
    #[serde(default)]
    pub protocol: Option<String>,
    /// The frame that its address stands for: it is read before any other, and `principal` is who says it.
    #[serde(default)]
    pub first: Option<String>,
    /// Its public id, where the Worker had to know it beforehand.
    #[serde(default)]
    pub client_id: Option<String>,
    /// The address that it comes from, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl Admission {
    /// What is known of every socket of this dialect from the head of its request.
    pub fn of(dialect: DialectId, head: &RequestHead) -> Admission {
        let protocol = head.subprotocol().map(str::to_owned);
        Admission { dialect: dialect.0, protocol, address: head.address.clone(), ..Admission::default() }
    }

    /// The header's text: JSON in ASCII only, for a header's value is Latin-1 and a user's name may be anything.
    ///
    /// # Errors
    /// Never: all of it has a form in JSON.
    pub fn header(&self) -> serde_json::Result<String> {
        serde_json::to_string(self).map(|json| ascii(&json))
    }

    /// Reads the header.
    pub fn read(header: &str) -> Option<Admission> {
        serde_json::from_str(header).ok()
    }

    /// The first frame, as its dialect reads it, said by who was proven to say it.
    ///
    /// # Errors
    /// When it is of another form: while a version is being deployed, the Worker may be of the one before.
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
            address: self.address,
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
