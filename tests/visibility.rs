//! Row visibility: which rows someone sees, by role, claim and user, and what a change is for them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use rig::{Client, Rig, every_way};
use serde_json::{Value, json};

/// A table whose rows are visible to admins, to members of the row's team, and to the row's user.
fn team_rows() -> Value {
    json!({ "tables": { "tasks": { "rows": [
        { "roles": ["admin"] },
        { "column": "team_id", "claim": "teams" },
        { "column": "user_id", "claim": "sub" },
    ] } } })
}

fn row(team: Value, user: Value) -> Value {
    json!({ "id": 1, "team_id": team, "user_id": user })
}

/// Connects an admin, a member of the teams 1 and `red`, and `u7` without any team.
fn people(rig: &mut Rig) -> [Client; 3] {
    let mut member = rig.claims("mia", &["member"]);
    member["teams"] = json!([1, "red"]);
    [rig.connect("ada", &["admin"]), rig.connect_with(&member), rig.connect("u7", &["member"])]
}

/// Publishes a change and checks what each recipient sees: operation, new, old; `null`: nothing.
#[track_caller]
fn check(rig: &mut Rig, clients: &[Client], [operation, new, old]: [Value; 3], expected: &[Value]) {
    let change =
        json!({ "type": "postgres_changes", "table": "tasks", "eventType": operation, "new": new, "old": old });
    rig.accepted(change.clone());
    for (client, expected) in clients.iter().zip(expected) {
        let frames = client.frames();
        let seen = frames.first().map(|frame| json!([frame["eventType"], frame["new"], frame["old"]]));
        assert_eq!(seen.unwrap_or_default(), *expected, "{} sees {change}", client.id);
        assert!(frames.len() <= 1);
    }
}

#[test]
fn a_row_is_for_its_team_its_user_and_the_admins() {
    every_way(team_rows(), |rig| {
        let clients = people(rig);
        let mut insert = |row: Value, expected: [bool; 3]| {
            let seen = json!(["INSERT", row, null]);
            let expected = expected.map(|sees| if sees { seen.clone() } else { json!(null) });
            check(rig, &clients, [json!("INSERT"), row, json!(null)], &expected);
        };
        insert(row(json!(1), json!("x")), [true, true, false]);
        insert(row(json!("1"), json!("u7")), [true, true, true]);
        insert(row(json!("red"), json!("mia")), [true, true, false]);
        insert(row(json!("blue"), json!("u7")), [true, false, true]);
        insert(row(json!(null), json!(null)), [true, false, false]);
        insert(row(json!(["red"]), json!(true)), [true, false, false]);
        insert(json!({}), [true, false, false]);
    });
}

#[test]
fn what_disappears_shows_only_what_could_be_seen() {
    let tables = json!({ "tasks": {
        "fields": ["id", "team_id", "pay"],
        "masking": { "pay": { "type": "redact" } },
        "rows": [{ "column": "team_id", "claim": "teams" }],
    } });
    every_way(json!({ "tables": tables }), |rig| {
        let mut claims = rig.claims("mia", &[]);
        claims["teams"] = json!("red");
        let clients = [rig.connect_with(&claims)];
        let row = |team: &str| json!({ "id": 1, "team_id": team, "pay": 9, "note": "n" });
        let seen = json!(["DELETE", null, { "id": 1, "team_id": "red", "pay": "[REDACTED]" }]);
        check(rig, &clients, [json!("UPDATE"), row("blue"), row("red")], &[seen]);
        let seen = json!(["INSERT", { "id": 1, "team_id": "red", "pay": "[REDACTED]" }, null]);
        check(rig, &clients, [json!("UPDATE"), row("red"), row("blue")], &[seen]);
    });
}

#[test]
fn roles_and_a_claim_in_one_rule_must_both_hold() {
    let tables = json!({ "tasks": { "rows": [{ "roles": ["lead"], "column": "team_id", "claim": "teams" }] } });
    every_way(json!({ "tables": tables }), |rig| {
        let mut with_teams = |roles: &[&str], teams: Value| {
            let mut claims = rig.claims("x", roles);
            claims["teams"] = teams;
            rig.connect_with(&claims)
        };
        let clients = [
            with_teams(&["lead"], json!("red")),
            with_teams(&["member"], json!("red")),
            with_teams(&["lead"], json!([])),
        ];
        let red = row(json!("red"), json!("x"));
        let seen = json!(["INSERT", red, null]);
        check(rig, &clients, [json!("INSERT"), red, json!(null)], &[seen, json!(null), json!(null)]);
    });
}

#[test]
fn no_rule_matching_means_no_row() {
    every_way(json!({ "tables": { "tasks": { "rows": [] } } }), |rig| {
        let clients = [rig.connect("ada", &["admin"])];
        let red = row(json!("red"), json!("ada"));
        check(rig, &clients, [json!("INSERT"), red, json!(null)], &[json!(null)]);
    });
}

#[test]
fn a_table_may_keep_some_operations_to_itself() {
    for (flag, operation) in [("onInsert", "INSERT"), ("onUpdate", "UPDATE"), ("onDelete", "DELETE")] {
        every_way(json!({ "tables": { "tasks": { flag: false } } }), |rig| {
            let ada = rig.connect("ada", &[]);
            for other in ["INSERT", "UPDATE", "DELETE"] {
                let change =
                    json!({ "type": "postgres_changes", "table": "tasks", "eventType": other, "new": {}, "old": {} });
                assert_eq!(rig.accepted(change), u64::from(other != operation));
                assert_eq!(ada.frames().len(), usize::from(other != operation), "{flag} and {other}");
            }
        });
    }
}

#[test]
fn required_roles_hold_beside_those_of_the_request() {
    every_way(json!({ "tables": { "tasks": { "requiredRoles": ["member", "admin"] } } }), |rig| {
        let clients = [("a", "admin"), ("m", "member"), ("g", "guest")].map(|(user, role)| rig.connect(user, &[role]));
        let mut publish = |more: Value, expected: [usize; 3]| {
            let mut change = json!({ "type": "postgres_changes", "table": "tasks", "eventType": "INSERT", "new": {} });
            change.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            rig.accepted(change);
            let counts: Vec<usize> = clients.iter().map(|client| client.frames().len()).collect();
            assert_eq!(counts, expected, "{more}");
        };
        publish(json!({}), [1, 1, 0]);
        publish(json!({ "targetRoles": ["guest", "member"] }), [0, 1, 0]);
        publish(json!({ "userId": "g" }), [0, 0, 0]);
        publish(json!({ "userId": "m" }), [0, 1, 0]);
        publish(json!({ "schema": "other" }), [1, 1, 1]);
    });
}
