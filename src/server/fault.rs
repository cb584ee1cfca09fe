//! Faults: what the runtime, the storage or an issuer of keys says of a failure.

use serde_json::json;

/// What somebody else's software says of its failure. It may quote anything, so the log is its only reader: it has
/// neither `Display` nor `Debug`, and no conversion to a refusal, an answer or a frame.
#[must_use = "a fault is always logged"]
pub struct Fault {
    words: String,
}

impl Fault {
    /// A fault in these words; some have none.
    pub fn new(words: impl Into<String>) -> Fault {
        let words = words.into();
        Fault { words: if words.is_empty() { "no reason was given".to_owned() } else { words } }
    }

    /// The same, preceded by what was being done.
    pub fn during(self, what: &str) -> Fault {
        Fault { words: format!("{what}: {}", self.words) }
    }

    /// Its line of log.
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
