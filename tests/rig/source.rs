//! The object of a database as an organization's object knows it: the requests that it received, and its answers.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use realtime_worker::engine::input::Input;
use realtime_worker::policy::database::Database;
use realtime_worker::policy::key_set::KeySet;
use realtime_worker::policy::principal::Principal;
use realtime_worker::server::answer::Answer;
use realtime_worker::server::changes::{self, SourceRequest};
use serde_json::{Value, json};

use super::runtime::Outcome;
use super::{ORGANIZATION, Published, Rig};

/// The name of the rig's database.
pub const DATABASE: &str = "main";

/// Whether a table's policies let a group see a row: role, claims, table, row.
pub type Policy = fn(&str, &Value, &str, &Value) -> bool;

/// A scripted database with its object.
pub struct Source {
    /// The tables, as `register` describes them; `None`: the database cannot be reached.
    pub tables: Option<Value>,
    pub policy: Policy,
    /// Whether `/judge` is answered.
    pub judges: bool,
    /// How many times `/judge` is not answered before it is.
    pub judge_failures: u32,
    /// How many images `/judge` can judge before the statement timeout.
    pub max_judged: usize,
    /// The grants of the policies in a topic: role, claims, topic; `None`: there is no answer.
    pub grants: fn(&str, &Value, &str) -> Option<Value>,
    /// While set, answers are in transit.
    pub is_slow: bool,
    /// Every reported interest, and every question to judge.
    pub interests: Vec<Value>,
    pub judged: Vec<Value>,
    pub authorized: Vec<Value>,
    asked: VecDeque<SourceRequest>,
    batch: u64,
}

impl Default for Source {
    fn default() -> Source {
        Source {
            tables: Some(json!([])),
            policy: |_, _, _, _| false,
            judges: true,
            judge_failures: 0,
            max_judged: usize::MAX,
            grants: |_, _, _| Some(json!({})),
            is_slow: false,
            interests: Vec::new(),
            judged: Vec::new(),
            authorized: Vec::new(),
            asked: VecDeque::new(),
            batch: 0,
        }
    }
}

impl Source {
    pub fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    pub fn ask(&mut self, database: &str, request: SourceRequest) {
        assert_eq!(database, DATABASE);
        let body: Value = serde_json::from_str(&request.body).unwrap();
        match request.path {
            "/interest" => self.interests.push(body),
            "/judge" => self.judged.push(body),
            "/authorize" => self.authorized.push(body),
            path => panic!("{path} is no path of a database's object"),
        }
        self.asked.push_back(request);
    }

    /// Memory is lost, and with it every pending question.
    pub fn forget(&mut self) {
        self.asked.clear();
    }

    /// The input of the next answer; `None` if there is none now.
    pub fn answer(&mut self) -> Option<Input> {
        if self.is_slow {
            return None;
        }
        let request = self.asked.pop_front()?;
        let body: Value = serde_json::from_str(&request.body).unwrap();
        let answer = match request.path {
            "/interest" => self.tables.clone().map(|tables| json!({ "revision": body["revision"], "tables": tables })),
            "/authorize" => (self.grants)(&text(&body["role"]), &body["claims"], &text(&body["topic"])),
            _ if self.judge_failures > 0 => {
                self.judge_failures -= 1;
                None
            }
            _ => self.judges.then(|| self.judge(&body)),
        };
        let failed = (503, json!({ "error": { "code": "source_unavailable", "message": "" } }).to_string());
        Some(request.answered(Some(answer.map_or(failed, |answer| (200, answer.to_string())))))
    }

    /// The groups of the last reported interest.
    pub fn groups(&self) -> Vec<Value> {
        self.interests.last().map_or_else(Vec::new, |interest| interest["groups"].as_array().unwrap().clone())
    }

    /// A batch of changes with the policy's verdicts for the groups of the last report.
    pub fn batch(&mut self, changes: &[Value]) -> Value {
        self.batch += 1;
        let tables: BTreeSet<(String, String)> = changes
            .iter()
            .filter(|change| !change["table"].is_null())
            .map(|change| (text(&change["schema"]), text(&change["table"])))
            .collect();
        let mut verdicts = Vec::new();
        for (schema, table) in tables {
            let roles: BTreeSet<String> = self.groups().iter().map(|group| text(&group["role"])).collect();
            verdicts.extend(roles.iter().filter_map(|role| self.verdict(&schema, &table, role, changes)));
        }
        json!({ "database": DATABASE, "epoch": "e1", "batch": self.batch, "changes": changes, "verdicts": verdicts })
    }

    fn verdict(&self, schema: &str, table: &str, role: &str, changes: &[Value]) -> Option<Value> {
        let of_table = |change: &Value| change["schema"] == schema && change["table"] == table;
        let numbers: Vec<usize> = (0..changes.len()).filter(|number| of_table(&changes[*number])).collect();
        let groups: Vec<Value> = self.groups().into_iter().filter(|group| group["role"] == role).collect();
        let sees = |group: &Value, image: &str| -> String {
            let digit = |number: &usize| {
                let row = &changes[*number][image];
                if !row.is_null() && (self.policy)(role, &group["claims"], table, row) { '1' } else { '0' }
            };
            numbers.iter().map(digit).collect()
        };
        let of_image = |image: &str| groups.iter().map(|group| sees(group, image)).collect::<Vec<_>>();
        let ids: Vec<&Value> = groups.iter().map(|group| &group["id"]).collect();
        let images = numbers.iter().flat_map(|number| ["new", "old"].map(|image| &changes[*number][image]));
        let columns = all_or(self.columns(schema, table, role)?, images);
        Some(json!({ "schema": schema, "table": table, "role": role, "columns": columns,
            "changes": numbers, "groups": ids, "new": of_image("new"), "old": of_image("old"), "failed": {} }))
    }

    /// The columns that a role may read.
    fn columns(&self, schema: &str, table: &str, role: &str) -> Option<Value> {
        let tables = self.tables.as_ref()?.as_array()?;
        let known = tables.iter().find(|known| known["schema"] == schema && known["table"] == table)?;
        Some(known["roles"][role]["columns"].clone()).filter(|columns| !columns.is_null())
    }

    fn judge(&self, body: &Value) -> Value {
        let images = body["images"].as_array().unwrap();
        let group = &body["groups"][0];
        let role = text(&group["role"]);
        let mut verdicts = Vec::new();
        let is_canceled = images.len() > self.max_judged;
        let failed = if is_canceled { json!({ text(&group["id"]): "57014" }) } else { json!({}) };
        for (number, image) in images.iter().enumerate() {
            let table = text(&image["table"]);
            let sees = (self.policy)(&role, &group["claims"], &table, &image["row"]);
            let Some(columns) = self.columns(&text(&image["schema"]), &table, &role) else { continue };
            let columns = all_or(columns, std::iter::once(&image["row"]));
            verdicts.push(json!({ "schema": image["schema"], "table": table, "role": role, "columns": columns,
                "images": [number], "groups": [group["id"]], "sees": [if sees && !is_canceled { "1" } else { "0" }], "failed": failed }));
        }
        json!({ "verdicts": verdicts })
    }
}

impl Rig {
    /// The database as configured in the deployment.
    pub fn database(&self) -> Rc<Database> {
        self.configuration.databases().get(DATABASE).unwrap().clone()
    }

    /// The database's object delivers a batch.
    pub fn hand_over(&mut self, batch: &Value) -> Published {
        self.hand_over_text(&batch.to_string())
    }

    pub fn hand_over_text(&mut self, batch: &str) -> Published {
        self.step();
        let answer = match changes::changes(batch, ORGANIZATION, &self.configuration) {
            Err(refusal) => Answer::from(&refusal),
            Ok(input) => {
                let mut outcome = Outcome::default();
                self.run(input, &mut outcome);
                changes::taken(outcome.taken.expect("a batch is answered"))
            }
        };
        let body = serde_json::from_str(&answer.body).unwrap();
        Published { status: answer.status, body, retry_after: answer.retry_after }
    }

    /// The database's object reports the state of the feed.
    pub fn feed(&mut self, feed: &Value) {
        self.step();
        let input = changes::feed(&feed.to_string(), ORGANIZATION, &self.configuration).unwrap();
        self.run(input, &mut Outcome::default());
    }

    /// The database's object answers at last.
    pub fn answer_source(&mut self) {
        self.source.is_slow = false;
        while let Some(input) = self.source.answer() {
            self.run(input, &mut Outcome::default());
        }
    }

    /// The principal that a token proves to the Worker.
    pub fn principal_of(&self, token: &str) -> Principal {
        let credentials = &self.configuration.credentials;
        credentials.principal(self.now, token, ORGANIZATION, &KeySet::default()).expect("the token is good")
    }
}

/// The listed columns, or those of all rows if the list is `"*"`.
fn all_or<'a>(columns: Value, rows: impl Iterator<Item = &'a Value>) -> Value {
    if columns != "*" {
        return columns;
    }
    let names = rows.filter_map(Value::as_object).flat_map(|row| row.keys().map(String::as_str));
    // A table has columns, even if a script's row has none.
    json!(names.chain(["id"]).collect::<BTreeSet<&str>>())
}

/// A table whose columns every role may read, as `register` describes it.
pub fn table(name: &str, columns: &[(&str, &str)], roles: &[&str]) -> Value {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let types: Vec<Value> = columns.iter().map(|(name, kind)| json!({ "name": name, "type": kind })).collect();
    let state = |role: &&str| ((*role).to_owned(), json!({ "state": "live", "columns": names }));
    let roles: serde_json::Map<String, Value> = roles.iter().map(state).collect();
    json!({ "schema": "public", "table": name, "enabled": true, "row_security": true, "columns": types,
        "primary_key": ["id"], "replica_identity": "default", "roles": roles })
}

/// A row change, as a batch holds it.
pub fn change(op: &str, table: &str, new: Value, old: Value) -> Value {
    json!({ "schema": "public", "table": table, "op": op, "at": "2026-11-26T01:02:03.123Z", "organization": null,
        "old_organization": null, "new": new, "old": old, "truncated": false })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
