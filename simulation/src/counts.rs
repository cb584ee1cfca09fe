//! The counters.

use std::fmt;

/// Events of one phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Publications that were accepted.
    pub publications: u64,
    /// Publications that clients have seen.
    pub seen: u64,
    /// Sockets that were opened.
    pub connections: u64,
    /// Clients that reconnected and were told that they missed nothing.
    pub recoveries: u64,
    /// Sockets that an object closed with 1012, whose clients reconnect.
    pub restarts: u64,
    /// Requests of relays that name the position from which they have missed something.
    pub caught_up: u64,
    /// Requests to the organization's object for the object of the next socket.
    pub places: u64,
    /// Requests of relays before they accept a socket whose user or ticket is known.
    pub admissions: u64,
    /// Requests of relays with their clients' commands and questions, and with reports.
    pub up: u64,
    /// Requests to relays with publications and answers.
    pub down: u64,
    /// Bodies of both, in bytes.
    pub bytes: u64,
    /// Requests that did not arrive, or whose answer did not.
    pub failures: u64,
    /// Rows written by the organization's object.
    pub rows: u64,
    /// Times that an object lost its memory and kept its sockets.
    pub sleeps: u64,
    /// Times that it lost both.
    pub crashes: u64,
}

macro_rules! each {
    ($operation:expr) => {
        each!($operation; publications seen connections recoveries restarts caught_up places admissions up down bytes failures rows sleeps crashes)
    };
    ($operation:expr; $($name:ident)*) => { Counts { $( $name: $operation(|counts: &Counts| counts.$name), )* } };
}

impl Counts {
    /// The difference to an earlier count.
    pub fn since(&self, before: &Counts) -> Counts {
        each!(|field: fn(&Counts) -> u64| field(self) - field(before))
    }

    /// Requests between objects.
    pub fn requests(&self) -> u64 {
        self.places + self.admissions + self.up + self.down
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  publications {}, seen {}", self.publications, self.seen)?;
        writeln!(
            f,
            "  connections {}, recoveries {}, closed with 1012 {}, questions of relays for what they missed {}",
            self.connections, self.recoveries, self.restarts, self.caught_up
        )?;
        let (places, admissions, up, down) = (self.places, self.admissions, self.up, self.down);
        writeln!(
            f,
            "  requests {}: place {places}, admit {admissions}, to the root {up}, to relays {down}",
            self.requests()
        )?;
        writeln!(
            f,
            "  failed requests {}, bytes between objects {}, rows of the root {}",
            self.failures, self.bytes, self.rows
        )?;
        write!(f, "  sleeps {}, crashes {}", self.sleeps, self.crashes)
    }
}

/// What clients found wrong: all are zero if all is well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes {
    /// Publications that a client should have received and did not.
    pub lost: u64,
    /// Publications that were received a second time.
    pub twice: u64,
    /// Publications that were received after later ones.
    pub out_of_order: u64,
    /// Publications of another room.
    pub misdirected: u64,
    /// Clients that were told to reload their state, although everything was retained.
    pub unrecovered: u64,
    /// Clients that could not reconnect.
    pub away: u64,
    /// Publications and sockets that were refused, and unexpected frames.
    pub unexpected: u64,
    /// The first of these, described.
    pub first: Option<String>,
}

impl Mistakes {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Mistakes::default()
    }

    pub(crate) fn note(&mut self, words: impl FnOnce() -> String) {
        self.first.get_or_insert_with(words);
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lost {}, twice {}, out of order {}", self.lost, self.twice, self.out_of_order)?;
        write!(f, ", misdirected {}, unrecovered {}", self.misdirected, self.unrecovered)?;
        write!(f, ", not back {}, unexpected {}", self.away, self.unexpected)?;
        self.first.iter().try_for_each(|first| write!(f, "\nthe first: {first}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_counts_what_has_come_since_the_one_before() {
        let before = Counts { up: 2, seen: 7, ..Counts::default() };
        let now = Counts { up: 5, seen: 7, down: 1, ..Counts::default() };
        let phase = now.since(&before);
        assert_eq!(phase, Counts { up: 3, down: 1, ..Counts::default() });
        assert_eq!(phase.requests(), 4);
    }
}
