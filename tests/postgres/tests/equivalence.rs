//! A verdict equals the result of a SELECT of that row under the same role and claims: random policies, roles, types
//! and rows.
//!
//! `EQUIVALENCE_TURNS=250 cargo test --package realtime-worker-postgres-tests --test equivalence -- --nocapture` makes
//! about 240,000 verdicts.

use std::collections::{BTreeMap, BTreeSet};

use realtime_worker_postgres_tests::{Client, Random, Reader, Server};
use serde_json::{Value, json};

const TABLE: &str = "app.\"Weird Table\"";
const ROWS: usize = 60;
const USERS: u64 = 8;

const SCHEMA: &str = r#"
    create schema app; grant usage on schema app to public;
    create type app.mood as enum ('sad', 'ok', 'happy');
    create domain app.pos as int check (value > 0);
    create table app.members (room int, usr uuid, level int, primary key (room, usr));
    alter table app.members enable row level security;
    create policy own on app.members for select using (usr = auth.uid());
    grant select on app.members to anon, authenticated, staff, clerk;
    create table app."Weird Table" (
        "Id" int primary key, dropped int, room int, owner uuid, title text, mood app.mood, tags text[], amount numeric, f float8,
        at timestamptz, d date, iv interval, body bytea, j jsonb, n app.pos, r int4range, times tstzrange, bits bit(3), public bool,
        gen int generated always as (room * 2) stored, "order" int);
    alter table app."Weird Table" drop column dropped;
    grant select on app."Weird Table" to anon, authenticated, service_role, staff, clerk;
    create function app.is_mine(t app."Weird Table") returns bool language sql stable as $$ select t.owner = auth.uid() $$;
    create function app.rooms() returns setof int language sql stable security definer as
        $$ select room from app.members where usr = auth.uid() $$;
"#;

/// `(restrictive, command, roles, using)`.
const POLICIES: [(bool, &str, &str, &str); 25] = [
    (false, "select", "authenticated", "owner = auth.uid()"),
    (false, "select", "authenticated", "owner = (select auth.uid())"),
    (false, "select", "public", "\"public\""),
    (false, "select", "anon", "\"public\" is true"),
    (
        false,
        "all",
        "authenticated",
        "exists (select 1 from app.members m where m.room = \"Weird Table\".room and m.usr = auth.uid())",
    ),
    (false, "select", "authenticated", "room in (select room from app.members)"),
    (false, "select", "public", "room in (select app.rooms())"),
    (false, "select", "authenticated", "app.is_mine(\"Weird Table\")"),
    (false, "select", "authenticated", "app.is_mine(\"Weird Table\".*)"),
    (false, "select", "public", "(to_jsonb(\"Weird Table\") ->> 'room')::int = 2"),
    (
        false,
        "select",
        "authenticated",
        "exists (select 1 from app.members \"Weird Table\" where \"Weird Table\".level > 1 and \"Weird Table\".usr = auth.uid())",
    ),
    (
        false,
        "select",
        "public",
        "mood = 'happy' or tags @> array['x'] or amount > 2 or f > 1 or at < now() or d < '2021-01-01' or iv > '1 hour' \
         or body = '\\x00ff' or j @> '{\"a\":1}' or r @> 3 or n = 5 or gen = 4 or bits = b'101'",
    ),
    (false, "select", "public", "amount = 'NaN'::numeric or f = 'NaN'::float8 or at = 'infinity'"),
    (false, "select", "public", "times @> timestamptz '2020-06-01 00:00:00+00' or iv = interval '-1 mon +3 days'"),
    (false, "select", "authenticated", "(auth.jwt() -> 'app' ->> 'level')::int >= \"order\""),
    (false, "select", "public", "owner::text = current_setting('request.jwt.claim.sub', true)"),
    (false, "select", "public", "current_user = 'authenticated' and room = 1"),
    (false, "select", "staff", "room < 3"),
    (false, "select", "public", "10 / (\"order\" - 5) > 1"),
    (false, "update", "authenticated", "true"),
    (true, "select", "public", "mood is distinct from 'sad'"),
    (true, "all", "authenticated", "room <> 3"),
    (true, "select", "staff", "\"order\" > 3"),
    (true, "select", "public", "title is null or title <> ''"),
    (
        true,
        "select",
        "authenticated",
        "not exists (select from app.members m where m.usr = auth.uid() and m.level = 3 and m.room = \"Weird Table\".room)",
    ),
];

fn user(n: u64) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

/// The rows, written by a session with other formats than the reader's.
fn fill(owner: &mut Client, random: &mut Random) {
    owner
        .batch_execute("set intervalstyle = 'sql_standard'; set datestyle = 'SQL, DMY'; set timezone = 'Asia/Kolkata'")
        .unwrap();
    for id in 0..ROWS {
        let user = random.below(USERS + 1);
        let owner_of_row = if user == USERS { "null".to_owned() } else { format!("'{}'", self::user(user)) };
        let values = [
            id.to_string(),
            (1 + random.below(4)).to_string(),
            owner_of_row,
            random.pick(&["'a'", "'b''\"\\'", "'ü'", "null", "''"]).to_owned(),
            random.pick(&["'sad'", "'ok'", "'happy'", "null"]).to_owned(),
            random.pick(&["'{}'", "'{x}'", "array['x', 'y,\"z\"']", "null"]).to_owned(),
            random.pick(&["1.50", "'NaN'", "12345678901234567890.5", "null"]).to_owned(),
            random.pick(&["1.5", "'inf'", "'nan'", "0.1", "null"]).to_owned(),
            random.pick(&["'2020-01-01 00:00:00+02'", "'infinity'", "null"]).to_owned(),
            random.pick(&["'2020-02-02'", "'-infinity'", "null"]).to_owned(),
            random.pick(&["interval '1 day 2 hours'", "interval '-1 mon +3 days'", "null"]).to_owned(),
            random.pick(&["'\\x00ff'", "null"]).to_owned(),
            random.pick(&["'{\"a\":1}'", "'{\"a\":[1,2]}'", "null"]).to_owned(),
            random.pick(&["1", "5", "null"]).to_owned(),
            random.pick(&["'[1,5)'", "'empty'", "null"]).to_owned(),
            random.pick(&["tstzrange('2020-01-01', '2021-01-01')", "tstzrange('2022-01-01', null)", "null"]).to_owned(),
            random.pick(&["b'101'", "b'000'", "null"]).to_owned(),
            random.pick(&["true", "false", "null"]).to_owned(),
            (1 + random.below(9)).to_string(),
        ];
        let columns = "\"Id\",room,owner,title,mood,tags,amount,f,at,d,iv,body,j,n,r,times,bits,public,\"order\"";
        owner.batch_execute(&format!("insert into {TABLE} ({columns}) values ({})", values.join(", "))).unwrap();
    }
    for _ in 0..12 {
        let member = format!("({}, '{}', {})", 1 + random.below(4), user(random.below(USERS)), 1 + random.below(3));
        owner.batch_execute(&format!("insert into app.members values {member} on conflict do nothing")).unwrap();
    }
}

/// The images as the trigger captured them.
fn images(owner: &mut Client) -> Vec<Value> {
    let sql = "select new from realtime_worker.changes where operation = 'INSERT' order by id";
    owner.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

/// Random policies, row security on (mostly) and forced (mostly). Returns what was chosen, for the message of a
/// failure.
fn choose_policies(owner: &mut Client, random: &mut Random, turn: u64) -> Vec<&'static str> {
    let mut sql = format!(
        "alter table {TABLE} {} row level security; alter table {TABLE} {} row level security;",
        if turn % 10 == 9 { "disable" } else { "enable" },
        if random.below(3) == 0 { "no force" } else { "force" },
    );
    for number in 0..POLICIES.len() {
        sql += &format!("drop policy if exists p{number} on {TABLE};");
    }
    let mut chosen = BTreeMap::new();
    for _ in 0..random.pick(&[0, 1, 1, 2, 3, 5, 8]) {
        let number = usize::try_from(random.below(POLICIES.len() as u64)).unwrap();
        chosen.insert(number, POLICIES[number]);
    }
    for (number, (restrictive, command, roles, using)) in &chosen {
        let kind = if *restrictive { "restrictive" } else { "permissive" };
        sql += &format!("create policy p{number} on {TABLE} as {kind} for {command} to {roles} using ({using});");
    }
    owner.batch_execute(&sql).unwrap();
    chosen.into_values().map(|policy| policy.3).collect()
}

/// The rows that a SELECT under the role returns; one by one if it raises an error.
fn truth(client: &mut Client, role: &str, claims: &Value) -> (BTreeSet<usize>, bool) {
    let mut transaction = client.transaction().unwrap();
    let text = claims.to_string();
    let subject = claims["sub"].as_str().unwrap_or_default();
    let settings = "select set_config('request.jwt.claims', $1, true), set_config('request.jwt.claim.sub', $2, true),
        set_config('request.jwt.claim.role', $3, true), set_config('role', $3, true)";
    transaction.query(settings, &[&text, &subject, &role]).unwrap();
    let mut rows = |condition: &str| {
        let mut attempt = transaction.transaction().unwrap();
        let rows = attempt.query(&format!("select \"Id\" from {TABLE} {condition}"), &[]);
        attempt.rollback().unwrap();
        rows.map(|rows| rows.iter().map(|row| usize::try_from(row.get::<_, i32>(0)).unwrap()).collect::<Vec<_>>())
    };
    match rows("") {
        Ok(seen) => (seen.into_iter().collect(), false),
        Err(_) => ((0..ROWS).flat_map(|id| rows(&format!("where \"Id\" = {id}")).unwrap_or_default()).collect(), true),
    }
}

fn groups(random: &mut Random) -> Vec<Value> {
    let mut groups = Vec::new();
    for (role, users) in [("anon", 0), ("authenticated", USERS), ("service_role", 0), ("staff", 3), ("clerk", 3)] {
        for user in 0..u64::max(users, 1) {
            let mut claims = json!({ "role": role, "app": { "level": 1 + random.below(9) } });
            if users > 0 {
                claims["sub"] = self::user(user).into();
            }
            groups.push(json!({ "id": format!("{role}{user}"), "role": role, "claims": claims }));
        }
    }
    groups
}

/// What each group sees, and whether an error was raised.
fn verdicts(reader: &mut Reader, images: &[Value], groups: &[Value]) -> BTreeMap<String, (BTreeSet<usize>, bool)> {
    let images: Vec<Value> =
        images.iter().map(|row| json!({ "schema": "app", "table": "Weird Table", "row": row })).collect();
    let answer = reader.call("judge", &json!({ "images": images, "groups": groups }));
    let mut all = BTreeMap::new();
    for verdict in answer["verdicts"].as_array().unwrap() {
        for (place, group) in verdict["groups"].as_array().unwrap().iter().enumerate() {
            let bits = verdict["sees"][place].as_str().unwrap();
            let seen = bits.bytes().enumerate().filter(|(_, bit)| *bit == b'1').map(|(image, _)| image).collect();
            let group = group.as_str().unwrap();
            all.insert(group.to_owned(), (seen, !verdict["failed"][group].is_null()));
        }
    }
    all
}

#[test]
fn a_verdict_is_what_a_select_says() {
    let turns: u64 = std::env::var("EQUIVALENCE_TURNS").map_or(25, |turns| turns.parse().unwrap());
    let database = Server::shared().database();
    let (mut owner, mut reader, mut select) =
        (database.owner(), database.reader(), database.connect("realtime_worker_reader"));
    let mut random = Random(7);
    owner.batch_execute(SCHEMA).unwrap();
    owner.batch_execute("select realtime_worker.enable_realtime('app', 'Weird Table')").unwrap();
    fill(&mut owner, &mut random);
    let images = images(&mut owner);
    let (mut checked, mut visible, mut raised) = (0, 0, 0);
    for turn in 0..turns {
        let chosen = choose_policies(&mut owner, &mut random, turn);
        let groups = groups(&mut random);
        let verdicts = verdicts(&mut reader, &images, &groups);
        for group in &groups {
            let expected = truth(&mut select, group["role"].as_str().unwrap(), &group["claims"]);
            // Whether an error was raised is not compared: of conditions that must all hold, either side may evaluate
            // another one first.
            let verdict = &verdicts[group["id"].as_str().unwrap()];
            assert_eq!(verdict.0, expected.0, "{group} under {chosen:#?}");
            checked += images.len();
            visible += expected.0.len();
            raised += usize::from(expected.1 && verdict.1);
        }
    }
    println!("{checked} verdicts, {visible} visible, {raised} SELECTs raised");
    // A test in which everything or nothing is visible could not distinguish a judge from a constant.
    assert!(visible * 20 > checked && visible * 2 < checked);
}
