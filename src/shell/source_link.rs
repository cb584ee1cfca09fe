//! Requests to the object of a database.

use std::time::Duration;

use futures_util::future::{Either, select};
use js_sys::futures::JsFuture;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::RequestInit;
use worker::{Delay, Env};

use super::fault::log_fault;
use super::http;
use super::runtime::RawEnv;
use crate::server::changes::SourceRequest;
use crate::server::fault::Fault;

/// How long the object may take to answer; without an answer, the request is repeated.
const PATIENCE: Duration = Duration::from_secs(10);

/// Status and body of the answer of a database's object; `None` if it does not answer.
pub async fn ask(env: &Env, database: &str, request: &SourceRequest) -> Option<(u16, String)> {
    let asked = Box::pin(send(env, database, request));
    match select(asked, Box::pin(Delay::from(PATIENCE))).await {
        Either::Left((answer, _)) => {
            answer.map_err(|fault| log_fault(fault.during("asking the database's object"))).ok()
        }
        Either::Right(_) => {
            log_fault(Fault::new("the database's object did not answer in time"));
            None
        }
    }
}

/// Sends a request to the object of a database.
///
/// # Errors
/// When it cannot be reached.
pub async fn fetch(env: &Env, database: &str, path: &str, init: &RequestInit) -> Result<web_sys::Response, Fault> {
    let env: &RawEnv = env.unchecked_ref();
    let objects = env.sources().ok_or_else(|| Fault::new("the binding SOURCE is missing"))?;
    let url = format!("https://object{path}");
    Ok(JsFuture::from(objects.by_name(database)?.fetch(&url, init)?).await?.unchecked_into())
}

async fn send(env: &Env, database: &str, request: &SourceRequest) -> Result<(u16, String), Fault> {
    let answer = fetch(env, database, request.path, &http::post(&JsValue::from_str(&request.body))).await?;
    Ok(http::status_and_text(&answer).await?)
}
