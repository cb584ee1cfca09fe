//! A connection to a PostgreSQL database, over the runtime's sockets.

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;
use std::str::FromStr;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::stream::poll_fn;
use js_sys::futures::spawn_local;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::TlsConnect;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};
use worker::postgres_tls::PassthroughTls;
use worker::{Env, SecureTransport, Socket};

use super::environment::variable;
use super::fault::log_fault;
use crate::server::fault::Fault;
use crate::source::link::Problem;
use crate::source::statement::Statement;
use crate::source::url;

/// The channel on which the database sends notifications.
const LISTEN: &str = "LISTEN realtime_worker";

/// An event of the connection that does not answer a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// A notification.
    Knock,
    /// The connection has closed.
    End,
}

/// An open connection.
pub struct DatabaseConnection {
    client: Client,
    /// Whether notifications arrive on it.
    pub listens: bool,
}

/// The runtime's TLS, which records that the handshake has begun.
struct Tls {
    has_begun: Rc<Cell<bool>>,
}

impl TlsConnect<Socket> for Tls {
    type Stream = <PassthroughTls as TlsConnect<Socket>>::Stream;
    type Error = <PassthroughTls as TlsConnect<Socket>>::Error;
    type Future = <PassthroughTls as TlsConnect<Socket>>::Future;

    fn connect(self, socket: Socket) -> Self::Future {
        self.has_begun.set(true);
        PassthroughTls.connect(socket)
    }
}

/// Where a database is.
enum Endpoint {
    /// Directly.
    Direct(Box<Config>),
    /// Through a Hyperdrive binding, which does not support `LISTEN`.
    Pooled(worker::Hyperdrive),
}

impl DatabaseConnection {
    /// Connects to the database that the variable or binding of this name points to.
    ///
    /// # Errors
    /// Why there is no connection; the server's own message is logged.
    pub async fn open(
        env: &Env,
        name: &str,
        happening: impl Fn(ConnectionEvent) + 'static,
    ) -> Result<DatabaseConnection, Problem> {
        match address(env, name)? {
            Endpoint::Direct(config) => {
                let client = direct(&config, happening).await?;
                client.batch_execute(LISTEN).await.map_err(failed)?;
                Ok(DatabaseConnection { client, listens: true })
            }
            Endpoint::Pooled(hyperdrive) => {
                let mut config = Config::new();
                config.user(hyperdrive.user()).password(hyperdrive.password()).dbname(hyperdrive.database());
                config.ssl_mode(SslMode::Disable);
                let socket = hyperdrive.connect().map_err(unreachable)?;
                let (client, mut connection) = config.connect_raw(socket, NoTls).await.map_err(failed)?;
                serve(move |context| connection.poll_message(context), happening);
                Ok(DatabaseConnection { client, listens: false })
            }
        }
    }

    /// Runs a statement and returns its text.
    ///
    /// # Errors
    /// Why it failed; the server's own message is logged.
    pub async fn query(&self, statement: &Statement) -> Result<String, Problem> {
        let (text, parameters) = statement.sql();
        let typed: Vec<(&(dyn ToSql + Sync), Type)> =
            parameters.iter().map(|parameter| (parameter as &(dyn ToSql + Sync), Type::TEXT)).collect();
        let rows = self.client.query_typed(text, &typed).await.map_err(failed)?;
        let given = rows.first().and_then(|row| row.try_get::<_, Option<String>>(0).ok()).flatten();
        Ok(given.unwrap_or_else(|| "null".to_owned()))
    }
}

fn address(env: &Env, name: &str) -> Result<Endpoint, Problem> {
    if let Some(url) = variable(env, name).filter(|text| !text.starts_with('{')) {
        let config = Config::from_str(&url::readable(&url)?).map_err(|_| Problem::MalformedUrl)?;
        return Ok(Endpoint::Direct(Box::new(config)));
    }
    env.hyperdrive(name).map(Endpoint::Pooled).map_err(|_| Problem::NoConnection)
}

async fn direct(config: &Config, happening: impl Fn(ConnectionEvent) + 'static) -> Result<Client, Problem> {
    let Some(Host::Tcp(host)) = config.get_hosts().first() else { return Err(Problem::MalformedUrl) };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let is_loopback = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1" | "[::1]");
    let is_plain =
        config.get_ssl_mode() == SslMode::Disable || (is_loopback && config.get_ssl_mode() == SslMode::Prefer);
    if is_plain && !is_loopback {
        return Err(Problem::InsecureUrl);
    }
    let mut config = config.clone();
    config.ssl_mode(if is_plain { SslMode::Disable } else { SslMode::Require });
    let transport = if is_plain { SecureTransport::Off } else { SecureTransport::StartTls };
    let socket = Socket::builder().secure_transport(transport).connect(host.as_str(), port).map_err(unreachable)?;
    if is_plain {
        let (client, mut connection) = config.connect_raw(socket, NoTls).await.map_err(failed)?;
        serve(move |context| connection.poll_message(context), happening);
        return Ok(client);
    }
    let has_begun = Rc::new(Cell::new(false));
    let connected = config.connect_raw(socket, Tls { has_begun: has_begun.clone() }).await;
    let (client, mut connection) = connected.map_err(|error| failed_within(error, has_begun.get()))?;
    serve(move |context| connection.poll_message(context), happening);
    Ok(client)
}

/// Drives a connection until it ends; `poll` returns its next message.
fn serve(
    poll: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<AsyncMessage, tokio_postgres::Error>>> + Unpin + 'static,
    happening: impl Fn(ConnectionEvent) + 'static,
) {
    spawn_local(async move {
        let mut messages = poll_fn(poll);
        while let Some(message) = messages.next().await {
            match message {
                Ok(AsyncMessage::Notification(_)) => happening(ConnectionEvent::Knock),
                Ok(_) => {}
                Err(error) => {
                    log_fault(fault(&error));
                    break;
                }
            }
        }
        happening(ConnectionEvent::End);
    });
}

fn failed(error: tokio_postgres::Error) -> Problem {
    failed_within(error, false)
}

/// Classifies a failure by whether TLS had begun.
fn failed_within(error: tokio_postgres::Error, has_begun_tls: bool) -> Problem {
    log_fault(fault(&error));
    match error.code() {
        Some(state) => Problem::of_sqlstate(state.code()),
        None => Problem::of_transport(&words(&error), has_begun_tls),
    }
}

fn unreachable(error: worker::Error) -> Problem {
    log_fault(Fault::from(error).during("connecting to the database"));
    Problem::Unreachable
}

fn fault(error: &tokio_postgres::Error) -> Fault {
    Fault::new(words(error)).during("database")
}

/// The server's message with its code, never with a row's values; for a broken connection, the runtime's message.
fn words(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        // A data exception (class 22) quotes the value that a policy could not read.
        (Some(error), _) if error.code().code().starts_with("22") => {
            format!("data exception ({})", error.code().code())
        }
        (Some(error), _) => format!("{} ({})", error.message(), error.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}
