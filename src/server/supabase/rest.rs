//! Supabase's REST API: messages published without a socket (docs/protocol-supabase.md, REST).

use std::rc::Rc;

use serde_json::json;

use super::{RestPublisher, publisher};
use crate::code::Code;
use crate::dialect::phoenix::decode::is_ttl;
use crate::dialect::phoenix::reason::INVALID_TTL;
use crate::engine::publication::{Payload, Publication};
use crate::policy::channel::Topic;
use crate::policy::configuration::Configuration;
use crate::policy::limits::{BATCH_EVENTS, NAME_BYTES};
use crate::policy::principal::Principal;
use crate::server::answer::Answer;
use crate::server::api::{Api, ApiStep, Cors, Rejected, code_of};
use crate::server::publish;
use crate::server::request_head::RequestHead;
use crate::value::json::{self, Kind, Object};
use crate::value::percent;

/// The path of the batch endpoint; topic and event of a single message follow it.
pub const BROADCAST: &str = "/realtime/v1/api/broadcast";
/// The path that answers without a credential.
pub const PING: &str = "/realtime/v1/api/ping";
/// Headers that a page using Supabase's client may send.
pub const HEADERS: &str =
    "apikey, authorization, baggage, content-type, prefer, traceparent, tracestate, x-api-key, x-client-info";
/// The error for a missing value, in Supabase's wording.
const BLANK: &str = "can't be blank";
/// The error for a malformed value.
const INVALID: &str = "is invalid";
/// The error for a name that no frame could carry.
const LONG: &str = "should be at most 255 byte(s)";
/// The error for a payload larger than a frame may be.
const LARGE: &str = "Payload size exceeds tenant limit";
const UNAUTHORIZED: &str = "Unauthorized";
const REDUCE: &str = "Too many messages to broadcast, please reduce the batch size";
const MEDIA_TYPES: &str = "Unsupported Media Type. Use application/json or application/octet-stream";

/// The sender.
#[derive(Clone, Copy, Debug)]
pub enum Sender<'a> {
    /// The API worker, with the access token: it may publish anywhere.
    Service,
    /// A client: the channel policies decide.
    Client(&'a Principal),
}

/// The endpoints.
pub struct SupabaseRest;

impl Api for SupabaseRest {
    fn methods(&self, path: &str) -> Option<&'static [&'static str]> {
        match path {
            BROADCAST => Some(&["POST"]),
            PING => Some(&["GET", "HEAD"]),
            path => place(path).map(|_| &["POST"] as &[_]),
        }
    }

    fn cors(&self) -> Cors {
        Cors { methods: "GET, POST", headers: HEADERS }
    }

    fn rejected(&self, code: Code) -> Rejected {
        rejected(code)
    }

    fn call(&self, head: Rc<RequestHead>, configuration: &Configuration) -> Result<ApiStep, Rejected> {
        if head.path == PING {
            return Ok(ApiStep::Answer(Answer::json(200, &json!({ "message": "Success" }))));
        }
        match publisher(&head, configuration).map_err(rejected)? {
            RestPublisher::Service(organization) => Ok(read_body(head, organization, None)),
            RestPublisher::Client(key) => Ok(ApiStep::verify(key, move |configuration, proven| {
                let proven = proven.map_err(|error| rejected(error.code()))?;
                let tenant = configuration.credentials.tenant(&proven, &head.host);
                let (organization, principal) = tenant.map_err(rejected)?;
                Ok(read_body(head, organization, Some(principal)))
            })),
        }
    }
}

/// Reads a sender's messages and forwards the permitted ones; with the access token the sender has no principal.
fn read_body(head: Rc<RequestHead>, organization: String, principal: Option<Principal>) -> ApiStep {
    ApiStep::read_body(move |configuration, body| {
        let sender = principal.as_ref().map_or(Sender::Service, Sender::Client);
        let publications = publications(configuration, sender, &head, Body::of(&head, body)?)?;
        if publications.is_empty() {
            return Ok(ApiStep::Answer(accepted()));
        }
        let object_request = publish::object_request(&head, organization, principal.as_ref(), &publications);
        Ok(ApiStep::ask(object_request, |_, status, _| answered(status).map(ApiStep::Answer)))
    })
}

fn publications(
    configuration: &Configuration,
    sender: Sender<'_>,
    head: &RequestHead,
    body: Body,
) -> Result<Vec<Publication>, Rejected> {
    let Some(place) = place(&head.path) else { return batch(configuration, sender, &body) };
    let private = head.parameter("private") == Some("true");
    let persist = persists(head.parameter("persist"), head.parameter("persist[ttl]"))?;
    Ok(vec![single(configuration, sender, place, (private, persist), body)?])
}

/// The rejection for this reason, in Supabase's format.
pub fn rejected(code: Code) -> Rejected {
    match code {
        Code::Unauthorized | Code::InvalidToken | Code::TokenExpired | Code::WrongOrganization => {
            one_key(code, 401, "message", UNAUTHORIZED)
        }
        Code::Forbidden | Code::PublicTopicsDisabled | Code::OriginNotAllowed => {
            one_key(code, 403, "message", UNAUTHORIZED)
        }
        Code::UnsupportedMediaType => one_key(code, 415, "error", MEDIA_TYPES),
        Code::PayloadTooLarge => unprocessable(&wrong("payload", LARGE)),
        Code::RateLimited => one_key(code, 429, "message", "Too many requests"),
        code => one_key(code, code.status(), "message", code.sentence()),
    }
}

/// Topic and event of a single message's path; `None` for any other path.
pub fn place(path: &str) -> Option<(String, String)> {
    let (topic, event) = path.strip_prefix(BROADCAST)?.strip_prefix('/')?.split_once("/events/")?;
    let part = |text: &str| if text.contains('/') { None } else { percent::decode(text) };
    Some((part(topic)?, part(event)?))
}

/// Reads a batch. Messages that the sender may not publish are dropped silently, as Supabase does.
///
/// # Errors
/// When the body is malformed, with the errors of each message.
pub fn batch(configuration: &Configuration, sender: Sender<'_>, body: &Body) -> Result<Vec<Publication>, Rejected> {
    let Body::Json(body) = body else { return Err(rejected(Code::UnsupportedMediaType)) };
    let body = json::object(body).map_err(|_| rejected(Code::InvalidRequest))?;
    let messages = member(&body, "messages").ok_or(BLANK).and_then(|list| json::array(list).map_err(|_| INVALID));
    let messages = messages.map_err(|what| unprocessable(&wrong("messages", what)))?;
    if messages.len() > BATCH_EVENTS {
        return Err(one_key(Code::RateLimited, 429, "message", REDUCE));
    }
    let (mut publications, mut errors, mut is_right) = (Vec::new(), Vec::new(), true);
    for message in messages {
        let read = Message::read(message.get(), sender.most(configuration));
        is_right &= read.is_ok();
        errors.push(read.as_ref().err().map_or("", String::as_str).to_owned());
        match read.map(|message| message.publication(configuration, sender, false)) {
            Ok(Err(Code::Forbidden | Code::PublicTopicsDisabled)) | Err(_) => {}
            Ok(published) => publications.push(published.map_err(rejected)?),
        }
    }
    let named = || format!("\"messages\":[{{{}}}]", errors.join("},{"));
    if is_right { Ok(publications) } else { Err(unprocessable(&named())) }
}

/// Whether a single message is to be published only if it is retained.
///
/// # Errors
/// When its retention time is invalid.
pub fn persists(flag: Option<&str>, ttl: Option<&str>) -> Result<bool, Rejected> {
    if !ttl.is_none_or(is_ttl) {
        return Err(one_key(Code::InvalidRequest, 422, "error", INVALID_TTL));
    }
    Ok(ttl.is_some() || flag == Some("true"))
}

/// Reads a single message, whose body is its payload.
///
/// # Errors
/// When a name or the payload is malformed, or the sender may not publish it, or not with retention.
pub fn single(
    configuration: &Configuration,
    sender: Sender<'_>,
    (topic, event): (String, String),
    (private, persist): (bool, bool),
    body: Body,
) -> Result<Publication, Rejected> {
    let payload = body.payload(sender.most(configuration));
    let errors =
        [("topic", wrong_name(&topic)), ("event", wrong_name(&event)), ("payload", payload.as_ref().err().copied())];
    match payload {
        Ok(payload) if errors.iter().all(|(_, what)| what.is_none()) => {
            let topic = Topic { private, name: Rc::from(topic) };
            Message { topic, event, payload }.publication(configuration, sender, persist).map_err(rejected)
        }
        _ => Err(unprocessable(&named(&errors))),
    }
}

/// Converts the answer of an organization's object with this status.
///
/// # Errors
/// When it did not accept the messages.
pub fn answered(status: u16) -> Result<Answer, Rejected> {
    match status {
        202 => Ok(accepted()),
        status => Err(rejected(code_of(status))),
    }
}

/// The answer to messages that were accepted, or dropped silently.
pub fn accepted() -> Answer {
    Answer { status: 202, body: String::new(), retry_after: None }
}

/// The body of a single message.
#[derive(Clone, Debug)]
pub enum Body {
    /// `application/json`
    Json(String),
    /// `application/octet-stream`
    Binary(Vec<u8>),
}

impl Body {
    fn of(head: &RequestHead, bytes: Vec<u8>) -> Result<Body, Rejected> {
        match head.media_type.as_deref() {
            Some("application/octet-stream") => Ok(Body::Binary(bytes)),
            Some("application/json") => {
                String::from_utf8(bytes).map(Body::Json).map_err(|_| rejected(Code::InvalidRequest))
            }
            _ => Err(rejected(Code::UnsupportedMediaType)),
        }
    }

    /// The payload; JSON other than an object is wrapped in one.
    fn payload(self, most: usize) -> Result<Payload, &'static str> {
        match self {
            Body::Binary(bytes) if bytes.len() > most => Err(LARGE),
            Body::Binary(bytes) => Ok(Payload::Binary(Rc::from(bytes))),
            Body::Json(text) => match text.trim_ascii() {
                "" => Err(BLANK),
                text if text.starts_with('{') => object(text, most),
                text => {
                    let wrapped = format!("{{\"_json\":{text}}}");
                    // Text that becomes several members when wrapped was not valid JSON.
                    let is_one = json::object(&wrapped).is_ok_and(|object| object.members.len() == 1);
                    if is_one { object(&wrapped, most) } else { Err(INVALID) }
                }
            },
        }
    }
}

impl Sender<'_> {
    /// Maximum bytes of this sender's payload: a client's is limited by its frame size.
    fn most(self, configuration: &Configuration) -> usize {
        match self {
            Sender::Service => usize::MAX,
            Sender::Client(_) => usize::try_from(configuration.limits.frame_bytes).unwrap_or(usize::MAX),
        }
    }
}

/// A well-formed message.
struct Message {
    topic: Topic,
    event: String,
    payload: Payload,
}

impl Message {
    /// Reads `{ topic, event, payload, private? }`; unknown keys of newer clients are ignored.
    ///
    /// # Errors
    /// The errors by key.
    fn read(text: &str, most: usize) -> Result<Message, String> {
        let message = json::object(text).map_err(|_| wrong("message", INVALID))?;
        let topic = name(member(&message, "topic"));
        let event = name(member(&message, "event"));
        let payload = member(&message, "payload").ok_or(BLANK).and_then(|payload| object(payload, most));
        let private = match member(&message, "private") {
            None | Some("false" | "\"false\"") => Ok(false),
            Some("true" | "\"true\"") => Ok(true),
            Some(_) => Err(INVALID),
        };
        match (topic, event, payload, private) {
            (Ok(topic), Ok(event), Ok(payload), Ok(private)) => {
                Ok(Message { topic: Topic { private, name: Rc::from(topic) }, event, payload })
            }
            (topic, event, payload, private) => Err(named(&[
                ("topic", topic.err()),
                ("event", event.err()),
                ("payload", payload.err()),
                ("private", private.err()),
            ])),
        }
    }

    /// The publication, if the sender may publish it; a client's message is retained if the channel's policy says so.
    fn publication(
        self,
        configuration: &Configuration,
        sender: Sender<'_>,
        persist: bool,
    ) -> Result<Publication, Code> {
        let keep = match sender {
            Sender::Service => true,
            Sender::Client(principal) => configuration.may_publish(&self.topic, principal)?,
        };
        if persist && !(keep && self.topic.private) {
            return Err(Code::Forbidden);
        }
        let publication = Publication::from_client(self.topic, &self.event, self.payload);
        let publication = publication.map_err(|refusal| refusal.code)?;
        Ok(if keep { publication } else { publication.without_history() })
    }
}

/// The JSON text of a member that is present and not `null`.
fn member<'a>(object: &Object<'a>, name: &str) -> Option<&'a str> {
    let (_, value) = object.members.iter().find(|(known, _)| known == name)?;
    Some(value.get()).filter(|text| json::kind(text) != Kind::Null)
}

fn name(text: Option<&str>) -> Result<String, &'static str> {
    let name = json::string(text.ok_or(BLANK)?).ok_or(INVALID)?;
    wrong_name(&name).map_or(Ok(name), Err)
}

fn wrong_name(name: &str) -> Option<&'static str> {
    match name.len() {
        0 => Some(BLANK),
        length => (length > NAME_BYTES).then_some(LONG),
    }
}

/// A payload that is an object without repeated keys.
fn object(text: &str, most: usize) -> Result<Payload, &'static str> {
    match json::object(text) {
        Ok(_) if text.len() > most => Err(LARGE),
        Ok(_) => Ok(Payload::Json(Rc::from(text))),
        Err(_) => Err(INVALID),
    }
}

/// The error of one key: a member of the object `errors`.
fn wrong(key: &str, what: &str) -> String {
    format!("\"{key}\":[\"{what}\"]")
}

/// The errors of several keys.
fn named(errors: &[(&str, Option<&str>)]) -> String {
    let wrong = errors.iter().filter_map(|(key, what)| Some(wrong(key, (*what)?)));
    wrong.collect::<Vec<_>>().join(",")
}

fn unprocessable(errors: &str) -> Rejected {
    let answer = Answer { status: 422, body: format!("{{\"errors\":{{{errors}}}}}"), retry_after: None };
    Rejected { code: Code::InvalidRequest, answer }
}

/// An answer of one key.
fn one_key(code: Code, status: u16, key: &str, text: &str) -> Rejected {
    let retry_after = (code == Code::RateLimited).then_some(1);
    Rejected { code, answer: Answer { status, body: format!("{{\"{key}\":\"{text}\"}}"), retry_after } }
}
