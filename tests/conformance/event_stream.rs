//! The event stream's adapter: the native one, behind a parser for server-sent events.

use realtime_worker::dialect::{Frame, event_stream};

use super::adapter::{Adapter, Ask, Dialect, Observation};
use super::native::NATIVE;

pub const EVENT_STREAM: Dialect = Dialect {
    name: "event_stream",
    dialect: event_stream::ID,
    golden: "event_stream",
    adapter: |user| Box::new(EventStream((NATIVE.adapter)(user))),
    ..NATIVE
};

struct EventStream(Box<dyn Adapter>);

impl Adapter for EventStream {
    fn write(&mut self, ask: &Ask<'_>) -> Vec<Frame> {
        self.0.write(ask)
    }

    /// One block is one event, which is one native frame: lines are fields, and an empty line ends it.
    fn read(&mut self, frame: &Frame) -> Vec<Observation> {
        let Frame::Text(block) = frame else { panic!("a binary frame") };
        let fields = block.strip_suffix("\n\n").unwrap_or_else(|| panic!("{block:?} does not end"));
        let fields: Vec<_> = fields.split('\n').map(|line| line.split_once(": ").unwrap()).collect();
        let (id, data) = match fields.as_slice() {
            [("data", data)] => (None, data),
            [("id", id), ("data", data)] => (Some(id), data),
            _ => panic!("{block:?} has other fields"),
        };
        // An event of the stream has the id with which its client resumes.
        let value: serde_json::Value = serde_json::from_str(data).unwrap();
        let offset = value.get("offset").filter(|_| value["recovered"] != true);
        assert_eq!(id.and_then(|id| id.rsplit(':').next()?.parse().ok()), offset.and_then(|offset| offset.as_u64()));
        self.0.read(&Frame::Text((*data).to_owned()))
    }
}
