//! The names of lives of the objects. They tell what the other side can do: it may be of another version while one is being
//! deployed.

/// What the name of a life ends with whose object can catch up by offset, or can be asked for that. An earlier version takes
/// the name as it is.
const CATCHES_UP: &str = "+";

/// The name of a life, from a random one.
pub(super) fn name(random: &str) -> String {
    [random, CATCHES_UP].concat()
}

/// Whether a life's object knows how a relay catches up.
pub(super) fn catches_up(life: &str) -> bool {
    life.ends_with(CATCHES_UP)
}
