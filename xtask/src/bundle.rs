//! From cargo's Wasm file to a Worker: `index.js`, which workerd loads, and `index_bg.wasm` beside it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use wasm_bindgen_cli_support::Bindgen;

use crate::node;
use crate::project::{Project, run};

/// The JavaScript side of the Worker.
const ENTRY: &str = include_str!("entry.js");
/// The handlers that a Worker may export.
const HANDLERS: [&str; 4] = ["fetch", "scheduled", "queue", "email"];

/// Writes the Worker of a Wasm file into a folder.
pub fn bundle(project: &Project, wasm: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let staging = staging_folder(folder)?;
    bind(wasm, &staging).with_context(|| format!("wasm-bindgen on {}", wasm.display()))?;
    join(project, &staging, folder)?;
    fs::rename(staging.join("index_bg.wasm"), folder.join("index_bg.wasm"))?;
    fs::remove_dir_all(&staging).with_context(|| staging.display().to_string())
}

/// Makes the JavaScript around the Wasm, as an ES module that imports it. The names of functions are dropped: they are a
/// quarter of the file. `wasm-opt -Os` would take another 80 seconds, and its result is 8 % smaller but compresses 7 % worse.
fn bind(wasm: &Path, folder: &Path) -> Result<()> {
    Bindgen::new()
        .input_path(wasm)
        .out_name("index")
        .module(true)?
        .omit_default_module_path(false)
        // entry.js uses this to restart after a panic.
        .reset_state_function(true)
        .force_enable_abort_handler(true)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(folder)
}

/// Joins the entry, what wasm-bindgen made and its snippets to one module.
fn join(project: &Project, staging: &Path, folder: &Path) -> Result<()> {
    let bound = fs::read_to_string(staging.join("index.js"))?;
    fs::write(staging.join("entry.js"), entry(&bound)?)?;
    let bundled = staging.join("bundled.js");
    let mut command = project.command(node::program(project, "esbuild"));
    command
        .arg(staging.join("entry.js"))
        .args(["--bundle", "--format=esm", "--minify", "--log-level=warning"])
        .args(["--external:./index_bg.wasm", "--external:cloudflare:*"])
        .arg(format!("--outfile={}", bundled.display()));
    node::put_first_on_path(project, &mut command);
    run(&mut command)?;
    // workerd has no source phase imports; it treats a Wasm file as a module whose default export is the compiled Wasm.
    let script = fs::read_to_string(&bundled)?.replace("import source ", "import ");
    fs::write(folder.join("index.js"), script).with_context(|| folder.display().to_string())
}

/// The entry for the handlers and Durable Objects among wasm-bindgen's exports.
fn entry(bound: &str) -> Result<String> {
    ensure!(bound.contains("__wbg_reset_state"), "wasm-bindgen made no function that starts the Wasm anew");
    let mut entry = ENTRY.to_owned();
    let mut handlers = Vec::new();
    for exported in bound.split("\nexport ").skip(1) {
        if let Some(class) = exported.strip_prefix("class ") {
            let name = class.split([' ', '{']).next().unwrap_or_default();
            // `worker` also exports classes of its own, which are not Durable Objects.
            if class.contains("\n    fetch(") {
                entry.push_str(&format!("export const {name} = durableObject(wasm.{name});\n"));
            }
        }
        let function = exported.strip_prefix("function ").and_then(|rest| rest.split_once('('));
        if let Some((name, _)) = function.filter(|(name, _)| HANDLERS.contains(name)) {
            handlers.push(format!("{name}: handler(wasm.{name})"));
        }
    }
    ensure!(!handlers.is_empty(), "the Wasm exports no handler of a Worker: {}", HANDLERS.join(", "));
    entry.push_str(&format!("export default {{ {} }};\n", handlers.join(", ")));
    Ok(entry)
}

/// A folder beside the result, so that the output is moved rather than copied.
fn staging_folder(folder: &Path) -> Result<PathBuf> {
    let staging = folder.join(".staging");
    if staging.exists() {
        fs::remove_dir_all(&staging).with_context(|| staging.display().to_string())?;
    }
    fs::create_dir_all(&staging).with_context(|| staging.display().to_string())?;
    Ok(staging)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_and_objects_are_exported_and_nothing_else() {
        let bound = "import source wasm from \"./index_bg.wasm\";\n\nexport class Room {\n    fetch(request) {}\n}\n\
            export class Option {\n    free() {}\n}\nexport function fetch(request) {}\nexport function start() {}\n\
            export function __wbg_reset_state () {}\n";
        let entry = entry(bound).unwrap();
        assert!(entry.ends_with(
            "export const Room = durableObject(wasm.Room);\nexport default { fetch: handler(wasm.fetch) };\n"
        ));
        for missing in ["__wbg_reset_state", "function fetch"] {
            assert!(super::entry(&bound.replace(missing, "")).is_err(), "{missing}");
        }
    }
}
