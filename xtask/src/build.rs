//! The build of the Worker: `src/` → `build/index.js` and `build/index_bg.wasm`, and the client of its page:
//! `sdk/src/client/` → `inspector/client.js`.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::bundle;
use crate::node;
use crate::project::{Project, output, progress, run};
use crate::tools::WASM;

/// What [`build`] has to do that takes a while.
pub fn missing(project: &Project) -> Option<&'static str> {
    (!wasm_file(project).exists()).then_some("the Worker, compiled and bundled (one or two minutes)")
}

/// Builds the Worker, unless `build/` is up to date, and prints its size. Two builds at a time wait for each other.
pub fn build(project: &Project) -> Result<()> {
    let folder = project.root.join("build");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    // Held until the end of this function; the system lets it go should we be killed.
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

/// Lets cargo judge what is out of date: it knows every file that the Worker is made of.
fn compile(project: &Project) -> Result<()> {
    if !wasm_file(project).exists() {
        progress("compiling the Worker");
    }
    compile_library(project, &[])
}

/// Builds the API worker in Rust that the specs run.
pub fn build_example(project: &Project) -> Result<()> {
    compile_library(project, &["--package", "realtime-worker-api-example"])?;
    let wasm = project.target.join(WASM).join("release/realtime_worker_api_example.wasm");
    bundle::bundle(project, &wasm, &project.root.join("sdk/rust/api/build"))
}

/// Puts the SDK's browser client beside the page that uses it. It takes milliseconds, and needs none of the SDK's packages.
fn bundle_client(project: &Project) -> Result<()> {
    let mut command = project.command(node::program(project, "esbuild"));
    command.args(["sdk/src/client/index.ts", "--bundle", "--format=esm", "--target=es2022", "--log-level=warning"]);
    node::put_first_on_path(project, &mut command);
    let bundled = output(&mut command)?;
    let client = project.root.join("inspector/client.js");
    // Written only when it changes, for a server that runs may be serving it.
    if !fs::read(&client).is_ok_and(|there| there == bundled) {
        fs::write(&client, bundled).with_context(|| client.display().to_string())?;
    }
    Ok(())
}

fn compile_library(project: &Project, more: &[&str]) -> Result<()> {
    let mut command = project.cargo();
    command.args(["build", "--lib", "--release", "--target", WASM]).args(more);
    // `worker` is made for wasm-bindgen's types of js-sys, which this chooses.
    run(command.env("WASM_BINDGEN_USE_JS_SYS", "1"))
}

/// What `build/` is made of: the Wasm file, the tools in their versions, and what they are told. Bundling is not incremental.
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

/// Cloudflare takes 64 MiB. Growth beyond 1.25 MB gzipped is probably a dependency added by accident. The client of PostgreSQL
/// is 170 KB of it, relays are 120 KB.
fn print_size(project: &Project) -> Result<()> {
    const SCRIPT: &str = r#"
        const wasm = require("node:fs").readFileSync("build/index_bg.wasm");
        const compressed = require("node:zlib").gzipSync(wasm);
        console.log(`build/index_bg.wasm: ${wasm.length} bytes, ${compressed.length} gzipped`);
        if (compressed.length > 1_250_000) console.warn("warning: that is more than 1,250,000 bytes gzipped");
    "#;
    run(node::node(project).args(["--eval", SCRIPT]))
}
