//! Requests of a database's object to the objects of organizations.

use js_sys::futures::JsFuture;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::RequestInit;
use worker::Env;

use super::http;
use crate::server::fault::Fault;

/// Posts a body; the status of the answer.
///
/// # Errors
/// When the object cannot be reached.
pub async fn post(env: &Env, organization: &str, path: &str, body: &str) -> Result<u16, Fault> {
    let init = RequestInit::new();
    init.set_method("POST");
    init.set_body(&JsValue::from_str(body));
    let response = http::ask(env, organization, path, &init).await?;
    let status = response.status();
    // A body that is not read keeps its connection.
    let text: js_sys::Promise = response.text()?.unchecked_into();
    JsFuture::from(text).await?;
    Ok(status)
}
