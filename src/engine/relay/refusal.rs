//! The stream's refusals, as sent to relays.

use serde::{Deserialize, Serialize};

use crate::code::{Code, Refusal};

/// A refusal by the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RefusalForm {
    code: String,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

impl From<&Refusal> for RefusalForm {
    fn from(refusal: &Refusal) -> RefusalForm {
        let (code, message) = (refusal.code.as_str().to_owned(), refusal.message.to_string());
        RefusalForm { code, message, retry_after: refusal.retry_after }
    }
}

impl RefusalForm {
    /// The refusal; an unknown code of a later build is still a refusal.
    pub(super) fn refusal(self) -> Refusal {
        let code = Code::ALL.iter().find(|code| code.as_str() == self.code).copied().unwrap_or(Code::Internal);
        Refusal { retry_after: self.retry_after, ..Refusal::because(code, self.message) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_comes_back_as_it_was() {
        let refusal = Refusal { retry_after: Some(7), ..Refusal::because(Code::PresenceLimit, "Full.") };
        assert_eq!(RefusalForm::from(&refusal).refusal(), refusal);
        let unknown = RefusalForm { code: "of_tomorrow".into(), message: "No.".into(), retry_after: None };
        assert_eq!(unknown.refusal().code, Code::Internal);
    }
}
