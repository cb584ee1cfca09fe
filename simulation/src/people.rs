//! The clients: which object each is connected to, what it has received, and what is wrong with it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::counts::{Counts, Mistakes};

/// One in this many clients subscribes to a room instead of the whole organization.
const ROOM_SHARE: usize = 4;
/// Clients of a room.
const ROOM_SIZE: usize = 50;

/// A socket as both of its ends know it. A client's connections are numbered, so that what is sent to an earlier one is
/// dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    pub(crate) person: u32,
    pub(crate) connection: u32,
}

/// One client.
#[derive(Clone, Debug, Default)]
struct Person {
    /// Its open connection; 0: none.
    connection: u32,
    object: u32,
    socket: u32,
    is_welcome: bool,
    /// The last publication that it has seen; `None` before the first welcome.
    offset: Option<u64>,
    /// What the object has stored in its socket's attachment.
    attachment: Box<str>,
}

/// All clients.
pub(crate) struct People {
    all: Vec<Person>,
    connections: u32,
    /// The offsets of the publications of each place: 0 is the whole organization, the others are rooms.
    places: Vec<Vec<u64>>,
    published: u64,
    /// Publications that were skipped, by client.
    skipped: BTreeSet<(u32, u64)>,
    pub(crate) mistakes: Mistakes,
}

/// What a client reads in a frame.
enum Read {
    Welcome {
        offset: u64,
        recovered: Option<bool>,
    },
    Publication(u64),
    /// An answer that is irrelevant here.
    Nothing,
    Unexpected,
}

impl People {
    pub(crate) fn new(count: usize) -> People {
        let rooms = (count / ROOM_SHARE / ROOM_SIZE).max(1);
        People {
            all: vec![Person::default(); count],
            connections: 0,
            places: vec![Vec::new(); rooms + 1],
            published: 0,
            skipped: BTreeSet::new(),
            mistakes: Mistakes::default(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// The whole organization and the rooms.
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    /// The place that a client subscribes to.
    pub(crate) fn place(&self, person: u32) -> usize {
        match person as usize {
            number if number.is_multiple_of(ROOM_SHARE) => 1 + number / ROOM_SHARE % (self.places.len() - 1),
            _ => 0,
        }
    }

    /// The position from which a client recovers; `None` before its first welcome.
    pub(crate) fn offset(&self, person: u32) -> Option<u64> {
        self.all[person as usize].offset
    }

    pub(crate) fn is_connected(&self, person: u32) -> bool {
        self.all[person as usize].connection != 0
    }

    /// Object and number of a client's connection, if it is the current one.
    pub(crate) fn socket(&self, person: u32, connection: u32) -> Option<(usize, u32)> {
        let known = &self.all[person as usize];
        (known.connection == connection).then_some((known.object as usize, known.socket))
    }

    /// A client's current connection; 0: none.
    pub(crate) fn connection(&self, person: u32) -> u32 {
        self.all[person as usize].connection
    }

    /// The next connection of a client.
    pub(crate) fn connect(&mut self, person: u32) -> Socket {
        self.connections += 1;
        Socket { person, connection: self.connections }
    }

    /// An object has accepted a client.
    pub(crate) fn accepted(&mut self, Socket { person, connection }: Socket, object: usize, socket: u32) {
        let known = &mut self.all[person as usize];
        (known.connection, known.object, known.socket) = (connection, object as u32, socket);
        (known.is_welcome, known.attachment) = (false, Box::default());
    }

    /// A client's number at an object that woke.
    pub(crate) fn renumber(&mut self, Socket { person, connection }: Socket, socket: u32) {
        let known = &mut self.all[person as usize];
        if known.connection == connection {
            known.socket = socket;
        }
    }

    /// A connection has ended; returns whether its client had not left before.
    pub(crate) fn ended(&mut self, Socket { person, connection }: Socket) -> bool {
        let known = &mut self.all[person as usize];
        let is_current = known.connection == connection;
        if is_current {
            (known.connection, known.attachment) = (0, Box::default());
        }
        is_current
    }

    pub(crate) fn attach(&mut self, Socket { person, connection }: Socket, state: String) {
        let known = &mut self.all[person as usize];
        if known.connection == connection {
            known.attachment = state.into_boxed_str();
        }
    }

    pub(crate) fn attachment(&self, Socket { person, connection }: Socket) -> &str {
        let known = &self.all[person as usize];
        if known.connection == connection { &known.attachment } else { "" }
    }

    /// A publication to a place is about to be sent.
    pub(crate) fn publish(&mut self, place: usize) {
        self.published += 1;
        self.places[place].push(self.published);
    }

    /// All of these receive the same frame.
    pub(crate) fn receive(&mut self, sockets: impl Iterator<Item = Socket>, text: &str, counts: &mut Counts) {
        let frame: Value = serde_json::from_str(text).unwrap_or_default();
        let read: Vec<Read> = match &frame["events"] {
            Value::Array(events) => events.iter().map(Read::of).collect(),
            _ => vec![Read::of(&frame)],
        };
        for Socket { person, connection } in sockets {
            if self.all[person as usize].connection == connection {
                read.iter().for_each(|read| self.read(person, read, text, counts));
            }
        }
    }

    fn read(&mut self, person: u32, read: &Read, text: &str, counts: &mut Counts) {
        match read {
            Read::Publication(offset) => self.see(person, *offset, counts),
            Read::Welcome { offset, recovered } => self.welcome(person, *offset, *recovered, counts),
            Read::Nothing => {}
            Read::Unexpected => {
                self.mistakes.unexpected += 1;
                self.mistakes.note(|| format!("client {person} got {text}"));
            }
        }
    }

    fn welcome(&mut self, person: u32, offset: u64, recovered: Option<bool>, counts: &mut Counts) {
        let known = &mut self.all[person as usize];
        known.is_welcome = true;
        match (known.offset, recovered) {
            (None, _) => known.offset = Some(offset),
            (Some(_), Some(true)) => counts.recoveries += 1,
            (Some(before), _) => {
                known.offset = Some(offset);
                self.mistakes.unrecovered += 1;
                self.mistakes.note(|| format!("client {person} did not recover from {before}"));
            }
        }
    }

    fn see(&mut self, person: u32, offset: u64, counts: &mut Counts) {
        counts.seen += 1;
        let place = self.place(person);
        let of_place = &self.places[place];
        let known = &mut self.all[person as usize];
        let Some(before) = known.offset.filter(|_| known.is_welcome) else {
            self.mistakes.unexpected += 1;
            return self.mistakes.note(|| format!("client {person} got {offset} before its welcome"));
        };
        let next = of_place.partition_point(|one| *one <= before);
        if of_place.get(next) == Some(&offset) {
            known.offset = Some(offset);
            return;
        }
        let wrong = match of_place.binary_search(&offset) {
            Err(_) => &mut self.mistakes.misdirected,
            Ok(_) if offset <= before && self.skipped.remove(&(person, offset)) => {
                self.mistakes.lost -= 1;
                &mut self.mistakes.out_of_order
            }
            Ok(_) if offset <= before => &mut self.mistakes.twice,
            Ok(index) => {
                self.skipped.extend(of_place[next..index].iter().map(|one| (person, *one)));
                self.mistakes.lost += (index - next) as u64 - 1;
                known.offset = Some(offset);
                &mut self.mistakes.lost
            }
        };
        *wrong += 1;
        self.mistakes.note(|| format!("client {person} of place {place} got {offset} after {before}"));
    }

    /// At the end, everyone is connected and has received everything.
    pub(crate) fn check_all(&mut self) {
        for person in 0..self.all.len() as u32 {
            let known = &self.all[person as usize];
            let of_place = &self.places[self.place(person)];
            let missing = match known.offset.filter(|_| known.connection != 0 && known.is_welcome) {
                Some(offset) => of_place.len() - of_place.partition_point(|one| *one <= offset),
                None => {
                    self.mistakes.away += 1;
                    of_place.len()
                }
            } as u64;
            if missing > 0 {
                self.mistakes.lost += missing;
                self.mistakes.note(|| format!("client {person} has not seen the last {missing}"));
            }
        }
    }
}

impl Read {
    fn of(frame: &Value) -> Read {
        match (frame["type"].as_str().unwrap_or_default(), frame["offset"].as_u64()) {
            ("broadcast", Some(offset)) => Read::Publication(offset),
            ("auth_success", Some(offset)) => Read::Welcome { offset, recovered: frame["recovered"].as_bool() },
            // A client that waits for the root too long is disconnected, and reconnects.
            ("auth_error", _) if frame["code"] == "auth_timeout" => Read::Nothing,
            ("subscribed", _) => Read::Nothing,
            _ => Read::Unexpected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One client of the whole organization that has been welcomed, and four publications, one of them to a room.
    fn people() -> (People, Socket) {
        let mut people = People::new(8);
        let socket = people.connect(1);
        people.accepted(socket, 0, 0);
        get(&mut people, socket, r#"{"type":"auth_success","offset":0}"#);
        [0, 0, 1, 0].into_iter().for_each(|place| people.publish(place));
        (people, socket)
    }

    fn get(people: &mut People, socket: Socket, text: &str) {
        people.receive([socket].into_iter(), text, &mut Counts::default());
    }

    fn mistakes(offsets: &[u64]) -> Mistakes {
        let (mut people, socket) = people();
        offsets.iter().for_each(|offset| {
            get(&mut people, socket, &format!(r#"{{"type":"broadcast","offset":{offset}}}"#));
        });
        Mistakes { first: None, ..people.mistakes }
    }

    #[test]
    fn each_mistake_is_found_and_told_apart() {
        assert!(mistakes(&[1, 2, 4]).is_empty());
        assert_eq!(mistakes(&[1, 4]), Mistakes { lost: 1, ..Mistakes::default() });
        assert_eq!(mistakes(&[1, 2, 2]), Mistakes { twice: 1, ..Mistakes::default() });
        assert_eq!(mistakes(&[1, 4, 2]), Mistakes { out_of_order: 1, ..Mistakes::default() });
        assert_eq!(mistakes(&[4, 1, 2, 2]), Mistakes { out_of_order: 2, twice: 1, ..Mistakes::default() });
        assert_eq!(mistakes(&[1, 2, 3]), Mistakes { misdirected: 1, ..Mistakes::default() });
    }

    #[test]
    fn what_never_came_is_lost_and_what_an_ended_connection_gets_reaches_nobody() {
        let (mut people, socket) = people();
        get(
            &mut people,
            socket,
            r#"{"type":"batch","events":[{"type":"broadcast","offset":1},{"type":"broadcast","offset":2}]}"#,
        );
        assert!(people.ended(socket) && !people.ended(socket));
        get(&mut people, socket, r#"{"type":"broadcast","offset":4}"#);
        let again = people.connect(1);
        people.accepted(again, 3, 0);
        get(&mut people, again, r#"{"type":"auth_success","offset":4,"recovered":true}"#);
        people.check_all();
        // Of the eight, the others never came: five of the whole organization miss three each, two of the room one each.
        let others = Mistakes { away: 7, lost: 1 + 5 * 3 + 2, ..Mistakes::default() };
        assert_eq!(Mistakes { first: None, ..people.mistakes }, others);
    }

    #[test]
    fn a_gap_and_an_unknown_frame_are_mistakes() {
        let (mut people, socket) = people();
        get(&mut people, socket, r#"{"type":"auth_success","offset":4,"recovered":false}"#);
        get(&mut people, socket, r#"{"type":"error","code":"overloaded"}"#);
        let expected = Mistakes { unrecovered: 1, unexpected: 1, ..Mistakes::default() };
        assert_eq!(Mistakes { first: None, ..people.mistakes }, expected);
    }
}
