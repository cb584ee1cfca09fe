//! The binary frames of version 2.0.0: a header of one-byte lengths, the fields that they measure, then the payload:
//!
//! ```text
//! kind 3, from the client   3 join_ref ref topic event metadata encoding │ join_ref ref topic event metadata payload
//! kind 0, from the client   0 join_ref ref topic event                   │ join_ref ref topic event payload
//! kind 4, from the server   4 topic event metadata encoding              │ topic event metadata payload
//! ```
//!
//! `encoding` is 0 for raw bytes and 1 for JSON; `metadata` is JSON or empty.

use serde_json::value::RawValue;

use super::push::{LONG_REFERENCE, MessageBody, Push, Pushed, refuse};
use crate::code::Refusal;
use crate::policy::limits::ID_BYTES;

const PUSH: u8 = 0;
const USER_PUSH: u8 = 3;
const USER_BROADCAST: u8 = 4;
const RAW: u8 = 0;
const JSON: u8 = 1;

pub(super) fn read(bytes: &[u8]) -> Result<Push<'_>, Refusal> {
    let (kind, rest) = bytes.split_first().ok_or_else(cut)?;
    match *kind {
        PUSH => push(rest),
        USER_PUSH => user_push(rest),
        _ => Err(refuse("Binary frames of this kind are not for clients to send.")),
    }
}

/// No known client sends metadata, and the protocol allows any bytes; channels can only express JSON.
fn push(rest: &[u8]) -> Result<Push<'_>, Refusal> {
    let (lengths, mut rest) = rest.split_first_chunk().ok_or_else(cut)?;
    let head = head(*lengths, &mut rest)?;
    Ok(Push { payload: Pushed::Json(json(rest)?), ..head })
}

fn user_push(rest: &[u8]) -> Result<Push<'_>, Refusal> {
    let (lengths, rest) = rest.split_first_chunk().ok_or_else(cut)?;
    let ([metadata, encoding], mut rest) = rest.split_first_chunk().ok_or_else(cut)?;
    let head = head(*lengths, &mut rest)?;
    let metadata = match take(&mut rest, *metadata)? {
        [] => "",
        written => json(written)?,
    };
    let body = match *encoding {
        RAW => MessageBody::Binary(rest),
        JSON => MessageBody::Json(json(rest)?),
        _ => return Err(refuse("The encoding of a binary frame must be 0 or 1.")),
    };
    Ok(Push { payload: Pushed::Broadcast { metadata, body }, ..head })
}

/// The part that both kinds share, with these lengths; each kind reads its own payload.
fn head<'a>([join_ref, reference, topic, event]: [u8; 4], rest: &mut &'a [u8]) -> Result<Push<'a>, Refusal> {
    Ok(Push {
        join_ref: optional(take(rest, join_ref)?)?,
        reference: optional(take(rest, reference)?)?,
        topic: text(take(rest, topic)?),
        event: text(take(rest, event)?),
        payload: Pushed::Json("null"),
        is_binary: true,
    })
}

pub(super) fn write(topic: &str, event: &str, metadata: &str, body: MessageBody<'_>) -> Option<Vec<u8>> {
    let (encoding, payload) = match body {
        MessageBody::Binary(bytes) => (RAW, bytes),
        MessageBody::Json(text) => (JSON, text.as_bytes()),
    };
    let length = |part: &str| u8::try_from(part.len()).ok();
    let header = [USER_BROADCAST, length(topic)?, length(event)?, length(metadata)?, encoding];
    let parts: [&[u8]; 5] = [&header, topic.as_bytes(), event.as_bytes(), metadata.as_bytes(), payload];
    Some(parts.concat())
}

fn take<'a>(rest: &mut &'a [u8], length: u8) -> Result<&'a [u8], Refusal> {
    let (taken, left) = rest.split_at_checked(usize::from(length)).ok_or_else(cut)?;
    *rest = left;
    Ok(taken)
}

/// An absent reference has length 0. Converted from Latin-1, a reference may be longer than its stated length.
fn optional(bytes: &[u8]) -> Result<Option<String>, Refusal> {
    let text = (!bytes.is_empty()).then(|| text(bytes));
    if text.as_ref().is_some_and(|text| text.len() > ID_BYTES) { Err(refuse(LONG_REFERENCE)) } else { Ok(text) }
}

/// UTF-8, otherwise Latin-1: clients from 2.84 to 2.110.3 write one byte for each UTF-16 unit.
fn text(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

fn json(bytes: &[u8]) -> Result<&str, Refusal> {
    let value = str::from_utf8(bytes).ok().and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
    value.map(RawValue::get).ok_or_else(|| refuse("The metadata or the payload of a binary frame is not JSON."))
}

fn cut() -> Refusal {
    refuse("The binary frame is shorter than its header says.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_utf8_is_latin_1() {
        assert_eq!(text("é€".as_bytes()), "é€");
        assert_eq!(text(b"caf\xe9"), "café");
    }

    #[test]
    fn a_reference_in_latin_1_has_no_more_bytes_than_one_in_utf8() {
        let frame = |reference: &[u8]| [&[3, 0, 0xFF, 1, 1, 0, RAW][..], reference, b"te"].concat();
        assert_eq!(read(&frame(&[b'6'; 255])).unwrap().reference.map(|text| text.len()), Some(255));
        assert_eq!(read(&frame(&[0xFF; 255])).unwrap_err(), refuse(LONG_REFERENCE));
    }

    #[test]
    fn a_header_counts_bytes_up_to_255() {
        let body = MessageBody::Binary(&[1]);
        let [fits, exceeds] = [255, 256].map(|length| "x".repeat(length));
        assert!(write(&fits, &fits, &fits, body).is_some());
        assert!(write(&exceeds, "", "", body).is_none());
        assert!(write("", &exceeds, "", body).is_none());
        assert!(write("", "", &exceeds, body).is_none());
        assert!(write(&"é".repeat(128), "", "", body).is_none());
    }
}
