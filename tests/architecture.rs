//! The shape of the source: which module may name which, how long files and functions are, and that every file says
//! what it is for.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test stops at the first surprise"
)]

use std::collections::BTreeMap;
use std::path::Path;

/// The modules; each may name those before it.
const ORDER: [&str; 8] = ["code", "value", "policy", "engine", "dialect", "source", "server", "shell"];
/// The names that only the shell may use.
const RUNTIME: [&str; 5] = ["worker", "js_sys", "web_sys", "wasm_bindgen", "getrandom"];
/// The names of dialects, as code may write them.
const DIALECTS: [&str; 7] = ["phoenix", "supabase", "quickback", "native", "butterbase", "fluxbase", "event_stream"];
/// The route modules of dialects, and the table of them.
const ROUTES: [&str; 7] = [
    "server/mod.rs",
    "server/dialects.rs",
    "server/native.rs",
    "server/event_stream/",
    "server/butterbase/",
    "server/supabase/",
    "server/fluxbase/",
];
/// The keywords that declare a type.
const TYPES: [&str; 5] = ["struct", "enum", "trait", "type", "union"];
const MAX_LINES: usize = 400;
/// Lines of a function without comments and blank lines.
const MAX_FUNCTION_LINES: usize = 40;
/// Functions that may be longer: a `match` with an arm for every variant, and a large struct literal.
const LONG_FUNCTIONS: [&str; 2] = ["engine/relay/outgoing.rs: forward", "engine/relay/tenant.rs: wake"];

/// A source file: its path below `src/`, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The top module that the file belongs to; `None` for the crate's root.
    fn module(&self) -> Option<&str> {
        let first = self.path.split('/').next().unwrap();
        ORDER.into_iter().find(|module| first.trim_end_matches(".rs") == *module)
    }

    /// The code without comments, because prose may name anything.
    fn code(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter(|line| !line.trim_start().starts_with("//"))
    }

    /// The code before the unit tests.
    fn without_tests(&self) -> &str {
        self.text.split("#[cfg(test)]\nmod ").next().unwrap()
    }

    /// The types that the file declares at its top level, and whether other files can name them.
    fn types(&self) -> impl Iterator<Item = (&str, bool)> {
        self.without_tests().lines().filter_map(|line| {
            let (restricted, public) = (line.strip_prefix("pub("), line.strip_prefix("pub "));
            let item = restricted.and_then(|rest| rest.split_once(") ")).map(|(_, item)| item).or(public);
            let (keyword, name) = item.unwrap_or(line).split_once(' ')?;
            let name = name.split(|c: char| !c.is_alphanumeric()).next()?;
            Some((name, item.is_some())).filter(|_| TYPES.contains(&keyword))
        })
    }

    /// The paths below `start` that the code names; `use` lists in braces are taken apart.
    fn names(&self, start: &str) -> Vec<String> {
        let code = self.code().collect::<Vec<_>>().join("\n");
        let after = code.match_indices(start).map(|(place, _)| code[place + start.len()..].to_owned());
        after.flat_map(|rest| first_words(&rest)).collect()
    }
}

/// The first word of a path, or of each path of a list in braces.
fn first_words(path: &str) -> Vec<String> {
    let word =
        |text: &str| text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(list) = path.strip_prefix('{') else { return vec![word(path)] };
    let (mut depth, mut words, mut start) = (0, Vec::new(), 0);
    for (place, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                words.push(word(&list[start..place]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                words.push(word(&list[start..place]));
                start = place + 1;
            }
            _ => {}
        }
    }
    words
}

fn sources() -> Vec<Source> {
    rust_files("src")
}

/// The Rust files below a folder of the repository.
fn rust_files(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let (mut found, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.extend((path.file_name().unwrap() != "target").then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
                found.push(Source { path, text });
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has Rust files");
    found.sort_by(|left, right| left.path.cmp(&right.path));
    found
}

/// Fails with all errors at once.
#[track_caller]
fn check(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn paths_are_taken_apart() {
    let text = "use crate::{code::{Code, Refusal}, policy};\n// crate::shell\nlet x = crate::engine::x;".to_owned();
    assert_eq!(Source { path: String::new(), text }.names("crate::"), ["code", "policy", "engine"]);
}

#[test]
fn no_arrow_points_back() {
    let place = |module: &str| ORDER.iter().position(|known| *known == module);
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(module) = source.module() else { continue };
        for name in source.names("crate::") {
            match place(&name) {
                None => wrong.push(format!("{}: crate::{name} is in no layer", source.path)),
                Some(layer) if Some(layer) > place(module) => {
                    wrong.push(format!("{}: {module} names {name}", source.path));
                }
                Some(_) => {}
            }
        }
    }
    check(&wrong);
}

#[test]
fn the_halves_of_a_tenant_know_each_other_by_messages_only() {
    let mut wrong = Vec::new();
    for (half, other) in [("stream", "delivery"), ("delivery", "stream")] {
        let sources = sources().into_iter().filter(|source| source.path.starts_with(&format!("engine/{half}")));
        for source in sources {
            let steps = ["engine::", "super::", "super::super::"].into_iter().flat_map(|start| source.names(start));
            if steps.into_iter().any(|name| name == other) {
                wrong.push(format!("{} names {other}", source.path));
            }
        }
    }
    check(&wrong);
}

#[test]
fn only_the_shell_names_the_runtime() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.module() != Some("shell")) {
        for name in RUNTIME {
            if source.code().any(|line| line.contains(&format!("{name}::")) || line.contains(&format!("use {name};"))) {
                wrong.push(format!("{} names {name}", source.path));
            }
        }
        for clock in ["Instant::now", "SystemTime", "Date::now", "thread_rng", "println!", "eprintln!", "dbg!"] {
            if source.code().any(|line| line.contains(clock)) {
                wrong.push(format!("{} names {clock}", source.path));
            }
        }
    }
    check(&wrong);
}

/// A dialect's differences are in its profile; nothing else asks which dialect it is.
#[test]
fn only_dialects_and_routes_name_a_dialect() {
    let names = |source: &Source| {
        let code = source.code().collect::<Vec<_>>().join("\n").to_lowercase();
        DIALECTS.into_iter().find(|name| code.contains(name))
    };
    let is_excepted = |source: &Source| ROUTES.iter().any(|path| source.path.starts_with(path));
    let (mut wrong, mut needed) = (Vec::new(), Vec::new());
    for source in sources() {
        if !matches!(source.module(), Some("value" | "policy" | "engine" | "source" | "server" | "shell")) {
            continue;
        }
        match names(&source) {
            Some(_) if is_excepted(&source) => needed.push(source.path),
            Some(name) => wrong.push(format!("{} names {name}", source.path)),
            None => {}
        }
    }
    let is_needed = |path: &&&str| needed.iter().any(|known| known.starts_with(**path));
    let idle = ROUTES.iter().filter(|path| !is_needed(path));
    wrong.extend(idle.map(|path| format!("{path} names no dialect: it is no exception any more")));
    check(&wrong);
}

/// The names that several files declare, if another file can name one of the types.
fn shared_type_names(sources: &[Source]) -> Vec<String> {
    let mut declared = BTreeMap::<&str, Vec<(&str, bool)>>::new();
    for source in sources {
        for (name, is_visible) in source.types() {
            declared.entry(name).or_default().push((&source.path, is_visible));
        }
    }
    let is_shared = |places: &[(&str, bool)]| places.len() > 1 && places.iter().any(|(_, is_visible)| *is_visible);
    let shared = declared.into_iter().filter(|(_, places)| is_shared(places));
    shared
        .map(|(name, places)| {
            format!("{name}: {}", places.iter().map(|(path, _)| *path).collect::<Vec<_>>().join(", "))
        })
        .collect()
}

#[test]
fn a_type_name_has_one_meaning() {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let samples = [
        source(
            "a",
            "pub struct Frame;\nstruct Part {\n    x: u8,\n}\npub(in crate::engine) enum Way<'a> {}\npub fn f() {}",
        ),
        source("b", "type Frame = ();\nstruct Part(u8);\n#[cfg(test)]\nmod tests {\nstruct Way;\n}"),
        source("c", "pub(super) struct Way(u8);"),
    ];
    assert_eq!(shared_type_names(&samples), ["Frame: a, b", "Way: a, c"]);
    let sources = sources();
    assert!(sources.iter().flat_map(Source::types).count() > 400, "the types were found");
    check(&shared_type_names(&sources));
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut wrong = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > MAX_LINES {
            wrong.push(format!("{} has {lines} lines", source.path));
        }
        if !source.text.starts_with("//! ") {
            wrong.push(format!("{} does not begin with //!", source.path));
        }
    }
    check(&wrong);
}

#[test]
fn other_rust_files_are_short() {
    let mut wrong = Vec::new();
    for folder in ["benches", "tests", "simulation", "sdk/rust", "sql", "xtask"] {
        for source in rust_files(folder) {
            let lines = source.text.lines().count();
            if lines > MAX_LINES {
                wrong.push(format!("{folder}/{} has {lines} lines", source.path));
            }
        }
    }
    check(&wrong);
}

/// Every function: where it is and how many lines of code it has.
fn functions() -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for source in sources() {
        let mut open: Vec<(String, usize, usize)> = Vec::new();
        // A table of cases in a unit test may be long.
        let code = source.without_tests().lines().filter(|line| !is_comment(line));
        for (number, line) in code.enumerate() {
            let indent = line.len() - line.trim_start().len();
            if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_function(line.trim_start())) {
                if !line.trim_end().ends_with('}') && !line.trim_end().ends_with(';') {
                    open.push((format!("{}: {}", source.path, first_words(rest)[0]), indent, number));
                }
            } else if line.trim() == "}" && open.last().is_some_and(|(_, start, _)| *start == indent) {
                let (name, _, start) = open.pop().unwrap();
                found.push((name, number + 1 - start));
            }
        }
    }
    found
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with("//")
}

fn is_function(line: &str) -> bool {
    let words = line.split(' ').take_while(|word| *word != "fn");
    line.contains("fn ")
        && words
            .into_iter()
            .all(|word| matches!(word, "pub" | "const" | "async") || word.starts_with("pub(") || word.ends_with(')'))
        && !line.starts_with("//")
}

#[test]
fn functions_are_short() {
    let functions = functions();
    assert!(functions.len() > 200, "the functions were found");
    let long: Vec<&(String, usize)> = functions.iter().filter(|(_, lines)| *lines > MAX_FUNCTION_LINES).collect();
    let is_excepted = |name: &str| LONG_FUNCTIONS.contains(&name);
    let unexpected = long.iter().filter(|(name, _)| !is_excepted(name));
    let mut wrong: Vec<String> = unexpected.map(|(name, lines)| format!("{name} has {lines} lines")).collect();
    let idle = LONG_FUNCTIONS.iter().filter(|name| !long.iter().any(|(known, _)| known == *name));
    wrong.extend(idle.map(|name| format!("{name} is no exception any more")));
    check(&wrong);
}
