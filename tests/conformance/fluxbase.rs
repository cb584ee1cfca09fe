//! The Fluxbase dialect's adapter: a client of the newer contract, which requests positions and reports its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use realtime_worker::code::Code;
use realtime_worker::dialect::{Frame, fluxbase};
use serde_json::{Value, json};

use super::adapter::{
    Adapter, Ask, Bytes, Dialect, Observation, PRESENCE, Payload, Recovery, Subscription, TOKEN, Table, Target, Topic,
    code, text_of,
};

pub const FLUXBASE: Dialect = Dialect {
    name: "fluxbase",
    dialect: fluxbase::ID,
    golden: "fluxbase",
    key: None,
    bytes: Bytes::None,
    recovery: Recovery::WithEachSubscription,
    narrows: true,
    leaves_out: &["whether_anyone_is_there_is_answered", "the_lobby_is_a_place_without_a_topic"],
    adapter: |user| Box::new(Fluxbase { user: user.to_owned(), ..Fluxbase::default() }),
};

/// The members of a topic, by key.
type Roster = Vec<(String, Value)>;

#[derive(Default)]
struct Fluxbase {
    user: String,
    subscriptions: Vec<Standing>,
    /// Parts of subscriptions that wait for an answer, in order.
    asked: VecDeque<(&'static str, Value)>,
    /// Names whose ends will be acknowledged, once for each id.
    ending: VecDeque<&'static str>,
    /// The request that an error without a name concerns: there is one at a time.
    about: String,
    /// Whether the token that was sent waits for its answer.
    awaits_token: bool,
    entered: bool,
    epoch: String,
    /// The position of the stream when it connected.
    start: Option<u64>,
    offset: u64,
    /// Topics whose first roster has not arrived.
    unseen: BTreeSet<String>,
    rosters: BTreeMap<String, Roster>,
    /// Where it is about to become present.
    appearing: Option<String>,
}

/// A subscription with the ids of its parts.
struct Standing {
    subscription: Subscription,
    ids: Vec<String>,
    /// Whether one of this name existed before.
    replaces: bool,
}

impl Adapter for Fluxbase {
    fn write(&mut self, ask: &Ask<'_>) -> Vec<Frame> {
        let frames = match *ask {
            Ask::Enter { token, since } => self.enter(token, since.is_some()),
            Ask::Renew { token } => vec![self.token(token)],
            Ask::Subscribe(subscription) => {
                let from = subscription.since.and(self.start);
                self.subscribe(subscription, from)
            }
            Ask::Unsubscribe(name) => self.unsubscribe(name),
            Ask::Say { topic, event, payload } => vec![self.say(topic, event, payload)],
            Ask::Appear { topic, metadata } => {
                self.appearing = topic.map(|topic| topic.name.to_owned());
                vec![self.presence("track", topic, Some(metadata))]
            }
            Ask::Change { topic, metadata } => vec![self.presence("track", topic, Some(metadata))],
            Ask::Disappear { topic } => vec![self.presence("untrack", topic, None)],
            Ask::Ping => vec![json!({ "type": "heartbeat" })],
        };
        frames.into_iter().map(|frame| Frame::Text(frame.to_string())).collect()
    }

    fn read(&mut self, frame: &Frame) -> Vec<Observation> {
        let Frame::Text(text) = frame else { panic!("a binary frame") };
        let frame: Value = serde_json::from_str(text).unwrap();
        if let Some(offset) = frame["offset"].as_u64() {
            self.offset = self.offset.max(offset);
        }
        match text_of(&frame, "type").as_str() {
            "ack" => self.acknowledged(&frame),
            "error" => self.refused(&frame).into_iter().collect(),
            "postgres_changes" => self.change(&frame),
            "broadcast" => self.message(&frame).into_iter().collect(),
            "presence" => self.presences(&text_of(&frame, "channel"), &frame["payload"]["presence"]),
            "heartbeat" => Vec::new(),
            kind => panic!("an unknown frame: {kind}"),
        }
    }
}

impl Fluxbase {
    fn token(&mut self, token: &str) -> Value {
        self.about = TOKEN.to_owned();
        self.awaits_token = true;
        json!({ "type": "access_token", "token": token })
    }

    fn enter(&mut self, token: &str, again: bool) -> Vec<Value> {
        self.entered = false;
        let mut frames = vec![self.token(token)];
        if again {
            for standing in std::mem::take(&mut self.subscriptions) {
                frames.extend(self.subscribe(&standing.subscription, Some(self.offset)));
            }
        }
        frames
    }

    fn subscribe(&mut self, subscription: &Subscription, from: Option<u64>) -> Vec<Value> {
        let name = subscription.name;
        let mut frames = parts(subscription);
        for frame in &mut frames {
            if let Some(offset) = from {
                frame["recover"] = json!({ "epoch": self.epoch, "offset": offset });
            }
            self.asked.push_back((name, frame.clone()));
        }
        if let Target::Topic { topic, watch: true, .. } = subscription.target {
            self.unseen.insert(topic.name.to_owned());
        }
        let before = self.subscriptions.iter().position(|standing| standing.subscription.name == name);
        let replaces = before.map(|place| self.subscriptions.remove(place)).is_some();
        self.subscriptions.push(Standing { subscription: subscription.clone(), ids: Vec::new(), replaces });
        frames
    }

    fn unsubscribe(&mut self, name: &str) -> Vec<Value> {
        let place = self.subscriptions.iter().position(|standing| standing.subscription.name == name).unwrap();
        let Standing { subscription, ids, .. } = self.subscriptions.remove(place);
        let end = |id: &String| match subscription.target {
            Target::Topic { topic, .. } => {
                json!({ "type": "unsubscribe", "channel": topic.name, "private": topic.private })
            }
            Target::Tables(_) => json!({ "type": "unsubscribe", "subscription_id": id }),
        };
        self.ending.extend(ids.iter().map(|_| subscription.name));
        ids.iter().map(end).collect()
    }

    fn of_topic(&self, name: &str) -> Option<(Topic, bool, bool)> {
        self.subscriptions.iter().find_map(|standing| match standing.subscription.target {
            Target::Topic { topic, echo, acknowledge, .. } if topic.name == name => Some((topic, echo, acknowledge)),
            _ => None,
        })
    }

    fn say(&mut self, topic: Topic, event: &str, payload: &Payload) -> Value {
        self.about = event.to_owned();
        let Payload::Json(payload) = payload else { panic!("frames of this dialect carry no bytes") };
        let mut frame = json!({ "type": "broadcast", "channel": topic.name, "private": topic.private, "event": event,
            "payload": payload });
        let standing = self.of_topic(topic.name).filter(|(known, ..)| *known == topic);
        if standing.is_none_or(|(_, _, acknowledge)| acknowledge) {
            frame["messageId"] = json!(event);
        }
        frame
    }

    fn presence(&mut self, event: &str, topic: Option<Topic>, metadata: Option<&Value>) -> Value {
        self.about = PRESENCE.to_owned();
        let topic = topic.unwrap();
        let mut payload = json!({ "event": event, "key": self.user });
        if let Some(metadata) = metadata {
            payload["state"] = metadata.clone();
        }
        json!({ "type": "presence", "channel": topic.name, "private": topic.private, "payload": payload })
    }

    fn acknowledged(&mut self, frame: &Value) -> Vec<Observation> {
        let payload = &frame["payload"];
        if payload["connected"] == json!(true) {
            self.epoch = text_of(payload, "epoch");
            self.offset = payload["offset"].as_u64().unwrap();
            self.start.get_or_insert(self.offset);
            return Vec::new();
        }
        if payload["type"] == json!("access_token") {
            self.awaits_token = false;
            let is_renewal = std::mem::replace(&mut self.entered, true);
            return is_renewal.then_some(Observation::Renewed).into_iter().collect();
        }
        if let Some(id) = payload["messageId"].as_str() {
            assert_eq!((&frame["messageId"], &frame["status"]), (&json!(id), &payload["status"]));
            return vec![Observation::Accepted(id.to_owned())];
        }
        if payload["unsubscribed"] == json!(true) {
            let name = self.ending.pop_front().unwrap();
            let is_last = !self.ending.contains(&name);
            return is_last.then(|| Observation::Unsubscribed(name.to_owned())).into_iter().collect();
        }
        self.subscribed(frame)
    }

    fn subscribed(&mut self, frame: &Value) -> Vec<Observation> {
        let (name, asked) = self.asked.pop_front().expect("an answer to what was asked, and one only");
        let payload = &frame["payload"];
        assert_eq!(payload["subscribed"], json!(true), "{frame}");
        let id = match asked.get("config") {
            None => text_of(payload, "channel"),
            Some(config) => {
                for part in ["schema", "table", "event", "filter"] {
                    assert_eq!(payload.get(part), config.get(part), "the answer repeats what was asked for");
                }
                text_of(payload, "subscription_id")
            }
        };
        let standing = self.subscriptions.iter_mut().find(|standing| standing.subscription.name == name).unwrap();
        assert!(!standing.ids.contains(&id), "an id names one subscription");
        standing.ids.push(id);
        let mut seen = Vec::new();
        if frame["recovered"] == json!(false) {
            seen.push(Observation::Gap);
        }
        if standing.ids.len() == parts(&standing.subscription).len() {
            seen.extend(std::mem::take(&mut standing.replaces).then(|| Observation::Unsubscribed(name.to_owned())));
            seen.push(Observation::Subscribed(name.to_owned()));
        }
        seen
    }

    fn refused(&mut self, frame: &Value) -> Option<Observation> {
        let code = code(&text_of(frame, "code"));
        if let Some(event) = frame["messageId"].as_str() {
            return Some(Observation::Refused(event.to_owned(), code));
        }
        if std::mem::take(&mut self.awaits_token) {
            return Some(Observation::Refused(TOKEN.to_owned(), code));
        }
        let (channel, id) = (frame["channel"].as_str(), frame["subscription_id"].as_str());
        if channel.or(id).is_none() && code == Code::TokenExpired {
            // The close that follows says the same.
            return None;
        }
        if let Some(place) = self.asked.iter().position(|(_, asked)| asked["channel"].as_str() == channel) {
            let (name, _) = self.asked.remove(place).unwrap();
            self.subscriptions.retain(|standing| standing.subscription.name != name);
            return Some(Observation::Refused(name.to_owned(), code));
        }
        let is_standing = |standing: &Standing| standing.ids.iter().any(|known| Some(&**known) == id.or(channel));
        let place = self.subscriptions.iter().position(is_standing).filter(|_| id.is_some() || self.about == TOKEN);
        Some(match place {
            Some(place) => Observation::Ended(self.subscriptions.remove(place).subscription.name.to_owned(), code),
            None => Observation::Refused(self.about.clone(), code),
        })
    }

    /// Once for each subscription that it matches, as the frame says.
    fn change(&self, frame: &Value) -> Vec<Observation> {
        let payload = &frame["payload"];
        let ids: Vec<&str> =
            frame["subscription_ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
        let row = |name: &str| payload.get(name).cloned().unwrap_or_default();
        let change = || Observation::Change {
            table: format!("{}.{}", text_of(payload, "schema"), text_of(payload, "table")),
            operation: text_of(payload, "type"),
            new: row("record"),
            old: row("old_record"),
        };
        let is_meant = |standing: &&Standing| standing.ids.iter().any(|id| ids.contains(&id.as_str()));
        let seen: Vec<_> = self.subscriptions.iter().filter(is_meant).map(|_| change()).collect();
        assert!(!seen.is_empty(), "nobody has subscribed to {frame}");
        seen
    }

    /// A client's own message is only for clients that requested it.
    fn message(&self, frame: &Value) -> Option<Observation> {
        let (topic, message) = (text_of(frame, "channel"), &frame["payload"]["broadcast"]);
        let hears = self.of_topic(&topic).is_some_and(|(_, echo, _)| echo);
        let is_own = message["self"] == json!(true);
        (!is_own || hears).then(|| Observation::Message {
            topic,
            event: text_of(message, "event"),
            payload: Payload::Json(message["payload"].clone()),
        })
    }

    fn presences(&mut self, topic: &str, presence: &Value) -> Vec<Observation> {
        let now = roster(&presence["currentPresences"]);
        let before = self.rosters.insert(topic.to_owned(), now.clone()).unwrap_or_default();
        let name = topic.to_owned();
        let one = |list: &str| presence[list][0].clone();
        match text_of(presence, "event").as_str() {
            "join" => {
                let (key, state) = (text_of(presence, "key"), one("newPresences"));
                let is_mine = key == self.user && self.appearing.take_if(|at| at == topic).is_some();
                let mut there = now;
                let place = there.iter().position(|known| *known == (key.clone(), state.clone())).unwrap();
                there.remove(place);
                let there = is_mine.then(|| Observation::Present(name.clone(), there));
                there.into_iter().chain([Observation::Joined(name, key, state)]).collect()
            }
            "leave" => vec![Observation::Left(name, text_of(presence, "key"))],
            "sync" if self.unseen.remove(topic) => vec![Observation::Present(name, now)],
            "sync" => {
                let mut news = now;
                for known in &before {
                    if let Some(place) = news.iter().position(|one| one == known) {
                        news.remove(place);
                    }
                }
                let [(key, state)] = news.as_slice() else { panic!("{news:?} is no change of one") };
                vec![Observation::Updated(name, key.clone(), state.clone())]
            }
            event => panic!("an unknown presence event: {event}"),
        }
    }
}

fn roster(current: &Value) -> Roster {
    let members = current.as_object().unwrap().iter();
    let of_key = |(key, states): (&String, &Value)| {
        let states = states.as_array().unwrap().clone();
        states.into_iter().map(|state| (key.clone(), state)).collect::<Vec<_>>()
    };
    members.flat_map(of_key).collect()
}

/// The frames that make up a subscription.
fn parts(subscription: &Subscription) -> Vec<Value> {
    match &subscription.target {
        Target::Tables(tables) => tables.iter().map(part_of).collect(),
        Target::Topic { topic, watch, .. } => {
            vec![json!({ "type": "subscribe", "channel": topic.name, "private": topic.private, "presence": watch })]
        }
    }
}

fn part_of(table: &Table) -> Value {
    let channel = format!("table:{}.{}", table.schema, table.table);
    let mut config = json!({ "schema": table.schema, "table": table.table, "event": table.event });
    if let Some(filter) = table.filter {
        config["filter"] = json!(in_its_words(filter));
    }
    json!({ "type": "subscribe", "channel": channel, "config": config })
}

/// `*` is the wildcard of this dialect.
fn in_its_words(filter: &str) -> String {
    match filter.split_once("like.") {
        Some((head, pattern)) => format!("{head}like.{}", pattern.replace('*', "\\*").replace('%', "*")),
        None => filter.to_owned(),
    }
}
