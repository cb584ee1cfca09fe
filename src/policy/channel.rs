//! Topics and the policies that govern the private ones.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::masking::MAX_ROLES;
use super::principal::{Method, Principal, SUBJECT};
use crate::code::Refusal;
use crate::value::form::{Field, Form};

/// Maximum bytes of a topic's name: binary frames store its length in one byte.
pub const MAX_TOPIC: usize = 255;

/// A topic in one of two separate spaces, private and public (docs/protocol-native.md, Topics and presence).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Topic {
    /// Governed by the channel policies; a public topic is open to the whole organization.
    pub private: bool,
    /// The name as clients write it.
    pub name: Rc<str>,
}

/// An operation on a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Receive what is published to it.
    Read,
    /// Publish to it.
    Write,
    /// Be present in it, and see who else is.
    Presence,
    /// See who is present in it without being present.
    PresenceRead,
}

/// The policy for the topics of one pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    pattern: Vec<Piece>,
    read: Grant,
    write: Grant,
    presence: Grant,
    presence_read: Grant,
    /// Whether client publications are retained for recovery.
    pub history: bool,
}

/// `Nobody` unless configured: access must be granted explicitly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Grant {
    #[default]
    Nobody,
    Everyone,
    Roles(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// `{claim}`: one of the principal's values of that claim.
    Claim(String),
    /// `*`: any text.
    Any,
}

impl Channel {
    /// Reads `{ topic, read?, write?, presence?, presenceRead?, history? }`.
    ///
    /// # Errors
    /// On an unknown key, a wrong type or a malformed pattern.
    pub fn read(field: &Field<'_>) -> Result<Channel, Refusal> {
        let mut form = field.form()?;
        let topic = form.require("topic")?;
        let pattern = pieces(&topic.name(MAX_TOPIC)?).map_err(|what| topic.refuse(what))?;
        let presence = Grant::read(&mut form, "presence")?.unwrap_or_default();
        let channel = Channel {
            pattern,
            read: Grant::read(&mut form, "read")?.unwrap_or_default(),
            write: Grant::read(&mut form, "write")?.unwrap_or_default(),
            presence_read: Grant::read(&mut form, "presenceRead")?.unwrap_or_else(|| presence.clone()),
            presence,
            history: form.take("history").map_or(Ok(false), |history| history.boolean())?,
        };
        form.finish()?;
        Ok(channel)
    }

    /// A policy that lets only holders of these roles read topics with this prefix, and lets nobody publish to them.
    pub fn for_administrators(prefix: &str, roles: &[&str]) -> Channel {
        Channel {
            pattern: vec![Piece::Literal(prefix.to_owned()), Piece::Any],
            read: Grant::Roles(roles.iter().map(|role| (*role).to_owned()).collect()),
            write: Grant::Nobody,
            presence: Grant::Nobody,
            presence_read: Grant::Nobody,
            history: false,
        }
    }

    /// Whether the policy applies to this topic for this principal.
    pub fn matches(&self, topic: &str, principal: &Principal) -> bool {
        matches(&self.pattern, topic, principal)
    }

    /// Whether the policy allows the principal this operation.
    pub fn allows(&self, action: Action, principal: &Principal) -> bool {
        let grant = match action {
            Action::Read => &self.read,
            Action::Write => &self.write,
            Action::Presence => &self.presence,
            Action::PresenceRead => &self.presence_read,
        };
        grant.includes(principal)
    }

    /// Adds the names of the claims that the pattern refers to.
    pub fn claims(&self, names: &mut BTreeSet<String>) {
        names.extend(self.pattern.iter().filter_map(|piece| match piece {
            Piece::Claim(name) if name != SUBJECT => Some(name.clone()),
            _ => None,
        }));
    }
}

impl Grant {
    /// Whether the grant includes the principal.
    pub(super) fn includes(&self, principal: &Principal) -> bool {
        match self {
            Grant::Nobody => false,
            // Every authenticated principal.
            Grant::Everyone => principal.method != Method::Anonymous,
            Grant::Roles(roles) => principal.roles.any(roles),
        }
    }

    /// Reads `{ roles? }`; `None` when it is not configured.
    pub(super) fn read(form: &mut Form<'_>, name: &str) -> Result<Option<Grant>, Refusal> {
        let Some(field) = form.take(name) else { return Ok(None) };
        let mut form = field.form()?;
        let roles = form.take("roles").map(|roles| roles.texts(MAX_ROLES)).transpose()?;
        form.finish()?;
        Ok(Some(roles.map_or(Grant::Everyone, Grant::Roles)))
    }
}

/// Splits a pattern such as `user:{sub}:*`.
fn pieces(pattern: &str) -> Result<Vec<Piece>, &'static str> {
    let mut pieces = Vec::new();
    for (index, part) in pattern.split('{').enumerate() {
        let text = match index {
            0 => part,
            _ => {
                let (claim, text) = part.split_once('}').ok_or("has a { without its }")?;
                if claim.is_empty() {
                    return Err("has a {} without a claim's name");
                }
                pieces.push(Piece::Claim(claim.to_owned()));
                text
            }
        };
        for (star, literal) in text.split('*').enumerate() {
            pieces.extend((star > 0).then_some(Piece::Any));
            // An empty claim name would match nothing.
            pieces.extend((!literal.is_empty()).then(|| Piece::Literal(literal.to_owned())));
        }
    }
    Ok(pieces)
}

/// Tracks all partial matches at once, as the set of positions in the topic that they have reached. This bounds the
/// time by pieces, bytes and values, whatever the claims contain.
fn matches(pattern: &[Piece], topic: &str, principal: &Principal) -> bool {
    let mut places = vec![false; topic.len() + 1];
    places.first_mut().into_iter().for_each(|first| *first = true);
    for piece in pattern {
        places = match piece {
            Piece::Any => from_first(&places),
            Piece::Literal(text) => after(topic, &places, std::slice::from_ref(text)),
            Piece::Claim(name) => after(topic, &places, principal.claim(name)),
        };
    }
    places.last() == Some(&true)
}

/// Every position from the first of these on.
fn from_first(places: &[bool]) -> Vec<bool> {
    let first = places.iter().position(|is_reached| *is_reached).unwrap_or(places.len());
    (0..places.len()).map(|place| place >= first).collect()
}

/// The positions reached by matching one of the texts at one of these; an empty claim value matches nothing.
fn after(topic: &str, places: &[bool], texts: &[String]) -> Vec<bool> {
    let mut reached = vec![false; places.len()];
    for text in texts.iter().filter(|text| !text.is_empty()) {
        for (place, _) in places.iter().enumerate().filter(|(_, is_reached)| **is_reached) {
            let leads = topic.get(place..).is_some_and(|rest| rest.starts_with(text.as_str()));
            reached.get_mut(place + text.len()).filter(|_| leads).into_iter().for_each(|place| *place = true);
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::Code;
    use crate::policy::principal::Method;
    use crate::policy::roles::Roles;

    fn principal(user: &str, roles: &[&str], teams: &[&str]) -> Principal {
        Principal {
            user: Some(user.into()),
            roles: Roles::new(roles.iter().map(|role| role.to_string())),
            method: Method::Session,
            expires: None,
            claims: [("teams".to_owned(), teams.iter().map(|team| team.to_string()).collect())].into(),
            all_claims: None,
            grants: Default::default(),
        }
    }

    fn channel(text: &str) -> Result<Channel, Refusal> {
        let body = format!("{{\"channel\":{text}}}");
        let mut form = Form::read(&body, Code::Configuration)?;
        Channel::read(&form.take("channel").unwrap())
    }

    #[test]
    fn patterns_match_claims_and_suffixes() {
        let matches = |pattern: &str, topic: &str| {
            let channel = channel(&format!("{{\"topic\":\"{pattern}\"}}")).unwrap();
            channel.matches(topic, &principal("u7", &[], &["red", "redder"]))
        };
        assert!(matches("room:*", "room:1") && matches("room:*", "room:"));
        assert!(!matches("room:*", "lobby:1") && !matches("room:1", "room:11"));
        assert!(matches("user:{sub}", "user:u7") && !matches("user:{sub}", "user:u77"));
        assert!(matches("team:{teams}:*", "team:redder:x") && !matches("team:{teams}:*", "team:blue:x"));
        assert!(!matches("x:{nothing}", "x:"));
        assert!(matches("*channel*", "a channel of mine") && matches("*channel*", "channel"));
        assert!(matches("room:*:chat", "room:a:b:chat") && !matches("room:*:chat", "room:chat"));
        assert!(matches("*:{sub}:*", "x:u7:y") && !matches("*:{sub}:*", "x:u8:y"));
        assert!(matches("*", "") && matches("**", "x"));
    }

    #[test]
    fn silence_grants_nothing() {
        let quiet = channel(r#"{"topic":"a","read":{"roles":["member"]},"presence":{}}"#).unwrap();
        let member = principal("u7", &["member"], &[]);
        assert!(quiet.allows(Action::Read, &member) && quiet.allows(Action::Presence, &member));
        assert!(!quiet.allows(Action::Write, &member));
        assert!(quiet.allows(Action::PresenceRead, &member), "as presence, unless given");
        assert!(!quiet.allows(Action::Read, &principal("u7", &["guest"], &[])));
        for malformed in ["a{b", "a{}", ""] {
            assert!(channel(&format!("{{\"topic\":\"{malformed}\"}}")).is_err(), "{malformed}");
        }
    }
}
