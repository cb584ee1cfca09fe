//! Requests and responses of the runtime.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::select;
use js_sys::futures::JsFuture;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Request, RequestInit};
use worker::{ByteStream, Delay, Env, Headers, Response, Result, WebSocket};

use super::runtime::{self, RawEnv};
use crate::code::Code;
use crate::policy::limits::BODY_BYTES;
use crate::server::answer::Answer;
use crate::server::request_head::{Query, RequestHead, network, request_id};
use crate::server::route;

/// How long a rejected caller may take to send the rest of its body.
const DISCARD_PATIENCE: Duration = Duration::from_secs(1);

/// Copies a request's head. The runtime parses its URL: a URL parser in Wasm would add 80 KB of tables.
///
/// # Errors
/// [`Code::NotFound`] when the runtime cannot parse the URL.
pub fn head(request: &Request) -> std::result::Result<RequestHead, Code> {
    let mut parts = runtime::head(request).map_err(|_| Code::NotFound)?.into_iter().map(|part| part.as_string());
    let mut next = || parts.next().flatten();
    Ok(RequestHead {
        method: next().unwrap_or_default(),
        host: next().unwrap_or_default(),
        // `http` becomes `ws`, and `https` `wss`.
        websocket_origin: next().unwrap_or_default().replacen("http", "ws", 1),
        path: route::normal(&next().unwrap_or_default()).to_owned(),
        query: Query::read(&next().unwrap_or_default()),
        upgrade: next(),
        origin: next(),
        authorization: next(),
        api_key: next(),
        x_api_key: next(),
        media_type: next().map(|declared| media_type(&declared)),
        protocols: next(),
        last_event_id: next(),
        address: next().and_then(|address| network(&address)),
        request_id: next().and_then(request_id),
    })
}

/// The value of a header.
pub fn header(request: &Request, name: &str) -> Option<String> {
    request.headers().get(name).ok().flatten()
}

/// The media type of a `content-type` header, in lower case and without parameters.
fn media_type(declared: &str) -> String {
    declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// A JSON body as text, up to the maximum length.
///
/// # Errors
/// [`Code::UnsupportedMediaType`], [`Code::PayloadTooLarge`], or [`Code::InvalidRequest`] when it is not UTF-8.
pub async fn json_body(request: &Request) -> std::result::Result<String, Code> {
    if header(request, "content-type").is_none_or(|declared| media_type(&declared) != "application/json") {
        return Err(Code::UnsupportedMediaType);
    }
    String::from_utf8(body(request).await?).map_err(|_| Code::InvalidRequest)
}

/// A body, up to the maximum length.
///
/// # Errors
/// [`Code::PayloadTooLarge`], or [`Code::InvalidRequest`] when it cannot be read.
pub async fn body(request: &Request) -> std::result::Result<Vec<u8>, Code> {
    let declared = header(request, "content-length").and_then(|length| length.parse::<usize>().ok());
    if declared.is_some_and(|length| length > BODY_BYTES) {
        return Err(Code::PayloadTooLarge);
    }
    let body = match declared {
        // In one piece, because a stream costs a promise and several calls for each chunk.
        Some(_) => bytes(request).await.map_err(|_| Code::InvalidRequest)?,
        None => chunks(request).await?,
    };
    if body.len() > BODY_BYTES { Err(Code::PayloadTooLarge) } else { Ok(body) }
}

async fn bytes(request: &Request) -> std::result::Result<Vec<u8>, JsValue> {
    let buffer = JsFuture::from(request.array_buffer()?).await?;
    Ok(js_sys::Uint8Array::new(&buffer).to_vec())
}

/// A body of unknown length, up to the maximum length.
async fn chunks(request: &Request) -> std::result::Result<Vec<u8>, Code> {
    let mut stream = stream(request).map_err(|_| Code::InvalidRequest)?;
    let mut body = Vec::with_capacity(1024);
    while let Some(chunk) = stream.next().await {
        body.extend(chunk.map_err(|_| Code::InvalidRequest)?);
        if body.len() > BODY_BYTES {
            return Err(Code::PayloadTooLarge);
        }
    }
    Ok(body)
}

fn stream(request: &Request) -> Result<ByteStream> {
    worker::Request::from(Clone::clone(request)).stream()
}

/// The body of a request that may be answered before it is read. If more of it arrives after the response, workerd
/// resets the connection, and the caller may lose the response.
pub struct UnreadBody(Option<Request>);

impl UnreadBody {
    /// The body of a request whose method allows one.
    pub fn of(request: &Request) -> UnreadBody {
        UnreadBody((!matches!(&*request.method(), "GET" | "HEAD")).then(|| Clone::clone(request)))
    }

    /// Discards what has not been read, up to the maximum length of a body and for at most [`DISCARD_PATIENCE`].
    pub async fn discard(self) {
        let Some(request) = self.0.filter(|request| !request.body_used() && request.body().is_some()) else { return };
        let read = async {
            let Ok(mut stream) = stream(&request) else { return };
            let mut length = 0;
            while let Some(Ok(chunk)) = stream.next().await {
                length += chunk.len();
                if length > BODY_BYTES {
                    return;
                }
            }
        };
        select(std::pin::pin!(read), std::pin::pin!(Delay::from(DISCARD_PATIENCE))).await;
    }
}

/// An answer as a response.
pub fn respond(answer: &Answer) -> Result<Response> {
    let headers = Headers::new();
    headers.set("content-type", "application/json")?;
    headers.set("cache-control", "no-store")?;
    if let Some(seconds) = answer.retry_after {
        headers.set("retry-after", &seconds.to_string())?;
    }
    Ok(Response::builder().with_status(answer.status).with_headers(headers).fixed(answer.body.clone().into_bytes()))
}

/// The response that opens a socket, with the negotiated subprotocol.
///
/// # Errors
/// When the runtime fails.
pub fn upgrade(client: WebSocket, protocol: Option<&str>) -> Result<Response> {
    let response = Response::from_websocket(client)?;
    if let Some(protocol) = protocol {
        response.headers().set("sec-websocket-protocol", protocol)?;
    }
    Ok(response)
}

/// A POST request to an object.
pub fn post(body: &JsValue) -> RequestInit {
    let init = RequestInit::new();
    init.set_method("POST");
    init.set_body(body);
    init
}

/// Status and body of an object's answer. An unread body would keep its connection open.
///
/// # Errors
/// When the object is reset while it answers.
pub async fn status_and_text(response: &web_sys::Response) -> std::result::Result<(u16, String), JsValue> {
    let text = JsFuture::from(response.text()?).await?;
    Ok((response.status(), text.as_string().unwrap_or_default()))
}

/// Sends a request to an organization's object. Its response is passed on as it is, because rebuilding it would cost as
/// much as the rest of a small request.
///
/// # Errors
/// When the object cannot be reached: it is overloaded, or was reset during the request.
pub async fn ask(env: &Env, organization: &str, path: &str, init: &RequestInit) -> Result<web_sys::Response> {
    let env: &RawEnv = env.unchecked_ref();
    let object = env.objects().by_name(organization)?;
    let answer = JsFuture::from(object.fetch(&format!("https://object{path}"), init)?).await?;
    Ok(answer.unchecked_into())
}
