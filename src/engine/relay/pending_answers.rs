//! The answers that the root owes to a relay's sockets. Answers are not in the history: if some may be lost, the
//! clients that wait for them must reconnect.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::checkpoint::CheckpointSocket;
use super::form::{Down, OriginForm, SessionForm, TopicForm, Up};
use crate::engine::input::SocketId;

impl OriginForm {
    /// The answer for a client that gets no other answer to its message.
    pub(super) fn done(self) -> Option<Down> {
        let session = self.session;
        self.acknowledge.map(|id| Down::Done { session, id })
    }
}

/// Up to this many sockets, closed ones are not removed.
const MANY: usize = 1_024;

/// By socket.
#[derive(Default)]
pub(super) struct PendingAnswers(BTreeMap<u32, WaitingSocket>);

struct WaitingSocket {
    client_id: Rc<str>,
    answers: BTreeSet<ExpectedAnswer>,
}

/// An answer that a socket waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ExpectedAnswer {
    /// To a command with this correlation id.
    To(String),
    /// To the client's own message, which it does not receive.
    Own,
    /// That it is present, or no longer.
    Present(Option<TopicForm>),
    /// A roster.
    Roster(TopicForm),
}

impl PendingAnswers {
    /// Records the expected answer to a message; `client_id` is the public id of its socket.
    pub(super) fn asked(&mut self, message: &Up, client_id: impl FnOnce(SocketId) -> Option<Rc<str>>) {
        let (session, answers) = match message {
            Up::Publish { session, acknowledge: Some(id), .. } => (*session, vec![ExpectedAnswer::To(id.clone())]),
            Up::Publish { session, echo: false, keep: true, .. } => (*session, vec![ExpectedAnswer::Own]),
            Up::Track { session, topic, id, .. } => {
                (*session, vec![id.clone().map_or_else(|| ExpectedAnswer::Present(topic.clone()), ExpectedAnswer::To)])
            }
            Up::Untrack { session, topic, .. } => (*session, vec![ExpectedAnswer::Present(topic.clone())]),
            Up::Roster { session, topic } => (*session, vec![ExpectedAnswer::Roster(topic.clone())]),
            _ => return,
        };
        let (socket, _): SessionForm = session;
        if let Some(client_id) = client_id(SocketId(socket)) {
            let waiting = self
                .0
                .entry(socket)
                .or_insert_with(|| WaitingSocket { client_id: client_id.clone(), answers: BTreeSet::new() });
            if waiting.client_id != client_id {
                *waiting = WaitingSocket { client_id, answers: BTreeSet::new() };
            }
            waiting.answers.extend(answers);
        }
    }

    /// Removes closed sockets if there are many.
    pub(super) fn tidy(&mut self, is_open: impl Fn(SocketId) -> bool) {
        if self.0.len() > MANY {
            self.0.retain(|socket, _| is_open(SocketId(*socket)));
        }
    }

    /// Handles a message of the root.
    pub(super) fn answered(&mut self, message: &Down) {
        let (session, answers) = match message {
            Down::Publish { origin: Some(origin), .. } => {
                (origin.session, vec![origin.acknowledge.clone().map_or(ExpectedAnswer::Own, ExpectedAnswer::To)])
            }
            Down::Done { session, id } => (*session, vec![ExpectedAnswer::To(id.clone())]),
            Down::Refused { session, id, topic, .. } => {
                let roster = topic.clone().map(ExpectedAnswer::Roster);
                let present = ExpectedAnswer::Present(topic.clone());
                (*session, id.iter().cloned().map(ExpectedAnswer::To).chain(roster).chain([present]).collect())
            }
            Down::Present { session, topic, .. } => (*session, vec![ExpectedAnswer::Present(topic.clone())]),
            Down::Roster { session, topic: Some(topic), .. } => (*session, vec![ExpectedAnswer::Roster(topic.clone())]),
            _ => return,
        };
        let (socket, _): SessionForm = session;
        let Some(waiting) = self.0.get_mut(&socket) else { return };
        answers.iter().for_each(|answer| _ = waiting.answers.remove(answer));
        if waiting.answers.is_empty() {
            self.0.remove(&socket);
        }
    }

    /// Takes the sockets that wait for an answer.
    pub(super) fn take(&mut self) -> Vec<CheckpointSocket> {
        std::mem::take(&mut self.0).into_iter().map(|(socket, waiting)| (SocketId(socket), waiting.client_id)).collect()
    }
}
