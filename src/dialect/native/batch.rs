//! Frames with several events, each encoded as in a frame of its own.

use std::borrow::Cow;

use crate::dialect::Frame;
use crate::engine::event::Event;

/// Maximum bytes of a batch; larger batches would save nothing more.
const MAX_BATCH_BYTES: usize = 64 * 1024;
/// The start of a batch.
const BATCH: &str = r#"{"type":"batch","events":["#;

/// Encodes events in as few frames as their size allows. An event that several lists share is encoded once.
pub(super) fn frames(events: &[Event]) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut next = (String::from(BATCH), 0);
    for event in events {
        let text = text(event);
        if next.1 > 0 && next.0.len() + text.len() > MAX_BATCH_BYTES {
            frames.push(finished(std::mem::replace(&mut next, (String::from(BATCH), 0))));
        }
        if next.1 > 0 {
            next.0.push(',');
        }
        next.0.push_str(&text);
        next.1 += 1;
    }
    frames.push(finished(next));
    frames
}

/// The text of an event, which is the same in every batch.
fn text(event: &Event) -> Cow<'_, str> {
    let write = || {
        let mut out = String::with_capacity(256);
        super::encode::write(&mut out, event);
        out
    };
    match event {
        Event::Change { shared, .. } | Event::Message { shared, .. } => Cow::Borrowed(shared.get(write)),
        _ => Cow::Owned(write()),
    }
}

/// A batch with one event is that event's own frame.
fn finished((mut frame, count): (String, usize)) -> Frame {
    if count == 1 {
        return Frame::Text(frame.split_off(BATCH.len()));
    }
    frame.push_str("]}");
    Frame::Text(frame)
}
