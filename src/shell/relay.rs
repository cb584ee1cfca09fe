//! The relays of an organization: their Durable Object class, requests between the objects, and which object a new
//! socket goes to.

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

/// How long another object may take to answer before the request is repeated.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an isolate caches where an organization's sockets go, in milliseconds.
const PLACE_KNOWN: u64 = 5_000;
/// For how many organizations an isolate caches this.
const MAX_PLACES: usize = 1_000;

/// A relay's object: the same shell as [`Broadcaster`], with another engine.
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

/// The answer of another object of the organization; `None` if there is none or it is malformed.
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

/// Posts a body to another object of the organization and returns status and text of its answer.
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
    /// Where organizations' sockets go, and until when that is cached, in Unix milliseconds.
    static PLACES: RefCell<BTreeMap<String, (Peer, u64)>> = const { RefCell::new(BTreeMap::new()) };
}

/// The object for a new socket of an organization. Without relays this needs no request.
pub async fn place(env: &Env, organization: &str, configuration: &Configuration) -> Peer {
    if configuration.relays.is_none() {
        return Peer::Root;
    }
    let time = now();
    let known = PLACES.with_borrow(|places| places.get(organization).copied());
    if let Some((peer, _)) = known.filter(|(_, until)| time < *until) {
        return peer;
    }
    // If this cannot be determined, the organization's own object takes the socket, under the same limits.
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

/// Drops the cached object of an organization, which could not take a socket.
pub fn forget_place(organization: &str) {
    PLACES.with_borrow_mut(|places| places.remove(organization));
}
