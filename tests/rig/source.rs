//! The object of a database as an organization's object knows it: what it was told, and what it answers.

use std::collections::{BTreeSet, VecDeque};

use realtime_worker::engine::input::Input;
use realtime_worker::server::changes::SourceRequest;
use serde_json::{Value, json};

/// The name of the rig's database.
pub const DATABASE: &str = "main";

/// Whether the policies of a table let a group see a row: role, claims, table, row.
pub type Policy = fn(&str, &Value, &str, &Value) -> bool;

/// A scripted database with its object.
pub struct Source {
    /// The tables, as `register` describes them; `None`: the database cannot be reached.
    pub tables: Option<Value>,
    pub policy: Policy,
    /// Whether `/judge` is answered.
    pub judges: bool,
    /// While set, answers are on their way.
    pub is_slow: bool,
    /// Every interest that it was told, and every question to judge.
    pub interests: Vec<Value>,
    pub judged: Vec<Value>,
    asked: VecDeque<SourceRequest>,
    batch: u64,
}

impl Default for Source {
    fn default() -> Source {
        Source {
            tables: Some(json!([])),
            policy: |_, _, _, _| false,
            judges: true,
            is_slow: false,
            interests: Vec::new(),
            judged: Vec::new(),
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
            path => panic!("{path} is no path of a database's object"),
        }
        self.asked.push_back(request);
    }

    /// Memory is lost, and with it every question that was asked.
    pub fn forget(&mut self) {
        self.asked.clear();
    }

    /// The input that the next answer is; `None` where none comes now.
    pub fn answer(&mut self) -> Option<Input> {
        if self.is_slow {
            return None;
        }
        let request = self.asked.pop_front()?;
        let body: Value = serde_json::from_str(&request.body).unwrap();
        let answer = match request.path {
            "/interest" => self.tables.clone().map(|tables| json!({ "revision": body["revision"], "tables": tables })),
            _ => self.judges.then(|| self.judge(&body)),
        };
        let failed = (503, json!({ "error": { "code": "source_unavailable", "message": "" } }).to_string());
        Some(request.answered(Some(answer.map_or(failed, |answer| (200, answer.to_string())))))
    }

    /// The groups of the interest that it was told last.
    pub fn groups(&self) -> Vec<Value> {
        self.interests.last().map_or_else(Vec::new, |interest| interest["groups"].as_array().unwrap().clone())
    }

    /// A batch of changes with the verdicts of the policy for the groups that were told last.
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
        Some(json!({ "schema": schema, "table": table, "role": role, "columns": self.columns(schema, table, role)?,
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
        for (number, image) in images.iter().enumerate() {
            let table = text(&image["table"]);
            let sees = (self.policy)(&role, &group["claims"], &table, &image["row"]);
            let Some(columns) = self.columns(&text(&image["schema"]), &table, &role) else { continue };
            verdicts.push(json!({ "schema": image["schema"], "table": table, "role": role, "columns": columns,
                "images": [number], "groups": [group["id"]], "sees": [if sees { "1" } else { "0" }], "failed": {} }));
        }
        json!({ "verdicts": verdicts })
    }
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
