//! Functions that answer events.

use realtime_worker::dialect::butterbase::configuration::USER;
use serde_json::{Value, json};

use super::words::*;
use crate::rig::Rig;
use crate::rig::relays::everywhere;

/// How long a function may take, in milliseconds.
const MAX_CALL_TIME: u64 = 25_000;

fn functions() -> Value {
    let functions = json!({ "binding": "FUNCTIONS", "events": { "chat_message": "/chat", "slow": "/slow" } });
    json!({ "butterbase": { "listeners": -1, "functions": functions } })
}

#[test]
fn a_function_answers_its_caller_only() {
    everywhere(functions(), |rig| {
        let [ann, bob] = ["ann", "bob"].map(|name| connected(rig, user(name)));
        rig.frame(&ann, json!({ "type": "event", "event": "chat_message", "payload": { "text": "hello" } }));
        let call = rig.calls.first().unwrap();
        assert_eq!(
            (call.path.as_str(), call.user.as_deref(), call.role.as_deref()),
            ("/chat", Some("ann"), Some(USER))
        );
        assert_eq!(call.body, r#"{"event":"chat_message","payload":{"text":"hello"}}"#);
        rig.answer_call(Some((200, r#"{"echo":1}"#)));
        ann.gets(json!({ "type": "event_response", "event": "chat_message", "data": { "echo": 1 }, "status": 200 }));
        rig.frame(&ann, json!({ "type": "event", "event": "chat_message" }));
        rig.answer_call(Some((500, "it broke")));
        ann.gets(json!({ "type": "event_response", "event": "chat_message", "data": "it broke", "status": 500 }));
        rig.frame(&ann, json!({ "type": "event", "event": "chat_message", "id": "c1" }));
        rig.answer_call(None);
        ann.gets(json!({ "type": "error", "message": "Event handler execution failed", "code": "call_failed",
            "retry": "later", "id": "c1" }));
        rig.frame(&ann, json!({ "type": "event", "event": "typing", "id": 7 }));
        ann.gets(json!({ "type": "error", "message": "No handler for event: typing", "code": "no_handler",
            "retry": "no", "id": 7 }));
        bob.gets_nothing();
    });
}

#[test]
fn a_socket_waits_for_nothing_while_its_functions_are_called() {
    let mut rig = Rig::new(&functions());
    let client = connected(&mut rig, user("ann"));
    for id in [1, 2] {
        rig.frame(&client, json!({ "type": "event", "event": "slow", "id": id }));
    }
    rig.frame(&client, json!({ "type": "presence_track" }));
    assert_eq!(client.next()["type"], "presence_state");
    // The second call is answered first, identified by its id.
    rig.calls.swap(0, 1);
    for id in [2, 1] {
        rig.answer_call(Some((200, "null")));
        assert_eq!(client.next()["id"], id);
    }
    for _ in 0..16 {
        rig.frame(&client, json!({ "type": "event", "event": "slow" }));
    }
    client.gets_nothing();
    rig.frame(&client, json!({ "type": "event", "event": "slow" }));
    assert_eq!(client.next()["code"], "call_limit");
    rig.answer_call(Some((204, "")));
    assert_eq!(client.next()["data"], "");
    rig.frame(&client, json!({ "type": "event", "event": "slow" }));
    assert_eq!(rig.calls.len(), 16, "there is room again");
}

#[test]
fn a_function_that_does_not_answer_in_time_has_failed() {
    everywhere(functions(), |rig| {
        let client = connected(rig, user("ann"));
        for (id, wait) in [(1, 10_000), (2, MAX_CALL_TIME - 10_001)] {
            rig.frame(&client, json!({ "type": "event", "event": "slow", "id": id }));
            rig.advance(wait);
        }
        let told = || client.frames().into_iter().filter(|frame| frame["type"] != "heartbeat").collect::<Vec<_>>();
        assert_eq!(told(), [Value::Null; 0]);
        let failed = |id: u64| {
            json!({ "type": "error", "message": "Event handler execution failed", "code": "call_failed",
                "retry": "later", "id": id })
        };
        rig.advance(1);
        assert_eq!(told(), [failed(1)], "each has the time that is given to it");
        // The other function answers just in time; a late answer does not count.
        rig.advance(9_999);
        rig.answer_call(Some((200, "1")));
        assert_eq!(told()[0]["data"], 1);
        rig.advance(60_000);
        assert_eq!(told(), [Value::Null; 0]);
    });
}

#[test]
fn an_answer_reaches_nobody_who_took_the_callers_place() {
    let mut rig = Rig::new(&functions());
    let client = connected(&mut rig, user("ann"));
    rig.frame(&client, json!({ "type": "event", "event": "slow" }));
    rig.disconnect(&client);
    let other = connected(&mut rig, user("bob"));
    rig.answer_call(Some((200, "\"secret\"")));
    other.gets_nothing();
    rig.frame(&other, json!({ "type": "event", "event": "slow" }));
    rig.hibernate();
    rig.answer_call(Some((200, "1")));
    assert_eq!(other.next()["data"], 1, "a life that began meanwhile knows whose call it was");
}
