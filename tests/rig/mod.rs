//! The rig: one tenant's server with a clock, a storage, an alarm and clients, which are all values of the test.
//!
//! A script is plain Rust. [`every_way`] runs it undisturbed, then with a hibernation, then with a crash between any
//! two of its steps, and asserts that every client received the same bytes each time (invariant 4).
#![allow(dead_code, reason = "every test file uses its part of the rig")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

pub mod client;
pub mod listeners;
pub mod relays;
pub mod requests;
pub mod runtime;
pub mod source;
pub mod storage;
pub mod supabase;
pub mod token;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub use client::Client;
use realtime_worker::code::Refusal;
use realtime_worker::dialect::read_configuration;
use realtime_worker::dialect::{Received, native};
use realtime_worker::engine::command::Recover;
use realtime_worker::engine::effect::Calling;
use realtime_worker::engine::input::{DialectId, Input, Open, SocketId, UsedTicket};
use realtime_worker::policy::configuration::Configuration;
use realtime_worker::policy::principal::Principal;
use realtime_worker::server::tenant_server::TenantServer;
use relays::{Mail, Relay};
use runtime::Outcome;
use serde_json::{Value, json};
use source::Source;
use storage::Storage;

/// The organization of every rig.
pub const ORGANIZATION: &str = "org_1";
/// The start of every script, in Unix milliseconds.
pub const START: u64 = 1_700_000_000_000;
/// How long the rig's tokens are valid, in seconds.
pub const SESSION_SECONDS: u64 = 3_600;
/// The API key of the rig's deployment; its user is `robot`, its role `service`.
pub const API_KEY: &str = "the-api-key-of-the-robot";
/// The rig's `ACCESS_TOKEN`.
pub const ACCESS_TOKEN: &str = "the-access-token-of-the-rig-0123456789";
/// Alarms that one advance may cause; more would be a loop.
const MAX_ALARMS: usize = 1_000;

/// What happens to the object between two steps of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// Nothing.
    None,
    /// Memory is lost; sockets, attachments and storage stay.
    Hibernate,
    /// The same, and the following wake is itself interrupted once, after its effects were executed.
    Crash,
}

/// A publisher's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub status: u16,
    pub body: Value,
    pub retry_after: Option<u32>,
}

/// What everyone received: the publisher's answers, then each client's frames and how its connection ended.
type Transcript = (Vec<Published>, Vec<(Vec<String>, Option<(u16, String)>)>);

/// One organization's object and everyone around it.
pub struct Rig {
    pub now: u64,
    pub storage: Storage,
    pub alarm: Option<u64>,
    /// When timers fire: at the end of each step, unless they are held.
    pub timers: BTreeSet<u64>,
    pub hold_timer: bool,
    /// Whether sockets whose principal is proven at the handshake accept several events in a frame.
    pub open_batched: bool,
    pub logs: Vec<String>,
    pub interruption: Interruption,
    /// The answer of `JWKS_URL`; `None`: there is none.
    pub key_set: Option<String>,
    /// Its last answer, and when: the isolate remembers it for as long as it lives.
    known_keys: Option<(u64, String)>,
    /// While set, the answer of `JWKS_URL` is in transit.
    pub hold_keys: bool,
    pub key_fetches: usize,
    /// How many times the object deleted its storage.
    pub storage_deletions: usize,
    pub fail_history_reads: bool,
    pub history_reads: usize,
    /// The address of the next sockets.
    pub address: Option<String>,
    /// Rows of the history that were read.
    pub history_rows_read: usize,
    /// Sockets that were gone at the last wake and had left state behind.
    pub gone_at_wake: usize,
    /// Rows of those that were read, each time.
    pub gone_rows_read: Vec<usize>,
    /// Functions that are being called.
    pub calls: Vec<Calling>,
    /// The object of the database.
    pub source: Source,
    /// The tenant's other objects.
    pub relays: Vec<Relay>,
    /// The requests between all of them.
    pub mail: Mail,
    configuration: Rc<Configuration>,
    server: Option<TenantServer>,
    clients: Vec<Client>,
    sockets: BTreeMap<SocketId, Client>,
    attachments: BTreeMap<String, String>,
    /// When the runtime last answered a client's ping.
    answered: BTreeMap<String, u64>,
    answers: Vec<Published>,
    fetching: bool,
    epochs: usize,
    tickets: usize,
}

/// Runs a script in every way, with this `REALTIME` configuration.
#[track_caller]
pub fn every_way(realtime: Value, script: impl Fn(&mut Rig)) {
    let run = |interruption| {
        let mut rig = Rig::new(&realtime);
        rig.interruption = interruption;
        script(&mut rig);
        rig.transcript()
    };
    let undisturbed = run(Interruption::None);
    for interruption in [Interruption::Hibernate, Interruption::Crash] {
        assert_eq!(run(interruption), undisturbed, "{interruption:?} is seen by a client");
    }
}

/// The variables of a deployment with this `REALTIME`.
pub fn configuration(realtime: &Value, more: &[(&str, &str)]) -> Configuration {
    let keys = json!([{ "name": "robot", "hash": token::api_key_hash(API_KEY), "organizationId": ORGANIZATION,
        "userId": "robot", "roles": ["service"] }]);
    let variable = |name: &str| match name {
        "ACCESS_TOKEN" => Some(ACCESS_TOKEN.to_owned()),
        "JWT_SECRET" => Some(token::JWT_SECRET.to_owned()),
        "API_KEYS" => Some(keys.to_string()),
        "REALTIME" => Some(realtime.to_string()),
        _ => more.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()),
    };
    read_configuration(&variable).unwrap_or_else(|refusal| panic!("{refusal:?}"))
}

impl Rig {
    /// An object that was never awake, with this `REALTIME`.
    pub fn new(realtime: &Value) -> Rig {
        Rig::with(configuration(realtime, &[("JWKS_URL", "https://issuer.example/keys")]))
    }

    pub fn with(configuration: Configuration) -> Rig {
        let mut rig = Rig {
            now: START,
            storage: Storage::default(),
            alarm: None,
            timers: BTreeSet::new(),
            hold_timer: false,
            open_batched: false,
            logs: Vec::new(),
            interruption: Interruption::None,
            key_set: None,
            known_keys: None,
            hold_keys: false,
            key_fetches: 0,
            storage_deletions: 0,
            fail_history_reads: false,
            history_reads: 0,
            address: None,
            history_rows_read: 0,
            gone_at_wake: 0,
            gone_rows_read: Vec::new(),
            calls: Vec::new(),
            source: Source::default(),
            relays: Vec::new(),
            mail: Mail::default(),
            configuration: Rc::new(configuration),
            server: None,
            clients: Vec::new(),
            sockets: BTreeMap::new(),
            attachments: BTreeMap::new(),
            answered: BTreeMap::new(),
            answers: Vec::new(),
            fetching: false,
            epochs: 0,
            tickets: 0,
        };
        rig.wake();
        rig
    }

    // --- steps of a script -------------------------------------------------------------------------------------------

    /// Connects a user with these roles, with `?organizationId=` and a first frame.
    #[track_caller]
    pub fn connect(&mut self, user: &str, roles: &[&str]) -> Client {
        let claims = self.claims(user, roles);
        self.connect_with(&claims)
    }

    /// Connects with a token with these claims.
    #[track_caller]
    pub fn connect_with(&mut self, claims: &Value) -> Client {
        self.connect_saying(claims, json!({}))
    }

    /// Connects with a token with these claims, and more keys in the first frame.
    #[track_caller]
    pub fn connect_saying(&mut self, claims: &Value, more: Value) -> Client {
        let client = self.open();
        self.authenticate_saying(&client, &token::hs256(claims), more);
        let frame = client.next();
        assert_eq!(frame["type"], "auth_success", "{frame}");
        client
    }

    /// Opens a socket that has not sent anything.
    pub fn open(&mut self) -> Client {
        self.open_as(None, None, Recover::Off).expect("a socket without a ticket is never rejected")
    }

    /// Opens a socket as the Worker passes it on: with a principal that a header or ticket has proven.
    pub fn open_as(
        &mut self,
        principal: Option<Principal>,
        ticket: Option<(&str, u64)>,
        recover: Recover,
    ) -> Result<Client, Refusal> {
        self.open_at(native::ID, principal, ticket, recover)
    }

    /// The same in another dialect.
    pub fn open_at(
        &mut self,
        dialect: DialectId,
        principal: Option<Principal>,
        ticket: Option<(&str, u64)>,
        recover: Recover,
    ) -> Result<Client, Refusal> {
        self.step();
        // In turn, starting with the tenant's own object.
        if let Some(relay) = (self.clients.len() % (self.relays.len() + 1)).checked_sub(1) {
            return self.open_at_relay(relay, dialect, (principal, ticket), recover);
        }
        let client = Client::new(format!("c{}", self.clients.len() + 1));
        let socket = self.server.as_mut().expect("awake").vacant();
        assert!(!self.sockets.contains_key(&socket), "a number in use");
        let ticket =
            ticket.map(|(id, expires)| UsedTicket { id: id.to_owned(), expires, spent: self.storage.is_spent(id) });
        let client_id = client.id.clone();
        let (address, batches) = (self.address.clone(), self.open_batched);
        let open = Open { socket, client_id, dialect, principal, ticket, recover, batches, address };
        let mut outcome = Outcome { opening: Some(client.clone()), ..Outcome::default() };
        self.run(Input::Open(open), &mut outcome);
        self.opened(client, outcome)
    }

    /// The client of a socket that an object has opened, or the refusal.
    fn opened(&mut self, client: Client, outcome: Outcome) -> Result<Client, Refusal> {
        if let Some(refusal) = outcome.rejected {
            return Err(refusal);
        }
        assert!(outcome.opening.is_none(), "neither accepted nor refused");
        self.clients.push(client.clone());
        Ok(client)
    }

    /// Sends `auth` with this token.
    pub fn authenticate(&mut self, client: &Client, token: &str) {
        self.authenticate_saying(client, token, json!({}));
    }

    pub fn authenticate_saying(&mut self, client: &Client, token: &str, more: Value) {
        let mut frame = json!({ "type": "auth", "token": token, "organizationId": ORGANIZATION });
        frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.frame(client, frame);
    }

    /// Sends a frame.
    pub fn frame(&mut self, client: &Client, frame: Value) {
        self.text(client, &frame.to_string());
    }

    /// Sends a text frame as it is.
    pub fn text(&mut self, client: &Client, text: &str) {
        self.step();
        self.receive(client, Received::Text(text));
    }

    /// Sends a binary frame.
    pub fn binary(&mut self, client: &Client, bytes: &[u8]) {
        self.step();
        self.receive(client, Received::Binary(bytes));
    }

    /// Sends several frames in one step, for what lives in memory only.
    pub fn burst(&mut self, client: &Client, frames: &[Value]) {
        self.step();
        for frame in frames {
            self.receive(client, Received::Text(&frame.to_string()));
        }
    }

    /// The client disconnects.
    pub fn disconnect(&mut self, client: &Client) {
        self.step();
        if let Some(relay) = self.relay_of(client) {
            return self.disconnect_at_relay(relay, client);
        }
        let Some(socket) = self.socket_of(client) else { return };
        client.end(1000, "");
        self.attachments.remove(&client.id);
        self.run(Input::Closed { socket }, &mut Outcome::default());
        self.sockets.remove(&socket);
    }

    /// The client's socket is lost, and the object is not informed.
    pub fn lose(&mut self, client: &Client) {
        if let Some(socket) = self.socket_of(client) {
            self.sockets.remove(&socket);
            self.attachments.remove(&client.id);
            client.end(1006, "");
        }
    }

    /// Lets time pass; alarms fire when they are due.
    pub fn advance(&mut self, milliseconds: u64) {
        self.step();
        let end = self.now + milliseconds;
        let mut alarms = 0;
        loop {
            let own = self.alarm.filter(|time| *time <= end);
            let of_relay = self.next_alarm().filter(|(time, _)| *time <= end && own.is_none_or(|own| *time < own));
            let due = of_relay.map(|(time, _)| time).or(own);
            self.fail_calls_until(due.unwrap_or(end));
            let Some(time) = due else { break };
            alarms += 1;
            assert!(alarms < MAX_ALARMS, "the alarm comes for ever");
            self.now = self.now.max(time);
            match of_relay {
                Some((_, relay)) => {
                    self.step();
                    self.ring_relay(relay);
                }
                None => {
                    self.alarm = None;
                    self.step();
                    self.run(Input::Alarm, &mut Outcome::default());
                }
            }
        }
        self.now = end;
    }

    /// The timer fires when it is due.
    pub fn tick(&mut self) {
        self.now = self.now.max(self.timers.pop_first().expect("a timer is set"));
        self.run(Input::Tick, &mut Outcome::default());
    }

    /// `JWKS_URL` answers at last, with [`Rig::key_set`].
    pub fn answer_keys(&mut self) {
        assert!(std::mem::take(&mut self.fetching), "nobody asked for keys");
        self.note_keys();
        let answer = self.key_set.clone().map(|text| (self.now, text));
        self.run(Input::KeysFetched(answer), &mut Outcome::default());
    }

    // --- what a script needs to say ----------------------------------------------------------------------------------

    /// The claims of a session that is valid for an hour.
    pub fn claims(&self, user: &str, roles: &[&str]) -> Value {
        let expires = self.now / 1_000 + SESSION_SECONDS;
        json!({ "sub": user, "roles": roles, "organizationId": ORGANIZATION, "exp": expires })
    }

    /// A token for a user with these roles.
    pub fn token(&self, user: &str, roles: &[&str]) -> String {
        token::hs256(&self.claims(user, roles))
    }

    /// The epoch of the stream.
    pub fn epoch(&self) -> String {
        self.storage.epoch.clone().expect("a stream has an epoch")
    }
}
