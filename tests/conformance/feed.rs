//! The database's object on the stage: committed changes pass through the source, as in production, to the
//! organization's object.

use std::collections::VecDeque;

use realtime_worker::source::DatabaseSource;
use realtime_worker::source::input::{RequestId, SourceInput, StoredSource};
use realtime_worker::source::statement::Statement;
use realtime_worker::source::task::SourceTask;
use serde_json::{Value, json};

use crate::rig::Rig;

/// The source, and committed changes that it has not taken.
pub struct Feed {
    source: DatabaseSource,
    outbox: VecDeque<Value>,
    told: usize,
    tasks: VecDeque<SourceTask>,
    requests: u64,
}

impl Feed {
    /// A connected source. Another organization always listens, so it stays connected.
    pub fn new(rig: &mut Rig) -> Feed {
        let source = DatabaseSource::wake(rig.now, rig.database(), StoredSource::default());
        let mut feed = Feed { source, outbox: VecDeque::new(), told: 0, tasks: VecDeque::new(), requests: 0 };
        let group = json!({ "id": "somebody", "role": "nobody", "claims": "{}", "tables": [["*", "*"]] });
        feed.tell(rig, &json!({ "organization": "elsewhere", "revision": 1, "groups": [group] }));
        feed
    }

    /// Commits a change, which has reached the organization when this returns.
    #[track_caller]
    pub fn commit(&mut self, rig: &mut Rig, change: &Value) {
        if let Some(interest) = rig.source.interests.get(self.told..).and_then(<[Value]>::last).cloned() {
            self.told = rig.source.interests.len();
            self.tell(rig, &interest);
        }
        let batch = rig.source.batch(std::slice::from_ref(change));
        self.outbox.push_back(json!({ "batch": batch["batch"], "system": batch["epoch"], "changes": batch["changes"],
            "verdicts": batch["verdicts"] }));
        self.input(rig, SourceInput::Knock);
        assert!(self.outbox.is_empty(), "the change was not taken");
    }

    fn tell(&mut self, rig: &mut Rig, interest: &Value) {
        self.requests += 1;
        self.input(rig, SourceInput::Interest { request: RequestId(self.requests), body: interest.to_string() });
    }

    /// Applies an input, and everything that follows from it.
    fn input(&mut self, rig: &mut Rig, input: SourceInput) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut tasks = Vec::new();
            self.source.handle(rig.now, input, &mut tasks);
            self.tasks.extend(tasks);
            while let Some(task) = self.tasks.pop_front() {
                inputs.extend(self.execute(rig, task));
            }
        }
    }

    /// The input that results from a task.
    fn execute(&mut self, rig: &mut Rig, task: SourceTask) -> Option<SourceInput> {
        match task {
            SourceTask::Connect => Some(SourceInput::Connected { listens: true }),
            SourceTask::Query { query, statement } => {
                Some(SourceInput::Answered { query, answer: Ok(self.answer(&statement).to_string()) })
            }
            SourceTask::Deliver { organization, batch, body } => {
                let status = rig.hand_over_text(&body).status;
                assert_eq!(status, 200, "{body}");
                Some(SourceInput::Delivered { organization, batch, status })
            }
            SourceTask::Disconnect => panic!("nobody ends the connection"),
            _ => None,
        }
    }

    fn answer(&mut self, statement: &Statement) -> Value {
        match statement {
            Statement::Take { done: Some(_), .. } => {
                self.outbox.pop_front();
                self.next()
            }
            Statement::Take { done: None, .. } => self.next(),
            _ => json!({ "revision": 1, "tables": [] }),
        }
    }

    /// The batch that has not been taken yet.
    fn next(&self) -> Value {
        self.outbox.front().cloned().unwrap_or_else(|| json!({ "batch": null, "next": "sleep" }))
    }
}
