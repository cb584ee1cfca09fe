//! The signatures of session tokens: every algorithm with its own key, and no token that anyone could forge.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test stops at the first surprise"
)]

mod signing;

use jwt_compact::alg::{Rsa, RsaPublicKey};
use jwt_compact::jwk::JsonWebKey;
use realtime_worker::policy::credential::Credentials;
use realtime_worker::policy::key_set::KeySet;
use realtime_worker::policy::token::TokenError;
use serde_json::{Value, json};
use signing::*;

#[track_caller]
fn check(what: &str, credentials: &Credentials, keys: &KeySet, token: &str, expected: Result<(), TokenError>) {
    assert_eq!(ask(credentials, keys, token).map(drop), expected, "{what}");
}

/// A token that must be refused by a deployment with a secret, with keys, and with both.
#[track_caller]
fn check_forged(what: &str, keys: &KeySet, token: &str) {
    for (kind, credentials) in [("secret", with_secret()), ("keys", with_keys()), ("both", with_both())] {
        check(&format!("{what}, deployment with {kind}"), &credentials, keys, token, INVALID);
    }
}

fn all_keys() -> KeySet {
    key_set(&[
        public(RSA, json!({ "kid": "rsa", "use": "sig" })),
        public(P256, json!({ "kid": "p256", "alg": "ES256" })),
        public(ED25519, json!({ "kid": "ed" })),
    ])
}

#[test]
fn hmac_tokens_are_held_against_the_secret() {
    for algorithm in ["HS256", "HS384", "HS512"] {
        let token = hmac(algorithm, SECRET, &good_claims());
        check(algorithm, &with_secret(), &KeySet::default(), &token, Ok(()));
        check(algorithm, &with_both(), &all_keys(), &token, Ok(()));
        check(algorithm, &with_keys(), &all_keys(), &token, INVALID);
        let other = hmac(algorithm, "fedcba9876543210fedcba9876543210", &good_claims());
        check_forged(algorithm, &all_keys(), &other);
    }
}

#[test]
fn asymmetric_tokens_are_held_against_the_keys() {
    let cases = [
        ("RS256", RSA, "rsa"),
        ("RS384", RSA, "rsa"),
        ("RS512", RSA, "rsa"),
        ("ES256", P256, "p256"),
        ("EdDSA", ED25519, "ed"),
    ];
    for (algorithm, key, kid) in cases {
        let token = asymmetric(algorithm, key, json!({ "kid": kid }), &good_claims());
        check(algorithm, &with_keys(), &all_keys(), &token, Ok(()));
        check(algorithm, &with_both(), &all_keys(), &token, Ok(()));
        check(algorithm, &with_secret(), &all_keys(), &token, INVALID);
        let nameless = asymmetric(algorithm, key, json!({}), &good_claims());
        check("no kid, several keys", &with_keys(), &all_keys(), &nameless, Ok(()));
        let misnamed = ["rsa", "p256", "ed"].into_iter().filter(|other| *other != kid);
        for other in misnamed {
            check_forged(
                "another key's kid",
                &all_keys(),
                &asymmetric(algorithm, key, json!({ "kid": other }), &good_claims()),
            );
        }
        check_forged("unknown kid", &all_keys(), &asymmetric(algorithm, key, json!({ "kid": "?" }), &good_claims()));
    }
    check_forged("a key of someone else", &all_keys(), &asymmetric("RS256", RSA_OTHER, json!({}), &good_claims()));
}

#[test]
fn a_token_without_a_signature_is_worth_nothing() {
    let claims = good_claims().to_string();
    let algorithms = ["none", "None", "NONE", "nOnE", "", "null", " none", "HS", "HS0", "hs256", "RS", "*", "HS256\0"];
    for algorithm in algorithms {
        let message = format!("{}.{}", encode(header(algorithm, json!({}))), encode(&claims));
        let hmac_signature = hs256_of(&header(algorithm, json!({})), &claims);
        for token in [format!("{message}."), format!("{message}.{}", encode([0; 32])), hmac_signature, message] {
            check_forged(algorithm, &all_keys(), &token);
        }
    }
    let no_algorithm =
        [json!({}), json!({ "alg": null }), json!({ "alg": ["HS256"] }), json!({ "alg": 256 }), json!([])];
    for header in no_algorithm {
        check_forged(&header.to_string(), &all_keys(), &hs256_of(&header.to_string(), &claims));
    }
    for algorithm in ["HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"] {
        for length in [0, 1, 31, 32, 33, 48, 63, 64, 65, 256] {
            let message = format!("{}.{}", encode(header(algorithm, json!({}))), encode(&claims));
            check_forged(algorithm, &all_keys(), &format!("{message}.{}", encode(vec![0; length])));
        }
    }
}

/// The confusion that caused CVEs in most libraries: the verifier's public key is public, so it must never be a secret.
#[test]
fn a_public_key_is_no_secret() {
    let der: String = RSA_PEM.lines().filter(|line| !line.starts_with("---")).collect();
    let jwk = public(RSA, json!({}));
    let n = jwk["n"].as_str().unwrap();
    let secrets: [&[u8]; 6] = [
        RSA_PEM.as_bytes(),
        RSA_PEM.trim_end().as_bytes(),
        der.as_bytes(),
        n.as_bytes(),
        &decode(n),
        jwk.to_string().leak().as_bytes(),
    ];
    for algorithm in ["HS256", "HS384", "HS512"] {
        for secret in secrets {
            check_forged(algorithm, &all_keys(), &hmac(algorithm, secret, &good_claims()));
        }
        check_forged("empty secret", &all_keys(), &hmac(algorithm, "", &good_claims()));
    }
}

#[test]
fn what_a_token_brings_along_is_not_believed() {
    let own: Value = public(RSA_OTHER, json!({ "kid": "own" }));
    for header in
        [json!({ "jwk": own }), json!({ "jku": "https://evil.example" }), json!({ "x5c": ["MIIB"], "kid": "rsa" })]
    {
        check_forged(&header.to_string(), &all_keys(), &asymmetric("RS256", RSA_OTHER, header.clone(), &good_claims()));
    }
}

#[test]
fn extensions_that_must_be_understood_are_refused() {
    let claims = good_claims().to_string();
    for crit in [json!(["exp"]), json!(["b64"]), json!([]), json!("exp"), json!(true), json!({}), json!(null)] {
        let token = hs256_of(&header("HS256", json!({ "crit": crit, "b64": true })), &claims);
        check_forged(&format!("crit {crit}"), &all_keys(), &token);
        let token = asymmetric("EdDSA", ED25519, json!({ "crit": crit }), &good_claims());
        check_forged(&format!("crit {crit}"), &all_keys(), &token);
    }
}

#[test]
fn no_bit_of_a_token_can_be_changed() {
    let keys = all_keys();
    let tokens = [
        (hmac("HS256", SECRET, &good_claims()), 1),
        (hmac("HS512", SECRET, &good_claims()), 3),
        (asymmetric("EdDSA", ED25519, json!({ "kid": "ed" }), &good_claims()), 13),
        (asymmetric("ES256", P256, json!({ "kid": "p256" }), &good_claims()), 29),
        (asymmetric("RS256", RSA, json!({ "kid": "rsa" }), &good_claims()), 101),
    ];
    for (token, step) in tokens {
        check("as it was", &with_both(), &keys, &token, Ok(()));
        let parts: Vec<Vec<u8>> = token.split('.').map(decode).collect();
        for part in 0..3 {
            for bit in (0..parts[part].len() * 8).step_by(step) {
                let mut changed = parts.clone();
                changed[part][bit / 8] ^= 1 << (bit % 8);
                let text: Vec<String> = changed.iter().map(encode).collect();
                check(&format!("part {part} bit {bit}"), &with_both(), &keys, &text.join("."), INVALID);
            }
        }
    }
}

/// A token has one spelling: another one would evade a list of revoked tokens.
#[test]
fn no_character_of_a_token_can_be_changed() {
    let keys = all_keys();
    for token in [hmac("HS256", SECRET, &good_claims()), hmac("HS384", SECRET, &good_claims())] {
        for place in 0..token.len() {
            check(&format!("cut at {place}"), &with_both(), &keys, &token[..place], INVALID);
            for other in ['A', '-', '=', '.', '\n', 'é', '\0', '+'] {
                let longer = format!("{}{other}{}", &token[..place], &token[place..]);
                check(&format!("{other:?} put at {place}"), &with_both(), &keys, &longer, INVALID);
                if !token[place..].starts_with(other) {
                    let changed = format!("{}{other}{}", &token[..place], &token[place + 1..]);
                    check(&format!("{other:?} for {place}"), &with_both(), &keys, &changed, INVALID);
                }
            }
        }
        for ending in [".", "=", "==", "A", "AA", " ", "\n", ".A", "%3D"] {
            check(ending, &with_both(), &keys, &format!("{token}{ending}"), INVALID);
        }
        let last = token.chars().next_back().unwrap();
        for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars().filter(|c| *c != last) {
            let changed = format!("{}{other}", &token[..token.len() - 1]);
            check("unused bits of the last character", &with_both(), &keys, &changed, INVALID);
        }
    }
}

#[test]
fn what_is_no_token_is_refused() {
    let long = "a".repeat(17 * 1024);
    let token = hmac("HS256", SECRET, &claims_with("filler", json!("x".repeat(16 * 1024))));
    let dots = ".".repeat(10_000);
    let texts =
        ["", ".", "..", "...", "a.b.c", "Bearer x", "\0", "e30.e30.", "e30.e30.e30", "é.é.é", &long, &token, &dots];
    for text in texts {
        check_forged(text, &all_keys(), text);
    }
    let (good, claims) = (header("HS256", json!({})), good_claims().to_string());
    let deep = format!("{{\"alg\":\"HS256\",\"x\":{}", "[".repeat(8_000));
    for header in
        ["", "{", "null", "[]", "\"HS256\"", "{\"alg\":\"HS256\"", "{\"alg\":\"HS256\",\"alg\":\"none\"}", &deep]
    {
        check_forged(header, &all_keys(), &hs256_of(header, &claims));
    }
    let cut = &claims[..claims.len() - 1];
    let deep = format!("{cut},\"x\":{}{}}}", "[".repeat(4_000), "]".repeat(4_000));
    for claims in
        ["", "null", "[]", "7", "\"x\"", "true", cut, &format!("{claims}{claims}"), &format!("{claims},"), &deep]
    {
        check_forged(claims, &all_keys(), &hs256_of(&good, claims));
    }
}

#[test]
fn a_weak_key_verifies_nothing() {
    let keys = key_set(&[public(RSA_WEAK, json!({ "kid": "weak" }))]);
    for algorithm in ["RS256", "RS384", "RS512"] {
        check_forged("1024 bits", &keys, &asymmetric(algorithm, RSA_WEAK, json!({ "kid": "weak" }), &good_claims()));
    }
    // With the exponent 1, a signature is its own message.
    let keys = key_set(&[public(RSA, json!({ "kid": "rsa", "e": "AQ" }))]);
    check_forged("exponent 1", &keys, &asymmetric("RS256", RSA, json!({ "kid": "rsa" }), &good_claims()));
    for algorithm in ["PS256", "PS384", "PS512"] {
        let header = header(algorithm, json!({}));
        let token = signing::signed(&Rsa::with_name(algorithm), &rsa_key(RSA), &header, &good_claims().to_string());
        check_forged("not a documented algorithm", &all_keys(), &token);
    }
}

#[test]
fn the_key_files_belong_together() {
    let jwk = public(RSA, json!({})).to_string();
    let public: JsonWebKey<'_> = serde_json::from_str(&jwk).unwrap();
    assert_eq!(RsaPublicKey::try_from(&public).unwrap(), rsa_key(RSA).to_public_key());
}
