//! The open sockets of an object, by the numbers that the engine knows them by.

use js_sys::{Array, Map, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use worker::WebSocket;

use super::runtime::{OPEN, RawSocket, RawState, send_to_all, survivors};
use crate::dialect::Frame;
use crate::engine::input::SocketId;
use crate::server::outgoing::Outgoing;

/// Sockets in numbered places; a place is used again after its socket has gone.
#[derive(Default)]
pub struct RawSockets {
    /// The sockets, in JavaScript's hands; `undefined` in a free place.
    sockets: Array,
    /// Their public ids, in the same places.
    client_ids: Array,
    /// The places, by public id.
    places: Map,
}

impl RawSockets {
    /// The sockets that survived, with their attachments, as [`crate::engine::input::Stored`] has them. workerd also lists those that are closing: they are gone.
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

    /// The public ids of all sockets; `undefined` in a free place.
    pub fn client_ids(&self) -> &Array {
        &self.client_ids
    }

    /// Takes a socket in under a number that is free.
    pub fn insert(&mut self, id: SocketId, socket: &RawSocket, client_id: &str) {
        self.sockets.set(id.0, socket.into());
        let client_id = JsValue::from_str(client_id);
        self.places.set(&client_id, &JsValue::from(id.0));
        self.client_ids.set(id.0, client_id);
    }

    /// Lets a socket go.
    pub fn remove(&mut self, id: SocketId) {
        self.places.delete(&self.client_ids.get(id.0));
        self.client_ids.set(id.0, JsValue::UNDEFINED);
        self.sockets.set(id.0, JsValue::UNDEFINED);
    }

    /// The number of the socket with this public id.
    pub fn find(&self, client_id: &str) -> Option<SocketId> {
        // A number that is a place is an integer of 32 bits.
        self.places.get(&JsValue::from_str(client_id)).as_f64().map(|place| SocketId(place as u32))
    }

    /// A socket by its number.
    pub fn get(&self, id: SocketId) -> Option<RawSocket> {
        let socket = self.sockets.get(id.0);
        (!socket.is_undefined()).then(|| socket.unchecked_into())
    }

    /// Sends frames, each to several sockets. A frame becomes a JavaScript value once: `send` of a Rust text would make a
    /// new one for each socket. The sockets are walked in the order of their numbers, whichever frames come first: jumping
    /// about in their memory costs 4 % more. Each gets its frames in their order, those of all its channels.
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

/// The attachments of some sockets, with the number of the first.
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

/// A socket in the terms of this module.
pub fn raw(socket: &WebSocket) -> &RawSocket {
    let socket: &web_sys::WebSocket = socket.as_ref();
    socket.unchecked_ref()
}
