//! Rows and claims that PostgreSQL itself cannot read: they concern nobody else.

use realtime_worker_postgres_tests::Group;
use realtime_worker_postgres_tests::two_users::{A, B, start, told};
use serde_json::{Value, json};

/// Documents that their owner sees, in a column that keeps whatever is JSON.
const DOCS: &str = "
    create table docs (id int primary key, owner uuid, doc json);
    alter table docs enable row level security;
    grant select on docs to authenticated;
    create policy own on docs for select to authenticated using (owner = auth.uid());";

/// Its statements count themselves, unless they fail.
const COUNTED: &str = "
    create table notes (id int primary key, owner uuid);
    create schema counting;
    grant usage on schema counting to authenticated;
    create function counting.uid() returns uuid language plpgsql stable as $$
    declare
        before constant int := coalesce(nullif(current_setting('counting.statements', true), ''), '0');
    begin
        perform set_config('counting.statements', (before + 1)::text, false);
        return (current_setting('request.jwt.claims')::json ->> 'sub')::uuid;
    end $$;
    alter table notes enable row level security;
    grant select on notes to authenticated;
    create policy own on notes for select to authenticated using (owner = counting.uid());";

#[test]
fn a_caller_whose_claims_cannot_be_read_costs_the_others_nothing() {
    let (mut owner, mut reader) = start("notes", COUNTED);
    let users = [("0", "no uuid"), ("a", A), ("b", B)].map(|(id, subject)| Group::user(id, "authenticated", subject));
    reader.register(&users, &[("public", "notes")]);
    owner.batch_execute(&format!("insert into notes select n, '{A}' from generate_series(1, 64) n")).unwrap();
    let changes = reader.changes();
    assert_eq!(changes.len(), 64);
    assert!(changes.iter().all(|change| change.sees_new() == ["a"]));
    let statements = "select current_setting('counting.statements', true)";
    let statements: String = reader.client.query_one(statements, &[]).unwrap().get(0);
    assert_eq!(statements, "2", "one for each of the others, whatever the first needed");
    // A row that no policy can read still denies itself alone.
    owner
        .batch_execute(
            "alter policy own on notes using (owner = counting.uid() and 1 / (id - 80) is not null);
             insert into notes select n, '00000000-0000-4000-8000-00000000000b' from generate_series(65, 128) n",
        )
        .unwrap();
    let seen = reader.changes();
    assert_eq!(seen.iter().filter(|change| change.sees_new() == ["b"]).count(), 63);
}

/// A column of type `json` keeps what no function that reads it takes.
#[test]
fn a_row_with_an_escape_of_no_character_is_judged_and_does_not_hide_the_others() {
    let (mut owner, mut reader) = start("docs", DOCS);
    let large = "x".repeat(1_100_000);
    let docs = [
        r#"{"a":"\u0000\u0000"}"#.to_owned(),
        r#"["\ud800", "\\u0000", "\\\u0000"]"#.to_owned(),
        r#"["\ud83d\ude00 \\ud83d\udc00"]"#.to_owned(),
        format!(r#"["\u0000 {large}"]"#),
        r#"["\ud83d\ude00"]"#.to_owned(),
    ];
    let mut transaction = owner.transaction().unwrap();
    for (id, doc) in (1_i32..).zip(&docs) {
        transaction.execute(&format!("insert into docs values ({id}, '{A}', $1::text::json)"), &[doc]).unwrap();
    }
    transaction.commit().unwrap();
    let changes = reader.changes();
    assert_eq!(changes.len(), docs.len());
    assert!(changes.iter().all(|change| change.sees_new() == ["a"]), "{:?}", told(&changes));
    let doc = |place: usize| changes[place].change["new"]["doc"].clone();
    assert_eq!(doc(0), json!({ "a": "\u{fffd}\u{fffd}" }));
    assert_eq!(doc(1), json!(["\u{fffd}", "\\u0000", "\\\u{fffd}"]));
    assert_eq!(doc(2), json!(["\u{fffd}\u{fffd} \\ud83d\u{fffd}"]));
    assert_eq!((&changes[3].change["truncated"], doc(3)), (&json!(true), Value::Null));
    assert_eq!(doc(4), json!(["😀"]));
}

/// A value that could be written may be nested too deeply for those who read it further down the stack.
#[test]
fn a_row_that_is_nested_too_deeply_to_be_read_denies_itself_alone() {
    let (mut owner, mut reader) = start("docs", DOCS);
    let mut insert = |id: i32, depth: usize, padding: usize| {
        let doc = format!("{}\"{}\"{}", "[".repeat(depth), "x".repeat(padding), "]".repeat(depth));
        owner.execute(&format!("insert into docs values ({id}, '{A}', $1::text::json)"), &[&doc]).is_ok()
    };
    let (mut least, mut most) = (1, 1_000_000);
    while most - least > 1 {
        let depth = (least + most) / 2;
        if insert(i32::try_from(depth).unwrap(), depth, 0) { least = depth } else { most = depth }
    }
    reader.client.batch_execute("select realtime_worker.take(null, 10000)").unwrap();
    assert!(insert(-1, 1, 0) && insert(-2, least, 0) && insert(-3, least, 1_100_000) && insert(-4, 1, 1_100_000));
    // The first batch is confirmed, and the second has the four. It is not parsed as a whole, which would need a stack, too.
    let answer: String = reader.client.query_one("select realtime_worker.take(1, 10000)::text", &[]).unwrap().get(0);
    let (_, verdicts) = answer.rsplit_once("\"verdicts\" : ").unwrap();
    let verdicts: Value = serde_json::from_str(verdicts.strip_suffix('}').unwrap()).unwrap();
    let of_users = verdicts.as_array().unwrap().iter().find(|verdict| verdict["role"] == "authenticated").unwrap();
    assert_eq!((&of_users["groups"], &of_users["new"]), (&json!(["a", "b"]), &json!(["1001", "0000"])));
}
