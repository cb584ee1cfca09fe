//! The content of rows, and which of them are captured. The cases are those of walrus's published tests; if the outcome
//! differs on purpose, the test says so, and `docs/postgres.md` says why.

use realtime_worker_postgres_tests::{Client, Group, Reader, Server};
use serde_json::{Value, json};

const A: &str = "00000000-0000-4000-8000-00000000000a";

/// An enabled table, with a reader that is one user and `service_role`.
fn start(setup: &str, table: &str) -> (Client, Reader) {
    let database = Server::shared().database();
    let mut owner = database.owner();
    owner.batch_execute(setup).unwrap();
    owner.query("select realtime_worker.enable_realtime('public', $1)", &[&table]).unwrap();
    let mut reader = database.reader();
    reader.register(&[Group::user("a", "authenticated", A), Group::role("service_role")], &[("public", table)]);
    (owner, reader)
}

/// The images of each change.
fn images(reader: &mut Reader) -> Vec<(Value, Value)> {
    reader.changes().into_iter().map(|seen| (seen.change["new"].clone(), seen.change["old"].clone())).collect()
}

#[test]
fn values_are_those_of_row_to_json_in_utc_and_iso() {
    let (mut owner, mut reader) = start(
        "create type mood as enum ('sad', 'ok'); create domain positive as int check (value > 0); create type pair as (a int, b text);
         create table things (id bigint primary key, n numeric, f float8, b bool, t text, c char(3), at timestamptz, ts timestamp, d date,
             iv interval, body bytea, u uuid, j jsonb, m mood, p positive, tags text[], matrix int[][], r int4range, times tstzrange,
             x pair, a inet, doubled numeric generated always as (n * 2) stored, nothing text)",
        "things",
    );
    owner.batch_execute("set timezone = 'Asia/Kolkata'; set datestyle = 'SQL, DMY'; set intervalstyle = 'sql_standard'; set bytea_output = 'escape'; set extra_float_digits = 0").unwrap();
    owner
        .batch_execute(
            "insert into things values (9007199254740993, 12345678901234567890.50, 0.1::float8 + 0.2::float8, true, 'ü\"\\', 'x',
                 '2026-01-02 03:04:05.678+00', '2026-01-02 03:04:05', '2026-01-02', '1 day 02:03:04', '\\x00ff',
                 '00000000-0000-4000-8000-00000000000a', '{\"z\": 1, \"a\": [null]}', 'ok', 5, '{a,NULL,\"b c\"}', '{{1,2},{3,4}}', '[1,5)',
                 '[2026-01-01 00:00:00+00,2026-01-02 00:00:00+00)', row(1, 'y'), '10.0.0.1/8')",
        )
        .unwrap();
    // Numbers are compared as text: a JSON parser would round them, and so would a client.
    let row: String = owner.query_one("select new::text from realtime_worker.changes", &[]).unwrap().get(0);
    for exact in [
        "\"id\":9007199254740993",
        "\"n\":12345678901234567890.50",
        "\"f\":0.30000000000000004",
        "\"doubled\":24691357802469135781.00",
    ] {
        assert!(row.contains(exact), "{exact} in {row}");
    }
    let (row, _) = images(&mut reader).remove(0);
    for (column, value) in [
        ("b", json!(true)),
        ("t", json!("ü\"\\")),
        ("c", json!("x  ")),
        ("at", json!("2026-01-02T03:04:05.678+00:00")),
        ("ts", json!("2026-01-02T03:04:05")),
        ("d", json!("2026-01-02")),
        ("iv", json!("1 day 02:03:04")),
        ("body", json!("\\x00ff")),
        ("u", json!(A)),
        ("j", json!({ "z": 1, "a": [null] })),
        ("m", json!("ok")),
        ("p", json!(5)),
        ("tags", json!(["a", null, "b c"])),
        ("matrix", json!([[1, 2], [3, 4]])),
        ("r", json!("[1,5)")),
        ("times", json!("[\"2026-01-01 00:00:00+00\",\"2026-01-02 00:00:00+00\")")),
        ("x", json!({ "a": 1, "b": "y" })),
        ("a", json!("10.0.0.1/8")),
        ("nothing", json!(null)),
    ] {
        assert_eq!(row[column], value, "{column}");
    }
}

/// Most sessions have these settings and need no others; each deviation is detected separately.
#[test]
fn values_are_the_same_whatever_a_session_has_set() {
    let (mut owner, _) = start(
        "create table things (at timestamptz, iv interval, f float8, body bytea, times tstzrange, days daterange)",
        "things",
    );
    let settings = [
        "timezone = 'UTC'",
        "timezone = 'Etc/UTC'",
        "timezone = 'Asia/Kolkata'",
        "datestyle = 'SQL, DMY'",
        "datestyle = 'ISO, DMY'",
        "intervalstyle = 'iso_8601'",
        "extra_float_digits = 0",
        "extra_float_digits = -5",
        "extra_float_digits = 3",
        "bytea_output = 'escape'",
    ];
    for setting in settings {
        let text = format!(
            "begin; set local timezone = 'UTC'; set local {setting};
             insert into things values ('2026-01-02 03:04:05.678+00', '1 day 02:03:04', 0.1::float8 + 0.2::float8, '\\x00ff',
                 '[2026-01-01 00:00:00+00,2026-01-02 00:00:00+00)', '[2026-01-02,2026-03-04)');
             update things set f = f; delete from things; commit"
        );
        owner.batch_execute(&text).unwrap();
    }
    let sql = "select count(distinct new::text), min(new::text), count(distinct old::text), count(*) from realtime_worker.changes";
    let row = owner.query_one(sql, &[]).unwrap();
    let written = "{\"at\":\"2026-01-02T03:04:05.678+00:00\",\"iv\":\"1 day 02:03:04\",\"f\":0.30000000000000004,\"body\":\"\\\\x00ff\",\
        \"times\":\"[\\\"2026-01-01 00:00:00+00\\\",\\\"2026-01-02 00:00:00+00\\\")\",\"days\":\"[2026-01-02,2026-03-04)\"}";
    let figures = (row.get(0), row.get(1), row.get(2), row.get(3));
    assert_eq!(figures, (1_i64, written, 1_i64, 3 * settings.len() as i64));
}

#[test]
fn a_toasted_value_that_did_not_change_is_there() {
    let (mut owner, mut reader) = start("create table docs (id int primary key, body text, v int)", "docs");
    owner
        .batch_execute(
            "alter table docs alter column body set storage external;
             insert into docs values (1, repeat('x', 10000), 1); update docs set v = 2",
        )
        .unwrap();
    let (new, old) = images(&mut reader).remove(1);
    assert_eq!((new["body"].as_str().unwrap().len(), old["body"].as_str().unwrap().len()), (10_000, 10_000));
    assert_eq!((&new["v"], &old["v"]), (&json!(2), &json!(1)));
}

/// walrus answers 401 for a table without a primary key.
#[test]
fn a_table_without_a_primary_key_works() {
    let (mut owner, mut reader) = start("create table loose (v int)", "loose");
    let status: Value = owner.query_one("select realtime_worker.status()", &[]).unwrap().get(0);
    assert_eq!(status["tables"][0]["warnings"], json!(["no_row_security", "no_primary_key"]));
    owner.batch_execute("insert into loose values (1); update loose set v = 2; delete from loose").unwrap();
    assert_eq!(
        images(&mut reader),
        [(json!({ "v": 1 }), json!(null)), (json!({ "v": 2 }), json!({ "v": 1 })), (json!(null), json!({ "v": 2 }))]
    );
}

/// walrus cannot judge a deleted row, and sends its key to everyone.
#[test]
fn a_deleted_row_goes_to_whom_it_was_visible() {
    let (mut owner, mut reader) = start(
        "create table owned (id int primary key, owner uuid); alter table owned enable row level security; grant select on owned to authenticated;
         create policy p on owned using (owner = auth.uid());
         insert into owned values (1, '00000000-0000-4000-8000-00000000000a'), (2, null)",
        "owned",
    );
    owner.batch_execute("delete from owned where id = 1; delete from owned where id = 2").unwrap();
    let seen: Vec<_> = reader.changes().iter().map(|change| change.sees_old().join(",")).collect();
    assert_eq!(seen, ["a", ""], "service_role has no grant on this table");
}

#[test]
fn only_the_events_of_a_table_are_captured() {
    let (mut owner, mut reader) = start("create table few (id int primary key)", "few");
    owner.batch_execute("select realtime_worker.enable_realtime('public', 'few', '{UPDATE}')").unwrap();
    owner.batch_execute("insert into few values (1); update few set id = 2; delete from few; truncate few").unwrap();
    assert_eq!(images(&mut reader), [(json!({ "id": 2 }), json!({ "id": 1 }))]);
    for (events, message) in [("{}", "events are"), ("{SELECT}", "events are"), ("{insert}", "events are")] {
        let error = owner
            .batch_execute(&format!("select realtime_worker.enable_realtime('public', 'few', '{events}')"))
            .unwrap_err();
        assert!(error.as_db_error().unwrap().message().contains(message));
    }
}

#[test]
fn what_cannot_be_enabled_says_why() {
    let database = Server::shared().database();
    let mut owner = database.owner();
    owner
        .batch_execute(
            "create table t (id int primary key); create view v as select * from t; create materialized view m as select * from t;
             create table tree (id int) partition by range (id);
             create table branch partition of tree for values from (0) to (10) partition by range (id)",
        )
        .unwrap();
    let mut refused = |call: &str| {
        let error = owner.batch_execute(&format!("select realtime_worker.enable_realtime({call})")).unwrap_err();
        error.as_db_error().unwrap().message().to_owned()
    };
    assert_eq!(refused("'public', 'absent'"), "there is no table public.absent");
    assert_eq!(refused("'public', 'T'"), "there is no table public.\"T\"");
    assert_eq!(refused("'public', 'v'"), "there is no table public.v");
    assert_eq!(refused("'public', 'm'"), "there is no table public.m");
    assert_eq!(refused("'public', 'branch'"), "public.branch is a partition that is partitioned itself");
    assert_eq!(refused("'public', 't', exclude => '{nothing}'"), "public.t has no column nothing");
    assert_eq!(refused("'public', 't', organization_column => 'org'"), "public.t has no column org");
    assert_eq!(refused("'realtime_worker', 'changes'"), "a table of realtime_worker cannot be captured");
}

#[test]
fn disabling_is_idempotent_and_leaves_no_trigger() {
    let (mut owner, mut reader) = start("create table t (id int primary key)", "t");
    for changed in [true, false] {
        let answer: Value =
            owner.query_one("select realtime_worker.disable_realtime('public', 't')", &[]).unwrap().get(0);
        assert_eq!(answer, json!({ "schema": "public", "table": "t", "enabled": false, "changed": changed }));
    }
    let triggers = "select count(*) from pg_trigger where tgrelid = 't'::regclass";
    assert_eq!(owner.query_one(triggers, &[]).unwrap().get::<_, i64>(0), 0);
    owner.batch_execute("insert into t values (1)").unwrap();
    assert_eq!(images(&mut reader), []);
    owner.batch_execute("select realtime_worker.disable_realtime('public', 'never')").unwrap();
}

#[test]
fn a_disabled_table_stays_known_and_is_enabled_as_it_was() {
    let (mut owner, _reader) = start("create table t (id int primary key, org text, secret text, gone text)", "t");
    let mut call =
        |text: &str| owner.query_one(&format!("select realtime_worker.{text}"), &[]).unwrap().get::<_, Value>(0);
    let enabled =
        call("enable_realtime('public', 't', '{INSERT}', exclude => '{secret,gone}', organization_column => 'org')");
    call("disable_realtime('public', 't')");
    let status = call("status()");
    let [disabled] = status["disabled"].as_array().unwrap().as_slice() else { panic!("{status}") };
    assert_eq!(status["tables"], json!([]));
    let expected = json!({ "schema": "public", "table": "t", "events": ["INSERT"], "exclude": ["secret", "gone"],
        "excluded": ["secret", "gone"], "organization_column": "org", "enabled": false, "trigger_installed": false,
        "drift": false, "created_at": enabled["created_at"], "updated_at": disabled["updated_at"] });
    assert_eq!(*disabled, expected);
    // Enabling a table without naming columns keeps excluded columns excluded; a dropped column cannot be excluded.
    call("disable_realtime('public', 'never')");
    owner.batch_execute("alter table t drop column gone").unwrap();
    let mut call =
        |text: &str| owner.query_one(&format!("select realtime_worker.{text}"), &[]).unwrap().get::<_, Value>(0);
    let again = call("enable_realtime('public', 't')");
    for (name, value) in
        [("exclude", json!(["secret"])), ("events", json!(["INSERT"])), ("organization_column", json!("org"))]
    {
        assert_eq!(again[name], value);
    }
    assert_eq!(again["created_at"], enabled["created_at"]);
    assert_eq!(call("status()")["disabled"], json!([]));
    call("disable_realtime('public', 't')");
    owner.batch_execute("drop table t").unwrap();
    let status: Value = owner.query_one("select realtime_worker.status()", &[]).unwrap().get(0);
    assert_eq!(status["disabled"], json!([]), "nothing is told of a table that is not there");
}

#[test]
fn a_dropped_table_stops_nothing() {
    let (mut owner, mut reader) = start("create table gone (id int primary key)", "gone");
    owner
        .batch_execute(
            "create table stays (id int primary key); select realtime_worker.enable_realtime('public', 'stays')",
        )
        .unwrap();
    owner.batch_execute("insert into gone values (1); insert into stays values (2); drop table gone").unwrap();
    let changes = reader.changes();
    assert_eq!((&changes[0].change["table"], changes[0].by.len()), (&json!("gone"), 0), "without a verdict");
    assert_eq!(changes[1].change["new"], json!({ "id": 2 }));
    let status: Value = owner.query_one("select realtime_worker.status()", &[]).unwrap().get(0);
    assert_eq!(
        (&status["tables"][0]["drift"], &status["tables"][0]["warnings"]),
        (&json!(true), &json!(["table_missing"]))
    );
}

#[test]
fn the_claims_of_one_caller_are_not_anothers() {
    let database = Server::shared().database();
    let mut owner = database.owner();
    owner
        .batch_execute(
            "create table t (id int primary key, team text); alter table t enable row level security; grant select on t to authenticated, staff;
             create policy p on t using (team = any (array(select jsonb_array_elements_text(auth.jwt() -> 'teams')))
                 or current_setting('request.jwt.claim.role', true) = 'staff' and current_setting('request.jwt.claims')::json ->> 'sub' is null);
             select realtime_worker.enable_realtime('public', 't')",
        )
        .unwrap();
    let group = |id: &str, role: &str, claims: Value| Group { id: id.into(), role: role.into(), claims };
    let mut reader = database.reader();
    let groups = [
        group("red", "authenticated", json!({ "teams": ["red"] })),
        group("both", "authenticated", json!({ "teams": ["red", "blue"] })),
        group("none", "authenticated", json!({})),
        group("scalar", "authenticated", json!({ "teams": "red" })),
        group("staff", "staff", json!({ "teams": [] })),
    ];
    reader.register(&groups, &[("public", "t")]);
    owner.batch_execute("insert into t values (1, 'red'), (2, 'blue'), (3, null)").unwrap();
    let changes = reader.changes();
    let seen: Vec<_> = changes.iter().map(|change| change.sees_new()).collect();
    assert_eq!(seen, [vec!["both", "red", "staff"], vec!["both", "staff"], vec!["staff"]]);
    // The connection is in its previous state.
    let left = reader.client.query_one("select current_user::text, current_setting('request.jwt.claims', true), current_setting('transaction_read_only')", &[]).unwrap();
    assert_eq!(
        (left.get::<_, &str>(0), left.get::<_, Option<&str>>(1).unwrap_or_default(), left.get::<_, &str>(2)),
        ("realtime_worker_reader", "", "off")
    );
}
