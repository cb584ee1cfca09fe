//! The Rust side of the set-up: the Wasm target, the two build tools, and the linters.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::project::{Project, cached, progress, run, succeeds};

/// The platform that Workers run.
pub const WASM: &str = "wasm32-unknown-unknown";

/// A program that cargo installs from its registry, in the one version that fits `Cargo.lock`.
pub struct Tool {
    package: &'static str,
    version: &'static str,
    program: &'static str,
    hint: &'static str,
}

/// Makes the JavaScript around the Wasm file. It refuses a Wasm file of any other version of `wasm-bindgen`.
pub const WASM_BINDGEN: Tool =
    Tool { package: "wasm-bindgen-cli", version: "0.2.129", program: "wasm-bindgen", hint: "a C compiler is needed" };

/// Builds the Worker around the Wasm file. It belongs to the version of `worker`.
pub const WORKER_BUILD: Tool = Tool {
    package: "worker-build",
    version: "0.8.7",
    program: "worker-build",
    hint: "on Linux the OpenSSL headers are needed (Debian: apt-get install build-essential pkg-config libssl-dev)",
};

impl Tool {
    /// Where the program is, once installed.
    pub fn path(&self) -> Result<PathBuf> {
        Ok(self.folder()?.join("bin").join(self.program))
    }

    /// Package and version.
    pub fn name(&self) -> String {
        format!("{} {}", self.package, self.version)
    }

    fn folder(&self) -> Result<PathBuf> {
        cached(self.package, self.version)
    }

    fn install(&self, project: &Project) -> Result<()> {
        if self.path()?.exists() {
            return Ok(());
        }
        let folder = self.folder()?;
        progress(&format!(
            "installing {} into {}: it is compiled, which takes 2 to 4 minutes, once per machine",
            self.name(),
            folder.display()
        ));
        let mut command = project.cargo();
        command
            .args(["install", self.package, "--version", self.version])
            .args(["--locked", "--root"])
            .arg(&folder)
            // Its own, temporary target folder.
            .env_remove("CARGO_TARGET_DIR");
        run(&mut command).with_context(|| format!("{} ({})", self.name(), self.hint))
    }
}

/// Installs the Wasm target and the build tools, where missing.
pub fn install(project: &Project) -> Result<()> {
    if !has_wasm_target(project) {
        progress(&format!("adding the Rust target {WASM}: a few seconds"));
        run(project.command("rustup").args(["target", "add", WASM]))
            .context("the Wasm target comes with rustup, https://rustup.rs")?;
    }
    WASM_BINDGEN.install(project)?;
    WORKER_BUILD.install(project)
}

/// Installs what only `test` needs: clippy and rustfmt are not in rustup's minimal profile.
pub fn install_linters(project: &Project) -> Result<()> {
    for (subcommand, component) in [("clippy", "clippy"), ("fmt", "rustfmt")] {
        if !succeeds(project.cargo().args([subcommand, "--version"])) {
            progress(&format!("adding {component}: a few seconds"));
            run(project.command("rustup").args(["component", "add", component]))?;
        }
    }
    Ok(())
}

/// Asks the compiler and not rustup, since Rust may come from elsewhere.
fn has_wasm_target(project: &Project) -> bool {
    let libraries = project.command("rustc").args(["--print", "target-libdir", "--target", WASM]).output();
    libraries.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_locked(package: &str, version: &str) {
        let lock = std::fs::read_to_string(Project::locate().root.join("Cargo.lock")).unwrap();
        let entry = format!("name = \"{package}\"\nversion = \"{version}\"\n");
        assert!(lock.contains(&entry), "{package} is not at {version}");
    }

    #[test]
    fn tools_have_the_versions_of_their_crates() {
        assert_locked("wasm-bindgen", WASM_BINDGEN.version);
        assert_locked("worker", WORKER_BUILD.version);
    }
}
