//! Starting and stopping a server.

use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use postgres::{Client, NoTls};
use realtime_worker_database as database;

/// The reader is given more time than usual, because machines that run tests are busy. The roles are Supabase's, two of
/// which one inherits from the other, and a plain owner of databases.
const ROLES: &str = "
    create role app_owner login password 'owner';
    create role anon; create role authenticated; create role authenticated_login login; grant authenticated to authenticated_login;
    create role service_role bypassrls; create role staff; create role clerk;
    grant staff to clerk;
    create role realtime_worker_reader login password 'reader';
    alter role realtime_worker_reader set statement_timeout = '1min';
    grant anon, authenticated, service_role, staff, clerk to realtime_worker_reader;";

/// The functions that policies call, as Supabase defines them.
const AUTH: &str = "
    create schema auth; grant usage on schema auth to public;
    create function auth.uid() returns uuid language sql stable as
        $$ select nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $$;
    create function auth.jwt() returns jsonb language sql stable as
        $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;";

/// Runs the server, and ends it and its folder as soon as its own input closes, which happens even if the tests are
/// killed.
const WATCHDOG: &str = "\"$1\" -D \"$2/data\" >>\"$2/log\" 2>&1 & server=$!
    cat >/dev/null; kill -INT $server; wait $server; rm -rf \"$2\"";

/// A server that runs until it is dropped.
pub struct Server {
    folder: PathBuf,
    port: u16,
    watchdog: Child,
}

/// A database of a server, in which the SQL is installed by its plain owner.
pub struct Database {
    /// Its name.
    pub name: String,
    folder: PathBuf,
    /// The port on 127.0.0.1, which requires passwords.
    pub port: u16,
}

impl Server {
    /// The server that the tests of one program share.
    pub fn shared() -> &'static Self {
        static SERVER: LazyLock<Server> = LazyLock::new(|| Server::start(&["fsync=off"]));
        &SERVER
    }

    /// Starts a server with settings (`name=value`).
    ///
    /// # Panics
    /// When PostgreSQL is not installed, or does not start; the message contains its log.
    #[must_use]
    pub fn start(settings: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("realtime-postgres-{}-{count}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        if let Some((user, group)) = other_user() {
            chown(&folder, Some(user), Some(group)).unwrap();
        }
        let initdb = program("initdb")
            .args([
                "--no-sync",
                "--username=postgres",
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
                "--encoding=UTF8",
            ])
            .args(["--locale=C.UTF-8", "-D"])
            .arg(folder.join("data"))
            .output()
            .unwrap();
        assert!(initdb.status.success(), "initdb: {}", String::from_utf8_lossy(&initdb.stderr));
        let port = free_port();
        configure(&folder, port, settings);
        let watchdog = as_server(Command::new("sh"))
            .args(["-c", WATCHDOG, "sh"])
            .arg(binaries().join("postgres"))
            .arg(&folder)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let server = Self { folder, port, watchdog };
        server.wait().batch_execute(ROLES).unwrap();
        server
    }

    /// A fresh database with the SQL installed.
    #[must_use]
    pub fn database(&self) -> Database {
        let database = self.empty_database();
        database::install(&mut database.owner()).unwrap();
        database.owner().batch_execute(AUTH).unwrap();
        database
    }

    /// A fresh, empty database of `app_owner`.
    #[must_use]
    pub fn empty_database(&self) -> Database {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("app_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.connect("postgres", "postgres").batch_execute(&format!("create database {name} owner app_owner")).unwrap();
        Database { name, folder: self.folder.clone(), port: self.port }
    }

    /// Connects without a password, over the socket.
    #[must_use]
    pub fn connect(&self, database: &str, user: &str) -> Client {
        connect(&self.folder, self.port, database, user).unwrap()
    }

    /// Dumps one database and restores it into another, as an operator does.
    ///
    /// # Panics
    /// When either program fails.
    pub fn copy(&self, from: &Database, to: &Database) {
        let copy = "\"$1/pg_dump\" -h \"$2\" -p $3 -U postgres $4 >\"$2/dump.sql\"
            \"$1/psql\" -q -h \"$2\" -p $3 -U postgres -d $5 -v ON_ERROR_STOP=1 -f \"$2/dump.sql\"";
        let output = as_server(Command::new("sh"))
            .args(["-e", "-c", copy, "sh"])
            .arg(binaries())
            .arg(&self.folder)
            .args([&self.port.to_string(), &from.name, &to.name])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The first connection of the superuser, as soon as the server accepts one.
    fn wait(&self) -> Client {
        let started = Instant::now();
        loop {
            match connect(&self.folder, self.port, "postgres", "postgres") {
                Ok(client) => return client,
                // There is no event to await: the server just starts to listen.
                Err(_) if started.elapsed() < Duration::from_secs(30) => thread::sleep(Duration::from_millis(20)),
                Err(error) => panic!("{error}: {}", fs::read_to_string(self.folder.join("log")).unwrap_or_default()),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

impl Database {
    /// Connects without a password, over the socket.
    #[must_use]
    pub fn connect(&self, user: &str) -> Client {
        connect(&self.folder, self.port, &self.name, user).unwrap()
    }

    /// Connects as the owner of the database.
    #[must_use]
    pub fn owner(&self) -> Client {
        self.connect("app_owner")
    }

    /// Connects as the Worker does.
    #[must_use]
    pub fn reader(&self) -> crate::Reader {
        crate::Reader::new(self.connect(database::READER))
    }

    /// The URL with a password, over TCP.
    #[must_use]
    pub fn url(&self, user: &str, password: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/{}?sslmode=disable", self.port, self.name)
    }
}

fn connect(folder: &Path, port: u16, database: &str, user: &str) -> Result<Client, postgres::Error> {
    postgres::Config::new().host_path(folder).port(port).dbname(database).user(user).connect(NoTls)
}

fn configure(folder: &Path, port: u16, settings: &[&str]) {
    let file = folder.join("data/postgresql.conf");
    let mut text = fs::read_to_string(&file).unwrap();
    text += &format!(
        "\nlisten_addresses='127.0.0.1'\nport={port}\nunix_socket_directories='{}'\nmax_connections=60\nshared_buffers=64MB\n",
        folder.display()
    );
    text.extend(settings.iter().flat_map(|setting| [*setting, "\n"]));
    fs::write(file, text).unwrap();
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn program(name: &str) -> Command {
    as_server(Command::new(binaries().join(name)))
}

/// PostgreSQL refuses to run as root.
fn as_server(mut command: Command) -> Command {
    if let Some((user, group)) = other_user() {
        command.uid(user).gid(group);
    }
    // The folder of the tests may be inaccessible to the other user.
    command.current_dir("/");
    command
}

/// The user that runs the server if the tests run as root.
fn other_user() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    root.then(|| {
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let find = |name: &str| users.lines().find(|line| line.split(':').next() == Some(name)).map(str::to_owned);
        let line = find("postgres").or_else(|| find("nobody")).expect("a user other than root to run PostgreSQL as");
        let ids: Vec<u32> = line.split(':').skip(2).take(2).map(|id| id.parse().unwrap()).collect();
        (ids[0], ids[1])
    })
}

/// The folder of the server's programs: `POSTGRES_BIN`, or Debian's newest.
fn binaries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        if let Some(folder) = env::var_os("POSTGRES_BIN") {
            return folder.into();
        }
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let newest = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max();
        let newest = newest.expect(
            "PostgreSQL is not installed, and these tests need a server: `apt-get install postgresql`, or set POSTGRES_BIN to \
             the folder of its `initdb` and `postgres`",
        );
        format!("/usr/lib/postgresql/{newest}/bin").into()
    })
}
