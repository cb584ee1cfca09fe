//! The source with a scripted database and scripted organizations: every change arrives once and in order, whatever
//! crashes, and the connection lives as long as there are listeners.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at the first surprise")]

mod source_world;

use std::collections::BTreeMap;

use proptest::prelude::*;
use realtime_worker::source::input::{RequestId, SourceInput};
use realtime_worker::source::link::Problem;
use realtime_worker::source::statement::Statement;
use realtime_worker::source::task::SourceTask;
use serde_json::{Value, json};
use source_world::World;

fn one() -> World {
    World::new(json!("org_1"))
}

#[test]
fn a_subscriber_connects_and_the_last_one_gone_closes_after_ten_seconds() {
    let mut world = one();
    world.pass(60_000);
    assert_eq!((world.connects, world.alarm), (0, None), "nobody has ever listened: nothing is due");
    world.listen(1, "org_1", &["g1"]);
    assert_eq!(world.replies[&1].0, 200);
    assert_eq!(world.replies[&1].1["tables"][0]["table"], "t");
    world.listen(2, "org_1", &[]);
    world.pass(9_000);
    assert!(world.is_connected);
    world.pass(2_000);
    assert!(!world.is_connected);
    assert_eq!(world.connects, 1);
}

#[test]
fn with_nobody_there_the_database_is_emptied_now_and_then() {
    let mut world = one();
    world.listen(1, "org_1", &["g1"]);
    world.listen(2, "org_1", &[]);
    world.pass(20_000);
    (0..5).for_each(|number| world.commit(number));
    world.pass(3_600_000);
    assert_eq!(world.rows("org_1").len(), 5, "for the history");
    assert!(!world.is_connected);
    assert!((10..=14).contains(&world.connects), "every five minutes: {}", world.connects);
}

/// The runtime evicts an idle object from memory within seconds, so its next life must know when it is due.
#[test]
fn an_hour_without_subscribers_takes_twelve_wakes_and_keeps_no_connection() {
    for is_taken_out_of_memory in [false, true] {
        let mut world = one();
        world.listen(1, "org_1", &["g1"]);
        world.listen(2, "org_1", &[]);
        world.pass(20_000);
        (world.wakes, world.connects) = (0, 0);
        for minute in 0..60 {
            world.commit(minute);
            for _ in 0..6 {
                world.pass(10_000);
                assert!(!world.is_connected, "minute {minute}");
                if is_taken_out_of_memory {
                    world.crash();
                }
            }
        }
        assert!((11..=12).contains(&world.wakes), "{} wakes, out of memory: {is_taken_out_of_memory}", world.wakes);
        assert_eq!(world.connects, world.wakes);
        assert!(world.rows("org_1").len() >= 55, "{:?}", world.rows("org_1").len());
    }
}

#[test]
fn a_database_that_was_down_when_it_was_to_be_emptied_is_emptied_later() {
    let mut world = one();
    world.listen(1, "org_1", &["g1"]);
    world.listen(2, "org_1", &[]);
    world.pass(20_000);
    world.commit(1);
    (world.is_reachable, world.wakes) = (false, 0);
    world.pass(3_600_000);
    assert!((11..=12).contains(&world.wakes), "{} wakes", world.wakes);
    world.is_reachable = true;
    world.pass(301_000);
    assert_eq!(world.rows("org_1").len(), 1);
}

/// A doorbell or a question that wakes the object does not postpone what is due.
#[test]
fn whoever_wakes_a_source_that_rests_does_not_put_off_its_time() {
    let mut world = one();
    world.listen(1, "org_1", &["g1"]);
    world.listen(2, "org_1", &[]);
    world.pass(20_000);
    world.commit(1);
    for _ in 0..11 {
        world.crash();
        world.input(SourceInput::Knock);
        world.pass(30_000);
    }
    assert_eq!(world.rows("org_1").len(), 1);
}

/// The stored state of an earlier version has no time, so it is due at once.
#[test]
fn a_source_that_does_not_know_its_time_empties_the_database_at_once() {
    let mut world = one();
    world.listen(1, "org_1", &["g1"]);
    world.listen(2, "org_1", &[]);
    world.pass(20_000);
    world.commit(1);
    world.drains_at = None;
    world.crash();
    world.input(SourceInput::Knock);
    world.settle();
    assert_eq!((world.rows("org_1").len(), world.is_connected), (1, false));
}

#[test]
fn a_knock_is_answered_at_once_and_quiet_is_probed() {
    let mut world = one();
    world.listen(1, "org_1", &["g1"]);
    world.pass(1_000);
    let (takes, now) = (world.takes, world.now);
    world.commit(1);
    world.settle();
    assert_eq!((world.rows("org_1").len(), world.now), (1, now));
    world.pass(60_000);
    assert!((10..=20).contains(&(world.takes - takes)), "{} probes in a minute", world.takes - takes);
}

/// Returning clients cause much to be judged again; the others still receive what is new.
#[test]
fn a_batch_is_taken_between_two_questions() {
    let mut world = one();
    world.listen(1, "org_1", &["g1"]);
    world.pass(1_000);
    for request in 10..20 {
        world.input(SourceInput::Ask { request: RequestId(request), statement: Statement::Judge("{}".to_owned()) });
    }
    for number in 1..=3 {
        world.commit(number);
        while world.rows("org_1").len() < number as usize {
            assert!(world.step());
        }
        assert!(world.replies.len() <= 1 + 2 * number as usize, "{:?}", world.replies.keys());
    }
    world.settle();
    assert_eq!(world.replies.len(), 11);
}

#[test]
fn where_judging_is_dear_the_database_has_half_of_the_time_for_others() {
    let mut world = one();
    world.listen(1, "org_1", &["g1"]);
    world.pass(1_000);
    world.commit(1);
    while !matches!(world.tasks.front(), Some(SourceTask::Query { .. })) {
        assert!(world.step());
    }
    world.now += 100;
    world.settle();
    world.commit(2);
    world.pass(99);
    assert_eq!(world.rows("org_1").len(), 1, "it has been judging for 100 ms, and rests as long");
    world.pass(2);
    assert_eq!(world.rows("org_1").len(), 2);
}

#[test]
fn without_knocks_the_database_is_polled() {
    let mut world = one();
    world.listens = false;
    world.listen(1, "org_1", &["g1"]);
    world.pass(2_000);
    world.commit(1);
    world.pass(1_100);
    assert_eq!(world.rows("org_1").len(), 1);
}

#[test]
fn a_lost_feed_is_told_and_back_within_five_seconds() {
    let mut world = one();
    world.listen(1, "org_1", &["g1"]);
    world.pass(1_000);
    world.is_reachable = false;
    world.is_connected = false;
    world.input(SourceInput::Failed(Problem::Unreachable));
    world.settle();
    assert_eq!(world.feeds, [("org_1".to_owned(), json!({ "database": "main", "state": "lost", "tables": null }))]);
    world.listen(2, "org_1", &["g1", "g2"]);
    assert_eq!(world.replies[&2].0, 503);
    world.commit(1);
    world.pass(600_000);
    assert!(world.rows("org_1").is_empty());
    world.is_reachable = true;
    world.pass(5_000);
    assert_eq!(world.rows("org_1").len(), 1);
    let (organization, feed) = world.feeds.last().unwrap();
    assert_eq!((&**organization, &feed["state"]), ("org_1", &json!("live")));
    assert_eq!(world.registered.last().unwrap()["groups"].as_array().unwrap().len(), 2, "what was said meanwhile");
}

#[test]
fn an_answer_that_never_comes_is_a_lost_connection() {
    let mut world = one();
    world.listen(1, "org_1", &["g1"]);
    world.pass(1_000);
    world.commit(1);
    // The query is sent, and its answer is lost.
    while !matches!(world.tasks.front(), Some(SourceTask::Query { .. })) {
        assert!(world.step());
    }
    world.tasks.pop_front();
    world.pass(16_000);
    assert_eq!((world.connects, world.rows("org_1").len()), (2, 1));
}

#[test]
fn a_column_says_whose_a_row_is_and_a_row_that_moves_leaves_and_comes() {
    let mut world = World::new(json!({ "column": "organization_id" }));
    world.listen(1, "a", &["g1"]);
    world.listen(2, "b", &["g2"]);
    world.commit_in(1, Some("a"), None);
    world.commit_in(2, Some("b"), None);
    world.settle();
    world.commit_in(1, Some("b"), Some("a"));
    world.commit_in(2, None, Some("b"));
    world.commit_in(3, Some("no/organization"), None);
    world.commit_in(4, None, None);
    world.pass(1_000);
    let row = |op: &str, id| (op.to_owned(), id);
    assert_eq!(world.rows("a"), [row("INSERT", 1), row("DELETE", 1)]);
    assert_eq!(world.rows("b"), [row("INSERT", 2), row("INSERT", 1), row("DELETE", 2)]);
    assert_eq!(world.taken.len(), 2, "what belongs to nobody goes to nobody");
    // Each receives the verdicts of its own groups, on its own images.
    let (_, last) = world.taken["a"].last().unwrap();
    assert_eq!(last["verdicts"][0]["groups"], json!(["g1"]));
    assert_eq!((&last["verdicts"][0]["new"], &last["verdicts"][0]["old"]), (&json!(["0"]), &json!(["1"])));
    assert_eq!(last["changes"][0]["new"], Value::Null);
}

#[test]
fn an_organization_that_is_down_keeps_no_other_waiting_for_long() {
    let mut world = World::new(json!({ "column": "organization_id" }));
    world.listen(1, "a", &["g1"]);
    world.listen(2, "b", &["g2"]);
    world.is_up = false;
    world.commit_in(1, Some("a"), None);
    world.pass(40_000);
    assert_eq!(world.parked.len(), 1);
    world.is_up = true;
    world.commit_in(2, Some("b"), None);
    world.commit_in(3, Some("a"), None);
    world.pass(10_000);
    assert_eq!(world.rows("a").iter().map(|(_, id)| *id).collect::<Vec<_>>(), [1, 3]);
    assert_eq!((world.rows("b").len(), world.parked.len()), (1, 0));
}

#[test]
fn what_makes_no_sense_is_refused_and_a_late_word_does_not_count() {
    let mut world = one();
    world.input(SourceInput::Interest { request: RequestId(1), body: "{}".to_owned() });
    world.settle();
    assert_eq!(world.replies[&1].0, 400);
    world.listen(9, "org_1", &["g1", "g2"]);
    world.listen(3, "org_1", &["g1"]);
    assert!(world.interests["org_1"].contains("g2"));
}

#[test]
fn a_new_word_is_answered_after_what_was_judged_for_the_old_one_has_arrived() {
    let mut world = one();
    world.listen(1, "org_1", &["g1"]);
    world.commit(1);
    while !matches!(world.tasks.front(), Some(SourceTask::Deliver { .. })) {
        assert!(world.step());
    }
    let deliver = world.tasks.pop_front().unwrap();
    world.listen(2, "org_1", &["g1", "g2"]);
    world.pass(100);
    assert!(!world.replies.contains_key(&2), "the first batch is still on its way");
    world.tasks.push_back(deliver);
    world.settle();
    assert_eq!((world.rows("org_1").len(), world.replies[&2].0), (1, 200));
}

#[test]
fn a_restored_database_counts_again_and_loses_no_batch() {
    let mut world = one();
    world.listen(1, "org_1", &["g1"]);
    world.commit(1);
    world.settle();
    world.commit(2);
    while !matches!(
        world.tasks.front(),
        Some(SourceTask::Query { statement: Statement::Take { done: Some(2), .. }, .. })
    ) {
        assert!(world.step());
    }
    world.commit(3);
    // Another batch 2, of another timeline, appears while the old one is about to be acknowledged.
    world.tasks.clear();
    world.fixed = Some((2, world.outbox.drain(..).collect()));
    world.epoch = "s2";
    world.is_connected = false;
    world.input(SourceInput::Failed(Problem::Unreachable));
    world.pass(5_000);
    let rows: Vec<u64> = world.rows("org_1").into_iter().map(|(_, id)| id).collect();
    assert_eq!(rows, [1, 2, 3]);
}

#[test]
fn what_becomes_of_tables_is_told_once() {
    let mut world = one();
    world.listen(1, "org_1", &["g1"]);
    world.pass(200_000);
    assert!(world.feeds.is_empty(), "nothing is new: {:?}", world.feeds);
    world.tables = json!([{ "schema": "public", "table": "t", "enabled": false }]);
    world.pass(200_000);
    let [(organization, feed)] = &world.feeds[..] else { panic!("{:?}", world.feeds) };
    assert_eq!((&**organization, &feed["state"], &feed["tables"]), ("org_1", &json!("live"), &world.tables));
}

#[test]
fn what_the_reader_may_not_do_is_forbidden_and_the_feed_goes_on() {
    let mut world = one();
    world.listen(1, "org_1", &["g1"]);
    world.refuses = Some(Problem::MissingPrivilege);
    let statement = Statement::Disable { schema: "public".to_owned(), table: "t".to_owned() };
    world.input(SourceInput::Ask { request: RequestId(2), statement });
    world.settle();
    assert_eq!(world.replies[&2].0, 403);
    assert_eq!(world.replies[&2].1["error"]["message"], "missing_privilege");
    world.commit(1);
    world.settle();
    assert_eq!((world.rows("org_1").len(), world.connects), (1, 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever crashes, fails or is slow, between any two steps: each change arrives once, in order, at its
    /// organization.
    #[test]
    fn every_change_arrives_once_and_in_order(script in prop::collection::vec((0_u8..9, 1_u8..6), 1..60)) {
        let mut world = World::new(json!({ "column": "organization_id" }));
        world.listen(1, "a", &["g1"]);
        world.listen(2, "b", &["g2"]);
        let mut committed: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        let mut number = 0;
        for (act, count) in script {
            match act {
                0..=2 => {
                    for _ in 0..count {
                        number += 1;
                        let organization = if number % 3 == 0 { "b" } else { "a" };
                        committed.entry(organization).or_default().push(number);
                        world.commit_in(number, Some(organization), None);
                    }
                }
                3 => (0..count).for_each(|_| { world.step(); }),
                4 => world.crash(),
                5 => world.is_up = !world.is_up,
                6 => {
                    world.is_reachable = !world.is_reachable;
                    world.is_connected = false;
                    world.input(SourceInput::Failed(Problem::Unreachable));
                }
                7 => world.pass(u64::from(count) * 9_000),
                _ => world.pass(u64::from(count) * 7),
            }
        }
        (world.is_up, world.is_reachable) = (true, true);
        // The alarm of a listening source is always set, so that it restarts after a crash.
        world.pass(120_000);
        for (organization, numbers) in committed {
            let got: Vec<u64> = world.rows(organization).into_iter().map(|(_, id)| id).collect();
            prop_assert_eq!(&got, &numbers, "{}", organization);
        }
        prop_assert!(world.parked.is_empty());
    }
}

/// The runtime reports an untrusted certificate to its own log only.
#[test]
fn a_failure_to_connect_is_told_by_how_far_it_came() {
    let no_tls = "error performing TLS handshake: server does not support TLS";
    let lost = "error communicating with the server: Error: Network connection lost.";
    let untrusted = "error communicating with the server: Error: internal error; reference = 8bdatqr5lkloju1rfae81hqh";
    assert_eq!(Problem::of_transport(no_tls, false), Problem::NoTls);
    assert_eq!(Problem::of_transport(lost, false), Problem::Unreachable);
    assert_eq!(Problem::of_transport(untrusted, true), Problem::TlsFailed);
}
