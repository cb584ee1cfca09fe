//! `cargo xtask database`: installs, describes and removes the SQL of the PostgreSQL source.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use realtime_worker_database as database;

const USAGE: &str = "\
Usage: cargo xtask database install|status|uninstall --url postgres://user:password@host:5432/database

  --url URL        the database, as its owner; without it, the environment variable DATABASE_URL
  --ca FILE        the certificate authority (PEM) of a server whose own is private
  --roles A,B      install: the roles of subscribers, which the reader judges as
  --control-plane yes|no
                   install: whether the Worker may enable and disable tables (no, unless it was allowed before)
  The environment variable READER_PASSWORD is the password that install gives the role realtime_worker_reader.";

/// The command line.
#[derive(Default)]
struct Options {
    url: Option<String>,
    authority: Option<Vec<u8>>,
    roles: Option<String>,
    control_plane: Option<bool>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let Some((action, rest)) = arguments.split_first() else { bail!("{USAGE}") };
    let options = Options::parse(rest)?;
    let command = match action.as_str() {
        "install" => install,
        "status" => status,
        "uninstall" => uninstall,
        unknown => bail!("unknown command `database {unknown}`\n\n{USAGE}"),
    };
    command(&mut options.connect()?, &options)
}

fn install(client: &mut database::Client, options: &Options) -> Result<()> {
    let done = database::install(client)?;
    match (done.from, done.to) {
        (from, to) if from == to => println!("version {to} is installed already; the reader's rights were renewed"),
        (0, to) => println!("installed version {to}"),
        (from, to) => println!("upgraded from version {from} to {to}"),
    }
    for warning in &done.warnings {
        eprintln!("warning: {warning}");
    }
    if let Some(roles) = &options.roles {
        database::grant_roles(client, &database::parse_roles(roles)?)?;
        println!("{} judges as {roles}", database::READER);
    }
    if let Some(allowed) = options.control_plane {
        database::allow_control_plane(client, allowed)?;
        println!("{} may{} enable and disable tables", database::READER, if allowed { "" } else { " not" });
    }
    if let Ok(password) = std::env::var("READER_PASSWORD") {
        database::set_reader_password(client, &password)?;
        println!("{} has the password of READER_PASSWORD", database::READER);
    }
    Ok(())
}

fn status(client: &mut database::Client, _: &Options) -> Result<()> {
    println!("{}", database::status(client)?);
    Ok(())
}

fn uninstall(client: &mut database::Client, _: &Options) -> Result<()> {
    database::uninstall(client)?;
    println!("removed");
    Ok(())
}

fn yes_or_no(value: &str) -> Result<bool> {
    match value {
        "yes" => Ok(true),
        "no" => Ok(false),
        other => bail!("--control-plane is yes or no, not `{other}`"),
    }
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(name) = arguments.next() {
            let value =
                || arguments.clone().next().cloned().with_context(|| format!("{name} takes a value\n\n{USAGE}"));
            match name.as_str() {
                "--url" => options.url = Some(value()?),
                "--ca" => options.authority = Some(fs::read(value()?).context("--ca")?),
                "--roles" => options.roles = Some(value()?),
                "--control-plane" => options.control_plane = Some(yes_or_no(&value()?)?),
                unknown => bail!("unknown argument `{unknown}`\n\n{USAGE}"),
            }
            arguments.next();
        }
        Ok(options)
    }

    fn connect(&self) -> Result<database::Client> {
        let url = self.url.clone().or_else(|| std::env::var("DATABASE_URL").ok());
        let url = url.with_context(|| format!("which database? --url is missing\n\n{USAGE}"))?;
        database::connect(&url, self.authority.as_deref())
    }
}
