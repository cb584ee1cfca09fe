//! A tenant with its dialects: frames and requests go in, jobs come out.

use std::collections::BTreeMap;

use super::job::Job;
use crate::code::{Code, Refusal};
use crate::dialect::{self, Received};
use crate::engine::command::{Command, Malformed};
use crate::engine::effect::Effect;
use crate::engine::input::{Input, Open, Remembered, SocketId, Stored, StoredPublication};
use crate::engine::publication::Publication;
use crate::engine::tenant::{Surroundings, Tenant};
use crate::policy::limits::BODY_BYTES;

/// One organization's server.
pub struct TenantServer {
    most_frame: u64,
    tenant: Tenant,
}

/// One thing that happened, in the runtime's terms.
#[derive(Debug)]
pub enum Happening<'a> {
    /// Someone wants to connect.
    Open(Open),
    /// A socket received a frame.
    Frame {
        /// Which socket.
        socket: SocketId,
        /// The frame.
        frame: Received<'a>,
    },
    /// A socket is gone.
    Closed(SocketId),
    /// A publisher's request, with what is remembered of its idempotency keys.
    Publish(Vec<Publication>, BTreeMap<String, Remembered>),
    /// The history that was asked for.
    HistoryRead(Option<Vec<StoredPublication>>),
    /// The key set that was asked for.
    KeysFetched(Option<String>),
    /// The alarm has come.
    Alarm,
    /// Someone wants the figures.
    Stats,
}

impl TenantServer {
    /// Brings a tenant to life from what its storage holds.
    pub fn wake(surroundings: Surroundings, stored: Stored) -> (TenantServer, Vec<Job>) {
        let most_frame = surroundings.configuration.limits.frame_bytes;
        let mut effects = Vec::new();
        let tenant = Tenant::wake(surroundings, dialect::profile, stored, &mut effects);
        let server = TenantServer { most_frame, tenant };
        (server, jobs(effects))
    }

    /// Handles what happened; `now` in Unix milliseconds.
    pub fn handle(&mut self, now: u64, happening: Happening<'_>) -> Vec<Job> {
        let mut effects = Vec::new();
        let input = self.input(happening);
        self.tenant.handle(now, input, &mut effects);
        jobs(effects)
    }

    /// A number for the next socket; the same one until it opens.
    pub fn vacant(&mut self) -> SocketId {
        self.tenant.vacant()
    }

    fn decode(&self, socket: SocketId, frame: Received<'_>) -> Result<Command, Malformed> {
        // A frame of a socket that is not there reaches nobody, whatever it says.
        let dialect = self.tenant.wire(socket).and_then(dialect::of).ok_or(Refusal::of(Code::Internal))?;
        if frame.len() as u64 <= self.most_frame {
            return dialect.decode(frame);
        }
        let message = format!("The frame is larger than {} bytes.", self.most_frame);
        let refusal = Refusal::because(Code::FrameTooLarge, message);
        // One about a channel is answered there, unless even to look for the channel would be too much.
        let address = (frame.len() <= BODY_BYTES).then(|| dialect.decode_address(frame, &refusal)).flatten();
        address.ok_or_else(|| Malformed::from(refusal))
    }

    fn input(&self, happening: Happening<'_>) -> Input {
        match happening {
            Happening::Open(open) => Input::Open(open),
            Happening::Frame { socket, frame } => {
                Input::Frame { socket, frame: self.decode(socket, frame), bytes: frame.len() }
            }
            Happening::Closed(socket) => Input::Closed { socket },
            Happening::Publish(publications, remembered) => Input::Publish { publications, remembered },
            Happening::HistoryRead(rows) => Input::HistoryRead(rows),
            Happening::KeysFetched(answer) => Input::KeysFetched(answer),
            Happening::Alarm => Input::Alarm,
            Happening::Stats => Input::Stats,
        }
    }
}

fn jobs(effects: Vec<Effect>) -> Vec<Job> {
    let mut jobs = Vec::with_capacity(effects.len());
    effects.into_iter().for_each(|effect| Job::add(effect, &mut jobs));
    jobs
}
