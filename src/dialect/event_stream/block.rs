//! The blocks of an event stream (WHATWG HTML, server-sent events): an optional `id`, one line of `data`, an empty
//! line.
//!
//! A block is encoded once for all recipients, and events do not carry the epoch: the id of an event is its offset
//! until the Worker, which knows the epoch of its stream, completes it.

use std::borrow::Cow;

/// The field that a client returns as `Last-Event-ID`.
const ID: &str = "id: ";

/// The position after an event, from which a client resumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventId<'a> {
    /// The stream's epoch; `None` if the Worker adds it.
    pub epoch: Option<&'a str>,
    /// The offset.
    pub offset: u64,
}

/// One event with this JSON text as its data.
pub fn block(id: Option<EventId<'_>>, json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 40);
    if let Some(EventId { epoch, offset }) = id {
        out.push_str(ID);
        if let Some(epoch) = epoch {
            out.push_str(epoch);
            out.push(':');
        }
        out.push_str(&offset.to_string());
        out.push('\n');
    }
    out.push_str("data: ");
    // Values are sent as the publisher wrote them. A line break in JSON only occurs between tokens, where a space means
    // the same; here it would end the field.
    out.extend(json.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
    out.push_str("\n\n");
    out
}

/// Completes the id of a block, and records the epoch of a block that has one. An id without a known epoch is left out:
/// an offset means nothing in another stream.
pub fn complete<'a>(block: &'a str, epoch: &mut Option<String>) -> Cow<'a, str> {
    let Some((id, rest)) = block.strip_prefix(ID).and_then(|rest| rest.split_once('\n')) else {
        return Cow::Borrowed(block);
    };
    if let Some((named, _)) = id.rsplit_once(':') {
        *epoch = Some(named.to_owned());
        return Cow::Borrowed(block);
    }
    match epoch {
        Some(epoch) => Cow::Owned(format!("{ID}{epoch}:{id}\n{rest}")),
        None => Cow::Borrowed(rest),
    }
}

/// Epoch and offset of a `Last-Event-ID`.
pub fn position(id: &str) -> Option<(String, u64)> {
    let (epoch, offset) = id.rsplit_once(':')?;
    let is_digits = !offset.is_empty() && offset.bytes().all(|byte| byte.is_ascii_digit());
    let offset = offset.parse().ok().filter(|_| is_digits)?;
    // It becomes part of the ids that this stream sends, where a line break would end the field.
    let is_epoch = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_graphic());
    is_epoch.then(|| (epoch.to_owned(), offset))
}
