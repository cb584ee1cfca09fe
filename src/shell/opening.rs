//! Opens sockets at an organization's object or at one of its relays.

use worker::{Request, Response, Result, WebSocketPair};

use super::broadcaster::Broadcaster;
use super::fault::{failed, unreachable};
use super::life::Outcome;
use super::runtime::uuid;
use super::sockets::raw;
use super::{http, rejection, relay};
use crate::code::{Code, Refusal};
use crate::engine::input::{DialectId, Input};
use crate::engine::relay::Peer;
use crate::engine::relay::tenant::client_id;
use crate::server::admission::{Admission, HEADER};
use crate::server::answer::Answer;
use crate::server::handshake;
use crate::server::relay::{AdmissionAnswer, AdmissionQuestion, FULL};

impl Broadcaster {
    /// Opens a socket, or responds with the reason why not.
    ///
    /// # Errors
    /// When the object can do neither.
    pub(super) async fn open(&self, request: &Request) -> std::result::Result<Result<Response>, Refusal> {
        let admission = http::header(request.inner(), HEADER).and_then(|header| Admission::read(&header));
        let admission = admission.ok_or(Code::Internal)?;
        let pair = WebSocketPair::new().map_err(failed)?;
        let place = self.with_life(|life| Ok(life.place))?;
        if let Peer::Relay(number) = place {
            let random = uuid().map_err(failed)?;
            return self.open_at_relay(admission, pair, client_id(number, &random)).await;
        }
        let random = admission.client_id.clone().map_or_else(uuid, Ok).map_err(failed)?;
        let first = admission.first()?;
        let opening = raw(&pair.server).clone();
        let (dialect, protocol) = (DialectId(admission.dialect), admission.protocol.clone());
        let open = self.with_life(|life| {
            let is_used = match &admission.ticket {
                Some((id, _)) => life.storage.is_spent(id)?,
                None => false,
            };
            Ok(admission.open(life.server.vacant(), random, is_used))
        })?;
        let mut outcome = Outcome { opening: Some(opening), ..Outcome::default() };
        let socket = open.socket;
        self.run(Input::Open(open), &mut outcome)?;
        if let Some(command) = first.filter(|_| outcome.rejected.is_none()) {
            self.run(Input::Frame { socket, frame: Ok(command), bytes: 0 }, &mut outcome)?;
        }
        self.opened(outcome, pair, (dialect, protocol.as_deref()))
    }

    fn opened(
        &self,
        outcome: Outcome,
        pair: WebSocketPair,
        (dialect, protocol): (DialectId, Option<&str>),
    ) -> std::result::Result<Result<Response>, Refusal> {
        match outcome.rejected {
            Some(refusal) => Ok(rejection::respond(&handshake::refused_by_object(dialect, &refusal), protocol)),
            None => Ok(self.upgraded(pair, protocol)),
        }
    }

    /// The response that opens a socket. It says whether the object has reached its share of sockets, so that the next
    /// ones go to a relay.
    fn upgraded(&self, pair: WebSocketPair, protocol: Option<&str>) -> Result<Response> {
        let response = http::upgrade(pair.client, protocol)?;
        let is_full = self.with_life(|life| {
            let share = life.configuration.relays.map(|relays| relays.sockets);
            Ok(share.is_some_and(|share| life.server.sockets() >= share))
        });
        if is_full.unwrap_or_default() {
            response.headers().set(FULL, "1")?;
        }
        Ok(response)
    }

    /// Opens a socket at a relay. Only the organization's own object knows whether a ticket was used before, and how
    /// many sockets a user has elsewhere.
    async fn open_at_relay(
        &self,
        mut admission: Admission,
        pair: WebSocketPair,
        client_id: String,
    ) -> std::result::Result<Result<Response>, Refusal> {
        let (organization, place) = self.with_life(|life| Ok((life.organization.clone(), life.place)))?;
        let mut admitted = Default::default();
        if let (Peer::Relay(number), true) = (place, admission.principal.is_some() || admission.ticket.is_some()) {
            let user = admission.principal.as_ref().and_then(|principal| principal.user.clone());
            let question = AdmissionQuestion { relay: number, user, ticket: admission.ticket.take() };
            let asked = relay::post(&self.env, &organization, Peer::Root, "/admit", &question.text()).await;
            let (_, answer) = asked.map_err(unreachable)?;
            admitted = AdmissionAnswer::read(&answer).ok_or(Code::Overloaded)?;
            // The organization's object has redeemed a valid ticket.
            admission.ticket = question.ticket.filter(|_| admitted.is_spent);
        }
        let (dialect, protocol) = (DialectId(admission.dialect), admission.protocol.clone());
        let opening = raw(&pair.server).clone();
        let open = self.with_life(|life| Ok(admission.open(life.server.vacant(), client_id, admitted.is_spent)))?;
        let mut outcome = Outcome { opening: Some(opening), ..Outcome::default() };
        self.run(Input::OpenAtRelay { open, census: admitted.census }, &mut outcome)?;
        self.opened(outcome, pair, (dialect, protocol.as_deref()))
    }

    /// Answers a relay that is about to open a socket.
    ///
    /// # Errors
    /// When the request is malformed.
    pub(super) fn admit(&self, body: &str) -> std::result::Result<Answer, Refusal> {
        let question = AdmissionQuestion::read(body).ok_or(Code::InvalidRequest)?;
        let is_used = self.with_life(|life| match &question.ticket {
            Some((id, _)) => Ok(life.storage.is_spent(id)?),
            None => Ok(false),
        })?;
        let admitted = self.happen(question.input(is_used))?.admitted.ok_or(Code::Internal)?;
        Ok(AdmissionAnswer::of(admitted).answer())
    }
}
