//! The registry: every socket and session, and the indexes by which they are found.
//!
//! Sessions are changed only here, so the indexes are always up to date.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::away::Away;
use super::claim_index::ClaimIndex;
use super::class::{Classes, Scope};
use super::class_key_cache::ClassKeyCache;
use super::database::DatabaseLink;
use super::heartbeat::Heartbeats;
use super::session::{Session, Subscription};
use super::socket::Socket;
use super::sockets::Sockets;
use crate::engine::census::Census;
use crate::engine::command::Position;
use crate::engine::input::SocketId;
use crate::engine::message::{From, SessionId};
use crate::engine::profile::Profile;
use crate::policy::channel::Topic;
use crate::policy::configuration::Configuration;

/// One tenant's sockets and sessions.
pub(super) struct Registry {
    pub(super) configuration: Rc<Configuration>,
    sockets: Sockets,
    /// Sessions by class.
    pub(super) classes: Classes,
    class_keys: ClassKeyCache,
    /// Sessions by user and claims.
    claims: ClaimIndex,
    pub(super) heartbeats: Heartbeats,
    /// The organization's source database, to which the listeners are reported.
    pub(super) database: Option<DatabaseLink>,
    /// Sessions with subscriptions that are not active yet.
    pub(super) awaiting: BTreeSet<SessionId>,
    deadlines: BTreeSet<(u64, Due)>,
    /// Sockets whose stored state is out of date.
    unsaved: BTreeSet<SocketId>,
    /// The tenant's sockets at other objects.
    pub(super) census: Rc<RefCell<Census>>,
    /// What a relay records for the object with the stream.
    pub(super) away: Option<Away>,
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The socket's first authentication.
    Authentication(SocketId),
    /// The end of a session's token, or of its grace period.
    Expiry(SessionId),
    /// The end of a session's wait for the database.
    Database(SessionId),
}

impl Registry {
    /// A registry without sockets.
    pub(super) fn new(
        configuration: Rc<Configuration>,
        database: Option<DatabaseLink>,
        heartbeats: Heartbeats,
    ) -> Registry {
        Registry {
            configuration,
            sockets: Sockets::default(),
            classes: Classes::default(),
            class_keys: ClassKeyCache::default(),
            claims: ClaimIndex::default(),
            heartbeats,
            database,
            awaiting: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            unsaved: BTreeSet::new(),
            census: Rc::default(),
            away: None,
        }
    }

    pub(super) fn socket(&self, id: SocketId) -> Option<&Socket> {
        self.sockets.get(id)
    }

    /// Mutable access, for state that no index depends on.
    pub(super) fn socket_mut(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.sockets.get_mut(id)
    }

    pub(super) fn session(&self, id: SessionId) -> Option<&Session> {
        self.sockets.session(id)
    }

    /// The profile of a socket's dialect.
    pub(super) fn profile(&self, id: SocketId) -> Option<&'static Profile> {
        self.sockets.get(id).map(|socket| socket.profile)
    }

    /// All sockets, and the counts of each kind.
    pub(super) fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    pub(super) fn sockets_mut(&mut self) -> impl Iterator<Item = &mut Socket> {
        self.sockets.iter_mut()
    }

    /// A number for the next socket.
    pub(super) fn vacant(&mut self) -> SocketId {
        self.sockets.vacant()
    }

    /// Adds a socket with its sessions.
    pub(super) fn insert(&mut self, mut socket: Socket) {
        let is_away = self.away.is_some();
        socket.sessions.iter_mut().for_each(|session| session.keeps_places = is_away);
        if socket.principal().is_none() {
            self.deadlines.insert((socket.deadline(), Due::Authentication(socket.id)));
        }
        if self.configuration.heartbeats {
            self.heartbeats.add(&socket);
        }
        let sessions: Vec<SessionId> = socket.sessions.iter().map(|session| session.id).collect();
        self.away.iter_mut().for_each(|away| away.counted(&socket));
        self.sockets.insert(socket);
        sessions.into_iter().for_each(|session| self.list(session));
    }

    /// Removes a socket whose sessions have left.
    pub(super) fn remove(&mut self, id: SocketId) -> Option<Socket> {
        let socket = self.sockets.remove(id)?;
        self.away.iter_mut().for_each(|away| away.counted(&socket));
        self.deadlines.remove(&(socket.deadline(), Due::Authentication(id)));
        self.heartbeats.remove(&socket);
        self.unsaved.remove(&id);
        Some(socket)
    }

    /// Adds a session.
    pub(super) fn enter(&mut self, mut session: Session) {
        let id = session.id;
        session.keeps_places = self.away.is_some();
        if let Some(socket) = self.sockets.get(id.socket) {
            self.deadlines.remove(&(socket.deadline(), Due::Authentication(id.socket)));
        }
        self.sockets.enter(session);
        self.list(id);
        self.unsaved.insert(id.socket);
    }

    /// Removes a session.
    pub(super) fn leave(&mut self, id: SessionId) -> Option<Session> {
        self.unlist(id);
        let session = self.sockets.leave(id)?;
        self.unsaved.insert(id.socket);
        Some(session)
    }

    /// Changes a session and updates all indexes.
    pub(super) fn change(&mut self, id: SessionId, change: impl FnOnce(&mut Session)) {
        self.relist(id, |session| {
            session.is_saved = false;
            change(session);
        });
        self.unsaved.insert(id.socket);
    }

    /// Changes a session's user, and counts its socket for the new one.
    pub(super) fn change_identity(&mut self, id: SessionId, change: impl FnOnce(&mut Session)) {
        self.sockets.count(id.socket, false);
        self.change(id, change);
        self.sockets.count(id.socket, true);
    }

    /// Changes session state that the attachment does not hold.
    pub(super) fn relist(&mut self, id: SessionId, change: impl FnOnce(&mut Session)) {
        self.unlist(id);
        if let Some(session) = self.sockets.session_mut(id) {
            change(session);
        }
        self.list(id);
    }

    /// Adds a subscription. For a topic, only the indexes of that topic are updated.
    pub(super) fn subscribe(&mut self, id: SessionId, subscription: Subscription) {
        let name = subscription.id.clone();
        let place = subscription.topic().cloned();
        let add = |session: &mut Session| {
            session.stop_waiting_for(&name);
            session.subscriptions.push(subscription);
        };
        match place {
            Some(topic) => self.change_topic(id, &Some(topic), add),
            None => self.change(id, add),
        }
    }

    /// Removes the subscriptions with this id; `false` when there are none.
    pub(super) fn unsubscribe(&mut self, id: SessionId, name: &str) -> bool {
        let Some(first) = self.session(id).and_then(|session| session.subscriptions.get(name)) else { return false };
        let place = first.topic().cloned();
        let is_alone = self.session(id).is_some_and(|session| session.subscriptions.count_of(name) == 1);
        let remove = |session: &mut Session| {
            session.stop_waiting_for(name);
            session.subscriptions.remove(name);
        };
        match place {
            Some(topic) if is_alone => self.change_topic(id, &Some(topic), remove),
            _ => self.change(id, remove),
        }
        true
    }

    /// Changes a session's state for one topic, or for the lobby.
    fn change_topic(&mut self, id: SessionId, place: &Option<Topic>, change: impl FnOnce(&mut Session)) {
        self.relist_topic(id, place, |session| {
            session.is_saved = false;
            change(session);
        });
        self.unsaved.insert(id.socket);
    }

    /// The same, for state that the attachment does not hold.
    pub(super) fn relist_topic(&mut self, id: SessionId, place: &Option<Topic>, change: impl FnOnce(&mut Session)) {
        let Some(profile) = self.sockets.get(id.socket).map(|socket| socket.profile) else { return };
        let Some(session) = self.sockets.session_mut(id) else { return };
        let was_hearing = session.topics().next().is_some();
        change(session);
        for (scope, key) in session.class_keys_of(place, profile, &self.configuration) {
            match (session.classes.remove(&scope), key) {
                (Some(before), Some(_)) => session.classes.insert(before),
                (Some(before), None) => self.classes.leave(&before, id),
                (None, Some(key)) => {
                    let key = self.classes.join(Rc::new(key), id);
                    self.away.iter_mut().for_each(|away| away.joined(&key));
                    session.classes.insert(key);
                }
                (None, None) => {}
            }
        }
        // Sessions that receive anything are reported to the database's object.
        if session.topics().next().is_some() != was_hearing {
            self.listen_no_more(id);
            self.listen(id);
        }
    }

    /// What a session that recovers from a position requests.
    pub(super) fn since(&self, id: SessionId, position: Position) -> From {
        let topics = self.session(id).iter().flat_map(|session| session.topics()).cloned().collect();
        From::Position(position, topics)
    }

    /// The sessions that have this value of a claim.
    pub(super) fn holders(&self, claim: &str, value: &str) -> impl Iterator<Item = SessionId> {
        let has_it = move |session: &Session| session.principal.claim(claim).iter().any(|held| held == value);
        self.claims.candidates(claim, value).filter(move |id| self.session(*id).is_some_and(has_it))
    }

    /// Marks a socket's state to be stored before the effects of this input end.
    pub(super) fn save_later(&mut self, id: SocketId) {
        self.unsaved.insert(id);
    }

    /// Stores the topics of a session's presence again, unless rows of this object have them.
    pub(super) fn save_places(&mut self, id: SessionId) {
        let Some(session) = self.sockets.session_mut(id).filter(|session| session.keeps_places) else { return };
        session.is_saved = false;
        self.unsaved.insert(id.socket);
    }

    /// From now on, records what the object with the stream must be told.
    pub(super) fn become_relay(&mut self, away: Away) {
        self.away = Some(away);
        let sessions = self.sockets.iter_mut().flat_map(|socket| &mut socket.sessions);
        sessions.for_each(|session| session.keeps_places = true);
    }

    /// Stores a note of the relay in a socket's attachment.
    pub(super) fn note(&mut self, id: SocketId, note: &Rc<str>) {
        if let Some(socket) = self.sockets.get_mut(id).filter(|socket| socket.checkpoint.as_ref() != Some(note)) {
            socket.checkpoint = Some(note.clone());
            self.unsaved.insert(id);
        }
    }

    /// The sockets whose state must be stored.
    pub(super) fn take_unsaved(&mut self) -> BTreeSet<SocketId> {
        std::mem::take(&mut self.unsaved)
    }

    /// The earliest deadline that has passed at `now`, in Unix milliseconds.
    pub(super) fn next_due(&mut self, now: u64) -> Option<(u64, Due)> {
        self.deadlines.first().is_some_and(|(time, _)| *time <= now).then(|| self.deadlines.pop_first())?
    }

    /// The next deadline, in Unix milliseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        let due = self.deadlines.first().map(|(time, _)| *time);
        due.into_iter().chain(self.database_deadline()).chain(self.heartbeats.deadline()).min()
    }

    /// The socket that has been unauthenticated for the longest.
    pub(super) fn oldest_pending(&self) -> Option<SocketId> {
        self.deadlines.iter().find_map(|(_, due)| match due {
            Due::Authentication(socket) => Some(*socket),
            _ => None,
        })
    }

    /// Adds a session to the indexes.
    fn list(&mut self, id: SessionId) {
        let Some(Socket { dialect, profile, .. }) = self.sockets.get(id.socket) else { return };
        let dialect = (*dialect, *profile);
        let standing = self.sockets.session(id).and_then(|session| self.standing(&session.principal));
        let Some(session) = self.sockets.session_mut(id) else { return };
        session.standing = standing;
        let (common, keys) = session.class_keys(dialect, &self.configuration, &mut self.class_keys);
        session.common = Some(common);
        for key in keys {
            let key = self.classes.join(key, id);
            if key.scope == Scope::Organization {
                session.common = Some(key.clone());
            }
            session.classes.insert(key);
        }
        self.claims.add(id, &session.principal);
        self.away.iter_mut().for_each(|away| away.listed(session));
        self.deadlines.extend(session.deadline().map(|time| (time, Due::Expiry(id))));
        self.listen(id);
    }

    fn unlist(&mut self, id: SessionId) {
        self.listen_no_more(id);
        let Some(session) = self.sockets.session_mut(id) else { return };
        for key in std::mem::take(&mut session.classes).into_classes() {
            self.classes.leave(&key, id);
        }
        self.claims.remove(id, &session.principal);
        self.away.iter_mut().for_each(|away| away.unlisted(session));
        if let Some(time) = session.deadline() {
            self.deadlines.remove(&(time, Due::Expiry(id)));
        }
    }

    /// Updates the tables for which this session is reported to the database's object.
    fn listen(&mut self, id: SessionId) {
        let Some(link) = &mut self.database else { return };
        let Some(profile) = self.sockets.get(id.socket).map(|socket| socket.profile) else { return };
        let Some(session) = self.sockets.session_mut(id) else { return };
        session.listens = session.listened(profile);
        if let (Some(standing), Some(tables)) = (&session.standing, &session.listens) {
            link.interest.add(standing, tables);
        }
        if let Some(awaiting) = &session.awaiting {
            self.awaiting.insert(id);
            self.deadlines.extend(awaiting.until.map(|until| (until, Due::Database(id))));
        }
    }

    fn listen_no_more(&mut self, id: SessionId) {
        let Some(link) = &mut self.database else { return };
        let Some(session) = self.sockets.session_mut(id) else { return };
        if let (Some(standing), Some(tables)) = (&session.standing, session.listens.take()) {
            link.interest.remove(standing, &tables);
        }
        if let Some(awaiting) = &session.awaiting {
            self.awaiting.remove(&id);
            awaiting.until.iter().for_each(|until| _ = self.deadlines.remove(&(*until, Due::Database(id))));
        }
    }
}
