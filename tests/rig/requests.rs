//! Requests to the tenant: publications, figures, administration, and the answers of functions.

use realtime_worker::engine::effect::Calling;
use realtime_worker::engine::input::{CallAnswer, Input};
use realtime_worker::engine::relay::{Peer, client_prefix};
use realtime_worker::server::administration;
use realtime_worker::server::answer::Answer;
use realtime_worker::server::publish::PublishRequest;
use serde_json::{Value, json};

use super::runtime::Outcome;
use super::{ORGANIZATION, Published, Rig};

impl Rig {
    /// `POST /broadcast`; a missing `organizationId` is added to the body.
    pub fn publish(&mut self, mut body: Value) -> Published {
        if let Some(object) = body.as_object_mut() {
            object.entry("organizationId").or_insert(json!(ORGANIZATION));
        }
        self.publish_text(&body.to_string())
    }

    /// The same with an unchanged body.
    pub fn publish_text(&mut self, body: &str) -> Published {
        self.step();
        let answer = match PublishRequest::read(body) {
            Err(refusal) => Answer::from(&refusal),
            Ok(request) => {
                let remembered = self.storage.remembered(request.ids());
                let mut outcome = Outcome::default();
                self.run(Input::Publish { publications: request.publications, remembered }, &mut outcome);
                match outcome.published.expect("a publisher is answered") {
                    Ok(receipt) => Answer::from(&receipt),
                    Err(refusal) => Answer::from(&refusal),
                }
            }
        };
        let body = serde_json::from_str(&answer.body).unwrap();
        let published = Published { status: answer.status, body, retry_after: answer.retry_after };
        self.answers.push(published.clone());
        published
    }

    /// Publishes a body that must be accepted, and returns the number of frames.
    #[track_caller]
    pub fn accepted(&mut self, body: Value) -> u64 {
        let answer = self.publish(body);
        assert_eq!(answer.status, 202, "{}", answer.body);
        answer.body["delivered"].as_u64().unwrap()
    }

    /// The deliveries of a publication at all objects; the publisher is told those of the first one.
    #[track_caller]
    pub fn handed_out(&self, delivered: u64, expected: u64) {
        let is_so = if self.relays.is_empty() { delivered == expected } else { delivered <= expected };
        assert!(is_so, "{delivered} frames, {expected} expected");
    }

    /// Publishes a broadcast to the whole organization.
    #[track_caller]
    pub fn say(&mut self, event: &str) -> u64 {
        self.accepted(json!({ "type": "broadcast", "event": event, "payload": null }))
    }

    /// The figures of the tenant, as `GET /realtime/v1/stats` answers.
    pub fn stats(&mut self) -> Value {
        self.step();
        let mut outcome = Outcome::default();
        self.run(Input::Stats, &mut outcome);
        let figures = outcome.figures.expect("the figures are answered");
        let answer = Answer::figures(ORGANIZATION, &figures, self.storage.history.len() as u64, 0);
        serde_json::from_str(&answer.body).unwrap()
    }

    /// The object's answer at one of its paths.
    pub fn ask(&mut self, path: &str, body: &str) -> (u16, String) {
        let answer = match path {
            "/publish" => {
                let published = self.publish_text(body);
                return (published.status, published.body.to_string());
            }
            "/publish-for-client" => {
                let (publisher, publications) = PublishRequest::read_for_client(body).unwrap();
                let answer = self.publish_for_client(&publisher, publications);
                return (answer.status, answer.body);
            }
            "/stats" => return (200, self.stats().to_string()),
            _ => {
                self.step();
                let mut outcome = Outcome::default();
                administration::input(path, body).and_then(|input| {
                    self.run(input, &mut outcome);
                    outcome.administered.expect("an administrator is answered")
                })
            }
        };
        let answer = answer.map_or_else(|refusal| Answer::from(&refusal), |answer| administration::answer(&answer));
        (answer.status, answer.body)
    }

    /// The answer of one of the tenant's objects at one of its paths.
    pub fn ask_at(&mut self, peer: Peer, path: &str, body: &str) -> (u16, String) {
        let Peer::Relay(number) = peer else { return self.ask(path, body) };
        self.step();
        let index = self.relays.iter().position(|relay| relay.number == number).expect("a relay");
        let mut outcome = Outcome::default();
        let answer = administration::input(path, body).and_then(|input| {
            self.run_relay(index, input, &mut outcome);
            outcome.administered.expect("an administrator is answered")
        });
        let answer = answer.map_or_else(|refusal| Answer::from(&refusal), |answer| administration::answer(&answer));
        (answer.status, answer.body)
    }

    /// Calls whose time has passed fail, each at its time.
    pub(super) fn fail_calls_until(&mut self, end: u64) {
        while let Some((place, deadline)) =
            self.calls.iter().map(|call| call.deadline).enumerate().min_by_key(|(_, deadline)| *deadline)
        {
            if deadline > end {
                return;
            }
            self.now = self.now.max(deadline);
            self.calls.swap(0, place);
            self.answer_call(None);
        }
    }

    /// A function answers the oldest call, or does not.
    pub fn answer_call(&mut self, answer: Option<(u16, &str)>) {
        let Calling { socket, client_id, call, .. } = self.calls.remove(0);
        let answer = answer.map(|(status, body)| (status, body.to_owned()));
        let relay = self.relays.iter().position(|relay| client_id.starts_with(&client_prefix(relay.number)));
        let called = Input::Called(CallAnswer { socket, client_id, call, answer });
        match relay {
            Some(relay) => self.run_relay(relay, called, &mut Outcome::default()),
            None => self.run(called, &mut Outcome::default()),
        }
    }
}
