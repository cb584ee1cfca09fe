//! What the root has yet to answer to a relay's sockets. Answers are in no history: where some may be lost, those who wait
//! for one have to come back.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::form::{Down, OriginForm, SessionForm, TopicForm, Up};
use super::heard::NotedSocket;
use crate::engine::input::SocketId;

impl OriginForm {
    /// What the client is told that hears nothing else of its message.
    pub(super) fn done(self) -> Option<Down> {
        let session = self.session;
        self.acknowledge.map(|id| Down::Done { session, id })
    }
}

/// Sockets of which those that are gone are kept.
const MANY: usize = 1_024;

/// By socket.
#[derive(Default)]
pub(super) struct Owed(BTreeMap<u32, Debt>);

struct Debt {
    client_id: Rc<str>,
    answers: BTreeSet<OwedAnswer>,
}

/// An answer that is waited for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum OwedAnswer {
    /// Under this correlation id.
    To(String),
    /// The client's own message, which it is not to hear.
    Own,
    /// That it is present, or no longer.
    Present(Option<TopicForm>),
    /// Who is present.
    Roster(TopicForm),
}

impl Owed {
    /// Notes what a message will be answered with; `client_id` is the public id of its socket.
    pub(super) fn asked(&mut self, message: &Up, client_id: impl FnOnce(SocketId) -> Option<Rc<str>>) {
        let (session, answers) = match message {
            Up::Publish { session, acknowledge: Some(id), .. } => (*session, vec![OwedAnswer::To(id.clone())]),
            Up::Publish { session, echo: false, keep: true, .. } => (*session, vec![OwedAnswer::Own]),
            Up::Track { session, topic, id, .. } => {
                (*session, vec![id.clone().map_or_else(|| OwedAnswer::Present(topic.clone()), OwedAnswer::To)])
            }
            Up::Untrack { session, topic, .. } => (*session, vec![OwedAnswer::Present(topic.clone())]),
            Up::Roster { session, topic } => (*session, vec![OwedAnswer::Roster(topic.clone())]),
            _ => return,
        };
        let (socket, _): SessionForm = session;
        if let Some(client_id) = client_id(SocketId(socket)) {
            let debt =
                self.0.entry(socket).or_insert_with(|| Debt { client_id: client_id.clone(), answers: BTreeSet::new() });
            if debt.client_id != client_id {
                *debt = Debt { client_id, answers: BTreeSet::new() };
            }
            debt.answers.extend(answers);
        }
    }

    /// Forgets sockets that are gone, where there are many.
    pub(super) fn tidy(&mut self, is_open: impl Fn(SocketId) -> bool) {
        if self.0.len() > MANY {
            self.0.retain(|socket, _| is_open(SocketId(*socket)));
        }
    }

    /// Takes in a message of the root.
    pub(super) fn answered(&mut self, message: &Down) {
        let (session, answers) = match message {
            Down::Publish { origin: Some(origin), .. } => {
                (origin.session, vec![origin.acknowledge.clone().map_or(OwedAnswer::Own, OwedAnswer::To)])
            }
            Down::Done { session, id } => (*session, vec![OwedAnswer::To(id.clone())]),
            Down::Refused { session, id, topic, .. } => {
                let roster = topic.clone().map(OwedAnswer::Roster);
                let present = OwedAnswer::Present(topic.clone());
                (*session, id.iter().cloned().map(OwedAnswer::To).chain(roster).chain([present]).collect())
            }
            Down::Present { session, topic, .. } => (*session, vec![OwedAnswer::Present(topic.clone())]),
            Down::Roster { session, topic: Some(topic), .. } => (*session, vec![OwedAnswer::Roster(topic.clone())]),
            _ => return,
        };
        let (socket, _): SessionForm = session;
        let Some(debt) = self.0.get_mut(&socket) else { return };
        answers.iter().for_each(|answer| _ = debt.answers.remove(answer));
        if debt.answers.is_empty() {
            self.0.remove(&socket);
        }
    }

    /// The sockets that wait for an answer; they are forgotten with it.
    pub(super) fn take(&mut self) -> Vec<NotedSocket> {
        std::mem::take(&mut self.0).into_iter().map(|(socket, debt)| (SocketId(socket), debt.client_id)).collect()
    }
}
