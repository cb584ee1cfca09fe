//! `cargo xtask test`: runs and counts every check and test. A failure does not stop the rest.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, anyhow, ensure};

use crate::project::{Project, progress, run};
use crate::tally::Tally;
use crate::tools::WASM;
use crate::{audit, build, node, set_up, tools};

/// The packages that run in a Worker.
const WASM_PACKAGES: &str =
    "--package realtime-worker --package realtime-worker-client --package realtime-worker-api-example";
/// A separate workspace, which no other check compiles.
const FUZZ: &str = "tests/fuzz/Cargo.toml";

/// Runs everything; with a filter, only the tests whose name matches. The last line of output is the tally.
pub fn test(project: &Project, arguments: &[String]) -> Result<ExitCode> {
    ensure!(arguments.len() <= 1, "test takes one filter");
    let filter = arguments.first().map(String::as_str);
    let mut report = Report::default();
    let ready =
        tools::install_linters(project).and_then(|()| set_up(project)).and_then(|()| node::install_sdk(project));
    match ready {
        Ok(()) => run_all(project, filter, &mut report),
        Err(error) => report.add("set-up", Err(error)),
    }
    Ok(report.finish())
}

fn run_all(project: &Project, filter: Option<&str>, report: &mut Report) {
    if filter.is_none() {
        for (name, mut command) in checks(project) {
            progress(name);
            report.check(name, run(&mut command));
        }
        if let Some(result) = audit::audit(project) {
            report.check("cargo deny", result);
        }
    }
    progress("cargo test");
    let rust = rust_tests(project, filter);
    progress("build");
    let built = build::build(project);
    progress("SDK build");
    let sdk = node::build_sdk(project).and_then(|()| build::build_example(project));
    let specs = match built.as_ref().and(sdk.as_ref()) {
        Ok(()) => {
            progress("specs");
            specs(project, filter)
        }
        Err(_) => Err(anyhow!("not run, because a build failed")),
    };
    report.check("build", built);
    report.check("SDK build", sdk);
    report.tests([("cargo test", rust), ("specs", specs)], filter.is_some());
}

/// The checks that either pass or fail as a whole.
fn checks(project: &Project) -> Vec<(&'static str, Command)> {
    let cargo = |arguments: &str| {
        let mut command = project.cargo();
        command.args(arguments.split(' '));
        command
    };
    let mut checks = vec![
        ("cargo fmt", cargo("fmt --all --check")),
        ("cargo clippy", cargo("clippy --workspace --all-targets -- -D warnings")),
        // `worker` is a dependency of the Wasm build only, so the native run never sees the shell.
        ("cargo clippy for Wasm", cargo(&format!("clippy --target {WASM} {WASM_PACKAGES} -- -D warnings"))),
    ];
    if project.root.join(FUZZ).exists() {
        let command = cargo(&format!("check --manifest-path {FUZZ}"));
        checks.push(("cargo check of the fuzz targets", command));
    }
    checks
}

/// The Rust tests. Their output is passed on while it is counted.
fn rust_tests(project: &Project, filter: Option<&str>) -> Result<Tally> {
    let mut child =
        project.cargo().args(["test", "--workspace", "--no-fail-fast"]).args(filter).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("the output is piped")?;
    let mut tally = Tally::default();
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        if let Some(counts) = Tally::of_cargo_line(&line) {
            tally += counts;
        }
    }
    Ok(count_crash(tally, child.wait()?.success()))
}

/// The specs on workerd. Node reports to the terminal, and to a file that is counted.
fn specs(project: &Project, filter: Option<&str>) -> Result<Tally> {
    let tap = project.target.join("specs.tap");
    let mut command = node::node(project);
    command
        .arg("--test")
        .args(["--test-reporter=spec", "--test-reporter-destination=stdout"])
        .arg("--test-reporter=tap")
        .arg(format!("--test-reporter-destination={}", tap.display()))
        // A test that hangs fails instead of blocking, and so does one that leaves something open.
        .args(["--test-timeout=300000", "--test-force-exit"]);
    if let Some(filter) = filter {
        command.arg(format!("--test-name-pattern={filter}"));
    }
    // Node may fail before it writes its own report.
    let _ = fs::remove_file(&tap);
    let status = command.args(["miniflare/**/*.spec.mjs", "sdk/specs/**/*.spec.mjs"]).status()?;
    let report = fs::read_to_string(&tap).with_context(|| tap.display().to_string())?;
    let tally = Tally::of_tap(&report).context("Node's report has no counts")?;
    Ok(count_crash(tally, status.success()))
}

/// A run that failed without a failed test (it did not compile, or crashed) also counts as a failure.
fn count_crash(mut tally: Tally, success: bool) -> Tally {
    if !success && tally.failed == 0 {
        tally += Tally::FAILED;
    }
    tally
}

/// The results of everything that ran.
#[derive(Default)]
struct Report {
    tally: Tally,
    failures: Vec<String>,
}

impl Report {
    /// Adds a check that passed or failed.
    fn check(&mut self, name: &str, result: Result<()>) {
        self.add(name, result.map(|()| Tally::PASSED));
    }

    /// Adds sections of tests. A section in which no test ran has not tested anything; that is an error, unless a
    /// filter was given and matched elsewhere.
    fn tests<const N: usize>(&mut self, sections: [(&str, Result<Tally>); N], filtered: bool) {
        let ran_none = |section: &Result<Tally>| matches!(section, Ok(tally) if tally.is_empty());
        let excused = filtered && !sections.iter().all(|(_, section)| ran_none(section));
        for (name, section) in sections {
            if ran_none(&section) && !excused {
                self.add(name, Err(anyhow!("no test ran")));
            } else {
                self.add(name, section);
            }
        }
    }

    fn add(&mut self, name: &str, result: Result<Tally>) {
        match result {
            Ok(tally) => {
                if tally.failed > 0 {
                    self.failures.push(format!("{name}: {tally}"));
                }
                self.tally += tally;
            }
            Err(error) => {
                self.failures.push(format!("{name}: {error:#}"));
                self.tally += Tally::FAILED;
            }
        }
    }

    /// Prints the failures and the tally.
    fn finish(self) -> ExitCode {
        for failure in &self.failures {
            progress(&format!("FAILED {failure}"));
        }
        println!("{}", self.tally);
        match self.tally.failed {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}
