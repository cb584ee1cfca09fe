//! The Phoenix dialect's adapter, in both versions and with both forms of messages. A subscription is a channel: one to
//! a topic has its name, one to tables has its own name.

use std::collections::BTreeMap;

use realtime_worker::code::Code;
use realtime_worker::dialect::{Frame, phoenix};
use serde_json::{Value, json};

use super::adapter::{
    Adapter, Ask, Bytes, Dialect, Observation, PRESENCE, Payload, Recovery, Subscription, Table, Target, Topic, text_of,
};

pub const ONE: Dialect = Dialect {
    name: "phoenix 1",
    dialect: phoenix::V1,
    golden: "phoenix",
    key: Some("anon"),
    bytes: Bytes::None,
    recovery: Recovery::WithConnection,
    narrows: true,
    leaves_out: &["the_lobby_is_a_place_without_a_topic"],
    adapter: |user| adapter(user, Framing::One),
};

pub const TWO: Dialect = Dialect {
    name: "phoenix 2",
    dialect: phoenix::V2,
    bytes: Bytes::Heard,
    adapter: |user| adapter(user, Framing::Two),
    ..ONE
};

pub const TWO_BINARY: Dialect = Dialect {
    name: "phoenix 2, messages in binary frames",
    bytes: Bytes::HeardAndSpoken,
    adapter: |user| adapter(user, Framing::TwoBinary),
    ..TWO
};

const PREFIX: &str = "realtime:";
const USER_PUSH: u8 = 3;
const USER_BROADCAST: u8 = 4;

#[derive(Clone, Copy, PartialEq)]
enum Framing {
    One,
    Two,
    TwoBinary,
}

/// A client that sends its token with every channel, as supabase-js does.
struct Phoenix {
    user: String,
    framing: Framing,
    token: String,
    next: u64,
    channels: Vec<Channel>,
    /// Requests that wait for an answer, by reference.
    asked: BTreeMap<String, Asked>,
}

struct Channel {
    subscription: Subscription,
    name: String,
    reference: String,
    /// Whether it was told that it is live.
    live: bool,
    /// Why it is about to be closed.
    ending: Option<Code>,
}

enum Asked {
    Join,
    Leave,
    /// Acknowledged or refused under this name.
    Other(String),
}

/// A frame in neither of the framings.
struct Push {
    reference: Option<String>,
    channel: String,
    event: String,
    payload: Value,
}

fn adapter(user: &str, framing: Framing) -> Box<dyn Adapter> {
    let (token, channels, asked) = (String::new(), Vec::new(), BTreeMap::new());
    Box::new(Phoenix { user: user.to_owned(), framing, token, next: 1, channels, asked })
}

impl Adapter for Phoenix {
    fn write(&mut self, ask: &Ask<'_>) -> Vec<Frame> {
        match *ask {
            Ask::Enter { token, since } => {
                self.token = token.to_owned();
                let before = std::mem::take(&mut self.channels).into_iter().map(|channel| channel.subscription);
                let again = |subscription: Subscription| {
                    let since =
                        since.filter(|_| matches!(subscription.target, Target::Topic { topic, .. } if topic.private));
                    self.join(&Subscription { since, ..subscription })
                };
                before.map(again).collect()
            }
            Ask::Renew { token } => {
                self.token = token.to_owned();
                let payload = json!({ "access_token": token });
                (0..self.channels.len()).map(|place| self.push(place, None, "access_token", &payload)).collect()
            }
            Ask::Subscribe(subscription) => vec![self.join(subscription)],
            Ask::Unsubscribe(name) => {
                let place = self.channels.iter().position(|channel| channel.subscription.name == name).unwrap();
                vec![self.push(place, Some(Asked::Leave), "phx_leave", &json!({}))]
            }
            Ask::Say { topic, event, payload } => vec![self.say(topic, event, payload)],
            Ask::Appear { topic, metadata } | Ask::Change { topic, metadata } => {
                vec![self.presence(topic, json!({ "type": "presence", "event": "track", "payload": metadata }))]
            }
            Ask::Disappear { topic } => vec![self.presence(topic, json!({ "type": "presence", "event": "untrack" }))],
            Ask::Ping => {
                let reference = self.reference();
                vec![self.frame([None, Some(&reference)], "phoenix", "heartbeat", &json!({}))]
            }
        }
    }

    fn read(&mut self, frame: &Frame) -> Vec<Observation> {
        let push = match frame {
            Frame::Binary(bytes) => return vec![broadcast_of_bytes(bytes)],
            Frame::Text(text) => self.take_apart(&serde_json::from_str(text).unwrap()),
        };
        if push.channel == "phoenix" {
            assert_eq!(push.payload, json!({ "status": "ok", "response": {} }));
            return vec![Observation::Alive];
        }
        let topic = push.channel.strip_prefix(PREFIX).unwrap().to_owned();
        let is_own = self.channels.iter().any(|channel| channel.name == push.channel);
        assert!(is_own || push.event.starts_with("phx_"), "{} is told of {}", self.user, push.channel);
        match push.event.as_str() {
            "phx_reply" => self.answered(&push).into_iter().collect(),
            "system" => self.system(&push).into_iter().collect(),
            "phx_close" => vec![self.closed(&push)],
            "postgres_changes" => vec![change(&push.payload["data"])],
            "broadcast" => {
                let payload = Payload::Json(push.payload["payload"].clone());
                vec![Observation::Message { topic, event: text_of(&push.payload, "event"), payload }]
            }
            "presence_state" => vec![Observation::Present(topic, members(&push.payload))],
            "presence_diff" => vec![difference(topic, &push.payload)],
            event => panic!("an unknown frame: {event}"),
        }
    }
}

impl Phoenix {
    fn join(&mut self, subscription: &Subscription) -> Frame {
        let (name, reference) = (channel_of(subscription), self.reference());
        let (mut config, mut bindings) = (json!({ "presence": { "enabled": false } }), Vec::new());
        match &subscription.target {
            Target::Tables(tables) => bindings.extend(tables.iter().map(binding)),
            Target::Topic { topic, watch, echo, acknowledge } => {
                let replay = subscription.since.map(|since| json!({ "since": since }));
                config["private"] = json!(topic.private);
                config["presence"] = json!({ "enabled": watch, "key": self.user });
                config["broadcast"] = json!({ "self": echo, "ack": acknowledge });
                replay.into_iter().for_each(|replay| config["broadcast"]["replay"] = replay);
            }
        }
        config["postgres_changes"] = json!(bindings);
        let payload = json!({ "config": config, "access_token": self.token });
        let frame = self.frame([Some(&reference); 2], &name, "phx_join", &payload);
        self.asked.insert(reference.clone(), Asked::Join);
        self.channels.push(Channel { subscription: subscription.clone(), name, reference, live: false, ending: None });
        frame
    }

    fn say(&mut self, topic: Topic, event: &str, payload: &Payload) -> Frame {
        let name = format!("{PREFIX}{}", topic.name);
        let (join, reference) = (self.join_of(&name), self.reference());
        self.asked.insert(reference.clone(), Asked::Other(event.to_owned()));
        match (self.framing, payload) {
            (Framing::TwoBinary, payload) => {
                Frame::Binary(user_push([join.as_deref().unwrap_or(""), &reference, &name, event], payload))
            }
            (_, Payload::Json(json)) => {
                let payload = json!({ "type": "broadcast", "event": event, "payload": json });
                self.frame([join.as_deref(), Some(&reference)], &name, "broadcast", &payload)
            }
            (_, Payload::Bytes(_)) => panic!("text frames carry no bytes"),
        }
    }

    fn presence(&mut self, topic: Option<Topic>, payload: Value) -> Frame {
        let name = format!("{PREFIX}{}", topic.unwrap().name);
        let (join, reference) = (self.join_of(&name), self.reference());
        self.asked.insert(reference.clone(), Asked::Other(PRESENCE.to_owned()));
        self.frame([join.as_deref(), Some(&reference)], &name, "presence", &payload)
    }

    fn push(&mut self, place: usize, asked: Option<Asked>, event: &str, payload: &Value) -> Frame {
        let reference = self.reference();
        asked.into_iter().for_each(|asked| drop(self.asked.insert(reference.clone(), asked)));
        let channel = &self.channels[place];
        self.frame([Some(&channel.reference), Some(&reference)], &channel.name, event, payload)
    }

    fn reference(&mut self) -> String {
        let reference = self.next.to_string();
        self.next += 1;
        reference
    }

    fn join_of(&self, name: &str) -> Option<String> {
        self.channels.iter().rfind(|channel| channel.name == name).map(|channel| channel.reference.clone())
    }

    fn frame(&self, [join, reference]: [Option<&str>; 2], channel: &str, event: &str, payload: &Value) -> Frame {
        let frame = match self.framing {
            Framing::One => {
                json!({ "topic": channel, "event": event, "payload": payload, "ref": reference, "join_ref": join })
            }
            Framing::Two | Framing::TwoBinary => json!([join, reference, channel, event, payload]),
        };
        Frame::Text(frame.to_string())
    }

    fn take_apart(&self, frame: &Value) -> Push {
        let [reference, channel, event, payload] = match self.framing {
            Framing::One => ["ref", "topic", "event", "payload"].map(|name| frame[name].clone()),
            Framing::Two | Framing::TwoBinary => {
                let is_own = |join: &str| self.channels.iter().any(|channel| channel.reference == join);
                assert!(frame[0].is_null() || frame[0].as_str().is_some_and(is_own), "a join of nobody: {frame}");
                [1, 2, 3, 4].map(|place| frame[place].clone())
            }
        };
        let text = |value: Value| value.as_str().unwrap().to_owned();
        let reference = (!reference.is_null()).then(|| text(reference));
        Push { reference, channel: text(channel), event: text(event), payload }
    }

    fn answered(&mut self, push: &Push) -> Option<Observation> {
        let reference = push.reference.as_ref().unwrap();
        let asked = self.asked.remove(reference).expect("an answer to what was asked, and one only");
        let (status, response) = (text_of(&push.payload, "status"), &push.payload["response"]);
        let refusal = (status != "ok").then(|| code_of(response));
        match (asked, refusal) {
            (Asked::Join, None) => self.joined(reference, response),
            (Asked::Join, Some(code)) => {
                let place = self.channels.iter().position(|channel| channel.reference == *reference).unwrap();
                Some(Observation::Refused(self.channels.remove(place).subscription.name.to_owned(), code))
            }
            (Asked::Leave, None) => None,
            (Asked::Leave, Some(_)) => panic!("nobody may be kept: {response}"),
            (Asked::Other(what), None) => Some(Observation::Accepted(what)),
            (Asked::Other(what), Some(code)) => Some(Observation::Refused(what, code)),
        }
    }

    /// A separate frame reports that changes are live.
    fn joined(&mut self, reference: &str, response: &Value) -> Option<Observation> {
        let channel = self.channels.iter_mut().find(|channel| channel.reference == reference).unwrap();
        let numbers = response["postgres_changes"].as_array().unwrap().iter().map(|binding| binding["id"].clone());
        let count = match &channel.subscription.target {
            Target::Tables(tables) => tables.len(),
            Target::Topic { .. } => 0,
        };
        assert!(numbers.eq((1..=count).map(Value::from)), "each binding is echoed with its number: {response}");
        channel.live = count == 0;
        channel.live.then(|| Observation::Subscribed(channel.subscription.name.to_owned()))
    }

    fn system(&mut self, push: &Push) -> Option<Observation> {
        let channel = self.channels.iter_mut().find(|channel| channel.name == push.channel).unwrap();
        let (name, message) = (channel.subscription.name.to_owned(), text_of(&push.payload, "message"));
        match (text_of(&push.payload, "extension").as_str(), text_of(&push.payload, "status").as_str()) {
            ("system", "error") => {
                channel.ending = Some(code_of_reason(&message));
                None
            }
            ("postgres_changes", "ok") if !std::mem::replace(&mut channel.live, true) => {
                Some(Observation::Subscribed(name))
            }
            ("postgres_changes", "ok") => Some(Observation::Resumed(name)),
            ("postgres_changes", "error") if channel.live => Some(Observation::Rests(name, code_of_reason(&message))),
            ("postgres_changes", "error") => Some(Observation::Refused(name, code_of_reason(&message))),
            _ => panic!("an unknown system message: {}", push.payload),
        }
    }

    /// Reported with the reference of its join, in both versions.
    fn closed(&mut self, push: &Push) -> Observation {
        let has_it = |channel: &Channel| Some(&channel.reference) == push.reference.as_ref();
        let channel = self.channels.remove(self.channels.iter().position(has_it).unwrap());
        let name = channel.subscription.name.to_owned();
        match channel.ending {
            Some(code) => Observation::Ended(name, code),
            None => Observation::Unsubscribed(name),
        }
    }
}

fn channel_of(subscription: &Subscription) -> String {
    match &subscription.target {
        Target::Tables(_) => format!("{PREFIX}tables:{}", subscription.name),
        Target::Topic { topic, .. } => format!("{PREFIX}{}", topic.name),
    }
}

fn binding(table: &Table) -> Value {
    let mut binding = json!({ "event": table.event, "schema": table.schema, "table": table.table });
    if let Some(filter) = table.filter {
        binding["filter"] = json!(filter);
    }
    binding
}

fn user_push(texts: [&str; 4], payload: &Payload) -> Vec<u8> {
    let (encoding, body) = match payload {
        Payload::Json(json) => (1, json.to_string().into_bytes()),
        Payload::Bytes(bytes) => (0, bytes.clone()),
    };
    let lengths = texts.map(|text| u8::try_from(text.len()).unwrap());
    let header = [&[USER_PUSH][..], &lengths, &[0, encoding]].concat();
    [&header, texts.concat().as_bytes(), &body].concat()
}

fn broadcast_of_bytes(frame: &[u8]) -> Observation {
    let [kind, channel, event, metadata, encoding, rest @ ..] = frame else { panic!("a frame without a header") };
    assert_eq!((*kind, *encoding), (USER_BROADCAST, 0));
    let (channel, rest) = rest.split_at(usize::from(*channel));
    let (event, rest) = rest.split_at(usize::from(*event));
    let payload = Payload::Bytes(rest[usize::from(*metadata)..].to_vec());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Observation::Message { topic: text(channel).replacen(PREFIX, "", 1), event: text(event), payload }
}

fn change(data: &Value) -> Observation {
    let row = |name: &str| data.get(name).cloned().unwrap_or_default();
    // An unknown previous row is written as an empty row.
    let old = row("old_record");
    Observation::Change {
        table: format!("{}.{}", text_of(data, "schema"), text_of(data, "table")),
        operation: text_of(data, "type"),
        new: row("record"),
        old: if old == json!({}) { Value::Null } else { old },
    }
}

/// All members of a state or of one side of a difference, without the protocol's own references.
fn members(state: &Value) -> Vec<(String, Value)> {
    let metas = |(key, entry): (&String, &Value)| {
        let metas = entry["metas"].as_array().unwrap().clone();
        metas.into_iter().map(|meta| (key.clone(), meta)).collect::<Vec<_>>()
    };
    let mut members: Vec<_> = state.as_object().unwrap().iter().flat_map(metas).collect();
    for (_, meta) in &mut members {
        let meta = meta.as_object_mut().unwrap();
        assert!(meta.remove("phx_ref").is_some_and(|reference| reference.is_string()));
        meta.remove("phx_ref_prev");
    }
    members
}

fn difference(topic: String, payload: &Value) -> Observation {
    match (members(&payload["joins"]).as_slice(), members(&payload["leaves"]).as_slice()) {
        ([(who, said)], []) => Observation::Joined(topic, who.clone(), said.clone()),
        ([(who, said)], [(before, _)]) if who == before => Observation::Updated(topic, who.clone(), said.clone()),
        ([], [(who, _)]) => Observation::Left(topic, who.clone()),
        _ => panic!("a difference of several: {payload}"),
    }
}

fn code_of(response: &Value) -> Code {
    code_of_reason(response["reason"].as_str().or(response["error"].as_str()).unwrap())
}

/// The meaning of the protocol's reasons; otherwise they are the sentence of a code.
fn code_of_reason(reason: &str) -> Code {
    let beginnings = [
        ("Unauthorized: ", Code::Forbidden),
        ("unauthorized", Code::Forbidden),
        ("You no longer have permission", Code::Forbidden),
        ("You do not have permissions", Code::Forbidden),
        ("unmatched topic", Code::UnknownSubscription),
        ("payload_size_exceeded", Code::FrameTooLarge),
        ("Error parsing `filter` params: ", Code::InvalidFilter),
        ("UnableToReplayMessages: ", Code::InvalidFrame),
        ("MalformedJWT: ", Code::InvalidToken),
        ("The token provided is not a valid JWT", Code::InvalidToken),
        ("InvalidJWTToken: ", Code::TokenExpired),
        ("ChannelRateLimitReached: ", Code::TopicLimit),
        ("JwtSignatureError: ", Code::WrongOrganization),
        ("Token has expired", Code::TokenExpired),
    ];
    let known = beginnings.iter().find(|(beginning, _)| reason.starts_with(beginning)).map(|(_, code)| *code);
    let sentence = || Code::ALL.iter().find(|code| code.sentence() == reason).copied();
    known.or_else(sentence).unwrap_or_else(|| panic!("unknown words: {reason}"))
}
