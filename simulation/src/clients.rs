//! How clients connect, authenticate and leave.

use realtime_worker::dialect::{Received, native};
use realtime_worker::engine::command::{Position, Recover};
use realtime_worker::engine::input::{Input, Open, SocketId};
use serde_json::json;

use crate::event::Event;
use crate::identity::{principal, room, token, user};
use crate::object::{ORGANIZATION, Object, Outcome};
use crate::people::Socket;
use crate::world::{LATENCY, RETURN, World};

/// Isolates of the Worker, each of which caches where sockets go.
pub(crate) const ISOLATES: usize = 16;
const PLACE_KNOWN: u64 = 5_000;

impl World {
    /// The Worker asks where the socket goes, unless its isolate knows.
    pub(crate) fn come(&mut self, person: u32) {
        let isolate = self.random.index(ISOLATES);
        let (now, mut latency) = (self.now, LATENCY);
        let known = self.places[isolate].filter(|(_, until)| now < *until);
        let object = known.map(|(object, _)| object).unwrap_or_else(|| {
            self.counts.places += 1;
            latency = LATENCY.start * 3..LATENCY.end * 3;
            let placed = self.run(0, Input::Place).placed.unwrap_or_default() as usize;
            self.places[isolate] = Some((placed, now + PLACE_KNOWN));
            placed
        });
        self.later(latency, Event::Open { person, isolate, object });
    }

    /// For clients whose principal is known, a relay asks before it accepts them.
    pub(crate) fn open(&mut self, person: u32, isolate: usize, object: usize) {
        if object == 0 || !self.is_proven(person) {
            let at_relay = |open| Input::OpenAtRelay { open, census: Default::default() };
            return self.opened(person, isolate, object, if object == 0 { Input::Open } else { at_relay });
        }
        self.counts.admissions += 1;
        let relay = self.objects[object].number;
        let question = Input::Admit { ticket: None, user: Some(user(person)), relay };
        let census = self.run(0, question).admitted.expect("a relay is answered").census;
        let life = self.objects[object].life;
        self.later(LATENCY.start * 2..LATENCY.end * 2, Event::Admitted { person, isolate, object, life, census });
    }

    pub(crate) fn opened(&mut self, person: u32, isolate: usize, object: usize, input: impl FnOnce(Open) -> Input) {
        let opening = self.people.connect(person);
        let is_proven = self.is_proven(person);
        let recover = match self.position(person) {
            Some(position) if is_proven => Recover::From(position),
            _ if is_proven => Recover::On,
            _ => Recover::Off,
        };
        let known = &mut self.objects[object];
        let open = Open {
            socket: known.server.vacant(),
            client_id: Object::client_id(known.number, opening.connection),
            dialect: native::ID,
            principal: is_proven.then(|| principal(person)),
            ticket: None,
            recover,
            batches: person.is_multiple_of(2),
            address: None,
        };
        let mut outcome = Outcome { opening: Some(opening), ..Outcome::default() };
        self.run_for(object, input(open), &mut outcome);
        if self.objects[object].server.sockets() >= self.share {
            self.places[isolate] = None;
        }
        if let Some(refusal) = outcome.rejected {
            self.people.mistakes.unexpected += 1;
            return self.people.mistakes.note(|| format!("client {person} was refused: {refusal:?}"));
        }
        self.counts.connections += 1;
        if !is_proven {
            self.later(LATENCY, Event::Authenticate { person, connection: opening.connection });
        }
    }

    fn position(&self, person: u32) -> Option<Position> {
        let epoch = self.objects[0].storage.epoch.clone()?;
        Some(Position { epoch, offset: self.people.offset(person)? })
    }

    /// Whether a client presents a ticket or header; clients of rooms authenticate with their first frame.
    fn is_proven(&self, person: u32) -> bool {
        self.people.place(person) == 0
    }

    pub(crate) fn authenticate(&mut self, person: u32, connection: u32) {
        let Some((object, socket)) = self.people.socket(person, connection) else { return };
        let place = self.people.place(person);
        let recover = self.position(person).map(|at| json!({ "epoch": at.epoch, "offset": at.offset }));
        let frame = json!({ "type": "auth", "token": token(person), "organizationId": ORGANIZATION,
            "recover": recover.unwrap_or(json!(true)), "batch": person.is_multiple_of(2),
            "subscriptions": [{ "id": "room", "topic": room(place), "private": false }] });
        let input = self.objects[object].server.frame(SocketId(socket), Received::Text(&frame.to_string()));
        self.run(object, input);
    }

    pub(crate) fn leave(&mut self, person: u32, connection: u32) {
        let Some((object, socket)) = self.people.socket(person, connection) else { return };
        self.people.ended(Socket { person, connection });
        let life = self.objects[object].life;
        self.later(LATENCY, Event::Closed { object, life, socket, connection });
        self.later(RETURN, Event::Come { person });
    }

    pub(crate) fn closed(&mut self, (object, life): (usize, u32), socket: u32, connection: u32) {
        let known = &self.objects[object];
        // After a wake it has another number.
        let place = match known.life == life {
            true => Some(socket as usize),
            false => known.sockets.iter().position(|one| one.is_some_and(|one| one.connection == connection)),
        };
        let Some(place) = place else { return };
        if known.sockets.get(place).copied().flatten().is_some_and(|one| one.connection == connection) {
            let socket = SocketId(place as u32);
            self.run(object, Input::Closed { socket });
            self.objects[object].put(socket, None);
        }
    }
}
