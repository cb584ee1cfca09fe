//! The objects, the network between them, and the clients around them.

use std::collections::VecDeque;
use std::rc::Rc;

use realtime_worker::code::Code;
use realtime_worker::dialect::{Frame, read_configuration};
use realtime_worker::engine::effect::{Effect, Task};
use realtime_worker::engine::input::Input;
use realtime_worker::policy::configuration::Configuration;
use realtime_worker::policy::relays::Relays;
use realtime_worker::server::outgoing::Outgoing;
use realtime_worker::server::publish::PublishRequest;
use serde_json::json;

use crate::clients::ISOLATES;
use crate::counts::Counts;
use crate::event::{Event, Letter, Queue};
use crate::identity::{JWT_SECRET, room};
use crate::object::{ORGANIZATION, Object, Outcome, wake};
use crate::people::{People, Socket};
use crate::random::Random;
use crate::storage::Storage;

/// The start of a simulation, in Unix milliseconds.
pub(crate) const START: u64 = 1_700_000_000_000;
/// How long a request or an answer takes, in milliseconds.
pub(crate) const LATENCY: std::ops::Range<u64> = 2..30;
/// When it is known that there is no answer.
const FAILURE: std::ops::Range<u64> = 50..10_000;
/// When a client whose connection has ended reconnects: as the SDK does, with jitter.
pub(crate) const RETURN: std::ops::Range<u64> = 200..30_000;
/// The text in a relay's request that asks for what it missed.
const QUESTION: &str = r#""from":{"all":"#;
/// A message of an application.
const PAYLOAD: &str =
    "an event of an application, as long as such events often are; some have more to say, many have less";

/// Everything.
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) queue: Queue,
    pub(crate) random: Random,
    pub(crate) objects: Vec<Object>,
    pub(crate) people: People,
    pub(crate) counts: Counts,
    /// How many requests between objects in a thousand are lost, or their answers.
    pub(crate) losses: u64,
    configuration: Rc<Configuration>,
    pub(crate) share: u64,
    /// What each isolate has cached, and until when.
    pub(crate) places: Vec<Option<(usize, u64)>>,
}

impl World {
    pub(crate) fn new(people: People, relays: u32, seed: u64) -> World {
        // The last object has some room left, because places are cached for a while and then outdated.
        let share = (people.count() as u64 / u64::from(relays + 1) + 1) * 51 / 50;
        let configuration = configuration(Relays { sockets: share, max: relays });
        let mut world = World {
            now: START,
            queue: Queue::default(),
            random: Random::new(seed),
            objects: Vec::new(),
            people,
            counts: Counts::default(),
            losses: 0,
            configuration,
            share,
            places: vec![None; ISOLATES],
        };
        (0..=relays).for_each(|number| world.create(number));
        world
    }

    fn create(&mut self, number: u32) {
        let storage = Storage::default();
        let (server, effects) = wake((self.now, number, 1), &self.configuration, (&storage, &[], &self.people));
        let sockets = Vec::new();
        self.objects.push(Object { number, server, storage, alarm: None, life: 1, sockets, pending: 0 });
        self.settle(number as usize, effects, &mut Outcome::default());
    }

    /// Handles everything that is due within this many milliseconds.
    pub(crate) fn advance(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds;
        while let Some((time, event)) = self.queue.pop_before(end) {
            self.now = time;
            self.happen(event);
        }
        self.now = end;
    }

    pub(crate) fn later(&mut self, range: std::ops::Range<u64>, event: Event) {
        let time = self.now + self.random.within(range);
        self.queue.add(time, event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Publish { place } => self.publish(place),
            Event::Come { person } => self.come(person),
            Event::Open { person, isolate, object } => self.open(person, isolate, object),
            Event::Admitted { person, isolate, object, life, census } => {
                if self.objects[object].life != life {
                    return self.later(RETURN, Event::Come { person });
                }
                self.opened(person, isolate, object, |open| Input::OpenAtRelay { open, census });
            }
            Event::Authenticate { person, connection } => self.authenticate(person, connection),
            Event::Leave { person, connection } => self.leave(person, connection),
            Event::Closed { object, life, socket, connection } => self.closed((object, life), socket, connection),
            Event::Arrive { letter } => self.arrive(letter),
            Event::Answered { from, life, peer, answer } => {
                if self.objects[from].life == life {
                    self.objects[from].pending -= 1;
                    self.run(from, Input::PeerAnswered { peer, answer });
                }
            }
            Event::Tick { object, life } => {
                if self.objects[object].life == life {
                    self.objects[object].pending -= 1;
                    self.run(object, Input::Tick);
                }
            }
            Event::Alarm { object, time } => {
                if self.objects[object].alarm == Some(time) {
                    self.objects[object].alarm = None;
                    self.run(object, Input::Alarm);
                }
            }
            Event::Sleep { object } => self.sleep(object),
            Event::Crash { object } => self.crash(object),
        }
    }

    fn publish(&mut self, place: usize) {
        let mut body =
            json!({ "organizationId": ORGANIZATION, "type": "broadcast", "event": "said", "payload": PAYLOAD });
        if place > 0 {
            body["topic"] = json!(room(place));
            body["private"] = json!(false);
        }
        let request = PublishRequest::read(&body.to_string()).expect("a body of this shape is read");
        self.people.publish(place);
        let input = Input::Publish { publications: request.publications, remembered: Default::default() };
        match self.run(0, input).published {
            Some(Ok(_)) => self.counts.publications += 1,
            refused => {
                self.people.mistakes.unexpected += 1;
                self.people.mistakes.note(|| format!("a publication was answered {refused:?}"));
            }
        }
    }

    fn arrive(&mut self, letter: Letter) {
        let Letter { from, life, to, body } = letter;
        let peer = Object::peer(to);
        let mut answer = None;
        let is_lost = self.random.happens(self.losses);
        if !is_lost {
            answer = self.run(to, Input::PeerAsked { body }).peer_answer;
        }
        if is_lost || self.random.happens(self.losses) || answer.is_none() {
            self.counts.failures += 1;
            return self.later(FAILURE, Event::Answered { from, life, peer, answer: None });
        }
        self.later(LATENCY, Event::Answered { from, life, peer, answer });
    }

    /// Only an object that waits for nothing sleeps.
    fn sleep(&mut self, object: usize) {
        if self.objects[object].pending == 0 {
            self.counts.sleeps += 1;
            self.wake(object);
        }
    }

    fn crash(&mut self, object: usize) {
        self.counts.crashes += 1;
        for socket in std::mem::take(&mut self.objects[object].sockets).into_iter().flatten() {
            if self.people.ended(socket) {
                self.later(RETURN, Event::Come { person: socket.person });
            }
        }
        self.wake(object);
    }

    fn wake(&mut self, object: usize) {
        let known = &mut self.objects[object];
        known.life += 1;
        known.pending = 0;
        known.sockets.retain(Option::is_some);
        for (place, socket) in known.sockets.iter().enumerate() {
            self.people.renumber(socket.expect("only those are left"), place as u32);
        }
        let life = (self.now, known.number, known.life);
        let (server, effects) = wake(life, &self.configuration, (&known.storage, &known.sockets, &self.people));
        known.server = server;
        self.settle(object, effects, &mut Outcome::default());
    }

    pub(crate) fn run(&mut self, object: usize, input: Input) -> Outcome {
        let mut outcome = Outcome::default();
        self.run_for(object, input, &mut outcome);
        outcome
    }

    pub(crate) fn run_for(&mut self, object: usize, input: Input, outcome: &mut Outcome) {
        let effects = self.objects[object].server.handle(self.now, input);
        self.settle(object, effects, outcome);
    }

    /// Executes effects in order; the inputs that they cause are handled after them.
    fn settle(&mut self, object: usize, effects: Vec<Effect>, outcome: &mut Outcome) {
        let mut waiting = VecDeque::from([effects]);
        while let Some(effects) = waiting.pop_front() {
            let mut inputs = Vec::new();
            for effect in effects {
                match effect {
                    Effect::Deliver { to, dialect, address, event, .. } => {
                        let sends: Vec<_> = Outgoing::of(to, dialect, address.as_ref(), &event).collect();
                        sends.iter().for_each(|send| self.send(object, send));
                        let now = self.now;
                        inputs.extend(self.objects[object].server.sent(&sends, |_| Some(now)));
                    }
                    Effect::Do(task) => inputs.extend(self.execute(object, task, outcome)),
                }
            }
            for input in inputs {
                waiting.push_back(self.objects[object].server.handle(self.now, input));
            }
        }
    }

    fn send(&mut self, object: usize, Outgoing { to, frame }: &Outgoing) {
        let Frame::Text(text) = frame else { return };
        let known = &self.objects[object];
        let sockets = to.iter().map(|socket| known.socket(*socket).expect("the engine names open sockets only"));
        self.people.receive(sockets, text, &mut self.counts);
    }

    fn execute(&mut self, object: usize, task: Task, outcome: &mut Outcome) -> Option<Input> {
        let life = self.objects[object].life;
        let known = &mut self.objects[object];
        match task {
            Task::Accept { socket, .. } => {
                let opening = outcome.opening.take().expect("someone wants to open");
                known.put(socket, Some(opening));
                self.people.accepted(opening, object, socket.0);
            }
            Task::Reject(refusal) => outcome.rejected = Some(refusal),
            Task::Close { socket, code, .. } => {
                let ended = known.socket(socket).expect("a closed socket was open");
                known.put(socket, None);
                self.closed_by_object(ended, code);
            }
            Task::Attach { socket, state } => {
                self.people.attach(known.socket(socket).expect("an open socket"), state);
            }
            Task::Write(write) => {
                self.counts.rows += u64::from(object == 0);
                known.storage.write(&write);
            }
            Task::DeleteStorage => (known.storage, known.alarm) = Default::default(),
            Task::SetAlarm(time) => {
                known.alarm = Some(time);
                self.queue.add(time.max(self.now), Event::Alarm { object, time });
            }
            Task::SetTimer(time) => {
                known.pending += 1;
                self.queue.add(time.max(self.now), Event::Tick { object, life });
            }
            Task::ReadHistory(query) => return Some(Input::HistoryRead(known.storage.history_after(&query))),
            Task::AskPeer { peer, body } => {
                known.pending += 1;
                *(if object == 0 { &mut self.counts.down } else { &mut self.counts.up }) += 1;
                self.counts.bytes += body.len() as u64;
                self.counts.caught_up += u64::from(object > 0 && body.contains(QUESTION));
                let letter = Letter { from: object, life, to: Object::index(peer), body };
                self.later(LATENCY, Event::Arrive { letter });
            }
            Task::PeerAnswer(answer) => outcome.peer_answer = answer,
            Task::Published(published) => outcome.published = Some(published),
            Task::Admitted(admitted) => outcome.admitted = Some(admitted),
            Task::Placed(place) => outcome.placed = Some(place),
            Task::Log(_) => {}
            other => {
                self.people.mistakes.unexpected += 1;
                self.people.mistakes.note(|| format!("object {object} asks for {other:?}"));
            }
        }
        None
    }

    fn closed_by_object(&mut self, socket: Socket, code: Code) {
        self.counts.restarts += u64::from(code == Code::ServiceRestart);
        if !matches!(code, Code::ServiceRestart | Code::AuthTimeout) {
            self.people.mistakes.unexpected += 1;
            self.people.mistakes.note(|| format!("client {} was closed: {code:?}", socket.person));
        }
        if self.people.ended(socket) {
            self.later(RETURN, Event::Come { person: socket.person });
        }
    }
}

fn configuration(relays: Relays) -> Rc<Configuration> {
    let most = 1_000_000_000;
    let limits = json!({ "connections": most, "pending": most, "publicationsPerSecond": most, "workOfClients": most });
    let realtime = json!({ "limits": limits }).to_string();
    let variable = |name: &str| match name {
        "ACCESS_TOKEN" => Some("the-access-token-of-the-simulation-0123".to_owned()),
        "JWT_SECRET" => Some(JWT_SECRET.to_owned()),
        "REALTIME" => Some(realtime.clone()),
        _ => None,
    };
    let mut configuration = read_configuration(&variable).expect("the configuration is good");
    configuration.relays = Some(relays);
    Rc::new(configuration)
}
