//! The variable `REALTIME`: unknown keys refused with their path, limits, channel policies, public topics.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use realtime_worker::code::{Code, Refusal};
use realtime_worker::dialect::read_configuration;
use realtime_worker::policy::channel::{Action, Topic};
use realtime_worker::policy::configuration::Configuration;
use realtime_worker::policy::limits::{HistoryLimits, Limits};
use realtime_worker::policy::principal::{Method, Principal};
use realtime_worker::policy::roles::Roles;
use serde_json::{Value, json};

/// A deployment with this text as its `REALTIME`.
fn read(realtime: &str) -> Result<Configuration, Refusal> {
    read_configuration(&|name| match name {
        "ACCESS_TOKEN" | "JWT_SECRET" => Some("x".repeat(32)),
        "REALTIME" => Some(realtime.to_owned()),
        _ => None,
    })
}

#[track_caller]
fn check_refused(realtime: &str, field: &str) {
    let refusal = read(realtime).map(drop).unwrap_err();
    assert_eq!((refusal.code, refusal.field.as_deref()), (Code::Configuration, Some(field)), "{realtime}");
    assert!(refusal.message.contains("REALTIME"), "{}", refusal.message);
}

fn table(table: Value) -> String {
    json!({ "tables": { "t": table } }).to_string()
}

fn principal(user: &str, roles: &[&str]) -> Principal {
    Principal {
        user: Some(user.into()),
        roles: Roles::new(roles.iter().map(|role| (*role).to_owned())),
        method: Method::Session,
        expires: None,
        claims: [("teams".to_owned(), vec!["red".to_owned(), String::new()])].into(),
        all_claims: None,
        grants: Default::default(),
    }
}

fn topic(private: bool, name: &str) -> Topic {
    Topic { private, name: name.into() }
}

#[test]
fn what_is_no_object_is_refused_by_the_variables_name() {
    for text in ["", "null", "[]", "7", "\"{}\"", "{", "{}{}", "{\"tables\":{}", "tables = {}", "\u{feff}{}"] {
        check_refused(text, "REALTIME");
    }
    check_refused("{\"limits\":{},\"limits\":{}}", "REALTIME");
    check_refused("{\"tables\":{\"t\":{\"onInsert\":false,\"onInsert\":true}}}", "REALTIME.tables.t");
    assert!(read("{}").is_ok() && read(" \n{ } ").is_ok());
}

#[test]
fn an_unknown_key_is_refused_at_every_level() {
    check_refused("{\"table\":{}}", "REALTIME.table");
    check_refused(&table(json!({ "requiredRole": ["a"] })), "REALTIME.tables.t.requiredRole");
    check_refused(
        &table(json!({ "masking": { "a": { "type": "ssn", "shown": {} } } })),
        "REALTIME.tables.t.masking.a.shown",
    );
    let show = json!({ "masking": { "a": { "type": "ssn", "show": { "role": [] } } } });
    check_refused(&table(show), "REALTIME.tables.t.masking.a.show.role");
    check_refused(&table(json!({ "rows": [{ "roles": [] }, { "role": [] }] })), "REALTIME.tables.t.rows[1].role");
    let channel = |channel: Value| json!({ "channels": [{ "topic": "a" }, channel] }).to_string();
    check_refused(&channel(json!({ "topic": "b", "reads": {} })), "REALTIME.channels[1].reads");
    check_refused(&channel(json!({ "topic": "b", "read": { "role": ["a"] } })), "REALTIME.channels[1].read.role");
    check_refused("{\"limits\":{\"connection\":1}}", "REALTIME.limits.connection");
    check_refused("{\"history\":{\"second\":1}}", "REALTIME.history.second");
}

#[test]
fn a_wrong_type_is_refused_with_its_path() {
    let cases = [
        (json!({ "tables": [] }), "REALTIME.tables"),
        (json!({ "tables": { "t": null } }), "REALTIME.tables.t"),
        (json!({ "tables": { "t": { "requiredRoles": "admin" } } }), "REALTIME.tables.t.requiredRoles"),
        (json!({ "tables": { "t": { "requiredRoles": null } } }), "REALTIME.tables.t.requiredRoles"),
        (json!({ "tables": { "t": { "requiredRoles": [7] } } }), "REALTIME.tables.t.requiredRoles[0]"),
        (json!({ "tables": { "t": { "fields": null } } }), "REALTIME.tables.t.fields"),
        (json!({ "tables": { "t": { "masking": null } } }), "REALTIME.tables.t.masking"),
        (json!({ "tables": { "t": { "masking": { "a": "ssn" } } } }), "REALTIME.tables.t.masking.a"),
        (json!({ "tables": { "t": { "masking": { "a": {} } } } }), "REALTIME.tables.t.masking.a.type"),
        (json!({ "tables": { "t": { "masking": { "a": { "type": "SSN" } } } } }), "REALTIME.tables.t.masking.a.type"),
        (json!({ "tables": { "t": { "rows": null } } }), "REALTIME.tables.t.rows"),
        (json!({ "tables": { "t": { "rows": [{}] } } }), "REALTIME.tables.t.rows[0]"),
        (json!({ "tables": { "t": { "rows": [{ "column": "a" }] } } }), "REALTIME.tables.t.rows[0]"),
        (json!({ "tables": { "t": { "rows": [{ "claim": "a", "roles": [] }] } } }), "REALTIME.tables.t.rows[0]"),
        (json!({ "tables": { "t": { "onInsert": "yes" } } }), "REALTIME.tables.t.onInsert"),
        (json!({ "tables": { "t": { "columns": { "a": 7 } } } }), "REALTIME.tables.t.columns.a"),
        (json!({ "tables": { "t": { "columns": { "a": "mood" } } } }), "REALTIME.tables.t.columns.a"),
        (json!({ "tables": { "t": { "columns": { "a": "text" }, "fields": ["b"] } } }), "REALTIME.tables.t"),
        (json!({ "tables": { "t": { "columns": { "a": "text" }, "ownerField": "b" } } }), "REALTIME.tables.t"),
        (
            json!({ "tables": { "t": { "columns": { "a": "text" }, "masking": { "b.c": { "type": "ssn" } } } } }),
            "REALTIME.tables.t",
        ),
        (
            json!({ "tables": { "t": { "columns": { "a": "text" }, "rows": [{ "column": "b", "claim": "sub" }] } } }),
            "REALTIME.tables.t",
        ),
        (json!({ "tables": { "t": { "primaryKey": "id" } } }), "REALTIME.tables.t.primaryKey"),
        (json!({ "tables": { "t": { "primaryKey": [] } } }), "REALTIME.tables.t.primaryKey"),
        (json!({ "tables": { "t": { "primaryKey": ["a", ""] } } }), "REALTIME.tables.t.primaryKey"),
        (json!({ "tables": { "t": { "primaryKey": ["a", "b", "a"] } } }), "REALTIME.tables.t.primaryKey"),
        (json!({ "tables": { "t": { "primaryKey": ["a", 7] } } }), "REALTIME.tables.t.primaryKey[1]"),
        (json!({ "channels": {} }), "REALTIME.channels"),
        (json!({ "channels": [{ "topic": "a", "presenceRead": true }] }), "REALTIME.channels[0].presenceRead"),
        (json!({ "channels": [{}] }), "REALTIME.channels[0].topic"),
        (json!({ "channels": [{ "topic": "a{b" }] }), "REALTIME.channels[0].topic"),
        (json!({ "channels": [{ "topic": "a", "read": true }] }), "REALTIME.channels[0].read"),
        (json!({ "channels": [{ "topic": "a", "read": null }] }), "REALTIME.channels[0].read"),
        (json!({ "channels": [{ "topic": "a", "read": { "roles": "a" } }] }), "REALTIME.channels[0].read.roles"),
        (json!({ "publicTopics": "false" }), "REALTIME.publicTopics"),
        (json!({ "publicTopics": null }), "REALTIME.publicTopics"),
        (json!({ "unknownTables": "deny" }), "REALTIME.unknownTables"),
        (json!({ "unknownTables": true }), "REALTIME.unknownTables"),
        (json!({ "limits": 7 }), "REALTIME.limits"),
        (json!({ "history": [] }), "REALTIME.history"),
    ];
    for (value, field) in cases {
        check_refused(&value.to_string(), field);
    }
}

#[test]
fn every_limit_has_its_default_and_can_be_set() {
    let configuration = read("{}").unwrap();
    assert_eq!((configuration.limits, configuration.history), (Limits::default(), HistoryLimits::default()));
    for (section, table) in [("limits", Limits::TABLE), ("history", HistoryLimits::TABLE)] {
        for (name, default, _) in table {
            let with = |number: &str| read(&format!("{{\"{section}\":{{\"{name}\":{number}}}}}"));
            let shown = |number: &str| with(number).map(|it| format!("{:?} {:?}", it.limits, it.history)).unwrap();
            assert_eq!(shown(&default.to_string()), shown(&default.to_string()));
            assert_ne!(shown("1234567"), shown(&default.to_string()), "{name}");
            assert!(shown("1234567").contains(": 1234567"), "{name}");
            for wrong in [
                "-1",
                "1.0",
                "1e3",
                "\"1\"",
                "null",
                "true",
                "[1]",
                "9007199254740992",
                "1e999",
                "99999999999999999999",
            ] {
                let refusal = with(wrong).map(drop).unwrap_err();
                assert_eq!(refusal.field, Some(format!("REALTIME.{section}.{name}")), "{wrong}");
            }
        }
    }
    // A rate of zero would not limit anything.
    for rate in ["framesPerSecond", "joinsPerSecond", "publicationsPerSecond"] {
        check_refused(&format!("{{\"limits\":{{\"{rate}\":0}}}}"), &format!("REALTIME.limits.{rate}"));
    }
    let set = read(r#"{"limits":{"connections":7},"history":{"replay":0}}"#).unwrap();
    assert_eq!(set.limits, Limits { connections: 7, ..Limits::default() });
    assert_eq!(set.history, HistoryLimits { replay: 0, ..HistoryLimits::default() });
}

#[test]
fn the_first_channel_that_matches_decides() {
    let channels = json!({ "channels": [
        { "topic": "room:closed" },
        { "topic": "room:board", "read": { "roles": ["board"] } },
        { "topic": "room:*", "read": {}, "write": { "roles": ["member", "admin"] } },
        { "topic": "user:{sub}", "read": {}, "write": {}, "presence": {} },
        { "topic": "team:{teams}:*", "read": {} },
        { "topic": "room:closed", "read": {}, "write": {}, "presence": {} },
    ] });
    let configuration = read(&channels.to_string()).unwrap();
    let allowed = |action, name: &str, roles: &[&str]| {
        let answer = configuration.authorize(action, &topic(true, name), &principal("u7", roles));
        assert!(matches!(answer, Ok(()) | Err(Code::Forbidden)), "{answer:?}");
        answer.is_ok()
    };
    assert!(!allowed(Action::Read, "room:closed", &["board", "member", "admin"]));
    assert!(allowed(Action::Read, "room:board", &["board"]) && !allowed(Action::Read, "room:board", &["member"]));
    assert!(!allowed(Action::Write, "room:board", &["board", "member"]));
    assert!(allowed(Action::Read, "room:x", &[]) && !allowed(Action::Write, "room:x", &[]));
    assert!(allowed(Action::Write, "room:x", &["admin"]) && !allowed(Action::Presence, "room:x", &["admin"]));
    for action in [Action::Read, Action::Write, Action::Presence, Action::PresenceRead] {
        assert!(allowed(action, "user:u7", &[]) && !allowed(action, "user:u77", &[]), "{action:?}");
    }
    assert!(allowed(Action::Read, "team:red:1", &[]) && allowed(Action::Read, "team:red:", &[]));
    for name in ["", "room", "Room:x", " room:x", "team::1", "team:blue:1", "team:red", "user:{sub}", "user:", "user:*"]
    {
        for action in [Action::Read, Action::Write, Action::Presence, Action::PresenceRead] {
            assert!(!allowed(action, name, &["admin", "member", "board"]), "{name}");
        }
    }
}

#[test]
fn seeing_who_is_present_is_as_being_present_unless_given() {
    let channels = json!({ "channels": [
        { "topic": "open:*", "presence": { "roles": ["member"] } },
        { "topic": "hall:*", "presence": { "roles": ["member"] }, "presenceRead": {} },
        { "topic": "desk:*", "presence": {}, "presenceRead": { "roles": ["admin"] } },
        { "topic": "wall:*", "presenceRead": { "roles": ["admin"] } },
        { "topic": "void:*", "read": {}, "write": {} },
    ] });
    let configuration = read(&channels.to_string()).unwrap();
    let rights = |name: &str, role: &str| {
        let may = |action| configuration.authorize(action, &topic(true, name), &principal("u7", &[role])).is_ok();
        (may(Action::Presence), may(Action::PresenceRead))
    };
    assert_eq!((rights("open:1", "member"), rights("open:1", "guest")), ((true, true), (false, false)));
    assert_eq!((rights("hall:1", "member"), rights("hall:1", "guest")), ((true, true), (false, true)));
    assert_eq!((rights("desk:1", "admin"), rights("desk:1", "guest")), ((true, true), (true, false)));
    assert_eq!((rights("wall:1", "admin"), rights("wall:1", "guest")), ((false, true), (false, false)));
    assert_eq!(rights("void:1", "member"), (false, false));
}

#[test]
fn a_tables_primary_key_is_id_unless_given() {
    let configuration =
        read(&json!({ "tables": { "t": {}, "app.places": { "primaryKey": ["tenant", "code"] } } }).to_string());
    let tables = configuration.unwrap().tables;
    assert_eq!(tables.get("public", "t").primary_key, ["id"]);
    assert_eq!(tables.get("public", "unknown").primary_key, ["id"]);
    assert_eq!(tables.get("app", "places").primary_key, ["tenant", "code"]);
}

#[test]
fn claims_that_channels_and_rows_refer_to_are_kept() {
    let text = json!({
        "tables": { "t": { "rows": [{ "column": "a", "claim": "region" }, { "column": "b", "claim": "sub" }] } },
        "channels": [{ "topic": "team:{teams}:{sub}:*" }],
    });
    let claims = read(&text.to_string()).unwrap().credentials.claims;
    assert_eq!(claims, ["region", "teams"].map(str::to_owned).into());
}

#[test]
fn public_topics_are_open_until_switched_off() {
    let anyone = principal("u7", &[]);
    let open = read("{}").unwrap();
    let closed = read("{\"publicTopics\":false}").unwrap();
    for action in [Action::Read, Action::Write, Action::Presence, Action::PresenceRead] {
        assert_eq!(open.authorize(action, &topic(false, "room:1"), &anyone), Ok(()));
        assert_eq!(closed.authorize(action, &topic(false, "room:1"), &anyone), Err(Code::PublicTopicsDisabled));
        assert_eq!(open.authorize(action, &topic(true, "room:1"), &anyone), Err(Code::Forbidden));
    }
    let policy = read(r#"{"channels":[{"topic":"room:*","read":{}}]}"#).unwrap();
    assert!(policy.channel(&topic(false, "room:1"), &anyone).is_none());
    assert!(policy.channel(&topic(true, "room:1"), &anyone).is_some());
}

/// Channel policies are matched with topics that clients name, which must not be a way to stop the object.
#[test]
fn a_hostile_topic_is_matched_in_bounded_time() {
    let channels = json!({ "channels": [{ "topic": format!("{}!", "{teams}".repeat(12)), "read": {} }] });
    let configuration = read(&channels.to_string()).unwrap();
    let mut principal = principal("u7", &[]);
    principal.claims = [("teams".to_owned(), (1..=20).map(|length| "a".repeat(length)).collect())].into();
    let answer = configuration.authorize(Action::Read, &topic(true, &"a".repeat(255)), &principal);
    assert_eq!(answer, Err(Code::Forbidden));
    let answer = configuration.authorize(Action::Read, &topic(true, &format!("{}!", "a".repeat(100))), &principal);
    assert_eq!(answer, Ok(()));
}

#[test]
fn relays_are_none_or_as_many_as_an_organization_may_have() {
    let relays = |realtime: &str| read(realtime).map(|configuration| configuration.relays);
    assert_eq!(relays("{}"), Ok(None));
    assert_eq!(relays("{\"relays\":0}"), Ok(None));
    let read = relays("{\"relays\":{\"sockets\":32768,\"max\":64}}").unwrap().unwrap();
    assert_eq!((read.sockets, read.max), (32_768, 64));
    for wrong in ["1", "true", "\"0\"", "[]"] {
        check_refused(&format!("{{\"relays\":{wrong}}}"), "REALTIME.relays");
    }
    for (wrong, field) in [
        ("{\"sockets\":0,\"max\":1}", "sockets"),
        ("{\"sockets\":32769,\"max\":1}", "sockets"),
        ("{\"sockets\":1,\"max\":0}", "max"),
        ("{\"sockets\":1,\"max\":65}", "max"),
        ("{\"max\":1}", "sockets"),
        ("{\"sockets\":1}", "max"),
        ("{\"sockets\":1,\"max\":1,\"min\":1}", "min"),
    ] {
        check_refused(&format!("{{\"relays\":{wrong}}}"), &format!("REALTIME.relays.{field}"));
    }
}

#[test]
fn relays_stand_beside_databases_and_apps() {
    let relays = json!({ "sockets": 1, "max": 1 });
    let database = json!({ "connection": "DATABASE_URL", "organization": "org_main", "roles": ["authenticated"] });
    let beside = |relays: &Value, name: &str, value: &Value| json!({ "relays": relays, name: value }).to_string();
    let databases = json!({ "main": database });
    assert!(read(&beside(&json!(0), "databases", &databases)).is_ok_and(|read| read.relays.is_none()));
    let fluxbase = json!({ "organization": "org_1" });
    for (name, value) in [("databases", databases), ("butterbase", json!({})), ("fluxbase", fluxbase)] {
        assert!(read(&beside(&relays, name, &value)).is_ok_and(|read| read.relays.is_some()), "{name}");
    }
}
