//! The project's commands: `cargo xtask dev | token | build | test | bench | simulate | chaos | deploy`.
//!
//! Each installs what it needs, so that a fresh clone requires only Rust and Node.

mod audit;
mod build;
mod database;
mod bundle;
mod node;
mod project;
mod tally;
mod test;
mod tools;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::project::Project;

const USAGE: &str = "\
Usage: cargo xtask <command>

  dev [--port N] [--fresh]   build, and serve on 127.0.0.1:8787; --fresh deletes the stored state
      --postgres             with a local PostgreSQL and a sample table; the server must be installed
      --database-url URL     with the changes of your own database
  token --user U [--roles A,B] [--organization O] [--hours N]
                             print a session token for the Worker that dev serves
  build                      build the Worker into build/
  test [filter]              run every check and test; with a filter, only the tests whose name matches
  database install|status|uninstall --url postgres://…
                             install the SQL of the PostgreSQL source in your database
  bench [arguments]          build, and measure
  simulate [--sockets N] [--relays N] [--steps N] [--interval MS] [--seed N]
                             simulate an organization on many objects, on a virtual clock
  chaos [--events N] [--minutes N] [--other FOLDER]
                             build, and test under continuous failures; --other: alternate with another build
  deploy [arguments]         run wrangler deploy with these arguments";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    match run(&Project::locate(), &command, &arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(project: &Project, command: &str, arguments: &[String]) -> Result<ExitCode> {
    match command {
        "dev" => dev(project, arguments),
        "token" => {
            node::install(project)?;
            project::become_command(node::node(project).arg("miniflare/dev_token.mjs").args(arguments))
        }
        "build" => {
            set_up(project)?;
            build::build(project)?;
            Ok(ExitCode::SUCCESS)
        }
        "test" => test::test(project, arguments),
        "database" => database::run(project, arguments),
        "bench" => serve(project, "miniflare/bench/main.mjs", arguments),
        "simulate" => {
            let package = ["run", "--release", "--quiet", "--package", "realtime-worker-simulation", "--"];
            project::become_command(project.cargo().args(package).args(arguments))
        }
        "chaos" => serve(project, "miniflare/chaos/main.mjs", arguments),
        "deploy" => {
            set_up(project)?;
            project::become_command(node::wrangler(project).arg("deploy").args(arguments))
        }
        "" | "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        unknown => bail!("unknown command `{unknown}`\n\n{USAGE}"),
    }
}

/// Serves the Worker on this machine. As for `database`, the URL is not passed as an argument, which everyone could
/// read.
fn dev(project: &Project, arguments: &[String]) -> Result<ExitCode> {
    set_up(project)?;
    build::build(project)?;
    let mut command = node::node(project);
    let (url, others) = database::take("--database-url", arguments);
    if let Some(url) = url {
        command.env("DEV_DATABASE_URL", url);
    }
    project::become_command(command.arg("miniflare/dev.mjs").args(others))
}

/// Builds the Worker, and replaces this process with a Node script that runs it.
fn serve(project: &Project, script: &str, arguments: &[String]) -> Result<ExitCode> {
    set_up(project)?;
    build::build(project)?;
    project::become_command(node::node(project).arg(script).args(arguments))
}

/// Installs whatever is missing for building and running the Worker.
fn set_up(project: &Project) -> Result<()> {
    let steps = [tools::missing(project), node::missing(project), build::missing(project)];
    project::announce(&steps.into_iter().flatten().collect::<Vec<_>>());
    tools::install(project)?;
    node::install(project)
}
