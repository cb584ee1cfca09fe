//! The Worker's doors for Supabase's clients (supabase.md, sections 2 and 9.6).

use worker::{Env, Request, Response};

use super::entry::{failed, log_refused, unreachable};
use super::gate::{self, Pass};
use super::http::{self, Address};
use super::keys;
use crate::code::{Code, Refusal};
use crate::policy::configuration::Configuration;
use crate::server::supabase;

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
        log_refused(&address.path(), refusal.code);
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
    let host = address.host();
    let proven = keys::tenant(&configuration.credentials, &key, supabase::asked(&host)).await;
    let (organization, principal) = supabase::admitted(proven, &key)?;
    Ok((organization, Pass { principal: Some(principal), wire: wire.0, ..Pass::default() }))
}
