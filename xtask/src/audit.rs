//! `cargo deny`, if it is installed. Advisories need a database that not every machine can reach.

use std::process::Command;

use anyhow::Result;

use crate::project::{Project, progress, run, succeeds};

/// Checks the dependencies against `deny.toml`, as far as this machine can; does nothing if `cargo deny` is missing.
pub fn audit(project: &Project) -> Option<Result<()>> {
    if !succeeds(deny(project).arg("--version")) {
        progress("cargo deny: skipped, not installed; advisories are not checked");
        return None;
    }
    let reachable = succeeds(deny(project).args(["fetch", "db"]));
    if !reachable {
        progress("cargo deny: the advisories cannot be had and are not checked");
    }
    progress("cargo deny");
    Some(run(deny(project).arg("check").args(subjects(reachable))))
}

fn deny(project: &Project) -> Command {
    let mut command = project.cargo();
    command.arg("deny");
    command
}

/// The checks to run, with advisories or without.
fn subjects(advisories: bool) -> &'static [&'static str] {
    if advisories { &["advisories", "bans", "licenses", "sources"] } else { &["bans", "licenses", "sources"] }
}
