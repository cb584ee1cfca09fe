//! The bodies of the fuzz targets, on random mutations of documented input: each run searches a little for what
//! libFuzzer finds in hours where cargo-fuzz is installed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

#[path = "fuzz/src/lib.rs"]
mod fuzz;

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;

/// Replacements for parts of the input: pieces of JSON, filters, tokens and SQL texts, valid and invalid.
const PARTS: [&str; 28] = [
    "",
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\n",
    "null",
    "true",
    "-1",
    "1e999",
    "18446744073709551616",
    "\"\"",
    "{}",
    "[]",
    "*",
    "\\u0000",
    "\\ud800",
    "\u{1f}",
    "é",
    ".",
    "(",
    "->",
    "eq.",
    "\"type\":\"subscribe\",",
    "\u{feff}",
];

/// A target: its name, its body, and examples of its input.
type Target = (&'static str, fn(&[u8]), Vec<String>);

/// The documented frames of a dialect's clients.
fn frames(dialect: &str) -> Vec<String> {
    let folder = format!("{}/tests/dialects/{dialect}/client", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    texts.map(|path| std::fs::read_to_string(path).unwrap().trim_end().to_owned()).collect()
}

/// Passes the bytes to a body that takes a text, if they are one.
macro_rules! text {
    ($body:path) => {
        |bytes| {
            if let Ok(text) = std::str::from_utf8(bytes) {
                $body(text);
            }
        }
    };
}

fn targets() -> Vec<Target> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let batch = r#"{"tables":[{"schema":"public","table":"t","enabled":true,"primary_key":["id"],"roles":{"member":{"state":"live"}}}]}
{"database":"main","epoch":"e","batch":2,"changes":[{"schema":"public","table":"t","op":"INSERT","at":"2026-11-26T00:00:00Z","new":{"id":7},"old":null}],"verdicts":[{"schema":"public","table":"t","role":"member","columns":["id"],"changes":[0],"groups":["g"],"new":["0"],"old":["0"]}]}
{"read":true}"#;
    vec![
        ("frame", text!(fuzz::frame), frames("native")),
        ("phoenix", fuzz::phoenix, frames("phoenix")),
        ("butterbase", text!(fuzz::butterbase), frames("butterbase")),
        ("fluxbase", text!(fuzz::fluxbase), frames("fluxbase")),
        (
            "filter",
            text!(fuzz::filter),
            texts(&["a=in.(1,\"x,\"),b=not.match.^é\n{\"a\":\"1\",\"b\":null}", "a=lt.1e9\n{\"a\":-1.5}"]),
        ),
        (
            "masking",
            text!(fuzz::masking),
            texts(&[
                "{\"a.b\":{\"type\":\"email\",\"show\":{\"roles\":[\"x\"],\"or\":\"owner\"}}}\n{\"a\":[{\"b\":\"j@x.com\"}]}\nx",
            ]),
        ),
        (
            "token",
            text!(fuzz::token),
            texts(&[
                "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjl9.AAAA\n{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"}]}",
            ]),
        ),
        (
            "configuration",
            text!(fuzz::configuration),
            texts(&[
                "{\"tables\":{\"t\":{\"rows\":[{\"roles\":[\"a\"]}]}},\"channels\":[{\"topic\":\"a:{sub}:*\"}],\"butterbase\":{\"apps\":{\"a\":{\"listeners\":-1}}},\"fluxbase\":{\"organization\":\"o\"}}\n[{\"name\":\"ci\",\"hash\":\"00\",\"organizationId\":\"o\"}]",
            ]),
        ),
        (
            "publish",
            text!(fuzz::publish),
            texts(&[
                "{\"organizationId\":\"o\",\"type\":\"broadcast\",\"event\":\"e\",\"payload\":[1],\"targetRoles\":[\"a\"]}",
            ]),
        ),
        (
            "stored",
            text!(fuzz::stored),
            texts(&[
                "{\"version\":1,\"client_id\":\"client-0\",\"state\":{\"wire\":0,\"opened\":1,\"principal\":null}}\n{\"type\":\"broadcast\",\"event\":\"e\",\"payload\":1}",
            ]),
        ),
        ("database", text!(fuzz::database), texts(&[batch])),
    ]
}

/// Replaces up to eight bytes with a part. The result need not be text.
fn changed(seed: &str, changes: &[(Index, usize, &'static str)]) -> Vec<u8> {
    let mut bytes = seed.as_bytes().to_vec();
    for (place, length, part) in changes {
        let start = place.index(bytes.len() + 1);
        let end = bytes.len().min(start + length);
        bytes.splice(start..end, part.bytes());
    }
    bytes
}

#[test]
fn every_target_has_its_body_here() {
    let folder = format!("{}/tests/fuzz/fuzz_targets", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: BTreeSet<String> = files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let known: BTreeSet<String> = targets().iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(files, known);
}

#[test]
fn the_bodies_hold_on_whatever_becomes_of_documented_input() {
    let changes = vec((any::<Index>(), 0_usize..8, select(&PARTS[..])), 0..6);
    for (name, body, seeds) in targets() {
        let cases = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
        let input = (select(seeds), changes.clone());
        let outcome = TestRunner::new(cases).run(&input, |(seed, changes)| {
            body(&changed(&seed, &changes));
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
