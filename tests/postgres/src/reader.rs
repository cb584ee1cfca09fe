//! A reader like the Worker: it registers, takes batches, and confirms what it published.

use postgres::Client;
use serde_json::{Value, json};

/// A connection that takes batches.
pub struct Reader {
    /// The connection.
    pub client: Client,
    /// The last batch taken, which the next `take` confirms.
    pub done: Option<i64>,
    revision: i64,
}

/// Callers that are judged together.
#[derive(Clone)]
pub struct Group {
    /// Its name in verdicts.
    pub id: String,
    /// The role that it is judged as.
    pub role: String,
    /// The token's claims.
    pub claims: Value,
}

impl Group {
    /// A user of a role.
    #[must_use]
    pub fn user(id: &str, role: &str, subject: &str) -> Self {
        Self { id: id.into(), role: role.into(), claims: json!({ "role": role, "sub": subject }) }
    }

    /// A role without a user.
    #[must_use]
    pub fn role(role: &str) -> Self {
        Self { id: role.into(), role: role.into(), claims: json!({ "role": role }) }
    }
}

/// One change, with what each group sees of it.
#[derive(Debug)]
pub struct Seen {
    /// The change as returned by `take`.
    pub change: Value,
    /// `(group, sees the new image, sees the old image)`.
    pub by: Vec<(String, bool, bool)>,
}

impl Seen {
    /// The groups that see the new image.
    #[must_use]
    pub fn sees_new(&self) -> Vec<&str> {
        self.by.iter().filter(|(_, new, _)| *new).map(|(group, ..)| group.as_str()).collect()
    }

    /// The groups that see the old image.
    #[must_use]
    pub fn sees_old(&self) -> Vec<&str> {
        self.by.iter().filter(|(.., old)| *old).map(|(group, ..)| group.as_str()).collect()
    }

    /// The operation.
    #[must_use]
    pub fn op(&self) -> &str {
        self.change["op"].as_str().unwrap()
    }
}

impl Reader {
    /// Over a connection.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, done: None, revision: 0 }
    }

    /// Calls a function that takes and returns JSON.
    pub fn call(&mut self, function: &str, body: &Value) -> Value {
        let sql = format!("select realtime_worker.{function}($1)");
        self.client.query_one(&sql, &[body]).unwrap().get(0)
    }

    /// Registers groups, each for all of the tables.
    pub fn register(&mut self, groups: &[Group], tables: &[(&str, &str)]) -> Value {
        self.revision += 1;
        let groups: Vec<Value> = groups
            .iter()
            .map(|group| json!({ "id": group.id, "role": group.role, "claims": group.claims, "tables": tables }))
            .collect();
        self.call("register", &json!({ "organization": "org", "revision": self.revision, "groups": groups }))
    }

    /// One `take`, which confirms the previous batch.
    pub fn take(&mut self, max_changes: i32) -> Value {
        let answer: Value =
            self.client.query_one("select realtime_worker.take($1, $2)", &[&self.done, &max_changes]).unwrap().get(0);
        self.done = answer["batch"].as_i64();
        answer
    }

    /// Everything that is waiting, batch by batch.
    pub fn batches(&mut self) -> Vec<Value> {
        let mut batches = Vec::new();
        loop {
            let answer = self.take(256);
            if answer["batch"].is_null() {
                if answer["backlog"] == 0 {
                    return batches;
                }
                continue;
            }
            batches.push(answer);
        }
    }

    /// Every waiting change, with what each group sees of it.
    pub fn changes(&mut self) -> Vec<Seen> {
        self.batches().iter().flat_map(seen).collect()
    }
}

/// The changes of a batch, with the verdicts on each.
fn seen(batch: &Value) -> Vec<Seen> {
    let changes = batch["changes"].as_array().unwrap();
    let mut all: Vec<Seen> = changes.iter().map(|change| Seen { change: change.clone(), by: Vec::new() }).collect();
    for verdict in batch["verdicts"].as_array().unwrap() {
        let bit =
            |image: &str, group: usize, place: usize| verdict[image][group].as_str().unwrap().as_bytes()[place] == b'1';
        for (group, id) in verdict["groups"].as_array().unwrap().iter().enumerate() {
            for (place, change) in verdict["changes"].as_array().unwrap().iter().enumerate() {
                let change = usize::try_from(change.as_u64().unwrap()).unwrap();
                let id = id.as_str().unwrap().to_owned();
                all[change].by.push((id, bit("new", group, place), bit("old", group, place)));
            }
        }
    }
    all
}
