//! Admission of Butterbase's clients: which credential opens which app, how a refusal is reported, and what the control
//! plane answers, step by step as the shell executes it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at the first surprise")]

mod http_call;
mod signing;

use http_call::{HttpCall, final_answer};
use realtime_worker::code::{Code, Refusal};
use realtime_worker::dialect::Frame;
use realtime_worker::dialect::butterbase::ID;
use realtime_worker::dialect::read_configuration;
use realtime_worker::policy::configuration::Configuration;
use realtime_worker::policy::key_set::KeySet;
use realtime_worker::policy::principal::{Method, Principal};
use realtime_worker::server::admission::Admission;
use realtime_worker::server::api::ObjectRequest;
use realtime_worker::server::entrance::Rejection;
use realtime_worker::server::handshake::{HandshakeStep, admit, refused, refused_by_object};
use realtime_worker::server::request_head::{Query, RequestHead};
use realtime_worker::server::route::{self, Route};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use signing::*;

const ACCESS_TOKEN: &str = "an-access-token-of-thirty-two-bytes";
const SERVICE_KEY: &str = "bb_sk_0123456789abcdef";
const OTHER_KEY: &str = "bb_sk_of_another_app";
const PLAIN_KEY: &str = "a-key-that-is-no-service";

fn hash(key: &str) -> String {
    Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn configuration() -> Configuration {
    let key = |key: &str, app: &str, role: &str| {
        json!({ "name": key, "hash": hash(key), "organizationId": app,
        "userId": "robot", "roles": [role] })
    };
    let keys = json!([
        key(SERVICE_KEY, "app_abc123", "butterbase_service"),
        key(OTHER_KEY, "app_other", "butterbase_service"),
        key(PLAIN_KEY, "app_abc123", "member"),
    ]);
    let realtime = json!({ "butterbase": { "listeners": 200, "apps": {
        "app_abc123": {},
        "app_open": { "access": "public", "listeners": -1 },
        "app_paused": { "paused": true, "access": "public" },
        "app_unpaid": { "paused": "billing" },
        "app_off": { "listeners": 0, "access": "public" },
    } } });
    read_configuration(&|name| match name {
        "ACCESS_TOKEN" => Some(ACCESS_TOKEN.to_owned()),
        "JWT_SECRET" => Some(SECRET.to_owned()),
        "JWKS_URL" => Some("https://issuer.example/keys".to_owned()),
        "JWT_ISSUER" => Some("https://platform.example".to_owned()),
        "API_KEYS" => Some(keys.to_string()),
        "REALTIME" => Some(realtime.to_string()),
        _ => None,
    })
    .unwrap()
}

fn keys() -> KeySet {
    key_set(&[public(RSA, json!({ "kid": "rsa" })), public(P256, json!({ "kid": "p256" }))])
}

fn head(app: &str, query: &str, bearer: Option<&str>) -> RequestHead {
    RequestHead {
        host: "api.example.com".to_owned(),
        websocket_origin: "wss://api.example.com".to_owned(),
        method: "GET".to_owned(),
        path: format!("/v1/{app}/realtime"),
        query: Query::read(query),
        authorization: bearer.map(|token| format!("Bearer {token}")),
        upgrade: Some("websocket".to_owned()),
        ..RequestHead::default()
    }
}

/// A token signed by an app's own issuer.
fn user_claims(app: &str) -> Value {
    json!({ "iss": format!("butterbase:app:{app}"), "sub": "u-1", "exp": NOW_SECONDS + 900 })
}

fn user_token(app: &str) -> String {
    asymmetric("RS256", RSA, json!({ "kid": "rsa" }), &user_claims(app))
}

/// A token that the platform signs for its own users.
fn platform_token(role: &str) -> String {
    let claims = json!({ "iss": "https://platform.example", "sub": "owner", "organizationId": "app_abc123", "role": role,
        "exp": NOW_SECONDS + 900 });
    hmac("HS256", SECRET, &claims)
}

fn open(head: &RequestHead) -> Result<(String, Admission), Refusal> {
    let configuration = configuration();
    match admit(head, &configuration, NOW)? {
        HandshakeStep::Open(app, admission) => Ok((app, *admission)),
        HandshakeStep::Verify(unverified) => {
            let proven = configuration.credentials.verify(NOW, unverified.credential(), &keys());
            unverified.conclude(&configuration.credentials, proven)
        }
        HandshakeStep::Hold(_) => panic!("held"),
    }
}

fn principal(head: &RequestHead) -> Principal {
    open(head).unwrap().1.principal.unwrap()
}

/// How a client learns that its socket is refused: the frame, the close code and the reason.
fn told(rejection: Rejection) -> (Value, u16, String) {
    let Rejection::Close { frames, code, reason } = rejection else { panic!("refused before the upgrade") };
    let [Frame::Text(text)] = frames.as_slice() else { panic!("one frame") };
    (serde_json::from_str(text).unwrap(), code, reason)
}

#[track_caller]
fn is_refused(head: &RequestHead, message: &str, code: u16, reason: &str) {
    let (frame, closed, said) = told(refused(head, &open(head).unwrap_err()));
    assert_eq!((&frame["type"], &frame["message"]), (&json!("error"), &json!(message)));
    assert_eq!((closed, said.as_str()), (code, reason));
}

#[test]
fn every_credential_gives_its_role() {
    let user = principal(&head("app_abc123", &format!("token={}", user_token("app_abc123")), None));
    assert_eq!((user.user.as_deref(), user.roles.as_slice()), (Some("u-1"), ["butterbase_user".to_owned()].as_slice()));
    assert_eq!(user.expires, Some((NOW_SECONDS + 900) * 1_000));
    for head in [
        head("app_abc123", &format!("token={SERVICE_KEY}"), None),
        head("app_abc123", "", Some(SERVICE_KEY)),
        head("app_abc123", "", Some(&platform_token("butterbase_service"))),
    ] {
        let service = principal(&head);
        assert_eq!((service.user, service.roles.first()), (None, Some("butterbase_service")), "acts for no user");
    }
    let (app, admission) = open(&head("app_open", "", None)).unwrap();
    let nobody = admission.principal.unwrap();
    assert_eq!((app.as_str(), admission.dialect, nobody.method), ("app_open", ID.0, Method::Anonymous));
    assert_eq!((nobody.user, nobody.roles.first()), (None, Some("butterbase_anon")));
}

#[test]
fn the_header_counts_before_the_address() {
    let query = format!("token={SERVICE_KEY}");
    let both = head("app_abc123", &query, Some(&user_token("app_abc123")));
    assert_eq!(principal(&both).user.as_deref(), Some("u-1"));
}

#[test]
fn a_token_gives_no_role_of_the_platform() {
    let mut claims = user_claims("app_abc123");
    claims["roles"] = json!(["butterbase_service", "editor", "butterbase_anon"]);
    claims["role"] = json!("butterbase_service");
    let token = asymmetric("RS256", RSA, json!({ "kid": "rsa" }), &claims);
    let user = principal(&head("app_abc123", &format!("token={token}"), None));
    assert_eq!(user.roles.as_slice(), ["butterbase_user", "editor"]);
}

#[test]
fn an_apps_token_is_of_that_app_whatever_it_says_besides() {
    let mut claims = user_claims("app_abc123");
    claims["organizationId"] = json!("app_open");
    let token = asymmetric("RS256", RSA, json!({ "kid": "rsa" }), &claims);
    let configuration = configuration();
    let proven = configuration.credentials.verify(NOW, &token, &keys()).unwrap();
    assert_eq!(configuration.credentials.within(&proven, "app_open"), Err(Code::WrongOrganization));
    assert!(configuration.credentials.within(&proven, "app_abc123").is_ok());
}

#[test]
fn a_credential_that_is_not_good_makes_nobody_anonymous() {
    let failed = "Authentication failed";
    let expired = |seconds: u64| {
        let mut claims = user_claims("app_open");
        claims["exp"] = json!(NOW_SECONDS - seconds);
        asymmetric("RS256", RSA, json!({ "kid": "rsa" }), &claims)
    };
    let mut nobody = user_claims("app_open");
    nobody["sub"] = Value::Null;
    let cases = [
        "nonsense".to_owned(),
        "bb_sk_unknown".to_owned(),
        user_token("app_abc123"),
        expired(60),
        // RS256 only, whatever other keys are in the set.
        asymmetric("ES256", P256, json!({ "kid": "p256" }), &user_claims("app_open")),
        hmac("HS256", SECRET, &user_claims("app_open")),
        asymmetric("RS256", RSA_OTHER, json!({ "kid": "rsa" }), &user_claims("app_open")),
        asymmetric("RS256", RSA, json!({ "kid": "rsa" }), &nobody),
        // The platform's own token is accepted in the header only.
        platform_token("butterbase_service"),
    ];
    for token in cases {
        is_refused(&head("app_open", &format!("token={token}"), None), failed, 1008, "Auth failed");
    }
    for header in [SERVICE_KEY, "Token bb_sk_0123456789abcdef", "Basic dXNlcjpwYXNz", "Bearer", "Bearer "] {
        let head = RequestHead { authorization: Some(header.to_owned()), ..head("app_open", "", None) };
        is_refused(&head, failed, 1008, "Auth failed");
        let beside = RequestHead { query: Query::read(&format!("token={}", user_token("app_open"))), ..head };
        assert_eq!(principal(&beside).user.as_deref(), Some("u-1"), "the address has a good one");
    }
    for token in [PLAIN_KEY.to_owned(), platform_token("member")] {
        is_refused(&head("app_abc123", "", Some(&token)), failed, 1008, "Auth failed");
    }
}

#[test]
fn every_refusal_is_told_after_the_upgrade() {
    let anonymous = "Authentication required: anonymous access to this app is off";
    is_refused(&head("app_abc123", "", None), anonymous, 1008, "Auth required");
    is_refused(&head("app_unknown", "", None), "App not found", 1008, "Auth failed");
    is_refused(&head("app_abc123", "", Some(OTHER_KEY)), "App not found", 1008, "Auth failed");
    is_refused(&head("app_paused", "", None), "App is paused", 1013, "App paused");
    is_refused(&head("app_unpaid", "", Some(SERVICE_KEY)), "App is paused: billing", 1013, "App paused");
    let disabled = "Realtime is not part of the app's plan.";
    is_refused(&head("app_off", "", None), disabled, 1013, "Realtime disabled by plan");
    let full = Refusal::because(Code::ListenerLimit, "so many: 200");
    let (frame, code, reason) = told(refused_by_object(ID, &full));
    assert_eq!((code, reason.as_str()), (1013, "Per-app realtime listener limit reached"));
    assert_eq!((&frame["code"], &frame["retry"]), (&json!("listener_limit"), &json!("later")));
    let (_, code, reason) = told(refused_by_object(ID, &Refusal::of(Code::ConnectionLimit)));
    assert_eq!((code, reason.as_str()), (1013, "Connection limit reached"));
}

#[test]
fn a_deployment_without_apps_has_none() {
    let read = |name: &str| match name {
        "ACCESS_TOKEN" => Some(ACCESS_TOKEN.to_owned()),
        "JWT_SECRET" => Some(SECRET.to_owned()),
        _ => None,
    };
    let plain = read_configuration(&read).unwrap();
    let refusal = admit(&head("app_abc123", "", Some(SERVICE_KEY)), &plain, NOW).unwrap_err();
    assert_eq!(refusal.code, Code::WrongOrganization);
    // Nor has an issuer of that name any other rights.
    let claims = json!({ "iss": "butterbase:app:app_abc123", "sub": "u", "exp": NOW_SECONDS + 60 });
    let token = hmac("HS256", SECRET, &claims);
    let proven = plain.credentials.verify(NOW, &token, &KeySet::default()).unwrap();
    assert_eq!(plain.credentials.within(&proven, "app_abc123"), Err(Code::WrongOrganization));
}

#[test]
fn a_position_may_be_named_when_opening() {
    let with = |query: &str| open(&head("app_open", query, None)).unwrap().1;
    assert_eq!((with("").recover, with("").missed_after), (false, None));
    assert!(with("recover=true").recover);
    assert_eq!(with("epoch=e&offset=7").missed_after, Some(("e".to_owned(), 7)));
    assert_eq!((with("epoch=e").recover, with("offset=x&epoch=e").missed_after), (false, None));
}

// --- the control plane ---------------------------------------------------------------------------------------------

/// Executes a request against an object with this answer. Returns status and body, and the object's request.
fn carry_out(
    method: &str,
    rest: &str,
    bearer: Option<&str>,
    body: &str,
    object: (u16, &str),
) -> (u16, Value, Vec<ObjectRequest>) {
    let configuration = configuration();
    let head = head("app_abc123", "", bearer);
    let head = RequestHead { method: method.to_owned(), path: format!("{}{rest}", head.path), ..head };
    assert!(matches!(route::route(method, &head.path), Ok(Route::Api(_))), "{method} {rest}");
    let mut asked = Vec::new();
    let call = HttpCall { keys: keys(), ..HttpCall::new(&configuration, NOW) }.with_object(|question| {
        asked.push(question);
        (object.0, object.1.to_owned())
    });
    let answer = final_answer(call.carry_out(head, body));
    (answer.status, serde_json::from_str(&answer.body).unwrap(), asked)
}

/// The object's answer: its tables together with the figures, so that one text answers both requests.
const LIST: &str = r#"{"tables":[
    {"schema":"public","table":"documents","enabled":true,"events":["INSERT"],"created_at":"1970-01-01T00:00:00.000Z","updated_at":"1970-01-01T00:00:00.000Z"},
    {"schema":"public","table":"messages","enabled":true,"events":["INSERT","UPDATE","DELETE"],"created_at":"2026-08-01T10:00:00.000Z","updated_at":"2026-08-01T10:00:00.000Z"},
    {"schema":"hr","table":"people","enabled":true,"events":[],"created_at":"2026-08-01T10:00:00.000Z","updated_at":"2026-08-01T10:00:00.000Z"}],
    "connections":2}"#;

#[test]
fn tables_are_configured_by_the_owner() {
    let body = r#"{"tables":["messages","documents","messages"]}"#;
    for bearer in [SERVICE_KEY, ACCESS_TOKEN, &platform_token("butterbase_service")] {
        let (status, answer, asked) = carry_out("POST", "/configure", Some(bearer), body, (200, LIST));
        assert_eq!(status, 200);
        let configured =
            json!([{ "table": "messages", "status": "enabled" }, { "table": "documents", "status": "enabled" }]);
        assert_eq!(answer, json!({ "configured": configured }));
        assert_eq!((asked[0].organization.as_str(), asked[0].path), ("app_abc123", "/tables"));
        let body: Value = serde_json::from_str(asked[0].body.as_deref().unwrap()).unwrap();
        let events = ["INSERT", "UPDATE", "DELETE"];
        let tables = ["messages", "documents"];
        assert_eq!(body, json!({ "action": "enable", "schema": "public", "tables": tables, "events": events }));
    }
}

#[test]
fn the_configuration_is_told() {
    let (status, answer, asked) = carry_out("GET", "/config", Some(SERVICE_KEY), "", (200, LIST));
    assert_eq!((status, asked[0].body.as_deref()), (200, Some(r#"{"action":"list"}"#)));
    assert_eq!((asked[1].path, asked[1].body.as_deref()), ("/stats", None));
    let table = json!({ "table_name": "messages", "events": ["INSERT", "UPDATE", "DELETE"], "enabled": true,
        "created_at": "2026-08-01T10:00:00.000Z", "updated_at": "2026-08-01T10:00:00.000Z",
        "trigger_installed": true, "drift": false });
    let expected = json!({ "app_id": "app_abc123", "tables": [table], "active_connection": true,
        "websocket_url": "wss://api.example.com/v1/app_abc123/realtime" });
    assert_eq!(answer, expected);
}

#[test]
fn a_table_is_disabled_whatever_it_is_called() {
    for (rest, table) in [("/messages", "messages"), ("/a%20b", "a b"), ("/config", "config")] {
        let (status, answer, asked) = carry_out("DELETE", rest, Some(SERVICE_KEY), "", (200, LIST));
        assert_eq!((status, answer), (200, json!({ "table": table, "status": "disabled" })));
        let body: Value = serde_json::from_str(asked[0].body.as_deref().unwrap()).unwrap();
        assert_eq!(body, json!({ "action": "disable", "schema": "public", "table": table }));
    }
}

#[test]
fn every_error_has_its_code() {
    let check = |bearer: Option<&str>, body: &str, object: (u16, &str), status: u16, code: &str| {
        let (found, answer, _) = carry_out("POST", "/configure", bearer, body, object);
        assert_eq!((found, &answer["error"]["code"]), (status, &json!(code)), "{bearer:?} {body}");
        assert!(answer["error"]["message"].is_string() && answer["error"]["remediation"].is_string());
        answer["error"].clone()
    };
    let good = r#"{"tables":["nope"]}"#;
    for body in ["", "[]", "{}", r#"{"tables":[]}"#, r#"{"tables":"a"}"#, r#"{"tables":[7]}"#, r#"{"tables":[""]}"#] {
        check(Some(SERVICE_KEY), body, (200, LIST), 400, "VALIDATION_MISSING_FIELD");
    }
    check(None, good, (200, LIST), 403, "AUTH_INSUFFICIENT_PERMISSIONS");
    check(Some(&user_token("app_abc123")), good, (200, LIST), 403, "AUTH_INSUFFICIENT_PERMISSIONS");
    check(Some(PLAIN_KEY), good, (200, LIST), 403, "AUTH_INSUFFICIENT_PERMISSIONS");
    check(Some("bb_sk_unknown"), good, (200, LIST), 401, "AUTH_INVALID_API_KEY");
    check(Some("nonsense"), good, (200, LIST), 401, "AUTH_INVALID_TOKEN");
    check(Some(OTHER_KEY), good, (200, LIST), 404, "RESOURCE_NOT_FOUND");
    check(Some(&user_token("app_open")), good, (200, LIST), 404, "RESOURCE_NOT_FOUND");
    check(Some(SERVICE_KEY), good, (500, ""), 500, "INTERNAL");
    let missing = r#"{"error":{"code":"not_found","message":"Tables not found: nope","field":"nope"}}"#;
    let error = check(Some(SERVICE_KEY), good, (404, missing), 404, "VALIDATION_TABLE_NOT_FOUND");
    assert_eq!(error["details"], json!({ "missing_tables": ["nope"] }));
    assert_eq!(error["message"], "Tables not found: nope");
}

#[test]
fn paths_answer_their_methods_only() {
    let kind = |method: &str, path: &str| route::route(method, path).map(|route| matches!(route, Route::WebSocket));
    assert_eq!(kind("GET", "/v1/app_abc123/realtime"), Ok(true));
    assert_eq!(kind("POST", "/v1/app_abc123/realtime").map_err(|code| code.status()), Err(405));
    assert_eq!(kind("POST", "/v1/app_abc123/realtime/config").map_err(|code| code.status()), Err(405));
    assert_eq!(route::allowed("/v1/app_abc123/realtime/configure"), "POST, DELETE, OPTIONS");
}
