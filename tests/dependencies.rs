//! The dependencies in the lock file: licences, sources and duplicates. `deny.toml` lists what is allowed.
//!
//! Read from `cargo metadata`, which every machine has; advisories need a database that not every machine can reach.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// The entries of a list of `deny.toml`, one a line: the first string of each.
fn listed(list: &str) -> Vec<&'static str> {
    let (_, after) = include_str!("../deny.toml").split_once(&format!("\n{list} = [\n")).unwrap();
    let (entries, _) = after.split_once("\n]").unwrap();
    entries.lines().map(|entry| entry.split('"').nth(1).unwrap()).collect()
}

/// Every foreign package.
fn dependencies() -> Vec<Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version=1", "--locked"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata.get("packages").and_then(Value::as_array).unwrap();
    packages.iter().filter(|package| package.get("source").is_some_and(Value::is_string)).cloned().collect()
}

fn text<'a>(package: &'a Value, key: &str) -> &'a str {
    package.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Whether an expression can be met with permissive licences only. `AND` is assumed to bind less than `OR`, which only
/// demands more.
fn is_permissive(expression: &str) -> bool {
    let permissive = listed("allow");
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    plain.split(" AND ").all(|part| part.split(" OR ").any(|one| permissive.contains(&one.trim())))
}

#[test]
fn every_licence_is_permissive() {
    let others: Vec<_> = dependencies()
        .iter()
        .filter(|package| !is_permissive(text(package, "license")))
        .map(|package| format!("{}: {:?}", text(package, "name"), text(package, "license")))
        .collect();
    assert!(others.is_empty(), "{}", others.join("\n"));
}

#[test]
fn everything_comes_from_one_registry() {
    let dependencies = dependencies();
    assert!(dependencies.len() > 100, "{} packages", dependencies.len());
    let sources: BTreeSet<&str> = dependencies.iter().map(|package| text(package, "source")).collect();
    assert!(sources.len() == 1 && sources.iter().all(|source| source.starts_with("registry+")), "{sources:?}");
}

/// Crates in several versions that no entry of the form `name@0.10` explains, and entries that explain nothing.
fn duplicates(packages: &[(&str, &str)], skipped: &[&str]) -> Vec<String> {
    let is_of = |entry: &str, (name, version): (&str, &str)| {
        let line = entry.strip_prefix(name).and_then(|rest| rest.strip_prefix('@'));
        line.and_then(|line| version.strip_prefix(line)).is_some_and(|rest| rest.starts_with('.'))
    };
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, _) in packages {
        *versions.entry(name).or_default() += 1;
    }
    let explains = |entry: &&&str| {
        let is_several = |name| versions.get(name).is_some_and(|count| *count > 1);
        packages.iter().any(|&package| is_several(package.0) && is_of(entry, package))
    };
    let mut found: Vec<String> = skipped
        .iter()
        .filter(|entry| !explains(entry))
        .map(|entry| format!("{entry} is there once, or not at all"))
        .collect();
    versions.clear();
    for &package in packages.iter().filter(|&&package| !skipped.iter().any(|entry| is_of(entry, package))) {
        *versions.entry(package.0).or_default() += 1;
    }
    found.extend(
        versions.iter().filter(|(_, count)| **count > 1).map(|(name, count)| format!("{name}: {count} versions")),
    );
    found
}

#[test]
fn a_crate_that_is_there_twice_has_a_reason() {
    let dependencies = dependencies();
    let packages: Vec<_> =
        dependencies.iter().map(|package| (text(package, "name"), text(package, "version"))).collect();
    let found = duplicates(&packages, &listed("skip"));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_duplicate_is_explained_by_its_own_line_of_versions() {
    let packages = [("a", "0.1.5"), ("a", "0.10.0"), ("b", "2.0.0")];
    assert_eq!(duplicates(&packages, &["a@0.1"]), Vec::<String>::new());
    assert_eq!(duplicates(&packages, &[]), ["a: 2 versions"]);
    assert_eq!(duplicates(&packages, &["a@0.2"]), ["a@0.2 is there once, or not at all", "a: 2 versions"]);
    assert_eq!(duplicates(&packages, &["a@0.1", "b@2"]), ["b@2 is there once, or not at all"]);
}

#[test]
fn an_expression_must_be_met_as_a_whole() {
    for permissive in ["MIT", "MIT/Apache-2.0", "(MIT OR Apache-2.0) AND Unicode-3.0", "LGPL-2.1-or-later OR MIT"] {
        assert!(is_permissive(permissive), "{permissive}");
    }
    for other in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND LGPL-2.1-or-later", "MITX"] {
        assert!(!is_permissive(other), "{other}");
    }
}
