//! Places: where a publication was published, as a key in the history, by which recovery finds its rows.

use std::rc::Rc;

use crate::engine::effect::Selection;
use crate::engine::message::RecoveryTarget;
use crate::engine::publication::{Content, Publication};
use crate::policy::channel::Topic;

/// The prefix of places for the whole organization; all other places sort after it.
pub const ORGANIZATION: &str = "o";
/// The place of a gap: every recovery across it is incomplete.
pub const GAP: &str = "";

/// The place of a publication.
pub(super) fn of(publication: &Publication) -> String {
    match (&publication.topic, &publication.content) {
        (Some(topic), _) => of_topic(topic),
        (None, Content::Change { schema, table, .. }) => of_table(schema, table),
        (None, Content::Message { .. }) => [ORGANIZATION, "message"].concat(),
    }
}

/// The place of a topic's publications.
pub(super) fn of_topic(topic: &Topic) -> String {
    [if topic.private { "private " } else { "public " }, &*topic.name].concat()
}

fn of_table(schema: &str, table: &str) -> String {
    [ORGANIZATION, "table ", schema, ".", table].concat()
}

/// The places that a session with these topics may have missed; `only` restricts them to one target. This may select
/// too much: each publication is checked again before it is sent.
pub(super) fn selection(only: Option<&RecoveryTarget>, topics: &[Topic]) -> Selection {
    let is_any = |name: &str| name == "*";
    let mut selection = Selection { is_whole: false, places: vec![GAP.to_owned()], is_all: false };
    match only {
        Some(RecoveryTarget::Topic(topic)) => {
            selection.places.push(of_topic(topic));
            return selection;
        }
        Some(RecoveryTarget::Table(target)) if !is_any(&target.schema) && !is_any(&target.table) => {
            selection.places.push(of_table(&target.schema, &target.table));
        }
        Some(RecoveryTarget::Table(_)) | None => selection.is_whole = true,
    }
    selection.places.extend(topics.iter().map(of_topic));
    selection
}

/// Every place.
pub(super) fn everywhere() -> Selection {
    Selection { is_whole: true, places: Vec::new(), is_all: true }
}

impl Selection {
    /// Whether a place is selected.
    pub fn has(&self, place: &str) -> bool {
        self.is_all
            || (self.is_whole && place.starts_with(ORGANIZATION))
            || self.places.iter().any(|selected| selected == place)
    }
}

/// The place of a private topic's messages, in the form that earlier builds used too.
pub(super) fn of_private_topic(name: &Rc<str>) -> String {
    of_topic(&Topic { private: true, name: name.clone() })
}
