//! The deployment's configuration: read as documented, and refused with the variable's name, never with its value.
#![allow(clippy::unwrap_used, clippy::string_slice, reason = "a test stops at the first surprise")]

use realtime_worker::code::{Code, Refusal};
use realtime_worker::dialect::read_configuration;
use realtime_worker::policy::configuration::Configuration;
use realtime_worker::policy::filter::ColumnType;
use realtime_worker::policy::key_set::KeySet;
use realtime_worker::policy::limits::Limits;
use realtime_worker::policy::principal::{Method, Principal};
use realtime_worker::policy::roles::Roles;
use realtime_worker::policy::table::Operation;
use realtime_worker::policy::token::TokenError;
use realtime_worker::value::row::Row;
use serde_json::{Value, json};

const ACCESS_TOKEN: &str = "access-token-that-stays-secret-0123";
const JWT_SECRET: &str = "jwt-secret-that-stays-secret-too";
/// SHA-256 of `key of org_1`.
const HASH: &str = "8ead9d9ffe7af8769137f024eec3d7bbda0682bb65adbfee3d096c50c6e7f9bd";

/// The variables of a complete deployment, with some of them set, or removed with `None`.
fn read(changes: &[(&str, Option<&str>)]) -> Result<Configuration, Refusal> {
    let needed = [("ACCESS_TOKEN", ACCESS_TOKEN), ("JWT_SECRET", JWT_SECRET)];
    read_configuration(&|name| match changes.iter().find(|(changed, _)| *changed == name) {
        Some((_, value)) => value.map(str::to_owned),
        None => needed.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()),
    })
}

fn realtime(value: &Value) -> Result<Configuration, Refusal> {
    read(&[("REALTIME", Some(&value.to_string()))])
}

/// The variable `name` with `value` is refused with the name `field`, and the value is not revealed.
#[track_caller]
fn check_refused(name: &str, value: Option<&str>, field: &str) {
    let refusal = read(&[(name, value)]).map(drop).unwrap_err();
    assert_eq!((refusal.code, refusal.field.as_deref()), (Code::Configuration, Some(field)), "{name} = {value:?}");
    assert!(refusal.message.contains(name), "{}", refusal.message);
    for length in [8, value.map_or(0, str::len)] {
        let piece = value.and_then(|value| value.get(..length)).filter(|piece| piece.len() > 4);
        assert!(piece.is_none_or(|piece| !refusal.message.contains(piece)), "{}", refusal.message);
    }
}

#[track_caller]
fn check_realtime(value: &Value, field: &str) {
    let refusal = realtime(value).map(drop).unwrap_err();
    assert_eq!((refusal.code, refusal.field.as_deref()), (Code::Configuration, Some(field)), "{value}");
    assert!(refusal.message.contains("REALTIME"), "{}", refusal.message);
}

fn principal(user: &str, roles: &[&str]) -> Principal {
    Principal {
        user: Some(user.into()),
        roles: Roles::new(roles.iter().map(|role| (*role).to_owned())),
        method: Method::Session,
        expires: None,
        claims: [("teams".to_owned(), vec!["red".to_owned()])].into(),
        all_claims: None,
        grants: Default::default(),
    }
}

/// The documented example, as the runtime passes it.
fn example() -> Value {
    json!({
        "tables": { "employees": {
            "requiredRoles": ["member", "admin"],
            "fields": ["id", "title", "ssn"],
            "masking": { "ssn": { "type": "ssn", "show": { "roles": ["admin"], "or": "owner" } } },
            "rows": [{ "roles": ["admin"] }, { "column": "team_id", "claim": "teams" }, { "column": "user_id", "claim": "sub" }],
            "onInsert": true, "onUpdate": true, "onDelete": true
        } },
        "channels": [{
            "topic": "room:*", "read": { "roles": ["member"] }, "write": { "roles": ["member"] },
            "presence": { "roles": ["member"] }
        }],
        "limits": { "connections": 10000 }
    })
}

#[test]
fn the_documented_example_is_read() {
    let configuration = realtime(&example()).unwrap();
    let table = configuration.tables.get("public", "employees");
    assert_eq!(table.required_roles.as_deref(), Some(["member".to_owned(), "admin".to_owned()].as_slice()));
    assert_eq!(table.fields, Some(["id", "title", "ssn"].map(str::to_owned).into()));
    let row = Row::read(r#"{"id":1,"ssn":"123-45-6789","team_id":"red","user_id":"u7"}"#).unwrap();
    let seen = |roles: &[&str], owner| {
        let hidden = table.masking.hidden(&principal("u1", roles).roles, owner);
        table.masking.apply(&row, &hidden).get("ssn").unwrap().to_owned()
    };
    assert_eq!(seen(&["member"], false), "\"*****6789\"");
    assert_eq!(seen(&["admin"], false), "\"123-45-6789\"");
    assert_eq!(seen(&["member"], true), "\"123-45-6789\"");
    assert!(table.visibility.shows(&row, &principal("u7", &[])));
    assert!(table.visibility.shows(&row, &principal("u1", &[])));
    let other = Row::read(r#"{"team_id":"blue","user_id":"u7"}"#).unwrap();
    assert!(!table.visibility.shows(&other, &principal("u1", &["member"])));
    assert!(table.visibility.shows(&other, &principal("u1", &["admin"])));
    assert!([Operation::Insert, Operation::Update, Operation::Delete].iter().all(|one| table.announces(*one)));
    assert_eq!(configuration.credentials.claims, ["teams".to_owned()].into());
    assert_eq!(configuration.limits, Limits::default());
}

#[test]
fn a_table_of_another_name_has_no_rules() {
    let configuration = realtime(&example()).unwrap();
    for (schema, table) in [("private", "employees"), ("public", "Employees"), ("", "employees"), ("public", "")] {
        assert!(configuration.tables.get(schema, table).required_roles.is_none(), "{schema}.{table}");
    }
    let sales = json!({ "tables": { "sales.orders": { "requiredRoles": ["a"], "columns": { "n": "int8" }, "onDelete": false } } });
    let configuration = realtime(&sales).unwrap();
    let table = configuration.tables.get("sales", "orders");
    assert!(table.required_roles.is_some() && !table.announces(Operation::Delete));
    assert_eq!((table.column_type("n"), table.column_type("m")), (Some(ColumnType::Number), None));
    assert!(configuration.tables.get("public", "orders").required_roles.is_none());
}

/// Two rule sets for one table: one of them would silently not apply.
#[test]
fn a_table_that_is_named_twice_is_refused() {
    let twice = json!({ "tables": { "employees": { "requiredRoles": ["admin"] }, "public.employees": {} } });
    check_realtime(&twice, "REALTIME.tables.public.employees");
}

#[test]
fn missing_and_short_secrets_are_named() {
    check_refused("ACCESS_TOKEN", None, "ACCESS_TOKEN");
    check_refused("JWT_SECRET", None, "JWT_SECRET");
    for short in ["", "thirty-one bytes are too few !!"] {
        check_refused("ACCESS_TOKEN", Some(short), "ACCESS_TOKEN");
        check_refused("ACCESS_TOKEN_PREVIOUS", Some(short), "ACCESS_TOKEN_PREVIOUS");
        check_refused("JWT_SECRET", Some(short), "JWT_SECRET");
    }
    assert!(read(&[("JWT_SECRET", None), ("JWKS_URL", Some("https://id.example/keys"))]).is_ok());
}

#[test]
fn keys_come_over_https_or_from_this_machine() {
    let good =
        ["https://id.example/keys", "https://id.example:8443/a?b=c", "http://127.0.0.1:9/keys", "http://localhost:80"];
    for url in good {
        let configuration = read(&[("JWKS_URL", Some(url))]).unwrap();
        assert_eq!(configuration.credentials.tokens.key_set_url.as_deref(), Some(url));
    }
    let bad = [
        "",
        "https://",
        "https:///keys",
        "id.example/keys",
        "http://id.example/keys",
        "ftp://id.example/keys",
        "file:///etc/keys",
        "javascript:alert(1)",
        "http://localhost.evil.example/keys",
        "http://localhost:80@evil.example/keys",
        "http://127.0.0.1:80@evil.example/keys",
        "http://localhost:80.evil.example/keys",
        "http://localhost:/keys",
        " https://id.example/keys",
        "https://id.example/ke ys",
        "https://user:password@id.example/keys",
    ];
    for url in bad {
        check_refused("JWKS_URL", Some(url), "JWKS_URL");
    }
}

#[test]
fn origins_match_exactly() {
    let origins = "https://a.example, https://b.example:8443/ http://localhost:3000";
    let configuration = read(&[("ALLOWED_ORIGINS", Some(origins))]).unwrap();
    for origin in ["https://a.example", "https://b.example:8443", "http://localhost:3000"] {
        assert!(configuration.allows_origin(Some(origin)), "{origin}");
    }
    let others = [
        "http://a.example",
        "https://a.example:443",
        "https://a.example.evil.example",
        "https://evil-a.example",
        "https://x.a.example",
        "https://a.exampl",
        "https://A.example",
        "https://b.example",
        "https://a.example,",
        "null",
        "",
        "*",
    ];
    for origin in others {
        assert!(!configuration.allows_origin(Some(origin)), "{origin}");
    }
    assert!(configuration.allows_origin(None));
    assert!(read(&[]).unwrap().allows_origin(Some("https://anyone.example")));
}

#[test]
fn what_is_no_origin_is_refused() {
    for list in
        ["", " , ", "*", "a.example", "https://", "null", "https://*.example", "https://a.example/path", "//a.example"]
    {
        check_refused("ALLOWED_ORIGINS", Some(list), "ALLOWED_ORIGINS");
    }
}

#[test]
fn the_default_organization_is_an_organization() {
    let name = "A-z.0:9_";
    let configuration = read(&[("DEFAULT_ORGANIZATION", Some(name))]).unwrap();
    assert_eq!(configuration.credentials.default_organization.as_deref(), Some(name));
    let long = "a".repeat(129);
    for name in ["", "a/b", "a b", "é", "a\0", "../other-tenant", &long] {
        check_refused("DEFAULT_ORGANIZATION", Some(name), "DEFAULT_ORGANIZATION");
    }
}

#[test]
fn the_domain_of_organizations_is_a_domain() {
    let configuration = read(&[("ORGANIZATION_DOMAIN", Some("realtime.example.com"))]).unwrap();
    assert_eq!(configuration.credentials.organization_domain.as_deref(), Some("realtime.example.com"));
    let written_otherwise =
        ["", "Example.com", "https://example.com", "*.example.com", "example.com:8787", "example.com/"];
    for domain in written_otherwise.into_iter().chain([".example.com", "example.com.", "example..com", "."]) {
        check_refused("ORGANIZATION_DOMAIN", Some(domain), "ORGANIZATION_DOMAIN");
    }
}

#[test]
fn empty_checks_are_no_checks_and_therefore_refused() {
    check_refused("JWT_ISSUER", Some(""), "JWT_ISSUER");
    check_refused("JWT_AUDIENCE", Some(""), "JWT_AUDIENCE");
}

#[test]
fn both_access_tokens_serve_while_rotating() {
    let configuration = read(&[("ACCESS_TOKEN_PREVIOUS", Some("previous-access-token-0123456789"))]).unwrap();
    assert!(
        configuration.is_access_token(ACCESS_TOKEN)
            && configuration.is_access_token("previous-access-token-0123456789")
    );
    for other in
        ["", "access-token", &ACCESS_TOKEN[1..], &ACCESS_TOKEN.to_uppercase(), &format!("{ACCESS_TOKEN} "), JWT_SECRET]
    {
        assert!(!configuration.is_access_token(other), "{other}");
    }
    assert!(!read(&[]).unwrap().is_access_token("previous-access-token-0123456789"));
    let shown = format!("{configuration:?}");
    assert!(!shown.contains(ACCESS_TOKEN) && !shown.contains(JWT_SECRET), "{shown}");
}

fn api_key(more: Value) -> Value {
    let mut entry =
        json!({ "name": "ci", "hash": HASH, "organizationId": "org_1", "userId": "robot", "roles": ["bot"] });
    entry.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    entry
}

#[test]
fn an_api_key_opens_its_organization() {
    let keys = json!([api_key(json!({})), api_key(json!({ "hash": "0".repeat(64) }))]);
    let configuration = read(&[("API_KEYS", Some(&keys.to_string())), ("JWT_SECRET", None)]).unwrap();
    let ask =
        |key: &str, organization: &str| configuration.credentials.principal(0, key, organization, &KeySet::default());
    let robot = ask("key of org_1", "org_1").unwrap();
    assert_eq!((robot.user.as_deref(), robot.method, robot.expires), (Some("robot"), Method::ApiKey, None));
    assert_eq!(robot.roles.as_slice(), ["bot"]);
    for organization in ["org_2", "", "ORG_1", "org_1 "] {
        assert_eq!(ask("key of org_1", organization), Err(TokenError::Refused(Code::WrongOrganization)));
    }
    let proven = configuration.credentials.verify(0, "key of org_1", &KeySet::default()).unwrap();
    for host in ["", "org_1", "org_2.example.com", "a/b"] {
        let tenant = configuration.credentials.tenant(&proven, host);
        assert_eq!(tenant, Ok(("org_1".to_owned(), robot.clone())), "{host}");
    }
    for key in ["", "key of org_1 ", "key of org_", "KEY OF ORG_1", HASH, "key of org_2"] {
        assert_eq!(ask(key, "org_1"), Err(TokenError::Malformed), "{key}");
    }
}

#[test]
fn malformed_api_keys_are_named_by_their_place() {
    let at = |more: Value, field: &str| {
        let text = json!([api_key(json!({ "hash": "1".repeat(64) })), api_key(more)]).to_string();
        check_refused("API_KEYS", Some(&text), field);
    };
    at(json!({ "organisationId": "org_1" }), "API_KEYS[1].organisationId");
    at(json!({ "name": "" }), "API_KEYS[1].name");
    at(json!({ "organizationId": "" }), "API_KEYS[1].organizationId");
    at(json!({ "organizationId": "a/b" }), "API_KEYS[1].organizationId");
    at(json!({ "userId": 7 }), "API_KEYS[1].userId");
    at(json!({ "roles": "admin" }), "API_KEYS[1].roles");
    for hash in ["", "abc", "sk_live_the_key_itself_by_mistake", &HASH[1..], &format!("{HASH}00"), &"é".repeat(32)] {
        at(json!({ "hash": hash }), "API_KEYS[1].hash");
    }
    let odd = ["", "{}", "null", "[", "[{}", "sk_live_the_key_itself", "[],\"x\":[]", "[]}", "[] []", "[]}{"];
    for text in odd {
        let refusal = read(&[("API_KEYS", Some(text))]).map(drop).unwrap_err();
        assert_eq!(refusal.code, Code::Configuration, "{text}");
        assert!(refusal.field.as_deref().is_some_and(|field| field.starts_with("API_KEYS")), "{text}");
        assert!(!refusal.message.contains("sk_live"), "{}", refusal.message);
    }
}

/// One key cannot stand for two principals; which one counts would be arbitrary.
#[test]
fn an_api_key_that_stands_twice_is_refused() {
    let twice = json!([api_key(json!({})), api_key(json!({ "organizationId": "org_2", "roles": ["admin"] }))]);
    check_refused("API_KEYS", Some(&twice.to_string()), "API_KEYS[1].hash");
    let upper = json!([api_key(json!({})), api_key(json!({ "hash": HASH.to_uppercase() }))]);
    check_refused("API_KEYS", Some(&upper.to_string()), "API_KEYS[1].hash");
}
