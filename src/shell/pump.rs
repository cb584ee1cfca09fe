//! A socket that the Worker holds until its first frame names the organization; from then on, frames are forwarded in
//! both directions.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use wasm_bindgen::{JsCast, JsValue};
use worker::ws_events::{CloseEvent, MessageEvent};
use worker::{Delay, Env, Response, Result, WebSocket, WebSocketPair, WebsocketEvent};

use super::fault::log_fault;
use super::runtime::RawSocket;
use super::{environment, gate, http};
use crate::code::Code;
use crate::dialect::{Frame, Received};
use crate::policy::limits::{AUTH_DEADLINE, MESSAGE_LENGTH};
use crate::server::admission::Admission;
use crate::server::attempt;
use crate::server::held_socket::{HeldSocket, HeldStep};
use crate::server::request_head::RequestHead;

/// RFC 6455, 7.4.1
const MESSAGE_TOO_BIG: (u16, &str) = (1009, "message too big");

/// Holds a new socket and returns the response that opens it.
pub fn hold(env: Env, held: HeldSocket, head: &RequestHead) -> Result<Response> {
    let pair = WebSocketPair::new()?;
    let server = pair.server;
    accept(&server)?;
    let admission = Admission { address: head.address.clone(), ..Admission::default() };
    worker::wasm_bindgen_futures::spawn_local(async move {
        if let Err(error) = serve(&env, &server, held, &admission).await {
            log_fault(error);
            close(&server, Code::Internal);
        }
    });
    http::upgrade(pair.client, head.subprotocol())
}

async fn serve(env: &Env, client: &WebSocket, mut held: HeldSocket, admission: &Admission) -> Result<()> {
    let mut events = client.events()?;
    let deadline = Delay::from(Duration::from_millis(AUTH_DEADLINE));
    let first = match select(std::pin::pin!(first_frame(client, &mut events, &mut held)), deadline).await {
        Either::Left((first, _)) => Some(first?),
        Either::Right(_) => None,
    };
    let Some(first) = first else {
        end(client, held.refuse(Code::AuthTimeout));
        return Ok(());
    };
    let Some((text, organization)) = first else { return Ok(()) };
    let configuration = environment::configuration(env).map_err(|_| worker::Error::from("no configuration"))?;
    let opened = gate::open(env, &organization, admission, &configuration).await.map_err(log_fault).ok();
    let status = opened.as_ref().map(|response| response.status_code());
    let Some(object) = opened.and_then(|response| response.websocket()) else {
        end(client, held.refuse(attempt::refused_as(status)));
        return Ok(());
    };
    let mut object_events = object.events()?;
    accept(&object)?;
    object.send_with_str(&text)?;
    let forth = pass_on(&mut events, &object);
    let back = pass_on(&mut object_events, client);
    select(std::pin::pin!(forth), std::pin::pin!(back)).await;
    Ok(())
}

/// Accepts a socket whose binary frames arrive as bytes: a Blob, the default since 2026-03-17, can only be read
/// asynchronously.
pub fn accept(socket: &WebSocket) -> Result<()> {
    let raw: &web_sys::WebSocket = socket.as_ref();
    js_sys::Reflect::set(raw, &"binaryType".into(), &"arraybuffer".into())?;
    socket.accept()
}

/// Waits for the frame that authenticates, with its organization; `None` if the socket ends first.
async fn first_frame(
    client: &WebSocket,
    events: &mut worker::EventStream<'_>,
    held: &mut HeldSocket,
) -> Result<Option<(String, String)>> {
    while let Some(event) = events.next().await {
        let WebsocketEvent::Message(message) = event? else { return Ok(None) };
        if is_too_long(&message) {
            close_as(client, MESSAGE_TOO_BIG);
            return Ok(None);
        }
        let text = message.text();
        // No binary frame authenticates, so its content is not read.
        let step = held.receive(text.as_deref().map_or(Received::Binary(&[]), Received::Text));
        match step {
            HeldStep::Enter(organization) => return Ok(text.map(|text| (text, organization))),
            HeldStep::Answer(frames) => send(client, &frames),
            HeldStep::End(..) => {
                end(client, step);
                return Ok(None);
            }
        }
    }
    Ok(None)
}

/// Forwards frames until one side closes, then closes the other with the same code.
async fn pass_on(from: &mut worker::EventStream<'_>, to: &WebSocket) {
    while let Some(event) = from.next().await {
        match event {
            Ok(WebsocketEvent::Message(message)) if forward(&message, to).is_ok() => {}
            Ok(WebsocketEvent::Close(close)) => return close_like(&close, to),
            Ok(WebsocketEvent::Message(_)) | Err(_) => return close(to, Code::Internal),
        }
    }
}

fn forward(message: &MessageEvent, to: &WebSocket) -> std::result::Result<(), JsValue> {
    let message: &web_sys::MessageEvent = message.as_ref();
    let to: &web_sys::WebSocket = to.as_ref();
    to.unchecked_ref::<RawSocket>().pass_on(&message.data())
}

/// The runtime enforces this limit at the object; here a frame would be copied before its length is checked.
fn is_too_long(message: &MessageEvent) -> bool {
    let message: &web_sys::MessageEvent = message.as_ref();
    let data = message.data();
    let length = match data.dyn_ref::<js_sys::JsString>() {
        Some(text) => text.length(),
        None => data.dyn_ref::<js_sys::ArrayBuffer>().map_or(0, js_sys::ArrayBuffer::byte_length),
    };
    length > MESSAGE_LENGTH
}

/// Codes that mean no code or no handshake may not be sent (RFC 6455, 7.4.1).
fn close_like(close: &CloseEvent, to: &WebSocket) {
    let code = match close.code() {
        1005 => Some(1000),
        1006 | 1015 => Some(1011),
        code => Some(code),
    };
    // A side that has disconnected cannot be closed again.
    let _ = to.close(code, Some(close.reason()));
}

/// Sending to a client that has disconnected fails; its close event follows.
pub fn send(client: &WebSocket, frames: &[Frame]) {
    for frame in frames {
        let _ = match frame {
            Frame::Text(text) => client.send_with_str(text),
            Frame::Binary(bytes) => client.send_with_bytes(bytes),
        };
    }
}

/// Executes the last step of a held socket.
fn end(client: &WebSocket, step: HeldStep) {
    if let HeldStep::End(frames, code) = step {
        send(client, &frames);
        close(client, code);
    }
}

fn close(client: &WebSocket, code: Code) {
    close_as(client, code.closing());
}

fn close_as(client: &WebSocket, (number, reason): (u16, &str)) {
    // A side that has disconnected cannot be closed again.
    let _ = client.close(Some(number), Some(reason));
}
