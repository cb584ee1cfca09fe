//! The names of the objects' lives. They announce what the object can do, because during a deploy the other side may be
//! of another version.

/// The suffix of lives whose object supports catching up by offset. An earlier version ignores it.
const CATCHES_UP: &str = "+";

/// The name of a life, from a random one.
pub(super) fn name(random: &str) -> String {
    [random, CATCHES_UP].concat()
}

/// Whether the object of a life supports catching up.
pub(super) fn catches_up(life: &str) -> bool {
    life.ends_with(CATCHES_UP)
}
