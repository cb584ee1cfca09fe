//! Supabase's SQL surface: messages from the database, policies for private channels, and following a publication.

use realtime_worker_postgres_tests::{Client, Reader, Server};
use serde_json::{Value, json};

fn start() -> (Client, Reader) {
    let database = Server::shared().database();
    (database.owner(), database.reader())
}

fn messages(reader: &mut Reader) -> Vec<Value> {
    reader.changes().into_iter().map(|seen| seen.change["message"].clone()).collect()
}

#[test]
fn messages_go_to_their_topic_when_the_transaction_commits() {
    let (mut owner, mut reader) = start();
    let mut aborted = owner.transaction().unwrap();
    aborted.batch_execute("select realtime.send('{\"v\":0}', 'e', 'room:1')").unwrap();
    aborted.rollback().unwrap();
    owner
        .batch_execute(
            "select realtime.send('{\"v\":1}', 'e', 'room:1');
             select realtime.send('{\"v\":2,\"id\":\"mine\"}', 'e', 'room:2', false);
             select realtime.send('[3]', 'e', 'room:2', false);
             select realtime.send_binary('\\x00ff', 'b', 'room:1');",
        )
        .unwrap();
    let got = messages(&mut reader);
    let stored: String =
        owner.query_one("select id::text from realtime.messages where payload ->> 'v' = '1'", &[]).unwrap().get(0);
    assert_eq!(
        got[0],
        json!({ "id": stored, "topic": "room:1", "event": "e", "payload": { "v": 1, "id": stored }, "private": true, "binary": null })
    );
    assert_eq!((&got[1]["payload"], &got[1]["private"]), (&json!({ "v": 2, "id": "mine" }), &json!(false)));
    assert_eq!(got[2]["payload"], json!([3]));
    assert_eq!((&got[3]["binary"], &got[3]["payload"]), (&json!("AP8="), &json!(null)));
    assert_eq!(got.len(), 4);
}

#[test]
fn a_transaction_says_whose_its_messages_are() {
    let (mut owner, mut reader) = start();
    owner
        .batch_execute(
            "begin; select set_config('realtime_worker.organization', 'org_1', true); select realtime.send('{}', 'e', 't'); commit;
             select realtime.send('{}', 'e', 't')",
        )
        .unwrap();
    let organizations: Vec<_> = reader.changes().into_iter().map(|seen| seen.change["organization"].clone()).collect();
    assert_eq!(organizations, [json!("org_1"), json!(null)]);
}

#[test]
fn a_message_that_cannot_be_stored_does_not_fail_its_transaction() {
    let (mut owner, mut reader) = start();
    owner.batch_execute("create table t (v int)").unwrap();
    owner
        .batch_execute(
            "insert into t values (1); select realtime.send(jsonb_build_object('v', repeat('x', 3000001)), 'e', 't')",
        )
        .unwrap();
    assert_eq!(owner.query_one("select count(*) from t", &[]).unwrap().get::<_, i64>(0), 1);
    assert_eq!(messages(&mut reader), [] as [Value; 0]);
}

#[test]
fn a_trigger_broadcasts_the_rows_of_its_table() {
    let (mut owner, mut reader) = start();
    owner
        .batch_execute(
            "create table items (id int primary key, name text);
             create function tell() returns trigger language plpgsql security definer as $$ begin
                 perform realtime.broadcast_changes('items:' || coalesce(new.id, old.id), tg_op, tg_op, tg_table_name, tg_table_schema, new, old);
                 return null; end $$;
             create trigger tell after insert or update or delete on items for each row execute function tell();
             insert into items values (1, 'a'); update items set name = 'b'; delete from items;",
        )
        .unwrap();
    let got = messages(&mut reader);
    let rows: Vec<_> =
        got.iter().map(|m| (&m["topic"], &m["event"], &m["payload"]["record"], &m["payload"]["old_record"])).collect();
    let (a, b) = (json!({ "id": 1, "name": "a" }), json!({ "id": 1, "name": "b" }));
    let topic = json!("items:1");
    assert_eq!(
        rows,
        [
            (&topic, &json!("INSERT"), &a, &json!(null)),
            (&topic, &json!("UPDATE"), &b, &a),
            (&topic, &json!("DELETE"), &json!(null), &b),
        ]
    );
    assert!(
        got.iter()
            .all(|m| m["private"] == true && m["payload"]["table"] == "items" && m["payload"]["schema"] == "public")
    );
    let wrong = "select realtime.broadcast_changes('t', 'e', 'TRUNCATE', 'items', 'public', null::items, null::items)";
    assert!(owner.batch_execute(wrong).is_err());
}

#[test]
fn policies_on_messages_decide_private_channels() {
    let (mut owner, mut reader) = start();
    let mut may = |role: &str, topic: &str| {
        let answer = reader.call("authorize", &json!({ "role": role, "claims": { "sub": "u1" }, "topic": topic }));
        ["read", "write", "presence_read", "presence_write"].map(|right| answer[right].as_bool().unwrap())
    };
    assert_eq!(may("authenticated", "room:u1"), [false; 4], "no policy lets nobody in");
    owner
        .batch_execute(
            "create policy r on realtime.messages for select to authenticated
                 using (realtime.topic() = 'room:' || (auth.jwt() ->> 'sub'));
             create policy w on realtime.messages for insert to authenticated
                 with check (extension = 'broadcast' and realtime.topic() like 'room:%' and topic = realtime.topic());",
        )
        .unwrap();
    assert_eq!(may("authenticated", "room:u1"), [true, true, true, false]);
    assert_eq!(may("authenticated", "room:u2"), [false, true, false, false]);
    assert_eq!(may("authenticated", "hall"), [false; 4]);
    assert_eq!(may("anon", "room:u1"), [false; 4]);
    assert_eq!(may("service_role", "hall"), [true; 4]);
    assert_eq!(may("nobody", "hall"), [false; 4]);
    owner
        .batch_execute(
            "create policy bad on realtime.messages as restrictive for select using (1 / (length(topic) - 7) > 0)",
        )
        .unwrap();
    assert_eq!(may("authenticated", "room:u1"), [false, true, false, false], "a policy that raises denies");
    assert_eq!(owner.query_one("select count(*) from realtime.messages", &[]).unwrap().get::<_, i64>(0), 0);
}

/// `(table, action, reason)` of a `sync`.
fn synced(reader: &mut Reader) -> Vec<(String, String, String)> {
    let answer: Value = reader.client.query_one("select realtime_worker.sync()", &[]).unwrap().get(0);
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let tables = answer["tables"].as_array().unwrap();
    tables.iter().map(|entry| (text(entry, "table"), text(entry, "action"), text(entry, "reason"))).collect()
}

fn entry(table: &str, action: &str, reason: &str) -> (String, String, String) {
    (table.to_owned(), action.to_owned(), reason.to_owned())
}

#[test]
fn the_publication_is_followed() {
    let (mut owner, mut reader) = start();
    assert_eq!(synced(&mut reader), []);
    owner
        .batch_execute(
            "create table a (id int primary key, secret text); create table b (id int primary key); create table c (id int primary key);
             create publication supabase_realtime for table a (id), b, c where (id > 1) with (publish = 'insert, update');
             select realtime_worker.enable_realtime('public', 'b', '{DELETE}')",
        )
        .unwrap();
    assert_eq!(synced(&mut reader), [entry("a", "enabled", ""), entry("c", "skipped", "row_filter")]);
    let tables = "select realtime_worker.status() -> 'tables'";
    let status: Value = owner.query_one(tables, &[]).unwrap().get(0);
    let of = |place: usize| (&status[place]["table"], &status[place]["events"], &status[place]["excluded"]);
    assert_eq!(of(0), (&json!("a"), &json!(["INSERT", "UPDATE"]), &json!(["secret"])));
    assert_eq!(of(1), (&json!("b"), &json!(["DELETE"]), &json!([])), "what a call enabled is the caller's");
    assert_eq!(synced(&mut reader), [entry("c", "skipped", "row_filter")], "again, it finds nothing to do");
    owner.batch_execute("alter publication supabase_realtime set table b").unwrap();
    assert_eq!(synced(&mut reader), [entry("a", "disabled", "")]);
    owner.batch_execute("insert into a values (1); delete from b").unwrap();
    assert_eq!(reader.changes().len(), 0);
}

#[test]
fn drift_is_told_and_repaired() {
    let (mut owner, mut reader) = start();
    owner
        .batch_execute(
            "create table moved (id int primary key); select realtime_worker.enable_realtime('public', 'moved');
             create table again (id int primary key); select realtime_worker.enable_realtime('public', 'again', exclude => '{}');
             create table off (id int primary key); select realtime_worker.enable_realtime('public', 'off');
             alter table moved rename to named; drop table again; create table again (id int primary key);
             alter table off disable trigger off_notify_change",
        )
        .unwrap();
    let mut drift = || {
        let status: Value = owner.query_one("select realtime_worker.status() -> 'tables'", &[]).unwrap().get(0);
        let tables = status.as_array().unwrap();
        tables
            .iter()
            .map(|t| (t["table"].as_str().unwrap().to_owned(), t["drift"] == true, t["trigger_installed"] == true))
            .collect::<Vec<_>>()
    };
    let expect = |name: &str, drift, installed| (name.to_owned(), drift, installed);
    assert_eq!(drift(), [expect("again", true, false), expect("moved", true, true), expect("off", true, false)]);
    assert_eq!(
        synced(&mut reader),
        [entry("again", "repaired", ""), entry("named", "repaired", ""), entry("off", "repaired", "")]
    );
    assert_eq!(drift(), [expect("again", false, true), expect("named", false, true), expect("off", false, true)]);
    owner
        .batch_execute("insert into named values (1); insert into again values (1); insert into off values (1)")
        .unwrap();
    let tables: Vec<_> = reader.changes().into_iter().map(|seen| seen.change["table"].clone()).collect();
    assert_eq!(tables, ["named", "again", "off"]);
}
