//! The open sockets of an object, by the numbers that the engine knows them by.

use std::collections::BTreeMap;

use js_sys::{JsString, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};

use super::runtime::{OPEN, RawSocket, RawState};
use crate::dialect::Frame;
use crate::engine::input::SocketId;

/// Sockets in numbered places; a place is used again after its socket has gone.
#[derive(Default)]
pub struct Sockets {
    places: Vec<Option<(RawSocket, String)>>,
    free: Vec<u32>,
    by_client_id: BTreeMap<String, SocketId>,
}

impl Sockets {
    /// The sockets that survived, with their attachments. workerd also lists those that are closing: they are gone.
    ///
    /// # Errors
    /// When the runtime fails.
    pub fn restore(state: &RawState) -> Result<(Sockets, Vec<(SocketId, String)>), JsValue> {
        let mut sockets = Sockets::default();
        let mut attachments = Vec::new();
        for socket in state.sockets()?.iter() {
            let socket: RawSocket = socket.unchecked_into();
            if socket.ready_state() != OPEN {
                continue;
            }
            let client_id = tag(state, &socket).unwrap_or_default();
            let attachment = socket.attached().ok().and_then(|value| value.as_string());
            let id = sockets.insert(socket, &client_id);
            attachments.push((id, attachment.unwrap_or_default()));
        }
        Ok((sockets, attachments))
    }

    /// Takes a socket in and gives its number.
    pub fn insert(&mut self, socket: RawSocket, client_id: &str) -> SocketId {
        let entry = Some((socket, client_id.to_owned()));
        let id = match self.free.pop() {
            Some(place) => {
                if let Some(free) = self.places.get_mut(place as usize) {
                    *free = entry;
                }
                SocketId(place)
            }
            None => {
                self.places.push(entry);
                SocketId(u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX))
            }
        };
        self.by_client_id.insert(client_id.to_owned(), id);
        id
    }

    /// Lets a socket go.
    pub fn remove(&mut self, id: SocketId) {
        if let Some((_, client_id)) = self.places.get_mut(id.0 as usize).and_then(Option::take) {
            self.by_client_id.remove(&client_id);
            self.free.push(id.0);
        }
    }

    /// The number of the socket with this public id.
    pub fn find(&self, client_id: &str) -> Option<SocketId> {
        self.by_client_id.get(client_id).copied()
    }

    /// A socket by its number.
    pub fn get(&self, id: SocketId) -> Option<&RawSocket> {
        self.places.get(id.0 as usize).and_then(Option::as_ref).map(|(socket, _)| socket)
    }

    /// Sends one frame to several sockets. The frame becomes a JavaScript value once; what cannot be sent to any more is
    /// a socket whose end is about to be told.
    pub fn send(&self, to: &[SocketId], frame: &Frame) {
        let sockets = to.iter().filter_map(|id| self.get(*id));
        match frame {
            Frame::Text(text) => {
                let text = JsString::from(text.as_str());
                sockets.for_each(|socket| drop(socket.send_text(&text)));
            }
            Frame::Binary(bytes) => {
                let bytes = Uint8Array::from(bytes.as_slice());
                sockets.for_each(|socket| drop(socket.send_bytes(&bytes)));
            }
        }
    }
}

/// The public id with which a socket was accepted.
pub fn tag(state: &RawState, socket: &RawSocket) -> Option<String> {
    state.tags(socket).ok()?.into_iter().next()
}
