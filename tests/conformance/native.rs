//! The native dialect's adapter.

use base64ct::{Base64, Encoding};
use realtime_worker::code::Code;
use realtime_worker::dialect::{Frame, native};
use serde_json::{Value, json};

use super::adapter::{
    Adapter, Ask, Bytes, Dialect, LOBBY, Observation, PRESENCE, Payload, Recovery, Subscription, TOKEN, Table, Target,
    Topic, code, text_of,
};

pub const NATIVE: Dialect = Dialect {
    name: "native",
    dialect: native::ID,
    golden: "native",
    key: None,
    bytes: Bytes::HeardAndSpoken,
    recovery: Recovery::WithConnection,
    narrows: true,
    leaves_out: &[],
    adapter: |_| Box::new(Native::default()),
};

/// A client that requests offsets, like the one in docs/protocol-native.md.
#[derive(Default)]
struct Native {
    subscriptions: Vec<Standing>,
    /// The request that an error without an id concerns: there is one at a time.
    asked: String,
    entered: bool,
    epoch: String,
    /// The position of the stream when it connected.
    start: u64,
    offset: u64,
}

/// A subscription and how many of its parts were confirmed: in this dialect, each table needs a subscription.
struct Standing {
    subscription: Subscription,
    confirmed: usize,
}

impl Standing {
    fn stands(&self) -> bool {
        self.confirmed == parts(&self.subscription).len()
    }
}

impl Adapter for Native {
    fn write(&mut self, ask: &Ask<'_>) -> Vec<Frame> {
        let frames = match *ask {
            Ask::Enter { token, since } => vec![self.enter(token, since.is_some())],
            Ask::Renew { token } => {
                self.asked = TOKEN.to_owned();
                vec![json!({ "type": "auth", "token": token })]
            }
            Ask::Subscribe(subscription) => self.subscribe(subscription),
            Ask::Unsubscribe(name) => {
                let standing = self.subscriptions.iter().find(|standing| standing.subscription.name == name).unwrap();
                let ids = (0..parts(&standing.subscription).len()).map(|part| id(name, part));
                ids.map(|id| json!({ "type": "unsubscribe", "id": id })).collect()
            }
            Ask::Say { topic, event, payload } => vec![self.say(topic, event, payload)],
            Ask::Appear { topic, metadata } => vec![self.presence("presence_track", topic, Some(metadata))],
            Ask::Change { topic, metadata } => vec![self.presence("presence_update", topic, Some(metadata))],
            Ask::Disappear { topic } => vec![self.presence("presence_untrack", topic, None)],
            Ask::Ping => vec![json!({ "type": "ping" })],
        };
        frames.into_iter().map(|frame| Frame::Text(frame.to_string())).collect()
    }

    fn read(&mut self, frame: &Frame) -> Vec<Observation> {
        let Frame::Text(text) = frame else { panic!("a binary frame") };
        let frame: Value = serde_json::from_str(text).unwrap();
        match text_of(&frame, "type").as_str() {
            "auth_success" => self.welcome(&frame),
            "auth_error" => vec![Observation::Refused(TOKEN.to_owned(), code_of(&frame))],
            "auth_expired" => vec![Observation::Expired],
            "subscribed" => self.confirm(&text_of(&frame, "id")),
            "unsubscribed" => self.forget(&text_of(&frame, "id")),
            "ack" => vec![Observation::Accepted(text_of(&frame, "id"))],
            "error" => vec![self.refusal(&frame)],
            "pong" => vec![Observation::Alive],
            "postgres_changes" | "broadcast" => vec![self.event(&frame)],
            kind => vec![presence(kind, &frame)],
        }
    }
}

impl Native {
    fn enter(&mut self, token: &str, again: bool) -> Value {
        self.entered = false;
        self.asked = TOKEN.to_owned();
        if !again {
            return json!({ "type": "auth", "token": token, "recover": true });
        }
        let position = json!({ "epoch": self.epoch, "offset": self.offset });
        self.subscriptions.iter_mut().for_each(|standing| standing.confirmed = 0);
        let all = self.subscriptions.iter().flat_map(|standing| parts(&standing.subscription));
        json!({ "type": "auth", "token": token, "recover": position, "subscriptions": all.collect::<Vec<_>>() })
    }

    fn subscribe(&mut self, subscription: &Subscription) -> Vec<Value> {
        let mut frames = parts(subscription);
        for frame in &mut frames {
            frame["type"] = json!("subscribe");
            if subscription.since.is_some() {
                frame["recover"] = json!({ "epoch": self.epoch, "offset": self.start });
            }
        }
        self.subscriptions.push(Standing { subscription: subscription.clone(), confirmed: 0 });
        frames
    }

    fn say(&mut self, topic: Topic, event: &str, payload: &Payload) -> Value {
        self.asked = event.to_owned();
        let settings = self.subscriptions.iter().find_map(|standing| match standing.subscription.target {
            Target::Topic { topic: at, echo, acknowledge, .. } if at == topic => Some((echo, acknowledge)),
            _ => None,
        });
        let (echo, acknowledge) = settings.unwrap_or((true, true));
        let mut frame = json!({ "type": "broadcast", "topic": topic.name, "private": topic.private, "event": event,
            "echo": echo });
        match payload {
            Payload::Json(json) => frame["payload"] = json.clone(),
            Payload::Bytes(bytes) => {
                (frame["payload"], frame["encoding"]) = (json!(Base64::encode_string(bytes)), json!("base64"));
            }
        }
        if acknowledge {
            frame["id"] = json!(event);
        }
        frame
    }

    fn presence(&mut self, kind: &str, topic: Option<Topic>, metadata: Option<&Value>) -> Value {
        self.asked = PRESENCE.to_owned();
        let mut frame = json!({ "type": kind });
        if let Some(topic) = topic {
            (frame["topic"], frame["private"]) = (json!(topic.name), json!(topic.private));
        }
        if let Some(metadata) = metadata {
            frame["metadata"] = metadata.clone();
        }
        frame
    }

    fn welcome(&mut self, frame: &Value) -> Vec<Observation> {
        if std::mem::replace(&mut self.entered, true) {
            return vec![Observation::Renewed];
        }
        if frame["recovered"] != json!(true) {
            self.epoch = text_of(frame, "epoch");
            self.offset = frame["offset"].as_u64().unwrap();
            self.start = self.offset;
        }
        if frame["recovered"] == json!(false) { vec![Observation::Gap] } else { Vec::new() }
    }

    fn confirm(&mut self, id: &str) -> Vec<Observation> {
        let name = name_of(id);
        let mut of_name = self.subscriptions.iter_mut().filter(|standing| standing.subscription.name == name);
        let standing = of_name.find(|standing| !standing.stands()).unwrap();
        standing.confirmed += 1;
        if standing.stands() { vec![Observation::Subscribed(name.to_owned())] } else { Vec::new() }
    }

    fn forget(&mut self, id: &str) -> Vec<Observation> {
        let name = name_of(id);
        let place = self.subscriptions.iter().position(|standing| standing.subscription.name == name).unwrap();
        self.subscriptions[place].confirmed -= 1;
        if self.subscriptions[place].confirmed > 0 {
            return Vec::new();
        }
        self.subscriptions.remove(place);
        vec![Observation::Unsubscribed(name.to_owned())]
    }

    /// An error with the id of an active subscription means that it has ended.
    fn refusal(&mut self, frame: &Value) -> Observation {
        let code = code_of(frame);
        let Some(id) = frame["id"].as_str() else { return Observation::Refused(self.asked.clone(), code) };
        let name = name_of(id);
        let of_name = |standing: &Standing| standing.subscription.name == name;
        let asked = self.subscriptions.iter().position(|standing| of_name(standing) && !standing.stands());
        match asked.or_else(|| self.subscriptions.iter().position(of_name)) {
            Some(place) if self.subscriptions.remove(place).stands() => Observation::Ended(name.to_owned(), code),
            _ => Observation::Refused(name.to_owned(), code),
        }
    }

    fn event(&mut self, frame: &Value) -> Observation {
        let offset = frame["offset"].as_u64().unwrap();
        self.offset = self.offset.max(offset);
        if let Some(topic) = frame["topic"].as_str() {
            let is_to = |target: &Target| matches!(target, Target::Topic { topic: at, .. } if at.name == topic);
            let is_heard = self.subscriptions.iter().any(|standing| is_to(&standing.subscription.target));
            assert!(is_heard, "nobody has subscribed to {topic}");
        }
        if frame["type"] == json!("broadcast") {
            let payload = match frame.get("encoding") {
                None => Payload::Json(frame["payload"].clone()),
                Some(encoding) => {
                    assert_eq!(encoding, "base64");
                    Payload::Bytes(Base64::decode_vec(&text_of(frame, "payload")).unwrap())
                }
            };
            return Observation::Message { topic: topic_of(frame), event: text_of(frame, "event"), payload };
        }
        Observation::Change {
            table: format!("{}.{}", text_of(frame, "schema"), text_of(frame, "table")),
            operation: text_of(frame, "eventType"),
            new: frame["new"].clone(),
            old: frame["old"].clone(),
        }
    }
}

fn presence(kind: &str, frame: &Value) -> Observation {
    let who = |member: &Value, name: &str| text_of(member, name);
    let topic = topic_of(frame);
    match kind {
        "presence_state" => {
            let one = |member: &Value| (who(member, "user_id"), member["metadata"].clone());
            Observation::Present(topic, frame["clients"].as_array().unwrap().iter().map(one).collect())
        }
        "presence_join" => Observation::Joined(topic, who(frame, "user_id"), frame["metadata"].clone()),
        "presence_update" => Observation::Updated(topic, who(frame, "client_id"), frame["metadata"].clone()),
        "presence_leave" => Observation::Left(topic, who(frame, "user_id")),
        _ => panic!("an unknown frame: {frame}"),
    }
}

/// The frames that make up a subscription, without their type.
fn parts(subscription: &Subscription) -> Vec<Value> {
    let name = subscription.name;
    match &subscription.target {
        Target::Tables(tables) => {
            tables.iter().enumerate().map(|(part, table)| part_of(&id(name, part), table)).collect()
        }
        Target::Topic { topic, watch, .. } => {
            vec![json!({ "id": id(name, 0), "topic": topic.name, "private": topic.private, "presence": watch })]
        }
    }
}

fn part_of(id: &str, table: &Table) -> Value {
    let mut part = json!({ "id": id, "schema": table.schema, "table": table.table, "event": table.event });
    if let Some(filter) = table.filter {
        part["filter"] = json!(filter);
    }
    part
}

fn id(name: &str, part: usize) -> String {
    format!("{name}/{part}")
}

fn name_of(id: &str) -> &str {
    id.split_once('/').map_or(id, |(name, _)| name)
}

fn topic_of(frame: &Value) -> String {
    frame.get("topic").map_or(LOBBY, |topic| topic.as_str().unwrap()).to_owned()
}

#[track_caller]
fn code_of(frame: &Value) -> Code {
    code(frame["code"].as_str().unwrap())
}
