//! What a token with a good signature may still lack: time, issuer, audience, organization, a subject.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod signing;

use realtime_worker::code::Code;
use realtime_worker::policy::credential::Credentials;
use realtime_worker::policy::key_set::KeySet;
use realtime_worker::policy::token::{LEEWAY, TokenError};
use serde_json::{Value, json};
use signing::*;

/// What the deployment says about a token of these claims.
#[track_caller]
fn check(claims: &Value, expected: Result<(), TokenError>) {
    check_with(&with_secret(), claims, expected);
}

#[track_caller]
fn check_with(credentials: &Credentials, claims: &Value, expected: Result<(), TokenError>) {
    let answer = ask(credentials, &KeySet::default(), &hmac("HS256", SECRET, claims));
    assert_eq!(answer.map(drop), expected, "{claims}");
}

/// The answer to a token that is only looked at, not rebuilt from a JSON value.
#[track_caller]
fn check_text(claims: &str, expected: Result<(), TokenError>) {
    let token = hs256_of(&header("HS256", json!({})), claims);
    assert_eq!(ask(&with_secret(), &KeySet::default(), &token).map(drop), expected, "{claims}");
}

/// The roles of the principal in `org_1`, or the code of the refusal.
fn roles(claims: &Value) -> Result<Vec<String>, TokenError> {
    let principal = ask(&with_secret(), &KeySet::default(), &hmac("HS256", SECRET, claims))?;
    Ok(principal.roles.as_slice().to_vec())
}

#[test]
fn a_token_ends_with_its_leeway() {
    let expired = refused(Code::TokenExpired);
    let leeway = LEEWAY / 1_000;
    check(&claims_with("exp", json!(NOW_SECONDS - leeway)), expired);
    check(&claims_with("exp", json!(NOW_SECONDS - leeway + 1)), Ok(()));
    check(&claims_with("exp", json!(NOW_SECONDS)), Ok(()));
    check(&claims_with("exp", json!(0)), expired);
    check(&claims_with("exp", json!(-0.0)), expired);
    let token = hmac("HS256", SECRET, &claims_with("exp", json!(NOW_SECONDS)));
    let at = |now| with_secret().principal(now, &token, "org_1", &KeySet::default()).map(|p| p.expires);
    assert_eq!(at(NOW + LEEWAY - 1), Ok(Some(NOW)));
    assert_eq!(at(NOW + LEEWAY), Err(TokenError::Refused(Code::TokenExpired)));
    assert_eq!(at(0), Ok(Some(NOW)));
    assert_eq!(at(u64::MAX), Err(TokenError::Refused(Code::TokenExpired)));
}

#[test]
fn a_token_must_say_when_it_ends() {
    check(&claims_without("exp"), INVALID);
    let no_time = [
        json!(null),
        json!((NOW_SECONDS + 60).to_string()),
        json!("never"),
        json!(-1),
        json!(-0.5),
        json!(i64::MIN),
        json!([NOW_SECONDS + 60]),
        json!({ "seconds": NOW_SECONDS }),
        json!(true),
    ];
    for time in no_time {
        check(&claims_with("exp", time), INVALID);
    }
    check(&claims_with("exp", json!(NOW_SECONDS as f64 + 0.5)), Ok(()));
    for far in [json!(u64::MAX), json!(i64::MAX), json!(1e300), json!(f64::MAX), json!(1u64 << 53)] {
        check(&claims_with("exp", far), Ok(()));
    }
    for number in ["1e999", "-1e999", "NaN", "Infinity", "0x7fffffff", "1_000", "+9999999999", "09999999999"] {
        check_text(&format!("{{\"sub\":\"u7\",\"org_id\":\"org_1\",\"exp\":{number}}}"), INVALID);
    }
    check_text("{\"sub\":\"u7\",\"org_id\":\"org_1\",\"exp\":99999999999999999999999999}", Ok(()));
}

#[test]
fn a_token_begins_with_its_leeway() {
    let leeway = LEEWAY / 1_000;
    check(&claims_with("nbf", json!(NOW_SECONDS + leeway)), Ok(()));
    check(&claims_with("nbf", json!(NOW_SECONDS + leeway + 1)), INVALID);
    check(&claims_with("nbf", json!(0)), Ok(()));
    check(&claims_with("nbf", json!(NOW_SECONDS as f64 + 30.002)), INVALID);
    for no_time in [json!(null), json!("0"), json!(-1), json!([]), json!(false), json!({})] {
        check(&claims_with("nbf", no_time), INVALID);
    }
    check(&claims_with("nbf", json!(u64::MAX)), INVALID);
    check(&claims_with("nbf", json!(1e300)), INVALID);
}

#[test]
fn a_token_of_another_issuer_is_refused() {
    let mut credentials = with_secret();
    credentials.tokens.issuer = Some("https://id.example/".into());
    check_with(&credentials, &claims_with("iss", json!("https://id.example/")), Ok(()));
    check_with(&credentials, &claims_without("iss"), INVALID);
    let wrong = [
        json!("https://id.example"),
        json!("https://id.example/x"),
        json!("HTTPS://ID.EXAMPLE/"),
        json!(""),
        json!(null),
        json!(["https://id.example/"]),
        json!({ "https://id.example/": true }),
        json!(true),
    ];
    for issuer in wrong {
        check_with(&credentials, &claims_with("iss", issuer), INVALID);
    }
    check(&claims_with("iss", json!("anyone, where none is configured")), Ok(()));
}

#[test]
fn a_token_for_another_audience_is_refused() {
    let mut credentials = with_secret();
    credentials.tokens.audience = Some("realtime".into());
    for audience in [json!("realtime"), json!(["realtime"]), json!(["web", "realtime"]), json!([1, null, "realtime"])] {
        check_with(&credentials, &claims_with("aud", audience), Ok(()));
    }
    check_with(&credentials, &claims_without("aud"), INVALID);
    let wrong = [
        json!("realtime2"),
        json!("real"),
        json!(""),
        json!([]),
        json!(["Realtime"]),
        json!([["realtime"]]),
        json!({ "realtime": true }),
        json!(null),
        json!("web realtime"),
    ];
    for audience in wrong {
        check_with(&credentials, &claims_with("aud", audience), INVALID);
    }
}

#[test]
fn a_token_opens_only_the_organizations_that_it_names() {
    let wrong = refused(Code::WrongOrganization);
    check(&claims_without("organizationId"), wrong);
    for name in ["organizationId", "activeOrganizationId", "org_id", "ref"] {
        let mut claims = claims_without("organizationId");
        claims[name] = json!("org_1");
        check(&claims, Ok(()));
        let others =
            [json!("org_2"), json!("org_11"), json!("ORG_1"), json!("org_1 "), json!(""), json!(null), json!(1)];
        let wrapped = [json!(["org_1"]), json!({ "id": "org_1" }), json!({ "org_1": "admin" }), json!(true)];
        for other in others.into_iter().chain(wrapped) {
            claims[name] = other;
            check(&claims, wrong);
        }
    }
    for name in ["organisationId", "organization", "tenant", "aud", "iss", "organizationid"] {
        let mut claims = claims_without("organizationId");
        claims[name] = json!("org_1");
        check(&claims, wrong);
    }
}

#[test]
fn the_map_of_organizations_gives_the_roles_in_each() {
    let map = |organizations: Value| {
        let mut claims = claims_without("organizationId");
        claims["organizations"] = organizations;
        roles(&claims)
    };
    assert_eq!(map(json!({ "org_1": "admin" })), Ok(vec!["admin".to_owned()]));
    assert_eq!(map(json!({ "org_1": ["hr", "admin", "hr"] })), Ok(vec!["hr".to_owned(), "admin".to_owned()]));
    assert_eq!(map(json!({ "org_1": [] })), Ok(vec![]));
    let wrong = Err(TokenError::Refused(Code::WrongOrganization));
    let elsewhere = [
        json!({ "org_2": "admin" }),
        json!({ "org_1.x": "admin" }),
        json!({}),
        json!(["org_1"]),
        json!("org_1"),
        json!([{ "org_1": "admin" }]),
        json!(null),
    ];
    for organizations in elsewhere {
        assert_eq!(map(organizations.clone()), wrong, "{organizations}");
    }
}

/// `{"org_1": null}` and `{"org_1": false}` are how an issuer writes that someone has left.
#[test]
fn an_entry_that_is_no_role_is_no_membership() {
    for entry in [json!(null), json!(false), json!(true), json!(0), json!(7), json!({}), json!({ "admin": true })] {
        let mut claims = claims_with("organizations", json!({ "org_1": entry }));
        check(&claims, refused(Code::WrongOrganization));
        claims.as_object_mut().unwrap().remove("organizationId");
        check(&claims, refused(Code::WrongOrganization));
    }
}

#[test]
fn roles_come_from_texts_only_as_documented() {
    let with = |list: Value, single: Value| {
        let mut claims = claims_with("roles", list);
        claims["role"] = single;
        roles(&claims).unwrap()
    };
    assert_eq!(with(json!(["a", "b"]), json!("c")), ["a", "b", "c"]);
    assert_eq!(with(json!(["a", "b"]), json!("b")), ["a", "b"]);
    assert_eq!(with(json!(null), json!("c")), ["c"]);
    assert_eq!(with(json!([""]), json!("")), [""; 0]);
    assert_eq!(with(json!([["admin"], { "admin": 1 }, null]), json!(["admin"])), [""; 0]);
    assert_eq!(with(json!({ "admin": true }), json!({ "admin": true })), [""; 0]);
    let many: Vec<String> = (0..1_500).map(|number| number.to_string()).collect();
    assert!(with(json!(many), json!(null)).len() <= 1_000);
}

#[test]
fn the_subject_is_a_text_or_nobody() {
    let user = |claims: &Value| {
        let answer = ask(&with_secret(), &KeySet::default(), &hmac("HS256", SECRET, claims));
        answer.map(|principal| principal.user)
    };
    assert_eq!(user(&good_claims()), Ok(Some("u7".into())));
    assert_eq!(user(&claims_without("sub")), Ok(None));
    assert_eq!(user(&claims_with("sub", json!(null))), Ok(None));
    for subject in [json!(""), json!(7), json!(["u7"]), json!({ "id": "u7" }), json!(true)] {
        assert_eq!(user(&claims_with("sub", subject)), Err(TokenError::Refused(Code::InvalidToken)));
    }
}

/// RFC 7519, section 4: a duplicate is refused, or the last one counts; never the first, and never both.
#[test]
fn a_claim_that_stands_twice_counts_once() {
    let twice = |first: &str, second: &str| {
        format!("{{\"sub\":\"u7\",\"org_id\":\"org_1\",\"exp\":{},{first},{second}}}", NOW_SECONDS + 60)
    };
    let past = NOW_SECONDS - 60;
    check_text(&format!("{{\"org_id\":\"org_1\",\"exp\":{},\"exp\":{past}}}", NOW_SECONDS + 60), INVALID);
    check_text(&format!("{{\"org_id\":\"org_1\",\"exp\":{past},\"exp\":{}}}", NOW_SECONDS + 60), INVALID);
    check_text(&twice("\"org_id\":\"org_2\"", "\"x\":1"), INVALID);
    check_text(&twice("\"role\":\"a\"", "\"r\\u006fle\":\"b\""), INVALID);
    check_text(&twice("\"role\":\"a\"", "\"x\":1"), Ok(()));
}
