//! The Durable Object: it wakes the tenant, passes it every event of the runtime, and executes its effects.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use wasm_bindgen::{JsCast, JsValue};
use worker::{
    Delay, DurableObject, Env, Method, Request, Response, Result, State, WebSocket, WebSocketIncomingMessage,
    durable_object,
};

use super::fault::{failed, log_refused};
use super::life::{Life, Outcome};
use super::lives::{self, LifeCell};
use super::runtime::{AutoResponse, RawState, log, now, random_hex, wasm_memory};
use super::sockets::{RawSockets, raw, tag};
use super::storage::Storage;
use super::{environment, function, http, keys, relay, source_link};
use crate::code::{Code, Refusal};
use crate::dialect::{self, Received};
use crate::engine::effect::{Calling, Effect};
use crate::engine::input::{CallAnswer, Input, SocketId};
use crate::engine::relay::Peer;
use crate::engine::tenant::Environment;
use crate::server::administration;
use crate::server::answer::Answer;
use crate::server::changes::{self, SourceRequest};
use crate::server::fault::Fault;
use crate::server::publish::PublishRequest;
use crate::server::relay::{RelayName, peer_answer, place_answer};
use crate::server::streaming::{self, FRAME};
use crate::server::tenant_server::TenantServer;

/// One organization's object. Cheap to clone, for futures that outlive a call.
#[durable_object]
#[derive(Clone)]
pub struct Broadcaster {
    state: Rc<State>,
    pub(super) env: Env,
    life: LifeCell,
}

impl DurableObject for Broadcaster {
    /// The one constructor (invariant 4). It awaits nothing, so the first event already finds the tenant awake.
    fn new(state: State, env: Env) -> Self {
        let object = Broadcaster { state: Rc::new(state), env, life: Rc::default() };
        lives::succeed(object.state.id().to_string(), &object.life);
        object.wake();
        object
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let path = request.path();
        if path == "/open" {
            return self.open(&request).await.unwrap_or_else(|refusal| http::respond(&Answer::from(&refusal)));
        }
        let body = if request.method() == Method::Post { request.text().await? } else { String::new() };
        http::respond(&self.answer(&path, &body).unwrap_or_else(|refusal| Answer::from(&refusal)))
    }

    async fn alarm(&self) -> Result<Response> {
        // A failed wake has been logged, and without a tenant an alarm has nothing to do.
        let _ = self.happen(Input::Alarm);
        Response::empty()
    }

    async fn websocket_message(&self, socket: WebSocket, message: WebSocketIncomingMessage) -> Result<()> {
        let Some(id) = self.find(&socket) else { return Ok(()) };
        let frame = match &message {
            WebSocketIncomingMessage::String(text) => Received::Text(text),
            WebSocketIncomingMessage::Binary(bytes) => Received::Binary(bytes),
        };
        let _ = self.with_life(|life| Ok(life.server.frame(id, frame))).and_then(|input| self.happen(input));
        Ok(())
    }

    /// The runtime does not answer a close frame for a hibernatable socket; without this, the client waits and sees
    /// 1006.
    async fn websocket_close(&self, socket: WebSocket, code: usize, reason: String, _was_clean: bool) -> Result<()> {
        let code = u16::try_from(code).ok().filter(|code| !matches!(code, 1005 | 1006 | 1015)).unwrap_or(1000);
        let _ = raw(&socket).close(code, &reason);
        self.gone(&socket);
        Ok(())
    }

    async fn websocket_error(&self, socket: WebSocket, _error: worker::Error) -> Result<()> {
        self.gone(&socket);
        Ok(())
    }
}

impl Broadcaster {
    fn wake(&self) {
        let woken = self.begin().and_then(|(life, effects)| {
            log(&serde_json::json!({ "event": "woken", "organizationId": life.organization }).to_string());
            *self.life.borrow_mut() = Some(life);
            self.settle(effects, &mut Outcome::default())
        });
        if let Err(refusal) = woken {
            log_refused("wake", &refusal);
        }
    }

    fn begin(&self) -> std::result::Result<(Life, Vec<Effect>), Refusal> {
        let configuration = environment::configuration(&self.env)?;
        let raw_state: &RawState = self.state.as_raw().unchecked_ref();
        if let Some((request, response)) = dialect::auto_response() {
            let pair = AutoResponse::new(request, response).map_err(failed)?;
            raw_state.set_auto_response(&pair).map_err(failed)?;
        }
        let raw_storage: JsValue = self.state.storage().as_raw().into();
        let storage = Storage::open(raw_storage.unchecked_into()).map_err(failed)?;
        let (sockets, attachments) = RawSockets::restore(raw_state).map_err(failed)?;
        let mut stored = storage.load(sockets.client_ids()).map_err(failed)?;
        stored.sockets = attachments;
        stored.keys = keys::latest();
        let name = self.state.id().name().unwrap_or_default();
        let (organization, place) = match RelayName::read(&name) {
            Some(RelayName { number, organization }) => (organization, Peer::Relay(number)),
            None => (name, Peer::Root),
        };
        let environment = Environment {
            now: now(),
            organization: organization.clone(),
            configuration: configuration.clone(),
            epoch: random_hex(8).map_err(failed)?,
        };
        let (server, effects) = match place {
            Peer::Root => TenantServer::wake(environment, stored),
            Peer::Relay(number) => TenantServer::wake_relay(environment, number, stored),
        };
        Ok((Life { identity: Rc::default(), organization, place, configuration, server, sockets, storage }, effects))
    }

    fn answer(&self, path: &str, body: &str) -> std::result::Result<Answer, Refusal> {
        match path {
            "/publish" | "/publish-for-client" => self.publish(path, body),
            "/changes" => self.take_changes(body),
            FRAME => self.take_frame(body),
            "/feed" => self.feed(body),
            "/peer" => {
                let outcome = self.happen(Input::PeerAsked { body: body.to_owned() })?;
                Ok(peer_answer(outcome.peer_answer.flatten()))
            }
            "/place" => Ok(place_answer(self.happen(Input::Place)?.placed.ok_or(Code::Internal)?)),
            "/admit" => self.admit(body),
            "/connections" | "/tables" | "/channels" => self.administer(path, body),
            "/stats" => self.stats(),
            _ => Err(Refusal::of(Code::NotFound)),
        }
    }

    fn publish(&self, path: &str, body: &str) -> std::result::Result<Answer, Refusal> {
        let input = if path == "/publish" {
            let request = PublishRequest::read(body)?;
            let remembered = self.with_life(|life| Ok(life.storage.remembered(request.ids())?))?;
            Input::Publish { publications: request.publications, remembered }
        } else {
            let (publisher, publications) = PublishRequest::read_for_client(body)?;
            Input::PublishForClient { publisher, publications }
        };
        let receipt = self.happen(input)?.published.ok_or(Code::Internal)??;
        Ok(Answer::from(&receipt))
    }

    /// Handles a frame that arrived as an HTTP request; its answers go to the socket.
    fn take_frame(&self, body: &str) -> std::result::Result<Answer, Refusal> {
        let (client_id, frame) = streaming::read_frame(body)?;
        let input = self.with_life(|life| {
            let socket = life.sockets.find(&client_id);
            Ok(socket.map(|socket| life.server.frame(socket, Received::Text(&frame))))
        })?;
        let input = input.ok_or_else(|| Refusal::because(Code::NotFound, "The stream has ended."))?;
        self.happen(input).map(|_| Answer::json(202, &serde_json::json!({})))
    }

    fn take_changes(&self, body: &str) -> std::result::Result<Answer, Refusal> {
        let input = self.with_life(|life| Ok(changes::changes(body, &life.organization, &life.configuration)))??;
        Ok(changes::taken(self.happen(input)?.taken.ok_or(Code::Internal)?))
    }

    fn feed(&self, body: &str) -> std::result::Result<Answer, Refusal> {
        let input = self.with_life(|life| Ok(changes::feed(body, &life.organization, &life.configuration)))??;
        self.happen(input).map(|_| Answer::json(200, &serde_json::json!({})))
    }

    fn administer(&self, path: &str, body: &str) -> std::result::Result<Answer, Refusal> {
        let answer = self.happen(administration::input(path, body)?)?.administered.ok_or(Code::Internal)?;
        answer.map(|administered| administration::answer(&administered))
    }

    fn stats(&self) -> std::result::Result<Answer, Refusal> {
        let figures = self.happen(Input::Stats)?.figures.ok_or(Code::Internal)?;
        self.with_life(|life| {
            let history = life.storage.history_count()?;
            Ok(Answer::figures(&life.organization, &figures, history, wasm_memory()))
        })
    }

    fn find(&self, socket: &WebSocket) -> Option<SocketId> {
        let client_id = tag(self.state.as_raw().unchecked_ref(), raw(socket))?;
        self.with_life(|life| Ok(life.sockets.find(&client_id))).ok().flatten()
    }

    fn gone(&self, socket: &WebSocket) {
        if let Some(id) = self.find(socket) {
            // If that failed, the next life may have given this number to another socket.
            let _ = self.happen(Input::Closed { socket: id }).and_then(|_| {
                self.with_life(|life| {
                    life.sockets.remove(id);
                    Ok(())
                })
            });
        }
    }

    pub(super) fn happen(&self, input: Input) -> std::result::Result<Outcome, Refusal> {
        let mut outcome = Outcome::default();
        self.run(input, &mut outcome)?;
        Ok(outcome)
    }

    pub(super) fn run(&self, input: Input, outcome: &mut Outcome) -> std::result::Result<(), Refusal> {
        let effects = self.with_life(|life| Ok(life.server.handle(now(), input)))?;
        let settled = self.settle(effects, outcome);
        if settled.is_err() {
            self.wake();
        }
        settled
    }

    /// Executes effects in order. The inputs that they produce are handled before any other event.
    ///
    /// # Errors
    /// When the runtime refuses an effect. Memory is then ahead of the storage, so this life ends and the next one
    /// starts from what is stored.
    fn settle(&self, effects: Vec<Effect>, outcome: &mut Outcome) -> std::result::Result<(), Refusal> {
        let mut pending = VecDeque::from([effects]);
        while let Some(effects) = pending.pop_front() {
            let done = self.with_life(|life| {
                let inputs = life.execute_all(effects, self.state.as_raw().unchecked_ref(), outcome)?;
                Ok(inputs.into_iter().map(|input| life.server.handle(now(), input)).collect::<Vec<_>>())
            });
            match done {
                Ok(next) => pending.extend(next),
                Err(refusal) => {
                    self.give_up();
                    return Err(refusal);
                }
            }
        }
        if std::mem::take(&mut outcome.fetch_keys) {
            self.fetch_keys();
        }
        std::mem::take(&mut outcome.calls).into_iter().for_each(|calling| self.call(calling));
        std::mem::take(&mut outcome.timers).into_iter().for_each(|time| self.tick_at(time));
        std::mem::take(&mut outcome.peers).into_iter().for_each(|(peer, body)| self.ask_peer(peer, body));
        std::mem::take(&mut outcome.questions).into_iter().for_each(|(database, request)| self.ask(database, request));
        Ok(())
    }

    /// Ends this life: from here on it writes nothing.
    fn give_up(&self) {
        let state: &RawState = self.state.as_raw().unchecked_ref();
        let _ = self.with_life(|life| {
            let effects = life.server.give_up();
            life.execute_all(effects, state, &mut Outcome::default())
        });
        self.life.take();
    }

    /// Calls a function without blocking the object.
    fn call(&self, calling: Calling) {
        let object = self.clone();
        self.state.wait_until(async move {
            let organization = object.with_life(|life| Ok(life.organization.clone())).unwrap_or_default();
            let answer = function::call(&object.env, &organization, &calling).await;
            let Calling { socket, client_id, call, .. } = calling;
            let _ = object.happen(Input::Called(CallAnswer { socket, client_id, call, answer }));
        });
    }

    /// Asks the object of a database without blocking this one.
    fn ask(&self, database: Rc<str>, request: SourceRequest) {
        let object = self.clone();
        self.state.wait_until(async move {
            let answer = source_link::ask(&object.env, &database, &request).await;
            let _ = object.happen(request.answered(answer));
        });
    }

    /// Asks another object of the organization without blocking this one.
    fn ask_peer(&self, peer: Peer, body: String) {
        let object = self.clone();
        let asker = self.with_life(|life| Ok((life.organization.clone(), life.identity.clone())));
        let Ok((organization, identity)) = asker else { return };
        self.state.wait_until(async move {
            let answer = relay::ask(&object.env, &organization, peer, &body).await;
            // The answer names no request, and another life has requests of its own.
            if object.with_life(|life| Ok(Rc::ptr_eq(&life.identity, &identity))).unwrap_or_default() {
                let _ = object.happen(Input::PeerAnswered { peer, answer });
            }
        });
    }

    /// A timer of a few milliseconds, too short to keep the object from hibernating.
    fn tick_at(&self, time: u64) {
        let object = self.clone();
        self.state.wait_until(async move {
            Delay::from(Duration::from_millis(time.saturating_sub(now()))).await;
            let _ = object.happen(Input::Tick);
        });
    }

    /// Fetches the key set without blocking the object; frames that need it wait in order.
    fn fetch_keys(&self) {
        let object = self.clone();
        self.state.wait_until(async move {
            let url = object.with_life(|life| Ok(life.configuration.credentials.tokens.key_set_url.clone()));
            let answer = match url {
                Ok(Some(url)) => keys::fetch(&url).await,
                _ => None,
            };
            let _ = object.happen(Input::KeysFetched(answer));
        });
    }

    /// Runs `act` on this life. A fault is logged here; the caller sees only [`Code::Internal`].
    pub(super) fn with_life<T>(
        &self,
        act: impl FnOnce(&mut Life) -> std::result::Result<T, Fault>,
    ) -> std::result::Result<T, Refusal> {
        let entered_twice = |_| failed(Fault::new("the object was entered while an input was handled"));
        let mut life = self.life.try_borrow_mut().map_err(entered_twice)?;
        act(life.as_mut().ok_or(Code::Internal)?).map_err(failed)
    }
}
