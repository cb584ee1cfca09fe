//! A socket of the object whose events become the body of an HTTP response: the Worker reads one and writes the other
//! for as long as the client reads.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::{Stream, StreamExt};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::Request;
use worker::{Delay, Headers, Response, Result, WebSocket, WebsocketEvent};

use super::fault::log_fault;
use super::pump::accept;
use super::runtime::{RawRequest, RawSignal, now};
use crate::code::Code;
use crate::server::streaming::{MAX_LIFETIME, MAX_SILENCE, SendBuffer, StreamedBody};

/// Close code and reason at the maximum lifetime of a stream.
const GOING_AWAY: (u16, &str) = (1001, "lifetime");
/// Close code and reason of a socket that ended without a close frame.
const LOST: (u16, &str) = (1006, "");

/// What the reader of the body and the reader of the socket share.
#[derive(Default)]
struct Pipe {
    buffer: SendBuffer,
    waker: Option<Waker>,
    is_over: bool,
}

/// The body.
struct PipeBody(Rc<RefCell<Pipe>>);

/// Responds with the events of a socket until it ends.
///
/// # Errors
/// When the runtime fails.
pub fn respond(request: &Request, socket: WebSocket, body: Box<dyn StreamedBody>) -> Result<Response> {
    accept(&socket)?;
    let headers = Headers::new();
    headers.set("content-type", body.media_type())?;
    // A proxy that caches, compresses or buffers the body would delay the events.
    headers.set("cache-control", "no-store, no-transform")?;
    headers.set("x-accel-buffering", "no")?;
    let pipe = Rc::new(RefCell::new(Pipe::default()));
    write(&pipe, &body.opening());
    let stream = PipeBody(pipe.clone());
    let gone = ClientGone::watch(request, &socket);
    worker::wasm_bindgen_futures::spawn_local(async move {
        if let Err(error) = serve(&socket, body, &pipe).await {
            log_fault(error);
        }
        finish(&pipe);
        close(&socket);
        drop(gone);
    });
    Ok(Response::from_stream(stream)?.with_headers(headers))
}

/// Closes the socket once the client has disconnected. Otherwise nothing would: workerd drops the request with its body
/// without calling the body's `cancel` and without informing the object. Dropping this value ends the watch, because a
/// closure owned by JavaScript that is never called would leak.
struct ClientGone {
    signal: RawSignal,
    _close: Closure<dyn FnMut()>,
}

impl ClientGone {
    fn watch(request: &Request, socket: &WebSocket) -> Option<ClientGone> {
        let request: &RawRequest = request.unchecked_ref();
        let signal = request.signal()?;
        let socket = socket.clone();
        let close = Closure::new(move || close(&socket));
        signal.on_abort(close.as_ref());
        Some(ClientGone { signal, _close: close })
    }
}

impl Drop for ClientGone {
    fn drop(&mut self) {
        self.signal.on_abort(&JsValue::NULL);
    }
}

fn close(socket: &WebSocket) {
    // A side that has disconnected cannot be closed again.
    let _ = socket.close(Some(1000), Some(""));
}

/// Forwards what the socket sends until one side ends.
async fn serve(socket: &WebSocket, mut body: Box<dyn StreamedBody>, pipe: &Rc<RefCell<Pipe>>) -> Result<()> {
    let mut events = socket.events()?;
    let until = now() + MAX_LIFETIME;
    while !is_over(pipe) {
        let silence = Delay::from(Duration::from_millis(MAX_SILENCE));
        let (code, reason) = match select(events.next(), silence).await {
            // Nobody has read for as long: a client that disconnected while its stream was being opened is not reported.
            Either::Right(_) if !pipe.borrow().buffer.is_empty() => (LOST.0, LOST.1.to_owned()),
            Either::Right(_) if now() < until => {
                write(pipe, body.silence());
                continue;
            }
            Either::Right(_) => (GOING_AWAY.0, GOING_AWAY.1.to_owned()),
            Either::Left((Some(Ok(WebsocketEvent::Message(message))), _)) => {
                let block = message.text().map(|text| body.frame(&text)).unwrap_or_default();
                match (write(pipe, &block), now() < until) {
                    (true, true) => continue,
                    (true, false) => (GOING_AWAY.0, GOING_AWAY.1.to_owned()),
                    (false, _) => (Code::TooSlow.closing().0, Code::TooSlow.closing().1.to_owned()),
                }
            }
            // 1006 stands for an error of the runtime, which is not passed on.
            Either::Left((Some(Ok(WebsocketEvent::Close(close))), _)) if close.code() != LOST.0 => {
                (close.code(), close.reason())
            }
            Either::Left(_) => (LOST.0, LOST.1.to_owned()),
        };
        write(pipe, &body.end(code, &reason));
        break;
    }
    Ok(())
}

/// Appends text for the client, and returns whether there was room.
fn write(pipe: &Rc<RefCell<Pipe>>, text: &str) -> bool {
    let mut pipe = pipe.borrow_mut();
    let has_room = pipe.buffer.push(text);
    pipe.waker.take().into_iter().for_each(Waker::wake);
    has_room
}

fn is_over(pipe: &Rc<RefCell<Pipe>>) -> bool {
    pipe.borrow().is_over
}

/// Closes the body.
fn finish(pipe: &Rc<RefCell<Pipe>>) {
    let mut pipe = pipe.borrow_mut();
    pipe.is_over = true;
    pipe.waker.take().into_iter().for_each(Waker::wake);
}

impl Stream for PipeBody {
    type Item = Result<Vec<u8>>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut pipe = self.0.borrow_mut();
        match pipe.buffer.take() {
            Some(text) => Poll::Ready(Some(Ok(text.into_bytes()))),
            None if pipe.is_over => Poll::Ready(None),
            None => {
                pipe.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
