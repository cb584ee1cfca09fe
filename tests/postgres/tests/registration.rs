//! Registering listeners, the description of their tables, and batches that are returned again.

use realtime_worker_postgres_tests::{Client, Group, Reader, Server};
use serde_json::{Value, json};

fn start(setup: &str) -> (Client, Reader) {
    let database = Server::shared().database();
    let mut owner = database.owner();
    owner.batch_execute(setup).unwrap();
    (owner, database.reader())
}

const TABLES: &str = "
    create table open (id int primary key, body text); grant select on open to authenticated;
    create table guarded (b int, a int, body text, primary key (a, b)); alter table guarded enable row level security;
    grant select (a, b) on guarded to authenticated; create policy p on guarded using (a > 1);
    create table closed (id int primary key); alter table closed enable row level security; grant select on closed to authenticated;
    create table idle (id int primary key); create schema hidden; create table hidden.inside (id int primary key);
    grant select on hidden.inside to authenticated; alter table guarded replica identity full;
    select realtime_worker.enable_realtime('public', 'open'), realtime_worker.enable_realtime('public', 'guarded'),
        realtime_worker.enable_realtime('public', 'closed'), realtime_worker.enable_realtime('hidden', 'inside');";

#[test]
fn each_table_says_what_a_role_may_have_of_it() {
    let (_, mut reader) = start(TABLES);
    let groups = ["authenticated", "anon", "service_role", "authenticated_login", "absent"].map(Group::role);
    let tables = [
        ("public", "open"),
        ("public", "guarded"),
        ("public", "closed"),
        ("public", "idle"),
        ("public", "absent"),
        ("hidden", "inside"),
    ];
    let answer = reader.register(&groups, &tables);
    assert_eq!(answer["revision"], 1);
    let of = |schema: &str, table: &str| {
        answer["tables"]
            .as_array()
            .unwrap()
            .iter()
            .find(|t| t["schema"] == schema && t["table"] == table)
            .unwrap()
            .clone()
    };
    let role = |table: &str, role: &str| {
        let table = of("public", table);
        (table["roles"][role]["state"].as_str().unwrap().to_owned(), table["roles"][role]["columns"].clone())
    };
    let state = |state: &str, columns: &[&str]| (state.to_owned(), json!(columns));
    assert_eq!(role("open", "authenticated"), state("live", &["id", "body"]));
    assert_eq!(role("open", "anon"), state("denied", &[]));
    assert_eq!(role("guarded", "authenticated"), state("live", &["b", "a"]));
    assert_eq!(role("closed", "authenticated"), state("no_policy", &["id"]));
    assert_eq!(
        of("public", "open")["roles"]["authenticated_login"],
        json!({ "state": "denied", "columns": [], "reason": "role_not_granted" })
    );
    assert_eq!(
        of("public", "open")["roles"]["absent"],
        json!({ "state": "denied", "columns": [], "reason": "role_missing" })
    );
    assert_eq!(of("hidden", "inside")["roles"]["authenticated"]["state"], "denied", "no USAGE on the schema");
    assert_eq!((&of("public", "open")["enabled"], &of("public", "idle")["enabled"]), (&json!(true), &json!(false)));
    assert_eq!(
        of("public", "absent"),
        json!({ "schema": "public", "table": "absent", "enabled": false, "unknown": true })
    );
    let guarded = of("public", "guarded");
    assert_eq!((&guarded["row_security"], &guarded["replica_identity"]), (&json!(true), &json!("full")));
    assert_eq!(guarded["primary_key"], json!(["a", "b"]), "in the order of the key");
    assert_eq!(guarded["columns"][2], json!({ "name": "body", "type": "text" }));
}

#[test]
fn a_table_whose_trigger_is_gone_is_not_enabled() {
    let (mut owner, mut reader) = start(TABLES);
    owner.batch_execute("drop trigger open_notify_change on open").unwrap();
    assert_eq!(reader.register(&[Group::role("authenticated")], &[("public", "open")])["tables"][0]["enabled"], false);
    owner.batch_execute("select realtime_worker.enable_realtime('public', 'open')").unwrap();
    assert_eq!(reader.register(&[Group::role("authenticated")], &[("public", "open")])["tables"][0]["enabled"], true);
}

#[test]
fn a_wildcard_is_every_enabled_table() {
    let (mut owner, mut reader) = start(TABLES);
    let names = |answer: &Value| -> Vec<String> {
        answer["tables"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| format!("{}.{}", t["schema"].as_str().unwrap(), t["table"].as_str().unwrap()))
            .collect()
    };
    let group = [Group::role("authenticated")];
    assert_eq!(names(&reader.register(&group, &[("public", "*")])), ["public.closed", "public.guarded", "public.open"]);
    assert_eq!(
        names(&reader.register(&group, &[("*", "*"), ("public", "idle")])),
        ["hidden.inside", "public.closed", "public.guarded", "public.idle", "public.open"]
    );
    owner.batch_execute("insert into open values (1); insert into guarded values (1, 2)").unwrap();
    assert!(reader.changes().iter().all(|change| change.sees_new() == ["authenticated"]));
}

#[test]
fn the_newest_registration_of_an_organization_counts() {
    let (mut owner, mut reader) = start(TABLES);
    let body = |organization: &str, revision: i64, groups: &[&str]| {
        let groups: Vec<Value> = groups
            .iter()
            .map(|id| json!({ "id": id, "role": "authenticated", "claims": { "sub": id }, "tables": [["public", "open"]] }))
            .collect();
        json!({ "organization": organization, "revision": revision, "groups": groups })
    };
    let mut told = |reader: &mut Reader| {
        owner.batch_execute("insert into open select coalesce(max(id), 0) + 1 from open").unwrap();
        reader.changes()[0].sees_new().join(",")
    };
    reader.call("register", &body("one", 5, &["x", "y"]));
    reader.call("register", &body("two", 1, &["y", "z"]));
    assert_eq!(told(&mut reader), "x,y,z", "a group of two organizations is judged once");
    reader.call("register", &body("one", 4, &["old"]));
    assert_eq!(told(&mut reader), "x,y,z", "an older revision that comes late changes nothing");
    reader.call("register", &body("one", 6, &["w"]));
    assert_eq!(told(&mut reader), "w,y,z");
    reader.call("register", &body("two", 2, &[]));
    assert_eq!(told(&mut reader), "w");
}

#[test]
fn a_registration_that_makes_no_sense_changes_nothing() {
    let (mut owner, mut reader) = start(TABLES);
    reader.register(&[Group::role("authenticated")], &[("public", "open")]);
    for body in [
        json!({}),
        json!({ "organization": "org", "revision": 9, "groups": [{ "id": "x" }] }),
        json!({ "organization": "org", "revision": 9, "groups": [{ "role": "anon", "tables": [["public", "open"]] }] }),
        json!({ "organization": "org", "revision": "nine", "groups": [] }),
        json!({ "organization": "org", "groups": [] }),
        json!({ "organization": "org", "revision": 9, "groups": [{ "id": "x", "role": "anon", "tables": [["public"]] }] }),
        json!({ "organization": "org", "revision": 9, "groups": 7 }),
    ] {
        assert!(reader.client.query_one("select realtime_worker.register($1)", &[&body]).is_err(), "{body}");
    }
    owner.batch_execute("insert into open values (1)").unwrap();
    assert_eq!(reader.changes()[0].sees_new(), ["authenticated"]);
    // Claims that are not an object deny, and do not fail the batch.
    let body = json!({ "organization": "org", "revision": 9, "groups": [
        { "id": "odd", "role": "authenticated", "claims": "}", "tables": [["public", "guarded"]] },
        { "id": "list", "role": "authenticated", "claims": [1], "tables": [["public", "guarded"]] }] });
    reader.call("register", &body);
    owner.batch_execute("insert into guarded values (1, 2)").unwrap();
    assert_eq!(reader.changes()[0].sees_new(), ["list"], "which has claims, if none that a policy finds");
}

#[test]
fn a_batch_comes_again_until_it_is_confirmed() {
    let (mut owner, mut reader) = start(TABLES);
    reader.register(&[Group::role("authenticated")], &[("public", "open")]);
    // Two statements at once would be one transaction.
    owner.batch_execute("insert into open values (1)").unwrap();
    owner.batch_execute("insert into open values (2)").unwrap();
    let first = reader.take(1);
    reader.done = None;
    owner.batch_execute("insert into open values (3)").unwrap();
    assert_eq!(reader.take(256), first, "unchanged, whatever came meanwhile");
    let second = reader.take(256);
    assert_eq!(second["changes"].as_array().unwrap().len(), 2);
    assert!(second["batch"].as_i64() > first["batch"].as_i64());
    // Confirming twice, as a reader does that crashed in between, is harmless.
    reader.done = first["batch"].as_i64();
    assert_eq!(reader.take(256), second);
    assert!(reader.take(256)["batch"].is_null());
}

#[test]
fn transactions_are_whole_unless_they_are_too_large() {
    let (mut owner, mut reader) = start(TABLES);
    let mut slow = owner.transaction().unwrap();
    slow.batch_execute("insert into open values (0)").unwrap();
    let (mut other, mut sizes) = (Vec::new(), Vec::new());
    // The open transaction delays nothing.
    let mut second = Server::shared().connect(&database_of(&mut slow), "app_owner");
    second
        .batch_execute("insert into open select generate_series(1, 3); insert into open select generate_series(4, 6)")
        .unwrap();
    second.batch_execute("insert into open select generate_series(11, 35)").unwrap();
    second.batch_execute("insert into open values (40)").unwrap();
    loop {
        let batch = reader.take(10);
        if batch["batch"].is_null() {
            break;
        }
        let changes = batch["changes"].as_array().unwrap().clone();
        sizes.push(changes.len());
        other.extend(changes.iter().map(|change| change["new"]["id"].as_i64().unwrap()));
    }
    assert_eq!(other, (1..=6).chain(11..=35).chain([40]).collect::<Vec<_>>());
    assert_eq!(sizes, [6, 10, 10, 5, 1]);
    assert_eq!(reader.take(10)["next"], "poll", "someone who did not knock is still at it");
    slow.commit().unwrap();
    assert_eq!(reader.changes()[0].change["new"]["id"], 0);
    assert_eq!(reader.take(10)["next"], "sleep");
}

fn database_of(transaction: &mut postgres::Transaction<'_>) -> String {
    transaction.query_one("select current_database()::text", &[]).unwrap().get(0)
}

#[test]
fn history_is_judged_by_the_policies_of_now() {
    let (mut owner, mut reader) = start(TABLES);
    let mut judged = || {
        let images = json!([
            { "schema": "public", "table": "guarded", "row": { "a": 2, "b": 1, "body": "x" } },
            { "schema": "public", "table": "open", "row": { "id": 1, "body": "x" } },
            { "schema": "public", "table": "guarded", "row": { "a": 1, "b": 1, "body": "x" } },
            { "schema": "public", "table": "absent", "row": {} },
            { "schema": "public", "table": "guarded", "row": { "b": 1 } },
            { "schema": "public", "table": "guarded", "row": null },
        ]);
        let groups =
            json!([{ "id": "u", "role": "authenticated", "claims": {} }, { "id": "n", "role": "anon", "claims": {} }]);
        let answer = reader.call("judge", &json!({ "images": images, "groups": groups }));
        let verdicts = answer["verdicts"].as_array().unwrap();
        verdicts
            .iter()
            .map(|v| {
                format!(
                    "{}/{} {} {} {}",
                    v["table"].as_str().unwrap(),
                    v["role"].as_str().unwrap(),
                    v["images"],
                    v["sees"],
                    v["failed"]
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(
        judged(),
        [
            "guarded/anon [0,2,4] [\"000\"] {}",
            "guarded/authenticated [0,2,4] [\"100\"] {\"u\":\"42703\"}",
            "open/anon [1] [\"0\"] {}",
            "open/authenticated [1] [\"1\"] {}",
        ]
    );
    owner
        .batch_execute(
            "drop policy p on guarded; create policy p on guarded using (b = 1); revoke all on open from authenticated",
        )
        .unwrap();
    assert_eq!(judged()[1], "guarded/authenticated [0,2,4] [\"111\"] {}");
    assert_eq!(judged()[3], "open/authenticated [1] [\"0\"] {}");
}
