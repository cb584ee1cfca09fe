//! What a database's policies let a principal do in a private topic.

use serde::{Deserialize, Serialize};

use super::channel::Action;

/// The policies' answer; anything that is absent is not granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TopicGrant {
    read: bool,
    write: bool,
    presence_read: bool,
    presence_write: bool,
}

impl TopicGrant {
    /// The grant of principals that see every row.
    pub const ALL: TopicGrant = TopicGrant { read: true, write: true, presence_read: true, presence_write: true };

    /// Whether it allows this operation.
    pub fn allows(self, action: Action) -> bool {
        match action {
            Action::Read => self.read,
            Action::Write => self.write,
            Action::Presence => self.presence_write,
            Action::PresenceRead => self.presence_read,
        }
    }
}
