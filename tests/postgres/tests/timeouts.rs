//! Policies that take too long, by themselves or because of a lock.

use realtime_worker_postgres_tests::{Client, Group, Reader, Seen, Server};
use serde_json::{Value, json};

const A: &str = "00000000-0000-4000-8000-00000000000a";
const B: &str = "00000000-0000-4000-8000-00000000000b";

/// An owner, and a reader for two users and the roles `anon` and `service_role`.
fn start(table: &str, setup: &str) -> (Client, Reader) {
    let database = Server::shared().database();
    let mut owner = database.owner();
    owner.batch_execute(setup).unwrap();
    enable(&mut owner, table);
    let mut reader = database.reader();
    listen(&mut reader, table);
    (owner, reader)
}

fn enable(owner: &mut Client, table: &str) -> Value {
    owner.query_one("select realtime_worker.enable_realtime('public', $1)", &[&table]).unwrap().get(0)
}

fn listen(reader: &mut Reader, table: &str) -> Value {
    let groups = [
        Group::user("a", "authenticated", A),
        Group::user("b", "authenticated", B),
        Group::role("anon"),
        Group::role("service_role"),
    ];
    reader.register(&groups, &[("public", table)])
}

/// What each change was, and who sees its new and its old image.
fn told(changes: &[Seen]) -> Vec<(&str, Vec<&str>, Vec<&str>)> {
    changes.iter().map(|change| (change.op(), change.sees_new(), change.sees_old())).collect()
}

const ROOMS: &str = "
    create table rooms (id int primary key);
    create table members (room int references rooms on delete cascade, usr uuid, primary key (room, usr));
    create table notes (id int primary key, room int references rooms on delete cascade, body text, secret text);
    alter table notes enable row level security;
    grant select on members to authenticated;
    grant select (id, room, body) on notes to authenticated;
    grant select on notes to service_role;
    create policy m on notes for select to authenticated
        using (exists (select from members where members.room = notes.room and members.usr = auth.uid()));
    insert into rooms values (1), (2);
    insert into members values (1, '00000000-0000-4000-8000-00000000000a'), (2, '00000000-0000-4000-8000-00000000000b');";

#[test]
fn a_policy_that_hangs_denies_its_callers_and_nothing_else_stops() {
    let (mut owner, mut reader) = start(
        "slow",
        "create table slow (id int primary key); alter table slow enable row level security; grant select on slow to authenticated;
         create policy p on slow using (auth.uid() <> '00000000-0000-4000-8000-00000000000a' or pg_sleep(60) is not null);",
    );
    reader.client.batch_execute("set statement_timeout = '2s'").unwrap();
    owner.batch_execute("insert into slow values (1)").unwrap();
    let batch = reader.batches().remove(0);
    let verdicts: Vec<_> =
        batch["verdicts"].as_array().unwrap().iter().filter(|v| v["role"] == "authenticated").collect();
    let of = |group: &str| {
        let verdict = verdicts.iter().find(|v| v["groups"] == json!([group])).unwrap_or_else(|| panic!("{batch}"));
        (verdict["new"].clone(), verdict["failed"].clone())
    };
    assert_eq!(of("a"), (json!(["0"]), json!({ "a": "57014" })));
    assert_eq!(of("b"), (json!(["1"]), json!({})));
    // When it hangs for everyone, the role is denied, and the batch still comes.
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
    // Not for ever: after half a minute the role is denied, so that others go on.
    owner.batch_execute("insert into notes values (2, 1, 'hi', 's')").unwrap();
    let mut migration = owner.transaction().unwrap();
    migration.batch_execute("lock table members in access exclusive mode").unwrap();
    assert_eq!(reader.take(256)["next"], "poll");
    other.batch_execute("update realtime_worker.batches set fixed_at = now() - interval '1 minute'").unwrap();
    assert_eq!(reader.take(256)["next"], "poll", "the denial is noted");
    assert_eq!(told(&reader.changes()), [("INSERT", vec!["service_role"], vec![])]);
}

/// A second connection of the owner.
fn database_of(owner: &mut Client) -> Client {
    let name: String = owner.query_one("select current_database()::text", &[]).unwrap().get(0);
    Server::shared().connect(&name, "app_owner")
}
