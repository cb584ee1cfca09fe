//! `REALTIME.databases`: what is accepted, what is refused with which path, which organization uses which database, and
//! the groups in which principals are judged.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod rig;

use realtime_worker::code::{Code, Refusal};
use realtime_worker::dialect::read_configuration;
use realtime_worker::policy::configuration::Configuration;
use realtime_worker::policy::database::{Group, Serves, Standing};
use realtime_worker::policy::key_set::KeySet;
use realtime_worker::policy::principal::Principal;
use realtime_worker::policy::table::Deletes;
use rig::{API_KEY, ORGANIZATION, START, configuration, token};
use serde_json::{Value, json};

fn read(realtime: &Value) -> Result<Configuration, Refusal> {
    read_configuration(&|name| match name {
        "ACCESS_TOKEN" | "JWT_SECRET" => Some("x".repeat(32)),
        "REALTIME" => Some(realtime.to_string()),
        _ => None,
    })
}

fn database() -> Value {
    json!({ "connection": "DATABASE_URL", "organization": ORGANIZATION, "roles": ["anon", "authenticated"],
        "bypass": ["service_role"] })
}

/// The database with other values of some keys; `null` removes a key.
fn changed(changes: Value) -> Value {
    let mut database = database();
    let object = database.as_object_mut().unwrap();
    object.extend(changes.as_object().unwrap().clone());
    object.retain(|_, value| !value.is_null());
    json!({ "databases": { "main": database } })
}

#[test]
fn a_database_is_read() {
    let configuration = read(&json!({ "databases": { "main": database() } })).unwrap();
    let main = configuration.databases().get("main").unwrap();
    assert_eq!((&*main.name, main.connection.as_deref()), ("main", Some("DATABASE_URL")));
    assert_eq!(main.serves, Serves::Organization(ORGANIZATION.to_owned()));
    assert_eq!(main.roles(), ["anon", "authenticated"]);
    assert_eq!((main.poll_milliseconds, main.drain_seconds), (1_000, 300));
    let more = read(&changed(json!({ "pollMilliseconds": 250, "drainSeconds": 0 }))).unwrap();
    let more = more.databases().get("main").unwrap();
    assert_eq!((more.poll_milliseconds, more.drain_seconds), (250, 0));
    assert!(read(&json!({})).unwrap().databases().is_empty());
}

#[test]
fn each_mistake_is_named_by_its_path() {
    let long = "r".repeat(64);
    let cases = [
        (json!({ "connection": null }), "connection"),
        (json!({ "connection": "" }), "connection"),
        (json!({ "connection": "postgres://u:p@host/db" }), "connection"),
        (json!({ "connection": "1URL" }), "connection"),
        (json!({ "organization": null }), "organization"),
        (json!({ "organization": "two words" }), "organization"),
        (json!({ "organization": 7 }), "organization"),
        (json!({ "organization": {} }), "organization.column"),
        (json!({ "organization": { "column": "" } }), "organization.column"),
        (json!({ "organization": { "column": "a", "schema": "b" } }), "organization.schema"),
        (json!({ "roles": null }), "roles"),
        (json!({ "roles": [] }), "roles"),
        (json!({ "roles": "anon" }), "roles"),
        (json!({ "roles": ["anon", "anon"] }), "roles"),
        (json!({ "roles": [""] }), "roles"),
        (json!({ "roles": [long] }), "roles"),
        (json!({ "roles": [7] }), "roles[0]"),
        (json!({ "bypass": ["anon"] }), "bypass"),
        (json!({ "bypass": "service_role" }), "bypass"),
        (json!({ "pollMilliseconds": 0 }), "pollMilliseconds"),
        (json!({ "pollMilliseconds": 99 }), "pollMilliseconds"),
        (json!({ "drainSeconds": 9 }), "drainSeconds"),
        (json!({ "role": ["anon"] }), "role"),
    ];
    for (change, path) in cases {
        let refusal = read(&changed(change.clone())).map(drop).unwrap_err();
        let expected = format!("REALTIME.databases.main.{path}");
        assert_eq!((refusal.code, refusal.field.as_deref()), (Code::Configuration, Some(&*expected)), "{change}");
        assert!(!refusal.message.contains("postgres://"), "a URL is a secret: {}", refusal.message);
    }
    let refused = |realtime: Value| read(&realtime).map(drop).unwrap_err().field.unwrap();
    assert_eq!(refused(json!({ "databases": [] })), "REALTIME.databases");
    assert_eq!(refused(json!({ "databases": { "a": database(), "b": database() } })), "REALTIME.databases.b");
    assert_eq!(refused(json!({ "databases": { "": database() } })), "REALTIME.databases.");
}

#[test]
fn an_organization_has_its_own_database_before_the_shared_one() {
    let mut shared = database();
    shared["organization"] = json!({ "column": "organization_id" });
    let own = database();
    let both = read(&json!({ "databases": { "a": shared, "b": own } })).unwrap();
    let named = |configuration: &Configuration, organization: &str| {
        configuration.databases().of(organization).map(|database| database.name.to_string())
    };
    assert_eq!(named(&both, ORGANIZATION).as_deref(), Some("b"));
    assert_eq!(named(&both, "org_2").as_deref(), Some("a"));
    assert_eq!(named(&read(&json!({ "databases": { "b": database() } })).unwrap(), "org_2"), None);
}

#[test]
fn deletes_says_that_a_table_is_the_databases() {
    let with = |deletes: Value, databases: Value| {
        read(&json!({ "tables": { "messages": { "deletes": deletes } }, "databases": databases }))
    };
    let databases = json!({ "main": database() });
    for (word, expected) in [("policy", Deletes::Policy), ("key", Deletes::Key)] {
        let configuration = with(json!(word), databases.clone()).unwrap();
        assert_eq!(configuration.tables.get("public", "messages").deletes, Some(expected));
    }
    let path = |refused: Result<Configuration, Refusal>| refused.map(drop).unwrap_err().field.unwrap();
    assert_eq!(path(with(json!("all"), databases.clone())), "REALTIME.tables.messages.deletes");
    assert_eq!(path(with(json!(true), databases)), "REALTIME.tables.messages.deletes");
    assert_eq!(path(with(json!("key"), json!({}))), "REALTIME.tables.public.messages.deletes", "without a database");
}

/// The principal of a token or key in the rig's organization.
fn principal(configuration: &Configuration, credential: &str) -> Principal {
    configuration.credentials.principal(START, credential, ORGANIZATION, &KeySet::default()).unwrap()
}

fn standing(claims: Value) -> Standing {
    let configuration = configuration(&json!({ "databases": { "main": database() } }), &[]);
    let mut all = json!({ "organizationId": ORGANIZATION, "exp": START / 1_000 + 60 });
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    let principal = principal(&configuration, &token::hs256(&all));
    configuration.databases().of(ORGANIZATION).unwrap().standing(&principal)
}

#[track_caller]
fn group(claims: Value) -> Group {
    match standing(claims) {
        Standing::Group(group) => Group::clone(&group),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_claim_role_picks_one_of_the_roles() {
    assert_eq!(group(json!({ "role": "authenticated" })).role, "authenticated");
    assert_eq!(group(json!({})).role, "anon", "the first, where none is named");
    assert_eq!(group(json!({ "role": "postgres" })).role, "anon", "the list is closed");
    assert_eq!(group(json!({ "role": ["authenticated"] })).role, "anon");
    assert_eq!(group(json!({ "roles": ["editor", "authenticated"] })).role, "authenticated");
    assert_eq!(group(json!({ "role": "anon", "roles": ["authenticated"] })).role, "anon", "the claim goes first");
}

#[test]
fn a_bypass_is_a_role_held_in_the_organization() {
    assert_eq!(standing(json!({ "role": "service_role" })), Standing::Bypass);
    assert_eq!(standing(json!({ "roles": ["x", "service_role"] })), Standing::Bypass);
    let elsewhere = json!({ "role": "service_role", "organizations": { ORGANIZATION: "member", "org_2": "owner" } });
    assert_eq!(group(elsewhere).role, "anon", "the role is not one of this organization");
}

#[test]
fn the_same_claims_are_one_group_whatever_their_order_and_times() {
    let claims = |text: &str| group(serde_json::from_str(text).unwrap());
    let one = claims(r#"{"sub":"u7","app":{"b":[{"y":1,"x":2}],"a":null},"iat":1,"nbf":1,"jti":"a"}"#);
    let same = claims(r#"{"jti":"b","app":{"a":null,"b":[{"x":2,"y":1}]},"iat":2,"sub":"u7","exp":1700000050}"#);
    assert_eq!(one, same);
    assert_eq!(one.claims, r#"{"app":{"a":null,"b":[{"x":2,"y":1}]},"organizationId":"org_1","sub":"u7"}"#);
    // printf '%s\n%s' "$role" "$claims" | sha256sum
    assert_eq!((one.id.len(), &*one.id), (16, GROUP_ID));
    assert_ne!(claims(r#"{"sub":"u7"}"#).id, one.id);
    assert_ne!(claims(r#"{"sub":"u7","role":"authenticated"}"#).id, claims(r#"{"sub":"u7"}"#).id);
}

const GROUP_ID: &str = "db5b44736366c877";

#[test]
fn a_key_is_judged_by_its_user_and_role() {
    let configuration = configuration(&json!({ "databases": { "main": database() } }), &[]);
    let robot = principal(&configuration, API_KEY);
    let database = configuration.databases().of(ORGANIZATION).unwrap();
    let Standing::Group(group) = database.standing(&robot) else { panic!("a key is judged") };
    assert_eq!((group.role.as_str(), group.claims.as_str()), ("anon", r#"{"role":"anon","sub":"robot"}"#));
}

/// A policy may deny by a claim, so a principal whose claims were not kept sees nothing.
#[test]
fn a_session_without_its_claims_is_nobody() {
    let configuration = configuration(&json!({ "databases": { "main": database() } }), &[]);
    let database = configuration.databases().of(ORGANIZATION).unwrap();
    assert_eq!(database.standing(&token::principal("ada", &["authenticated"], None)), Standing::Nobody);
}

#[test]
fn claims_are_kept_only_where_a_database_judges() {
    let claims = json!({ "sub": "u7", "organizationId": ORGANIZATION, "exp": START / 1_000 + 60, "plan": "pro" });
    let kept = |realtime: &Value| principal(&configuration(realtime, &[]), &token::hs256(&claims)).all_claims;
    assert_eq!(kept(&json!({})), None);
    let mut other = database();
    other["organization"] = json!("org_2");
    assert_eq!(kept(&json!({ "databases": { "main": other } })), None);
    assert!(kept(&json!({ "databases": { "main": database() } })).unwrap().contains("\"plan\":\"pro\""));
}

/// A separate database for each app.
fn of_each_app() -> Value {
    json!({ "connection": "DATABASE_{app}", "organization": "{app}", "roles": ["anon"] })
}

#[test]
fn each_app_may_have_a_database_of_its_own_and_none_has_anothers() {
    let mut special = database();
    special["connection"] = json!("DATABASE_APP_TAKEN");
    special["organization"] = json!("app_special");
    let configuration = read(&json!({ "databases": { "main": of_each_app(), "special": special } })).unwrap();
    let databases = configuration.databases();
    let of = |app: &str| {
        let database = databases.of(app).unwrap();
        (database.name.to_string(), database.connection.clone(), database.serves.clone())
    };
    let own = |app: &str| Serves::Organization(app.to_owned());
    let url = |name: &str| Some(name.to_owned());
    assert_eq!(of("app_a"), ("main/app_a".to_owned(), url("DATABASE_APP_A"), own("app_a")));
    assert_eq!(of("app_b"), ("main/app_b".to_owned(), url("DATABASE_APP_B"), own("app_b")));
    assert_eq!(of("app_special"), ("special".to_owned(), url("DATABASE_APP_TAKEN"), own("app_special")));
    assert_eq!(of("App_A"), ("main/App_A".to_owned(), None, own("App_A")), "another app has DATABASE_APP_A");
    assert_eq!(of("app_taken").1, None, "another database has DATABASE_APP_TAKEN");
    assert_eq!(databases.get("main/app_a"), databases.of("app_a"), "its object finds what it serves");
    for name in ["main", "main/", "main/two words", "main/app_special", "other/app_a", "app_a"] {
        assert_eq!(databases.get(name), None, "{name}");
    }
    assert_eq!(databases.declared_name("app_a"), Some("main"));
}

#[test]
fn the_pattern_of_a_connection_is_checked() {
    let spaced = changed(json!({ "connection": "DATABASE_{ app }_URL", "organization": "{app}" }));
    let own = read(&spaced).unwrap().databases().of("app_a").unwrap();
    assert_eq!(own.connection.as_deref(), Some("DATABASE_APP_A_URL"));
    let cases = [
        (json!({ "connection": "{app}", "organization": "{app}" }), "connection"),
        (json!({ "connection": "1_{app}", "organization": "{app}" }), "connection"),
        (json!({ "connection": "DATABASE_{user}", "organization": "{app}" }), "connection"),
        (json!({ "connection": "DATABASE_{app}_{app}", "organization": "{app}" }), "connection"),
        (json!({ "connection": "DATABASE_{app", "organization": "{app}" }), "connection"),
        (json!({ "connection": "DATABASE_{app}" }), "organization"),
        (json!({ "connection": "DATABASE_{app}", "organization": { "column": "app" } }), "organization"),
        (json!({ "connection": "DATABASE_URL", "organization": "{app}" }), "organization"),
    ];
    for (change, path) in cases {
        let refusal = read(&changed(change.clone())).map(drop).unwrap_err();
        assert_eq!(refusal.field, Some(format!("REALTIME.databases.main.{path}")), "{change}");
    }
    let field = |databases: Value| read(&json!({ "databases": databases })).map(drop).unwrap_err().field.unwrap();
    let shared = json!({ "connection": "SHARED", "organization": { "column": "app" }, "roles": ["anon"] });
    assert_eq!(field(json!({ "a": of_each_app(), "b": shared })), "REALTIME.databases.b", "both serve every other app");
    assert_eq!(field(json!({ "main": of_each_app(), "main/app_a": database() })), "REALTIME.databases.main/app_a");
    assert_eq!(field(json!({ "z/app_a": database(), "z": of_each_app() })), "REALTIME.databases.z/app_a");
}

#[test]
fn an_app_names_the_database_that_serves_it() {
    let with = |apps: Value, own: &str| {
        read(&json!({ "databases": { "main": of_each_app(), "own": database() },
            "butterbase": { "database": own, "apps": apps } }))
    };
    assert!(with(json!({ "app_a": { "database": "main" }, ORGANIZATION: { "database": "own" } }), "main").is_ok());
    let field = |apps: Value, own: &str| with(apps, own).map(drop).unwrap_err().field.unwrap();
    assert_eq!(field(json!({ "app_a": { "database": "own" } }), "main"), "REALTIME.butterbase.apps.app_a.database");
    assert_eq!(field(json!({}), "nope"), "REALTIME.butterbase.database");
}
