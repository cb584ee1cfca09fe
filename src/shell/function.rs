//! Calls functions: the services that answer clients' events.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use wasm_bindgen::JsValue;
use worker::{Delay, Env, Fetch, Headers, Method, Request, RequestInit, Response, Result};

use super::fault::log_fault;
use super::runtime::now;
use crate::engine::effect::Calling;
use crate::policy::function::Service;
use crate::server::fault::Fault;

/// The longest answer, in bytes.
const MAX_BYTES: usize = 256 * 1024;
/// The host for service bindings, which consider only the path.
const HOST: &str = "https://function";

/// Status and body of a function's answer; `None` if it fails, is late or is too long.
pub async fn call(env: &Env, organization: &str, calling: &Calling) -> Option<(u16, String)> {
    let answer = async { read(send(env, organization, calling).await?).await };
    let patience = Duration::from_millis(calling.deadline.saturating_sub(now()));
    match select(std::pin::pin!(answer), std::pin::pin!(Delay::from(patience))).await {
        Either::Left((Ok(answer), _)) => answer,
        Either::Left((Err(error), _)) => {
            log_fault(Fault::from(error).during("call"));
            None
        }
        Either::Right(_) => None,
    }
}

async fn send(env: &Env, organization: &str, calling: &Calling) -> Result<Response> {
    let headers = Headers::new();
    headers.set("content-type", "application/json")?;
    // Header values are Latin-1, and a user id may be any text.
    let encoded = |text: &str| String::from(js_sys::encode_uri_component(text));
    headers.set("x-realtime-organization", &encoded(organization))?;
    for (name, value) in [("x-realtime-user", &calling.user), ("x-realtime-role", &calling.role)] {
        if let Some(value) = value {
            headers.set(name, &encoded(value))?;
        }
    }
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_headers(headers).with_body(Some(JsValue::from_str(&calling.body)));
    match &calling.service {
        Service::Binding(name) => {
            let address = [HOST, calling.path.as_str()].concat();
            env.service(name)?.fetch(address, Some(init)).await
        }
        Service::Url(url) => {
            let request = Request::new_with_init(&[url.as_str(), calling.path.as_str()].concat(), &init)?;
            Fetch::Request(request).send().await
        }
    }
}

/// Reads an answer up to its maximum length.
async fn read(mut response: Response) -> Result<Option<(u16, String)>> {
    let status = response.status_code();
    let mut body = Vec::new();
    // Some answers have no body.
    if let Ok(mut stream) = response.stream() {
        while let Some(chunk) = stream.next().await {
            body.extend(chunk?);
            if body.len() > MAX_BYTES {
                return Ok(None);
            }
        }
    }
    Ok(String::from_utf8(body).ok().map(|body| (status, body)))
}
