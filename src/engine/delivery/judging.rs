//! Recovery under the current policies: database changes that a session missed are judged again before they are
//! replayed, one portion at a time, while the socket is held.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Deserialize;

use super::Delivery;
use crate::code::{Code, Refusal};
use crate::engine::command::Position;
use crate::engine::database::interest::Readiness;
use crate::engine::database::verdict::{Seen, Verdict};
use crate::engine::effect::{Log, Question, Task};
use crate::engine::event::Event;
use crate::engine::input::SocketId;
use crate::engine::message::{Accepted, Announcement, Missed, Out, RecoveryTarget, SessionId, ToStream};
use crate::engine::publication::Content;
use crate::policy::database::{Group, Standing};
use crate::policy::table::distinct;
use crate::value::json;
use crate::value::row::Row;

/// Limits on the row images of one question and the bytes of their publications: the database answers it well within
/// its statement timeout, and delivers batches between two questions.
const MAX_IMAGES: usize = 1_000;
const MAX_QUESTION_BYTES: usize = 1 << 20;
/// The factor by which the next question shrinks after a statement timeout, and the size at which it is given up: a
/// policy that hangs does so on any row.
const FEWER: usize = 10;
const MIN_IMAGES: usize = 100;
/// PostgreSQL's code for a statement that took too long.
const QUERY_CANCELED: &str = "57014";
/// How often a question is repeated. The database's object answers after its next failed connection attempt, so
/// together the attempts outlast a database restart.
const MAX_ATTEMPTS: u32 = 6;

/// Questions that wait for verdicts.
#[derive(Default)]
pub(super) struct Judging {
    last: u64,
    open: BTreeMap<u64, Recovery>,
    /// Recovering sessions for whose tables the database has not answered. No verdict covers them for changes committed
    /// meanwhile, so they receive those from the history.
    resuming: BTreeMap<SessionId, (Position, Announcement)>,
}

/// A session whose missed changes are being judged.
struct Recovery {
    session: SessionId,
    group: Rc<Group>,
    position: Position,
    missed: Vec<Accepted>,
    /// How many of these have a verdict or need none, and how many will have one once the question is answered.
    judged: usize,
    asked: usize,
    /// How many images the next question may have.
    max_images: usize,
    then: Announcement,
    /// How often this question has been asked.
    attempts: u32,
}

#[derive(Deserialize)]
struct JudgedImages {
    verdicts: Vec<JudgedPart>,
}

#[derive(Deserialize)]
struct JudgedPart {
    #[serde(default)]
    columns: Option<Vec<String>>,
    images: Vec<usize>,
    groups: Vec<String>,
    sees: Vec<String>,
    #[serde(default)]
    failed: Option<BTreeMap<String, String>>,
}

/// What the group sees of each image: whether it is visible, and which columns.
type Sights = BTreeMap<usize, (bool, Rc<std::collections::BTreeSet<String>>)>;

impl Judging {
    /// Removes a closed socket.
    pub(super) fn forget(&mut self, socket: SocketId) {
        self.open.retain(|_, recovery| recovery.session.socket != socket);
        self.resuming.retain(|session, _| session.socket != socket);
    }
}

impl Delivery {
    /// Holds back a session's missed changes if they must be judged; otherwise returns them.
    pub(super) fn judge_first(
        &mut self,
        session: SessionId,
        position: &Position,
        missed: Option<Missed>,
        then: Announcement,
        out: &mut Out,
    ) -> Option<(Option<Missed>, Announcement)> {
        let to_table = |to: &RecoveryTarget| matches!(to, RecoveryTarget::Table(_));
        let is_whole = match &then {
            Announcement::Authenticated { .. } => true,
            Announcement::Subscribed { to, .. } => to_table(to),
            Announcement::Joined { .. } | Announcement::Asked { .. } => false,
        };
        let publications = match missed {
            Some(Missed::Everything(publications)) if is_whole && publications.iter().any(is_unjudged) => publications,
            missed => return Some((missed, then)),
        };
        let standing = self.registry.session(session).and_then(|session| session.standing.clone());
        let group = match (standing, &self.registry.database) {
            (Some(Standing::Bypass), _) => return Some((Some(Missed::Everything(publications)), then)),
            (Some(Standing::Group(group)), Some(_)) => group,
            _ => return Some((Some(Missed::TooMuch), then)),
        };
        self.hold_socket(session.socket);
        let recovery = Recovery {
            session,
            group,
            position: position.clone(),
            missed: publications,
            judged: 0,
            asked: 0,
            max_images: MAX_IMAGES,
            then,
            attempts: 0,
        };
        self.ask_judge(recovery, out);
        None
    }

    fn ask_judge(&mut self, mut recovery: Recovery, out: &mut Out) {
        let Some(link) = &self.registry.database else { return };
        let left = recovery.missed.get(recovery.judged..).unwrap_or_default();
        recovery.asked = recovery.judged + portion(left, recovery.max_images);
        let judging = &mut self.waits.judging;
        judging.last += 1;
        recovery.attempts += 1;
        let portion = recovery.missed.get(recovery.judged..recovery.asked).unwrap_or_default();
        let question = Question::Judge { number: judging.last, body: body(portion, &recovery.group) };
        judging.open.insert(judging.last, recovery);
        out.run(Task::AskDatabase { database: link.interest.database().name.clone(), question });
    }

    /// Postpones a recovery until the database judges for the session, if it must; otherwise returns it.
    pub(super) fn resume_later(
        &mut self,
        now: u64,
        id: SessionId,
        from: Position,
        then: Announcement,
        out: &mut Out,
    ) -> Option<(Position, Announcement)> {
        if !self.registry.is_pending(id) {
            return Some((from, then));
        }
        // A session without subscriptions waits only for the answer.
        self.wait_for_database(now, id, Vec::new());
        self.waits.judging.resuming.insert(id, (from, then));
        self.hold_socket(id.socket);
        out.to_stream.push_back(ToStream::Begin);
        None
    }

    /// Whether a session's recovery is postponed.
    pub(super) fn is_resuming(&self, id: SessionId) -> bool {
        self.waits.judging.resuming.contains_key(&id)
    }

    /// Continues a postponed recovery. It fails if the database has not answered for all of the session's tables.
    pub(super) fn resume(&mut self, id: SessionId, out: &mut Out) {
        let Some((mut from, mut then)) = self.waits.judging.resuming.remove(&id) else { return };
        if self.registry.is_pending(id) {
            // This epoch matches no stream, so the session is told that it did not recover.
            from.epoch = String::new();
            self.log_not_recovered(id, "source_unavailable", out);
        }
        let refused = self.refused_of(id);
        if let Announcement::Authenticated { then, .. } = &mut then {
            then.iter_mut().for_each(|event| refuse_instead(event, &refused));
        }
        self.registry.change(id, |session| {
            session.awaiting = None;
            session.subscriptions.retain(|subscription| !refused.contains_key(&subscription.id));
        });
        let from = self.registry.since(id, from);
        out.to_stream.push_back(ToStream::Resume { session: id, from, then });
    }

    /// The awaited subscriptions that were refused, and why.
    fn refused_of(&self, id: SessionId) -> BTreeMap<String, Refusal> {
        let Some(session) = self.registry.session(id) else { return BTreeMap::new() };
        let refusal = |name: &String| match self.registry.readiness_of(session, name)? {
            Readiness::Refused(refusal) => Some((name.clone(), refusal)),
            Readiness::Pending => Some((name.clone(), Refusal::of(Code::SourceUnavailable))),
            Readiness::Live => None,
        };
        session.awaiting.iter().flat_map(|awaiting| &awaiting.ids).filter_map(refusal).collect()
    }

    /// Applies the verdicts and asks for the next portion; without an answer, the question is repeated. Changes without
    /// a verdict are denied, and the session is told that it did not recover.
    pub(in crate::engine) fn judged(&mut self, number: u64, text: Option<String>, out: &mut Out) {
        let Some(mut recovery) = self.waits.judging.open.remove(&number) else { return };
        let Some(text) = text else {
            if recovery.attempts < MAX_ATTEMPTS {
                return self.ask_judge(recovery, out);
            }
            return self.not_recovered(recovery, "no_answer", out);
        };
        let (sights, failed) = sights(&text, &recovery.group.id).unwrap_or_default();
        let answered = recovery.missed.get_mut(recovery.judged..recovery.asked).unwrap_or_default();
        let is_judged = give_verdicts(answered, &recovery.group.id, &sights).is_some();
        if is_judged {
            (recovery.judged, recovery.attempts) = (recovery.asked, 0);
        } else if failed.as_deref() == Some(QUERY_CANCELED) && recovery.max_images > MIN_IMAGES {
            recovery.max_images /= FEWER;
        } else {
            return self.not_recovered(recovery, failed.as_deref().unwrap_or("not_judged"), out);
        }
        if recovery.missed.get(recovery.judged..).unwrap_or_default().iter().any(is_unjudged) {
            return self.ask_judge(recovery, out);
        }
        self.recovered(recovery, Missed::Everything, out);
    }

    fn not_recovered(&mut self, recovery: Recovery, reason: &str, out: &mut Out) {
        self.log_not_recovered(recovery.session, reason, out);
        self.recovered(recovery, |_| Missed::TooMuch, out);
    }

    /// Sends a session what it missed, and then what was queued meanwhile.
    fn recovered(&mut self, recovery: Recovery, missed: impl Fn(Vec<Accepted>) -> Missed, out: &mut Out) {
        let missed = Some(missed(recovery.missed));
        self.tell_resumed(recovery.session, recovery.position, missed, recovery.then, out);
        self.release_held(recovery.session.socket, out);
    }

    /// Logs why the database kept a session from recovering.
    fn log_not_recovered(&self, session: SessionId, reason: &str, out: &mut Out) {
        let connection = self.registry.session(session).map(|session| session.client_id.clone());
        let details = vec![("reason", reason.to_owned())];
        out.run(Task::Log(Log { event: "not_recovered", connection, code: None, details }));
    }
}

/// Replaces the confirmation of a refused subscription with its refusal.
fn refuse_instead(event: &mut Event, refused: &BTreeMap<String, Refusal>) {
    if let Event::Subscribed { id, .. } = event
        && let Some(refusal) = refused.get(id)
    {
        *event = Event::Refused { refusal: refusal.clone(), id: Some(id.clone()), topic: None };
    }
}

/// Whether a publication is a row change of a database without a verdict.
fn is_unjudged(accepted: &Accepted) -> bool {
    accepted.publication.database.is_some() && accepted.verdict.is_none()
}

/// The row images of a database change: new and old.
fn images(accepted: &Accepted) -> [Option<&Row>; 2] {
    match &accepted.publication.content {
        Content::Change { new, old, .. } if is_unjudged(accepted) => [new.as_ref(), old.as_ref()],
        _ => [None, None],
    }
}

fn body(missed: &[Accepted], group: &Group) -> String {
    let mut out = String::from("{\"images\":[");
    let mut is_first = true;
    for accepted in missed {
        let Content::Change { schema, table, .. } = &accepted.publication.content else { continue };
        for row in images(accepted).into_iter().flatten() {
            out.push_str(if is_first { "{\"schema\":" } else { ",{\"schema\":" });
            is_first = false;
            json::write_string(&mut out, schema);
            out.push_str(",\"table\":");
            json::write_string(&mut out, table);
            out.push_str(",\"row\":");
            row.write(&mut out);
            out.push('}');
        }
    }
    out.push_str("],\"groups\":[{\"id\":");
    json::write_string(&mut out, &group.id);
    out.push_str(",\"role\":");
    json::write_string(&mut out, &group.role);
    out.push_str(",\"claims\":");
    out.push_str(&group.claims);
    out.push_str("}]}");
    out
}

/// The verdicts for a group in an answer; images without one are left out. Also the SQLSTATE if the group could not be
/// judged.
fn sights(text: &str, group: &str) -> Option<(Sights, Option<String>)> {
    let JudgedImages { verdicts } = serde_json::from_str(text).ok()?;
    let (mut sights, mut state) = (Sights::new(), None);
    for part in verdicts {
        let place = part.groups.iter().position(|id| id == group);
        let failed = part.failed.and_then(|mut failed| failed.remove(group));
        let place = place.filter(|_| failed.is_none());
        state = state.or(failed);
        let Some(digits) = place.and_then(|place| part.sees.get(place)) else { continue };
        let columns = Rc::new(distinct(part.columns.unwrap_or_default()));
        for (image, digit) in part.images.iter().zip(digits.bytes()) {
            sights.insert(*image, (digit == b'1', columns.clone()));
        }
    }
    Some((sights, state))
}

/// How many of these publications fit into the next question.
fn portion(missed: &[Accepted], max_images: usize) -> usize {
    let (mut rows, mut bytes) = (0, 0);
    let fits = |accepted: &&Accepted| {
        rows += images(accepted).into_iter().flatten().count();
        bytes += accepted.publication.source.len();
        rows <= max_images && bytes <= MAX_QUESTION_BYTES
    };
    missed.iter().take_while(fits).count().max(1)
}

/// Attaches the verdicts to the publications; `None` if an image has none.
fn give_verdicts(missed: &mut [Accepted], group: &Rc<str>, sights: &Sights) -> Option<()> {
    let mut next = 0;
    for accepted in missed.iter_mut().filter(|accepted| is_unjudged(accepted)) {
        let mut seen = Seen { new: false, old: false, columns: Rc::default() };
        let [new, old] = images(accepted).map(|row| row.is_some());
        for (is_there, sees) in [(new, &mut seen.new), (old, &mut seen.old)] {
            if is_there {
                let (is_seen, columns) = sights.get(&next)?;
                (*sees, seen.columns) = (*is_seen, columns.clone());
                next += 1;
            }
        }
        accepted.verdict = Some(Rc::new(Verdict::of_group(group.clone(), &seen)));
    }
    Some(())
}
