//! A tenant with its dialects: frames and requests in, effects out.

use crate::code::{Code, Refusal};
use crate::dialect::{self, Received};
use crate::engine::command::{DecodedFrame, Malformed};
use crate::engine::effect::Effect;
use crate::engine::input::{DialectId, Input, Open, SocketId, Stored};
use crate::engine::relay::tenant::RelayTenant;
use crate::engine::tenant::{Environment, Tenant};
use crate::policy::limits::BODY_BYTES;
use crate::server::outgoing::Outgoing;
use crate::server::unread::Unread;

/// One organization's server.
pub struct TenantServer {
    max_frame: u64,
    tenant: Served,
    unread: Unread,
}

/// What an object serves of a tenant.
enum Served {
    /// All of it except the relays' sockets.
    Root(Box<Tenant>),
    /// A share of its sockets.
    Relay(Box<RelayTenant>),
}

impl TenantServer {
    /// Constructs a tenant from its storage.
    pub fn wake(environment: Environment, stored: Stored) -> (TenantServer, Vec<Effect>) {
        let limits = &environment.configuration.limits;
        let (max_frame, unread) = (limits.frame_bytes, Unread::new(limits.unread_bytes));
        let mut effects = Vec::new();
        let tenant = Tenant::wake(environment, dialect::profile, stored, &mut effects);
        (TenantServer { max_frame, tenant: Served::Root(Box::new(tenant)), unread }, effects)
    }

    /// Constructs the relay of this number, from its own storage.
    pub fn wake_relay(environment: Environment, number: u32, stored: Stored) -> (TenantServer, Vec<Effect>) {
        let limits = &environment.configuration.limits;
        let (max_frame, unread) = (limits.frame_bytes, Unread::new(limits.unread_bytes));
        let mut effects = Vec::new();
        let relay = RelayTenant::wake(environment, number, dialect::profile, stored, &mut effects);
        (TenantServer { max_frame, tenant: Served::Relay(Box::new(relay)), unread }, effects)
    }

    /// Handles an input; `now` in Unix milliseconds.
    pub fn handle(&mut self, now: u64, input: Input) -> Vec<Effect> {
        match &input {
            Input::Open(Open { socket, .. }) | Input::Frame { socket, .. } => self.unread.heard(now, *socket),
            _ => {}
        }
        let mut effects = Vec::new();
        match &mut self.tenant {
            Served::Root(tenant) => tenant.handle(now, input, &mut effects),
            Served::Relay(relay) => relay.handle(now, input, &mut effects),
        }
        effects
    }

    /// Counts what is sent to sockets; returns the inputs for sockets that may have stopped reading. `answered` is when
    /// the runtime last answered a socket's ping, in Unix milliseconds.
    pub fn sent(&mut self, sends: &[Outgoing], answered: impl Fn(SocketId) -> Option<u64>) -> Vec<Input> {
        let conspicuous = self.unread.sent(sends);
        let unread = |socket| {
            let bytes = self.unread.judge(socket, answered(socket))?;
            Some(Input::Unread { socket, bytes })
        };
        conspicuous.into_iter().filter_map(unread).collect()
    }

    /// Decodes a frame in its socket's dialect.
    pub fn frame(&self, socket: SocketId, frame: Received<'_>) -> Input {
        Input::Frame { socket, frame: self.decode(socket, frame), bytes: frame.len() }
    }

    /// Ends this life because not all its effects could be executed; returns effects that close sockets.
    pub fn give_up(&mut self) -> Vec<Effect> {
        match &mut self.tenant {
            Served::Root(tenant) => tenant.give_up(),
            Served::Relay(relay) => relay.give_up(),
        }
    }

    /// A number for the next socket; the same one until it opens.
    pub fn vacant(&mut self) -> SocketId {
        match &mut self.tenant {
            Served::Root(tenant) => tenant.vacant(),
            Served::Relay(relay) => relay.vacant(),
        }
    }

    /// How many sockets it has, authenticated or not.
    pub fn sockets(&self) -> u64 {
        match &self.tenant {
            Served::Root(tenant) => tenant.sockets(),
            Served::Relay(relay) => relay.sockets(),
        }
    }

    fn dialect(&self, socket: SocketId) -> Option<DialectId> {
        match &self.tenant {
            Served::Root(tenant) => tenant.dialect(socket),
            Served::Relay(relay) => relay.dialect(socket),
        }
    }

    fn decode(&self, socket: SocketId, frame: Received<'_>) -> DecodedFrame {
        // A frame of an unknown socket has no effect.
        let dialect = self.dialect(socket).and_then(dialect::of).ok_or(Refusal::of(Code::Internal))?;
        if frame.len() as u64 <= self.max_frame {
            return dialect.decode(frame);
        }
        let message = format!("The frame is larger than {} bytes.", self.max_frame);
        let refusal = Refusal::because(Code::FrameTooLarge, message);
        // An error about a channel is answered in that channel, unless even finding the channel would cost too much.
        let address = (frame.len() <= BODY_BYTES).then(|| dialect.decode_address(frame, &refusal)).flatten();
        address.ok_or_else(|| Malformed::from(refusal))
    }
}
