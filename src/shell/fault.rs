//! What went wrong, as the log learns it and as the caller does.

use serde_json::json;
use wasm_bindgen::JsValue;

use super::runtime::log;
use crate::code::{Code, Refusal};

/// Neither the address's parameters nor the refusal's message: both may quote what a caller sent.
pub fn log_refused(path: &str, code: Code) {
    log(&json!({ "event": "refused", "path": path, "code": code.wire() }).to_string());
}

/// The runtime failed us. What it says is logged; the caller learns no more than that.
pub fn failed(error: worker::Error) -> Refusal {
    log(&json!({ "event": "fault", "message": error.to_string() }).to_string());
    Refusal::of(Code::Internal)
}

/// The object did not answer: it is overloaded, or was reset under the request. The caller may try again.
pub fn unreachable(error: worker::Error) -> Refusal {
    log(&json!({ "event": "fault", "message": JsValue::from(error).as_string() }).to_string());
    Refusal::of(Code::Overloaded)
}
