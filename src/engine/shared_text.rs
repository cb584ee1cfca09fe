//! A text that frames of several channels have in common: written by the first of them, copied by the others.

use std::cell::OnceCell;
use std::rc::Rc;

/// A place for the part of an event's frames that the channel's name does not change. Clones are one place, for
/// recipients of one dialect variant.
#[derive(Clone, Debug, Default)]
pub struct SharedText(Rc<OnceCell<String>>);

impl SharedText {
    /// The text, which `write` makes where it is wanted for the first time.
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
