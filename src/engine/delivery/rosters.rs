//! Rosters: the members of a topic, sent to a session in pages and charged to the client that causes it.

use std::rc::Rc;

use super::Delivery;
use crate::code::{Code, Refusal};
use crate::engine::budget::frames;
use crate::engine::event::{Event, Member};
use crate::engine::message::{Out, SessionId};
use crate::engine::profile::PresenceFrames;
use crate::policy::channel::Topic;
use crate::policy::limits::{MAX_ROSTER_PAGE, MAX_WHOLE_ROSTER};

impl Delivery {
    /// Sends a session the members of a topic. Members beyond the first page follow as joins, which clients merge;
    /// clients that take each roster as complete receive it in one frame.
    pub(super) fn tell_roster(
        &mut self,
        now: u64,
        id: SessionId,
        topic: Option<Topic>,
        mut members: Vec<Rc<Member>>,
        out: &mut Out,
    ) {
        let Some(profile) = self.registry.profile(id.socket) else { return };
        self.omit_own_presence(id, &mut members);
        let page = match profile.presence_frames {
            PresenceFrames::Difference => MAX_ROSTER_PAGE,
            PresenceFrames::Roster if Member::bytes_of(&members) > MAX_WHOLE_ROSTER => {
                return self.registry.tell(id, too_large(topic), out);
            }
            PresenceFrames::Roster => usize::MAX,
        };
        let mut pages = pages(&members, page);
        let first = pages.next().unwrap_or_default();
        let mut units = frames(1, Member::bytes_of(first));
        self.registry.tell(id, Event::PresenceState { topic: topic.clone(), members: first.to_vec() }, out);
        for page in pages {
            units += page.iter().map(|member| frames(1, member.bytes())).sum::<u64>();
            let joined = |member: &Rc<Member>| Event::PresenceJoined { topic: topic.clone(), member: member.clone() };
            let changes = page.iter().map(joined).collect();
            self.registry.tell(id, Event::PresenceChanged { topic: topic.clone(), changes }, out);
        }
        self.charge(now, id, units);
    }

    /// Sends a presence event with the whole roster to the clients that expect it, charged to the member that changed.
    /// `only`: the single session that receives it, and pays.
    pub(super) fn tell_gathered(
        &mut self,
        now: u64,
        topic: Option<Topic>,
        event: Event,
        only: Option<SessionId>,
        out: &mut Out,
    ) {
        let Event::Roster { change, members } = &event else { return };
        let bytes = Member::bytes_of(members);
        let (told, bytes) = match bytes > MAX_WHOLE_ROSTER {
            true => (too_large(topic.clone()), 0),
            false => (event.clone(), bytes),
        };
        match only {
            Some(session) => {
                self.charge(now, session, frames(1, bytes));
                self.registry.tell(session, told, out);
            }
            None => {
                self.charge_gathered(now, &topic, change, bytes);
                self.fan_out().spread_with_roster(topic, told, out);
            }
        }
    }
}

/// What is sent instead of a roster that does not fit into one frame.
fn too_large(topic: Option<Topic>) -> Event {
    let refusal =
        Refusal::because(Code::PresenceLimit, "The topic has too many members to name them all in one frame.");
    Event::Refused { refusal, id: None, topic }
}

/// The members in pages of at most `max` bytes, or of one larger member.
fn pages(members: &[Rc<Member>], max: usize) -> impl Iterator<Item = &[Rc<Member>]> {
    let mut rest = members;
    std::iter::from_fn(move || {
        let mut sum = 0;
        let fits = |member: &&Rc<Member>| {
            sum += member.bytes();
            sum <= max
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (page, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(page)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(bytes: usize) -> Rc<Member> {
        Rc::new(Member { client_id: Rc::from(""), user: None, key: None, metadata: Rc::from("x".repeat(bytes)) })
    }

    #[test]
    fn a_page_has_a_bound_and_nobody_is_left_out() {
        for (sizes, expected) in [
            (vec![], vec![]),
            (vec![10], vec![1]),
            (vec![60, 40, 1], vec![2, 1]),
            (vec![200, 200, 50, 50, 50], vec![1, 1, 2, 1]),
        ] {
            let members: Vec<_> = sizes.iter().map(|size| member(*size)).collect();
            assert_eq!(pages(&members, 100).map(<[_]>::len).collect::<Vec<_>>(), expected, "{sizes:?}");
        }
    }
}
