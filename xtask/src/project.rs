//! The project's paths, and running commands in it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::LazyLock;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

/// The checkout and the folders that its commands use.
pub struct Project {
    /// The checkout.
    pub root: PathBuf,
    /// Cargo's target folder. Passed to every child process, because `build` reads the Wasm file that cargo leaves
    /// there.
    pub target: PathBuf,
}

impl Project {
    /// The checkout in which this program was compiled.
    pub fn locate() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ lies in the checkout").to_path_buf();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(target) => root.join(target),
            None => root.join("target"),
        };
        Self { root, target }
    }

    /// A command that runs in the checkout.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        command
    }

    /// The cargo that started this program.
    pub fn cargo(&self) -> Command {
        self.command(std::env::var_os("CARGO").map_or("cargo".into(), PathBuf::from))
    }
}

/// When this program started.
#[expect(clippy::disallowed_methods, reason = "this is no part of the Worker")]
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Prints the current step and the elapsed time.
pub fn progress(message: &str) {
    let seconds = STARTED.elapsed().as_secs();
    eprintln!("xtask {}:{:02} {message}", seconds / 60, seconds % 60);
}

/// Prints at the start which steps will follow.
pub fn announce(steps: &[&str]) {
    LazyLock::force(&STARTED);
    if !steps.is_empty() {
        progress(&format!("{} to do: {}", steps.len(), steps.join("; ")));
    }
}

/// Runs a command to completion; its output goes straight to the terminal.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| name(command))?;
    ensure!(status.success(), "{}: {status}", name(command));
    Ok(())
}

/// Runs a command to completion and returns its output; its errors go straight to the terminal.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| name(command))?;
    ensure!(output.status.success(), "{}: {}", name(command), output.status);
    Ok(output.stdout)
}

/// Whether a command can be started and succeeds; its output is discarded.
pub fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Replaces this process with the command, which then receives Ctrl-C and returns its own exit code. Returns only if it
/// cannot be started.
pub fn become_command(command: &mut Command) -> Result<ExitCode> {
    let error = command.exec();
    bail!("{}: {error}", name(command))
}

fn name(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
