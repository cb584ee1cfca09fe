//! The tenant's tables in memory, with the semantics of the statements that the runtime's storage executes for each
//! write.

use std::collections::{BTreeMap, BTreeSet};

use realtime_worker::engine::GAP_PLACE;
use realtime_worker::engine::effect::{HistoryQuery, Write};
use realtime_worker::engine::input::{
    HistoryRead, Newest, PresenceRow, Remembered, StatePart, Stored, StoredPublication,
};

/// Old rows that are deleted with each new one.
const FORGET_ROWS: usize = 4;

/// A row of the history table.
#[derive(Clone, Debug)]
pub struct HistoryRow {
    pub time: u64,
    pub version: u64,
    pub text: String,
    pub topic: Option<String>,
    /// `None` in rows of earlier builds.
    pub place: Option<String>,
    pub total_bytes: u64,
}

/// All tables of one object.
#[derive(Clone, Debug, Default)]
pub struct Storage {
    pub epoch: Option<String>,
    /// Facts about the database.
    pub facts: BTreeMap<String, String>,
    pub history: BTreeMap<u64, HistoryRow>,
    /// By sequence: id, and the answer to it.
    pub idempotency: BTreeMap<u64, (String, Remembered)>,
    /// By sequence: id, and its expiry.
    pub tickets: BTreeMap<u64, (String, u64)>,
    pub presence: BTreeMap<(String, Option<(bool, String)>), PresenceRow>,
    /// By connection and part.
    pub state: BTreeMap<(String, u32), String>,
    /// Bytes of states written.
    pub state_bytes_written: usize,
    /// Rows written, to check what must not write any.
    pub writes: usize,
}

impl Storage {
    /// What a wake reads; sockets are not in the tables.
    pub fn load(&self, open: &BTreeSet<&str>) -> Stored {
        let with_rows = self
            .presence
            .keys()
            .map(|(client_id, _)| client_id)
            .chain(self.state.keys().map(|(client_id, _)| client_id));
        let sockets: BTreeSet<&str> = with_rows.map(|client_id| socket_of(client_id)).collect();
        let mut states: BTreeMap<String, Vec<StatePart>> = BTreeMap::new();
        for ((client_id, part), text) in self.state.iter().filter(|((client_id, _), _)| open.contains(&**client_id)) {
            states.entry(client_id.clone()).or_default().push(StatePart { number: *part, text: text.clone() });
        }
        let newest = self.history.last_key_value().map(|(offset, row)| Newest {
            offset: *offset,
            time: row.time,
            total_bytes: row.total_bytes,
        });
        let is_known = |socket: &str| open.contains(socket) || is_relayed(socket);
        Stored {
            epoch: self.epoch.clone(),
            facts: self.facts.clone(),
            newest,
            oldest: self.history.values().find(|row| row.version > 0).map(|row| row.time),
            states,
            presence: self.presence_of(is_known),
            gone: sockets.into_iter().filter(|socket| !is_known(socket)).map(str::to_owned).collect(),
            ..Stored::default()
        }
    }

    /// Executes one write. What SQLite would refuse fails the test.
    pub fn write(&mut self, write: &Write) {
        self.writes += 1;
        match write {
            Write::Epoch(epoch) => self.epoch = Some(epoch.clone()),
            Write::Fact { name, value } => {
                self.facts.insert((*name).to_owned(), value.clone());
            }
            Write::Append { offset, time, version, text, topic, place, total_bytes } => {
                let (text, topic) = (text.to_string(), topic.as_deref().map(str::to_owned));
                let place = Some(place.clone());
                let row = HistoryRow { time: *time, version: *version, text, topic, place, total_bytes: *total_bytes };
                let before = self.history.insert(*offset, row);
                assert!(before.is_none(), "offset {offset} is given twice");
            }
            Write::Trim { offset, time, total_bytes, rows } => self.trim(*offset, *time, *total_bytes, *rows),
            Write::Remember { id, answer, forget } => {
                forget_old(&mut self.idempotency, |(_, answer)| answer.time <= *forget);
                self.idempotency.retain(|_, (known, _)| known != id);
                self.idempotency.insert(next(&self.idempotency), (id.clone(), *answer));
            }
            Write::Spend { id, expires, forget } => {
                forget_old(&mut self.tickets, |(_, expires)| expires <= forget);
                assert!(!self.is_spent(id), "a ticket is spent twice");
                self.tickets.insert(next(&self.tickets), (id.clone(), *expires));
            }
            Write::Track(row) => {
                self.presence.insert((row.client_id.clone(), row.topic.clone()), row.clone());
            }
            Write::Untrack { client_id, topic } => {
                let topic = topic.as_ref().map(|(private, name)| (*private, name.to_string()));
                self.presence.remove(&(client_id.to_string(), topic));
            }
            Write::Listeners { relay, parts } => {
                let prefix = format!("listeners.{relay}.");
                self.facts.retain(|name, _| !name.starts_with(&prefix));
                self.facts
                    .extend(parts.iter().enumerate().map(|(part, text)| (format!("{prefix}{part}"), text.clone())));
                if parts.is_empty() {
                    self.facts.remove(&format!("listening.{relay}"));
                }
            }
            Write::ListenersState { relay, state } => {
                self.facts.insert(format!("listening.{relay}"), state.clone());
            }
            Write::Relay { number, state } => {
                let name = format!("relay.{number}");
                match state {
                    Some(state) => _ = self.facts.insert(name, state.clone()),
                    None => _ = self.facts.remove(&name),
                }
            }
            Write::Forget { client_ids } => {
                let is_gone = |client_id: &String| client_ids.iter().any(|gone| gone == socket_of(client_id));
                self.presence.retain(|(client_id, _), _| !is_gone(client_id));
                self.state.retain(|(client_id, _), _| !is_gone(client_id));
            }
            Write::State { client_id, part, text } => {
                self.state_bytes_written += text.len();
                self.state.insert((client_id.to_string(), *part), text.clone());
            }
            Write::DropStatePart { client_id, part } => {
                let there = self.state.remove(&(client_id.to_string(), *part));
                assert!(there.is_some(), "a part goes twice");
            }
            Write::DropState { client_id } => self.state.retain(|(one, _), _| **one != **client_id),
        }
    }

    /// Everyone present on these sockets.
    pub fn presence_of(&self, is_meant: impl Fn(&str) -> bool) -> Vec<PresenceRow> {
        self.presence.values().filter(|row| is_meant(socket_of(&row.client_id))).cloned().collect()
    }

    /// The rows that a query selects, in order; none if the next one has been trimmed.
    pub fn history_after(&self, query: &HistoryQuery) -> HistoryRead {
        let next = query.after.saturating_add(1);
        if !self.history.contains_key(&next) {
            return HistoryRead::default();
        }
        // Rows of the whole organization are scanned, those of a few places are found by an index.
        let is_selected = |row: &HistoryRow| row.place.as_ref().is_none_or(|place| query.selection.has(place));
        let is_scanned = |row: &HistoryRow| query.selection.is_whole || is_selected(row);
        let scanned = self.history.range(next..).filter(|(_, row)| is_scanned(row)).count() as u64;
        let selected = self.history.range(next..).filter(|(_, row)| is_selected(row));
        let mut before = 0;
        let fits = |(_, row): &(&u64, &HistoryRow)| {
            before += row.text.len() as u64;
            before - row.text.len() as u64 <= query.bytes
        };
        let rows = selected.take(usize::try_from(query.rows).unwrap()).take_while(fits).map(publication).collect();
        HistoryRead { rows: Some(rows), scanned }
    }

    /// The newest `rows` messages of a private topic since a time, in order.
    pub fn topic_since(&self, place: &str, since: u64, rows: u64) -> Vec<StoredPublication> {
        let is_meant = |row: &HistoryRow| row.topic.is_some() && row.place.as_deref() == Some(place);
        let of_topic = |(_, row): &(&u64, &HistoryRow)| is_meant(row) && row.time >= since;
        let newest = self.history.iter().rev().filter(of_topic).take(usize::try_from(rows).unwrap());
        let mut found: Vec<_> = newest.map(publication).collect();
        found.reverse();
        found
    }

    /// The connections whose state is in rows.
    pub fn with_state(&self) -> BTreeSet<&str> {
        self.state.keys().map(|(client_id, _)| client_id.as_str()).collect()
    }

    /// The remembered results of these idempotency keys.
    pub fn remembered<'a>(&self, ids: impl Iterator<Item = &'a str>) -> BTreeMap<String, Remembered> {
        let find = |id: &str| self.idempotency.values().find(|(known, _)| known == id).cloned();
        ids.filter_map(find).collect()
    }

    /// Whether a ticket was used.
    pub fn is_spent(&self, ticket: &str) -> bool {
        self.tickets.values().any(|(id, _)| id == ticket)
    }

    /// Examines the oldest rows only; the newest always stays.
    fn trim(&mut self, offset: u64, time: u64, total_bytes: u64, rows: u64) {
        let Some(newest) = self.history.keys().next_back().copied() else { return };
        let oldest: Vec<u64> = self.history.keys().copied().take(usize::try_from(rows).unwrap()).collect();
        for place in oldest.into_iter().filter(|place| *place < newest) {
            let row = &self.history[&place];
            if place <= offset || row.time <= time || row.total_bytes <= total_bytes {
                self.history.remove(&place);
            }
        }
        let row = self.history.get_mut(&newest).unwrap();
        if row.time <= time {
            row.version = 0;
            row.text.clear();
            row.place = Some(GAP_PLACE.to_owned());
        }
    }
}

/// The socket of a public id: a channel's is its socket's, followed by a dot and a number.
fn socket_of(client_id: &str) -> &str {
    client_id.split('.').next().unwrap_or_default()
}

fn publication((offset, row): (&u64, &HistoryRow)) -> StoredPublication {
    StoredPublication { offset: *offset, time: row.time, version: row.version, text: row.text.clone() }
}

/// `INTEGER PRIMARY KEY` without `AUTOINCREMENT`: one more than the largest.
fn next<T>(table: &BTreeMap<u64, T>) -> u64 {
    table.keys().next_back().map_or(1, |last| last + 1)
}

/// Deletes those of the few oldest rows that may be deleted.
fn forget_old<T>(table: &mut BTreeMap<u64, T>, may_go: impl Fn(&T) -> bool) {
    let oldest: Vec<u64> = table.keys().copied().take(FORGET_ROWS).collect();
    for sequence in oldest {
        if may_go(&table[&sequence]) {
            table.remove(&sequence);
        }
    }
}

/// `GLOB 'r[0-9]*-*'`: the socket is a relay's.
fn is_relayed(client_id: &str) -> bool {
    let rest = client_id.strip_prefix('r');
    rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()) && rest.contains('-'))
}
