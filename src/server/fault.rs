//! Faults: error texts of the runtime, the storage or an issuer of keys.

use serde_json::json;

/// The error text of foreign software. It may quote anything, so it goes to the log only: it has neither `Display` nor
/// `Debug`, and converts to no refusal, answer or frame.
#[must_use = "a fault is always logged"]
pub struct Fault {
    words: String,
}

impl Fault {
    /// A fault with this text, which may be empty.
    pub fn new(words: impl Into<String>) -> Fault {
        let words = words.into();
        Fault { words: if words.is_empty() { "no reason was given".to_owned() } else { words } }
    }

    /// The same, prefixed with the operation that failed.
    pub fn during(self, what: &str) -> Fault {
        Fault { words: format!("{what}: {}", self.words) }
    }

    /// Its log line.
    pub fn log_line(&self) -> String {
        json!({ "event": "fault", "message": self.words }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_log_always_says_something() {
        assert_eq!(Fault::new("disk full").log_line(), r#"{"event":"fault","message":"disk full"}"#);
        assert_eq!(Fault::new("").log_line(), r#"{"event":"fault","message":"no reason was given"}"#);
        let fault = Fault::new("disk \"full\"").during("setAlarm");
        assert_eq!(fault.log_line(), r#"{"event":"fault","message":"setAlarm: disk \"full\""}"#);
    }
}
