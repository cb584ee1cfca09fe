//! Connects to a database by its URL, with errors that say what to change and never quote the password.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use postgres::config::{Host, SslMode};
use postgres::error::SqlState;
use postgres::{Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a server has to answer.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Connects to the database of a `postgres://` URL. `authority` is the PEM file of a certificate authority that the
/// operating system does not know, as some providers supply.
///
/// # Errors
/// When the URL is malformed, the server does not answer, its certificate is not trusted, or it refuses the user.
pub fn connect(url: &str, authority: Option<&[u8]>) -> Result<Client> {
    ensure!(
        url.starts_with("postgres://") || url.starts_with("postgresql://"),
        "--url is not a PostgreSQL URL: it has the form postgres://user:password@host:5432/database"
    );
    let mut config: Config =
        url.parse().map_err(|error: postgres::Error| anyhow!("the URL cannot be read: {}", root_cause(&error)))?;
    ensure!(config.get_user().is_some(), "the URL names no user: postgres://user:password@host:5432/database");
    ensure!(!config.get_hosts().is_empty(), "the URL names no host: postgres://user:password@host:5432/database");
    config.connect_timeout(MAX_WAIT).application_name("realtime-worker install");
    // A socket in the file system has no TLS.
    if config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_))) {
        config.ssl_mode(SslMode::Disable);
    }
    config.connect(tls(authority)?).map_err(|error| explain(&error, &config))
}

fn tls(authority: Option<&[u8]>) -> Result<MakeRustlsConnect> {
    let mut trusted = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = authority {
        let certificate = CertificateDer::from_pem_slice(pem).context("the file of --ca is no certificate in PEM")?;
        trusted.add(certificate).context("the certificate of --ca cannot be used")?;
    }
    Ok(MakeRustlsConnect::new(ClientConfig::builder().with_root_certificates(trusted).with_no_client_auth()))
}

/// Why there is no connection, and what to change.
fn explain(error: &postgres::Error, config: &Config) -> anyhow::Error {
    let user = config.get_user().unwrap_or_default();
    let database = config.get_dbname().unwrap_or(user);
    if let Some(code) = error.code() {
        let said = error.as_db_error().map_or("", |refusal| refusal.message());
        return if [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(code) {
            anyhow!("the server refuses the user `{user}` or the password: {said}")
        } else if *code == SqlState::INVALID_CATALOG_NAME {
            anyhow!("there is no database `{database}` on this server")
        } else {
            anyhow!("the server refuses the connection: {said} ({})", code.code())
        };
    }
    let cause = root_cause(error);
    let place = place(config);
    let words = error.to_string();
    if words.contains("password missing") {
        anyhow!("the server asks for a password, and the URL has none")
    } else if words.contains("TLS") {
        anyhow!(
            "no TLS with {place}: {cause}. A private certificate authority is given by --ca FILE; ?sslmode=disable is for loopback"
        )
    } else {
        anyhow!("no answer from {place}: {cause}. Is the server running, and the address right?")
    }
}

fn place(config: &Config) -> String {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    match config.get_hosts().first() {
        Some(Host::Tcp(host)) => format!("{host}:{port}"),
        Some(Host::Unix(path)) => format!("{} (port {port})", path.display()),
        None => "the server".to_owned(),
    }
}

/// The innermost error, which has the actual cause.
fn root_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => root_cause(source),
        None => error.to_string(),
    }
}
