//! Masking: who sees a value, and what the others see of it, in rows before and after a change and in payloads.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod rig;

use rig::{Client, Rig, every_way};
use serde_json::{Value, json};

/// Publishes an update of one row, and returns what each client sees as `[new, old]`.
#[track_caller]
fn update(rig: &mut Rig, clients: &[&Client], body: Value) -> Vec<[Value; 2]> {
    let mut whole = json!({ "type": "postgres_changes", "table": "employees", "eventType": "UPDATE" });
    whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    rig.accepted(whole);
    let see = |client: &&Client| {
        let frame = client.next();
        [frame["new"].clone(), frame["old"].clone()]
    };
    clients.iter().map(see).collect()
}

#[test]
fn the_six_masks_of_the_contract() {
    let cases = [
        ("email", json!("john@yourdomain.com"), "j***@y*********.com"),
        ("phone", json!("(555) 123-4567"), "******4567"),
        ("ssn", json!("123-45-6789"), "*****6789"),
        ("creditCard", json!("4111-1111-1111-1111"), "**** **** **** 1111"),
        ("name", json!("John Smith"), "J***"),
        ("redact", json!(91000), "[REDACTED]"),
        ("phone", json!(5551234567_u64), "******4567"),
        ("phone", json!("1234"), "[REDACTED]"),
        ("email", json!("no at sign"), "[REDACTED]"),
        ("ssn", json!({ "ssn": "123-45-6789" }), "[REDACTED]"),
        ("name", json!(["John"]), "[REDACTED]"),
        ("name", json!(true), "[REDACTED]"),
    ];
    every_way(json!({}), |rig| {
        let ada = rig.connect("ada", &["admin"]);
        for (mask, value, expected) in &cases {
            let masking = json!({ "field": { "type": mask } });
            let seen = update(rig, &[&ada], json!({ "new": { "field": value }, "maskingConfig": masking }));
            assert_eq!(seen[0][0], json!({ "field": expected }), "{mask} of {value}");
            let seen = update(rig, &[&ada], json!({ "new": { "field": null }, "maskingConfig": masking }));
            assert_eq!(seen[0][0], json!({ "field": null }), "null stays null under {mask}");
        }
    });
}

#[test]
fn roles_and_owners_see_the_value() {
    every_way(json!({}), |rig| {
        let admin = rig.connect("ada", &["member", "admin"]);
        let owner = rig.connect("u7", &["member"]);
        let other = rig.connect("u8", &["member"]);
        let row = json!({ "id": 1, "userId": "u7", "ssn": "123-45-6789" });
        let masked = json!({ "id": 1, "userId": "u7", "ssn": "*****6789" });
        let cases = [
            (json!({ "roles": ["admin", "hr"], "or": "owner" }), [&row, &row, &masked]),
            (json!({ "roles": ["admin"] }), [&row, &masked, &masked]),
            (json!({ "or": "owner" }), [&masked, &row, &masked]),
            (json!({}), [&masked, &masked, &masked]),
            (json!({ "roles": [] }), [&masked, &masked, &masked]),
        ];
        for (show, expected) in cases {
            let masking = json!({ "ssn": { "type": "ssn", "show": show } });
            let seen = update(rig, &[&admin, &owner, &other], json!({ "new": row, "maskingConfig": masking }));
            let new: Vec<&Value> = seen.iter().map(|[new, _]| new).collect();
            assert_eq!(new, expected, "{show}");
        }
    });
}

#[test]
fn each_row_has_its_own_owner() {
    every_way(json!({}), |rig| {
        let [before, after] = ["u1", "u2"].map(|user| rig.connect(user, &[]));
        let masking = json!({ "pin": { "type": "redact", "show": { "or": "owner" } } });
        let row = |user: &str, pin: &str| json!({ "ownerId": user, "pin": pin });
        let body = json!({ "new": row("u2", "2222"), "old": row("u1", "1111"), "maskingConfig": masking });
        let seen = update(rig, &[&before, &after], body);
        assert_eq!(seen[0], [row("u2", "[REDACTED]"), row("u1", "1111")]);
        assert_eq!(seen[1], [row("u2", "2222"), row("u1", "[REDACTED]")]);
    });
}

#[test]
fn the_owner_column_is_the_one_that_is_named() {
    every_way(json!({ "tables": { "files": { "ownerField": "uploader" } } }), |rig| {
        let owner = rig.connect("7", &[]);
        let masking = json!({ "pin": { "type": "redact", "show": { "or": "owner" } } });
        let sees = |rig: &mut Rig, table: &str, owner_field: Value, row: Value| {
            let mut body = json!({ "type": "postgres_changes", "table": table, "eventType": "INSERT",
                "new": row, "maskingConfig": masking });
            if !owner_field.is_null() {
                body["ownerField"] = owner_field;
            }
            rig.accepted(body);
            owner.next()["new"]["pin"] == "1"
        };
        assert!(sees(rig, "t", json!(null), json!({ "user_id": "7", "createdBy": "8", "pin": "1" })));
        assert!(!sees(rig, "t", json!(null), json!({ "user_id": "8", "createdBy": "7", "pin": "1" })));
        assert!(!sees(rig, "t", json!(null), json!({ "user_id": null, "createdBy": "7", "pin": "1" })));
        assert!(sees(rig, "t", json!("boss"), json!({ "userId": "8", "boss": 7, "pin": "1" })));
        assert!(!sees(rig, "t", json!("boss"), json!({ "userId": "7", "pin": "1" })));
        assert!(sees(rig, "files", json!("userId"), json!({ "userId": "8", "uploader": "7", "pin": "1" })));
        assert!(!sees(rig, "files", json!("userId"), json!({ "userId": "7", "uploader": "8", "pin": "1" })));
    });
}

#[test]
fn nobody_owns_what_has_no_owner() {
    every_way(json!({}), |rig| {
        let anonymous = rig.connect_with(&json!({ "organizationId": "org_1", "exp": rig.now / 1000 + 60 }));
        let masking = json!({ "pin": { "type": "redact", "show": { "or": "owner" } } });
        for owner in [json!(null), json!(""), json!({}), json!(false)] {
            let body = json!({ "new": { "userId": owner, "pin": "1234" }, "maskingConfig": masking });
            assert_eq!(update(rig, &[&anonymous], body)[0][0]["pin"], "[REDACTED]", "{owner}");
        }
    });
}

#[test]
fn a_dotted_path_leads_into_objects_and_lists() {
    every_way(json!({}), |rig| {
        let ada = rig.connect("ada", &[]);
        let masking = json!({ "address.phone": { "type": "redact" } });
        let cases = [
            (
                json!({ "address": { "phone": "1", "zip": 2 } }),
                json!({ "address": { "phone": "[REDACTED]", "zip": 2 } }),
            ),
            (
                json!({ "address": [{ "phone": "1" }, [{ "phone": 2 }]] }),
                json!({ "address": [{ "phone": "[REDACTED]" }, [{ "phone": "[REDACTED]" }]] }),
            ),
            (
                json!({ "address.phone": "1", "address": { "phone": "2" } }),
                json!({ "address.phone": "[REDACTED]", "address": { "phone": "2" } }),
            ),
            (json!({ "address": "{\"phone\":\"1\"}" }), json!({ "address": "[REDACTED]" })),
            (json!({ "address": null }), json!({ "address": null })),
            (json!({ "other": 1 }), json!({ "other": 1 })),
        ];
        for (row, expected) in cases {
            let seen = update(rig, &[&ada], json!({ "new": row, "old": row, "maskingConfig": masking }));
            assert_eq!(seen[0], [expected.clone(), expected], "{row}");
        }
    });
}

#[test]
fn configuration_and_request_hold_together() {
    let tables = json!({ "employees": { "masking": {
        "ssn": { "type": "ssn", "show": { "roles": ["admin", "hr"] } },
        "mail": { "type": "email" },
    } } });
    every_way(json!({ "tables": tables }), |rig| {
        let [admin, hr, member] = ["admin", "hr", "member"].map(|role| rig.connect(role, &[role]));
        let row = json!({ "ssn": "123-45-6789", "mail": "john@yourdomain.com", "name": "John" });
        let see = |rig: &mut Rig, masking: Value| {
            let seen = update(rig, &[&admin, &hr, &member], json!({ "new": row, "maskingConfig": masking }));
            seen.iter().map(|[new, _]| json!([new["ssn"], new["mail"], new["name"]])).collect::<Vec<_>>()
        };
        let (ssn, four, mail) = ("123-45-6789", "*****6789", "j***@y*********.com");
        let forgotten = see(rig, json!({}));
        assert_eq!(forgotten, [json!([ssn, mail, "John"]), json!([ssn, mail, "John"]), json!([four, mail, "John"])]);
        let narrower = json!({ "ssn": { "type": "ssn", "show": { "roles": ["admin", "member"] } } });
        assert_eq!(
            see(rig, narrower),
            [json!([ssn, mail, "John"]), json!([four, mail, "John"]), json!([four, mail, "John"])],
            "who is shown by both sees it"
        );
        let other = json!({ "ssn": { "type": "name" }, "mail": { "type": "email", "show": { "roles": ["admin"] } },
            "name": { "type": "name" } });
        assert_eq!(
            see(rig, other),
            [json!(["1***", mail, "J***"]), json!(["1***", mail, "J***"]), json!(["[REDACTED]", mail, "J***"])],
            "two different masks leave nothing"
        );
    });
}

#[test]
fn a_masked_column_may_also_be_unselected() {
    let tables =
        json!({ "employees": { "fields": ["id", "address"], "masking": { "address.phone": { "type": "redact" } } } });
    every_way(json!({ "tables": tables }), |rig| {
        let ada = rig.connect("ada", &[]);
        let row = json!({ "id": 1, "ssn": "1", "address": { "phone": "2" } });
        let seen = update(rig, &[&ada], json!({ "new": row, "fields": ["id", "address", "ssn"] }));
        assert_eq!(seen[0][0], json!({ "id": 1, "address": { "phone": "[REDACTED]" } }));
    });
}

#[test]
fn payloads_of_every_kind_are_masked() {
    every_way(json!({}), |rig| {
        let [admin, owner, other] = ["admin", "u7", "u8"].map(|name| rig.connect(name, &[name]));
        let masking = json!({ "ssn": { "type": "ssn", "show": { "roles": ["admin"], "or": "owner" } } });
        let cases = [
            (json!({ "ssn": "123-45-6789", "userId": "u7" }), json!({ "ssn": "*****6789", "userId": "u7" }), true),
            (json!([{ "ssn": "123-45-6789" }, 5]), json!([{ "ssn": "*****6789" }, "[REDACTED]"]), false),
            (json!("123-45-6789"), json!("[REDACTED]"), false),
            (json!(1234567), json!("[REDACTED]"), false),
            (json!(true), json!("[REDACTED]"), false),
            (json!(null), json!(null), false),
            (json!({}), json!({}), false),
            (json!({ "data": { "ssn": "1" } }), json!({ "data": { "ssn": "1" } }), false),
        ];
        for (payload, masked, owned) in cases {
            rig.accepted(json!({ "type": "broadcast", "event": "e", "payload": payload, "maskingConfig": masking }));
            assert_eq!(admin.next()["payload"], payload);
            assert_eq!(owner.next()["payload"], if owned { payload.clone() } else { masked.clone() });
            assert_eq!(other.next()["payload"], masked);
        }
    });
}

#[test]
fn a_deleted_row_is_masked_as_any_other() {
    every_way(json!({}), |rig| {
        let [owner, other] = ["u7", "u8"].map(|user| rig.connect(user, &[]));
        let masking = json!({ "ssn": { "type": "ssn", "show": { "or": "owner" } } });
        let row = json!({ "userId": "u7", "ssn": "123-45-6789" });
        rig.accepted(json!({ "type": "postgres_changes", "table": "t", "eventType": "DELETE", "old": row,
            "maskingConfig": masking }));
        assert_eq!(owner.next()["old"]["ssn"], "123-45-6789");
        assert_eq!(other.next()["old"]["ssn"], "*****6789");
    });
}

#[test]
fn lists_within_lists_are_followed_however_deep() {
    let mut rig = Rig::new(&json!({}));
    let ada = rig.connect("ada", &[]);
    // Each level of a list used to take one level of the stack and one pass over the rest, so a row could crash the
    // object.
    let deep = format!("{}{{\"phone\":\"5551234567\"}}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = format!(
        "{{\"organizationId\":\"org_1\",\"type\":\"postgres_changes\",\"table\":\"t\",\"eventType\":\"INSERT\",\
         \"new\":{{\"address\":{deep}}},\"maskingConfig\":{{\"address.phone\":{{\"type\":\"phone\"}}}}}}"
    );
    assert_eq!(rig.publish_text(&body).status, 202);
    assert!(!ada.next_text().contains("5551234567"));
}

#[test]
fn a_misspelt_table_does_not_go_out_without_its_masks() {
    let rules = json!({ "masking": { "ssn": { "type": "ssn" } } });
    let change = |table: &str| json!({ "type": "postgres_changes", "table": table, "eventType": "INSERT", "new": { "ssn": "123-45-6789" } });
    let realtime = json!({ "tables": { "employees": rules, "hr.Staff": rules } });
    let mut rig = Rig::new(&realtime);
    let client = rig.connect("ada", &["member"]);
    for misspelt in ["Employees", "EMPLOYEES", " employees", "employees ", "emp loyees"] {
        let answer = rig.publish(change(misspelt));
        assert_eq!((answer.status, &answer.body["error"]["code"]), (400, &json!("invalid_request")), "{misspelt}");
    }
    let batch = json!({ "messages": [change("employees"), change("Employees")] });
    assert_eq!(rig.publish(batch).status, 400, "all of a request or nothing");
    assert!(client.frames().is_empty());
    assert_eq!(rig.accepted(change("employees")), 1);
    assert_eq!(rig.accepted(change("orders")), 1, "not configured, and not alike");
    let mut strict = realtime.clone();
    strict["unknownTables"] = json!("refuse");
    let mut rig = Rig::new(&strict);
    assert_eq!(rig.publish(change("orders")).status, 400);
    assert_eq!(rig.publish(change("employees")).status, 202);
}
