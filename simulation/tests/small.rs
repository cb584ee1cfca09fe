//! Two thousand sockets on a few relays: a small version of `cargo xtask simulate`.

use realtime_worker_simulation::{Counts, Plan, simulate};

const STEPS: usize = 100;
const RELAYS: u32 = 5;

#[test]
fn nothing_is_lost_twice_or_out_of_order_and_requests_are_few() {
    let plan = Plan { sockets: 2_000, relays: RELAYS, steps: STEPS, interval: 200, seed: 1 };
    let report = simulate(plan, |_, _| {});
    assert!(report.mistakes.is_empty(), "{}", report.mistakes);
    let [_, (_, quiet), _, (_, trouble)] = report.phases[..] else { panic!("{:?}", report.phases) };

    let Counts { recoveries, failures, crashes, sleeps, caught_up, restarts, .. } = trouble;
    let has_happened = recoveries > 2_000 && failures > 0 && crashes > RELAYS.into() && sleeps > 0 && caught_up > 0;
    assert!(has_happened, "too little has gone wrong:\n{trouble}");
    // Everything is retained, so relays have read what they missed, and no socket was closed because of it.
    assert_eq!(restarts, 0, "{trouble}");

    // One request for each publication and relay, and no question back. A room has members at some relays only.
    let (steps, all) = (STEPS as u64, STEPS as u64 * u64::from(RELAYS));
    assert_eq!((quiet.publications, quiet.connections, quiet.failures), (steps, 0, 0));
    assert!((all / 2..=all).contains(&quiet.down), "{quiet}");
    assert_eq!((quiet.up, quiet.places, quiet.admissions), (0, 0, 0));
}
