//! What one of many subscriptions costs, counted in what is allocated for it: each clone of the others, and each list that is
//! made of them, would show.

use serde_json::{Value, json};

use crate::counting::allocated;
use crate::rig::{Client, Rig};

const MANY: usize = 10_000;
const FEW: usize = 1_000;
/// How many are measured: now and then a tree grows.
const MEASURED: usize = 100;

fn topic(kind: &str, number: usize) -> Value {
    let id = number.to_string();
    match kind {
        "subscribe" => json!({ "type": kind, "id": id, "topic": format!("room:{id}"), "private": false }),
        _ => json!({ "type": kind, "id": id }),
    }
}

fn send(rig: &mut Rig, client: &Client, kind: &str, numbers: std::ops::Range<usize>) {
    for number in numbers {
        rig.frame(client, topic(kind, number));
        assert_eq!(client.next()["type"], format!("{kind}d"));
    }
}

/// The bytes that are allocated while so many topics are subscribed to and left again, on a socket that has others.
fn cost(rig: &mut Rig, client: &Client, present: usize) -> usize {
    let before = allocated();
    send(rig, client, "subscribe", present..present + MEASURED);
    send(rig, client, "unsubscribe", present..present + MEASURED);
    allocated() - before
}

#[test]
fn one_of_ten_thousand_costs_what_one_of_a_thousand_costs() {
    let limits = json!({ "topics": 2 * MANY, "framesPerSecond": 1_000_000, "workPerConnection": 1_000_000, "workPerUser": 1_000_000, "workOfClients": 1_000_000 });
    let mut rig = Rig::new(&json!({ "limits": limits }));
    let eve = rig.connect("eve", &[]);
    send(&mut rig, &eve, "subscribe", 0..FEW);
    let few = cost(&mut rig, &eve, FEW);
    send(&mut rig, &eve, "subscribe", FEW..MANY);
    let many = cost(&mut rig, &eve, MANY);
    assert!(many < 2 * few, "{} bytes a topic among {MANY}, {} among {FEW}", many / MEASURED, few / MEASURED);
}
