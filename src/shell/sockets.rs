//! The open sockets of an object, by the engine's socket numbers.

use js_sys::{Array, Map, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use worker::WebSocket;

use super::runtime::{OPEN, RawSocket, RawState, send_to_all, survivors};
use crate::dialect::Frame;
use crate::engine::input::SocketId;
use crate::server::outgoing::Outgoing;

/// Sockets in numbered slots; a slot is reused after its socket has closed.
#[derive(Default)]
pub struct RawSockets {
    /// The sockets, as a JavaScript array; `undefined` in a free slot.
    sockets: Array,
    /// Their public ids, in the same slots.
    client_ids: Array,
    /// The slots, by public id.
    places: Map,
}

impl RawSockets {
    /// The sockets that survived hibernation, with their attachments, as in [`crate::engine::input::Stored`]. Those
    /// that are closing, which workerd lists too, count as gone.
    ///
    /// # Errors
    /// When the runtime fails.
    pub fn restore(state: &RawState) -> Result<(RawSockets, Vec<(SocketId, String)>), JsValue> {
        let parts = survivors(state, OPEN)?;
        let texts: Array = parts.get(3).unchecked_into();
        let attachments = texts.iter().filter_map(|text| lines(&text.unchecked_into())).collect();
        let sockets = RawSockets {
            sockets: parts.get(0).unchecked_into(),
            client_ids: parts.get(1).unchecked_into(),
            places: parts.get(2).unchecked_into(),
        };
        Ok((sockets, attachments))
    }

    /// The public ids of all sockets; `undefined` in a free slot.
    pub fn client_ids(&self) -> &Array {
        &self.client_ids
    }

    /// Adds a socket under a free number.
    pub fn insert(&mut self, id: SocketId, socket: &RawSocket, client_id: &str) {
        self.sockets.set(id.0, socket.into());
        let client_id = JsValue::from_str(client_id);
        self.places.set(&client_id, &JsValue::from(id.0));
        self.client_ids.set(id.0, client_id);
    }

    /// Removes a socket.
    pub fn remove(&mut self, id: SocketId) {
        self.places.delete(&self.client_ids.get(id.0));
        self.client_ids.set(id.0, JsValue::UNDEFINED);
        self.sockets.set(id.0, JsValue::UNDEFINED);
    }

    /// The number of the socket with this public id.
    pub fn find(&self, client_id: &str) -> Option<SocketId> {
        // The map's values are 32-bit integers.
        self.places.get(&JsValue::from_str(client_id)).as_f64().map(|place| SocketId(place as u32))
    }

    /// A socket by its number.
    pub fn get(&self, id: SocketId) -> Option<RawSocket> {
        let socket = self.sockets.get(id.0);
        (!socket.is_undefined()).then(|| socket.unchecked_into())
    }

    /// Sends frames, each to several sockets. A frame is converted to a JavaScript value once, not once per socket.
    /// Sockets are visited in the order of their numbers, whatever the order of the frames, because random access costs
    /// 4 % more. Each socket receives its frames in order, including those of all its channels.
    pub fn send(&self, sends: &[Outgoing]) {
        let frames = Array::new();
        let mut order: Vec<u64> = Vec::new();
        for (number, Outgoing { to, frame }) in (0_u64..).zip(sends) {
            frames.push(&match frame {
                Frame::Text(text) => JsValue::from_str(text),
                Frame::Binary(bytes) => Uint8Array::from(bytes.as_slice()).into(),
            });
            order.extend(to.iter().map(|id| u64::from(id.0) << 32 | number));
        }
        if !order.is_empty() {
            send_to_all(&self.sockets, &frames, &mut order);
        }
    }
}

/// The attachments of consecutive sockets, with the number of the first.
fn lines(text: &Array) -> Option<(SocketId, String)> {
    let first = text.get(0).as_f64()? as u32;
    let encoded: Uint8Array = text.get(1).unchecked_into();
    let text = String::from_utf8(encoded.to_vec());
    Some((SocketId(first), text.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())))
}

/// The public id with which a socket was accepted.
pub fn tag(state: &RawState, socket: &RawSocket) -> Option<String> {
    state.tags(socket).ok()?.into_iter().next()
}

/// A socket of crate `worker` as one of this module.
pub fn raw(socket: &WebSocket) -> &RawSocket {
    let socket: &web_sys::WebSocket = socket.as_ref();
    socket.unchecked_ref()
}
