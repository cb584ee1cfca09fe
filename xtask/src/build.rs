//! The build of the Worker: `src/` → `build/index.js` and `build/index_bg.wasm`, and the client of its page:
//! `sdk/src/client/` → `inspector/client.js`.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::node;
use crate::project::{Project, output, progress, run};
use crate::tools::{WASM, WASM_BINDGEN, WORKER_BUILD};

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
        bundle(project)?;
        fs::write(&stamp, origin)?;
    }
    bundle_client(project)?;
    print_size(project)
}

/// Lets cargo judge what is out of date: it knows every file that the Worker is made of.
fn compile(project: &Project) -> Result<()> {
    let wasm = wasm_file(project);
    if !wasm.exists() {
        progress("compiling the Worker: about a minute the first time");
    }
    let mut command = project.cargo();
    command.args(["build", "--lib", "--release", "--target", WASM]);
    run(build_environment(&mut command))
}

/// Builds the API worker in Rust that the specs run.
pub fn build_example(project: &Project) -> Result<()> {
    let folder = project.root.join("sdk/rust/api");
    run(worker_build(project)?.current_dir(folder))
}

/// Turns the Wasm file into a Worker. It is not incremental and takes seconds, hence the stamp.
fn bundle(project: &Project) -> Result<()> {
    progress("bundling the Worker");
    run(&mut worker_build(project)?)?;
    strip(project)
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

/// worker-build with the helpers that are installed.
fn worker_build(project: &Project) -> Result<Command> {
    let mut command = project.command(WORKER_BUILD.path()?);
    command
        .arg("--release")
        // Without these it would download its own.
        .env("WASM_BINDGEN_BIN", WASM_BINDGEN.path()?)
        .env("WASM_OPT_BIN", node::program(project, "wasm-opt"))
        .env("ESBUILD_BIN", node::program(project, "esbuild"));
    node::put_first_on_path(project, &mut command);
    build_environment(&mut command);
    Ok(command)
}

/// Takes the names of functions away, a tenth of what is uploaded. worker-build keeps them whatever it is told.
fn strip(project: &Project) -> Result<()> {
    let wasm = project.root.join("build/index_bg.wasm");
    let mut command = project.command(node::program(project, "wasm-opt"));
    // Those that worker-build allows: a newer encoding might be one that workerd cannot read yet.
    let features =
        ["mutable-globals", "sign-ext", "nontrapping-float-to-int", "bulk-memory", "multivalue", "reference-types"];
    command.args(features.map(|feature| format!("--enable-{feature}")));
    command.args(["--enable-exception-handling", "--strip-debug", "--strip-producers"]);
    command.arg(&wasm).arg("--output").arg(&wasm);
    node::put_first_on_path(project, &mut command);
    run(&mut command)
}

/// worker-build compiles with this variable. cargo does not see it as a reason to compile again, so what is compiled here
/// has to be compiled the same way.
fn build_environment(command: &mut Command) -> &mut Command {
    command.env("WASM_BINDGEN_USE_JS_SYS", "1")
}

/// What `build/` is made of: the Wasm file, the tools, and what they are told.
fn origin(project: &Project) -> Result<String> {
    let wasm = wasm_file(project);
    let mut hasher = DefaultHasher::new();
    fs::read(&wasm).with_context(|| wasm.display().to_string())?.hash(&mut hasher);
    fs::read(project.root.join("Cargo.toml"))?.hash(&mut hasher);
    include_str!("build.rs").hash(&mut hasher);
    Ok(format!("{:016x}, {}, {}\n", hasher.finish(), WASM_BINDGEN.name(), WORKER_BUILD.name()))
}

fn wasm_file(project: &Project) -> PathBuf {
    project.target.join(WASM).join("release/realtime_worker.wasm")
}

/// Cloudflare takes 64 MiB; what is beyond 800 KB compressed is a dependency that nobody meant to add.
fn print_size(project: &Project) -> Result<()> {
    const SCRIPT: &str = r#"
        const wasm = require("node:fs").readFileSync("build/index_bg.wasm");
        const compressed = require("node:zlib").gzipSync(wasm);
        console.log(`build/index_bg.wasm: ${wasm.length} bytes, ${compressed.length} gzipped`);
        if (compressed.length > 800_000) console.warn("warning: that is more than 800,000 bytes gzipped");
    "#;
    run(node::node(project).args(["--eval", SCRIPT]))
}
