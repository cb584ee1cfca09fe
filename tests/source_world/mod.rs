//! The environment of a source, scripted: database, organizations, storage, clock.
#![allow(dead_code, reason = "every test file uses its part")]

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use realtime_worker::dialect::read_configuration;
use realtime_worker::policy::database::Database;
use realtime_worker::source::DatabaseSource;
use realtime_worker::source::input::{RequestId, SourceInput, StoredSource};
use realtime_worker::source::link::Problem;
use realtime_worker::source::statement::Statement;
use realtime_worker::source::task::SourceTask;
use serde_json::{Value, json};

pub const START: u64 = 1_700_000_000_000;

fn database(organization: Value) -> Rc<Database> {
    let main = json!({ "connection": "DATABASE_URL", "organization": organization, "roles": ["member"] });
    let realtime = json!({ "databases": { "main": main } }).to_string();
    let read = |name: &str| match name {
        "ACCESS_TOKEN" => Some("an-access-token-of-thirty-two-bytes".to_owned()),
        "JWT_SECRET" => Some("a-secret-of-thirty-two-bytes-or-more".to_owned()),
        "REALTIME" => Some(realtime.clone()),
        _ => None,
    };
    read_configuration(&read).unwrap().databases().get("main").unwrap().clone()
}

/// The environment of a source: its storage, the database with its outbox, the organizations' objects, the clock.
pub struct World {
    pub database: Rc<Database>,
    pub source: DatabaseSource,
    pub now: u64,
    pub tasks: VecDeque<SourceTask>,
    pub alarm: Option<u64>,
    pub timer: Option<u64>,
    pub interests: BTreeMap<String, String>,
    pub parked: BTreeMap<(String, u64), String>,
    pub drains_at: Option<u64>,
    /// How often the alarm fired.
    pub wakes: u64,
    // The database.
    pub is_reachable: bool,
    pub is_connected: bool,
    pub listens: bool,
    pub outbox: VecDeque<Value>,
    pub fixed: Option<(u64, Vec<Value>)>,
    pub batches: u64,
    pub registered: Vec<Value>,
    pub takes: u64,
    pub epoch: &'static str,
    pub tables: Value,
    pub refuses: Option<Problem>,
    /// The organization whose interest fails in the database.
    pub rejects: Option<&'static str>,
    // The organizations.
    pub is_up: bool,
    pub taken: BTreeMap<String, Vec<(u64, Value)>>,
    pub feeds: Vec<(String, Value)>,
    pub replies: BTreeMap<u64, (u16, Value)>,
    pub connects: u64,
}

impl World {
    pub fn new(organization: Value) -> World {
        let database = database(organization);
        World {
            source: DatabaseSource::wake(START, database.clone(), StoredSource::default()),
            database,
            now: START,
            tasks: VecDeque::new(),
            alarm: None,
            timer: None,
            interests: BTreeMap::new(),
            parked: BTreeMap::new(),
            drains_at: None,
            wakes: 0,
            is_reachable: true,
            is_connected: false,
            listens: true,
            outbox: VecDeque::new(),
            fixed: None,
            batches: 0,
            registered: Vec::new(),
            takes: 0,
            epoch: "s1",
            tables: json!([{ "schema": "public", "table": "t" }]),
            refuses: None,
            rejects: None,
            is_up: true,
            taken: BTreeMap::new(),
            feeds: Vec::new(),
            replies: BTreeMap::new(),
            connects: 0,
        }
    }

    pub fn input(&mut self, input: SourceInput) {
        let mut tasks = Vec::new();
        self.source.handle(self.now, input, &mut tasks);
        self.tasks.extend(tasks);
    }

    /// Executes one task; `false` if there is none.
    pub fn step(&mut self) -> bool {
        let Some(task) = self.tasks.pop_front() else { return false };
        match task {
            SourceTask::Connect => {
                self.connects += 1;
                self.is_connected = self.is_reachable;
                let connected = SourceInput::Connected { listens: self.listens };
                self.input(if self.is_reachable { connected } else { SourceInput::Failed(Problem::Unreachable) });
            }
            SourceTask::Disconnect => self.is_connected = false,
            SourceTask::Query { query, statement } => {
                let answer = match (self.is_connected, self.refuses) {
                    (false, _) => Err(Problem::Unreachable),
                    (true, Some(problem)) if !matches!(statement, Statement::Take { .. }) => Err(problem),
                    (true, _) if self.is_rejected(&statement) => Err(Problem::QueryFailed),
                    (true, _) => Ok(self.answer(&statement)),
                };
                self.input(SourceInput::Answered { query, answer });
            }
            SourceTask::Deliver { organization, batch, body } => {
                let status = if self.is_up { self.take(&organization, batch, &body) } else { 0 };
                self.input(SourceInput::Delivered { organization, batch, status });
            }
            SourceTask::Feed { organization, body } => {
                self.feeds.push((organization.to_string(), serde_json::from_str(&body).unwrap()));
            }
            SourceTask::Reply { request, status, body } => {
                self.replies.insert(request.0, (status, serde_json::from_str(&body).unwrap()));
            }
            SourceTask::StoreInterest { organization, body } => {
                self.interests.insert(organization.to_string(), body);
            }
            SourceTask::Park { organization, batch, body } => {
                self.parked.insert((organization.to_string(), batch), body.to_string());
            }
            SourceTask::Unpark { organization, batch } => {
                self.parked.remove(&(organization.to_string(), batch));
            }
            SourceTask::StoreDrain(time) => self.drains_at = Some(time),
            SourceTask::SetAlarm(time) => self.alarm = Some(time),
            SourceTask::Timer { milliseconds } => self.timer = Some(self.now + milliseconds),
            SourceTask::Log { .. } => {}
        }
        true
    }

    fn is_rejected(&self, statement: &Statement) -> bool {
        let Statement::Register(body) = statement else { return false };
        let body: Value = serde_json::from_str(body).unwrap();
        body["organization"].as_str() == self.rejects
    }

    pub fn settle(&mut self) {
        while self.step() {}
    }

    /// Advances the clock to the next alarm or timer, `count` times or until nothing is due within `within`.
    pub fn pass(&mut self, within: u64) {
        let end = self.now + within;
        self.settle();
        while let Some(next) = [self.alarm, self.timer].into_iter().flatten().min().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            let input = if self.timer == Some(next) { SourceInput::Timer } else { SourceInput::Alarm };
            match input {
                SourceInput::Timer => self.timer = None,
                _ => (self.alarm, self.wakes) = (None, self.wakes + 1),
            }
            self.input(input);
            self.settle();
        }
        self.now = end;
    }

    /// Memory, connections and timers are lost; the storage and the alarm remain.
    pub fn crash(&mut self) {
        self.tasks.clear();
        self.timer = None;
        self.is_connected = false;
        let parked =
            self.parked.iter().map(|((organization, batch), body)| (organization.clone(), *batch, body.clone()));
        let stored = StoredSource {
            interests: self.interests.values().cloned().collect(),
            parked: parked.collect(),
            drains_at: self.drains_at,
        };
        self.source = DatabaseSource::wake(self.now, self.database.clone(), stored);
    }

    pub fn listen(&mut self, request: u64, organization: &str, groups: &[&str]) {
        let group = |id: &&str| json!({ "id": id, "role": "member", "claims": "{}", "tables": [["public", "t"]] });
        let groups: Vec<Value> = groups.iter().map(group).collect();
        let body = json!({ "organization": organization, "revision": request, "groups": groups }).to_string();
        self.input(SourceInput::Interest { request: RequestId(request), body });
        self.settle();
    }

    pub fn commit(&mut self, number: u64) {
        self.commit_in(number, None, None);
    }

    pub fn commit_in(&mut self, number: u64, new: Option<&str>, old: Option<&str>) {
        let op = match (new, old) {
            (_, None) => "INSERT",
            (Some(_), Some(_)) => "UPDATE",
            (None, Some(_)) => "DELETE",
        };
        let image = |is_there: bool| if is_there { json!({ "id": number }) } else { Value::Null };
        self.outbox.push_back(json!({ "schema": "public", "table": "t", "op": op, "at": "2026-11-26T01:02:03.123Z",
            "organization": new, "old_organization": old, "new": image(op != "DELETE"), "old": image(op != "INSERT"),
            "truncated": false }));
        if self.is_connected && self.listens {
            self.input(SourceInput::Knock);
        }
    }

    pub fn answer(&mut self, statement: &Statement) -> String {
        match statement {
            Statement::Register(body) => {
                let body: Value = serde_json::from_str(body).unwrap();
                self.registered.push(body.clone());
                json!({ "revision": body["revision"], "tables": self.tables }).to_string()
            }
            Statement::Sync => json!({ "publication": false, "tables": [] }).to_string(),
            Statement::Take { done, .. } => self.take_batch(*done),
            Statement::Judge(_) => json!({ "verdicts": [] }).to_string(),
            other => panic!("{other:?} is not asked here"),
        }
    }

    /// Like the SQL: a batch stays fixed until it is acknowledged.
    pub fn take_batch(&mut self, done: Option<u64>) -> String {
        self.takes += 1;
        self.fixed.take_if(|(number, _)| Some(*number) == done);
        if self.fixed.is_none() && !self.outbox.is_empty() {
            self.batches += 1;
            let size = self.outbox.len().min(3);
            self.fixed = Some((self.batches, self.outbox.drain(..size).collect()));
        }
        let Some((number, changes)) = &self.fixed else {
            return json!({ "batch": null, "next": "sleep", "backlog": 0 }).to_string();
        };
        let groups = ["g1", "g2"];
        let ones: Vec<String> = groups.iter().map(|_| "1".repeat(changes.len())).collect();
        let verdict = json!({ "schema": "public", "table": "t", "role": "member", "columns": ["id"],
            "changes": (0..changes.len()).collect::<Vec<_>>(), "groups": groups, "new": ones, "old": ones, "failed": {} });
        json!({ "batch": number, "system": self.epoch, "changes": changes, "verdicts": [verdict] }).to_string()
    }

    /// Like an organization's object: a batch at or below its high-water mark is acknowledged and otherwise ignored.
    pub fn take(&mut self, organization: &str, batch: u64, body: &str) -> u16 {
        let taken = self.taken.entry(organization.to_owned()).or_default();
        let body: Value = serde_json::from_str(body).unwrap();
        if taken.last().is_none_or(|(last, known)| *last < batch || known["epoch"] != body["epoch"]) {
            taken.push((batch, body));
        }
        200
    }

    /// The rows that an organization received: operation and id.
    pub fn rows(&self, organization: &str) -> Vec<(String, u64)> {
        let batches = self.taken.get(organization).into_iter().flatten();
        let changes = batches.flat_map(|(_, body)| body["changes"].as_array().unwrap().clone());
        let row = |change: Value| {
            let id = change["new"]["id"].as_u64().or(change["old"]["id"].as_u64()).unwrap();
            (change["op"].as_str().unwrap().to_owned(), id)
        };
        changes.map(row).collect()
    }
}
