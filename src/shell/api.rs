//! Requests to a dialect's own API: the runtime's part in the steps that the server decides on.

use std::rc::Rc;

use wasm_bindgen::JsValue;
use web_sys::{Request, RequestInit};
use worker::Env;

use super::fault::{log_refused, unreachable};
use super::{http, keys, relay, source_link};
use crate::code::Refusal;
use crate::policy::configuration::Configuration;
use crate::server::answer::Answer;
use crate::server::api::{Api, ApiStep, DatabaseRequest, ObjectRequest, Rejected};
use crate::server::request_head::RequestHead;

/// Answers a request.
pub async fn answer(
    api: &dyn Api,
    request: Request,
    head: RequestHead,
    env: &Env,
    configuration: &Configuration,
) -> Answer {
    let head = Rc::new(head);
    let refused = |rejected: Rejected| {
        log_refused(&head.path, &Refusal::of(rejected.code));
        api.answered(&head, rejected)
    };
    call(api, request, head.clone(), env, configuration).await.unwrap_or_else(refused)
}

async fn call(
    api: &dyn Api,
    request: Request,
    head: Rc<RequestHead>,
    env: &Env,
    configuration: &Configuration,
) -> Result<Answer, Rejected> {
    let mut step = api.call(head, configuration)?;
    loop {
        step = match step {
            ApiStep::Answer(answer) => return Ok(answer),
            ApiStep::Verify(credential, then) => {
                then(configuration, keys::verify(&configuration.credentials, &credential).await)?
            }
            ApiStep::ReadBody(then) => {
                let body = http::body(&request).await.map_err(|code| api.rejected(code))?;
                then(configuration, body)?
            }
            ApiStep::Ask(asked, then) => {
                let (status, body) = ask(env, asked).await.map_err(|refusal| api.rejected(refusal.code))?;
                then(configuration, status, &body)?
            }
            ApiStep::AskDatabase(asked, then) => {
                let (status, body) = ask_database(env, &asked).await.map_err(|refusal| api.rejected(refusal.code))?;
                then(configuration, status, &body)?
            }
        };
    }
}

async fn ask(env: &Env, request: ObjectRequest) -> Result<(u16, String), Refusal> {
    let init = request.body.as_deref().map_or_else(RequestInit::new, |body| http::post(&JsValue::from_str(body)));
    let asked = relay::fetch(env, &request.organization, request.peer, request.path, &init);
    http::status_and_text(&asked.await.map_err(unreachable)?).await.map_err(unreachable)
}

async fn ask_database(env: &Env, request: &DatabaseRequest) -> Result<(u16, String), Refusal> {
    let init = http::post(&JsValue::from_str(&request.body));
    let asked = source_link::fetch(env, &request.database, request.path, &init);
    http::status_and_text(&asked.await.map_err(unreachable)?).await.map_err(unreachable)
}
