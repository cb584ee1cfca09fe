//! Supabase's REST: messages published without a socket (supabase.md, section 9.6).

use std::rc::Rc;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::code::{Code, Refusal};
use crate::engine::publication::{Payload, Publication};
use crate::policy::channel::{Action, Topic};
use crate::policy::configuration::Configuration;
use crate::policy::limits::{BATCH_EVENTS, NAME_BYTES};
use crate::policy::principal::Principal;
use crate::server::answer::Answer;
use crate::value::json::{self, Kind, Object};
use crate::value::percent;

/// The path of the batch endpoint; topic and event of a single message follow it.
pub const BROADCAST: &str = "/realtime/v1/api/broadcast";
/// The path that answers whoever asks.
pub const PING: &str = "/realtime/v1/api/ping";
/// Headers that a page of Supabase's may send.
pub const HEADERS: &str =
    "apikey, authorization, baggage, content-type, prefer, traceparent, tracestate, x-api-key, x-client-info";
/// What is wrong with a value that is missing, in Supabase's words.
const BLANK: &str = "can't be blank";
/// What is wrong with a value of another form.
const INVALID: &str = "is invalid";
/// What is wrong with a name that no frame could carry.
const LONG: &str = "should be at most 255 byte(s)";
/// What is wrong with a payload that is larger than a frame may be.
const LARGE: &str = "Payload size exceeds tenant limit";

/// Who publishes.
#[derive(Clone, Copy, Debug)]
pub enum Sender<'a> {
    /// The API worker, with the access token: it may publish anywhere.
    Service,
    /// A client: the channel policies decide.
    Client(&'a Principal),
}

/// A request that is turned away: why, and in which words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Our own word for it, for the log.
    pub code: Code,
    /// The answer.
    pub answer: Answer,
}

impl From<Code> for Rejected {
    fn from(code: Code) -> Rejected {
        let unauthorized = || json!({ "message": "Unauthorized" });
        let (status, body) = match code {
            Code::Unauthorized | Code::InvalidToken | Code::TokenExpired | Code::WrongOrganization => {
                (401, unauthorized())
            }
            Code::Forbidden | Code::PublicTopicsDisabled | Code::OriginNotAllowed => (403, unauthorized()),
            Code::UnsupportedMediaType => {
                (415, json!({ "error": "Unsupported Media Type. Use application/json or application/octet-stream" }))
            }
            Code::PayloadTooLarge => return unprocessable(json!({ "payload": [LARGE] })),
            Code::RateLimited => (429, json!({ "message": "Too many requests" })),
            code => (code.status(), json!({ "message": code.sentence() })),
        };
        let retry_after = (code == Code::RateLimited).then_some(1);
        Rejected { code, answer: Answer { retry_after, ..Answer::json(status, &body) } }
    }
}

impl From<Refusal> for Rejected {
    fn from(refusal: Refusal) -> Rejected {
        Rejected::from(refusal.code)
    }
}

/// Topic and event of a single message's path; `None` for any other path.
pub fn place(path: &str) -> Option<(String, String)> {
    let (topic, event) = path.strip_prefix(BROADCAST)?.strip_prefix('/')?.split_once("/events/")?;
    let part = |text: &str| if text.contains('/') { None } else { percent::decode(text) };
    Some((part(topic)?, part(event)?))
}

/// Reads a batch. What the sender may not publish is left out without a word, as Supabase does.
///
/// # Errors
/// When the body is not of the documented form; it names what is wrong with each message.
pub fn batch(configuration: &Configuration, sender: Sender<'_>, body: &str) -> Result<Vec<Publication>, Rejected> {
    let body = json::object(body).map_err(|_| Code::InvalidRequest)?;
    let messages = member(&body, "messages").ok_or_else(|| unprocessable(json!({ "messages": [BLANK] })))?;
    let messages = json::array(messages).map_err(|_| unprocessable(json!({ "messages": [INVALID] })))?;
    if messages.len() > BATCH_EVENTS {
        let body = json!({ "message": "Too many messages to broadcast, please reduce the batch size" });
        return Err(Rejected { code: Code::RateLimited, answer: Answer::json(429, &body) });
    }
    let (mut publications, mut wrong) = (Vec::new(), Vec::new());
    for message in messages {
        let read = Message::read(message.get(), sender.most(configuration));
        let published = read.map(|message| message.publication(configuration, sender));
        wrong.push(Value::Object(published.as_ref().err().cloned().unwrap_or_default()));
        match published {
            Ok(Err(Code::Forbidden | Code::PublicTopicsDisabled)) | Err(_) => {}
            Ok(published) => publications.push(published?),
        }
    }
    let is_right = wrong.iter().all(|errors| errors.as_object().is_some_and(Map::is_empty));
    if is_right { Ok(publications) } else { Err(unprocessable(json!({ "messages": wrong }))) }
}

/// Reads a single message, whose body is its payload.
///
/// # Errors
/// When a name or the payload is not of the documented form, or the sender may not publish it.
pub fn single(
    configuration: &Configuration,
    sender: Sender<'_>,
    (topic, event): (String, String),
    private: bool,
    body: Body,
) -> Result<Publication, Rejected> {
    let mut errors = Map::new();
    let mut note = |name: &str, wrong: Option<&str>| {
        wrong.map(|wrong| errors.insert(name.to_owned(), json!([wrong])));
    };
    note("topic", wrong_name(&topic));
    note("event", wrong_name(&event));
    let payload = body.payload(sender.most(configuration));
    note("payload", payload.as_ref().err().copied());
    match payload {
        Ok(payload) if errors.is_empty() => {
            let topic = Topic { private, name: Rc::from(topic) };
            Ok(Message { topic, event, payload }.publication(configuration, sender)?)
        }
        _ => Err(unprocessable(Value::Object(errors))),
    }
}

/// The request by which an organization's object is told of these (native.md, section 1).
pub fn request(organization: &str, publications: &[Publication]) -> String {
    let mut body = String::from("{\"organizationId\":");
    json::write_string(&mut body, organization);
    body.push_str(",\"messages\":[");
    for (index, publication) in publications.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        body.push_str(&publication.source);
    }
    body.push_str("]}");
    body
}

/// The answer to what an organization's object answered with this status.
///
/// # Errors
/// When it has not accepted the messages.
pub fn answered(status: u16) -> Result<Answer, Rejected> {
    match status {
        202 => Ok(accepted()),
        429 => Err(Rejected::from(Code::RateLimited)),
        503 => Err(Rejected::from(Code::Overloaded)),
        _ => Err(Rejected::from(Code::Internal)),
    }
}

/// The answer to messages that were accepted, or left out without a word.
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
    /// The payload; JSON that is no object is put into one.
    fn payload(self, most: usize) -> Result<Payload, &'static str> {
        match self {
            Body::Binary(bytes) if bytes.len() > most => Err(LARGE),
            Body::Binary(bytes) => Ok(Payload::Binary(Rc::from(bytes))),
            Body::Json(text) if text.trim().is_empty() => Err(BLANK),
            Body::Json(text) => {
                let value: &RawValue = serde_json::from_str(&text).map_err(|_| INVALID)?;
                match json::kind(value.get()) {
                    Kind::Object => object(value.get(), most),
                    _ if value.get().len() > most => Err(LARGE),
                    _ => Ok(Payload::Json(Rc::from(format!("{{\"_json\":{}}}", value.get())))),
                }
            }
        }
    }
}

impl Sender<'_> {
    /// Bytes that a payload of this sender may have: those of a client are no larger than its frames may be.
    fn most(self, configuration: &Configuration) -> usize {
        match self {
            Sender::Service => usize::MAX,
            Sender::Client(_) => usize::try_from(configuration.limits.frame_bytes).unwrap_or(usize::MAX),
        }
    }
}

/// A message of the documented form.
struct Message {
    topic: Topic,
    event: String,
    payload: Payload,
}

impl Message {
    /// Reads `{ topic, event, payload, private? }`; other keys are a newer client's. What is wrong stands by its key.
    fn read(text: &str, most: usize) -> Result<Message, Map<String, Value>> {
        let mut errors = Map::new();
        let Ok(message) = json::object(text) else {
            errors.insert("message".to_owned(), json!([INVALID]));
            return Err(errors);
        };
        let mut note = |name: &str, wrong: &str| {
            errors.insert(name.to_owned(), json!([wrong]));
        };
        let topic = name(member(&message, "topic")).map_err(|wrong| note("topic", wrong));
        let event = name(member(&message, "event")).map_err(|wrong| note("event", wrong));
        let payload = match member(&message, "payload") {
            None => Err(BLANK),
            Some(payload) => object(payload, most),
        };
        let payload = payload.map_err(|wrong| note("payload", wrong));
        let private = match member(&message, "private") {
            None | Some("false" | "\"false\"") => Ok(false),
            Some("true" | "\"true\"") => Ok(true),
            Some(_) => Err(INVALID),
        };
        let private = private.map_err(|wrong| note("private", wrong));
        match (topic, event, payload, private) {
            (Ok(topic), Ok(event), Ok(payload), Ok(private)) => {
                Ok(Message { topic: Topic { private, name: Rc::from(topic) }, event, payload })
            }
            _ => Err(errors),
        }
    }

    /// The publication, if the sender may publish it; what a client says is kept where the channel's policy says so.
    fn publication(self, configuration: &Configuration, sender: Sender<'_>) -> Result<Publication, Code> {
        let keep = match sender {
            Sender::Service => true,
            Sender::Client(principal) => {
                configuration.authorize(Action::Write, &self.topic, principal)?;
                configuration.channel(&self.topic, principal).is_some_and(|channel| channel.history)
            }
        };
        let publication = Publication::from_client(self.topic, &self.event, self.payload);
        let publication = publication.map_err(|refusal| refusal.code)?;
        Ok(if keep { publication } else { publication.without_history() })
    }
}

/// The JSON text of a member that is there and not `null`.
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

/// A payload that is an object, in which no key stands twice.
fn object(text: &str, most: usize) -> Result<Payload, &'static str> {
    match json::object(text) {
        Ok(_) if text.len() > most => Err(LARGE),
        Ok(_) => Ok(Payload::Json(Rc::from(text))),
        Err(_) => Err(INVALID),
    }
}

fn unprocessable(errors: Value) -> Rejected {
    Rejected { code: Code::InvalidRequest, answer: Answer::json(422, &json!({ "errors": errors })) }
}
