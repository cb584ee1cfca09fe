//! Tables that a database has: it says which are enabled and who sees what; a subscription stands all the same.

use realtime_worker::policy::principal::Principal;
use serde_json::{Value, json};

use super::words::*;
use crate::rig::source::{change as row_change, table};
use crate::rig::{ORGANIZATION, Rig, every_way};

fn realtime() -> Value {
    let main = json!({ "connection": "DATABASE_URL", "organization": ORGANIZATION, "roles": ["butterbase_user"] });
    json!({
        "databases": { "main": main },
        "tables": { "published": {}, "told": { "requiredRoles": ["butterbase_user"] } },
        "butterbase": { "access": "public", "listeners": -1, "tables": ["published", "told"] },
    })
}

/// A user whose claims the policies may ask for.
fn judged(name: &str) -> Principal {
    Principal { all_claims: Some(json!({ "sub": name }).to_string()), ..user(name) }
}

fn messages(enabled: bool) -> Value {
    let mut messages = table("messages", &[("id", "int4")], &["butterbase_user"]);
    messages["enabled"] = json!(enabled);
    messages
}

fn hand_over(rig: &mut Rig, id: u64) {
    let batch = rig.source.batch(&[row_change("INSERT", "messages", json!({ "id": id }), Value::Null)]);
    assert_eq!(rig.hand_over(&batch).status, 200);
}

#[test]
fn a_subscription_to_a_table_that_is_not_enabled_stands_and_is_warned() {
    every_way(realtime(), |rig| {
        rig.source.tables = Some(json!([messages(false)]));
        rig.source.policy = |_, _, _, _| true;
        let client = connected(rig, judged("ann"));
        for name in ["messages", "unknown"] {
            subscribed(rig, &client, json!({ "table": name }));
            let warning = client.next();
            assert_eq!(
                (&warning["code"], &warning["table"]),
                (&json!("TABLE_NOT_REALTIME_ENABLED"), &json!(name)),
                "{warning}"
            );
        }
        // The subscription stood before the table was enabled.
        rig.source.tables = Some(json!([messages(true)]));
        let live =
            |enabled| json!({ "database": "main", "state": "live", "tables": { "tables": [messages(enabled)] } });
        rig.feed(&live(true));
        hand_over(rig, 1);
        assert_eq!(change(&client).1, json!({ "id": 1 }));
        // And stands when it is switched off.
        rig.feed(&live(false));
        client.gets_nothing();
        rig.feed(&live(true));
        hand_over(rig, 2);
        assert_eq!(change(&client).1, json!({ "id": 2 }));
    });
}

#[test]
fn what_is_published_beside_a_database_needs_a_policy_as_everywhere() {
    every_way(realtime(), |rig| {
        rig.source.tables = Some(json!([messages(true)]));
        let client = connected(rig, judged("ann"));
        subscribed(rig, &client, json!({ "table": "published" }));
        assert_eq!(client.next()["code"], "TABLE_HAS_NO_POLICY");
        subscribed(rig, &client, json!({ "table": "told" }));
        let publish = |rig: &mut Rig, table: &str| {
            rig.accepted(
                json!({ "type": "postgres_changes", "table": table, "eventType": "INSERT", "new": { "id": 1 } }),
            )
        };
        assert_eq!(publish(rig, "published"), 0);
        assert_eq!(publish(rig, "told"), 1);
        assert_eq!(client.next()["table"], "told");
        client.gets_nothing();
    });
}
