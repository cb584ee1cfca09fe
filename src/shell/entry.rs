//! The Worker's fetch handler: every request enters here.

use std::rc::Rc;

use serde_json::json;
use wasm_bindgen::JsValue;
use web_sys::RequestInit;
use worker::{Context, Env, Request, Response, Result, event};

use super::fault::{failed, log_refused, unreachable};
use super::gate::{self, Destination};
use super::http::{self, Address};
use super::runtime::{now, random_hex};
use super::{environment, pump, supabase};
use crate::code::{Code, Refusal};
use crate::policy::configuration::Configuration;
use crate::policy::organization::is_organization;
use crate::policy::ticket::{LIFETIME_SECONDS, Ticket};
use crate::server::answer::Answer;
use crate::server::publish::PublishRequest;
use crate::server::route::{self, Route};
use crate::server::supabase::rest;
use crate::value::form::Form;

/// Sets the hook that shows a panic's message before the instance is lost.
#[event(start)]
fn start() {
    console_error_panic_hook::set_once();
}

/// Answers a request.
///
/// # Errors
/// Never for what a caller sent: that is an answer. Only when the runtime itself fails.
#[event(fetch)]
async fn fetch(request: Request, env: Env, _context: Context) -> Result<web_sys::Response> {
    let path = request.path();
    let answered = match route::route(request.method().as_ref(), &path) {
        Ok(route) => answer(route, request, &env).await,
        Err(code) => Err(Refusal::of(code)),
    };
    let refusal = match answered {
        Ok(response) => return Ok(response),
        Err(refusal) => refusal,
    };
    log_refused(&path, &refusal);
    let response = http::respond(&Answer::from(&refusal))?;
    if refusal.code == Code::MethodNotAllowed {
        response.headers().set("allow", &route::allowed(&path))?;
    }
    Ok(response.into())
}

async fn answer(route: Route, request: Request, env: &Env) -> std::result::Result<web_sys::Response, Refusal> {
    if route == Route::Health {
        let body = json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") });
        return http::respond(&Answer::json(200, &body)).map(Into::into).map_err(failed);
    }
    let configuration = environment::configuration(env)?;
    let response = match route {
        Route::Broadcast => return broadcast(request, env, &configuration).await,
        Route::Stats => return stats(request, env, &configuration).await,
        Route::WebSocket => connect(request, env, &configuration).await,
        Route::SupabaseBatch | Route::SupabaseSingle | Route::SupabasePing => {
            let origin = http::header(&request, "origin");
            let address = Address::of(&request).ok_or(Code::NotFound)?;
            let answer = supabase::answer(route, request, &address, env, &configuration).await;
            let response = http::respond(&answer).map_err(failed)?;
            SUPABASE.apply(response, origin.as_deref(), &configuration).map_err(failed)
        }
        Route::Ticket => {
            let origin = http::header(&request, "origin");
            let answered = ticket(request, &configuration).await;
            let response = answered.or_else(|refusal| http::respond(&Answer::from(&refusal)).map_err(failed))?;
            TICKETS.apply(response, origin.as_deref(), &configuration).map_err(failed)
        }
        Route::TicketPreflight | Route::SupabasePreflight => {
            let rules = if route == Route::TicketPreflight { TICKETS } else { SUPABASE };
            let response = Response::empty().map_err(failed)?.with_status(204);
            rules.apply(response, http::header(&request, "origin").as_deref(), &configuration).map_err(failed)
        }
        Route::Page if configuration.inspector => page(request, env).await,
        Route::Page | Route::Health => Err(Refusal::of(Code::NotFound)),
    };
    response.map(Into::into)
}

async fn connect(
    request: Request,
    env: &Env,
    configuration: &Rc<Configuration>,
) -> std::result::Result<Response, Refusal> {
    let address = Address::of(&request).ok_or(Code::NotFound)?;
    if supabase::is_client(&address) {
        return supabase::connect(&request, &address, env, configuration).await;
    }
    match gate::admit(&request, &address, configuration).await? {
        Destination::Object(organization, pass) => gate::open(env, &organization, &pass).await.map_err(unreachable),
        Destination::Held => pump::hold(env.clone(), configuration.clone()).map_err(failed),
    }
}

async fn broadcast(
    mut request: Request,
    env: &Env,
    configuration: &Configuration,
) -> std::result::Result<web_sys::Response, Refusal> {
    authorize(&request, configuration)?;
    let body = http::json_body(&mut request).await?;
    // Read here so that a refused request wakes no object; the object reads it again, for only texts can be handed on.
    let organization = PublishRequest::read(&body)?.organization;
    let init = RequestInit::new();
    init.set_method("POST");
    init.set_body(&JsValue::from_str(&body));
    http::ask(env, &organization, "/publish", &init).await.map_err(unreachable)
}

async fn stats(
    request: Request,
    env: &Env,
    configuration: &Configuration,
) -> std::result::Result<web_sys::Response, Refusal> {
    authorize(&request, configuration)?;
    let address = Address::of(&request).ok_or(Code::NotFound)?;
    let organization =
        address.parameter("organizationId").or_else(|| configuration.credentials.default_organization.clone());
    let organization = organization.filter(|organization| is_organization(organization));
    let malformed = || Refusal::at(Code::InvalidRequest, "organizationId", "organizationId is required");
    let organization = organization.ok_or_else(malformed)?;
    http::ask(env, &organization, "/stats", &RequestInit::new()).await.map_err(unreachable)
}

async fn ticket(mut request: Request, configuration: &Configuration) -> std::result::Result<Response, Refusal> {
    if !configuration.allows_origin(http::header(&request, "origin").as_deref()) {
        return Err(Refusal::of(Code::OriginNotAllowed));
    }
    let token = http::bearer(&request).ok_or(Code::Unauthorized)?;
    let body = http::json_body(&mut request).await?;
    let mut form = Form::read(&body, Code::InvalidRequest)?;
    let named = form.take("organizationId").map(|organization| organization.text()).transpose()?;
    let organization = named.or_else(|| configuration.credentials.default_organization.clone());
    let missing = form.refuse("organizationId", "is required and names an organization");
    let organization = organization.filter(|organization| is_organization(organization)).ok_or(missing)?;
    form.finish()?;
    let principal = gate::principal(configuration, &token, &organization).await?;
    let secret = configuration.access_tokens.first().ok_or(Code::Configuration)?;
    let expires = now() + LIFETIME_SECONDS * 1_000;
    let ticket = Ticket { id: random_hex(16).map_err(failed)?, organization, expires, principal };
    let too_large =
        || Refusal::because(Code::PayloadTooLarge, "The token's roles and claims are too large for a ticket.");
    let ticket = ticket.sign(secret).ok_or_else(too_large)?;
    let body = json!({ "wsTicket": ticket, "expiresIn": LIFETIME_SECONDS });
    http::respond(&Answer::json(200, &body)).map_err(failed)
}

/// The Inspector's files, from the assets that are deployed with the Worker.
async fn page(request: Request, env: &Env) -> std::result::Result<Response, Refusal> {
    let assets = env.assets("ASSETS").map_err(|_| Refusal::of(Code::NotFound))?;
    assets.fetch_request(request).await.map_err(failed)
}

fn authorize(request: &Request, configuration: &Configuration) -> std::result::Result<(), Refusal> {
    let token = http::bearer(request).unwrap_or_default();
    if configuration.is_access_token(&token) { Ok(()) } else { Err(Refusal::of(Code::Unauthorized)) }
}

/// What a page of another origin may send.
struct Cors {
    methods: &'static str,
    headers: &'static str,
}

const TICKETS: Cors = Cors { methods: "POST", headers: "authorization, content-type" };
const SUPABASE: Cors = Cors { methods: "GET, POST", headers: rest::HEADERS };

impl Cors {
    /// Lets the page of an allowed origin read the answer. No cookie is ever involved, so `*` gives nothing away.
    fn apply(&self, response: Response, origin: Option<&str>, configuration: &Configuration) -> Result<Response> {
        let headers = response.headers();
        match (&configuration.allowed_origins, origin) {
            (None, _) => headers.set("access-control-allow-origin", "*")?,
            (Some(_), Some(origin)) if configuration.allows_origin(Some(origin)) => {
                headers.set("access-control-allow-origin", origin)?;
            }
            _ => {}
        }
        headers.set("vary", "origin")?;
        headers.set("access-control-allow-methods", self.methods)?;
        headers.set("access-control-allow-headers", self.headers)?;
        headers.set("access-control-max-age", "86400")?;
        Ok(response)
    }
}
