//! The Worker's door for sockets: the steps of [`crate::server::handshake`], with the keys and the object between them.

use std::rc::Rc;

use web_sys::RequestInit;
use worker::{Env, Headers, Request, Response, Result};

use super::fault::{failed, log_refused, unreachable};
use super::runtime::now;
use super::{http, keys, pump, rejection};
use crate::code::{Code, Refusal};
use crate::policy::configuration::Configuration;
use crate::server::admission::{Admission, HEADER};
use crate::server::handshake::{self, Step};
use crate::server::held_socket::HeldSocket;
use crate::server::request_head::RequestHead;

/// Opens a socket, or answers why not in its client's words.
///
/// # Errors
/// When the runtime fails.
pub async fn connect(
    request: &Request,
    env: &Env,
    configuration: &Rc<Configuration>,
) -> std::result::Result<Response, Refusal> {
    let head = http::head(request)?;
    let opened = admit(&head, env, configuration).await;
    opened.or_else(|refusal| {
        log_refused(&head.path, &refusal);
        rejection::respond(&handshake::refused(&head, &refusal), head.subprotocol()).map_err(failed)
    })
}

async fn admit(
    head: &RequestHead,
    env: &Env,
    configuration: &Rc<Configuration>,
) -> std::result::Result<Response, Refusal> {
    let (organization, admission) = match handshake::admit(head, configuration, now())? {
        Step::Open(organization, admission) => (organization, *admission),
        Step::Hold(dialect) => {
            let held = HeldSocket::new(dialect, configuration.clone()).ok_or(Code::Internal)?;
            return pump::hold(env.clone(), held, head.subprotocol()).map_err(failed);
        }
        Step::Verify(unverified) => {
            let proven = keys::verify(&configuration.credentials, unverified.credential()).await;
            unverified.conclude(&configuration.credentials, proven)?
        }
    };
    open(env, &organization, &admission).await.map_err(unreachable)
}

/// Opens a socket at an organization's object.
pub async fn open(env: &Env, organization: &str, admission: &Admission) -> Result<Response> {
    let headers = Headers::new();
    headers.set("upgrade", "websocket")?;
    headers.set(HEADER, &admission.header()?)?;
    let init = RequestInit::new();
    init.set_headers(headers.0.as_ref());
    http::ask(env, organization, "/open", &init).await.map(Response::from)
}
