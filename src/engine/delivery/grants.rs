//! Private topics that no channel policy covers: the database's policies decide, once per principal. The frame that
//! needs the answer waits for it, and so do later frames of its socket.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Delivery;
use crate::engine::command::{Command, Target};
use crate::engine::effect::{Question, Task};
use crate::engine::input::SocketId;
use crate::engine::message::Out;
use crate::policy::channel::Topic;
use crate::policy::database::{Group, Standing};
use crate::policy::principal::Principal;
use crate::policy::topic_grant::TopicGrant;
use crate::value::json;

/// How long an answer is reused, in milliseconds, because many clients join a topic at once.
const REUSE: u64 = 5_000;

/// Group and topic.
type GrantKey = (Rc<str>, Rc<str>);

/// Pending questions and recent answers; `None` when the database did not answer.
#[derive(Default)]
pub(super) struct Grants {
    last: u64,
    asking: BTreeMap<u64, (GrantKey, Vec<SocketId>)>,
    recent: BTreeMap<GrantKey, (u64, Option<TopicGrant>)>,
}

/// Why a principal has no grant.
pub(super) enum NoGrant {
    /// The database has to be asked.
    Unknown(Rc<Group>, Topic),
    /// The database was asked and did not answer.
    Unavailable,
}

impl Grants {
    /// Whether a frame of a socket waits for an answer.
    pub(super) fn makes_wait(&self, socket: SocketId) -> bool {
        self.asking.values().any(|(_, sockets)| sockets.contains(&socket))
    }

    /// Forgets a closed socket.
    pub(super) fn forget(&mut self, socket: SocketId) {
        self.asking.values_mut().for_each(|(_, sockets)| sockets.retain(|waiting| *waiting != socket));
    }
}

impl Delivery {
    /// The principal, with the database's grants for these topics added.
    pub(super) fn granted(
        &self,
        now: u64,
        principal: &Rc<Principal>,
        topics: &[Topic],
    ) -> Result<Rc<Principal>, NoGrant> {
        let mut granted = principal.clone();
        for topic in topics {
            let is_open =
                granted.grants.contains_key(&*topic.name) || !self.configuration.leaves_to_database(topic, principal);
            let grant = match self.registry.standing(principal) {
                _ if is_open => continue,
                None | Some(Standing::Nobody) => continue,
                // PostgreSQL has no text with a zero byte, so no policy can grant anything there.
                Some(Standing::Group(_)) if topic.name.contains('\0') => continue,
                Some(Standing::Bypass) => TopicGrant::ALL,
                Some(Standing::Group(group)) => self.recent_grant(now, group, topic)?,
            };
            Rc::make_mut(&mut granted).grants.insert(topic.name.to_string(), grant);
        }
        Ok(granted)
    }

    fn recent_grant(&self, now: u64, group: Rc<Group>, topic: &Topic) -> Result<TopicGrant, NoGrant> {
        match self.waits.grants.recent.get(&(group.id.clone(), topic.name.clone())).filter(|(until, _)| *until > now) {
            None => Err(NoGrant::Unknown(group, topic.clone())),
            Some((_, None)) => Err(NoGrant::Unavailable),
            Some((_, Some(grant))) => Ok(*grant),
        }
    }

    /// Queues a frame until the database has answered.
    pub(super) fn wait_for_grant(
        &mut self,
        id: SocketId,
        (group, topic): (Rc<Group>, Topic),
        command: Command,
        out: &mut Out,
    ) {
        let Some(database) = self.registry.database.as_ref().map(|link| link.interest.database().name.clone()) else {
            return;
        };
        let Some(socket) = self.registry.socket_mut(id) else { return };
        socket.waiting.get_or_insert_default().push_front(Ok(command));
        let key = (group.id.clone(), topic.name.clone());
        if let Some((_, sockets)) = self.waits.grants.asking.values_mut().find(|(asked, _)| *asked == key) {
            return sockets.push(id);
        }
        self.waits.grants.last += 1;
        let number = self.waits.grants.last;
        self.waits.grants.asking.insert(number, (key, vec![id]));
        let question = Question::Authorize { number, body: body(&group, &topic) };
        out.run(Task::AskDatabase { database, question });
    }

    /// Applies the database's grants, and releases the frames that waited for them.
    pub(in crate::engine) fn authorized(&mut self, now: u64, number: u64, text: Option<&str>) {
        let Some((key, sockets)) = self.waits.grants.asking.remove(&number) else { return };
        let grant = text.and_then(|text| serde_json::from_str(text).ok());
        self.waits.grants.recent.retain(|_, (until, _)| *until > now);
        self.waits.grants.recent.insert(key, (now.saturating_add(REUSE), grant));
        for id in sockets {
            let frames = self.registry.socket_mut(id).and_then(|socket| socket.waiting.take());
            self.backlog.release(id, frames);
        }
    }
}

/// The topics in which a command needs rights.
pub(super) fn topics_of(command: &Command) -> Vec<Topic> {
    match command {
        Command::Subscribe(subscribe) => match &subscribe.target {
            Target::Topic { topic, .. } => vec![topic.clone()],
            Target::Table(_) => Vec::new(),
        },
        Command::Authenticate(frame) => {
            let targets = frame.subscriptions.iter().flatten().map(|subscribe| &subscribe.target);
            let topic = |target: &Target| match target {
                Target::Topic { topic, .. } => Some(topic.clone()),
                Target::Table(_) => None,
            };
            targets.filter_map(topic).collect()
        }
        Command::Publish { topic, .. } => vec![topic.clone()],
        Command::Track { topic, .. } => topic.iter().cloned().collect(),
        _ => Vec::new(),
    }
}

fn body(group: &Group, topic: &Topic) -> String {
    let mut out = String::from("{\"role\":");
    json::write_string(&mut out, &group.role);
    out.push_str(",\"claims\":");
    out.push_str(&group.claims);
    out.push_str(",\"topic\":");
    json::write_string(&mut out, &topic.name);
    out.push('}');
    out
}
