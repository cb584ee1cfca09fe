//! A text that the frames of several channels share: the first encoder writes it, the others copy it.

use std::cell::OnceCell;
use std::rc::Rc;

/// Holds the part of an event's frames that does not depend on the channel name. Clones share it among recipients of
/// one dialect variant.
#[derive(Clone, Debug, Default)]
pub struct SharedText(Rc<OnceCell<String>>);

impl SharedText {
    /// The text, written by `write` on first use.
    pub fn get(&self, write: impl FnOnce() -> String) -> &str {
        self.0.get_or_init(write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_what_the_first_one_wrote() {
        let first = SharedText::default();
        let second = first.clone();
        assert_eq!(first.get(|| String::from("first")), "first");
        assert_eq!(second.get(|| String::from("second")), "first");
        assert_eq!(SharedText::default().get(|| String::from("third")), "third");
    }
}
