//! The judge at its edges: each of these is a way in which a simpler one would show a row to the wrong people.

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
fn a_row_is_seen_before_and_after_by_whom_the_policy_says() {
    let (mut owner, mut reader) = start("notes", ROOMS);
    owner.batch_execute("insert into notes values (1, 1, 'hi', 's')").unwrap();
    owner.batch_execute("update notes set room = 2").unwrap();
    owner.batch_execute("delete from notes").unwrap();
    assert_eq!(
        told(&reader.changes()),
        [
            ("INSERT", vec!["a", "service_role"], vec![]),
            ("UPDATE", vec!["b", "service_role"], vec!["a", "service_role"]),
            ("DELETE", vec![], vec!["b", "service_role"]),
        ]
    );
}

#[test]
fn columns_are_those_that_the_role_may_read() {
    let (mut owner, mut reader) = start("notes", ROOMS);
    owner.batch_execute("insert into notes values (1, 1, 'hi', 's')").unwrap();
    let batch = reader.batches().remove(0);
    let columns = |role: &str| {
        batch["verdicts"].as_array().unwrap().iter().find(|verdict| verdict["role"] == role).unwrap()["columns"].clone()
    };
    assert_eq!(columns("authenticated"), json!(["id", "room", "body"]));
    assert_eq!(columns("service_role"), json!(["id", "room", "body", "secret"]));
    assert_eq!(columns("anon"), json!([]));
}

#[test]
fn a_row_that_goes_with_its_membership_is_not_told() {
    let (mut owner, mut reader) = start("notes", ROOMS);
    owner.batch_execute("insert into notes values (1, 1, 'hi', 's')").unwrap();
    reader.changes();
    owner.batch_execute("delete from rooms where id = 1").unwrap();
    assert_eq!(told(&reader.changes()), [("DELETE", vec![], vec!["service_role"])]);
}

#[test]
fn a_partitioned_table_goes_by_its_root() {
    let (mut owner, mut reader) = start(
        "parts",
        "create table parts (id int, region text, v int, primary key (id, region)) partition by list (region);
         create table part_a partition of parts for values in ('a');
         create table part_b partition of parts for values in ('b');
         alter table parts enable row level security; grant select on parts to authenticated;
         create policy p on parts for select to authenticated using (v > 1);",
    );
    owner
        .batch_execute("insert into parts values (1, 'a', 2), (2, 'a', 1); update parts set v = 3 where id = 1")
        .unwrap();
    // A row that moves to another partition is a deletion and an insertion to PostgreSQL too.
    owner.batch_execute("update parts set region = 'b' where id = 1").unwrap();
    owner.batch_execute("insert into part_b values (3, 'b', 5)").unwrap();
    let changes = reader.changes();
    assert!(changes.iter().all(|change| change.change["table"] == "parts"), "{changes:?}");
    let both = || vec!["a", "b"];
    assert_eq!(
        told(&changes),
        [
            ("INSERT", both(), vec![]),
            ("INSERT", vec![], vec![]),
            ("UPDATE", both(), both()),
            ("DELETE", vec![], both()),
            ("INSERT", both(), vec![]),
            ("INSERT", both(), vec![]),
        ]
    );
}

const PLAIN: &str = "create table plain (v int); alter table plain enable row level security;
    grant select on plain to authenticated; create policy p on plain for select using (v > 1);";

#[test]
fn policies_are_those_of_now() {
    let (mut owner, mut reader) = start("plain", PLAIN);
    let both = || vec!["a", "b"];
    let mut judged = |setup: &str| {
        owner.batch_execute(setup).unwrap();
        owner.batch_execute("insert into plain values (1), (2)").unwrap();
        let changes = reader.changes();
        (changes[0].sees_new().join(""), changes[1].sees_new().join(""))
    };
    assert_eq!(judged(""), (String::new(), both().join("")));
    assert_eq!(
        judged("drop policy p on plain; create policy p on plain using (v < 2)"),
        (both().join(""), String::new())
    );
    assert_eq!(judged("drop policy p on plain"), (String::new(), String::new()));
    assert_eq!(judged("alter table plain disable row level security"), (both().join(""), both().join("")));
    assert_eq!(judged("revoke select on plain from authenticated"), (String::new(), String::new()));
}

#[test]
fn a_row_on_which_a_policy_raises_denies_itself_only() {
    let (mut owner, mut reader) = start("plain", PLAIN);
    owner.batch_execute("drop policy p on plain; create policy p on plain using (1 / (v - 3) <> 0)").unwrap();
    owner.batch_execute("insert into plain select generate_series(2, 20)").unwrap();
    let batch = reader.batches().remove(0);
    let verdict =
        batch["verdicts"].as_array().unwrap().iter().find(|verdict| verdict["role"] == "authenticated").unwrap();
    // 1 / (v - 3) is -1 for 2, an error for 3, 1 for 4, and 0 from 5 on.
    assert_eq!(verdict["new"], json!(["1010000000000000000", "1010000000000000000"]));
    assert_eq!(verdict["failed"], json!({ "a": "22012", "b": "22012" }));
    let status = reader.client.query_one("select realtime_worker.status()", &[]).unwrap().get::<_, Value>(0);
    let failures = &status["tables"][0]["failures"];
    assert_eq!(
        (&failures[0]["role"], &failures[0]["code"], &failures[0]["count"]),
        (&json!("authenticated"), &json!("22012"), &json!(2))
    );
}

#[test]
fn a_system_column_in_a_policy_denies() {
    let (mut owner, mut reader) = start("plain", PLAIN);
    owner
        .batch_execute("drop policy p on plain; create policy p on plain using (tableoid = 'plain'::regclass)")
        .unwrap();
    owner.batch_execute("insert into plain values (5)").unwrap();
    assert_eq!(told(&reader.changes()), [("INSERT", vec![], vec![])]);
}

#[test]
fn a_value_that_an_image_lacks_is_not_read_as_null() {
    let (mut owner, mut reader) = start("plain", PLAIN);
    owner.batch_execute("drop policy p on plain; create policy p on plain using (v is null or v > 1)").unwrap();
    owner.batch_execute("insert into plain values (0)").unwrap();
    // The image that waits has no `w`, which would pass as NULL.
    owner.batch_execute("alter table plain rename column v to w; insert into plain values (6)").unwrap();
    let both = || vec!["a", "b"];
    assert_eq!(told(&reader.changes()), [("INSERT", vec![], vec![]), ("INSERT", both(), vec![])]);
    owner.batch_execute("insert into plain values (7)").unwrap();
    owner
        .batch_execute(
            "alter table plain add column hidden bool; drop policy p on plain;
         create policy p on plain using (hidden is not true)",
        )
        .unwrap();
    assert_eq!(told(&reader.changes()), [("INSERT", vec![], vec![])]);
}

#[test]
fn an_excluded_column_enters_no_outbox_and_no_verdict() {
    let (mut owner, mut reader) = start(
        "people",
        "create table people (id int primary key, ssn text, team int, gone bool);
         alter table people enable row level security; grant select on people to authenticated;
         create policy p on people using (team = 1);",
    );
    let enabled: Value = owner
        .query_one(
            "select realtime_worker.enable_realtime('public', 'people', exclude => '{ssn,gone}', organization_column => 'team')",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!((&enabled["excluded"], &enabled["warnings"]), (&json!(["ssn", "gone"]), &json!([])));
    owner
        .batch_execute("insert into people values (1, 'hidden', 1); update people set team = 2, ssn = 'other'")
        .unwrap();
    let kept: i64 = owner
        .query_one("select count(*) from realtime_worker.changes c where c::text ~ 'hidden|other|ssn'", &[])
        .unwrap()
        .get(0);
    assert_eq!(kept, 0);
    let changes = reader.changes();
    assert_eq!(changes[1].change["new"], json!({ "id": 1, "team": 2 }));
    assert_eq!(
        (&changes[1].change["organization"], &changes[1].change["old_organization"]),
        (&json!("2"), &json!("1"))
    );
    assert_eq!(told(&changes), [("INSERT", vec!["a", "b"], vec![]), ("UPDATE", vec![], vec!["a", "b"])]);
    // A policy that names an excluded column cannot be judged.
    owner.batch_execute("create policy q on people as restrictive using (gone is not true)").unwrap();
    owner.batch_execute("insert into people values (2, 'x', 1)").unwrap();
    assert_eq!(told(&reader.changes()), [("INSERT", vec![], vec![])]);
    let status: Value = owner.query_one("select realtime_worker.status()", &[]).unwrap().get(0);
    assert_eq!(status["tables"][0]["warnings"], json!(["policy_names_excluded_column"]));
}

#[test]
fn a_type_that_json_does_not_give_back_denies_only_where_a_policy_needs_it() {
    // hstore brings a cast to json of its own, which row_to_json uses, and does not read json.
    let setup = "
        create extension hstore;
        create table paints (id int primary key, shade hstore); alter table paints enable row level security;
        grant select on paints to authenticated; create policy p on paints using (id > 0);";
    let (mut owner, mut reader) = start("paints", setup);
    owner.batch_execute("insert into paints values (1, 'red=>1')").unwrap();
    assert_eq!(told(&reader.changes()), [("INSERT", vec!["a", "b"], vec![])]);
    owner.batch_execute("drop policy p on paints; create policy p on paints using (shade is null or id > 0)").unwrap();
    owner.batch_execute("insert into paints values (2, 'red=>1')").unwrap();
    let batch = reader.batches().remove(0);
    assert_eq!(batch["changes"][0]["new"], json!({ "id": 2, "shade": { "red": "1" } }));
    assert_eq!(batch["verdicts"][1]["failed"], json!({ "a": "0A000", "b": "0A000" }));
}

#[test]
fn a_large_row_is_judged_whole_and_sent_short() {
    let (mut owner, mut reader) = start(
        "large",
        "create table large (id int primary key, body text, small text); alter table large enable row level security;
         grant select on large to authenticated; create policy p on large using (length(body) > 3000000);",
    );
    owner.batch_execute("insert into large values (1, repeat('x', 3100000), 'ok'), (2, 'short', 'ok')").unwrap();
    owner.batch_execute("update large set id = 3 where id = 1").unwrap();
    let changes = reader.changes();
    assert_eq!(changes[0].change["new"], json!({ "id": 1, "small": "ok" }));
    assert_eq!(changes[0].change["truncated"], true);
    assert_eq!(changes[1].change["truncated"], false);
    assert_eq!((&changes[2].change["new"]["id"], &changes[2].change["old"]["id"]), (&json!(3), &json!(1)));
    assert_eq!(
        told(&changes),
        [("INSERT", vec!["a", "b"], vec![]), ("INSERT", vec![], vec![]), ("UPDATE", vec!["a", "b"], vec!["a", "b"]),]
    );
}

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

#[test]
fn a_policy_may_not_write() {
    let (mut owner, mut reader) = start(
        "plain",
        "create table plain (v int); create table log (v int); grant all on log to authenticated;
         create function note() returns bool language plpgsql as $$ begin insert into log values (1); return true; end $$;
         alter table plain enable row level security; grant select on plain to authenticated;
         create policy p on plain for select using (note());",
    );
    owner.batch_execute("insert into plain values (1)").unwrap();
    assert_eq!(told(&reader.changes()), [("INSERT", vec![], vec![])]);
    assert_eq!(owner.query_one("select count(*) from log", &[]).unwrap().get::<_, i64>(0), 0);
}

#[test]
fn names_may_be_anything() {
    let long = "ü".repeat(31) + "x";
    for table in ["Weird \"Table\"", "select", &long, "a$body$b", "semi;colon", "per%cent"] {
        let quoted = format!("\"{}\"", table.replace('"', "\"\""));
        let (mut owner, mut reader) = start(
            table,
            &format!(
                "create table {quoted} (\"Id\" int primary key, \"a \"\"b\" text, gone int, first int, bits text, \"$1\" int);
                 alter table {quoted} drop column gone; alter table {quoted} enable row level security;
                 grant select on {quoted} to authenticated;
                 create policy \"p \"\"q\" on {quoted} using (\"a \"\"b\" = $q$it's $body$ $q$ and first = 1 and bits is null and \"$1\" = 2
                     and exists (select from (values (1)) first (bits) where {quoted}.first = first.bits));"
            ),
        );
        owner
            .execute(
                &format!("insert into {quoted} values (1, $q$it's $body$ $q$, 1, null, 2), (2, 'no', 1, null, 2)"),
                &[],
            )
            .unwrap();
        let changes = reader.changes();
        assert_eq!(told(&changes), [("INSERT", vec!["a", "b"], vec![]), ("INSERT", vec![], vec![])], "{table}");
        assert_eq!(changes[0].change["table"], table);
        let triggers = "select count(*) from information_schema.triggers where trigger_name like '%\\_notify\\_change'";
        assert_eq!(owner.query_one(triggers, &[]).unwrap().get::<_, i64>(0), 3, "{table}");
    }
}
