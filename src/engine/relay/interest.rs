//! What a relay's sessions may receive, as a small Bloom filter, so that a publication without recipients there does
//! not wake the relay. A false positive costs a request; there are no false negatives.

use super::super::delivery::ClassScope;
use crate::engine::message::ToDelivery;
use crate::engine::publication::{Content, Publication};
use crate::policy::channel::Topic;

/// 8,192 bits (1 KiB): some thousand users and topics leave most of them unset.
const WORDS: usize = 128;
const BITS: u64 = 64 * WORDS as u64;

/// The filter.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct InterestFilter(Vec<u64>);

impl Default for InterestFilter {
    fn default() -> InterestFilter {
        InterestFilter(vec![0; WORDS])
    }
}

impl InterestFilter {
    /// The filter that contains everything.
    pub(super) fn everything() -> InterestFilter {
        InterestFilter(vec![u64::MAX; WORDS])
    }

    /// Adds the scope of a class; returns whether that changed the filter.
    pub(super) fn add_scope(&mut self, scope: &ClassScope<'_>) -> bool {
        match scope {
            ClassScope::Topic(topic) => self.add(&topic_item(topic)),
            ClassScope::Presence(topic) => self.add(&presence_item(*topic)),
            ClassScope::Organization { tables } => {
                let mut is_news = self.add(MESSAGES);
                if tables.is_empty() {
                    is_news |= self.add(ANY_TABLE);
                }
                for (schema, table) in tables {
                    let is_any = *schema == "*" || *table == "*";
                    is_news |= self.add(&if is_any { ANY_TABLE.to_owned() } else { table_item(schema, table) });
                }
                is_news
            }
        }
    }

    /// Adds a user; returns whether that changed the filter.
    pub(super) fn add_user(&mut self, user: &str) -> bool {
        self.add(&user_item(user))
    }

    /// Whether a message of the stream may have a recipient.
    pub(super) fn wants(&self, message: &ToDelivery) -> bool {
        match message {
            ToDelivery::Publish { accepted, .. } => self.wants_publication(&accepted.publication),
            ToDelivery::Presence { topic, .. } => self.has(&presence_item(topic.as_ref())),
            _ => true,
        }
    }

    /// Whether a topic may have a listener.
    pub(super) fn wants_topic(&self, topic: &Topic) -> bool {
        self.has(&topic_item(topic))
    }

    /// Whether a publication may have a recipient.
    pub(super) fn wants_publication(&self, publication: &Publication) -> bool {
        if publication.user.as_ref().is_some_and(|user| !self.has(&user_item(user))) {
            return false;
        }
        match (&publication.topic, &publication.content) {
            (Some(topic), _) => self.has(&topic_item(topic)),
            (None, Content::Message { .. }) => self.has(MESSAGES),
            (None, Content::Change { schema, table, .. }) => {
                self.has(ANY_TABLE) || self.has(&table_item(schema, table))
            }
        }
    }

    fn add(&mut self, item: &str) -> bool {
        let mut is_news = false;
        for (word, mask) in places(item) {
            if let Some(word) = self.0.get_mut(word) {
                is_news |= *word & mask == 0;
                *word |= mask;
            }
        }
        is_news
    }

    fn has(&self, item: &str) -> bool {
        places(item).into_iter().all(|(word, mask)| self.0.get(word).is_some_and(|word| word & mask != 0))
    }

    /// The filter as hexadecimal text.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|word| format!("{word:016x}")).collect()
    }

    /// Reads the text; `None` if it is not of this build's format.
    pub(super) fn read(text: &str) -> Option<InterestFilter> {
        if text.len() != 16 * WORDS || !text.is_ascii() {
            return None;
        }
        let word = |start: usize| u64::from_str_radix(text.get(start..start + 16)?, 16).ok();
        (0..WORDS).map(|number| word(16 * number)).collect::<Option<Vec<u64>>>().map(InterestFilter)
    }
}

const ANY_TABLE: &str = "*";
const MESSAGES: &str = "m";

fn topic_item(topic: &Topic) -> String {
    [if topic.private { "t" } else { "o" }, &*topic.name].concat()
}

fn presence_item(topic: Option<&Topic>) -> String {
    topic.map_or_else(|| String::from("l"), |topic| ["p", &topic_item(topic)].concat())
}

fn table_item(schema: &str, table: &str) -> String {
    ["c", schema, ".", table].concat()
}

fn user_item(user: &str) -> String {
    ["u", user].concat()
}

/// Two bits for each item, from an FNV-1a hash with additional mixing, so that similar names do not share bits.
fn places(item: &str) -> [(usize, u64); 2] {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = item.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let place = |bits: u64| ((bits % BITS / 64) as usize, 1 << (bits % 64));
    [place(mixed >> 40), place(mixed >> 16)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Topic {
        Topic { private: true, name: name.into() }
    }

    #[test]
    fn nothing_that_was_added_is_missed_and_little_else_is_found() {
        let mut interest = InterestFilter::default();
        for number in 0..1_000 {
            interest.add_scope(&ClassScope::Topic(&topic(&format!("room:{number}"))));
            interest.add_user(&format!("user{number}"));
        }
        let found = |interest: &InterestFilter, kind: fn(&str) -> String, from: u32| {
            (from..from + 1_000).filter(|number| interest.has(&kind(&number.to_string()))).count()
        };
        let room = |number: &str| topic_item(&topic(&format!("room:{number}")));
        assert_eq!(found(&interest, room, 0), 1_000);
        assert!(found(&interest, room, 1_000) < 350, "{}", found(&interest, room, 1_000));
        assert!(InterestFilter::read(&interest.text()) == Some(interest));
    }

    #[test]
    fn a_text_of_another_build_is_none() {
        let text = InterestFilter::default().text();
        assert!(InterestFilter::read(&text).is_some());
        for wrong in ["", "0", text.get(1..).unwrap(), &text.replace('0', "g"), &format!("{text}0")] {
            assert!(InterestFilter::read(wrong).is_none());
        }
    }

    #[test]
    fn tables_and_messages_of_the_organization_are_told_apart() {
        let publication = |json: &str| ToDelivery::Publish {
            accepted: crate::engine::message::Accepted {
                publication: std::rc::Rc::new(Publication::stored(1, json).unwrap()),
                offset: 1,
                time: 1,
                is_retained: true,
                verdict: None,
            },
            origin: None,
        };
        let of_table = |name: &str, user: &str| {
            publication(&format!(
                r#"{{"type":"postgres_changes","table":"{name}","eventType":"DELETE","old":{{"id":1}}{user}}}"#
            ))
        };
        let mut interest = InterestFilter::default();
        interest.add_scope(&ClassScope::Organization { tables: vec![("public", "todos")] });
        interest.add_user("ada");
        assert!(interest.wants(&of_table("todos", "")));
        assert!(!interest.wants(&of_table("notes", "")));
        assert!(interest.wants(&of_table("todos", r#","userId":"ada""#)));
        assert!(!interest.wants(&of_table("todos", r#","userId":"bob""#)));
        assert!(interest.wants(&publication(r#"{"type":"broadcast","event":"e","payload":1}"#)));
        assert!(!interest.wants(&publication(r#"{"type":"broadcast","event":"e","payload":1,"topic":"room:1"}"#)));
        interest.add_scope(&ClassScope::Organization { tables: Vec::new() });
        assert!(interest.wants(&of_table("notes", "")), "who asks for nothing in particular gets every table");
    }
}
