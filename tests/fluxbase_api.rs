//! Fluxbase's address and REST, step by step as the shell executes it: who is admitted as whom, which object is asked,
//! and what is answered.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at the first surprise")]

mod http_call;
mod rig;
mod signing;

use std::rc::Rc;

use http_call::{HttpCall, final_answer};
use realtime_worker::code::Code;
use realtime_worker::dialect::fluxbase::ID;
use realtime_worker::dialect::read_configuration;
use realtime_worker::policy::configuration::Configuration;
use realtime_worker::policy::key_set::KeySet;
use realtime_worker::policy::principal::{Method, Principal};
use realtime_worker::server::answer::Answer;
use realtime_worker::server::dialects;
use realtime_worker::server::entrance::Rejection;
use realtime_worker::server::handshake::{HandshakeStep, admit, refused};
use realtime_worker::server::request_head::{Query, RequestHead, request_id};
use rig::{ORGANIZATION, Rig};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use signing::*;

const ACCESS_TOKEN: &str = "an-access-token-of-thirty-two-bytes";
/// Keys of servers: one of this organization, and one of another.
const KEY: &str = "a-key-of-the-organization";
const FOREIGN_KEY: &str = "a-key-of-another-one";

fn realtime(fluxbase: Value) -> Value {
    json!({
        "tables": { "products": {}, "orders": {}, "auth.users": {} },
        "channels": [{ "topic": "room:*", "read": {}, "write": { "roles": ["authenticated"] } }],
        "fluxbase": fluxbase,
    })
}

fn api_keys() -> String {
    let key = |key: &str, organization: &str| {
        let hash: String = Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        json!({ "name": key, "hash": hash, "organizationId": organization, "userId": "robot", "roles": ["service_role"] })
    };
    json!([key(KEY, ORGANIZATION), key(FOREIGN_KEY, "org_2")]).to_string()
}

fn configuration(realtime: &Value) -> Configuration {
    let realtime = realtime.to_string();
    read_configuration(&|name| match name {
        "ACCESS_TOKEN" => Some(ACCESS_TOKEN.to_owned()),
        "JWT_SECRET" => Some(SECRET.to_owned()),
        "REALTIME" => Some(realtime.clone()),
        "API_KEYS" => Some(api_keys()),
        _ => None,
    })
    .unwrap()
}

fn usual() -> Value {
    realtime(json!({ "organization": ORGANIZATION, "anonymous": ["public.products"] }))
}

fn head(method: &str, path: &str, query: &str, key: &str) -> RequestHead {
    RequestHead {
        host: "realtime.example.com".to_owned(),
        method: method.to_owned(),
        path: path.to_owned(),
        query: Query::read(query),
        authorization: (!key.is_empty()).then(|| format!("Bearer {key}")),
        media_type: Some("application/json".to_owned()),
        ..RequestHead::default()
    }
}

fn socket(query: &str, key: &str) -> RequestHead {
    RequestHead { upgrade: Some("websocket".to_owned()), ..head("GET", "/realtime", query, key) }
}

fn token(more: Value) -> String {
    let mut claims = json!({ "sub": "u7", "exp": NOW_SECONDS + 60 });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    hmac("HS256", SECRET, &claims)
}

/// Where a request for a socket leads, and as which principal.
fn enter(head: &RequestHead, configuration: &Configuration) -> Result<(String, Principal), Answer> {
    let answer = |refusal: &_| match refused(head, refusal) {
        Rejection::Answer(answer) => answer,
        Rejection::Close { .. } => panic!("rejected after the upgrade"),
    };
    let (organization, admission) = match admit(head, configuration, NOW).map_err(|refusal| answer(&refusal))? {
        HandshakeStep::Open(organization, admission) => (organization, *admission),
        HandshakeStep::Verify(unverified) => {
            let credential = unverified.credential().to_owned();
            let proven = configuration.credentials.verify(NOW, &credential, &KeySet::default());
            unverified.conclude(&configuration.credentials, proven).map_err(|refusal| answer(&refusal))?
        }
        HandshakeStep::Hold(_) => panic!("its address says where it goes"),
    };
    assert_eq!(admission.dialect, ID.0);
    Ok((organization, admission.principal.unwrap()))
}

#[test]
fn a_socket_is_anonymous_or_its_tokens() {
    let configuration = configuration(&usual());
    let (organization, nobody) = enter(&socket("", ""), &configuration).unwrap();
    assert_eq!((&*organization, nobody.method, nobody.user), (ORGANIZATION, Method::Anonymous, None));
    assert_eq!(nobody.roles.as_slice(), ["anon"]);
    // A token without an organization belongs to that of Fluxbase's clients, and to no other.
    for head in [socket(&format!("?token={}", token(json!({}))), ""), socket("?token=x", &token(json!({})))] {
        let (organization, user) = enter(&head, &configuration).unwrap();
        assert_eq!((&*organization, user.user.as_deref()), (ORGANIZATION, Some("u7")));
    }
    assert!(configuration.credentials.principal(NOW, &token(json!({})), "org_2", &KeySet::default()).is_err());
    // A server's key is as good as a token, in the header and in the address.
    for head in [socket(&format!("?token={KEY}"), ""), socket("", KEY)] {
        let (organization, robot) = enter(&head, &configuration).unwrap();
        assert_eq!(
            (&*organization, robot.method, robot.roles.first()),
            (ORGANIZATION, Method::ApiKey, Some("service_role"))
        );
    }
    for header in [KEY, "Basic dXNlcjpwYXNz", "Bearer"] {
        let head = RequestHead { authorization: Some(header.to_owned()), ..socket("", "") };
        assert_eq!(enter(&head, &configuration).unwrap_err().status, 401, "{header}");
    }
    let named = token(json!({ "organizationId": "org_2" }));
    for bad in ["a.b.c", &named, FOREIGN_KEY, &token(json!({ "exp": NOW_SECONDS - 31 }))] {
        let answer = enter(&socket(&format!("?token={bad}"), ""), &configuration).unwrap_err();
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, &body["error"]), (401, &json!("Invalid or expired token")), "{bad}");
    }
}

#[test]
fn without_a_configuration_there_are_no_such_clients() {
    let configuration = configuration(&json!({}));
    assert_eq!(enter(&socket("", ""), &configuration).unwrap_err().status, 404);
    let api = dialects::api("/api/realtime/stats").unwrap();
    let step = api.call(Rc::new(head("GET", "/api/realtime/stats", "", "")), &configuration);
    assert_eq!(step.err().map(|rejected| rejected.code), Some(Code::NotFound));
    let plain = RequestHead { upgrade: None, ..socket("", "") };
    assert_eq!(enter(&plain, &configuration).unwrap_err().status, 426);
}

/// Executes a request: the rig's object answers.
fn call(rig: &mut Rig, realtime: &Value, head: RequestHead, body: &str) -> (u16, Value) {
    let configuration = configuration(realtime);
    let call = HttpCall::new(&configuration, NOW).with_object(|question| {
        assert_eq!(question.organization, ORGANIZATION);
        rig.ask_at(question.peer, question.path, question.body.as_deref().unwrap_or_default())
    });
    let answer = final_answer(call.carry_out(head, body));
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

/// Opens a socket of the dialect in the rig.
fn open(rig: &mut Rig, principal: Principal) -> rig::Client {
    rig.open_at(ID, Some(principal), None, realtime_worker::engine::command::Recover::Off).unwrap()
}

fn user(role: &str) -> Principal {
    rig::token::principal("u7", &[role], None)
}

#[test]
fn both_contracts_have_their_figures() {
    let mut rig = Rig::new(&usual());
    let one = open(&mut rig, user("authenticated"));
    let two = open(&mut rig, Principal::anonymous("anon"));
    for channel in ["table:public.products", "table:public.orders", "room:1"] {
        rig.frame(&one, json!({ "type": "subscribe", "channel": channel }));
    }
    rig.frame(&two, json!({ "type": "subscribe", "channel": "table:public.products" }));
    let stats = head("GET", "/api/realtime/stats", "", "");
    assert_eq!(call(&mut rig, &usual(), stats, ""), (200, json!({ "connections": 2, "channels": 3 })));
    let newer = |query: &str, key: &str| head("GET", "/api/v1/realtime/stats", query, key);
    assert_eq!(call(&mut rig, &usual(), newer("", ""), "").0, 401);
    assert_eq!(call(&mut rig, &usual(), newer("", &token(json!({}))), "").0, 403);
    for admin in [ACCESS_TOKEN, &token(json!({ "role": "admin" }))] {
        let (status, answer) = call(&mut rig, &usual(), newer("?search=u7&limit=1", admin), "");
        assert_eq!((status, &answer["total_connections"], &answer["limit"]), (200, &json!(1), &json!(1)));
        let connection = json!({ "id": one.id, "user_id": "u7", "email": null, "remote_addr": null,
            "connected_at": "2023-11-14T22:13:20.000Z" });
        assert_eq!(answer["connections"], json!([connection]));
    }
    let (_, second) = call(&mut rig, &usual(), newer("?offset=1", ACCESS_TOKEN), "");
    assert_eq!((&second["total_connections"], second["connections"].as_array().unwrap().len()), (&json!(2), 1));
    for (query, limit, offset) in [("", 25, 0), ("?limit=100", 100, 0), ("?limit=101&offset=3", 100, 3)] {
        let (_, page) = call(&mut rig, &usual(), newer(query, ACCESS_TOKEN), "");
        assert_eq!((&page["limit"], &page["offset"]), (&json!(limit), &json!(offset)), "{query}");
        assert_eq!(page.as_object().unwrap().len(), 4, "{page}");
    }
    for query in ["?limit=x", "?offset=-1"] {
        assert_eq!(call(&mut rig, &usual(), newer(query, ACCESS_TOKEN), "").0, 400, "{query}");
    }
}

/// `{"error","code","request_id"}`; the last one if Cloudflare has named the request.
#[test]
fn an_error_names_the_request() {
    let mut rig = Rig::new(&usual());
    let mut error = |ray: Option<&str>| {
        let named = ray.and_then(|ray| request_id(ray.to_owned()));
        let head = RequestHead { request_id: named, ..head("GET", "/api/v1/realtime/stats", "", "") };
        call(&mut rig, &usual(), head, "").1
    };
    let told = json!({ "error": "The bearer token is missing or wrong.", "code": "unauthorized" });
    assert_eq!(error(None), told);
    let mut named = told.clone();
    named["request_id"] = json!("8f1a2b3c4d5e6f70-AMS");
    assert_eq!(error(Some("8f1a2b3c4d5e6f70-AMS")), named);
    for foreign in ["", "a\"b", "a b", &"a".repeat(65)] {
        assert_eq!(error(Some(foreign)), told, "what a caller may have written is not repeated");
    }
}

#[test]
fn figures_and_connections_are_those_of_all_objects() {
    let mut rig = Rig::with_relays(&usual(), 2);
    let people: Vec<_> = (0..7).map(|_| open(&mut rig, user("authenticated"))).collect();
    for (client, channels) in people.iter().zip([&["room:1", "table:public.orders"][..], &["room:1"], &["room:2"]]) {
        for channel in channels {
            rig.frame(client, json!({ "type": "subscribe", "channel": channel }));
        }
    }
    let stats = || head("GET", "/api/realtime/stats", "", ACCESS_TOKEN);
    let all = (200, json!({ "connections": 7, "channels": 3 }));
    assert_eq!(call(&mut rig, &usual(), stats(), ""), all);
    rig.hibernate();
    assert_eq!(call(&mut rig, &usual(), stats(), ""), all);
    for key in ["", "a-wrong-key", &token(json!({ "role": "admin" }))] {
        let configuration = configuration(&usual());
        let mut paths = Vec::new();
        let stranger = HttpCall::new(&configuration, NOW).with_object(|question| {
            paths.push(question.path);
            rig.ask(question.path, question.body.as_deref().unwrap_or_default())
        });
        let answer = final_answer(stranger.carry_out(head("GET", "/api/realtime/stats", "", key), ""));
        assert!(answer.body.contains("\"connections\":7"), "{answer:?}");
        assert_eq!(paths, ["/stats"], "one object is asked");
    }
    // Whatever the page size, each connection is on one page.
    for limit in 1..=8 {
        let mut seen = Vec::new();
        for page in 0..8 {
            let query = format!("?limit={limit}&offset={}", page * limit);
            let newer = head("GET", "/api/v1/realtime/stats", &query, ACCESS_TOKEN);
            let (status, answer) = call(&mut rig, &usual(), newer, "");
            assert_eq!((status, &answer["total_connections"], answer.get("relays")), (200, &json!(7), None));
            let list = answer["connections"].as_array().unwrap();
            assert!(list.len() <= limit);
            seen.extend(list.iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        }
        let mut ids: Vec<_> = people.iter().map(|client| client.id.clone()).collect();
        [&mut seen, &mut ids].into_iter().for_each(|ids| ids.sort());
        assert_eq!(seen, ids, "pages of {limit}");
    }
    let one = head("GET", "/api/v1/realtime/stats", &format!("?search={}", people[4].id), ACCESS_TOKEN);
    let (_, found) = call(&mut rig, &usual(), one, "");
    assert_eq!((&found["total_connections"], &found["connections"][0]["id"]), (&json!(1), &json!(people[4].id)));
}

#[test]
fn a_message_reaches_a_channel_over_rest() {
    let mut rig = Rig::new(&usual());
    let one = open(&mut rig, user("authenticated"));
    rig.frame(&one, json!({ "type": "subscribe", "channel": "room:1" }));
    one.next();
    let mut post = |key: &str, body: Value| {
        call(&mut rig, &usual(), head("POST", "/api/v1/realtime/broadcast", "", key), &body.to_string())
    };
    let sent = (200, json!({ "success": true, "channel": "room:1", "recipients": 1 }));
    let newer = json!({ "channel": "room:1", "event": "e", "payload": { "n": 1 } });
    assert_eq!(post(&token(json!({})), newer.clone()), sent);
    assert_eq!(post(ACCESS_TOKEN, json!({ "channel": "room:1", "message": { "n": 2 } })), sent);
    let (status, answer) = post(ACCESS_TOKEN, json!({ "event": "e" }));
    assert_eq!((status, &answer["error"]), (400, &json!("Channel is required")));
    assert_eq!(post("", newer.clone()).0, 401);
    assert_eq!(post(FOREIGN_KEY, newer.clone()).0, 401);
    assert_eq!(post(&token(json!({ "role": "guest" })), newer).0, 403);
    assert_eq!(post(ACCESS_TOKEN, json!({ "channel": 7 })).0, 400);
    // A client may publish as much as in a frame of its socket.
    for (bytes, status) in [(65_536 - 2, 200), (65_536 - 1, 413)] {
        let body = json!({ "channel": "room:1", "payload": "x".repeat(bytes) });
        assert_eq!(post(&token(json!({})), body.clone()).0, status, "{bytes}");
        assert_eq!(post(ACCESS_TOKEN, body).0, 200);
    }
    let seen = |frame: Value| frame["payload"]["broadcast"].clone();
    assert_eq!(seen(one.next()), json!({ "event": "e", "payload": { "n": 1 } }));
    assert_eq!(seen(one.next()), json!({ "event": "broadcast", "payload": { "n": 2 } }));
    assert_eq!((0..3).filter(|_| one.next_frame().is_some()).count(), 3, "what was not too large");
    assert!(one.next_frame().is_none());
}

#[test]
fn tables_are_enabled_changed_and_disabled() {
    let mut rig = Rig::new(&usual());
    let path = "/api/v1/admin/realtime/tables";
    let one = |name: &str| format!("{path}/{name}");
    let mut admin = |method: &str, path: &str, query: &str, body: Value| {
        call(&mut rig, &usual(), head(method, path, query, ACCESS_TOKEN), &body.to_string())
    };
    let (_, all) = admin("GET", path, "", json!({}));
    assert_eq!((&all["count"], &all["tables"][1]["table"]), (&json!(2), &json!("products")), "{all}");
    let enabled =
        admin("POST", path, "", json!({ "table": "products", "events": ["INSERT"], "exclude": ["raw_html"] }));
    let expected = json!({ "schema": "public", "table": "products", "events": ["INSERT"],
        "trigger_name": "products_realtime_notify", "exclude": ["raw_html"] });
    assert_eq!(enabled, (201, expected));
    let (_, shown) = admin("GET", &one("public/products"), "", json!({}));
    let (created, updated) = (shown["created_at"].clone(), shown["updated_at"].clone());
    assert!(created.as_str().unwrap().ends_with('Z') && created == updated, "{shown}");
    let expected = json!({ "id": 2, "schema": "public", "table": "products", "realtime_enabled": true,
        "events": ["INSERT"], "excluded_columns": ["raw_html"], "created_at": created, "updated_at": updated });
    assert_eq!(shown, expected);
    assert_eq!(admin("GET", path, "", json!({})).1["tables"][1], expected, "the list has the same");
    assert_eq!(admin("PATCH", &one("public/products"), "", json!({ "events": ["DELETE"], "exclude": [] })).0, 200);
    let (_, shown) = admin("GET", &one("public/products"), "", json!({}));
    assert_eq!((&shown["events"], &shown["excluded_columns"]), (&json!(["DELETE"]), &json!([])));
    for method in ["PATCH", "DELETE"] {
        let (status, done) = admin(method, &one("public/products"), "", json!({ "exclude": [] }));
        assert_eq!((status, &done["success"], done["message"].is_string()), (200, &json!(true), true), "{done}");
        assert_eq!(done.as_object().unwrap().len(), 2);
    }
    let (_, shown) = admin("GET", &one("public/products"), "", json!({}));
    assert_eq!(shown["realtime_enabled"], json!(false), "it stays listed");
    assert_eq!(admin("PATCH", &one("public/products"), "", json!({ "exclude": [] })).0, 404);
    assert_eq!(admin("GET", path, "", json!({})).1["count"], json!(1));
    assert_eq!(admin("GET", path, "?enabled=false", json!({})).1["count"], json!(2));
    for (body, status) in [
        (json!({ "table": "nothing" }), 404),
        (json!({ "table": "users", "schema": "auth" }), 400),
        (json!({ "table": "users", "schema": "realtime" }), 400),
        (json!({ "table": "pg_class", "schema": "pg_catalog" }), 400),
        (json!({ "table": "tables", "schema": "information_schema" }), 400),
        (json!({ "table": "products", "schema": "a.b" }), 400),
        (json!({ "table": "a-b" }), 400),
        (json!({ "table": "1a" }), 400),
        (json!({ "table": "products", "events": ["TRUNCATE"] }), 400),
        (json!({ "table": "products", "events": [] }), 400),
        (json!({ "table": "products", "exclud": [] }), 400),
        (json!({}), 400),
    ] {
        assert_eq!(admin("POST", path, "", body.clone()).0, status, "{body}");
    }
    for method in ["GET", "PATCH", "DELETE"] {
        assert_eq!(admin(method, &one("public/nothing"), "", json!({})).0, 404, "{method}");
    }
    // Enabling is repeatable.
    for _ in 0..2 {
        let (status, enabled) = admin("POST", path, "", json!({ "table": "products" }));
        let events = json!(["INSERT", "UPDATE", "DELETE"]);
        assert_eq!((status, &enabled["schema"], &enabled["events"]), (201, &json!("public"), &events));
    }
}

#[test]
fn tables_are_for_administrators() {
    let mut rig = Rig::new(&usual());
    let path = "/api/v1/admin/realtime/tables";
    for (key, status) in [("", 401), (&*token(json!({})), 403), ("a.b.c", 401)] {
        assert_eq!(call(&mut rig, &usual(), head("GET", path, "", key), "").0, status);
    }
}

#[test]
fn a_misspelt_key_of_the_configuration_is_refused() {
    let read = |fluxbase: Value| {
        let realtime = json!({ "fluxbase": fluxbase }).to_string();
        read_configuration(&|name| match name {
            "ACCESS_TOKEN" => Some(ACCESS_TOKEN.to_owned()),
            "JWT_SECRET" => Some(SECRET.to_owned()),
            "REALTIME" => Some(realtime.clone()),
            _ => None,
        })
    };
    assert!(read(json!({ "organization": "org_1" })).is_ok());
    for wrong in [json!({}), json!({ "organization": "a b" }), json!({ "organization": "o", "anonymus": [] })] {
        let refusal = read(wrong.clone()).unwrap_err();
        assert_eq!(refusal.code, Code::Configuration, "{wrong}");
    }
}
