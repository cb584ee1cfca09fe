//! Policies that take too long, by themselves or because of a lock.

use realtime_worker_postgres_tests::two_users::{A, ROOMS, start, told};
use realtime_worker_postgres_tests::{Client, Server};
use serde_json::{Value, json};

#[test]
fn a_policy_that_hangs_denies_its_callers_and_nothing_else_stops() {
    let (mut owner, mut reader) = start(
        "slow",
        "create table slow (id int primary key); alter table slow enable row level security; grant select on slow to authenticated;
         create policy p on slow using (true);",
    );
    // The functions are compiled and planned by now, so that only the policy can time out, however busy the machine.
    owner.batch_execute("insert into slow values (-1)").unwrap();
    assert_eq!(reader.batches().len(), 1);
    reader.client.batch_execute("set statement_timeout = '4s'").unwrap();
    owner
        .batch_execute(
            "drop policy p on slow;
             create policy p on slow using (auth.uid() <> '00000000-0000-4000-8000-00000000000a' or pg_sleep(60) is not null);
             insert into slow values (1)",
        )
        .unwrap();
    let batch = reader.batches().remove(0);
    let verdicts: Vec<_> =
        batch["verdicts"].as_array().unwrap().iter().filter(|v| v["role"] == "authenticated").collect();
    let of = |group: &str| {
        let verdict = verdicts.iter().find(|v| v["groups"] == json!([group])).unwrap_or_else(|| panic!("{batch}"));
        (verdict["new"].clone(), verdict["failed"].clone())
    };
    assert_eq!(of("a"), (json!(["0"]), json!({ "a": "57014" })));
    assert_eq!(of("b"), (json!(["1"]), json!({})));
    // If it hangs for everyone, the role is denied, and the batch is still returned.
    owner.batch_execute("drop policy p on slow; create policy p on slow using (pg_sleep(60) is not null)").unwrap();
    owner.batch_execute("insert into slow values (2)").unwrap();
    let batch = reader.batches().remove(0);
    assert!(
        batch["verdicts"]
            .as_array()
            .unwrap()
            .iter()
            .all(|verdict| !verdict["new"].to_string().contains('1') || verdict["role"] == "service_role")
    );
}

#[test]
fn a_locked_table_of_a_policy_delays_a_batch_and_denies_nobody() {
    let (mut owner, mut reader) = start("notes", ROOMS);
    let mut other = database_of(&mut owner);
    owner.batch_execute("insert into notes values (1, 1, 'hi', 's')").unwrap();
    let mut migration = owner.transaction().unwrap();
    migration.batch_execute("lock table members in access exclusive mode").unwrap();
    let waiting = reader.take(256);
    assert_eq!((&waiting["batch"], &waiting["next"]), (&Value::Null, &json!("poll")));
    migration.commit().unwrap();
    assert_eq!(told(&reader.changes()), [("INSERT", vec!["a", "service_role"], vec![])]);
    // Not for ever: after half a minute the role is denied, so that others continue.
    owner.batch_execute("insert into notes values (2, 1, 'hi', 's')").unwrap();
    let mut migration = owner.transaction().unwrap();
    migration.batch_execute("lock table members in access exclusive mode").unwrap();
    assert_eq!(reader.take(256)["next"], "poll");
    other.batch_execute("update realtime_worker.batches set fixed_at = now() - interval '1 minute'").unwrap();
    assert_eq!(reader.take(256)["next"], "poll", "the denial is noted");
    assert_eq!(told(&reader.changes()), [("INSERT", vec!["service_role"], vec![])]);
}

/// A client that returns during a migration receives what it missed once the migration is over: a locked table is not a
/// verdict.
#[test]
fn a_locked_table_of_a_policy_fails_the_question_and_denies_nobody_what_was_missed() {
    let (mut owner, mut reader) = start("notes", ROOMS);
    let claims = json!({ "role": "authenticated", "sub": A });
    let question = json!({ "images": [{ "schema": "public", "table": "notes", "row": { "id": 1, "room": 1, "body": "hi" } }],
        "groups": [{ "id": "a", "role": "authenticated", "claims": claims }] });
    let mut migration = owner.transaction().unwrap();
    migration.batch_execute("lock table members in access exclusive mode").unwrap();
    let refused = reader.client.query_one("select realtime_worker.judge($1)", &[&question]).unwrap_err();
    assert_eq!(refused.code().map(|code| code.code()), Some("55P03"));
    migration.commit().unwrap();
    let verdict = &reader.call("judge", &question)["verdicts"][0];
    assert_eq!((&verdict["sees"], &verdict["failed"]), (&json!(["1"]), &json!({})));
}

/// A second connection of the owner.
fn database_of(owner: &mut Client) -> Client {
    let name: String = owner.query_one("select current_database()::text", &[]).unwrap().get(0);
    Server::shared().connect(&name, "app_owner")
}
