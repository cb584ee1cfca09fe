//! The Node side of the setup: the packages of `miniflare/`, commands that run on the Node among them, and the packages
//! of `sdk/`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::project::{Project, progress, run};

/// Installs the packages of `miniflare/`.
pub fn install(project: &Project) -> Result<()> {
    install_folder(project, "miniflare", "the Node packages (workerd, Node 24, wrangler): about 500 MB")
}

/// The step that [`install`] still has to run, if any.
pub fn missing(project: &Project) -> Option<&'static str> {
    (!is_installed(project, "miniflare")).then_some("the Node packages (500 MB, a minute)")
}

/// Installs the packages of `sdk/`, which only building and testing it require.
pub fn install_sdk(project: &Project) -> Result<()> {
    install_folder(project, "sdk", "the SDK's development packages (TypeScript, React, Vite, Deno, Bun): about 350 MB")
}

/// Builds `sdk/dist/`, which also checks the SDK's types.
pub fn build_sdk(project: &Project) -> Result<()> {
    let compiler = project.root.join("sdk/node_modules/.bin/tsc");
    run(node(project).arg(compiler).args(["--project", "sdk/tsconfig.json"]))
}

/// Installs the packages of a folder's `package-lock.json`, unless they are up to date.
fn install_folder(project: &Project, folder: &str, what: &str) -> Result<()> {
    if is_installed(project, folder) {
        return Ok(());
    }
    progress(&format!("installing {what}, once per clone"));
    let mut command = project.command("npm");
    command
        // The Node that bootstraps may be older than the packages require: they run on the Node that they install.
        .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(project.root.join(folder));
    run(&mut command).context("the Node packages (npm comes with Node, https://nodejs.org)")?;
    let (lock, installed) = locks(project, folder);
    fs::copy(lock, &installed).with_context(|| installed.display().to_string())?;
    Ok(())
}

/// Whether a folder's packages match its lock file.
fn is_installed(project: &Project, folder: &str) -> bool {
    let (lock, installed) = locks(project, folder);
    fs::read(lock).is_ok_and(|lock| fs::read(installed).is_ok_and(|installed| installed == lock))
}

/// The lock file of a folder, and its copy. `npm ci` begins by deleting node_modules, and the copy with it, so an
/// interrupted run is repeated.
fn locks(project: &Project, folder: &str) -> (PathBuf, PathBuf) {
    let folder = project.root.join(folder);
    (folder.join("package-lock.json"), folder.join("node_modules/.installed-lock.json"))
}

/// The path of a program that a package installs.
pub fn program(project: &Project, name: &str) -> PathBuf {
    packages(project).join(".bin").join(name)
}

/// The Node among the packages, which scripts also find first.
pub fn node(project: &Project) -> Command {
    let mut command = project.command(program(project, "node"));
    put_first_on_path(project, &mut command);
    command
}

/// wrangler, without its usage reports.
pub fn wrangler(project: &Project) -> Command {
    let mut command = node(project);
    command.arg(program(project, "wrangler")).env("WRANGLER_SEND_METRICS", "false");
    command
}

/// Lets a command find the programs of the packages before all others.
pub fn put_first_on_path(project: &Project, command: &mut Command) {
    let mut path = packages(project).join(".bin").into_os_string();
    if let Some(others) = std::env::var_os("PATH") {
        path.push(":");
        path.push(others);
    }
    command.env("PATH", path);
}

fn packages(project: &Project) -> PathBuf {
    project.root.join("miniflare/node_modules")
}
