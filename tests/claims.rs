//! What a correctly signed token may still lack: time, issuer, audience, organization, subject.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod signing;

use realtime_worker::code::Code;
use realtime_worker::policy::credential::Credentials;
use realtime_worker::policy::key_set::KeySet;
use realtime_worker::policy::token::{LEEWAY, TokenError};
use serde_json::{Value, json};
use signing::*;

/// How the deployment judges a token with these claims.
#[track_caller]
fn check(claims: &Value, expected: Result<(), TokenError>) {
    check_with(&with_secret(), claims, expected);
}

#[track_caller]
fn check_with(credentials: &Credentials, claims: &Value, expected: Result<(), TokenError>) {
    let answer = ask(credentials, &KeySet::default(), &hmac("HS256", SECRET, claims));
    assert_eq!(answer.map(drop), expected, "{claims}");
}

/// The result for a token text that is used as it is, not rebuilt from a JSON value.
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
    let at = |now| with_secret().principal(now, &token, "org_1", &KeySet::default()).map(|p| p.expires).map_err(plain);
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

/// A deployment whose clients name no organization.
fn with_default(organization: &str) -> Credentials {
    Credentials { default_organization: Some(organization.to_owned()), ..with_secret() }
}

#[test]
fn a_token_that_names_no_organization_is_of_the_default_one() {
    check(&claims_without("organizationId"), refused(Code::WrongOrganization));
    check_with(&with_default("org_1"), &claims_without("organizationId"), Ok(()));
    check_with(&with_default("org_2"), &claims_without("organizationId"), refused(Code::WrongOrganization));
    let supabase = json!({ "iss": "https://p.example/auth/v1", "aud": "authenticated", "role": "authenticated",
        "sub": "u7", "exp": NOW_SECONDS + 60, "app_metadata": { "org_id": "org_2" } });
    check_with(&with_default("org_1"), &supabase, Ok(()));
    let token = hmac("HS256", SECRET, &supabase);
    let principal = ask(&with_default("org_1"), &KeySet::default(), &token).unwrap();
    assert_eq!((principal.user.as_deref(), principal.roles.first()), (Some("u7"), Some("authenticated")));
}

#[test]
fn a_token_that_names_any_organization_is_not_of_the_default_one() {
    for name in ["organizationId", "activeOrganizationId", "org_id", "ref", "organizations"] {
        let mut claims = claims_without("organizationId");
        let others =
            [json!("org_2"), json!(""), json!(null), json!(1), json!(false), json!([]), json!({ "org_2": "a" })];
        for other in others {
            claims[name] = other;
            check_with(&with_default("org_1"), &claims, refused(Code::WrongOrganization));
        }
    }
    let left = json!({ "org_1": null });
    check_with(&with_default("org_1"), &claims_with("organizations", left), refused(Code::WrongOrganization));
    check_with(&with_default("org_2"), &good_claims(), Ok(()));
}

/// The tenant and the first role that a token grants to a caller who asks for `asked`.
fn tenant(credentials: &Credentials, claims: &Value, asked: Option<&str>) -> Result<(String, String), TokenError> {
    let token = hmac("HS256", SECRET, claims);
    let proven = credentials.verify(NOW, &token, &KeySet::default()).map_err(plain)?;
    let (tenant, principal) = credentials.tenant(&proven, asked.unwrap_or_default()).map_err(TokenError::Refused)?;
    Ok((tenant, principal.roles.first().unwrap_or_default().to_owned()))
}

#[test]
fn a_caller_who_names_no_tenant_gets_the_one_that_its_token_is_good_for() {
    let mut several = claims_without("organizationId");
    several["organizations"] = json!({ "org_2": "hr", "org_3": ["viewer"] });
    let nameless = claims_without("organizationId");
    let found = |tenant: &str, role: &str| Ok((tenant.to_owned(), role.to_owned()));
    let nowhere = || Err(TokenError::Refused(Code::WrongOrganization));
    let (plain, default) = (with_secret(), with_default("org_9"));
    for credentials in [&plain, &default] {
        assert_eq!(tenant(credentials, &good_claims(), None), found("org_1", "admin"));
        assert_eq!(tenant(credentials, &good_claims(), Some("org_1")), found("org_1", "admin"));
        assert_eq!(tenant(credentials, &good_claims(), Some("www")), found("org_1", "admin"));
        assert_eq!(tenant(credentials, &several, Some("org_3")), found("org_3", "viewer"));
        assert_eq!(tenant(credentials, &several, Some("www")), nowhere());
        assert_eq!(tenant(credentials, &several, None), nowhere());
    }
    assert_eq!(tenant(&plain, &nameless, Some("org_1")), nowhere());
    assert_eq!(tenant(&plain, &claims_with("organizationId", json!("org/1")), Some("org/1")), nowhere());
    assert_eq!(tenant(&default, &nameless, None), found("org_9", "admin"));
    assert_eq!(tenant(&default, &nameless, Some("org_1")), found("org_9", "admin"));
    assert_eq!(tenant(&with_default("org_2"), &several, None), found("org_2", "hr"));
}

#[test]
fn no_tenant_is_found_for_a_token_that_is_not_good() {
    let credentials = with_default("org_1");
    let ask = |claims: &Value| tenant(&credentials, claims, Some("org_1")).map(drop);
    assert_eq!(ask(&claims_with("exp", json!(1))), refused(Code::TokenExpired));
    assert_eq!(ask(&claims_with("sub", json!(7))), INVALID);
    let forged = hmac("HS256", "x".repeat(32), &good_claims());
    let forged = credentials.verify(NOW, &forged, &KeySet::default()).map_err(plain);
    assert_eq!(forged.map(drop), INVALID);
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

/// `{"org_1": null}` and `{"org_1": false}` are how an issuer states that someone has left.
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
