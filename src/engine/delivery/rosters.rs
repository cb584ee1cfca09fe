//! Rosters: who is in a topic, told to one session in pages, and paid for by who asks.

use std::rc::Rc;

use super::Delivery;
use crate::engine::budget::frames;
use crate::engine::event::{Event, Member};
use crate::engine::message::{Out, SessionId};
use crate::engine::profile::PresenceFrames;
use crate::policy::channel::Topic;
use crate::policy::limits::MAX_ROSTER_PAGE;

impl Delivery {
    /// Tells a session who is in a topic. What one page has no room for follows as members that appear, which clients add to
    /// those whom they know; clients that take each roster for all of it are told all at once.
    pub(super) fn tell_roster(
        &mut self,
        now: u64,
        id: SessionId,
        topic: Option<Topic>,
        mut members: Vec<Rc<Member>>,
        out: &mut Out,
    ) {
        let Some(profile) = self.registry.profile(id.socket) else { return };
        self.leave_out_oneself(id, &mut members);
        let page = match profile.presence_frames {
            PresenceFrames::Difference => MAX_ROSTER_PAGE,
            PresenceFrames::Roster => usize::MAX,
        };
        let mut pages = pages(&members, page);
        let first = pages.next().unwrap_or_default();
        let mut units = frames(1, bytes(first));
        self.registry.tell(id, Event::PresenceState { topic: topic.clone(), members: first.to_vec() }, out);
        for page in pages {
            units += page.iter().map(|member| frames(1, member.metadata.len())).sum::<u64>();
            let joined = |member: &Rc<Member>| Event::PresenceJoined { topic: topic.clone(), member: member.clone() };
            let changes = page.iter().map(joined).collect();
            self.registry.tell(id, Event::PresenceChanged { topic: topic.clone(), changes }, out);
        }
        self.charge(now, id, units);
    }
}

/// The members in portions of so many bytes, or of one that is larger.
fn pages(members: &[Rc<Member>], max: usize) -> impl Iterator<Item = &[Rc<Member>]> {
    let mut rest = members;
    std::iter::from_fn(move || {
        let mut sum = 0;
        let fits = |member: &&Rc<Member>| {
            sum += member.metadata.len();
            sum <= max
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (page, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(page)
    })
}

fn bytes(members: &[Rc<Member>]) -> usize {
    members.iter().map(|member| member.metadata.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(bytes: usize) -> Rc<Member> {
        Rc::new(Member { client_id: Rc::from("c"), user: None, key: None, metadata: Rc::from("x".repeat(bytes)) })
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
