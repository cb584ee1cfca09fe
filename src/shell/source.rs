//! The Durable Object of a database: it passes the source every event of the runtime, and executes its tasks.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use js_sys::futures::spawn_local;
use wasm_bindgen::{JsCast, JsValue};
use worker::{Delay, DurableObject, Env, Request, Response, Result, State, durable_object};

use super::connection::{ConnectionEvent, DatabaseConnection};
use super::fault::{failed, log_fault, log_refused};
use super::runtime::{RawStorage, log, now};
use super::source_storage::SourceStorage;
use super::{environment, http, organization_link};
use crate::code::{Code, Refusal};
use crate::policy::database::Database;
use crate::server::answer::Answer;
use crate::server::source::{self as requests, SourceCommand};
use crate::source;
use crate::source::input::{RequestId, SourceInput};
use crate::source::link::Problem;
use crate::source::statement::Statement;
use crate::source::task::SourceTask;

/// A database's object. Cheap to clone, for futures that outlive a call.
#[durable_object(alarm)]
#[derive(Clone)]
pub struct Source {
    state: Rc<State>,
    env: Env,
    life: Rc<RefCell<Option<SourceLife>>>,
}

/// What the object has in memory.
struct SourceLife {
    database: Rc<Database>,
    source: source::DatabaseSource,
    storage: SourceStorage,
    connection: Option<Rc<DatabaseConnection>>,
    /// Numbers connections, so that a late event of an earlier one is ignored.
    connections: u64,
    /// Numbers timers; only the last one counts.
    timers: u64,
    requests: u64,
    waiting: BTreeMap<RequestId, oneshot::Sender<(u16, String)>>,
}

impl DurableObject for Source {
    fn new(state: State, env: Env) -> Self {
        let object = Source { state: Rc::new(state), env, life: Rc::default() };
        if let Err(refusal) = object.wake() {
            log_refused("wake", &refusal);
        }
        object
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let path = request.path();
        let body = request.text().await?;
        let answer = self.answer(&path, body).await.unwrap_or_else(|refusal| Answer::from(&refusal));
        http::respond(&answer)
    }

    async fn alarm(&self) -> Result<Response> {
        self.happen(SourceInput::Alarm);
        Response::empty()
    }
}

impl Source {
    fn wake(&self) -> std::result::Result<(), Refusal> {
        let configuration = environment::configuration(&self.env)?;
        let name = self.state.id().name().unwrap_or_default();
        let database = configuration.databases().get(&name).ok_or(Code::NotFound)?;
        let raw: JsValue = self.state.storage().as_raw().into();
        let storage = SourceStorage::open(raw.unchecked_into::<RawStorage>()).map_err(failed)?;
        let source = source::DatabaseSource::wake(now(), database.clone(), storage.load().map_err(failed)?);
        *self.life.borrow_mut() = Some(SourceLife {
            database,
            source,
            storage,
            connection: None,
            connections: 0,
            timers: 0,
            requests: 0,
            waiting: BTreeMap::new(),
        });
        Ok(())
    }

    async fn answer(&self, path: &str, body: String) -> std::result::Result<Answer, Refusal> {
        let asked = requests::read(path, body)?;
        let (statement, is_status) = match asked {
            SourceCommand::Wake => {
                self.happen(SourceInput::Knock);
                return Ok(Answer::json(202, &serde_json::json!({ "status": "ok" })));
            }
            SourceCommand::Interest(body) => {
                let (status, body) = self.ask(|request| SourceInput::Interest { request, body }).await?;
                return Ok(Answer { status, body, retry_after: None });
            }
            SourceCommand::Question(statement) => {
                let is_status = statement == Statement::Status;
                (statement, is_status)
            }
        };
        let (status, body) = self.ask(|request| SourceInput::Ask { request, statement }).await?;
        if !is_status {
            return Ok(Answer { status, body, retry_after: None });
        }
        let figures = self.with_life(|life| life.source.figures())?;
        Ok(requests::status(figures, status, &body))
    }

    /// Handles an input that is a request, and waits for the reply.
    async fn ask(&self, input: impl FnOnce(RequestId) -> SourceInput) -> std::result::Result<(u16, String), Refusal> {
        let (sender, receiver) = oneshot::channel();
        let request = self.with_life(|life| {
            life.requests += 1;
            let request = RequestId(life.requests);
            life.waiting.insert(request, sender);
            request
        })?;
        self.happen(input(request));
        receiver.await.map_err(|_| Refusal::of(Code::Overloaded))
    }

    fn happen(&self, input: SourceInput) {
        let mut tasks = Vec::new();
        let handled = self.with_life(|life| life.source.handle(now(), input, &mut tasks));
        if handled.is_err() {
            return;
        }
        for task in tasks {
            if let Err(fault) = self.execute(task) {
                log_fault(fault);
                // Memory is ahead of the storage: the next life starts from what is stored.
                self.life.take();
                let _ = self.wake();
                return;
            }
        }
    }

    fn execute(&self, task: SourceTask) -> std::result::Result<(), JsValue> {
        let life = |act: &mut dyn FnMut(&mut SourceLife) -> std::result::Result<(), JsValue>| {
            self.with_life(act).unwrap_or_else(|_| Err(JsValue::from_str("the object is not awake")))
        };
        match task {
            SourceTask::Connect => self.open_connection(),
            SourceTask::Disconnect => life(&mut |life| {
                life.connections += 1;
                life.connection = None;
                Ok(())
            })?,
            SourceTask::Query { query, statement } => self.query(query, statement),
            SourceTask::Deliver { organization, batch, body } => self.deliver(organization, batch, body),
            SourceTask::Feed { organization, body } => self.feed(organization, body),
            SourceTask::Reply { request, status, body } => life(&mut |life| {
                if let Some(waiting) = life.waiting.remove(&request) {
                    // The caller may have disconnected.
                    let _ = waiting.send((status, body.clone()));
                }
                Ok(())
            })?,
            SourceTask::StoreInterest { organization, body } => {
                life(&mut |life| life.storage.interest(&organization, &body))?
            }
            SourceTask::Park { organization, batch, body } => {
                life(&mut |life| life.storage.park(&organization, batch, &body))?
            }
            SourceTask::Unpark { organization, batch } => life(&mut |life| life.storage.unpark(&organization, batch))?,
            SourceTask::StoreDrain(time) => life(&mut |life| life.storage.drain(time))?,
            SourceTask::SetAlarm(time) => life(&mut |life| life.storage.set_alarm(time))?,
            SourceTask::Timer { milliseconds } => self.timer(milliseconds),
            SourceTask::Log { event, details } => life(&mut |life| {
                log(&requests::log_line(&life.database.name, event, &details));
                Ok(())
            })?,
        }
        Ok(())
    }

    fn open_connection(&self) {
        let Ok((name, number)) = self.with_life(|life| {
            life.connections += 1;
            (life.database.connection.clone(), life.connections)
        }) else {
            return;
        };
        let object = self.clone();
        self.state.wait_until(async move {
            let told = object.clone();
            let happening = move |happening| told.happened(number, happening);
            let opened = match name {
                Some(name) => DatabaseConnection::open(&object.env, &name, happening).await,
                None => Err(Problem::NoConnection),
            };
            let is_wanted = object.with_life(|life| life.connections == number).unwrap_or(false);
            if !is_wanted {
                return;
            }
            match opened {
                Ok(connection) => {
                    let listens = connection.listens;
                    let _ = object.with_life(|life| life.connection = Some(Rc::new(connection)));
                    object.happen(SourceInput::Connected { listens });
                }
                Err(problem) => object.happen(SourceInput::Failed(problem)),
            }
        });
    }

    /// Handles an event that does not answer a query.
    fn happened(&self, number: u64, happening: ConnectionEvent) {
        let is_present = |life: &mut SourceLife| life.connections == number && life.connection.is_some();
        if !self.with_life(is_present).unwrap_or(false) {
            return;
        }
        match happening {
            ConnectionEvent::Knock => self.happen(SourceInput::Knock),
            ConnectionEvent::End => self.happen(SourceInput::Failed(Problem::Unreachable)),
        }
    }

    fn query(&self, query: u64, statement: Statement) {
        let connection = self.with_life(|life| life.connection.clone()).ok().flatten();
        let object = self.clone();
        self.state.wait_until(async move {
            let answer = match connection {
                Some(connection) => connection.query(&statement).await,
                None => Err(Problem::Unreachable),
            };
            object.happen(SourceInput::Answered { query, answer });
        });
    }

    fn deliver(&self, organization: Rc<str>, batch: u64, body: Rc<str>) {
        let object = self.clone();
        self.state.wait_until(async move {
            let answer = organization_link::post(&object.env, &organization, "/changes", &body).await;
            let status = answer.unwrap_or_else(|fault| {
                log_fault(fault.during("delivering changes"));
                0
            });
            object.happen(SourceInput::Delivered { organization, batch, status });
        });
    }

    fn feed(&self, organization: Rc<str>, body: String) {
        let object = self.clone();
        self.state.wait_until(async move {
            // An object that misses this asks by itself, and the reply to its interest says the same.
            if let Err(fault) = organization_link::post(&object.env, &organization, "/feed", &body).await {
                log_fault(fault.during("telling of the feed"));
            }
        });
    }

    fn timer(&self, milliseconds: u64) {
        let Ok(number) = self.with_life(|life| {
            life.timers += 1;
            life.timers
        }) else {
            return;
        };
        let object = self.clone();
        spawn_local(async move {
            Delay::from(Duration::from_millis(milliseconds)).await;
            if object.with_life(|life| life.timers == number).unwrap_or(false) {
                object.happen(SourceInput::Timer);
            }
        });
    }

    fn with_life<T>(&self, act: impl FnOnce(&mut SourceLife) -> T) -> std::result::Result<T, Refusal> {
        let mut life = self.life.try_borrow_mut().map_err(|_| Refusal::of(Code::Internal))?;
        Ok(act(life.as_mut().ok_or(Code::NotFound)?))
    }
}
