//! Supabase's REST (docs/protocol-supabase.md, REST): the body, the keys and the object between the server's decisions.

use serde_json::json;
use wasm_bindgen::JsValue;
use web_sys::RequestInit;
use worker::{Env, Request};

use super::fault::{log_refused, unreachable};
use super::{http, keys};
use crate::code::{Code, Refusal};
use crate::policy::configuration::Configuration;
use crate::policy::principal::Principal;
use crate::policy::token::TokenError;
use crate::server::answer::Answer;
use crate::server::request_head::RequestHead;
use crate::server::route::Route;
use crate::server::supabase::rest::{self, Body, Rejected, Sender};
use crate::server::supabase::{self, Publisher};

/// Answers a request to the REST endpoints.
pub async fn answer(
    route: Route,
    request: Request,
    head: &RequestHead,
    env: &Env,
    configuration: &Configuration,
) -> Answer {
    let answered = match route {
        Route::SupabasePing => Ok(Answer::json(200, &json!({ "message": "Success" }))),
        route => publish(route, request, head, env, configuration).await,
    };
    answered.unwrap_or_else(|rejected| {
        log_refused(&head.path, &Refusal::of(rejected.code));
        rejected.answer
    })
}

async fn publish(
    route: Route,
    mut request: Request,
    head: &RequestHead,
    env: &Env,
    configuration: &Configuration,
) -> Result<Answer, Rejected> {
    let (organization, principal) = sender(head, configuration).await?;
    let sender = principal.as_ref().map_or(Sender::Service, Sender::Client);
    let body = body(&mut request).await?;
    let publications = match rest::place(&head.path) {
        Some(place) if route == Route::SupabaseSingle => {
            let private = head.parameter("private") == Some("true");
            let persist = rest::persists(head.parameter("persist"), head.parameter("persist[ttl]"))?;
            vec![rest::single(configuration, sender, place, (private, persist), body)?]
        }
        _ => rest::batch(configuration, sender, &body)?,
    };
    if publications.is_empty() {
        return Ok(rest::accepted());
    }
    let body = rest::request(&organization, &publications);
    let init = RequestInit::new();
    init.set_method("POST");
    init.set_body(&JsValue::from_str(&body));
    let response = http::ask(env, &organization, "/publish", &init).await.map_err(unreachable)?;
    rest::answered(response.status())
}

/// The organization, and who publishes there; nobody in particular with the access token.
async fn sender(head: &RequestHead, configuration: &Configuration) -> Result<(String, Option<Principal>), Code> {
    let key = match supabase::publisher(head, configuration)? {
        Publisher::Service(organization) => return Ok((organization, None)),
        Publisher::Client(key) => key,
    };
    let proven = keys::verify(&configuration.credentials, &key).await.map_err(TokenError::code)?;
    let (organization, principal) = configuration.credentials.tenant(&proven, &head.host)?;
    Ok((organization, Some(principal)))
}

async fn body(request: &mut Request) -> Result<Body, Code> {
    let is_binary = http::is_of_type(request, "application/octet-stream");
    if !is_binary && !http::is_of_type(request, "application/json") {
        return Err(Code::UnsupportedMediaType);
    }
    let body = http::body(request).await?;
    if is_binary {
        return Ok(Body::Binary(body));
    }
    String::from_utf8(body).map(Body::Json).map_err(|_| Code::InvalidRequest)
}
