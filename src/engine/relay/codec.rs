//! Converts the messages of the two halves to the forms that are sent, and back.

use std::rc::Rc;

use serde_json::value::RawValue;

use super::database_form;
use super::form::{
    AnswerForm, ArrivalForm, Down, EventForm, FromForm, MemberForm, MissedForm, OriginForm, PayerForm, RowForm,
    SessionForm, TopicForm,
};
use super::refusal::RefusalForm;
use crate::engine::command::{Position, Replay};
use crate::engine::database::verdict::Verdict;
use crate::engine::delivery::Arrival;
use crate::engine::event::{Event, Member};
use crate::engine::input::SocketId;
use crate::engine::message::{Accepted, From, Missed, Origin, SessionId, ToDelivery};
use crate::engine::profile::RosterOnTracking;
use crate::engine::publication::{Publication, STORED_VERSION};
use crate::policy::channel::Topic;

/// The members of a topic.
pub(super) type Roster = (Topic, Vec<Rc<Member>>);

pub(in crate::engine) fn arrival_form(arrival: &Arrival) -> ArrivalForm {
    ArrivalForm { is_connected: arrival.is_connected, payload: raw(&arrival.payload) }
}

pub(super) fn arrival(form: &ArrivalForm) -> Arrival {
    Arrival { is_connected: form.is_connected, payload: Rc::from(form.payload.get()) }
}

/// JSON text of the engine.
pub(super) fn raw(json: &str) -> Box<RawValue> {
    // Text that is not JSON was never accepted; it is sent as `null`, which no reader takes for a publication.
    RawValue::from_string(json.to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

pub(super) fn session_form(session: SessionId) -> SessionForm {
    (session.socket.0, session.number)
}

/// Which tracking requests are answered with the roster: those of new members, and those of known ones.
pub(super) fn roster_on_tracking(newcomers: bool, members: bool) -> RosterOnTracking {
    match (newcomers, members) {
        (_, true) => RosterOnTracking::Always,
        (true, false) => RosterOnTracking::Appearing,
        (false, false) => RosterOnTracking::Never,
    }
}

pub(super) fn session((socket, number): SessionForm) -> SessionId {
    SessionId { socket: SocketId(socket), number }
}

pub(super) fn topic_form(topic: &Topic) -> TopicForm {
    (topic.private, topic.name.to_string())
}

pub(super) fn place_form(topic: &Option<Topic>) -> Option<TopicForm> {
    topic.as_ref().map(topic_form)
}

pub(in crate::engine) fn topic((private, name): TopicForm) -> Topic {
    Topic { private, name: Rc::from(name) }
}

pub(super) fn member_form(member: &Member) -> MemberForm {
    let text = |text: &Option<Rc<str>>| text.as_deref().map(str::to_owned);
    MemberForm {
        client: member.client_id.to_string(),
        user: text(&member.user),
        key: text(&member.key),
        metadata: raw(&member.metadata),
    }
}

pub(super) fn member(form: MemberForm) -> Rc<Member> {
    Rc::new(Member {
        client_id: Rc::from(form.client),
        user: form.user.map(Rc::from),
        key: form.key.map(Rc::from),
        metadata: Rc::from(form.metadata.get()),
    })
}

fn member_forms(members: &[Rc<Member>]) -> Vec<MemberForm> {
    members.iter().map(|member| member_form(member)).collect()
}

/// About how long the members of a topic are as text.
pub(super) fn roster_bytes(members: &[Rc<Member>]) -> usize {
    members.iter().map(|member| member.metadata.len() + 128).sum()
}

fn members(forms: Vec<MemberForm>) -> Vec<Rc<Member>> {
    forms.into_iter().map(member).collect()
}

/// The form of a presence event; `None` for other events.
pub(super) fn event_form(event: &Event) -> Option<EventForm> {
    Some(match event {
        Event::PresenceJoined { topic, member } => {
            EventForm::Joined { topic: place_form(topic), member: member_form(member) }
        }
        Event::PresenceUpdated { topic, member, before } => {
            let topic = place_form(topic);
            EventForm::Updated { topic, member: member_form(member), before: member_form(before) }
        }
        Event::PresenceLeft { topic, member } => {
            EventForm::Left { topic: place_form(topic), member: member_form(member) }
        }
        Event::Roster { change, members } => {
            EventForm::Roster { change: Box::new(event_form(change)?), members: member_forms(members) }
        }
        _ => return None,
    })
}

pub(super) fn event(form: EventForm) -> Event {
    let place = |form: Option<TopicForm>| form.map(topic);
    match form {
        EventForm::Joined { topic, member: who } => Event::PresenceJoined { topic: place(topic), member: member(who) },
        EventForm::Updated { topic, member: who, before } => {
            Event::PresenceUpdated { topic: place(topic), member: member(who), before: member(before) }
        }
        EventForm::Left { topic, member: who } => Event::PresenceLeft { topic: place(topic), member: member(who) },
        EventForm::Roster { change, members: all } => {
            Event::Roster { change: Box::new(event(*change)), members: members(all) }
        }
    }
}

/// The form of a position to recover from; `None` for no recovery.
pub(super) fn from_form(from: &From) -> Option<FromForm> {
    match from {
        From::Now | From::All(_) => None,
        From::Position(Position { epoch, offset }, topics) => Some(FromForm::Position {
            epoch: epoch.clone(),
            offset: *offset,
            topics: topics.iter().map(topic_form).collect(),
        }),
        From::Topic(topic, Replay { since, limit }) => {
            Some(FromForm::Topic { topic: topic.to_string(), since: *since, limit: *limit })
        }
    }
}

pub(in crate::engine) fn from(form: Option<FromForm>) -> From {
    match form {
        None => From::Now,
        Some(FromForm::Position { epoch, offset, topics }) => {
            From::Position(Position { epoch, offset }, topics.into_iter().map(topic).collect())
        }
        Some(FromForm::Topic { topic, since, limit }) => From::Topic(Rc::from(topic), Replay { since, limit }),
        Some(FromForm::All { epoch, offset, .. }) => From::All(Position { epoch, offset }),
    }
}

pub(super) fn missed_form(missed: &Missed) -> MissedForm {
    let row = |accepted: &Accepted| RowForm {
        offset: accepted.offset,
        time: accepted.time,
        source: raw(&accepted.publication.source),
    };
    match missed {
        Missed::Everything(publications) => MissedForm::Everything(publications.iter().map(row).collect()),
        Missed::TooMuch => MissedForm::TooMuch,
    }
}

/// What was missed; if part of it is unreadable, the recovery is incomplete.
pub(super) fn missed(form: MissedForm) -> Missed {
    let MissedForm::Everything(rows) = form else { return Missed::TooMuch };
    let read = |row: RowForm| accepted((row.offset, row.time, true), &row.source, None);
    rows.into_iter().map(read).collect::<Option<Vec<_>>>().map_or(Missed::TooMuch, Missed::Everything)
}

fn accepted(
    (offset, time, is_retained): (u64, u64, bool),
    source: &RawValue,
    verdict: Option<Rc<Verdict>>,
) -> Option<Accepted> {
    let publication = Rc::new(Publication::stored(STORED_VERSION, source.get())?);
    Some(Accepted { publication, offset, time, is_retained, verdict })
}

/// The form of a publication or presence event for all relays, except that only the publisher's own relay acknowledges
/// it. `listens`: the groups there, whose verdicts are included.
pub(super) fn spread_form(
    message: &ToDelivery,
    payer: Option<&PayerForm>,
    origin: Option<OriginForm>,
    listens: &dyn Fn(&str) -> bool,
) -> Option<Down> {
    match message {
        ToDelivery::Publish { accepted, .. } => Some(Down::Publish {
            offset: accepted.offset,
            time: accepted.time,
            kept: accepted.is_retained,
            payer: payer.cloned(),
            origin,
            source: raw(&accepted.publication.source),
            verdict: accepted.verdict.as_ref().map(|verdict| database_form::verdict_form(verdict, listens)),
        }),
        ToDelivery::Presence { topic, event } => {
            Some(Down::Presence { topic: place_form(topic), event: event_form(event)? })
        }
        _ => None,
    }
}

/// The form of the stream's answer to one relay.
pub(super) fn reply_form(message: &ToDelivery) -> Option<Down> {
    Some(match message {
        ToDelivery::Roster { session, topic, members } => {
            Down::Roster { session: session_form(*session), topic: place_form(topic), members: member_forms(members) }
        }
        ToDelivery::Present { session, topic, present } => {
            Down::Present { session: session_form(*session), topic: place_form(topic), present: *present }
        }
        ToDelivery::Gathered { topic, event, only } => {
            Down::Gathered { topic: place_form(topic), event: event_form(event)?, only: only.map(session_form) }
        }
        ToDelivery::Refused { session, refusal, id, topic } => Down::Refused {
            session: session_form(*session),
            refusal: RefusalForm::from(refusal),
            id: id.clone(),
            topic: place_form(topic),
        },
        ToDelivery::Done { session, id } => Down::Done { session: session_form(*session), id: id.clone() },
        ToDelivery::Publish { .. } | ToDelivery::Presence { .. } | ToDelivery::Resumed { .. } => return None,
    })
}

/// The form of the members of some topics, for an answer.
pub(super) fn rosters_form(rosters: Vec<Roster>) -> Vec<(TopicForm, Vec<MemberForm>)> {
    rosters.iter().map(|(topic, members)| (topic_form(topic), member_forms(members))).collect()
}

/// The members of an answer's topics.
pub(super) fn rosters(form: &mut AnswerForm) -> Vec<Roster> {
    let rosters = std::mem::take(&mut form.rosters);
    rosters.into_iter().map(|(place, all)| (topic(place), members(all))).collect()
}

/// The message for the relay's delivery; `None` if it is for the relay itself, or malformed.
pub(super) fn to_delivery(message: Down) -> Option<ToDelivery> {
    let place = |form: Option<TopicForm>| form.map(topic);
    Some(match message {
        Down::Publish { offset, time, kept, origin, source, verdict, .. } => {
            let origin = origin.map(|origin| Origin {
                session: session(origin.session),
                acknowledge: origin.acknowledge,
                echo: origin.echo,
                persist: origin.persist,
                key: None,
                relayed: None,
            });
            let verdict = verdict.map(database_form::verdict);
            ToDelivery::Publish { accepted: accepted((offset, time, kept), &source, verdict)?, origin }
        }
        Down::Presence { topic, event: what } => ToDelivery::Presence { topic: place(topic), event: event(what) },
        Down::Roster { session: of, topic, members: all } => {
            ToDelivery::Roster { session: session(of), topic: place(topic), members: members(all) }
        }
        Down::Present { session: of, topic, present } => {
            ToDelivery::Present { session: session(of), topic: place(topic), present }
        }
        Down::Gathered { topic, event: what, only } => {
            ToDelivery::Gathered { topic: place(topic), event: event(what), only: only.map(session) }
        }
        Down::Refused { session: of, refusal, id, topic } => {
            ToDelivery::Refused { session: session(of), refusal: refusal.refusal(), id, topic: place(topic) }
        }
        Down::Done { session: of, id } => ToDelivery::Done { session: session(of), id },
        Down::Answer(_)
        | Down::Places { .. }
        | Down::Arrived(_)
        | Down::Tables { .. }
        | Down::Database(_)
        | Down::Restart
        | Down::Behind => return None,
    })
}
