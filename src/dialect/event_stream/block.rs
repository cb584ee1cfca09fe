//! The blocks of an event stream (WHATWG HTML, server-sent events): an optional `id`, one line of `data`, an empty line.
//!
//! A block is encoded once for all its recipients and the object's epoch is the same for all, yet no event carries it: the
//! id of an event is its offset alone until the stream that it leaves by, which knows its epoch, completes it.

use std::borrow::Cow;

/// The field that a client hands back as `Last-Event-ID`.
const ID: &str = "id: ";

/// Where a client goes on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventId<'a> {
    /// The stream's epoch; `None` where the stream that it leaves by knows it.
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
    // Values leave as the publisher wrote them. In JSON a line break only ever stands between tokens, where a space says
    // the same; here it would end the field.
    out.extend(json.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
    out.push_str("\n\n");
    out
}

/// Completes the id of a block, and notes the epoch of one that has it. An id whose epoch is unknown is left out: a client
/// must not go on from an offset of who knows which stream.
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
    // It becomes part of the ids that this stream sends: a line break in it would end the field.
    let is_epoch = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_graphic());
    is_epoch.then(|| (epoch.to_owned(), offset))
}
