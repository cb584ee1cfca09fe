//! Admission of Supabase's clients: who is admitted, to which organization, and how refusals are worded.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod signing;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use realtime_worker::code::Code;
use realtime_worker::policy::api_key::ApiKeys;
use realtime_worker::policy::credential::Credentials;
use realtime_worker::policy::key_set::KeySet;
use realtime_worker::policy::token::TokenError;
use realtime_worker::server::supabase::{AdmittedClient, admitted, refused};
use realtime_worker::value::form::Form;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use signing::*;

const PUBLISHABLE: &str = "sb_publishable_2dG9rZW4gb2YgdGhlIHNwZWNz_q7Zt3w";

/// A deployment of project `abc` that knows one publishable key.
fn credentials() -> Credentials {
    let hash = Sha256::digest(PUBLISHABLE).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let keys = json!({ "keys": [{ "name": "web", "hash": hash, "organizationId": "abc", "roles": ["anon"] }] });
    let text = keys.to_string();
    let mut form = Form::read(&text, Code::Configuration).unwrap();
    let api_keys = ApiKeys::read(&form.take("keys").unwrap()).unwrap();
    Credentials { api_keys, default_organization: Some("main".to_owned()), ..with_secret() }
}

/// The result for a key at a host: the organization and the first role, or status and body.
fn ask(host: &str, key: &str) -> Result<(String, String), (u16, Value)> {
    ask_of(&credentials(), host, key)
}

/// The same with a deployment's own credentials.
fn ask_of(credentials: &Credentials, host: &str, key: &str) -> Result<(String, String), (u16, Value)> {
    let proven = credentials.verify(NOW, key, &KeySet::default());
    let proven = proven.and_then(|proven| credentials.tenant(&proven, host).map_err(TokenError::Refused));
    let answer =
        |(organization, principal): AdmittedClient| (organization, principal.roles.first().unwrap().to_owned());
    admitted(proven).map(answer).map_err(|refusal| {
        let answer = refused(&refusal);
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    })
}

fn token(claims: Value) -> String {
    let mut claims = claims;
    if claims.get("exp").is_none() {
        claims["exp"] = json!(NOW_SECONDS + 60);
    }
    hmac("HS256", SECRET, &claims)
}

fn anon(project: &str) -> String {
    token(json!({ "iss": "supabase", "ref": project, "role": "anon", "iat": NOW_SECONDS }))
}

#[track_caller]
fn opens(host: &str, key: &str, organization: &str, role: &str) {
    assert_eq!(ask(host, key), Ok((organization.to_owned(), role.to_owned())), "{host}");
}

#[track_caller]
fn is_refused(host: &str, key: &str, status: u16, message: &str, code: &str) {
    assert_eq!(ask(host, key), Err((status, json!({ "error": message, "code": code }))), "{host}");
}

#[test]
fn the_key_says_which_project_it_is_for() {
    for host in ["abc.example.com", "realtime.example.com", "127.0.0.1", "localhost", "[::1]", ""] {
        opens(host, &anon("abc"), "abc", "anon");
        opens(host, PUBLISHABLE, "abc", "anon");
    }
}

#[test]
fn the_host_says_which_of_several_projects_is_meant() {
    let admin = token(json!({ "sub": "u7", "organizations": { "abc": "admin", "def": "viewer" } }));
    opens("abc.example.com", &admin, "abc", "admin");
    opens("def.example.com", &admin, "def", "viewer");
    is_refused("ghi.example.com", &admin, 404, "Tenant not found", "wrong_organization");
    is_refused("127.0.0.1", &admin, 404, "Tenant not found", "wrong_organization");
}

#[test]
fn the_host_opens_no_project_that_the_key_is_not_for() {
    opens("def.example.com", &anon("abc"), "abc", "anon");
    opens("def.example.com", PUBLISHABLE, "abc", "anon");
    opens("abc.example.com", &token(json!({ "sub": "u7", "role": "authenticated" })), "main", "authenticated");
    let left = token(json!({ "role": "authenticated", "organizations": { "abc": null } }));
    is_refused("abc.example.com", &left, 404, "Tenant not found", "wrong_organization");
}

/// If hosts are organizations, neither the key's organization nor the default replaces the requested one.
#[test]
fn below_the_domain_of_organizations_the_host_decides() {
    let credentials = Credentials { organization_domain: Some("example.com".to_owned()), ..credentials() };
    let ask = |host: &str, key: &str| ask_of(&credentials, host, key).map(|(organization, _)| organization);
    let several = token(json!({ "role": "member", "organizations": { "abc": "admin", "def": "viewer" } }));
    let nameless = token(json!({ "sub": "u7", "role": "authenticated" }));
    for key in [&anon("abc"), PUBLISHABLE, &several] {
        assert_eq!(ask("abc.example.com", key), Ok("abc".to_owned()));
    }
    assert_eq!(ask("main.example.com", &nameless), Ok("main".to_owned()));
    let not_found = (404, json!({ "error": "Tenant not found", "code": "wrong_organization" }));
    for (host, key) in
        [("def", &*anon("abc")), ("def", PUBLISHABLE), ("abc", &nameless), ("main", &anon("abc")), ("", &several)]
    {
        for root in ["", "."] {
            assert_eq!(ask(&format!("{host}.example.com{root}"), key), Err(not_found.clone()), "{host}");
        }
    }
    // Hosts of another domain do not determine one, nor does the domain itself.
    for host in ["def.elsewhere.com", "a.def.example.com", "example.com", "127.0.0.1"] {
        assert_eq!(ask(host, &anon("abc")), Ok("abc".to_owned()), "{host}");
    }
}

#[test]
fn who_is_not_let_in_is_told_why_in_supabases_words() {
    let expired = token(json!({ "ref": "abc", "role": "anon", "exp": NOW_SECONDS - 60 }));
    is_refused("abc.example.com", &expired, 401, "Token has expired", "token_expired");
    let roleless = "Fields `role` and `exp` are required in JWT";
    is_refused("abc.example.com", &token(json!({ "ref": "abc" })), 401, roleless, "invalid_token");
    let endless = hmac("HS256", SECRET, &json!({ "ref": "abc", "role": "anon" }));
    is_refused("abc.example.com", &endless, 401, roleless, "invalid_token");
    let never = hmac("HS256", SECRET, &json!({ "ref": "abc", "role": "anon", "exp": "never" }));
    is_refused("abc.example.com", &never, 401, roleless, "invalid_token");
    for nonsense in ["nonsense", "a.b.c", "sb_publishable_unknown", &PUBLISHABLE.to_lowercase(), "", ".."] {
        is_refused("abc.example.com", nonsense, 401, "The token provided is not a valid JWT", "invalid_token");
    }
    let forged = hmac("HS256", "x".repeat(32), &json!({ "ref": "abc", "role": "anon", "exp": NOW_SECONDS + 60 }));
    is_refused("abc.example.com", &forged, 401, "Failed to validate JWT signature", "invalid_token");
    // An unsigned token is not read.
    let forged = hmac("HS256", "x".repeat(32), &json!({ "ref": "abc" }));
    is_refused("abc.example.com", &forged, 401, "Failed to validate JWT signature", "invalid_token");
    let early = token(json!({ "ref": "abc", "role": "anon", "nbf": NOW_SECONDS + 60 }));
    is_refused("abc.example.com", &early, 401, "Failed to validate JWT signature", "invalid_token");
}

#[test]
fn what_is_not_the_keys_fault_has_its_answer_too() {
    let answer = |code: Code| {
        let answer = refused(&code.into());
        (answer.status, serde_json::from_str::<Value>(&answer.body).unwrap())
    };
    let missing = json!({ "error": "API key is missing", "code": "unauthorized" });
    assert_eq!(answer(Code::Unauthorized), (401, missing));
    let origin = json!({ "error": Code::OriginNotAllowed.sentence(), "code": "origin_not_allowed" });
    assert_eq!(answer(Code::OriginNotAllowed), (403, origin));
    let full = json!({ "error": "Too many connected users", "code": "connection_limit" });
    assert_eq!(answer(Code::ConnectionLimit), (429, full));
    for code in [Code::KeysUnavailable, Code::Overloaded, Code::Internal] {
        let failed = json!({ "error": "Error connecting to Realtime", "code": code.as_str() });
        assert_eq!(answer(code), (500, failed));
    }
}

/// Whether a token with these claims belongs to the organization, computed independently.
fn is_of(claims: &Value, organization: &str) -> bool {
    let naming = ["organizationId", "activeOrganizationId", "org_id", "ref", "organizations"];
    match claims.pointer(&format!("/organizations/{organization}")) {
        Some(role) => role.is_string() || role.is_array(),
        None if naming.iter().all(|name| claims.get(name).is_none()) => organization == "main",
        None => naming[..4].iter().any(|name| claims[name] == organization),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a token names and a host asks for, only an organization of the token is opened, and the host's if
    /// possible.
    #[test]
    fn no_token_opens_an_organization_that_it_is_not_of(
        named in proptest::collection::btree_map(
            select(&["organizationId", "activeOrganizationId", "org_id", "ref", "organizations"][..]),
            any::<Index>(), 0..4,
        ),
        host in select(&["abc.example.com", "def.example.com", "main", "127.0.0.1"][..]),
    ) {
        let values = [json!("abc"), json!("def"), json!("main"), json!(null), json!(""), json!(7), json!({}),
            json!({ "abc": "member" }), json!({ "abc": null, "def": ["member"] }), json!({ "main": false })];
        let mut claims = json!({ "sub": "u7", "role": "member" });
        named.iter().for_each(|(name, index)| claims[*name] = index.get(&values).clone());
        let asked_for = host.split('.').next().unwrap();
        match ask(host, &token(claims.clone())) {
            Ok((opened, _)) => {
                prop_assert!(is_of(&claims, &opened), "{} opens {}", claims, opened);
                prop_assert!(opened == asked_for || !is_of(&claims, asked_for), "{} opens {}", claims, opened);
            }
            Err((status, body)) => {
                prop_assert_eq!(status, 404, "{}", body);
                prop_assert!(!is_of(&claims, asked_for) && !is_of(&claims, "main"), "{}", claims);
            }
        }
    }
}
