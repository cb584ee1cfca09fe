//! Requests of a database's object to the objects of organizations.

use wasm_bindgen::JsValue;
use worker::Env;

use super::http;
use crate::server::fault::Fault;

/// Posts a body and returns the status of the answer.
///
/// # Errors
/// When the object cannot be reached.
pub async fn post(env: &Env, organization: &str, path: &str, body: &str) -> Result<u16, Fault> {
    let response = http::ask(env, organization, path, &http::post(&JsValue::from_str(body))).await?;
    Ok(http::status_and_text(&response).await?.0)
}
