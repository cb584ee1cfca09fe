//! Policies read the caller's claims once per caller, with the same result as before.

use realtime_worker_postgres_tests::two_users::{A, B, start};

/// Every way in which policies read a claim, each beside a similar expression that does not.
const POLICIES: [&str; 6] = [
    "owner = current_setting('request.jwt.claims', true)::json ->> 'sub'",
    "owner = (current_setting('request.jwt.claims', true)::jsonb ->> 'sub')",
    "owner = nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub'",
    "owner = (select current_setting('request.jwt.claims')::json ->> 'sub')",
    "exists (select from people where person = current_setting('request.jwt.claims', true)::json ->> 'sub' and person = owner)",
    "owner = current_setting('request.jwt.claims', true)::json ->> 'sub'
     and body <> '((current_setting(''request.jwt.claims''::text, true))::json ->> ''sub''::text)'",
];

#[test]
fn a_claim_is_read_once_per_caller_and_means_the_same() {
    for (number, policy) in POLICIES.iter().enumerate() {
        let setup = format!(
            "create table people (person text); grant select on people to authenticated; insert into people values ('{A}'), ('{B}');
             create table notes (id int primary key, owner text, body text);
             alter table notes enable row level security; grant select on notes to authenticated;
             create policy mine on notes for select to authenticated using ({policy})"
        );
        let (mut owner, mut reader) = start("notes", &setup);
        let like_a_claim = "((current_setting('request.jwt.claims'::text, true))::json ->> 'sub'::text)";
        owner
            .execute("insert into notes values (1, $1, 'one'), (2, $2, 'two'), (3, $1, $3)", &[&A, &B, &like_a_claim])
            .unwrap();
        let sees: Vec<Vec<String>> =
            reader.changes().iter().map(|change| change.sees_new().into_iter().map(str::to_owned).collect()).collect();
        let last = if number == 5 { vec![] } else { vec!["a"] };
        assert_eq!(sees, [vec!["a"], vec!["b"], last], "{policy}");
        let source: String = owner
            .query_one("select prosrc from pg_proc where prosrc like '%ordinality as notes%'", &[])
            .unwrap()
            .get(0);
        assert!(
            source.to_lowercase().contains("(select ((") || source.to_lowercase().contains("( select ("),
            "{policy}: {source}"
        );
    }
}

/// Policies of Butterbase's apps read the role from a setting of their own.
#[test]
fn a_policy_may_ask_for_the_role_of_the_app() {
    let (mut owner, mut reader) = start(
        "notes",
        "create table notes (id int primary key, seen_by text);
         alter table notes enable row level security; grant select on notes to authenticated, anon;
         create policy of_the_role on notes for select using (seen_by = current_setting('app.role'))",
    );
    owner.execute("insert into notes values (1, 'authenticated'), (2, 'anon'), (3, 'service_role')", &[]).unwrap();
    let changes = reader.changes();
    let sees: Vec<_> = changes.iter().map(|change| change.sees_new()).collect();
    // `service_role` has no privilege on the table.
    assert_eq!(sees, [vec!["a", "b"], vec!["anon"], vec![]]);
}

/// A name that looks like a call is still a name.
#[test]
fn a_column_that_is_called_like_a_claim_is_a_column() {
    let (mut owner, mut reader) = start(
        "notes",
        "create table notes (id int primary key, \"current_setting('x'::text)\" text);
         alter table notes enable row level security; grant select on notes to authenticated;
         create policy mine on notes for select to authenticated
             using (\"current_setting('x'::text)\" = current_setting('request.jwt.claims', true)::json ->> 'sub')",
    );
    owner.execute("insert into notes values (1, $1), (2, $2)", &[&A, &B]).unwrap();
    let changes = reader.changes();
    assert_eq!(changes.iter().map(|change| change.sees_new()[0]).collect::<Vec<_>>(), ["a", "b"]);
}
