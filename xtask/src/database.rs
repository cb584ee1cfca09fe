//! `cargo xtask database`: installs the SQL of the PostgreSQL source in your database.
//!
//! A separate program does it, so that building the Worker does not compile a PostgreSQL client.

use std::process::ExitCode;

use anyhow::Result;

use crate::project::{Project, become_command};

/// Replaces this process with that program. The URL has a password, which everyone on the machine could read on a
/// command line, so it is passed in the environment.
pub fn run(project: &Project, arguments: &[String]) -> Result<ExitCode> {
    let mut command = project.cargo();
    command.args(["run", "--package", "realtime-worker-database", "--"]);
    let (url, others) = take("--url", arguments);
    if let Some(url) = url {
        command.env("DATABASE_URL", url);
    }
    become_command(command.args(others))
}

/// The value of an option, and the other arguments. An option without a value stays among them, and the program rejects
/// it.
pub fn take<'a>(option: &str, arguments: &'a [String]) -> (Option<&'a String>, Vec<&'a String>) {
    match arguments.windows(2).position(|pair| matches!(pair, [name, _] if name == option)) {
        Some(place) => {
            let others = arguments.iter().enumerate().filter(|(at, _)| *at != place && *at != place + 1);
            (arguments.get(place + 1), others.map(|(_, argument)| argument).collect())
        }
        None => (None, arguments.iter().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_no_argument_of_the_program() {
        let arguments = ["install", "--url", "postgres://u:secret@h/d", "--roles", "anon"].map(str::to_owned);
        let (url, others) = take("--url", &arguments);
        assert_eq!(url.map(String::as_str), Some("postgres://u:secret@h/d"));
        assert_eq!(others, ["install", "--roles", "anon"]);
        assert_eq!(take("--url", &["status".to_owned(), "--url".to_owned()]).1.len(), 2);
    }
}
