//! `cargo xtask database`: the SQL of the PostgreSQL source in a database of yours.
//!
//! A program of its own does it, so that whoever builds the Worker does not compile a client of PostgreSQL.

use std::process::ExitCode;

use anyhow::Result;

use crate::project::{Project, become_command};

/// Becomes the program. The URL has a password, which everyone on the machine could read on a command line, so it is handed
/// on in the environment.
pub fn run(project: &Project, arguments: &[String]) -> Result<ExitCode> {
    let mut command = project.cargo();
    command.args(["run", "--package", "realtime-worker-database", "--"]);
    let (url, others) = take("--url", arguments);
    if let Some(url) = url {
        command.env("DATABASE_URL", url);
    }
    become_command(command.args(others))
}

/// The value of an option, and the other arguments. Without a value it stays with them, for the program to refuse.
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
