//! The table of tests that the Worker and the SDK's `view` share: how a viewer sees a row, for every rule of a table.
//! `sdk/specs/view.spec.mjs` checks the same table.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use rig::Rig;
use serde_json::{Value, json};

const CASES: &str = include_str!("data/views.json");

#[test]
fn a_row_is_to_a_viewer_what_the_shared_table_says() {
    let cases: Vec<Value> = serde_json::from_str(CASES).unwrap();
    assert!(cases.len() >= 20);
    for case in &cases {
        let mut rig = Rig::new(&json!({ "tables": { "rows": case["table"] } }));
        let viewers = case["viewers"].as_array().unwrap();
        let clients: Vec<_> = viewers.iter().map(|viewer| enter(&mut rig, viewer)).collect();
        for row in case["rows"].as_array().unwrap() {
            rig.accepted(json!({ "type": "postgres_changes", "table": "rows", "eventType": "INSERT", "new": row }));
        }
        for (client, viewer) in clients.iter().zip(viewers) {
            let seen: Vec<Value> = client.frames().iter().map(|frame| frame["new"].clone()).collect();
            assert_eq!(json!(seen), viewer["sees"], "{}: {}", case["name"], viewer["user"]);
        }
    }
}

fn enter(rig: &mut Rig, viewer: &Value) -> rig::Client {
    let roles: Vec<&str> = viewer["roles"].as_array().unwrap().iter().map(|role| role.as_str().unwrap()).collect();
    let mut claims = rig.claims(viewer["user"].as_str().unwrap(), &roles);
    claims.as_object_mut().unwrap().extend(viewer["claims"].as_object().unwrap().clone());
    rig.connect_with(&claims)
}
