//! Installing, upgrading and removing the SQL, and what each user may do.

use std::thread;

use realtime_worker_database::{self as database, VERSIONS};
use realtime_worker_postgres_tests::{Client, Group, Server};
use serde_json::{Value, json};

fn newest() -> i32 {
    i32::try_from(VERSIONS.len()).unwrap()
}

/// Everything in a database: relations, functions, schemas, triggers, default privileges.
fn inventory(client: &mut Client) -> Vec<String> {
    let sql = "
        select 'relation ' || oid::regclass from pg_class where relnamespace::regnamespace::text !~ '^pg_|information_schema'
        union all select 'function ' || oid::regprocedure from pg_proc where pronamespace::regnamespace::text !~ '^pg_|information_schema'
        union all select 'schema ' || nspname from pg_namespace where nspname !~ '^pg_|information_schema'
        union all select 'trigger ' || tgname from pg_trigger
        union all select 'default ' || defaclacl::text from pg_default_acl
        union all select 'rights ' || nspname || nspacl::text from pg_namespace where nspname = 'public'
        order by 1";
    client.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

#[test]
fn a_plain_owner_installs_once_and_removes_everything() {
    // A separate server, because the role that is removed belongs to the server.
    let server = Server::start(&["fsync=off"]);
    let database = server.empty_database();
    let mut owner = database.owner();
    owner.batch_execute("create table t (id int primary key)").unwrap();
    let before = inventory(&mut owner);
    let first = database::install(&mut owner).unwrap();
    assert_eq!((first.from, first.to, first.warnings.len()), (0, newest(), 0));
    owner.batch_execute("select enable_realtime('public', 't'); insert into t values (1)").unwrap();
    let mut reader = database.reader();
    reader.register(&[Group::role("authenticated")], &[("public", "t")]);
    assert_eq!(reader.changes().len(), 1);
    let again = database::install(&mut owner).unwrap();
    assert_eq!((again.from, again.to), (newest(), newest()));
    drop(reader);
    database::uninstall(&mut server.connect(&database.name, "postgres")).unwrap();
    assert_eq!(inventory(&mut owner), before);
    let roles = "select count(*) from pg_roles where rolname = 'realtime_worker_reader'";
    assert_eq!(owner.query_one(roles, &[]).unwrap().get::<_, i64>(0), 0);
    database::uninstall(&mut owner).unwrap();
    // Without the right to create the role, the installation is complete except for it, and says so.
    let bare = database::install(&mut owner).unwrap();
    assert!(bare.warnings[0].contains("create role realtime_worker_reader login"), "{bare:?}");
    let status: Value = serde_json::from_str(&database::status(&mut owner).unwrap()).unwrap();
    assert_eq!(status["warnings"][0], "reader_role_missing");
    server.connect("postgres", "postgres").batch_execute("create role realtime_worker_reader login").unwrap();
    database::install(&mut owner).unwrap();
    assert_eq!(database.reader().take(1)["next"], "sleep");
}

#[test]
fn an_owner_who_may_create_roles_gets_the_reader() {
    let server = Server::start(&["fsync=off"]);
    let database = server.empty_database();
    let mut admin = server.connect("postgres", "postgres");
    admin.batch_execute("drop role realtime_worker_reader; alter role app_owner createrole; grant anon, authenticated to app_owner with admin option").unwrap();
    let mut owner = database.owner();
    assert_eq!(database::install(&mut owner).unwrap().warnings, [] as [&str; 0]);
    database::grant_roles(&mut owner, &["anon", "authenticated"]).unwrap();
    database::set_reader_password(&mut owner, "it's \"secret\"").unwrap();
    let mut reader =
        database::connect(&database.url("realtime_worker_reader", "it's%20%22x"), None).map(|_| ()).unwrap_err();
    assert!(reader.to_string().contains("refuses the user"), "{reader}");
    let mut client = database::connect(&database.url("realtime_worker_reader", "it's%20%22secret%22"), None).unwrap();
    let timeout: String = client.query_one("show statement_timeout", &[]).unwrap().get(0);
    assert_eq!(timeout, "4s");
    client.batch_execute("set role authenticated").unwrap();
    // The server has the verifier but not the password.
    let stored: String = admin
        .query_one("select rolpassword from pg_authid where rolname = 'realtime_worker_reader'", &[])
        .unwrap()
        .get(0);
    assert!(stored.starts_with("SCRAM-SHA-256$"));
    reader = database::grant_roles(&mut owner, &["no_such_role"]).unwrap_err();
    assert!(format!("{reader:#}").contains("no_such_role"), "{reader:#}");
}

#[test]
fn every_older_version_is_upgraded_with_what_it_holds() {
    for version in 1..VERSIONS.len() {
        let database = Server::shared().empty_database();
        let mut owner = database.owner();
        let old = database::install_up_to(&mut owner, version).unwrap();
        assert_eq!(usize::try_from(old.to).unwrap(), version);
        owner.batch_execute("insert into realtime_worker.changes (operation, rel, new, bytes) values ('INSERT', 'pg_class', '{}', 2)").unwrap();
        let done = database::install(&mut owner).unwrap();
        assert_eq!((usize::try_from(done.from).unwrap(), done.to), (version, newest()));
        assert_eq!(database.reader().changes().len(), 1, "from version {version}");
    }
}

#[test]
fn a_dump_that_is_restored_goes_on_in_a_new_epoch() {
    let (database, restored) = (Server::shared().database(), Server::shared().empty_database());
    let mut owner = database.owner();
    owner
        .batch_execute(
            "create table t (id int primary key); grant select on t to authenticated; select realtime_worker.enable_realtime('public', 't');
             insert into t values (1)",
        )
        .unwrap();
    let mut reader = database.reader();
    reader.register(&[Group::role("authenticated")], &[("public", "t")]);
    let before = reader.take(256);
    Server::shared().copy(&database, &restored);
    restored.owner().batch_execute("insert into t values (2)").unwrap();
    let mut reader = restored.reader();
    let status: Value = reader.client.query_one("select realtime_worker.status()", &[]).unwrap().get(0);
    assert_eq!(status["tables"][0]["drift"], false);
    let after = reader.take(256);
    assert_ne!(before["system"], after["system"]);
    assert_eq!(reader.changes()[0].sees_new(), ["authenticated"], "tables are found by name, and judges made anew");
}

#[test]
fn two_installations_at_once_are_one() {
    let database = Server::shared().empty_database();
    let from: Vec<i32> = thread::scope(|scope| {
        let install = || database::install(&mut database.owner()).unwrap().from;
        let all: Vec<_> = (0..4).map(|_| scope.spawn(install)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(from.iter().filter(|from| **from == 0).count(), 1);
    assert_eq!(from.iter().filter(|from| **from == newest()).count(), 3);
}

#[test]
fn a_failed_installation_leaves_nothing() {
    let database = Server::shared().empty_database();
    let mut owner = database.owner();
    owner.batch_execute("create schema realtime_worker; create table realtime_worker.mine (v int)").unwrap();
    let before = inventory(&mut owner);
    let error = database::install(&mut owner).unwrap_err();
    assert!(format!("{error:#}").contains("is not an installation"), "{error:#}");
    assert_eq!(inventory(&mut owner), before);
    let mut stranger = database.connect("authenticated_login");
    let error = database::install(&mut stranger).unwrap_err();
    assert!(format!("{error:#}").contains("not an installation, or not yours"), "{error:#}");
}

#[test]
fn a_newer_version_is_not_touched() {
    let database = Server::shared().database();
    let mut owner = database.owner();
    owner.batch_execute("insert into realtime_worker.version values (999, 'of the future')").unwrap();
    let error = database::install(&mut owner).unwrap_err();
    assert!(error.to_string().contains("update the program"), "{error}");
}

#[test]
fn supabases_own_schema_is_left_alone() {
    let database = Server::shared().empty_database();
    let mut owner = database.owner();
    owner
        .batch_execute(
            "create schema realtime; create table realtime.messages (topic text, extension text, inserted_at timestamp default '2000-01-01');
             insert into realtime.messages values ('t', 'broadcast'); create function enable_realtime(text, text) returns int language sql as 'select 7'",
        )
        .unwrap();
    database::install(&mut owner).unwrap();
    owner.batch_execute("update realtime_worker.reader set tidied_at = '-infinity'").unwrap();
    database.reader().take(1);
    database::uninstall(&mut owner).unwrap();
    assert_eq!(owner.query_one("select count(*) from realtime.messages", &[]).unwrap().get::<_, i64>(0), 1);
    assert_eq!(owner.query_one("select enable_realtime('a', 'b')", &[]).unwrap().get::<_, i32>(0), 7);
}

/// The SQLSTATE with which a statement is refused.
fn refused(client: &mut Client, sql: &str) -> String {
    let error = client.batch_execute(sql).expect_err(sql);
    error.code().unwrap_or_else(|| panic!("{sql}: {error}")).code().to_owned()
}

#[test]
fn the_reader_may_call_what_it_needs_and_nothing_else() {
    let database = Server::shared().database();
    let mut owner = database.owner();
    owner
        .batch_execute(
            "create table secret (id int primary key, body text); alter table secret enable row level security;
             select realtime_worker.enable_realtime('public', 'secret')",
        )
        .unwrap();
    let mut reader = database.connect("realtime_worker_reader");
    for table in [
        "changes", "batches", "tables", "disabled", "reader", "groups", "interest", "judges", "failures", "timeouts",
        "version",
    ] {
        assert_eq!(refused(&mut reader, &format!("select from realtime_worker.{table}")), "42501");
        assert_eq!(refused(&mut reader, &format!("delete from realtime_worker.{table}")), "42501");
    }
    for call in [
        "enable_realtime('public', 'secret')",
        "disable_realtime('public', 'secret')",
        "capture_table('public', 'secret', null, null, null, 'call')",
        "grant_reader()",
        "grant_to_reader('usage on schema public')",
        "drop_triggers('secret')",
        "fix_batch(1)",
        "note_reader()",
    ] {
        assert_eq!(refused(&mut reader, &format!("select realtime_worker.{call}")), "42501", "{call}");
    }
    assert_eq!(refused(&mut reader, "select from secret"), "42501");
    assert_eq!(refused(&mut reader, "create table realtime_worker.mine ()"), "42501");
    for role in ["app_owner", "postgres"] {
        assert_eq!(refused(&mut reader, &format!("set role {role}")), "42501");
    }
    database::allow_control_plane(&mut owner, true).unwrap();
    database::install(&mut owner).unwrap();
    reader.batch_execute("select realtime_worker.disable_realtime('public', 'secret')").unwrap();
    database::allow_control_plane(&mut owner, false).unwrap();
    assert_eq!(refused(&mut reader, "select realtime_worker.enable_realtime('public', 'secret')"), "42501");
    let mut other = database.connect("authenticated_login");
    for call in ["take(null, 1)", "status()", "judge('{}')", "next_batch(null, 1)", "register('{}')"] {
        assert_eq!(refused(&mut other, &format!("select realtime_worker.{call}")), "42501", "{call}");
    }
}

#[test]
fn a_writer_needs_no_rights_of_its_own() {
    let database = Server::shared().database();
    let mut owner = database.owner();
    owner
        .batch_execute(
            "create table t (id int primary key); grant insert on t to authenticated; select realtime_worker.enable_realtime('public', 't')",
        )
        .unwrap();
    let mut writer = database.connect("authenticated_login");
    writer.batch_execute("insert into t values (1)").unwrap();
    assert_eq!(database.reader().changes().len(), 1);
    assert_eq!(refused(&mut writer, "select from realtime_worker.changes"), "42501");
}

#[test]
fn capture_stops_when_no_reader_comes_and_says_so() {
    let database = Server::shared().database();
    let (mut owner, mut reader) = (database.owner(), database.reader());
    let mut told = || {
        let status: Value = owner.query_one("select realtime_worker.status()", &[]).unwrap().get(0);
        (
            status["capture"].as_str().unwrap().to_owned(),
            status["warnings"].to_string().contains("capture_stopped"),
            status["system"].clone(),
        )
    };
    let (_, _, epoch) = told();
    assert_eq!(told().0, "active");
    let mut writer = database.owner();
    writer
        .batch_execute(
            "create table t (id int primary key); select realtime_worker.enable_realtime('public', 't'); insert into t values (1);
             update realtime_worker.reader set capture_until = now() - interval '1 minute'; insert into t values (2)",
        )
        .unwrap();
    assert_eq!((told().0.as_str(), told().1), ("stopped", true));
    let batch = reader.batches().remove(0);
    assert_eq!(batch["changes"].as_array().unwrap().len(), 1, "what was captured before still comes");
    assert_ne!(batch["system"], epoch, "a gap begins a new epoch");
    writer.batch_execute("insert into t values (3)").unwrap();
    assert_eq!(reader.changes()[0].change["new"], json!({ "id": 3 }));
    assert_eq!(told().0, "active");
}

#[test]
fn errors_of_a_connection_say_what_to_change() {
    let database = Server::shared().database();
    let error = |url: &str| format!("{:#}", database::connect(url, None).map(|_| ()).unwrap_err());
    assert!(error("mysql://u:secret@h/d").contains("not a PostgreSQL URL"));
    assert!(error("postgres://h/d").contains("names no user"));
    assert!(error("postgres://u:secret@h:port/d").contains("cannot be read"));
    assert!(error(&database.url("app_owner", "wrong")).contains("refuses the user `app_owner` or the password"));
    assert!(error(&database.url("nobody_here", "secret")).contains("refuses the user `nobody_here`"));
    let mut elsewhere = Server::shared().empty_database();
    elsewhere.name = "no_such_database".into();
    assert!(error(&elsewhere.url("app_owner", "owner")).contains("no database `no_such_database`"));
    elsewhere.port = 1;
    assert!(error(&elsewhere.url("app_owner", "secret")).contains("no answer from 127.0.0.1:1"));
    let tls = error(&database.url("app_owner", "owner").replace("disable", "require"));
    assert!(tls.contains("TLS"), "{tls}");
    for url in [database.url("app_owner", "s3cret"), "postgres://u:s3cret@h:port/d".to_owned()] {
        assert!(!error(&url).contains("s3cret"));
    }
    assert!(database::connect(&database.url("app_owner", "owner"), None).is_ok());
    let mut empty = Server::shared().empty_database().owner();
    assert!(database::status(&mut empty).unwrap_err().to_string().contains("database install"));
}
