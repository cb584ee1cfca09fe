//! What went wrong, as the log learns it and as the caller does.

use js_sys::Promise;
use js_sys::futures::{JsFuture, spawn_local};
use serde_json::json;
use wasm_bindgen::JsValue;

use super::runtime::log;
use crate::code::{Code, Refusal};
use crate::server::fault::Fault;

impl From<JsValue> for Fault {
    /// An `Error` says why in its property `message`; anything may be thrown.
    fn from(error: JsValue) -> Fault {
        let message = js_sys::Reflect::get(&error, &"message".into()).ok().and_then(|message| message.as_string());
        Fault::new(message.or_else(|| error.as_string()).unwrap_or_default())
    }
}

impl From<worker::Error> for Fault {
    fn from(error: worker::Error) -> Fault {
        Fault::from(JsValue::from(error))
    }
}

/// Neither the address's parameters nor the refusal's message: both may quote what a caller sent. What is wrong with the
/// configuration no caller has sent.
pub fn log_refused(path: &str, refusal: &Refusal) {
    let mut line = json!({ "event": "refused", "path": path, "code": refusal.code.as_str() });
    if let (Code::Configuration, Some(line)) = (refusal.code, line.as_object_mut()) {
        line.insert("message".to_owned(), refusal.message.as_ref().into());
    }
    log(&line.to_string());
}

/// Writes a fault to the log.
pub fn log_fault(fault: impl Into<Fault>) {
    log(&fault.into().log_line());
}

/// The runtime failed us. What it says is logged; the caller learns no more than that.
pub fn failed(error: impl Into<Fault>) -> Refusal {
    log_fault(error);
    Refusal::of(Code::Internal)
}

/// The object did not answer: it is overloaded, or was reset under the request. The caller may try again.
pub fn unreachable(error: impl Into<Fault>) -> Refusal {
    log_fault(error);
    Refusal::of(Code::Overloaded)
}

/// Logs the fault of a call that nothing waits for.
pub fn watch(what: &'static str, promise: Promise) {
    spawn_local(async move {
        if let Err(error) = JsFuture::from(promise).await {
            log_fault(Fault::from(error).during(what));
        }
    });
}
