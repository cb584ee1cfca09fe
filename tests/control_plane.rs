//! Control planes with a database: what it is asked, step by step, and what its answers lead to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod http_call;

use std::collections::VecDeque;

use http_call::{HttpCall, final_answer};
use realtime_worker::dialect::read_configuration;
use realtime_worker::policy::configuration::Configuration;
use realtime_worker::server::request_head::RequestHead;
use realtime_worker::source::statement::Statement;
use serde_json::{Value, json};

const ACCESS_TOKEN: &str = "an-access-token-of-thirty-two-bytes";
const APP: &str = "app_abc123";
const BUTTERBASE: &str = "/v1/app_abc123/realtime";
const FLUXBASE: &str = "/api/v1/admin/realtime/tables";

/// A deployment whose database has the rows of only this app, or of the organizations that a column names.
fn configuration(organization: &Value) -> Configuration {
    let database = json!({ "connection": "DATABASE_URL", "organization": organization, "roles": ["authenticated"] });
    let realtime = json!({ "databases": { "main": database }, "butterbase": {}, "fluxbase": { "organization": APP } });
    read_configuration(&|name| match name {
        "ACCESS_TOKEN" => Some(ACCESS_TOKEN.to_owned()),
        "JWT_SECRET" => Some("a-secret-of-thirty-two-bytes-at-least".to_owned()),
        "REALTIME" => Some(realtime.to_string()),
        _ => None,
    })
    .unwrap()
}

/// Executes a request against a database with this answer; returns status, answer, and the database's request.
fn carry_out(
    configuration: &Configuration,
    (method, path): (&str, &str),
    body: &Value,
    answers: &[(&str, u16, Value)],
) -> (u16, Value, Vec<Value>) {
    let head = RequestHead {
        method: method.to_owned(),
        path: path.to_owned(),
        authorization: Some(format!("Bearer {ACCESS_TOKEN}")),
        websocket_origin: "wss://realtime.example".to_owned(),
        ..RequestHead::default()
    };
    let mut answers: VecDeque<_> = answers.iter().collect();
    let mut asked = Vec::new();
    let call = HttpCall::new(configuration, 0).with_database(|question| {
        let Some((path, status, answer)) = answers.pop_front() else {
            panic!("no answer for a question to {}", question.path)
        };
        assert_eq!((&*question.database, question.path), ("main", *path));
        asked.push(serde_json::from_str(&question.body).unwrap_or_default());
        (*status, answer.to_string())
    });
    let answer = final_answer(call.carry_out(head, &body.to_string()));
    assert!(answers.is_empty(), "every answer was asked for");
    (answer.status, serde_json::from_str(&answer.body).unwrap(), asked)
}

fn own() -> Configuration {
    configuration(&json!(APP))
}

/// The state of a database in which these tables are enabled.
fn status(tables: Value) -> (&'static str, u16, Value) {
    ("/status", 200, json!({ "connection": "listening", "database": { "tables": tables } }))
}

fn table(name: &str, more: Value) -> Value {
    let mut table = json!({ "schema": "public", "table": name, "enabled": true, "events": ["INSERT"], "exclude": ["raw"],
        "excluded": ["raw"], "trigger_installed": true, "drift": false, "created_at": "2026-08-01T10:00:00.000Z",
        "updated_at": "2026-08-01T10:00:00.000Z" });
    table.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    table
}

#[test]
fn an_app_enables_its_tables_all_or_none() {
    let (configure, body) = (format!("{BUTTERBASE}/configure"), json!({ "tables": ["messages", "notes"] }));
    let enabled = ("/tables", 200, json!({ "missing": [], "tables": [] }));
    let (code, answer, asked) = carry_out(&own(), ("POST", &configure), &body, &[enabled, status(json!([]))]);
    assert_eq!((code, &answer["configured"][1]["status"]), (200, &json!("enabled")));
    let all = json!(["INSERT", "UPDATE", "DELETE"]);
    let expected = json!({ "action": "enable", "schema": "public", "tables": ["messages", "notes"], "events": all });
    assert_eq!(asked[0], expected);
    assert!(Statement::of_table(&asked[0].to_string()).is_some(), "the database's object understands it");
    let missing = ("/tables", 200, json!({ "missing": ["notes"] }));
    let (code, answer, _) = carry_out(&own(), ("POST", &configure), &body, &[missing]);
    assert_eq!((code, &answer["error"]["code"]), (404, &json!("VALIDATION_TABLE_NOT_FOUND")));
    assert_eq!(answer["error"]["details"], json!({ "missing_tables": ["notes"] }));
}

#[test]
fn a_trigger_that_is_gone_is_told_as_drift() {
    let gone = table("messages", json!({ "trigger_installed": false, "drift": true }));
    let config = format!("{BUTTERBASE}/config");
    let (code, answer, _) =
        carry_out(&own(), ("GET", &config), &json!(null), &[status(json!([gone, table("notes", json!({}))]))]);
    assert_eq!((code, &answer["active_connection"]), (200, &json!(true)));
    assert_eq!(answer["websocket_url"], "wss://realtime.example/v1/app_abc123/realtime");
    let drift = |number: usize| {
        let table = &answer["tables"][number];
        [&table["enabled"], &table["trigger_installed"], &table["drift"]].map(|known| known.as_bool().unwrap())
    };
    assert_eq!((drift(0), drift(1)), ([true, false, true], [true, true, false]));
}

#[test]
fn disabling_is_repeatable_for_an_app_and_a_table_that_is_off_is_unknown_to_fluxbase() {
    let off = |changed| ("/tables", 200, json!({ "enabled": false, "changed": changed }));
    let (butterbase, fluxbase) = (format!("{BUTTERBASE}/messages"), format!("{FLUXBASE}/public/messages"));
    for answers in [vec![off(true), status(json!([]))], vec![off(false)]] {
        let (code, answer, asked) = carry_out(&own(), ("DELETE", &butterbase), &json!(null), &answers);
        assert_eq!((code, answer), (200, json!({ "table": "messages", "status": "disabled" })));
        assert_eq!(asked[0], json!({ "action": "disable", "schema": "public", "table": "messages" }));
    }
    let (code, answer, _) = carry_out(&own(), ("DELETE", &fluxbase), &json!(null), &[off(false)]);
    assert_eq!((code, &answer["code"]), (404, &json!("unknown_table")));
}

#[test]
fn an_update_leaves_alone_what_it_does_not_name() {
    let place = format!("{FLUXBASE}/public/messages");
    let known = || status(json!([table("messages", json!({}))]));
    let enabled = ("/tables", 200, json!({ "missing": [], "tables": [] }));
    let answers = [known(), enabled, known()];
    let (code, _, asked) = carry_out(&own(), ("PATCH", &place), &json!({ "events": ["DELETE"] }), &answers);
    let expected = json!({ "action": "enable", "schema": "public", "table": "messages", "events": ["DELETE"],
        "exclude": ["raw"] });
    assert_eq!((code, &asked[1]), (200, &expected));
    let (code, ..) = carry_out(&own(), ("PATCH", &place), &json!({ "events": ["DELETE"] }), &[status(json!([]))]);
    assert_eq!(code, 404);
}

#[test]
fn a_table_that_is_off_stays_listed_and_is_not_changed() {
    let off = || {
        let off = json!([table("drafts", json!({ "enabled": false, "trigger_installed": false }))]);
        let database = json!({ "tables": [table("messages", json!({})), table("aims", json!({}))], "disabled": off });
        ("/status", 200, json!({ "connection": "listening", "database": database }))
    };
    let config = format!("{BUTTERBASE}/config");
    let (code, answer, _) = carry_out(&own(), ("GET", &config), &json!(null), &[off()]);
    let tables: Vec<_> = answer["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| {
            (
                table["table_name"].as_str().unwrap(),
                table["enabled"].as_bool().unwrap(),
                table["drift"].as_bool().unwrap(),
            )
        })
        .collect();
    let expected = [("aims", true, false), ("drafts", false, false), ("messages", true, false)];
    assert_eq!((code, tables.as_slice()), (200, expected.as_slice()), "in the order of their names");
    let list = |path: &str| carry_out(&own(), ("GET", path), &json!(null), &[off()]).1;
    assert_eq!(list(FLUXBASE)["count"], 2);
    let drafts = list(&format!("{FLUXBASE}/public/drafts"));
    assert_eq!((&drafts["realtime_enabled"], &drafts["excluded_columns"]), (&json!(false), &json!(["raw"])));
    let patch = ("PATCH", &*format!("{FLUXBASE}/public/drafts"));
    assert_eq!(carry_out(&own(), patch, &json!({ "events": ["INSERT"] }), &[off()]).0, 404);
}

#[test]
fn a_table_that_was_never_enabled_is_told_as_off_and_one_that_is_not_there_as_unknown() {
    let place = format!("{FLUXBASE}/hr/people");
    let get = |found: bool| {
        let answers = [status(json!([table("messages", json!({}))])), ("/tables", 200, json!({ "found": found }))];
        carry_out(&own(), ("GET", &place), &json!(null), &answers)
    };
    let (code, answer, asked) = get(true);
    let expected = json!({ "id": null, "schema": "hr", "table": "people", "realtime_enabled": false, "events": [],
        "excluded_columns": [], "created_at": null, "updated_at": null });
    assert_eq!((code, answer), (200, expected));
    assert_eq!(asked[1], json!({ "action": "find", "schema": "hr", "table": "people" }));
    let find = Statement::Find { schema: "hr".to_owned(), table: "people".to_owned() };
    assert_eq!(Statement::of_table(&asked[1].to_string()), Some(find));
    assert_eq!(get(false).0, 404);
    let unreachable = [status(json!([])), ("/tables", 503, json!({}))];
    assert_eq!(carry_out(&own(), ("GET", &place), &json!(null), &unreachable).0, 503);
    for schema in ["pg_catalog", "information_schema", "auth", "realtime"] {
        for method in ["GET", "DELETE"] {
            let place = format!("{FLUXBASE}/{schema}/users");
            assert_eq!(carry_out(&own(), (method, &place), &json!(null), &[]).0, 400, "{method} {schema}");
        }
    }
}

#[test]
fn a_database_of_several_organizations_is_set_by_none_of_them() {
    let shared = configuration(&json!({ "column": "organization_id" }));
    let (configure, body) = (format!("{BUTTERBASE}/configure"), json!({ "tables": ["messages"] }));
    let (code, answer, _) = carry_out(&shared, ("POST", &configure), &body, &[]);
    assert_eq!((code, &answer["error"]["code"]), (403, &json!("AUTH_INSUFFICIENT_PERMISSIONS")));
    let (code, ..) = carry_out(&shared, ("POST", FLUXBASE), &json!({ "table": "messages" }), &[]);
    assert_eq!(code, 403);
}

#[test]
fn what_the_database_does_not_allow_or_cannot_answer_is_no_success() {
    let (configure, body) = (format!("{BUTTERBASE}/configure"), json!({ "tables": ["messages"] }));
    let refusal = |code: &str| json!({ "error": { "code": "source_unavailable", "message": code } });
    for (status, expected) in [(403, 403), (503, 503), (500, 500)] {
        let answer = ("/tables", status, refusal("no"));
        let (code, ..) = carry_out(&own(), ("POST", &configure), &body, std::slice::from_ref(&answer));
        assert_eq!(code, expected);
        assert_eq!(carry_out(&own(), ("POST", FLUXBASE), &json!({ "table": "messages" }), &[answer]).0, expected);
    }
    let unreachable = ("/status", 200, json!({ "connection": "waiting", "database": null }));
    assert_eq!(carry_out(&own(), ("GET", FLUXBASE), &json!(null), &[unreachable]).0, 503);
}
