//! The engine's ids of subscriptions and messages: prefixed with their kind, so that a client's id of one kind is never
//! taken for another.

use crate::policy::channel::Topic;

/// The prefix of table channels: `table:public.products`.
pub const TABLE: &str = "table:";
/// A private topic.
const PRIVATE: &str = "channel:";
/// A public topic.
const PUBLIC: &str = "public:";
/// A message whose acknowledgement was requested.
const MESSAGE: &str = "message:";
/// A subscription id that the server never issued.
const UNKNOWN: &str = "unknown:";
/// The end of a subscription's UUID, after its number. The number is derived from the target, so that sockets with the
/// same target share frames.
const UUID_REST: &str = "-0000-4000-8000-000000000000";
/// Set in the numbers of table channels, whose changes use the older contract's frames.
const CHANNEL_BIT: u32 = 1 << 31;
/// Numbers are incremented for repeated subscriptions, and must stay below [`CHANNEL_BIT`].
const HASH_BITS: u32 = (1 << 30) - 1;

/// What an id of the engine names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    /// A table channel, by its full name.
    TableChannel(&'a str),
    /// A topic, by its name.
    Channel(&'a str),
    /// A message, by the client's id.
    Message(&'a str),
    /// A subscription, by its id on the wire.
    Subscription(String),
    /// Several subscriptions.
    Several,
}

impl<'a> Named<'a> {
    /// Reads an id of the engine.
    pub fn read(id: &'a str) -> Named<'a> {
        let after = |prefix: &str| id.strip_prefix(prefix);
        if id.starts_with(TABLE) {
            Named::TableChannel(id)
        } else if let Some(name) = after(PRIVATE).or_else(|| after(PUBLIC)) {
            Named::Channel(name)
        } else if let Some(message) = after(MESSAGE) {
            Named::Message(message)
        } else if let Some(unknown) = after(UNKNOWN) {
            Named::Subscription(unknown.to_owned())
        } else {
            id.parse().map_or(Named::Several, |number| Named::Subscription(subscription(number)))
        }
    }
}

/// The id of the subscription to a topic.
pub fn of_topic(topic: &Topic) -> String {
    [if topic.private { PRIVATE } else { PUBLIC }, &*topic.name].concat()
}

/// The name of a table's channel.
pub fn of_table(schema: &str, table: &str) -> String {
    [TABLE, schema, ".", table].concat()
}

/// The id of a message.
pub fn of_message(id: &str) -> String {
    [MESSAGE, id].concat()
}

/// The engine's id for a subscription id: its number, or an id that no subscription has.
pub fn of_subscription(id: &str) -> String {
    let number = id.strip_suffix(UUID_REST).filter(|hex| hex.len() == 8 && !hex.contains('+'));
    let number = number.and_then(|hex| u32::from_str_radix(hex, 16).ok());
    number.map_or_else(|| [UNKNOWN, id].concat(), |number| number.to_string())
}

/// The id of a subscription on the wire: a UUID (RFC 9562).
pub fn subscription(number: u32) -> String {
    format!("{number:08x}{UUID_REST}")
}

/// Whether a number is one of a table channel.
pub fn is_channel(number: u32) -> bool {
    number & CHANNEL_BIT != 0
}

/// The number of a table channel.
pub fn channel_number(name: &str) -> u32 {
    hash(&[name]) | CHANNEL_BIT
}

/// The first number to try for a subscription.
pub fn first_number(parts: &[&str]) -> u32 {
    (hash(parts) & HASH_BITS).max(1)
}

/// FNV-1a over the parts, each terminated by a byte that occurs in no text. Collisions are harmless: the second
/// subscription takes the next number.
fn hash(parts: &[&str]) -> u32 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_back_to_its_number() {
        for number in [1, 0x9b2e_6c1e, u32::MAX] {
            let id = subscription(number);
            assert_eq!(of_subscription(&id), number.to_string());
            assert_eq!(Named::read(&number.to_string()), Named::Subscription(id));
        }
        for foreign in ["", "1", "9b2e6c1e-0000-4000-8000-000000000001", "+b2e6c1e-0000-4000-8000-000000000000"] {
            let name = of_subscription(foreign);
            assert_eq!(Named::read(&name), Named::Subscription(foreign.to_owned()), "{foreign}");
        }
    }

    #[test]
    fn names_of_different_things_never_meet() {
        let topic = |private, name: &str| of_topic(&Topic { private, name: name.into() });
        let names = [
            topic(true, "a"),
            topic(false, "a"),
            topic(true, "1"),
            of_table("a", "b"),
            of_message("a"),
            of_subscription("a"),
            of_subscription(&subscription(1)),
        ];
        for (place, name) in names.iter().enumerate() {
            assert!(!names.iter().skip(place + 1).any(|other| other == name), "{name}");
        }
        assert_eq!(Named::read(&topic(false, "table:x")), Named::Channel("table:x"));
        assert!(is_channel(channel_number("table:public.a")));
        assert!(!is_channel(first_number(&["public", "a"])));
    }
}
