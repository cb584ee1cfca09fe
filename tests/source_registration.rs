//! What an organization reports of its listeners concerns nobody else, whatever the database says of it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at the first surprise")]

mod source_world;

use realtime_worker::source::input::SourceInput;
use realtime_worker::source::link::Problem;
use serde_json::{Value, json};
use source_world::World;

/// Two organizations of one database.
fn two() -> World {
    let mut world = World::new(json!({ "column": "organization_id" }));
    world.listen(1, "a", &["g1"]);
    world.listen(2, "b", &["g2"]);
    world
}

/// What an organization was told last of its feed.
fn state(world: &World, organization: &str) -> Value {
    let feeds = world.feeds.iter().rev();
    feeds.filter(|(of, _)| of == organization).map(|(_, feed)| feed["state"].clone()).next().unwrap_or_default()
}

#[test]
fn a_report_that_the_database_rejects_is_not_answered_and_the_feed_goes_on() {
    let mut world = two();
    world.rejects = Some("b");
    world.listen(3, "b", &["g2", "g9"]);
    assert_eq!(world.replies[&3].0, 503);
    world.commit_in(1, Some("a"), None);
    world.commit_in(2, Some("b"), None);
    world.pass(600_000);
    assert_eq!((world.rows("a").len(), world.rows("b").len()), (1, 1), "for whom it had registered before");
    assert_eq!((world.connects, state(&world, "a"), state(&world, "b")), (1, Value::Null, Value::Null));
}

#[test]
fn after_a_lost_connection_only_the_organization_that_is_rejected_stays_without_a_feed() {
    let mut world = two();
    world.rejects = Some("b");
    world.is_connected = false;
    world.input(SourceInput::Failed(Problem::Unreachable));
    world.pass(60_000);
    assert_eq!((state(&world, "a"), state(&world, "b")), (json!("live"), json!("lost")));
    assert_eq!(world.connects, 2);
    world.rejects = None;
    world.pass(6_000);
    assert_eq!((world.connects, state(&world, "b")), (2, json!("live")), "it is registered again within seconds");
}
