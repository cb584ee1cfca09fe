//! Messages of a relay's delivery to the stream: answered here if the root's answer is at hand, otherwise forwarded to
//! it.

use super::codec;
use super::form::{PayerForm, Up};
use super::tenant::RelayTenant;
use crate::code::{Code, Refusal};
use crate::engine::budget;
use crate::engine::command::Position;
use crate::engine::message::{From, Missed, Out, Read, SessionId, ToDelivery, ToStream, Tracking};
use crate::engine::profile::RosterOnTracking;

impl RelayTenant {
    /// Answers like the stream, or asks the root.
    pub(super) fn say(&mut self, message: ToStream, out: &mut Out) {
        match message {
            ToStream::Begin => {}
            ToStream::Delivered { frames } => {
                self.frames += frames;
                let units = |bytes: usize| budget::frames(frames, bytes);
                let payer = self.payer.take().map(|(payer, bytes)| (payer, units(bytes)));
                self.report.delivered(frames, payer.filter(|(_, units)| *units > 0));
            }
            ToStream::Resume { session, from, then } => {
                let asked = !matches!(from, From::Now);
                if asked && self.answer.is_none() && self.delivery.database_name().is_some() {
                    return self.ask_for_missed(session, &from, then);
                }
                let (position, missed) = match &mut self.answer {
                    Some(known) => (known.position.clone(), known.missed.take()),
                    None => (Position { epoch: String::new(), offset: 0 }, None),
                };
                // The root has charged for the reading.
                let read = Read::default();
                let missed = asked.then(|| missed.unwrap_or(Missed::TooMuch));
                out.to_delivery.push_back(ToDelivery::Resumed { session, position, missed, read, then });
            }
            ToStream::Roster { session, topic } => {
                let known = self.answer.iter().flat_map(|known| &known.rosters).find(|(known, _)| *known == topic);
                match known {
                    Some((_, members)) => {
                        let (members, topic) = (members.clone(), Some(topic));
                        out.to_delivery.push_back(ToDelivery::Roster { session, topic, members });
                    }
                    None => self.hand_over(Up::Roster {
                        session: codec::session_form(session),
                        topic: codec::topic_form(&topic),
                    }),
                }
            }
            message => self.submit(message, out),
        }
    }

    fn submit(&mut self, message: ToStream, out: &mut Out) {
        match self.refused(&message) {
            Some(refused) => out.to_delivery.push_back(refused),
            None => self.forward(message),
        }
    }

    /// How a client's message is refused while too much waits for the root; `None`: it is forwarded.
    fn refused(&mut self, message: &ToStream) -> Option<ToDelivery> {
        if !self.link.is_full() {
            return None;
        }
        let (session, id, topic) = match message {
            ToStream::Publish { origin, .. } => (origin.session, origin.acknowledge.clone(), None),
            ToStream::Track(Tracking { session, topic, id, .. }) => (*session, id.clone(), topic.clone()),
            ToStream::Update { session, topic, .. } => (*session, None, topic.clone()),
            _ => return None,
        };
        self.delivery.take_units();
        Some(ToDelivery::Refused { session, refusal: Refusal::of(Code::Overloaded), id, topic })
    }

    /// Forwards a message to the root.
    pub(super) fn forward(&mut self, message: ToStream) {
        let units = self.delivery.take_units();
        let message = match message {
            ToStream::Publish { publication, keep, origin } => {
                let is_answered = origin.acknowledge.is_some() || self.report.wants(&publication);
                let message = Up::Publish {
                    session: codec::session_form(origin.session),
                    payer: self.payer_of(origin.session),
                    units,
                    keep,
                    source: codec::raw(&publication.source),
                    acknowledge: origin.acknowledge,
                    echo: origin.echo,
                    persist: origin.persist,
                    key: origin.key,
                };
                if !is_answered {
                    return self.link.push(message);
                }
                message
            }
            ToStream::Track(Tracking { session, topic, member, owns_key, roster, id }) => {
                let always = roster == RosterOnTracking::Always;
                let is_answered = id.is_some() || always || !self.delivery.is_present(session, &topic);
                let message = Up::Track {
                    session: codec::session_form(session),
                    payer: self.payer_of(session),
                    units,
                    topic: codec::place_form(&topic),
                    member: codec::member_form(&member),
                    owns_key,
                    roster: roster >= RosterOnTracking::Appearing,
                    again: always,
                    id,
                };
                if !is_answered {
                    return self.link.push(message);
                }
                message
            }
            ToStream::Update { session, topic, client_id, metadata } => Up::Update {
                session: codec::session_form(session),
                payer: self.payer_of(session),
                units,
                topic: codec::place_form(&topic),
                client: client_id.to_string(),
                metadata: codec::raw(&metadata),
            },
            ToStream::Untrack { session, topic, client_id, key } => Up::Untrack {
                session: codec::session_form(session),
                topic: codec::place_form(&topic),
                client: client_id.to_string(),
                key: key.as_deref().map(str::to_owned),
            },
            ToStream::Gather { topic, change, only } => {
                let Some(change) = codec::event_form(&change) else { return };
                Up::Gather { topic: codec::place_form(&topic), change, only: only.map(codec::session_form) }
            }
            ToStream::Gone { client_id } => Up::Gone { client: client_id.to_string() },
            ToStream::Begin | ToStream::Delivered { .. } | ToStream::Resume { .. } | ToStream::Roster { .. } => return,
        };
        self.hand_over(message);
    }

    fn hand_over(&mut self, message: Up) {
        let client_id = |socket| self.delivery.payer(socket).map(|(client_id, _)| client_id);
        self.progress.pending_answers.asked(&message, client_id);
        self.progress.pending_answers.tidy(|socket| client_id(socket).is_some());
        self.link.push(message);
    }

    pub(super) fn payer_of(&self, session: SessionId) -> PayerForm {
        let (socket, user) = self.delivery.payer(session.socket).unwrap_or_default();
        PayerForm { socket: socket.to_string(), user }
    }
}
