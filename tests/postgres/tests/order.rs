//! Writers with overlapping transactions and a reader that crashes at random: every committed change is returned once,
//! the versions of a row in order, transactions whole, and a sleeping reader is woken.
//!
//! `ORDER_SECONDS=120 cargo test --package realtime-worker-postgres-tests --test order -- --nocapture` for longer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postgres::IsolationLevel;
use postgres::fallible_iterator::FallibleIterator;
use realtime_worker_postgres_tests::{Database, Random, Reader, Server};

const KEYS: u64 = 40;
const WRITERS: u64 = 8;
/// Some transactions are larger, and are split.
const MAX_CHANGES: i32 = 20;

/// `(key, version)` of each committed change, by transaction.
type Committed = Mutex<Vec<(i64, Vec<(i32, i32)>)>>;

/// One transaction of a writer: some keys, in ascending order so that two never deadlock.
fn write(
    client: &mut postgres::Client,
    random: &mut Random,
    repeatable: bool,
    committed: &Committed,
) -> Result<(), postgres::Error> {
    let level = if repeatable { IsolationLevel::RepeatableRead } else { IsolationLevel::ReadCommitted };
    let mut transaction = client.build_transaction().isolation_level(level).start()?;
    let id: i64 = transaction.query_one("select pg_current_xact_id()::text::bigint", &[])?.get(0);
    let mut done = Vec::new();
    let keys: BTreeSet<i32> =
        (0..random.pick(&[1, 1, 2, 5, 30])).map(|_| i32::try_from(random.below(KEYS)).unwrap()).collect();
    for key in keys {
        let mut savepoint = transaction.transaction()?;
        let sql = "update versions set v = v + 1, tx = $1 where k = $2 returning v";
        let version: i32 = savepoint.query_one(sql, &[&id, &key])?.get(0);
        if random.below(5) == 0 {
            savepoint.rollback()?;
            continue;
        }
        savepoint.commit()?;
        done.push((key, version));
        if random.below(20) == 0 {
            thread::sleep(Duration::from_millis(random.below(40)));
        }
    }
    if random.below(10) == 0 {
        return transaction.rollback();
    }
    transaction.commit()?;
    committed.lock().unwrap().push((id, done));
    Ok(())
}

fn writer(database: &Database, number: u64, stop: &AtomicBool, committed: &Committed) {
    let mut random = Random(number + 1);
    let mut client = database.owner();
    while !stop.load(Ordering::Relaxed) {
        // A conflict of REPEATABLE READ fails the transaction, which then has written nothing.
        let _ = write(&mut client, &mut random, number % 2 == 1, committed);
        if random.below(25) == 0 {
            thread::sleep(Duration::from_millis(random.below(500)));
        }
    }
}

#[derive(Default, Debug)]
struct Figures {
    takes: u32,
    deaths: u32,
    repeated: u32,
    slept: u32,
    polled: u32,
}

/// What a tenant accepts: changes of batches above its high-water mark.
#[derive(Default)]
struct Tenant {
    high_water: i64,
    changes: Vec<(i64, i32, i32)>,
    figures: Figures,
}

impl Tenant {
    fn publish(&mut self, batch: &serde_json::Value) {
        let number = batch["batch"].as_i64().unwrap();
        if number <= self.high_water {
            self.figures.repeated += 1;
            return;
        }
        self.high_water = number;
        for change in batch["changes"].as_array().unwrap() {
            let row = &change["new"];
            let integer = |name: &str| i32::try_from(row[name].as_i64().unwrap()).unwrap();
            self.changes.push((row["tx"].as_i64().unwrap(), integer("k"), integer("v")));
        }
    }
}

fn listen(database: &Database) -> Reader {
    let mut reader = database.reader();
    reader.client.batch_execute("listen realtime_worker").unwrap();
    reader
}

/// Reads until everything was written and read. It sleeps only when told to, and then only a notification wakes it.
fn read(database: &Database, finished: &AtomicBool) -> Tenant {
    let (mut tenant, mut random) = (Tenant::default(), Random(99));
    let mut reader = listen(database);
    loop {
        let answer = reader.take(MAX_CHANGES);
        tenant.figures.takes += 1;
        if answer["batch"].is_i64() {
            // It crashes before it publishes, or after it published and before it confirms; always with the first
            // batch, however few there are.
            let dies = if tenant.figures.deaths == 0 { 1 } else { random.below(20) };
            if dies != 0 {
                tenant.publish(&answer);
            }
            if dies <= 1 {
                tenant.figures.deaths += 1;
                reader = listen(database);
            }
        } else if answer["next"] == "poll" {
            tenant.figures.polled += 1;
            thread::sleep(Duration::from_millis(10));
        } else {
            tenant.figures.slept += 1;
            let woken = reader.client.notifications().timeout_iter(Duration::from_secs(3)).next().unwrap();
            if woken.is_none() && finished.load(Ordering::Relaxed) {
                let missed: i64 =
                    database.owner().query_one("select count(*) from realtime_worker.changes", &[]).unwrap().get(0);
                assert_eq!(missed, 0, "changes came while the reader slept, and nobody knocked");
                return tenant;
            }
        }
    }
}

#[test]
fn every_change_comes_once_and_in_order() {
    let seconds: u64 = std::env::var("ORDER_SECONDS").map_or(8, |seconds| seconds.parse().unwrap());
    let database = Server::shared().database();
    database
        .owner()
        .batch_execute(
            "create table versions (k int primary key, v int not null, tx bigint); insert into versions select i, 0 from generate_series(0, 39) i;
             select realtime_worker.enable_realtime('public', 'versions')",
        )
        .unwrap();
    let (stop, finished, committed) = (AtomicBool::new(false), AtomicBool::new(false), Committed::default());
    let tenant = thread::scope(|scope| {
        let (database, stop, finished, committed) = (&database, &stop, &finished, &committed);
        let writers: Vec<_> =
            (0..WRITERS).map(|number| scope.spawn(move || writer(database, number, stop, committed))).collect();
        let reader = scope.spawn(move || read(database, finished));
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(seconds) {
            thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        finished.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    check(&tenant, &committed.into_inner().unwrap());
}

fn check(tenant: &Tenant, committed: &[(i64, Vec<(i32, i32)>)]) {
    let mut expected: Vec<_> =
        committed.iter().flat_map(|(id, rows)| rows.iter().map(move |(key, version)| (*id, *key, *version))).collect();
    let mut got = tenant.changes.clone();
    println!("{} transactions, {} changes, {:?}", committed.len(), expected.len(), tenant.figures);
    expected.sort_unstable();
    got.sort_unstable();
    assert_eq!(got, expected, "each change once, and none of what was rolled back");
    let mut versions = BTreeMap::new();
    let (mut finished, mut current) = (BTreeSet::new(), 0);
    for (transaction, key, version) in &tenant.changes {
        let before = versions.insert(key, *version).unwrap_or(0);
        assert_eq!(*version, before + 1, "the versions of row {key}");
        if current != *transaction {
            finished.insert(current);
            assert!(!finished.contains(transaction), "transaction {transaction} was torn apart");
            current = *transaction;
        }
    }
    assert!(tenant.figures.deaths > 0 && tenant.figures.repeated > 0, "a test that kills nobody");
}
