//! The Rust side of the setup: the Wasm target and the linters.

use std::path::Path;

use anyhow::{Context, Result};

use crate::project::{Project, progress, run, succeeds};

/// The target of Workers.
pub const WASM: &str = "wasm32-unknown-unknown";

/// The step that [`install`] still has to run, if any.
pub fn missing(project: &Project) -> Option<&'static str> {
    (!has_wasm_target(project)).then_some("the Rust target for Wasm (seconds)")
}

/// Installs the Wasm target if it is missing.
pub fn install(project: &Project) -> Result<()> {
    if !has_wasm_target(project) {
        progress(&format!("adding the Rust target {WASM}"));
        run(project.command("rustup").args(["target", "add", WASM]))
            .context("the Wasm target comes with rustup, https://rustup.rs")?;
    }
    Ok(())
}

/// Installs what only `test` needs: clippy and rustfmt are not part of rustup's minimal profile.
pub fn install_linters(project: &Project) -> Result<()> {
    for (subcommand, component) in [("clippy", "clippy"), ("fmt", "rustfmt")] {
        if !succeeds(project.cargo().args([subcommand, "--version"])) {
            progress(&format!("adding {component}: a few seconds"));
            run(project.command("rustup").args(["component", "add", component]))?;
        }
    }
    Ok(())
}

/// Asks the compiler rather than rustup, because Rust may be installed by other means.
fn has_wasm_target(project: &Project) -> bool {
    let libraries = project.command("rustc").args(["--print", "target-libdir", "--target", WASM]).output();
    libraries.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(package: &str) -> String {
        let lock = std::fs::read_to_string(Project::locate().root.join("Cargo.lock")).unwrap();
        let (_, after) = lock.split_once(&format!("name = \"{package}\"\nversion = \"")).unwrap();
        after.split('"').next().unwrap().to_owned()
    }

    #[test]
    fn the_javascript_around_the_wasm_is_made_by_its_own_version() {
        assert_eq!(locked("wasm-bindgen"), locked("wasm-bindgen-cli-support"));
    }
}
