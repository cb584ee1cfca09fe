//! The two framings of the Phoenix protocol: JSON objects (1.0.0), JSON arrays and binary frames (2.0.0). Payloads
//! remain unparsed text.

use serde_json::value::RawValue;

use super::binary;
use super::push::{LONG_REFERENCE, MessageBody, Push, Pushed, refuse};
use crate::code::Refusal;
use crate::dialect::{Frame, Received};
use crate::policy::limits::ID_BYTES;
use crate::value::json::{self, Kind};

/// Which of the two framings a socket asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `1.0.0`: one JSON object per text frame.
    One,
    /// `2.0.0`: one JSON array per text frame, and binary frames.
    Two,
}

/// Reads a frame.
///
/// # Errors
/// When the frame is malformed for this version; the error quotes nothing from it.
pub fn read(version: Version, frame: Received<'_>) -> Result<Push<'_>, Refusal> {
    match (version, frame) {
        (Version::One, Received::Text(text)) => object(text),
        (Version::Two, Received::Text(text)) => array(text),
        (Version::Two, Received::Binary(bytes)) => binary::read(bytes),
        (Version::One, Received::Binary(_)) => Err(refuse("Version 1.0.0 has no binary frames.")),
    }
}

/// Encodes a text frame. Version 1.0.0 has no `join_ref`.
pub fn text(
    version: Version,
    join_ref: Option<&str>,
    reference: Option<&str>,
    topic: &str,
    event: &str,
    payload_json: &str,
) -> Frame {
    let mut out = String::with_capacity(payload_json.len() + topic.len() + event.len() + 64);
    match version {
        Version::One => {
            out.push_str("{\"topic\":");
            json::write_string(&mut out, topic);
            out.push_str(",\"event\":");
            json::write_string(&mut out, event);
            out.push_str(",\"payload\":");
            out.push_str(payload_json);
            out.push_str(",\"ref\":");
            write_reference(&mut out, reference);
            out.push('}');
        }
        Version::Two => {
            out.push('[');
            write_reference(&mut out, join_ref);
            out.push(',');
            write_reference(&mut out, reference);
            out.push(',');
            json::write_string(&mut out, topic);
            out.push(',');
            json::write_string(&mut out, event);
            out.push(',');
            out.push_str(payload_json);
            out.push(']');
        }
    }
    Frame::Text(out)
}

/// Encodes a user's message as a binary frame of version 2.0.0; `None` if a header field is too long for the format.
pub fn broadcast_binary(topic: &str, event: &str, metadata_json: &str, body: MessageBody<'_>) -> Option<Frame> {
    binary::write(topic, event, metadata_json, body).map(Frame::Binary)
}

/// Version 1.0.0. Unknown members are ignored, as in every server of this protocol.
fn object(text: &str) -> Result<Push<'_>, Refusal> {
    let object = json::object(text).map_err(|_| refuse("The frame must be a JSON object that names no key twice."))?;
    let member = |name: &str| object.members.iter().find(|(key, _)| key == name).map(|(_, value)| value.get());
    let missing = || refuse("The frame must have topic, event, payload and ref.");
    Ok(Push {
        join_ref: reference(member("join_ref").unwrap_or("null"))?,
        reference: reference(member("ref").ok_or_else(missing)?)?,
        topic: name(member("topic").ok_or_else(missing)?)?,
        event: name(member("event").ok_or_else(missing)?)?,
        payload: Pushed::Json(member("payload").ok_or_else(missing)?),
        is_binary: false,
    })
}

/// Version 2.0.0. Elements after the fifth are ignored.
fn array(text: &str) -> Result<Push<'_>, Refusal> {
    let elements = json::array(text).map_err(|_| refuse("The frame must be a JSON array."))?;
    let mut elements = elements.into_iter().map(RawValue::get);
    let mut next = || elements.next().ok_or_else(|| refuse("The frame must have five elements."));
    Ok(Push {
        join_ref: reference(next()?)?,
        reference: reference(next()?)?,
        topic: name(next()?)?,
        event: name(next()?)?,
        payload: Pushed::Json(next()?),
        is_binary: false,
    })
}

/// A reference: a string or nothing. A number becomes its source text.
fn reference(value: &str) -> Result<Option<String>, Refusal> {
    let text = match json::kind(value) {
        Kind::Null => return Ok(None),
        Kind::Number => Some(value.to_owned()),
        _ => json::string(value),
    };
    // A reference is stored as long as its connection, so it must not be as long as a frame.
    let text = text.filter(|text| text.len() <= ID_BYTES);
    text.map(Some).ok_or_else(|| refuse(LONG_REFERENCE))
}

fn name(value: &str) -> Result<String, Refusal> {
    json::string(value).ok_or_else(|| refuse("The topic and the event must be strings of Unicode text."))
}

fn write_reference(out: &mut String, reference: Option<&str>) {
    match reference {
        Some(reference) => json::write_string(out, reference),
        None => out.push_str("null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(version: Version, text: &str) -> Result<Push<'_>, Refusal> {
        read(version, Received::Text(text))
    }

    #[test]
    fn references_are_read_leniently() {
        for (written, read) in [
            ("null", Some(None)),
            ("\"6\"", Some(Some("6"))),
            ("\"\"", Some(Some(""))),
            ("6", Some(Some("6"))),
            ("true", None),
            ("[]", None),
            ("{}", None),
        ] {
            let found = reference(written).ok();
            assert_eq!(found.as_ref().map(Option::as_deref), read, "{written}");
        }
        assert!(reference(&format!("\"{}\"", "6".repeat(256))).is_err());
        assert!(reference(&"6".repeat(256)).is_err());
    }

    #[test]
    fn one_version_does_not_read_the_other() {
        let (object, array) = (r#"{"topic":"t","event":"e","payload":{},"ref":"1"}"#, r#"["1","1","t","e",{}]"#);
        assert_eq!(read_text(Version::One, object).unwrap().join_ref, None);
        assert_eq!(read_text(Version::Two, array).unwrap().join_ref.as_deref(), Some("1"));
        assert!(read_text(Version::One, array).is_err());
        assert!(read_text(Version::Two, object).is_err());
        assert!(read(Version::One, Received::Binary(&[3, 0, 0, 0, 0, 0, 0])).is_err());
    }

    #[test]
    fn payloads_stay_as_they_were_written() {
        let push = read_text(Version::Two, r#" [ null , "1","t","e", {"a": 1.10e2,"a":"\ud800"} , 7 ] "#).unwrap();
        assert_eq!(push.payload, Pushed::Json(r#"{"a": 1.10e2,"a":"\ud800"}"#));
    }
}
