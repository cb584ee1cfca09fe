//! What workerd offers and crate `worker` 0.8.7 lacks: calls that return an `Err` where `worker` unwraps (a panic
//! resets every object of the isolate), and `send` of an existing JavaScript string, so that one string serves many
//! sockets.

use js_sys::{Array, Date, Promise};
use wasm_bindgen::prelude::*;
use web_sys::{Request, RequestInit};

/// The fan-out loop runs in JavaScript, because a call from Wasm for each socket would cost more than all other work.
/// Each number of `order` has a socket's number in its upper half and a frame's in its lower half. A socket that can no
/// longer be sent to is skipped: its close event follows.
///
/// A wake collects the state of all sockets in JavaScript for the same reason. The attachments come as lines of a few
/// large encoded texts, because strings cross into Wasm one character at a time; JSON contains no raw line break. The
/// head of a request is collected in one call, too.
#[wasm_bindgen(inline_js = "
const MAX_LENGTH = 1 << 16;
const encoder = new TextEncoder();
const attempt = (read) => { try { return read(); } catch {} };

export function survivors(state, open) {
  const sockets = [], ids = [], places = new Map(), texts = [];
  let lines = '', first = 0;
  const flush = () => {
    if (sockets.length > first) texts.push([first, encoder.encode(lines)]);
    lines = '';
    first = sockets.length;
  };
  for (const socket of state.getWebSockets()) {
    if (socket.readyState !== open) continue;
    const id = attempt(() => state.getTags(socket)[0]) ?? '';
    const text = attempt(() => socket.deserializeAttachment());
    places.set(id, sockets.length);
    if (sockets.length > first) lines += '\\n';
    if (typeof text === 'string') lines += text;
    sockets.push(socket);
    ids.push(id);
    if (lines.length > MAX_LENGTH) flush();
  }
  flush();
  return [sockets, ids, places, texts];
}

const HEADERS = [
  'upgrade', 'origin', 'authorization', 'apikey', 'x-api-key', 'content-type', 'sec-websocket-protocol',
  'last-event-id', 'cf-connecting-ip', 'cf-ray',
];

export function head({ method, url, headers }) {
  const { hostname, origin, pathname, search } = new URL(url);
  return [method, hostname, origin, pathname, search, ...HEADERS.map((name) => headers.get(name))];
}

export function send_to_all(sockets, frames, order) {
  const halves = new Uint32Array(order.buffer, order.byteOffset, 2 * order.length);
  order.sort();
  for (let i = 0; i < halves.length; i += 2) {
    try { sockets[halves[i + 1]]?.send(frames[halves[i]]); } catch {}
  }
}
")]
extern "C" {
    /// Method, host name, origin, path, query, and the values of `HEADERS`, in this order.
    #[wasm_bindgen(catch)]
    pub fn head(request: &Request) -> Result<Vec<JsValue>, JsValue>;

    pub fn send_to_all(sockets: &Array, frames: &Array, order: &mut [u64]);

    /// The sockets in state `open`, their public ids, their numbers by public id, and the attachments as texts, each
    /// with the number of its first socket.
    #[wasm_bindgen(catch)]
    pub fn survivors(state: &RawState, open: u16) -> Result<Array, JsValue>;
}

#[wasm_bindgen]
extern "C" {
    /// The bindings of the Worker.
    pub type RawEnv;

    #[wasm_bindgen(method, getter, js_name = BROADCASTER)]
    pub fn objects(this: &RawEnv) -> RawNamespace;

    /// The objects of the databases, if bound.
    #[wasm_bindgen(method, getter, js_name = SOURCE)]
    pub fn sources(this: &RawEnv) -> Option<RawNamespace>;

    /// The organizations' relays, if bound.
    #[wasm_bindgen(method, getter, js_name = RELAY)]
    pub fn relays(this: &RawEnv) -> Option<RawNamespace>;

    /// `DurableObjectNamespace`
    pub type RawNamespace;

    #[wasm_bindgen(method, catch, js_name = getByName)]
    pub fn by_name(this: &RawNamespace, name: &str) -> Result<RawStub, JsValue>;

    /// `DurableObjectStub`
    pub type RawStub;

    #[wasm_bindgen(method, catch)]
    pub fn fetch(this: &RawStub, url: &str, init: &RequestInit) -> Result<Promise, JsValue>;

    /// `DurableObjectState`
    pub type RawState;

    #[wasm_bindgen(method, catch, js_name = acceptWebSocket)]
    pub fn accept(this: &RawState, socket: &RawSocket, tags: Vec<String>) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch, js_name = getTags)]
    pub fn tags(this: &RawState, socket: &RawSocket) -> Result<Vec<String>, JsValue>;

    #[wasm_bindgen(method, catch, js_name = setWebSocketAutoResponse)]
    pub fn set_auto_response(this: &RawState, pair: &AutoResponse) -> Result<(), JsValue>;

    /// When the runtime last sent this socket an automatic response.
    #[wasm_bindgen(method, catch, js_name = getWebSocketAutoResponseTimestamp)]
    pub fn answered(this: &RawState, socket: &RawSocket) -> Result<Option<Date>, JsValue>;

    /// `WebSocketRequestResponsePair`
    #[wasm_bindgen(js_name = WebSocketRequestResponsePair)]
    pub type AutoResponse;

    #[wasm_bindgen(constructor, catch, js_class = "WebSocketRequestResponsePair")]
    pub fn new(request: &str, response: &str) -> Result<AutoResponse, JsValue>;

    /// `WebSocket`
    #[derive(Clone)]
    #[wasm_bindgen(js_name = WebSocket)]
    pub type RawSocket;

    /// Forwards a message from another socket without copying it into Wasm memory.
    #[wasm_bindgen(method, catch, js_name = send)]
    pub fn pass_on(this: &RawSocket, message: &JsValue) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch)]
    pub fn close(this: &RawSocket, code: u16, reason: &str) -> Result<(), JsValue>;

    #[wasm_bindgen(method, getter, js_name = readyState)]
    pub fn ready_state(this: &RawSocket) -> u16;

    #[wasm_bindgen(method, catch, js_name = serializeAttachment)]
    pub fn attach(this: &RawSocket, state: &JsValue) -> Result<(), JsValue>;

    /// `DurableObjectStorage`
    #[derive(Clone)]
    pub type RawStorage;

    #[wasm_bindgen(method, getter)]
    pub fn sql(this: &RawStorage) -> RawSql;

    #[wasm_bindgen(method, catch, js_name = setAlarm)]
    pub fn set_alarm(this: &RawStorage, time: f64) -> Result<Promise, JsValue>;

    #[wasm_bindgen(method, catch, js_name = deleteAll)]
    pub fn delete_all(this: &RawStorage) -> Result<Promise, JsValue>;

    /// `SqlStorage`
    pub type RawSql;

    #[wasm_bindgen(method, catch, variadic)]
    pub fn exec(this: &RawSql, query: &str, bindings: &Array) -> Result<RawCursor, JsValue>;

    /// `SqlStorageCursor`
    pub type RawCursor;

    #[wasm_bindgen(method, catch)]
    pub fn raw(this: &RawCursor) -> Result<RawRows, JsValue>;

    /// How many rows the query has read so far.
    #[wasm_bindgen(method, getter, js_name = rowsRead)]
    pub fn rows_read(this: &RawCursor) -> f64;

    /// The iterator of a cursor's rows as arrays.
    pub type RawRows;

    #[wasm_bindgen(method, catch, js_name = toArray)]
    pub fn to_array(this: &RawRows) -> Result<Array, JsValue>;
}

#[wasm_bindgen]
extern "C" {
    /// `Request`
    pub type RawRequest;

    /// Fires when the client has disconnected; missing without the compatibility flag `enable_request_signal`.
    #[wasm_bindgen(method, getter)]
    pub fn signal(this: &RawRequest) -> Option<RawSignal>;

    /// `AbortSignal`
    pub type RawSignal;

    #[wasm_bindgen(method, setter, js_name = onabort)]
    pub fn on_abort(this: &RawSignal, callback: &JsValue);
}

/// `WebSocket.READY_STATE_OPEN`
pub const OPEN: u16 = 1;

/// The time, in Unix milliseconds.
pub fn now() -> u64 {
    worker::Date::now().as_millis()
}

/// The size of the Wasm memory, which all objects of the isolate share.
pub fn wasm_memory() -> u64 {
    const PAGE: u64 = 65_536;
    core::arch::wasm32::memory_size(0) as u64 * PAGE
}

/// Random bytes as lower-case hexadecimal.
///
/// # Errors
/// When the runtime has no randomness: an id must never be guessable.
pub fn random_hex(bytes: usize) -> Result<String, worker::Error> {
    let mut buffer = vec![0; bytes];
    getrandom::getrandom(&mut buffer).map_err(|_| worker::Error::RustError("no randomness".to_owned()))?;
    Ok(buffer.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A random UUID (RFC 9562, version 4).
///
/// # Errors
/// When the runtime has no randomness.
pub fn uuid() -> Result<String, worker::Error> {
    let hex = random_hex(16)?;
    let part = |from, to| hex.get(from..to).unwrap_or_default();
    Ok(format!("{}-{}-4{}-a{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32)))
}

/// Writes a line to the log.
pub fn log(line: &str) {
    worker::console_log!("{line}");
}
