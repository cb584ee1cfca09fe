//! Builds the Worker, `src/` → `build/index.js` and `build/index_bg.wasm`, and the client of its page,
//! `sdk/src/client/` → `inspector/client.js`.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::bundle;
use crate::node;
use crate::project::{Project, output, progress, run};
use crate::tools::WASM;

/// The slow step that [`build`] still has to run, if any.
pub fn missing(project: &Project) -> Option<&'static str> {
    (!wasm_file(project).exists()).then_some("the Worker, compiled and bundled (one or two minutes)")
}

/// Builds the Worker, unless `build/` is up to date, and prints its size. Concurrent builds wait for each other.
pub fn build(project: &Project) -> Result<()> {
    let folder = project.root.join("build");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    // Held until the end of this function; the system releases it if this process is killed.
    let lock = File::create(folder.join(".lock"))?;
    lock.lock()?;

    compile(project)?;
    let origin = origin(project)?;
    let stamp = folder.join(".built-from");
    if !fs::read_to_string(&stamp).is_ok_and(|built_from| built_from == origin) {
        progress("bundling the Worker");
        bundle::bundle(project, &wasm_file(project), &folder)?;
        fs::write(&stamp, origin)?;
    }
    bundle_client(project)?;
    print_size(project)
}

/// Lets cargo decide what is out of date, because it knows every file that the Worker is built from.
fn compile(project: &Project) -> Result<()> {
    if !wasm_file(project).exists() {
        progress("compiling the Worker");
    }
    compile_library(project, &[])
}

/// Builds the example API worker in Rust, which the specs run.
pub fn build_example(project: &Project) -> Result<()> {
    compile_library(project, &["--package", "realtime-worker-api-example"])?;
    let wasm = project.target.join(WASM).join("release/realtime_worker_api_example.wasm");
    bundle::bundle(project, &wasm, &project.root.join("sdk/rust/api/build"))
}

/// Places the SDK's browser client beside the page that uses it. This takes milliseconds, and needs none of the SDK's
/// packages.
fn bundle_client(project: &Project) -> Result<()> {
    let mut command = project.command(node::program(project, "esbuild"));
    command.args(["sdk/src/client/index.ts", "--bundle", "--format=esm", "--target=es2022", "--log-level=warning"]);
    node::put_first_on_path(project, &mut command);
    let bundled = output(&mut command)?;
    let client = project.root.join("inspector/client.js");
    // Written only if it changes, because a running server may be serving it.
    if !fs::read(&client).is_ok_and(|there| there == bundled) {
        fs::write(&client, bundled).with_context(|| client.display().to_string())?;
    }
    Ok(())
}

fn compile_library(project: &Project, more: &[&str]) -> Result<()> {
    let mut command = project.cargo();
    command.args(["build", "--lib", "--release", "--target", WASM]).args(more);
    // `worker` expects wasm-bindgen's types of js-sys, which this flag selects.
    run(command.env("WASM_BINDGEN_USE_JS_SYS", "1"))
}

/// What `build/` depends on: the Wasm file, the versions of the tools, and their arguments. Bundling is not incremental.
fn origin(project: &Project) -> Result<String> {
    let wasm = wasm_file(project);
    let mut hasher = DefaultHasher::new();
    fs::read(&wasm).with_context(|| wasm.display().to_string())?.hash(&mut hasher);
    fs::read(project.root.join("Cargo.lock"))?.hash(&mut hasher);
    for source in [include_str!("bundle.rs"), include_str!("entry.js")] {
        source.hash(&mut hasher);
    }
    Ok(format!("{:016x}\n", hasher.finish()))
}

fn wasm_file(project: &Project) -> PathBuf {
    project.target.join(WASM).join("release/realtime_worker.wasm")
}

/// Cloudflare allows 64 MiB. More than 1.25 MB gzipped probably means that a dependency was added by accident. The
/// PostgreSQL client takes 170 KB of it, relays take 120 KB.
fn print_size(project: &Project) -> Result<()> {
    const SCRIPT: &str = r#"
        const wasm = require("node:fs").readFileSync("build/index_bg.wasm");
        const compressed = require("node:zlib").gzipSync(wasm);
        console.log(`build/index_bg.wasm: ${wasm.length} bytes, ${compressed.length} gzipped`);
        if (compressed.length > 1_250_000) console.warn("warning: that is more than 1,250,000 bytes gzipped");
    "#;
    run(node::node(project).args(["--eval", SCRIPT]))
}
