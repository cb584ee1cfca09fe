//! The Worker's fetch handler.

use serde_json::json;
use wasm_bindgen::JsValue;
use web_sys::{Request, RequestInit};
use worker::{Context, Env, Response, Result, event};

use super::fault::{failed, log_fault, log_refused, unreachable};
use super::runtime::{now, random_hex};
use super::{api, environment, gate, http, keys, source_link};
use crate::code::{Code, Refusal};
use crate::policy::configuration::Configuration;
use crate::server::answer::Answer;
use crate::server::api::Cors;
use crate::server::metrics::Scrape;
use crate::server::publish::PublishRequest;
use crate::server::request_head::authorize;
use crate::server::route::{self, Route};
use crate::server::{dialects, metrics, source, ticket};

/// Installs the hook that logs a panic's message before the instance is lost.
#[event(start)]
fn start() {
    console_error_panic_hook::set_once();
}

/// Answers a request. The request type of crate `worker` would read the unused `cf`, which costs 0.1 ms.
///
/// # Errors
/// Only when the runtime itself fails: what a caller did wrong is an answer.
#[event(fetch)]
async fn fetch(request: Request, env: Env, _context: Context) -> Result<web_sys::Response> {
    let url = request.url();
    let path = route::normal(route::path(&url));
    let body = http::UnreadBody::of(&request);
    let answered = match route::route(&request.method(), path) {
        Ok(route) => answer(route, path, request, &env).await,
        Err(code) => Err(Refusal::of(code)),
    };
    body.discard().await;
    let refusal = match answered {
        Ok(response) => return Ok(response),
        Err(refusal) => refusal,
    };
    log_refused(path, &refusal);
    let response = http::respond(&Answer::from(&refusal))?;
    if refusal.code == Code::MethodNotAllowed {
        response.headers().set("allow", &route::allowed(path))?;
    }
    Ok(response.into())
}

async fn answer(
    route: Route,
    path: &str,
    request: Request,
    env: &Env,
) -> std::result::Result<web_sys::Response, Refusal> {
    if matches!(route, Route::Health) {
        let body = json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") });
        return http::respond(&Answer::json(200, &body)).map(Into::into).map_err(failed);
    }
    let configuration = environment::configuration(env)?;
    let response = match route {
        Route::Broadcast => return broadcast(request, env, &configuration).await,
        Route::Stats => return stats(request, env, &configuration).await,
        Route::Metrics => metrics(request, env, &configuration).await,
        Route::SourceWake => return ask_source(request, env, &configuration, "/wake").await,
        Route::SourceStatus => return ask_source(request, env, &configuration, "/status").await,
        Route::WebSocket => {
            let response = gate::connect(&request, env, &configuration).await?;
            let origin = http::header(&request, "origin");
            // A refusal or a stream is an ordinary response, which pages of other origins may read only where they are
            // allowed to.
            match dialects::api(path) {
                Some(api) => allow_origin(api.cors(), response, origin.as_deref(), &configuration).map_err(failed),
                None => Ok(response),
            }
        }
        Route::Api(api) => {
            let head = http::head(&request)?;
            let origin = head.origin.clone();
            let answer = api::answer(api, request, head, env, &configuration).await;
            let response = http::respond(&answer).map_err(failed)?;
            allow_origin(api.cors(), response, origin.as_deref(), &configuration).map_err(failed)
        }
        Route::Ticket => answer_ticket(path, request, &configuration).await,
        Route::TicketPreflight => preflight(ticket::CORS, &request, &configuration),
        Route::ApiPreflight(api) => preflight(api.cors(), &request, &configuration),
        Route::Page if configuration.inspector => page(request, env).await,
        Route::Page | Route::Health => Err(Refusal::of(Code::NotFound)),
    };
    response.map(Into::into)
}

async fn broadcast(
    request: Request,
    env: &Env,
    configuration: &Configuration,
) -> std::result::Result<web_sys::Response, Refusal> {
    authorize(http::header(&request, "authorization").as_deref(), configuration)?;
    let body = http::json_body(&request).await?;
    // The object validates the rest. It gets the bytes, so everything parsed here is parsed twice.
    let organization = PublishRequest::organization(&body)?;
    let init = http::post(&js_sys::Uint8Array::from(body.as_bytes()));
    http::ask(env, &organization, "/publish", &init).await.map_err(unreachable)
}

async fn stats(
    request: Request,
    env: &Env,
    configuration: &Configuration,
) -> std::result::Result<web_sys::Response, Refusal> {
    let head = http::head(&request)?;
    authorize(head.authorization.as_deref(), configuration)?;
    let organization = head.organization(configuration)?;
    http::ask(env, &organization, "/stats", &RequestInit::new()).await.map_err(unreachable)
}

/// Asks one organization after another: a request may have six connections open, and a scrape is in no hurry.
async fn metrics(request: Request, env: &Env, configuration: &Configuration) -> std::result::Result<Response, Refusal> {
    let head = http::head(&request)?;
    authorize(head.authorization.as_deref(), configuration)?;
    let mut scrapes = Vec::new();
    for organization in metrics::organizations(&head, configuration)? {
        let asked = now();
        let figures = figures(env, &organization).await.map_err(log_fault).ok();
        scrapes.push(Scrape { organization, figures, took: now().saturating_sub(asked) });
    }
    let text = metrics::text(&scrapes, env!("CARGO_PKG_VERSION"));
    let response = Response::ok(text).map_err(failed)?;
    response.headers().set("content-type", metrics::MEDIA_TYPE).map_err(failed)?;
    response.headers().set("cache-control", "no-store").map_err(failed)?;
    Ok(response)
}

async fn figures(env: &Env, organization: &str) -> Result<serde_json::Value> {
    let mut answer = Response::from(http::ask(env, organization, "/stats", &RequestInit::new()).await?);
    match answer.status_code() {
        200 => answer.json().await,
        status => Err(worker::Error::RustError(format!("the figures were answered {status}"))),
    }
}

/// Forwards a request with the access token to the object of a database.
async fn ask_source(
    request: Request,
    env: &Env,
    configuration: &Configuration,
    path: &str,
) -> std::result::Result<web_sys::Response, Refusal> {
    let head = http::head(&request)?;
    authorize(head.authorization.as_deref(), configuration)?;
    let database = source::database(&head, configuration)?;
    source_link::fetch(env, &database, path, &http::post(&JsValue::NULL)).await.map_err(unreachable)
}

async fn answer_ticket(
    path: &str,
    request: Request,
    configuration: &Configuration,
) -> std::result::Result<Response, Refusal> {
    let origin = http::header(&request, "origin");
    let answer = ticket(request, configuration).await.unwrap_or_else(|refusal| {
        log_refused(path, &refusal);
        Answer::from(&refusal)
    });
    let response = http::respond(&answer).map_err(failed)?;
    allow_origin(ticket::CORS, response, origin.as_deref(), configuration).map_err(failed)
}

async fn ticket(request: Request, configuration: &Configuration) -> std::result::Result<Answer, Refusal> {
    let head = http::head(&request)?;
    let token = ticket::token(&head, configuration)?;
    let body = http::json_body(&request).await?;
    let organization = ticket::organization(&body, configuration)?;
    let proven = keys::verify(&configuration.credentials, token).await;
    ticket::issue(configuration, organization, proven, random_hex(16).map_err(failed)?, now())
}

/// Serves the Inspector from the deployed assets.
async fn page(request: Request, env: &Env) -> std::result::Result<Response, Refusal> {
    let assets = env.assets("ASSETS").map_err(|_| Refusal::of(Code::NotFound))?;
    assets.fetch_request(worker::Request::from(request)).await.map_err(failed)
}

fn preflight(cors: Cors, request: &Request, configuration: &Configuration) -> std::result::Result<Response, Refusal> {
    let response = Response::empty().map_err(failed)?.with_status(204);
    allow_origin(cors, response, http::header(request, "origin").as_deref(), configuration).map_err(failed)
}

/// Lets pages of an allowed origin read the response. No cookie is involved, so `*` exposes nothing.
fn allow_origin(
    cors: Cors,
    response: Response,
    origin: Option<&str>,
    configuration: &Configuration,
) -> Result<Response> {
    let headers = response.headers();
    match (&configuration.allowed_origins, origin) {
        (None, _) => headers.set("access-control-allow-origin", "*")?,
        (Some(_), Some(origin)) if configuration.allows_origin(Some(origin)) => {
            headers.set("access-control-allow-origin", origin)?;
        }
        _ => {}
    }
    headers.set("vary", "origin")?;
    headers.set("access-control-allow-methods", cors.methods)?;
    headers.set("access-control-allow-headers", cors.headers)?;
    headers.set("access-control-max-age", "86400")?;
    Ok(response)
}
