//! The cost of capture for a writer, and of a batch for the database. The figures are printed, and compared with
//! generous bounds, because a machine that runs tests does other things too.
//!
//! `cargo test --release --package realtime-worker-postgres-tests --test costs -- --nocapture`

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use realtime_worker_postgres_tests::{Client, Database, Group, Server};

/// A server that writes to disk before it confirms, as in production.
fn server() -> &'static Server {
    static SERVER: std::sync::LazyLock<Server> = std::sync::LazyLock::new(|| Server::start(&[]));
    &SERVER
}

const TABLES: &str = "
    create table plain (id bigint generated always as identity primary key, owner uuid, room int, body text);
    create table captured (like plain including all);
    select realtime_worker.enable_realtime('public', 'captured');";

const ROW: &str = "'00000000-0000-4000-8000-000000000001', 7, 'a message of some forty characters, as usual'";

/// The shortest of several runs: the time of the work when nothing interferes.
fn shortest(runs: usize, mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let started = Instant::now();
            work();
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[0]
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// One statement for each of 300 rows in one transaction, so that the disk plays no part; and 20,000 rows in one
/// statement.
#[test]
fn a_captured_insert_costs_little_more() {
    let database = server().database();
    let mut owner = database.owner();
    owner.batch_execute(TABLES).unwrap();
    // A busy reader, so that writers need not notify.
    owner.batch_execute("update realtime_worker.reader set awake_until = now() + interval '1 hour'").unwrap();
    let single = |owner: &mut Client, table: &str| {
        let insert = owner.prepare(&format!("insert into {table} (owner, room, body) values ({ROW})")).unwrap();
        let time = shortest(5, || {
            let mut transaction = owner.transaction().unwrap();
            for _ in 0..300 {
                transaction.execute(&insert, &[]).unwrap();
            }
            transaction.commit().unwrap();
        });
        time / 300
    };
    let bulk = |owner: &mut Client, table: &str| {
        let insert = format!("insert into {table} (owner, room, body) select {ROW} from generate_series(1, 20000)");
        shortest(3, || owner.batch_execute(&insert).unwrap()) / 20_000
    };
    let (plain, captured) = (single(&mut owner, "plain"), single(&mut owner, "captured"));
    let (plain_bulk, captured_bulk) = (bulk(&mut owner, "plain"), bulk(&mut owner, "captured"));
    println!(
        "a captured INSERT adds {:.3} ms to its statement of {:.3} ms; in bulk {:.1} µs to the {:.1} µs of a row",
        milliseconds(captured.saturating_sub(plain)),
        milliseconds(plain),
        milliseconds(captured_bulk.saturating_sub(plain_bulk)) * 1e3,
        milliseconds(plain_bulk) * 1e3
    );
    assert!(captured < plain * 16, "{captured:?} {plain:?}");
    assert!(captured_bulk < plain_bulk * 80, "{captured_bulk:?} {plain_bulk:?}");
}

/// Transactions of 16 writers in two seconds.
fn throughput(database: &Database) -> u32 {
    let done = AtomicU32::new(0);
    let until = Instant::now() + Duration::from_secs(2);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = database.owner();
                let insert =
                    client.prepare(&format!("insert into captured (owner, room, body) values ({ROW})")).unwrap();
                while Instant::now() < until {
                    client.execute(&insert, &[]).unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner()
}

#[test]
fn writers_are_not_serialized_while_the_reader_is_awake() {
    let database = server().database();
    let mut owner = database.owner();
    owner.batch_execute(TABLES).unwrap();
    let mut run = |setup: &str| {
        owner.batch_execute(setup).unwrap();
        throughput(&database)
    };
    let awake = "update realtime_worker.reader set awake_until = now() + interval '1 hour'";
    let capture = run(awake);
    let without = run("drop trigger captured_notify_knock on captured");
    let asleep = run(
        "select realtime_worker.enable_realtime('public', 'captured'); update realtime_worker.reader set awake_until = '-infinity'",
    );
    println!(
        "16 writers in 2 s: {capture} transactions with the knock, {without} without, {asleep} when each commit notifies"
    );
    assert!(capture * 2 > without, "the knock costs more than half of the transactions");
}

/// 500 users, a policy by membership, 64 rows: the judging of one `take`.
#[test]
fn a_batch_for_five_hundred_users_takes_little() {
    let database = Server::shared().database();
    let mut owner = database.owner();
    owner
        .batch_execute(
            "create table members (room int, usr uuid, primary key (room, usr)); grant select on members to authenticated;
             insert into members select i % 50, ('00000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid from generate_series(0, 499) i;
             create table notes (id int primary key, room int, owner uuid, body text); alter table notes enable row level security;
             grant select on notes to authenticated;
             create policy mine on notes for select using (owner = auth.uid());
             create policy member on notes for select using (exists (select from members m where m.room = notes.room and m.usr = auth.uid()));
             select realtime_worker.enable_realtime('public', 'notes'); analyze members;",
        )
        .unwrap();
    let groups: Vec<Group> = (0..500)
        .map(|user| Group::user(&format!("g{user}"), "authenticated", &format!("00000000-0000-4000-8000-{user:012}")))
        .collect();
    let mut reader = database.reader();
    reader.register(&groups, &[("public", "notes")]);
    let mut first = 0;
    let time = shortest(5, || {
        owner
            .execute("insert into notes select $1 + i, i % 50, null, 'text' from generate_series(1, 64) i", &[&first])
            .unwrap();
        first += 64;
        let batch = reader.take(64);
        assert_eq!(batch["changes"].as_array().unwrap().len(), 64);
        // Each room has ten members, and each of 64 rows is in one room.
        let seen = batch["verdicts"][0]["new"].to_string().matches('1').count();
        assert_eq!(seen, 640);
    });
    let one = shortest(5, || {
        owner.execute("insert into notes select $1 + 1, 1, null, 'text'", &[&first]).unwrap();
        first += 1;
        reader.take(64);
    });
    println!(
        "500 users: 64 changes in {:.0} ms ({:.0} changes/s), one change in {:.0} ms",
        milliseconds(time),
        64.0 / time.as_secs_f64(),
        milliseconds(one)
    );
    assert!(time < one * 10, "64 changes cost more than ten times as much as one: {time:?} {one:?}");
}

/// Selecting a batch must not slow down with what waits behind it.
#[test]
fn a_long_backlog_does_not_slow_a_batch_down() {
    let database = Server::shared().database();
    let mut owner = database.owner();
    owner.batch_execute(TABLES).unwrap();
    let fill = |owner: &mut Client, transactions: usize| {
        let insert = format!("insert into captured (owner, room, body) select {ROW} from generate_series(1, 10)");
        (0..transactions).for_each(|_| owner.batch_execute(&insert).unwrap());
    };
    let mut reader = database.reader();
    fill(&mut owner, 100);
    let short = shortest(5, || assert!(reader.take(64)["batch"].is_i64()));
    fill(&mut owner, 3000);
    let long = shortest(5, || assert!(reader.take(64)["batch"].is_i64()));
    println!(
        "a batch of 64 takes {:.1} ms with 1,000 waiting, {:.1} ms with 30,000",
        milliseconds(short),
        milliseconds(long)
    );
    assert!(long < short * 5 + Duration::from_millis(20), "{short:?} {long:?}");
}
