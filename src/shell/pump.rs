//! A socket that the Worker itself holds: its address names no organization, so it waits here for the frame that does,
//! then everything is passed on both ways (native.md, section 4, first way).

use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use worker::ws_events::{CloseEvent, MessageEvent};
use worker::{Delay, Env, Response, Result, WebSocket, WebSocketPair, WebsocketEvent};

use super::fault::log_fault;
use super::gate::{self, Pass};
use crate::code::{Code, Refusal};
use crate::dialect::native::Native;
use crate::dialect::{Dialect, Frame, Received};
use crate::engine::command::Command;
use crate::engine::event::Event;
use crate::policy::configuration::Configuration;
use crate::policy::limits::{AUTH_DEADLINE, Limits};
use crate::policy::organization::is_organization;

/// Holds a new socket and answers the request for it.
pub fn hold(env: Env, configuration: Rc<Configuration>) -> Result<Response> {
    let pair = WebSocketPair::new()?;
    let server = pair.server;
    accept(&server)?;
    worker::wasm_bindgen_futures::spawn_local(async move {
        if let Err(error) = serve(&env, &server, &configuration).await {
            log_fault(error);
            end(&server, Code::Internal);
        }
    });
    Response::from_websocket(pair.client)
}

async fn serve(env: &Env, client: &WebSocket, configuration: &Configuration) -> Result<()> {
    let mut events = client.events()?;
    let deadline = Delay::from(Duration::from_millis(AUTH_DEADLINE));
    let first = match select(std::pin::pin!(first_frame(client, &mut events, &configuration.limits)), deadline).await {
        Either::Left((first, _)) => first?,
        Either::Right(_) => return refuse(client, Code::AuthTimeout),
    };
    let Some((text, organization)) = first else { return Ok(()) };
    let organization = organization.or_else(|| configuration.credentials.default_organization.clone());
    let Some(organization) = organization.filter(|name| is_organization(name)) else {
        return refuse(client, Code::WrongOrganization);
    };
    let Some(object) = gate::open(env, &organization, &Pass::default()).await?.websocket() else {
        return refuse(client, Code::Overloaded);
    };
    let mut object_events = object.events()?;
    accept(&object)?;
    object.send_with_str(&text)?;
    let forth = pass_on(&mut events, &object);
    let back = pass_on(&mut object_events, client);
    select(std::pin::pin!(forth), std::pin::pin!(back)).await;
    Ok(())
}

/// Accepts a socket whose binary frames are to come as bytes: as a Blob, which is the default since 2026-03-17, they could
/// only be read with an await.
fn accept(socket: &WebSocket) -> Result<()> {
    let raw: &web_sys::WebSocket = socket.as_ref();
    js_sys::Reflect::set(raw, &"binaryType".into(), &"arraybuffer".into())?;
    socket.accept()
}

/// Waits for the frame that authenticates; `None` when there will be none.
async fn first_frame(
    client: &WebSocket,
    events: &mut worker::EventStream<'_>,
    limits: &Limits,
) -> Result<Option<(String, Option<String>)>> {
    let mut errors = 0;
    while let Some(event) = events.next().await {
        let WebsocketEvent::Message(message) = event? else { return Ok(None) };
        let text = message.text();
        let decoded = match &text {
            Some(text) if text.len() as u64 > limits.frame_bytes => Err(Refusal::of(Code::FrameTooLarge).into()),
            Some(text) => Native.decode(Received::Text(text)),
            None => Native.decode(Received::Binary(&[])),
        };
        match decoded {
            Ok(Command::Authenticate(frame)) => return Ok(text.map(|text| (text, frame.organization))),
            Ok(Command::Ping { id }) => tell(client, &Event::Pong { id }),
            Ok(_) => {
                refuse(client, Code::AuthRequired)?;
                return Ok(None);
            }
            Err(malformed) => {
                tell(client, &Event::Refused { refusal: malformed.refusal, id: malformed.id });
                errors += 1;
                if errors >= limits.errors_per_minute {
                    end(client, Code::TooManyErrors);
                    return Ok(None);
                }
            }
        }
    }
    Ok(None)
}

/// Passes frames on until one side ends, then ends the other in the same way.
async fn pass_on(from: &mut worker::EventStream<'_>, to: &WebSocket) {
    while let Some(event) = from.next().await {
        match event {
            Ok(WebsocketEvent::Message(message)) if forward(&message, to).is_ok() => {}
            Ok(WebsocketEvent::Close(close)) => return close_like(&close, to),
            Ok(WebsocketEvent::Message(_)) | Err(_) => return end(to, Code::Internal),
        }
    }
}

fn forward(message: &MessageEvent, to: &WebSocket) -> Result<()> {
    match (message.text(), message.bytes()) {
        (Some(text), _) => to.send_with_str(text),
        (None, Some(bytes)) => to.send_with_bytes(bytes),
        (None, None) => Ok(()),
    }
}

/// Codes that stand for no code or no handshake may not be sent (RFC 6455, 7.4.1).
fn close_like(close: &CloseEvent, to: &WebSocket) {
    let code = match close.code() {
        1005 => Some(1000),
        1006 | 1015 => Some(1011),
        code => Some(code),
    };
    // A side that is gone already cannot be closed once more.
    let _ = to.close(code, Some(close.reason()));
}

fn refuse(client: &WebSocket, code: Code) -> Result<()> {
    tell(client, &Event::AuthFailed(code));
    end(client, code);
    Ok(())
}

fn tell(client: &WebSocket, event: &Event) {
    for frame in Native.encode(None, event) {
        if let Frame::Text(text) = frame {
            let _ = client.send_with_str(text);
        }
    }
}

fn end(client: &WebSocket, code: Code) {
    let _ = client.close(Some(code.close().unwrap_or(1008)), Some(code.wire()));
}
