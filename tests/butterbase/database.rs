//! Tables of a database: the database decides which are enabled and who sees what; subscriptions are accepted in any
//! case.

use realtime_worker::policy::principal::Principal;
use serde_json::{Value, json};

use super::words::*;
use crate::rig::source::{change as row_change, table};
use crate::rig::{ORGANIZATION, Rig, every_way};

/// How long a subscription waits for the database, in milliseconds.
const MAX_WAIT: u64 = 15_000;

fn realtime() -> Value {
    let main = json!({ "connection": "DATABASE_URL", "organization": ORGANIZATION, "roles": ["butterbase_user"],
        "bypass": ["butterbase_service"] });
    json!({
        "databases": { "main": main },
        "tables": { "published": {}, "told": { "requiredRoles": ["butterbase_user"] } },
        "butterbase": { "access": "public", "listeners": -1, "tables": ["published", "told"] },
    })
}

/// A user whose claims the policies may use.
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
        // The subscription existed before the table was enabled.
        rig.source.tables = Some(json!([messages(true)]));
        let live =
            |enabled| json!({ "database": "main", "state": "live", "tables": { "tables": [messages(enabled)] } });
        rig.feed(&live(true));
        hand_over(rig, 1);
        assert_eq!(change(&client).1, json!({ "id": 1 }));
        // It remains when the table is disabled.
        rig.feed(&live(false));
        client.gets_nothing();
        rig.feed(&live(true));
        hand_over(rig, 2);
        assert_eq!(change(&client).1, json!({ "id": 2 }));
    });
}

/// A database without row-level security judges nobody, which does not count as a policy.
#[test]
fn a_table_without_row_level_security_is_for_services_only_and_says_so() {
    let mut public = realtime();
    public["butterbase"]["public"] = json!(["messages"]);
    let mut ruled = realtime();
    ruled["tables"]["messages"] = json!({ "rows": [{ "column": "owner", "claim": "sub" }] });
    for (realtime, ids) in [(realtime(), &[][..]), (public, &[1, 2]), (ruled, &[2])] {
        every_way(realtime, |rig| {
            let mut open = messages(true);
            open["row_security"] = json!(false);
            rig.source.tables = Some(json!([open]));
            rig.source.policy = |_, _, _, _| true;
            let (ann, owner) = (connected(rig, judged("ann")), connected(rig, service_of_database()));
            for client in [&ann, &owner] {
                subscribed(rig, client, json!({}));
            }
            let warning = ids.is_empty().then(|| ann.next());
            assert!(warning.is_none_or(|warning| warning["code"] == "TABLE_HAS_NO_POLICY"));
            for (id, of) in [(1, "ben"), (2, "ann")] {
                let row = json!({ "id": id, "owner": of });
                let batch = rig.source.batch(&[row_change("INSERT", "messages", row, Value::Null)]);
                assert_eq!(rig.hand_over(&batch).status, 200);
                assert_eq!(change(&owner).1["id"], id);
            }
            ids.iter().for_each(|id| assert_eq!(change(&ann).1["id"], *id));
            ann.gets_nothing();
        });
    }
}

#[test]
fn a_subscription_stands_although_the_database_does_not_answer() {
    let mut quiet = realtime();
    quiet["heartbeats"] = json!(false);
    every_way(quiet, |rig| {
        rig.source.tables = None;
        rig.source.policy = |_, _, _, _| true;
        let client = connected(rig, judged("ann"));
        let filter = json!({ "id": 1 });
        let recover = json!({ "epoch": "epoch-1", "offset": 0 });
        rig.frame(&client, json!({ "type": "subscribe", "table": "messages", "filter": filter }));
        rig.frame(&client, json!({ "type": "subscribe", "table": "others", "recover": recover }));
        client.gets_nothing();
        rig.advance(MAX_WAIT);
        client.gets(json!({ "type": "subscribed", "table": "messages", "filter": filter }));
        client.gets(json!({ "type": "subscribed", "table": "others", "recovered": false }));
        client.gets_nothing();
        rig.source.tables = Some(json!([messages(true)]));
        rig.advance(60_000);
        hand_over(rig, 2);
        hand_over(rig, 1);
        assert_eq!(change(&client).1, json!({ "id": 1 }));
        client.gets_nothing();
    });
}

fn service_of_database() -> Principal {
    Principal { all_claims: Some("{}".to_owned()), ..service() }
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
