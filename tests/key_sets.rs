//! The keys of `JWKS_URL`: which of them verify, when they are fetched, and how long they are used while the URL does
//! not answer.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod signing;

use realtime_worker::code::Code;
use realtime_worker::policy::key_set::KeySet;
use realtime_worker::policy::token::TokenError;
use serde_json::{Value, json};
use signing::*;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const FETCH: Result<(), TokenError> = Err(TokenError::NeedsKeys);
const UNAVAILABLE: Result<(), TokenError> = refused(Code::KeysUnavailable);

/// How a deployment with a key set judges, at `now`, a token that is valid for a day.
#[track_caller]
fn check(keys: &KeySet, now: u64, token: &str, expected: Result<(), TokenError>) {
    let answer = with_keys().principal(now, token, "org_1", keys).map(drop).map_err(plain);
    assert_eq!(answer, expected, "{} ms after the start", now - NOW);
}

/// A token of the Ed25519 key (the fastest) that names the key `kid`.
fn token(kid: &str) -> String {
    asymmetric("EdDSA", ED25519, json!({ "kid": kid }), &day())
}

fn day() -> Value {
    claims_with("exp", json!(NOW_SECONDS + 86_400))
}

/// The URL's answer while it serves the Ed25519 key under these names.
fn serving(kids: &[&str]) -> String {
    answer(&kids.iter().map(|kid| public(ED25519, json!({ "kid": kid }))).collect::<Vec<_>>())
}

fn fetched(kids: &[&str]) -> KeySet {
    let mut keys = KeySet::default();
    keys.answered(NOW, Some(&serving(kids)));
    keys
}

#[test]
fn it_is_known_what_was_no_key_set() {
    let is_set = |answer: Option<&str>| KeySet::default().answered(NOW, answer);
    assert!(is_set(Some(&serving(&["a"]))) && is_set(Some("{\"keys\":[]}")));
    for answer in [None, Some(""), Some("<html>"), Some("[]"), Some("{\"keys\":7}")] {
        assert!(!is_set(answer), "{answer:?}");
    }
}

#[test]
fn the_first_token_has_the_keys_fetched() {
    let mut keys = KeySet::default();
    check(&keys, NOW, &token("a"), FETCH);
    keys.answered(NOW, Some(&serving(&["a"])));
    check(&keys, NOW, &token("a"), Ok(()));
}

#[test]
fn keys_are_fresh_for_ten_minutes() {
    let keys = fetched(&["a"]);
    let nameless = asymmetric("EdDSA", ED25519, json!({}), &day());
    for known in [token("a"), nameless] {
        check(&keys, NOW + 10 * MINUTE - 1, &known, Ok(()));
        check(&keys, NOW + 10 * MINUTE, &known, FETCH);
    }
}

#[test]
fn an_unknown_key_has_them_fetched_at_once_but_not_again_and_again() {
    let mut keys = fetched(&["a"]);
    check(&keys, NOW, &token("b"), INVALID);
    check(&keys, NOW + 30 * SECOND - 1, &token("b"), UNAVAILABLE);
    check(&keys, NOW + 30 * SECOND, &token("b"), FETCH);
    keys.answered(NOW + 30 * SECOND, Some(&serving(&["a"])));
    check(&keys, NOW + 30 * SECOND, &token("b"), INVALID);
    // The key may have been added since, so this answer is not final.
    for moment in [30 * SECOND + 1, 45 * SECOND, 60 * SECOND - 1] {
        check(&keys, NOW + moment, &token("b"), UNAVAILABLE);
        check(&keys, NOW + moment, &token("c"), UNAVAILABLE);
        check(&keys, NOW + moment, &token("a"), Ok(()));
    }
    check(&keys, NOW + 60 * SECOND, &token("c"), FETCH);
}

#[test]
fn a_set_that_was_fetched_for_others_cannot_tell_that_a_key_is_not_there() {
    let mut keys = KeySet::default();
    keys.shared(NOW + 20 * SECOND, Some((NOW, &serving(&["a"]))));
    check(&keys, NOW + 20 * SECOND, &token("a"), Ok(()));
    check(&keys, NOW + 20 * SECOND, &token("b"), UNAVAILABLE);
    check(&keys, NOW + 50 * SECOND, &token("b"), FETCH);
    check(&keys, NOW + 10 * MINUTE - 1, &token("a"), Ok(()));
    // An older set does not replace a newer one.
    keys.shared(NOW + MINUTE, Some((NOW - 1, &serving(&["b"]))));
    check(&keys, NOW + MINUTE, &token("a"), Ok(()));
    check(&keys, NOW + MINUTE, &token("b"), UNAVAILABLE);
}

#[test]
fn a_rotated_key_is_found_and_the_withdrawn_one_forgotten() {
    let mut keys = fetched(&["a"]);
    let now = NOW + MINUTE;
    check(&keys, now, &token("b"), FETCH);
    keys.answered(now, Some(&serving(&["a", "b"])));
    check(&keys, now, &token("a"), Ok(()));
    check(&keys, now, &token("b"), Ok(()));
    keys.answered(now + 10 * MINUTE, Some(&serving(&["b"])));
    check(&keys, now + 10 * MINUTE, &token("a"), INVALID);
    check(&keys, now + 10 * MINUTE, &token("b"), Ok(()));
}

#[test]
fn without_any_keys_a_token_cannot_be_judged() {
    let mut keys = KeySet::default();
    keys.answered(NOW, None);
    check(&keys, NOW, &token("a"), UNAVAILABLE);
    check(&keys, NOW + 30 * SECOND - 1, &token("a"), UNAVAILABLE);
    check(&keys, NOW + 30 * SECOND, &token("a"), FETCH);
    keys.answered(NOW + 30 * SECOND, Some(&serving(&["a"])));
    check(&keys, NOW + 30 * SECOND, &token("a"), Ok(()));
}

#[test]
fn old_keys_serve_for_an_hour_while_the_url_is_silent() {
    let mut keys = fetched(&["a"]);
    for minute in (10..60).step_by(7) {
        let now = NOW + minute * MINUTE;
        check(&keys, now, &token("a"), FETCH);
        keys.answered(now, None);
        check(&keys, now, &token("a"), Ok(()));
        check(&keys, now + 30 * SECOND - 1, &token("a"), Ok(()));
        check(&keys, now, &token("b"), UNAVAILABLE);
    }
    keys.answered(NOW + 60 * MINUTE - 1, None);
    check(&keys, NOW + 60 * MINUTE - 1, &token("a"), Ok(()));
    check(&keys, NOW + 60 * MINUTE, &token("a"), UNAVAILABLE);
    keys.answered(NOW + 61 * MINUTE, Some(&serving(&["a"])));
    check(&keys, NOW + 61 * MINUTE, &token("a"), Ok(()));
}

#[test]
fn an_answer_that_is_no_key_set_counts_as_none() {
    let deep = "[".repeat(100_000);
    for text in ["", "<html>", "[]", "{}", "null", "{\"keys\":{}}", "{\"keys\":null}", "{\"keys\":\"x\"}", &deep] {
        let mut keys = KeySet::default();
        keys.answered(NOW, Some(text));
        check(&keys, NOW, &token("a"), UNAVAILABLE);
        let mut keys = fetched(&["a"]);
        keys.answered(NOW + 10 * MINUTE, Some(text));
        check(&keys, NOW + 10 * MINUTE, &token("a"), Ok(()));
    }
}

#[test]
fn a_clock_that_steps_back_neither_panics_nor_floods() {
    let keys = fetched(&["a"]);
    for earlier in [0, 1, NOW - 86_400 * SECOND] {
        let answer = |kid| with_keys().principal(earlier, &token(kid), "org_1", &keys).map(drop).map_err(plain);
        assert_eq!(answer("a"), Ok(()));
        assert_eq!(answer("b"), UNAVAILABLE);
    }
    assert_eq!(with_keys().principal(u64::MAX, &token("a"), "org_1", &keys).map(drop).map_err(plain), FETCH);
}

/// One key that must verify nothing, alone and beside a valid one.
#[track_caller]
fn check_useless(what: &str, key: &Value, token: &str) {
    check(&key_set(std::slice::from_ref(key)), NOW, token, INVALID);
    let good = public(RSA_OTHER, json!({ "kid": "good" }));
    let both = key_set(&[key.clone(), good]);
    assert_eq!(ask(&with_keys(), &both, token).map(drop), INVALID, "{what}");
    let proof = asymmetric("RS256", RSA_OTHER, json!({ "kid": "good" }), &day());
    check(&both, NOW, &proof, Ok(()));
}

#[test]
fn a_key_for_another_purpose_verifies_nothing() {
    let token = token("a");
    let purposes = [
        json!({ "use": "enc" }),
        json!({ "use": "" }),
        json!({ "use": "SIG" }),
        json!({ "use": 7 }),
        json!({ "use": ["sig"] }),
        json!({ "key_ops": ["encrypt"] }),
        json!({ "key_ops": [] }),
        json!({ "key_ops": "verify" }),
        json!({ "alg": "HS256" }),
        json!({ "alg": "none" }),
        json!({ "alg": "ES256" }),
        json!({ "alg": 7 }),
        json!({ "crv": "X25519" }),
        json!({ "kty": "oct" }),
        json!({ "kty": null }),
    ];
    for more in purposes {
        let mut key = public(ED25519, json!({ "kid": "a" }));
        key.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        check_useless(&more.to_string(), &key, &token);
    }
    for good in [json!({ "use": "sig" }), json!({ "key_ops": ["verify"] }), json!({ "key_ops": ["sign", "verify"] })] {
        let mut key = public(ED25519, json!({ "kid": "a", "alg": "EdDSA" }));
        key.as_object_mut().unwrap().extend(good.as_object().cloned().unwrap());
        check(&key_set(&[key]), NOW, &token, Ok(()));
    }
}

#[test]
fn a_key_for_one_algorithm_verifies_no_other() {
    let names = ["RS256", "RS384", "RS512"];
    for bound in names {
        let key = public(RSA, json!({ "kid": "a", "alg": bound }));
        for used in names {
            let token = asymmetric(used, RSA, json!({ "kid": "a" }), &day());
            if used == bound {
                check(&key_set(std::slice::from_ref(&key)), NOW, &token, Ok(()));
            } else {
                check_useless(used, &key, &token);
            }
        }
    }
}

/// Readers of a key set could sign with a symmetric key in it.
#[test]
fn a_symmetric_key_in_the_set_verifies_nothing() {
    for secret in [SECRET, ""] {
        let key = json!({ "kty": "oct", "k": encode(secret), "kid": "a", "alg": "HS256", "use": "sig" });
        for kid in [json!({}), json!({ "kid": "a" })] {
            let header = header("HS256", kid);
            let claims = day().to_string();
            let hs = jwt_compact::alg::Hs256Key::new(secret);
            let token = signed(&jwt_compact::alg::Hs256, &hs, &header, &claims);
            check_useless("oct", &key, &token);
        }
    }
}

#[test]
fn malformed_keys_are_passed_over() {
    let token = token("a");
    let odd = [
        json!(null),
        json!([]),
        json!("key"),
        json!({}),
        json!({ "kid": "a" }),
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "a" }),
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "" }),
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": encode([0; 31]) }),
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": encode([0; 32]) }),
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "=?" }),
        json!({ "kty": "EC", "crv": "P-256", "kid": "a", "x": encode([0; 32]), "y": encode([0; 32]) }),
        json!({ "kty": "EC", "crv": "P-521", "kid": "a", "x": "AA", "y": "AA" }),
        json!({ "kty": "RSA", "kid": "a", "n": "", "e": "" }),
        json!({ "kty": "RSA", "kid": "a", "n": "AA", "e": "AQAB" }),
        json!({ "kty": "RSA", "kid": "a", "n": encode([255; 256]), "e": "AA" }),
        json!({ "kty": "RSA", "kid": "a", "n": encode([254; 256]), "e": encode([255; 64]) }),
    ];
    for key in odd {
        check_useless(&key.to_string(), &key, &token);
        for algorithm in ["RS256", "ES256"] {
            let signature = encode([1; 256].get(..if algorithm == "ES256" { 64 } else { 256 }).unwrap());
            let message = format!("{}.{}", encode(header(algorithm, json!({}))), encode(day().to_string()));
            check_useless(&key.to_string(), &key, &format!("{message}.{signature}"));
        }
    }
}

#[test]
fn unusable_keys_do_not_count_and_a_known_one_is_found_among_hundreds() {
    let unusable = (0..500).map(|_| json!({ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA" }));
    let others = (0..400).map(|number| public(ED25519, json!({ "kid": format!("other-{number}") })));
    let all: Vec<Value> = unusable.chain(others).chain([public(ED25519, json!({ "kid": "a" }))]).collect();
    let mut keys = KeySet::default();
    assert!(keys.answered(NOW, Some(&answer(&all))));
    check(&keys, NOW, &token("a"), Ok(()));
}

#[test]
fn a_token_without_a_key_id_is_held_against_keys_of_its_kind_only() {
    let of_other_kinds = (0..20).map(|_| public(P256, json!({})));
    let all: Vec<Value> = of_other_kinds.chain([public(ED25519, json!({}))]).collect();
    let mut keys = KeySet::default();
    keys.answered(NOW, Some(&answer(&all)));
    check(&keys, NOW, &asymmetric("EdDSA", ED25519, json!({}), &day()), Ok(()));
}

#[test]
fn ed25519_has_two_names() {
    for named in [json!({ "kid": "a" }), json!({ "kid": "a", "alg": "EdDSA" }), json!({ "kid": "a", "alg": "Ed25519" })]
    {
        let mut keys = KeySet::default();
        keys.answered(NOW, Some(&answer(&[public(ED25519, named)])));
        for algorithm in ["EdDSA", "Ed25519"] {
            check(&keys, NOW, &asymmetric(algorithm, ED25519, json!({ "kid": "a" }), &day()), Ok(()));
        }
    }
}

#[test]
fn padded_coordinates_are_read() {
    let mut key = public(ED25519, json!({ "kid": "a" }));
    key["x"] = json!(format!("{}=", key["x"].as_str().unwrap()));
    let mut keys = KeySet::default();
    keys.answered(NOW, Some(&answer(&[key])));
    check(&keys, NOW, &token("a"), Ok(()));
}
