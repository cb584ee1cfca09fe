//! The Worker's doors for Supabase's clients (supabase.md, sections 2 and 9.6).

use serde_json::json;
use wasm_bindgen::JsValue;
use web_sys::RequestInit;
use worker::{Env, Request, Response};

use super::fault::{failed, log_refused, unreachable};
use super::gate::{self, Pass};
use super::http::{self, Address};
use super::keys;
use crate::code::{Code, Refusal};
use crate::policy::configuration::Configuration;
use crate::policy::organization::is_organization;
use crate::policy::principal::Principal;
use crate::policy::token::TokenError;
use crate::server::answer::Answer;
use crate::server::route::Route;
use crate::server::supabase::rest::{self, Body, Rejected, Sender};
use crate::server::supabase::{self, Admitted};

type Answered = Result<Response, Refusal>;

/// Whether a socket is asked for by a client of Supabase.
pub fn is_client(address: &Address) -> bool {
    ["vsn", "apikey"].into_iter().any(|name| address.parameter(name).is_some())
}

/// Opens a socket, or answers why not in Supabase's words.
///
/// # Errors
/// When the runtime fails.
pub async fn connect(request: &Request, address: &Address, env: &Env, configuration: &Configuration) -> Answered {
    let opened = match admit(request, address, configuration).await {
        Ok((organization, pass)) => gate::open(env, &organization, &pass).await.map_err(unreachable),
        Err(refusal) => Err(refusal),
    };
    opened.or_else(|refusal| {
        log_refused(&address.path(), &refusal);
        http::respond(&supabase::refused(&refusal)).map_err(failed)
    })
}

async fn admit(request: &Request, address: &Address, configuration: &Configuration) -> Result<(String, Pass), Refusal> {
    gate::check(request, configuration)?;
    let version = address.parameter("vsn");
    let unspoken = || Refusal::because(Code::InvalidRequest, "The vsn must match ~> 1.0.0 or ~> 2.0.0");
    let wire = supabase::wire_of_version(version.as_deref()).ok_or_else(unspoken)?;
    let header = http::header(request, "x-api-key");
    let key = supabase::key(header.as_deref(), address.parameter("apikey").as_deref()).ok_or(Code::Unauthorized)?;
    let (organization, principal) = supabase::admitted(tenant(address, configuration, &key).await)?;
    Ok((organization, Pass { principal: Some(principal), wire: wire.0, ..Pass::default() }))
}

/// Answers a request to the REST endpoints.
pub async fn answer(
    route: Route,
    request: Request,
    address: &Address,
    env: &Env,
    configuration: &Configuration,
) -> Answer {
    let answered = match route {
        Route::SupabasePing => Ok(Answer::json(200, &json!({ "message": "Success" }))),
        route => publish(route, request, address, env, configuration).await,
    };
    answered.unwrap_or_else(|rejected| {
        log_refused(&address.path(), &Refusal::of(rejected.code));
        rejected.answer
    })
}

async fn publish(
    route: Route,
    mut request: Request,
    address: &Address,
    env: &Env,
    configuration: &Configuration,
) -> Result<Answer, Rejected> {
    if !configuration.allows_origin(http::header(&request, "origin").as_deref()) {
        return Err(Rejected::from(Code::OriginNotAllowed));
    }
    let (organization, principal) = sender(&request, address, configuration).await?;
    let sender = principal.as_ref().map_or(Sender::Service, Sender::Client);
    let body = body(&mut request).await?;
    let publications = match rest::place(&address.path()) {
        Some(place) if route == Route::SupabaseSingle => {
            let private = address.parameter("private").as_deref() == Some("true");
            let ttl = address.parameter("persist[ttl]");
            let persist = rest::persists(address.parameter("persist").as_deref(), ttl.as_deref())?;
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
async fn sender(
    request: &Request,
    address: &Address,
    configuration: &Configuration,
) -> Result<(String, Option<Principal>), Code> {
    let bearer = supabase::key(None, http::bearer(request).as_deref());
    let header = http::header(request, "apikey");
    let key = bearer.or_else(|| supabase::key(header.as_deref(), None)).ok_or(Code::Unauthorized)?;
    if configuration.is_access_token(&key) {
        let credentials = &configuration.credentials;
        let host = address.host();
        let (asked, is_bound) = credentials.asked_for(&host);
        let default = if is_bound { Some(asked.to_owned()) } else { credentials.default_organization.clone() };
        let organization = address.parameter("organizationId").or(default).filter(|name| is_organization(name));
        return Ok((organization.ok_or(Code::WrongOrganization)?, None));
    }
    let (organization, principal) = tenant(address, configuration, &key).await.map_err(TokenError::code)?;
    Ok((organization, Some(principal)))
}

/// The organization that a key is for, and who comes with it.
async fn tenant(address: &Address, configuration: &Configuration, key: &str) -> Result<Admitted, TokenError> {
    let proven = keys::verify(&configuration.credentials, key).await?;
    configuration.credentials.tenant(&proven, &address.host()).map_err(TokenError::Refused)
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
