//! Decodes pushes to commands. As lenient as the protocol's own server: an unknown push has no effect.

use std::rc::Rc;

use super::PREFIX;
use super::join;
use super::lenient::Lenient;
use super::push::{MessageBody, Push, Pushed};
use crate::code::{Code, Reason, Refusal};
use crate::engine::command::{ChannelAct, ChannelFrame, Command};
use crate::engine::publication::Payload;
use crate::policy::channel::MAX_TOPIC;
use crate::policy::limits::NAME_BYTES;
use crate::value::json::{self, Kind};

/// The key that asks for a message to be retained.
const PERSIST: &str = "persist";
/// The default name of a message without one.
const UNNAMED: &str = "broadcast";
/// The maximum retention that a client may ask for, in seconds: three days.
const MAX_TTL: u64 = 259_200;

/// The command of a push.
pub(super) fn command(push: Push<'_>) -> Command {
    if push.topic == "phoenix" {
        return match push.event.as_str() {
            "heartbeat" => Command::Ping { id: push.reference },
            _ => frame(push, ChannelAct::Nothing),
        };
    }
    let act = act(&push);
    frame(push, act)
}

pub(super) fn frame(push: Push<'_>, act: ChannelAct) -> Command {
    // Clients of all versions give a join its own reference; a stale one on another frame is harmless.
    let reference =
        if matches!(act, ChannelAct::Join(_)) { push.join_ref.or(push.reference.clone()) } else { push.join_ref };
    let (name, by_reference, id) = (push.topic, push.is_binary, push.reference);
    Command::Channel(Box::new(ChannelFrame { name, reference, by_reference, id, act }))
}

fn act(push: &Push<'_>) -> ChannelAct {
    let (json, payload) = match push.payload {
        Pushed::Broadcast { body, metadata } => {
            let metadata = Lenient::read(metadata);
            let persist = metadata.get(PERSIST);
            let ttl = metadata.within(PERSIST).get("ttl");
            if !ttl.is_none_or(is_ttl) {
                return ChannelAct::Refused(Refusal::with(Code::InvalidRequest, Reason::InvalidRetention));
            }
            return publish(
                push.event.clone(),
                match body {
                    MessageBody::Json(json) => Payload::Json(Rc::from(json)),
                    MessageBody::Binary(bytes) => Payload::Binary(Rc::from(bytes)),
                },
                None,
                persist.is_some_and(|persist| persist != "false" && persist != "null"),
            );
        }
        Pushed::Json(json) => (json, Lenient::read(json)),
    };
    match (push.topic.strip_prefix(PREFIX), push.event.as_str()) {
        (Some(topic), "phx_join") if topic.len() + PREFIX.len() <= MAX_TOPIC => match join::read(topic, &payload) {
            Ok(join) => ChannelAct::Join(Box::new(join)),
            Err(refusal) => ChannelAct::Refused(refusal),
        },
        (Some(_), "phx_join") => ChannelAct::Refused(Refusal::of(Code::NameTooLong)),
        (None, "phx_join") => ChannelAct::Nothing,
        (_, "phx_leave") => ChannelAct::Leave,
        (_, "broadcast") => broadcast(json, &payload),
        (_, "presence") => presence(&payload),
        (_, "access_token") => payload.token("access_token").map_or(ChannelAct::Nothing, ChannelAct::Refresh),
        _ => ChannelAct::Nothing,
    }
}

/// A text message. It is passed on unchanged, even as an empty object, unless its name and payload suffice to rebuild
/// it.
fn broadcast(json: &str, said: &Lenient<'_>) -> ChannelAct {
    if !said.is_object() {
        return ChannelAct::Nothing;
    }
    let named = said.text("event");
    let payload = said.get("payload");
    let is_plain =
        named.is_some() && said.count() == 3 && payload.is_some() && said.text("type").as_deref() == Some("broadcast");
    let whole = (!is_plain).then(|| Rc::from(json));
    let event = named.unwrap_or_else(|| UNNAMED.to_owned());
    publish(event, Payload::Json(Rc::from(payload.unwrap_or("{}"))), whole, false)
}

/// Whether a message may be retained for this many seconds.
pub fn is_ttl(seconds: &str) -> bool {
    seconds.parse::<u64>().is_ok_and(|seconds| (1..=MAX_TTL).contains(&seconds))
}

fn publish(event: String, payload: Payload, whole: Option<Rc<str>>, persist: bool) -> ChannelAct {
    if event.len() > NAME_BYTES {
        return ChannelAct::Refused(Refusal::of(Code::NameTooLong));
    }
    ChannelAct::Publish { event, payload, whole, persist }
}

fn presence(payload: &Lenient<'_>) -> ChannelAct {
    let event = payload.text("event").unwrap_or_default().to_ascii_lowercase();
    let metadata = payload.get("payload").unwrap_or("{}");
    match event.as_str() {
        "untrack" => ChannelAct::Untrack,
        "track" if json::kind(metadata) == Kind::Object && json::object(metadata).is_ok() => {
            ChannelAct::Track { metadata: Rc::from(metadata) }
        }
        "track" => {
            let refusal = Refusal::because(Code::InvalidFrame, "Presence track payload must be a map");
            ChannelAct::Refused(refusal)
        }
        _ => ChannelAct::Nothing,
    }
}
