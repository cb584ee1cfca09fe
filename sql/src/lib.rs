//! Installs, upgrades, describes and removes the SQL of `realtime-worker` in a PostgreSQL database.
//!
//! The SQL is in the files beside this crate, one version each. They can be run by hand just as well:
//! `psql --single-transaction -v ON_ERROR_STOP=1 -f sql/001_outbox.sql -f …`.

mod connection;

use anyhow::{Context, Result, bail, ensure};
use postgres::Transaction;
use postgres::error::SqlState;

pub use connection::connect;
pub use postgres::Client;

/// Every version of the SQL, oldest first: version `n` is at index `n - 1`.
pub const VERSIONS: [(&str, &str); 16] = [
    ("001_outbox", include_str!("../001_outbox.sql")),
    ("002_policies", include_str!("../002_policies.sql")),
    ("003_judge", include_str!("../003_judge.sql")),
    ("004_batches", include_str!("../004_batches.sql")),
    ("005_reader", include_str!("../005_reader.sql")),
    ("006_history", include_str!("../006_history.sql")),
    ("007_tables", include_str!("../007_tables.sql")),
    ("008_sync", include_str!("../008_sync.sql")),
    ("009_supabase", include_str!("../009_supabase.sql")),
    ("010_unqualified", include_str!("../010_unqualified.sql")),
    ("011_reader_role", include_str!("../011_reader_role.sql")),
    ("012_claims_once", include_str!("../012_claims_once.sql")),
    ("013_settings_kept", include_str!("../013_settings_kept.sql")),
    ("014_judge_waits", include_str!("../014_judge_waits.sql")),
    ("015_disabled_tables", include_str!("../015_disabled_tables.sql")),
    ("016_unreadable", include_str!("../016_unreadable.sql")),
];

/// Removes everything that an installation created.
const UNINSTALL: &str = include_str!("../uninstall.sql");

/// The role that the Worker connects as.
pub const READER: &str = "realtime_worker_reader";

/// The oldest server with the features that the SQL uses (`NULLS NOT DISTINCT`).
const MIN_SERVER: i32 = 150_000;

/// The result of an installation.
#[derive(Debug, PartialEq, Eq)]
pub struct Installed {
    /// The previous version of the database; 0 if there was none.
    pub from: i32,
    /// Its version now.
    pub to: i32,
    /// The server's warnings.
    pub warnings: Vec<String>,
}

/// Installs what is missing, in one transaction. Concurrent installations wait for each other.
///
/// # Errors
/// When the server is too old, the database has a newer version than this program knows, or a statement fails; nothing
/// is changed then.
pub fn install(client: &mut Client) -> Result<Installed> {
    install_up_to(client, VERSIONS.len())
}

/// Installs the versions up to this one, as an earlier program did.
///
/// # Errors
/// As [`install`].
pub fn install_up_to(client: &mut Client, version: usize) -> Result<Installed> {
    check_server(client)?;
    let mut transaction = client.transaction()?;
    transaction.batch_execute("select pg_catalog.pg_advisory_xact_lock(7261401)")?;
    let from = installed_version(&mut transaction)?;
    let known = i32::try_from(VERSIONS.len())?;
    ensure!(
        from <= known,
        "the database has version {from} of the SQL, and this program knows {known}: update the program"
    );
    for (name, sql) in VERSIONS.iter().take(version).skip(usize::try_from(from)?) {
        transaction
            .batch_execute(sql)
            .map_err(explain)
            .with_context(|| format!("sql/{name}.sql; install as the owner of the database"))?;
    }
    if version == VERSIONS.len() {
        transaction
            .batch_execute("select realtime_worker.grant_reader(), realtime_worker.grant_supabase()")
            .map_err(explain)?;
    }
    let to = installed_version(&mut transaction)?;
    let warnings = if reader_exists(&mut transaction)? { Vec::new() } else { vec![missing_reader()] };
    transaction.commit()?;
    Ok(Installed { from, to, warnings })
}

/// Lets the reader switch to the roles of subscribers, to judge as them.
///
/// # Errors
/// When a role is missing, or the current user may not grant it.
pub fn grant_roles(client: &mut Client, roles: &[&str]) -> Result<()> {
    for role in roles {
        let statement = format!("grant {} to {READER}", quote(role));
        client.batch_execute(&statement).map_err(explain).with_context(|| {
            format!("the reader cannot judge as `{role}`: someone with ADMIN OPTION on that role runs `{statement}`")
        })?;
    }
    Ok(())
}

/// Lets the Worker enable and disable tables, or forbids it.
///
/// # Errors
/// When nothing is installed, or the current user does not own it.
pub fn allow_control_plane(client: &mut Client, allowed: bool) -> Result<()> {
    client.execute("select realtime_worker.allow_control_plane($1)", &[&allowed]).map_err(explain)?;
    Ok(())
}

/// Sets the password of the reader. The server receives its verifier, so no log has the password.
///
/// # Errors
/// When there is no reader, or the current user may not change it.
pub fn set_reader_password(client: &mut Client, password: &str) -> Result<()> {
    let verifier = postgres_protocol::password::scram_sha_256(password.as_bytes());
    let statement = format!("alter role {READER} password '{verifier}'");
    client.batch_execute(&statement).map_err(explain).context("setting the reader's password")
}

/// The result of `realtime_worker.status()`, as JSON.
///
/// # Errors
/// When nothing is installed, or the current user may not call it.
pub fn status(client: &mut Client) -> Result<String> {
    let mut transaction = client.transaction()?;
    let version = installed_version(&mut transaction)?;
    ensure!(version > 0, "realtime-worker is not installed in this database: run `cargo xtask database install`");
    let known = VERSIONS.len();
    ensure!(
        usize::try_from(version)? >= known,
        "version {version} of the SQL is installed, {known} is the newest: run `cargo xtask database install`"
    );
    let row = transaction.query_one("select realtime_worker.status()::text", &[]).map_err(explain)?;
    Ok(row.try_get(0)?)
}

/// Removes everything that an installation created.
///
/// # Errors
/// When the current user does not own it.
pub fn uninstall(client: &mut Client) -> Result<()> {
    let mut transaction = client.transaction()?;
    transaction.batch_execute(UNINSTALL).map_err(explain)?;
    Ok(transaction.commit()?)
}

/// The version that a database has; 0 without an installation.
fn installed_version(transaction: &mut Transaction<'_>) -> Result<i32> {
    // A schema that the user may not use exists all the same.
    let there = "select exists (select from pg_catalog.pg_namespace where nspname = 'realtime_worker')";
    if !transaction.query_one(there, &[])?.try_get::<_, bool>(0)? {
        return Ok(0);
    }
    let newest = "select coalesce(max(number), 0) from realtime_worker.version";
    let row = transaction.query_one(newest, &[]).map_err(explain);
    Ok(row.context("schema realtime_worker is not an installation, or not yours")?.try_get(0)?)
}

fn check_server(client: &mut Client) -> Result<()> {
    let row = client
        .query_one("select current_setting('server_version_num')::int, current_setting('server_version')", &[])?;
    let (number, text): (i32, String) = (row.try_get(0)?, row.try_get(1)?);
    ensure!(number >= MIN_SERVER, "the server is PostgreSQL {text}, and 15 is the oldest that can be used");
    Ok(())
}

fn reader_exists(transaction: &mut Transaction<'_>) -> Result<bool> {
    let sql = "select exists (select from pg_catalog.pg_roles where rolname = $1)";
    Ok(transaction.query_one(sql, &[&READER])?.try_get(0)?)
}

fn missing_reader() -> String {
    format!(
        "the role {READER} is missing, and you may not create it. Have someone who may run\n  \
         create role {READER} login; alter role {READER} set statement_timeout = '4s';\nand then install again"
    )
}

/// An identifier as SQL writes it.
fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The server's error, with what it means here.
fn explain(error: postgres::Error) -> anyhow::Error {
    let Some(database) = error.as_db_error() else { return error.into() };
    let said = database.message().to_owned();
    let code = database.code().code().to_owned();
    if *database.code() == SqlState::INSUFFICIENT_PRIVILEGE {
        return anyhow::anyhow!("missing rights: {said} ({code})");
    }
    anyhow::anyhow!("{said} ({code})")
}

/// Splits a list of roles from the command line.
///
/// # Errors
/// When an entry is empty.
pub fn parse_roles(list: &str) -> Result<Vec<&str>> {
    let roles: Vec<&str> = list.split(',').map(str::trim).collect();
    if roles.iter().any(|role| role.is_empty()) {
        bail!("--roles is a list such as anon,authenticated");
    }
    Ok(roles)
}
