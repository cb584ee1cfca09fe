//! Faults: logged in full, and reported to the caller as a code only.

use js_sys::Promise;
use js_sys::futures::{JsFuture, spawn_local};
use serde_json::json;
use wasm_bindgen::JsValue;

use super::runtime::log;
use crate::code::{Code, Refusal};
use crate::server::fault::Fault;

impl From<JsValue> for Fault {
    /// Anything may be thrown; an `Error` has its text in the property `message`.
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

/// Characters of a path that are logged: a caller may send any, as often as it likes.
const MAX_PATH: usize = 200;

/// Logs neither the query string nor the message, which may quote what a caller sent. The message of a configuration
/// error does not quote a caller.
pub fn log_refused(path: &str, refusal: &Refusal) {
    let path: String = path.chars().take(MAX_PATH).collect();
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

/// The runtime failed. Its message is logged; the caller sees only the code.
pub fn failed(error: impl Into<Fault>) -> Refusal {
    log_fault(error);
    Refusal::of(Code::Internal)
}

/// The object did not answer: it is overloaded, or was reset during the request. The caller may retry.
pub fn unreachable(error: impl Into<Fault>) -> Refusal {
    log_fault(error);
    Refusal::of(Code::Overloaded)
}

/// Logs the failure of a promise that nothing awaits.
pub fn watch(what: &'static str, promise: Promise) {
    spawn_local(async move {
        if let Err(error) = JsFuture::from(promise).await {
            log_fault(Fault::from(error).during(what));
        }
    });
}
