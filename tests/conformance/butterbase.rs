//! The Butterbase dialect's adapter: a client that requests positions, and numbers its subscriptions to a table.

use std::collections::BTreeSet;

use realtime_worker::code::Code;
use realtime_worker::dialect::Frame;
use realtime_worker::dialect::butterbase::{self, words};
use serde_json::{Value, json};

use super::adapter::{
    Adapter, Ask, Bytes, Dialect, LOBBY, Observation, PRESENCE, Recovery, Subscription, TOKEN, Table, Target, Topic,
    code, text_of,
};

pub const BUTTERBASE: Dialect = Dialect {
    name: "butterbase",
    dialect: butterbase::ID,
    golden: "butterbase",
    key: None,
    bytes: Bytes::None,
    recovery: Recovery::WithEachSubscription,
    narrows: false,
    leaves_out: LEAVES_OUT,
    adapter: |_| Box::new(Butterbase::default()),
};

/// It has no messages, and filters only test equality.
const LEAVES_OUT: &[&str] = &[
    "a_subscription_narrows_by_schema_table_event_and_filter",
    "several_that_match_bring_a_change_once",
    "a_filter_of_another_grammar_is_refused",
    "what_the_api_says_is_for_the_subscribers",
    "what_a_member_says_is_for_the_others",
    "echo_and_acknowledgement_are_asked_for",
    "bytes_are_for_those_who_have_frames_for_them",
    "messages_are_masked_and_have_an_audience",
    "writing_takes_a_right_of_its_own",
    "a_message_that_is_too_large_is_refused",
    "who_is_not_subscribed_may_speak_or_is_told_that_it_is_not",
    "who_has_unsubscribed_hears_nothing_until_it_subscribes_again",
    "whether_anyone_is_there_is_answered",
    "private_and_public_topics_of_one_name_never_meet",
    "a_fresh_token_gives_rights_at_once",
    "what_was_said_before_a_subscription_can_be_asked_for",
    "more_than_may_be_told_again",
];

#[derive(Default)]
struct Butterbase {
    subscriptions: Vec<Standing>,
    /// The request that an error without a subscription concerns: there is one at a time.
    asked: String,
    entered: bool,
    epoch: String,
    /// The position of the stream when it connected.
    start: u64,
    offset: u64,
    /// The last number given to a subscription.
    numbers: u64,
    /// The last error, which is more specific than the close that follows it.
    error: Option<Code>,
    /// Rooms whose next roster was not requested.
    unasked: BTreeSet<String>,
}

/// A subscription with the frames of its parts, and how many of them were confirmed.
struct Standing {
    subscription: Subscription,
    parts: Vec<Value>,
    confirmed: usize,
    /// Whether one of this name existed before.
    replaces: bool,
}

impl Adapter for Butterbase {
    fn write(&mut self, ask: &Ask<'_>) -> Vec<Frame> {
        let frames = match *ask {
            Ask::Enter { token, since } => self.enter(token, since.is_some()),
            Ask::Renew { token } => {
                self.asked = TOKEN.to_owned();
                vec![json!({ "type": "auth", "token": token, "recover": true })]
            }
            Ask::Subscribe(subscription) => self.subscribe(subscription),
            Ask::Unsubscribe(name) => {
                let standing = self.subscriptions.iter().find(|standing| standing.subscription.name == name).unwrap();
                standing.parts.iter().map(|part| typed(part, "unsubscribe")).collect()
            }
            Ask::Appear { topic, metadata } => vec![self.presence("presence_track", topic, Some(metadata))],
            Ask::Change { topic, metadata } => vec![self.presence("presence_update", topic, Some(metadata))],
            Ask::Disappear { topic } => vec![self.presence("presence_untrack", topic, None)],
            Ask::Say { .. } | Ask::Ping => panic!("there is no frame for this"),
        };
        frames.into_iter().map(|frame| Frame::Text(frame.to_string())).collect()
    }

    fn read(&mut self, frame: &Frame) -> Vec<Observation> {
        let Frame::Text(text) = frame else { panic!("a binary frame") };
        let frame: Value = serde_json::from_str(text).unwrap();
        match text_of(&frame, "type").as_str() {
            "connected" => self.welcome(&frame),
            // Only shows that the server is alive, or what is known about the table.
            "heartbeat" | "warning" => Vec::new(),
            "subscribed" => self.confirm(&frame),
            "unsubscribed" => self.forget(&frame),
            "error" => self.refusal(&frame).into_iter().collect(),
            "change" => self.change(&frame),
            "presence_state" if self.unasked.remove(&topic_of(&frame)) => Vec::new(),
            kind => vec![presence(kind, &frame)],
        }
    }

    fn closed(&self, number: u16, reason: &str) -> Code {
        let code = self.error.expect("an error says why before the close");
        assert_eq!(words::closing(code), (number, reason), "the words of the protocol");
        code
    }
}

impl Butterbase {
    fn enter(&mut self, token: &str, again: bool) -> Vec<Value> {
        (self.entered, self.asked) = (false, TOKEN.to_owned());
        let mut frames = vec![json!({ "type": "auth", "token": token, "recover": true })];
        if again {
            let recover = json!({ "epoch": self.epoch, "offset": self.offset });
            for standing in &mut self.subscriptions {
                if let Target::Topic { topic, watch: false, .. } = standing.subscription.target {
                    self.unasked.insert(topic.name.to_owned());
                }
                standing.confirmed = 0;
                frames.extend(standing.parts.iter().map(|part| asking(part, Some(&recover))));
            }
        }
        frames
    }

    fn subscribe(&mut self, subscription: &Subscription) -> Vec<Value> {
        let parts: Vec<Value> = match &subscription.target {
            Target::Tables(tables) => tables.iter().map(|table| self.part(table)).collect(),
            Target::Topic { topic, .. } => vec![json!({ "room": topic.name })],
        };
        if let Target::Topic { topic, watch: false, .. } = subscription.target {
            self.unasked.insert(topic.name.to_owned());
        }
        let recover = subscription.since.map(|_| json!({ "epoch": self.epoch, "offset": self.start }));
        let frames = parts.iter().map(|part| asking(part, recover.as_ref())).collect();
        let before = self.subscriptions.iter().position(|standing| standing.subscription.name == subscription.name);
        let replaces = before.map(|place| self.subscriptions.remove(place)).is_some();
        self.subscriptions.push(Standing { subscription: subscription.clone(), parts, confirmed: 0, replaces });
        frames
    }

    fn part(&mut self, table: &Table) -> Value {
        self.numbers += 1;
        let mut part = json!({ "table": table.table, "id": self.numbers });
        if let Some(filter) = table.filter {
            let (column, value) = filter.split_once("=eq.").unwrap();
            let value = serde_json::from_str(value).unwrap_or(json!(value));
            part["filter"] = json!({ column: value });
        }
        part
    }

    fn presence(&mut self, kind: &str, topic: Option<Topic>, metadata: Option<&Value>) -> Value {
        self.asked = PRESENCE.to_owned();
        let mut frame = json!({ "type": kind });
        if let Some(topic) = topic {
            frame["room"] = json!(topic.name);
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
        if self.epoch.is_empty() {
            self.epoch = text_of(frame, "epoch");
            self.offset = frame["offset"].as_u64().unwrap();
            self.start = self.offset;
        }
        Vec::new()
    }

    /// The index of the subscription that a frame names a part of.
    fn place(&self, frame: &Value) -> usize {
        let is_it = |part: &Value| ["table", "id", "room"].into_iter().all(|name| part.get(name) == frame.get(name));
        self.subscriptions.iter().position(|standing| standing.parts.iter().any(is_it)).unwrap()
    }

    fn confirm(&mut self, frame: &Value) -> Vec<Observation> {
        let place = self.place(frame);
        let standing = &mut self.subscriptions[place];
        standing.confirmed += 1;
        let stands = standing.confirmed == standing.parts.len();
        let name = || standing.subscription.name.to_owned();
        let gap = (frame["recovered"] == json!(false)).then_some(Observation::Gap);
        let replaced = (stands && standing.replaces).then(|| Observation::Unsubscribed(name()));
        let subscribed = stands.then(|| Observation::Subscribed(name()));
        standing.replaces &= !stands;
        gap.into_iter().chain(replaced).chain(subscribed).collect()
    }

    fn forget(&mut self, frame: &Value) -> Vec<Observation> {
        let place = self.place(frame);
        self.subscriptions[place].confirmed -= 1;
        if self.subscriptions[place].confirmed > 0 {
            return Vec::new();
        }
        let name = self.subscriptions.remove(place).subscription.name;
        vec![Observation::Unsubscribed(name.to_owned())]
    }

    fn refusal(&mut self, frame: &Value) -> Option<Observation> {
        let code: Code = code(frame["code"].as_str().unwrap());
        self.error = Some(code);
        if frame.get("table").is_none() && frame.get("room").is_none() {
            // The close that follows the expiry of a token says the same.
            let is_end = self.entered && code == Code::TokenExpired;
            return (!is_end).then(|| Observation::Refused(self.asked.clone(), code));
        }
        let place = self.place(frame);
        let Standing { subscription, parts, confirmed, .. } = self.subscriptions.remove(place);
        if let Target::Topic { topic, .. } = subscription.target {
            self.unasked.remove(topic.name);
        }
        let name = subscription.name.to_owned();
        Some(if confirmed == parts.len() { Observation::Ended(name, code) } else { Observation::Refused(name, code) })
    }

    /// Once for each subscription that it matches, as the frame says.
    fn change(&mut self, frame: &Value) -> Vec<Observation> {
        let offset = frame["offset"].as_u64().unwrap();
        self.offset = self.offset.max(offset);
        assert!(text_of(frame, "timestamp").ends_with('Z'), "all six keys");
        let numbers = frame["subscriptions"].as_array().unwrap();
        let change = || Observation::Change {
            table: format!("public.{}", text_of(frame, "table")),
            operation: text_of(frame, "op"),
            new: frame["record"].clone(),
            old: frame["old_record"].clone(),
        };
        let is_meant = |standing: &&Standing| standing.parts.iter().any(|part| numbers.contains(&part["id"]));
        let seen: Vec<_> = self.subscriptions.iter().filter(is_meant).map(|_| change()).collect();
        assert!(!seen.is_empty(), "nobody has subscribed to {frame}");
        seen
    }
}

fn asking(part: &Value, recover: Option<&Value>) -> Value {
    let mut frame = typed(part, "subscribe");
    if let Some(recover) = recover {
        frame["recover"] = recover.clone();
    }
    frame
}

fn typed(part: &Value, kind: &str) -> Value {
    let mut frame = part.clone();
    frame["type"] = json!(kind);
    frame
}

fn topic_of(frame: &Value) -> String {
    frame.get("room").map_or(LOBBY, |room| room.as_str().unwrap()).to_owned()
}

fn presence(kind: &str, frame: &Value) -> Observation {
    let topic = topic_of(frame);
    match kind {
        "presence_state" => {
            let one = |member: &Value| (text_of(member, "client_id"), member["metadata"].clone());
            Observation::Present(topic, frame["clients"].as_array().unwrap().iter().map(one).collect())
        }
        "presence_join" => Observation::Joined(topic, text_of(frame, "user_id"), frame["metadata"].clone()),
        "presence_update" => Observation::Updated(topic, text_of(frame, "client_id"), frame["metadata"].clone()),
        "presence_leave" => Observation::Left(topic, text_of(frame, "user_id")),
        _ => panic!("an unknown frame: {frame}"),
    }
}
