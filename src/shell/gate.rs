//! Opens sockets in the Worker: runs the steps of [`crate::server::handshake`] with the keys and the object.

use std::cell::RefCell;
use std::rc::Rc;

use web_sys::{Request, RequestInit};
use worker::{Env, Headers, Response};

use super::fault::{failed, log_refused, unreachable};
use super::runtime::{now, uuid};
use super::{http, keys, pump, rejection, relay, streamed};
use crate::code::{Code, Refusal};
use crate::engine::relay::Peer;
use crate::policy::attempts::RefusedAttempts;
use crate::policy::configuration::Configuration;
use crate::server::admission::{Admission, HEADER};
use crate::server::answer::Answer;
use crate::server::attempt::Attempt;
use crate::server::fault::Fault;
use crate::server::handshake::{self, HandshakeStep};
use crate::server::held_socket::HeldSocket;
use crate::server::relay::FULL;
use crate::server::request_head::RequestHead;

/// The status of a WebSocket upgrade.
const SWITCHING_PROTOCOLS: u16 = 101;

thread_local! {
    /// The refused attempts that this isolate remembers.
    static REFUSED: RefCell<RefusedAttempts> = RefCell::default();
}

/// Opens a socket, or responds with the refusal in the dialect's format.
///
/// # Errors
/// When the runtime fails.
pub async fn connect(
    request: &Request,
    env: &Env,
    configuration: &Rc<Configuration>,
) -> std::result::Result<Response, Refusal> {
    let head = http::head(request)?;
    let mut attempt = Attempt::of(&head);
    let opened = admit(request, &head, &mut attempt, env, configuration).await;
    let limit = configuration.limits.refused_per_address;
    opened.or_else(|refusal| {
        REFUSED.with_borrow_mut(|known| attempt.refused(refusal.code, known, now(), limit));
        log_refused(&head.path, &refusal);
        rejection::respond(&handshake::refused(&head, &refusal), head.subprotocol()).map_err(failed)
    })
}

async fn admit(
    request: &Request,
    head: &RequestHead,
    attempt: &mut Attempt,
    env: &Env,
    configuration: &Rc<Configuration>,
) -> std::result::Result<Response, Refusal> {
    let limit = configuration.limits.refused_per_address;
    let step = handshake::admit(head, configuration, now())?;
    REFUSED.with_borrow(|known| attempt.check(&step, known, now(), limit))?;
    let (organization, admission) = match step {
        HandshakeStep::Open(organization, admission) => (organization, *admission),
        HandshakeStep::Hold(dialect) => {
            let held = HeldSocket::new(dialect, configuration.clone()).ok_or(Code::Internal)?;
            return pump::hold(env.clone(), held, head).map_err(failed);
        }
        HandshakeStep::Verify(unverified) => {
            let proven = keys::verify(&configuration.credentials, unverified.credential()).await;
            unverified.conclude(&configuration.credentials, proven)?
        }
    };
    let opened = match handshake::is_streamed(&admission) {
        true => stream(request, env, &organization, admission, configuration).await?,
        false => open(env, &organization, &admission, configuration).await.map_err(unreachable)?,
    };
    REFUSED.with_borrow_mut(|known| attempt.answered(opened.status_code(), known, now(), limit));
    Ok(opened)
}

/// Opens a socket whose events become the body of the response. If the object refuses it, its answer is copied, because
/// the headers of another Worker's response are immutable.
async fn stream(
    request: &Request,
    env: &Env,
    organization: &str,
    admission: Admission,
    configuration: &Configuration,
) -> std::result::Result<Response, Refusal> {
    let admission = Admission { client_id: Some(uuid().map_err(failed)?), ..admission };
    let body = handshake::streamed_body(organization, &admission, configuration).ok_or(Code::Configuration)?;
    let mut answer = open(env, organization, &admission, configuration).await.map_err(unreachable)?;
    let status = answer.status_code();
    if status != SWITCHING_PROTOCOLS {
        let retry_after = answer.headers().get("retry-after").ok().flatten().and_then(|seconds| seconds.parse().ok());
        let body = answer.text().await.map_err(unreachable)?;
        return http::respond(&Answer { status, body, retry_after }).map_err(failed);
    }
    let socket = answer.websocket().ok_or(Code::Overloaded)?;
    streamed::respond(request, socket, body).map_err(failed)
}

/// Opens a socket at one of an organization's objects.
///
/// # Errors
/// When the object cannot be reached.
pub async fn open(
    env: &Env,
    organization: &str,
    admission: &Admission,
    configuration: &Configuration,
) -> std::result::Result<Response, Fault> {
    let headers = Headers::new();
    headers.set("upgrade", "websocket")?;
    headers.set(HEADER, &admission.header().map_err(|_| Fault::new("an admission without a header"))?)?;
    let init = RequestInit::new();
    init.set_headers(headers.0.as_ref());
    // A stream's client sends its frames as separate requests, which go to the organization's own object.
    let is_stream = admission.client_id.is_some();
    let place = if is_stream { Peer::Root } else { relay::place(env, organization, configuration).await };
    let opened = relay::fetch(env, organization, place, "/open", &init).await;
    let opened = opened.map(Response::from);
    let has_room = opened.as_ref().is_ok_and(|response| !response.headers().has(FULL).unwrap_or_default());
    if configuration.relays.is_some() && !has_room {
        relay::forget_place(organization);
    }
    opened
}
