//! Fluxbase's REST API: figures, and messages published without a socket (docs/protocol-fluxbase.md, REST).

use std::rc::Rc;

use serde_json::{Value, json};

use super::access::{AuthenticatedRequest, Caller, identify, organization, rejected};
use super::gathering;
use super::tables::{self, TABLES};
use crate::code::{Code, Refusal};
use crate::engine::publication::{Payload, Publication};
use crate::policy::channel::{MAX_TOPIC, Topic};
use crate::policy::configuration::Configuration;
use crate::policy::limits::NAME_BYTES;
use crate::server::answer::Answer;
use crate::server::api::{Api, ApiStep, Cors, Rejected, code_of};
use crate::server::publish;
use crate::server::request_head::RequestHead;
use crate::value::json::{self, Kind};

/// The figures of the older contract, for everyone.
pub const OLD_STATS: &str = "/api/realtime/stats";
/// The connections, for administrators.
pub const STATS: &str = "/api/v1/realtime/stats";
/// Messages.
pub const BROADCAST: &str = "/api/v1/realtime/broadcast";
/// The default event of a message.
const DEFAULT_EVENT: &str = "broadcast";
/// The default length of a page of connections.
const DEFAULT_LIMIT: u64 = 25;
const MAX_LIMIT: u64 = 100;

/// The endpoints.
pub struct FluxbaseRest;

impl Api for FluxbaseRest {
    fn methods(&self, path: &str) -> Option<&'static [&'static str]> {
        match path {
            OLD_STATS | STATS => Some(&["GET"]),
            BROADCAST => Some(&["POST"]),
            TABLES => Some(&["GET", "POST"]),
            path => tables::place(path).map(|_| &["GET", "PATCH", "DELETE"] as &[_]),
        }
    }

    fn cors(&self) -> Cors {
        Cors { methods: "GET, POST, PATCH, DELETE", headers: "authorization, content-type" }
    }

    fn rejected(&self, code: Code) -> Rejected {
        rejected(code)
    }

    fn answered(&self, head: &RequestHead, rejected: Rejected) -> Answer {
        with_request_id(head, rejected.answer)
    }

    fn call(&self, head: Rc<RequestHead>, configuration: &Configuration) -> Result<ApiStep, Rejected> {
        match head.path.as_str() {
            OLD_STATS => {
                let asks_relays = head.bearer().is_some_and(|token| configuration.is_access_token(token));
                Ok(gathering::counts(organization(configuration)?, asks_relays))
            }
            STATS => identify(head, configuration, connections),
            BROADCAST => identify(head, configuration, broadcast),
            _ => identify(head, configuration, tables::call),
        }
    }
}

/// Appends the request id to the body of an error.
fn with_request_id(head: &RequestHead, answer: Answer) -> Answer {
    match (&head.request_id, answer.body.strip_suffix('}')) {
        (Some(id), Some(members)) => {
            let mut body = [members, ",\"request_id\":"].concat();
            json::write_string(&mut body, id);
            body.push('}');
            Answer { body, ..answer }
        }
        _ => answer,
    }
}

/// The JSON of an object's answer with status 200.
pub(super) fn accepted(status: u16, body: &str) -> Result<Value, Rejected> {
    match status {
        200..=299 => serde_json::from_str(body).map_err(|_| rejected(Code::Internal)),
        status => Err(rejected(code_of(status))),
    }
}

fn connections(_: &Configuration, request: AuthenticatedRequest) -> Result<ApiStep, Rejected> {
    if !request.caller.is_admin() {
        return Err(rejected(Code::Forbidden));
    }
    let number = |name: &str, default: u64| match request.head.parameter(name).map(str::parse::<u64>) {
        None => Ok(default),
        Some(number) => {
            number.map_err(|_| rejected(Refusal::at(Code::InvalidRequest, name, format!("{name} must be a number"))))
        }
    };
    let (limit, offset) = (number("limit", DEFAULT_LIMIT)?.clamp(1, MAX_LIMIT), number("offset", 0)?);
    let search = request.head.parameter("search").unwrap_or_default().to_owned();
    Ok(gathering::connections(request.organization, search, (limit, offset)))
}

fn broadcast(_: &Configuration, request: AuthenticatedRequest) -> Result<ApiStep, Rejected> {
    Ok(ApiStep::read_body(move |configuration, body| {
        let body = String::from_utf8(body).map_err(|_| rejected(Code::InvalidRequest))?;
        let publication = message(configuration, &request.caller, &body).map_err(rejected)?;
        let channel = publication.topic.as_ref().map(|topic| topic.name.to_string()).unwrap_or_default();
        let client = match &request.caller {
            Caller::Service => None,
            Caller::Client(principal) => Some(principal),
        };
        let publications = std::slice::from_ref(&publication);
        let object_request = publish::object_request(&request.head, request.organization, client, publications);
        Ok(ApiStep::ask(object_request, move |_, status, body| {
            let recipients = accepted(status, body)?.get("delivered").and_then(Value::as_u64).unwrap_or_default();
            let body = json!({ "success": true, "channel": channel, "recipients": recipients });
            Ok(ApiStep::Answer(Answer::json(200, &body)))
        }))
    }))
}

/// Reads `{ channel, event?, payload? }`, or `{ channel, message }`: the contract's two sides write them differently.
fn message(configuration: &Configuration, caller: &Caller, body: &str) -> Result<Publication, Refusal> {
    let object = json::object(body).map_err(|_| Refusal::of(Code::InvalidRequest))?;
    let get = |name: &str| {
        let member = object.members.iter().find(|(known, _)| known == name).map(|(_, value)| value.get());
        member.filter(|text| json::kind(text) != Kind::Null)
    };
    let text = |name: &str, most: usize| {
        let Some(text) = get(name) else { return Ok(None) };
        let text = json::string(text).filter(|text| text.len() <= most);
        let wrong =
            || Refusal::at(Code::InvalidRequest, name, format!("{name} must be a text of at most {most} bytes"));
        text.ok_or_else(wrong).map(|text| Some(text).filter(|text| !text.is_empty()))
    };
    let missing = || Refusal::at(Code::InvalidRequest, "channel", "Channel is required");
    let topic = Topic { private: true, name: Rc::from(text("channel", MAX_TOPIC)?.ok_or_else(missing)?) };
    let event = text("event", NAME_BYTES)?.unwrap_or_else(|| DEFAULT_EVENT.to_owned());
    let payload = get("payload").or_else(|| get("message")).unwrap_or("null");
    let keep = match caller {
        Caller::Service => true,
        Caller::Client(principal) => {
            let keep = configuration.may_publish(&topic, principal)?;
            check_size(payload, configuration.limits.frame_bytes)?;
            keep
        }
    };
    let payload = Payload::Json(Rc::from(payload));
    let publication = Publication::from_client(topic, &event, payload)
        .map_err(|refusal| Refusal { code: Code::InvalidRequest, ..refusal })?;
    Ok(if keep { publication } else { publication.without_history() })
}

/// A client may publish over HTTP what it may over its socket.
fn check_size(payload: &str, most: u64) -> Result<(), Refusal> {
    let too_large = || Refusal::because(Code::PayloadTooLarge, format!("payload is larger than {most} bytes"));
    if payload.len() as u64 <= most { Ok(()) } else { Err(too_large()) }
}
