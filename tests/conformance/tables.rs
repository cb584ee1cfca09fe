//! Changes of tables: who observes which, with which rows and which of their columns.

use serde_json::{Value, json};

use super::adapter::{Can, Observation, Table};
use super::stage::{Stage, Who};
use super::words::*;

pub fn each_operation_brings_its_rows(stage: &mut Stage<'_>) {
    let ada = stage.connect("ada", &["member"]);
    stage.subscribed(ada, &all_of("notes"));
    let [one, two] = [1, 2].map(|n| json!({ "id": 7, "n": n, "more": { "a": [n, null] } }));
    stage.publish(insert("notes", one.clone()));
    stage.sees(ada, [inserted("notes", one.clone())]);
    stage.publish(update("notes", two.clone(), one.clone()));
    stage.sees(ada, [updated("notes", two.clone(), one.clone())]);
    stage.publish(update("notes", one.clone(), json!(null)));
    stage.sees(ada, [updated("notes", one, json!(null))]);
    stage.publish(delete("notes", two.clone()));
    stage.sees(ada, [deleted("notes", two)]);
}

/// Which of five changes a subscription receives.
const NARROWINGS: [(Table, [bool; 5]); 10] = [
    (changes("claims"), [true, true, true, false, false]),
    (changes("claims").on("UPDATE"), [false, true, false, false, false]),
    (changes("claims").on("DELETE"), [false, false, true, false, false]),
    (changes("*"), [true, true, true, true, false]),
    (changes("*").of("*").on("INSERT"), [true, false, false, true, true]),
    (changes("claims").of("app"), [false, false, false, false, true]),
    (changes("claims").matching("status=eq.open"), [true, false, true, false, false]),
    (changes("claims").matching("amount=gt.9,status=in.(open,shut)"), [true, true, false, false, false]),
    (changes("claims").matching("missing=neq.1"), [false; 5]),
    (changes("other"), [false; 5]),
];

pub fn a_subscription_narrows_by_schema_table_event_and_filter(stage: &mut Stage<'_>) {
    let members: Vec<Who> = (0..NARROWINGS.len()).map(|n| stage.connect(&format!("u{n}"), &[])).collect();
    for (who, (table, _)) in members.iter().zip(NARROWINGS) {
        stage.subscribed(*who, &tables("s", [table]));
    }
    let open = json!({ "status": "open", "amount": 10 });
    let (shut, old) = (json!({ "status": "shut", "amount": 10 }), json!({ "status": "open" }));
    let changes = [
        (insert("claims", open.clone()), inserted("claims", open.clone())),
        (update("claims", shut.clone(), old.clone()), updated("claims", shut, old.clone())),
        (delete("claims", old.clone()), deleted("claims", old)),
        (insert("files", open.clone()), inserted("files", open.clone())),
        (with(insert("claims", open.clone()), json!({ "schema": "app" })), inserted("app.claims", open)),
    ];
    for (place, (change, observed)) in changes.into_iter().enumerate() {
        stage.publish(change);
        for (who, (_, passes)) in members.iter().zip(NARROWINGS) {
            if passes[place] { stage.sees(*who, [observed.clone()]) } else { stage.sees(*who, []) }
        }
    }
}

pub fn an_update_may_take_a_row_out_of_a_filter(stage: &mut Stage<'_>) {
    let ada = stage.connect("ada", &[]);
    stage.subscribed(ada, &tables("open", [changes("claims").matching("status=eq.open")]));
    let [open, shut] = ["open", "shut"].map(|status| json!({ "id": 1, "status": status }));
    stage.publish(insert("claims", shut.clone()));
    stage.publish(update("claims", open.clone(), shut.clone()));
    stage.sees(ada, [updated("claims", open.clone(), shut.clone())]);
    stage.publish(update("claims", shut.clone(), open.clone()));
    stage.sees_if(ada, Can::HearRemoval, [deleted("claims", open.clone())], []);
    stage.publish(delete("claims", shut));
    stage.sees(ada, []);
    stage.publish(delete("claims", open.clone()));
    stage.sees(ada, [deleted("claims", open)]);
}

pub fn several_that_match_bring_a_change_once(stage: &mut Stage<'_>) {
    let ada = stage.connect("ada", &[]);
    let parts = [changes("notes"), changes("notes").on("INSERT").matching("n=eq.1"), changes("files").on("DELETE")];
    stage.subscribed(ada, &tables("all", parts));
    for table in ["notes", "files", "other"] {
        stage.publish(insert(table, json!({ "n": 1 })));
    }
    stage.publish(delete("files", json!({ "n": 2 })));
    stage.sees(ada, [inserted("notes", json!({ "n": 1 })), deleted("files", json!({ "n": 2 }))]);
}

pub fn a_change_for_two_subscriptions(stage: &mut Stage<'_>) {
    let [ada, bob] = ["ada", "bob"].map(|user| stage.connect(user, &[]));
    stage.subscribed(ada, &tables("one", [changes("notes")]));
    stage.subscribed(ada, &tables("two", [changes("notes")]));
    stage.subscribed(ada, &tables("three", [changes("notes").matching("n=eq.2")]));
    stage.subscribed(bob, &tables("his", [changes("notes")]));
    stage.publish(insert("notes", json!({ "n": 1 })));
    let seen = || inserted("notes", json!({ "n": 1 }));
    stage.sees_if(ada, Can::HearForEach, [seen(), seen()], [seen()]);
    stage.unsubscribed(ada, "one");
    stage.publish(insert("notes", json!({ "n": 1 })));
    stage.sees(ada, [seen()]);
    stage.sees(bob, [seen(), seen()]);
}

pub fn what_was_not_asked_for(stage: &mut Stage<'_>) {
    let ada = stage.connect("ada", &[]);
    let row = json!({ "n": 1 });
    let publish = |stage: &mut Stage<'_>| {
        stage.publish(insert("notes", row.clone()));
        stage.publish(message_to_all("e"));
    };
    let everything = || [inserted("notes", row.clone()), said_to_all("e")];
    publish(stage);
    stage.sees_if(ada, Can::HearUnasked, everything(), []);
    stage.subscribed(ada, &all_of("files"));
    publish(stage);
    stage.sees_if(ada, Can::HearUnasked, [said_to_all("e")], []);
    stage.unsubscribed(ada, "files");
    publish(stage);
    stage.sees_if(ada, Can::HearUnasked, everything(), []);
}

pub fn masks_are_those_of_the_table_and_of_the_request(stage: &mut Stage<'_>) {
    let [hr, owner, other] = [("ada", "hr"), ("u7", "member"), ("bob", "member")].map(|(user, role)| {
        let who = stage.connect(user, &[role]);
        stage.subscribed(who, &all_of("people"));
        who
    });
    let row = |ssn: &str, mail: &str| json!({ "id": 1, "userId": "u7", "ssn": ssn, "mail": mail });
    let masking = json!({ "maskingConfig": { "mail": { "type": "redact", "show": { "roles": ["member"] } } } });
    let (new, old) = (row("123-45-6789", "b@b.org"), row("123-45-6780", "a@a.org"));
    stage.publish(with(update("people", new, old), masking));
    let masked = |ssns: [&str; 2], mails: [&str; 2]| updated("people", row(ssns[0], mails[0]), row(ssns[1], mails[1]));
    stage.sees(hr, [masked(["123-45-6789", "123-45-6780"], ["[REDACTED]", "[REDACTED]"])]);
    stage.sees(owner, [masked(["123-45-6789", "123-45-6780"], ["b@b.org", "a@a.org"])]);
    stage.sees(other, [masked(["*****6789", "*****6780"], ["b@b.org", "a@a.org"])]);
}

pub fn the_audience_is_the_user_and_the_roles(stage: &mut Stage<'_>) {
    let members = [("ada", "admin"), ("bob", "member"), ("eve", "guest")].map(|(user, role)| {
        let who = stage.connect(user, &[role]);
        stage.subscribed(who, &all_of("notes"));
        who
    });
    for (audience, hear) in [
        (json!({ "userId": "bob" }), [false, true, false]),
        (json!({ "targetRoles": ["admin", "guest"] }), [true, false, true]),
        (json!({ "targetRoles": ["admin"], "userId": "bob" }), [false; 3]),
        (json!({ "targetRoles": [] }), [false; 3]),
        (json!({}), [true; 3]),
    ] {
        stage.publish(with(insert("notes", json!({ "id": 1 })), audience));
        for (who, hears) in members.into_iter().zip(hear) {
            if hears { stage.sees(who, [inserted("notes", json!({ "id": 1 }))]) } else { stage.sees(who, []) }
        }
    }
}

pub fn only_the_columns_that_may_leave_do(stage: &mut Stage<'_>) {
    let ada = stage.connect("ada", &[]);
    stage.subscribed(ada, &tables("both", [changes("drafts"), changes("notes")]));
    let row = json!({ "id": 1, "title": "t", "pin": 9 });
    stage.publish(insert("drafts", row.clone()));
    stage.publish(with(insert("drafts", row.clone()), json!({ "fields": ["title", "pin"] })));
    stage.publish(with(insert("notes", row.clone()), json!({ "fields": ["pin"] })));
    let seen = [
        ("drafts", json!({ "id": 1, "title": "t" })),
        ("drafts", json!({ "title": "t" })),
        ("notes", json!({ "pin": 9 })),
    ];
    stage.sees(ada, seen.map(|(table, row)| inserted(table, row)));
    // This table does not send deletes.
    stage.publish(delete("drafts", row));
    stage.sees(ada, []);
}

/// An admin, a member of the team `red`, and the user `u7` without a team.
fn people_of_tasks(stage: &mut Stage<'_>) -> [Who; 3] {
    let red = stage.claims("mia", &["member"], json!({ "teams": [1, "red"] }));
    let people = [stage.connect("ada", &["admin"]), stage.connect_with(red), stage.connect("u7", &["member"])];
    people.iter().for_each(|who| stage.subscribed(*who, &all_of("tasks")));
    people
}

fn task(team: &str, user: &str) -> Value {
    json!({ "id": 1, "team_id": team, "user_id": user })
}

pub fn rows_are_for_those_whom_a_rule_names(stage: &mut Stage<'_>) {
    let people = people_of_tasks(stage);
    for (row, hear) in [
        (task("red", "x"), [true, true, false]),
        (task("blue", "u7"), [true, false, true]),
        (task("1", "u7"), [true, true, true]),
        (task("blue", "x"), [true, false, false]),
    ] {
        stage.publish(insert("tasks", row.clone()));
        for (who, hears) in people.into_iter().zip(hear) {
            if hears { stage.sees(who, [inserted("tasks", row.clone())]) } else { stage.sees(who, []) }
        }
    }
}

pub fn an_update_may_make_a_row_appear_or_disappear(stage: &mut Stage<'_>) {
    let [admin, red, user] = people_of_tasks(stage);
    let (in_red, in_blue, own) = (task("red", "x"), task("blue", "x"), task("blue", "u7"));
    stage.publish(update("tasks", in_red.clone(), in_blue.clone()));
    stage.sees(admin, [updated("tasks", in_red.clone(), in_blue.clone())]);
    stage.sees(red, [inserted("tasks", in_red.clone())]);
    stage.publish(update("tasks", in_red.clone(), in_red.clone()));
    stage.see(&[admin, red], &[updated("tasks", in_red.clone(), in_red.clone())]);
    stage.publish(update("tasks", own.clone(), in_red.clone()));
    stage.sees(admin, [updated("tasks", own.clone(), in_red.clone())]);
    stage.sees(red, [deleted("tasks", in_red.clone())]);
    stage.sees(user, [inserted("tasks", own.clone())]);
    stage.publish(update("tasks", in_blue.clone(), own.clone()));
    stage.sees(admin, [updated("tasks", in_blue.clone(), own.clone())]);
    stage.sees(user, [deleted("tasks", own.clone())]);
    // Without the row before, recipients of the new one cannot be told that it appeared.
    stage.publish(update("tasks", in_red.clone(), json!(null)));
    stage.see(&[admin, red], &[updated("tasks", in_red.clone(), json!(null))]);
    stage.publish(update("tasks", in_blue.clone(), json!(null)));
    stage.sees(admin, [updated("tasks", in_blue.clone(), json!(null))]);
    // Deletes are judged on the row before.
    stage.publish(with(delete("tasks", in_red.clone()), json!({ "new": own })));
    stage.see(&[admin, red], &[deleted("tasks", in_red)]);
    stage.publish(delete("tasks", own.clone()));
    stage.see(&[admin, user], &[deleted("tasks", own)]);
    stage.sees(red, []);
}

pub fn a_filter_is_judged_on_what_its_subscriber_sees(stage: &mut Stage<'_>) {
    for (filter, hear) in [
        ("ssn=eq.123-45-6789", [true, false]),
        ("ssn=neq.123-45-6789", [false, true]),
        ("ssn=like.***%", [false, true]),
    ] {
        if !filter.contains("=eq.") && !stage.all_can(Can::Narrow) {
            continue;
        }
        let members = ["hr", "member"].map(|role| stage.connect(role, &[role]));
        for who in members {
            stage.subscribed(who, &tables("s", [changes("people").matching(filter)]));
        }
        stage.publish(insert("people", json!({ "id": 1, "ssn": "123-45-6789" })));
        for ((who, hears), ssn) in members.into_iter().zip(hear).zip(["123-45-6789", "*****6789"]) {
            let seen = inserted("people", json!({ "id": 1, "ssn": ssn }));
            if hears {
                stage.sees(who, [seen])
            } else {
                stage.sees(who, [])
            }
            stage.disconnect(who);
        }
    }
}

pub fn a_table_of_other_roles_is_refused(stage: &mut Stage<'_>) {
    let [hr, member] = ["hr", "member"].map(|role| stage.connect(role, &[role]));
    stage.subscribed(hr, &all_of("secrets"));
    stage.refused(member, &all_of("secrets"), "forbidden");
    // All tables can be requested if the dialect supports it, and include only those that one may have.
    let any = if stage.can(member, Can::Narrow) { tables("any", [changes("*").of("*")]) } else { all_of("notes") };
    stage.subscribed(member, &any);
    stage.publish(insert("secrets", json!({ "id": 1 })));
    stage.publish(insert("notes", json!({ "id": 2 })));
    stage.sees(hr, [inserted("secrets", json!({ "id": 1 }))]);
    stage.sees(member, [inserted("notes", json!({ "id": 2 }))]);
}

pub fn a_filter_of_another_grammar_is_refused(stage: &mut Stage<'_>) {
    for filter in ["a", "a=eq", "a=foo.1", "a=match.(", "a=eq.1,"] {
        let ada = stage.connect("ada", &[]);
        stage.refused(ada, &tables("s", [changes("notes").matching(filter)]), "invalid_filter");
        stage.publish(insert("notes", json!({ "a": 1 })));
        stage.sees_if(ada, Can::HearUnasked, [inserted("notes", json!({ "a": 1 }))], []);
        stage.disconnect(ada);
    }
}

pub fn an_idempotency_key_counts_once(stage: &mut Stage<'_>) {
    let ada = stage.connect("ada", &[]);
    stage.subscribed(ada, &all_of("notes"));
    for n in [1, 2] {
        stage.publish(with(insert("notes", json!({ "n": n })), json!({ "id": "once" })));
    }
    stage.sees(ada, [inserted("notes", json!({ "n": 1 }))]);
}

pub fn a_batch_comes_in_its_order(stage: &mut Stage<'_>) {
    let ada = stage.connect("ada", &[]);
    stage.subscribed(ada, &all_of("notes"));
    let batch: Vec<Value> = (1..=4).map(|n| insert("notes", json!({ "n": n }))).collect();
    stage.publish(json!({ "messages": batch }));
    let seen: [Observation; 4] = [1, 2, 3, 4].map(|n| inserted("notes", json!({ "n": n })));
    stage.sees(ada, seen);
}
