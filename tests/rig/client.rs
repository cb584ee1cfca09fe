//! A client of the rig: its received frames, and how its connection ended.

use std::cell::RefCell;
use std::rc::Rc;

use realtime_worker::dialect::Frame;
use serde_json::{Value, json};

/// One client, from its connection to the end of the script. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its public id: `c1`, `c2`, … in the order of connecting.
    pub id: String,
    inbox: Rc<RefCell<Inbox>>,
}

#[derive(Debug, Default)]
struct Inbox {
    texts: Vec<String>,
    read: usize,
    closed: Option<(u16, String)>,
}

impl Client {
    pub fn new(id: String) -> Client {
        Client { id, inbox: Rc::default() }
    }

    /// The next frame that the script has not read.
    #[track_caller]
    pub fn next(&self) -> Value {
        let text = self.next_text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}: {text}", self.id))
    }

    /// The next frame as received.
    #[track_caller]
    pub fn next_text(&self) -> String {
        let mut inbox = self.inbox.borrow_mut();
        let text = inbox.texts.get(inbox.read).cloned();
        inbox.read += 1;
        text.unwrap_or_else(|| panic!("{} got no further frame", self.id))
    }

    /// The next frame as its client reads it from the socket, if there is one.
    pub fn next_frame(&self) -> Option<Frame> {
        (self.waiting() > 0).then(|| frame(&self.next_text()))
    }

    /// All frames that the script has not read.
    #[track_caller]
    pub fn frames(&self) -> Vec<Value> {
        let left = self.waiting();
        (0..left).map(|_| self.next()).collect()
    }

    /// How many frames the script has not read.
    pub fn waiting(&self) -> usize {
        let inbox = self.inbox.borrow();
        inbox.texts.len().saturating_sub(inbox.read)
    }

    /// The next frame is exactly this.
    #[track_caller]
    pub fn gets(&self, expected: Value) {
        assert_eq!(self.next(), expected, "{}", self.id);
    }

    /// No frame was received.
    #[track_caller]
    pub fn gets_nothing(&self) {
        assert_eq!(self.frames(), Vec::<Value>::new(), "{}", self.id);
    }

    /// The next frame is an error with this code.
    #[track_caller]
    pub fn is_refused(&self, code: &str) -> Value {
        let frame = self.next();
        assert_eq!((&frame["type"], &frame["code"]), (&json!("error"), &json!(code)), "{}: {frame}", self.id);
        frame
    }

    /// The next frame reports that authentication failed, and the connection is closed with this code.
    #[track_caller]
    pub fn is_rejected(&self, code: &str, number: u16) {
        let frame = self.next();
        assert_eq!((&frame["type"], &frame["code"]), (&json!("auth_error"), &json!(code)), "{}: {frame}", self.id);
        self.is_closed(number, code);
    }

    /// The connection was closed with this code and reason, and nothing was received after that.
    #[track_caller]
    pub fn is_closed(&self, number: u16, reason: &str) {
        self.gets_nothing();
        assert_eq!(self.closed(), Some((number, reason.to_owned())), "{}", self.id);
    }

    /// How the connection ended, if it has.
    pub fn closed(&self) -> Option<(u16, String)> {
        self.inbox.borrow().closed.clone()
    }

    /// Every frame ever received.
    pub fn texts(&self) -> Vec<String> {
        self.inbox.borrow().texts.clone()
    }

    pub fn receive(&self, text: String) {
        assert!(self.closed().is_none(), "{} is sent to after its end", self.id);
        self.inbox.borrow_mut().texts.push(text);
    }

    pub fn end(&self, number: u16, reason: &str) {
        self.inbox.borrow_mut().closed.get_or_insert((number, reason.to_owned()));
    }
}

/// How a transcript shows a binary frame.
pub fn binary(bytes: &[u8]) -> String {
    bytes.iter().fold(String::from(BINARY), |text, byte| text + &format!("{byte:02x}"))
}

/// The reverse.
fn frame(text: &str) -> Frame {
    let Some(hexadecimal) = text.strip_prefix(BINARY) else { return Frame::Text(text.to_owned()) };
    let byte = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
    Frame::Binary(hexadecimal.as_bytes().chunks(2).map(byte).collect())
}

const BINARY: &str = "binary:";
