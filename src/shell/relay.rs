//! Relays of an organization's object: their class, the requests between the objects, and where new sockets go.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::{Either, select};
use js_sys::futures::JsFuture;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::RequestInit;
use worker::{
    Delay, DurableObject, Env, Request, Response, Result, State, WebSocket, WebSocketIncomingMessage, durable_object,
};

use super::broadcaster::Broadcaster;
use super::fault::log_fault;
use super::http;
use super::runtime::{RawEnv, now};
use crate::engine::relay::Peer;
use crate::policy::configuration::Configuration;
use crate::server::fault::Fault;
use crate::server::relay::{RelayName, placed};

/// How long another object may take to answer; it is asked again where it does not.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an isolate knows where the sockets of an organization go, in milliseconds.
const PLACE_KNOWN: u64 = 5_000;
/// Organizations whose places an isolate knows.
const MAX_PLACES: usize = 1_000;

/// A relay's object. It does what the organization's own does, with another engine.
#[durable_object]
pub struct Relay {
    object: Broadcaster,
}

impl DurableObject for Relay {
    fn new(state: State, env: Env) -> Self {
        Relay { object: <Broadcaster as DurableObject>::new(state, env) }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        DurableObject::fetch(&self.object, request).await
    }

    async fn alarm(&self) -> Result<Response> {
        DurableObject::alarm(&self.object).await
    }

    async fn websocket_message(&self, socket: WebSocket, message: WebSocketIncomingMessage) -> Result<()> {
        DurableObject::websocket_message(&self.object, socket, message).await
    }

    async fn websocket_close(&self, socket: WebSocket, code: usize, reason: String, was_clean: bool) -> Result<()> {
        DurableObject::websocket_close(&self.object, socket, code, reason, was_clean).await
    }

    async fn websocket_error(&self, socket: WebSocket, error: worker::Error) -> Result<()> {
        DurableObject::websocket_error(&self.object, socket, error).await
    }
}

/// What another object of an organization answers; `None` where there is no answer that makes sense.
pub async fn ask(env: &Env, organization: &str, peer: Peer, body: &str) -> Option<String> {
    let asked = Box::pin(post(env, organization, peer, "/peer", body));
    match select(asked, Box::pin(Delay::from(PATIENCE))).await {
        Either::Left((answer, _)) => answer
            .map_err(|fault| log_fault(fault.during("asking another object of the organization")))
            .ok()
            .filter(|(status, _)| *status == 200)
            .map(|(_, text)| text),
        Either::Right(_) => {
            log_fault(Fault::new("another object of the organization did not answer in time"));
            None
        }
    }
}

/// Posts a body to another object of an organization; status and text of the answer.
///
/// # Errors
/// When it cannot be reached.
pub async fn post(
    env: &Env,
    organization: &str,
    peer: Peer,
    path: &str,
    body: &str,
) -> std::result::Result<(u16, String), Fault> {
    let answer = fetch(env, organization, peer, path, &http::post(&JsValue::from_str(body))).await?;
    Ok(http::status_and_text(&answer).await?)
}

/// Sends a request to one of an organization's objects.
///
/// # Errors
/// When it cannot be reached.
pub async fn fetch(
    env: &Env,
    organization: &str,
    peer: Peer,
    path: &str,
    init: &RequestInit,
) -> std::result::Result<web_sys::Response, Fault> {
    let Peer::Relay(number) = peer else { return Ok(http::ask(env, organization, path, init).await?) };
    let raw: &RawEnv = env.unchecked_ref();
    let objects = raw.relays().ok_or_else(|| Fault::new("the binding RELAY is missing"))?;
    let name = RelayName { number, organization: organization.to_owned() }.text();
    let promise = objects.by_name(&name)?.fetch(&format!("https://object{path}"), init)?;
    Ok(JsFuture::from(promise).await?.unchecked_into())
}

thread_local! {
    /// Where the sockets of organizations go, and until when that is taken for true, in Unix milliseconds.
    static PLACES: RefCell<BTreeMap<String, (Peer, u64)>> = const { RefCell::new(BTreeMap::new()) };
}

/// The object that a new socket of an organization goes to. Where there are no relays that takes no request.
pub async fn place(env: &Env, organization: &str, configuration: &Configuration) -> Peer {
    if configuration.relays.is_none() {
        return Peer::Root;
    }
    let time = now();
    let known = PLACES.with_borrow(|places| places.get(organization).copied());
    if let Some((peer, _)) = known.filter(|(_, until)| time < *until) {
        return peer;
    }
    // Where that cannot be learned the organization's own object takes the socket, and has the same limits.
    let answer = post(env, organization, Peer::Root, "/place", "").await.map_err(log_fault).ok();
    let peer = answer.and_then(|(_, text)| placed(&text)).unwrap_or(Peer::Root);
    PLACES.with_borrow_mut(|places| {
        if places.len() >= MAX_PLACES {
            places.retain(|_, (_, until)| time < *until);
        }
        if places.len() < MAX_PLACES {
            places.insert(organization.to_owned(), (peer, time.saturating_add(PLACE_KNOWN)));
        }
    });
    peer
}

/// Forgets where the sockets of an organization go: the object could not take one.
pub fn forget_place(organization: &str) {
    PLACES.with_borrow_mut(|places| places.remove(organization));
}
