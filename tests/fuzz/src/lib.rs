//! The bodies of the fuzz targets: each takes any text or bytes, splits it into the arguments of one function, and
//! asserts what must hold for every input. A line feed separates the parts, because no part needs one.

use std::rc::Rc;

use realtime_worker::code::Code;
use realtime_worker::dialect::phoenix::frame::{Version, broadcast_binary, read, text};
use realtime_worker::dialect::phoenix::push::{MessageBody, Push, Pushed};
use realtime_worker::dialect::read_configuration;
use realtime_worker::dialect::{Frame, Received, butterbase, fluxbase, native};
use realtime_worker::engine::command::Recover;
use realtime_worker::engine::effect::Effect;
use realtime_worker::engine::event::Event;
use realtime_worker::engine::input::{DialectId, Input, Open, SocketId, StatePart, Stored};
use realtime_worker::engine::publication::Publication;
use realtime_worker::engine::tenant::Environment;
use realtime_worker::policy::configuration::Configuration;
use realtime_worker::policy::credential::Credentials;
use realtime_worker::policy::filter::{ColumnType, Filter};
use realtime_worker::policy::key_set::KeySet;
use realtime_worker::policy::masking::Masking;
use realtime_worker::policy::principal::{Method, Principal};
use realtime_worker::policy::roles::Roles;
use realtime_worker::policy::secret::Secret;
use realtime_worker::policy::ticket::Ticket;
use realtime_worker::policy::token::TokenRules;
use realtime_worker::server::changes;
use realtime_worker::server::publish::PublishRequest;
use realtime_worker::server::tenant_server::TenantServer;
use realtime_worker::value::form::Form;
use realtime_worker::value::row::Row;

/// `filter LF row`: an answer for every declared type, never both a filter and its negation.
pub fn filter(text: &str) {
    let (text, row) = text.split_once('\n').unwrap_or((text, "{}"));
    let (Ok(filter), Ok(row)) = (Filter::parse(text), Row::read(row)) else { return };
    let negated = text.split_once('=').map(|(column, test)| format!("{column}=not.{test}"));
    let negated = negated.filter(|_| !text.contains(',')).and_then(|text| Filter::parse(&text).ok());
    for declared in [None, Some(ColumnType::Number), Some(ColumnType::Boolean), Some(ColumnType::Text)] {
        let matches = filter.matches(&row, &|_| declared);
        let both = negated.as_ref().is_some_and(|negated| matches && negated.matches(&row, &|_| declared));
        assert!(!both, "a filter and its negation hold");
    }
}

/// `configuration LF row LF role`: valid JSON with the same columns, and the same bytes if nothing is masked.
pub fn masking(text: &str) {
    let mut parts = text.splitn(3, '\n');
    let (config, row, role) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let wrapped = format!("{{\"m\":{config}}}");
    let Ok(mut form) = Form::read(&wrapped, Code::InvalidRequest) else { return };
    let Some(Ok(masking)) = form.take("m").map(|field| Masking::read(&field)) else { return };
    for owner in [false, true] {
        let hidden = masking.hidden(&Roles::new([role.to_owned()]), owner);
        masking.apply_json(row, &hidden);
        let Ok(original) = Row::read(row) else { continue };
        let mut out = String::new();
        masking.apply(&original, &hidden).write(&mut out);
        let seen = Row::read(&out).expect("a masked row is a row");
        let names = |row: &Row| row.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&seen), names(&original));
        assert!(!masking.is_empty() || seen == original);
    }
}

/// `credential LF key set`: neither a token nor a ticket, because nobody else knows the secret.
pub fn token(text: &str) {
    let (credential, answer) = text.split_once('\n').unwrap_or((text, ""));
    let secret = Secret::new("0123456789abcdef0123456789abcdef");
    let tokens = TokenRules {
        secret: Some(secret.clone()),
        key_set_url: Some("https://id.example/keys".into()),
        ..TokenRules::default()
    };
    let credentials = Credentials { tokens, ..Credentials::default() };
    let mut keys = KeySet::default();
    keys.answered(0, Some(answer));
    // The keys are the fuzzer's own, so its token may be accepted; with an empty set it may not.
    let _ = credentials.principal(0, credential, "org_1", &keys);
    assert!(credentials.principal(0, credential, "org_1", &KeySet::default()).is_err());
    assert!(Ticket::verify(credential, [secret].iter(), 0).is_err());
}

/// `REALTIME LF API_KEYS`: accepted, or refused with the name of one of the two.
pub fn configuration(text: &str) {
    let (realtime, api_keys) = text.split_once('\n').unwrap_or((text, "[]"));
    let answer = read_configuration(&|name| match name {
        "ACCESS_TOKEN" | "JWT_SECRET" => Some("0123456789abcdef0123456789abcdef".into()),
        "REALTIME" => Some(realtime.into()),
        "API_KEYS" => Some(api_keys.into()),
        _ => None,
    });
    if let Err(refusal) = answer {
        assert_eq!(refusal.code, Code::Configuration);
        let field = refusal.field.expect("a refusal names the variable");
        assert!(field.starts_with("REALTIME") || field.starts_with("API_KEYS"));
    }
}

/// Any frame of a client, before and after authentication: no panic, and only answers to the sender.
pub fn frame(text: &str) {
    any_frame(native::ID, [None, Some(principal())], text);
}

/// Any frame of a Fluxbase client, with a token and without.
pub fn fluxbase(text: &str) {
    any_frame(fluxbase::ID, [Some(Principal::anonymous(fluxbase::ANONYMOUS_ROLE)), Some(principal())], text);
}

/// Any frame of a Butterbase client, with a user and anonymous.
pub fn butterbase(text: &str) {
    let anonymous = Principal::anonymous(butterbase::configuration::ANONYMOUS);
    any_frame(butterbase::ID, [Some(anonymous), Some(principal())], text);
}

fn any_frame(dialect: DialectId, principals: [Option<Principal>; 2], text: &str) {
    let (mut server, _) = wake(Stored::default());
    for (number, principal) in (0..).zip(principals) {
        let open = Open {
            socket: SocketId(number),
            client_id: format!("client-{number}"),
            dialect,
            principal,
            ticket: None,
            recover: Recover::Off,
            batches: false,
            address: None,
        };
        server.handle(1, Input::Open(open));
        for frame in [Received::Text(text), Received::Binary(text.as_bytes())] {
            let input = server.frame(SocketId(number), frame);
            for effect in server.handle(2, input) {
                if let Effect::Deliver { to, .. } = effect {
                    assert!(to.iter().all(|socket| *socket == SocketId(number)));
                }
            }
        }
    }
}

/// A frame of either Phoenix framing: writing and reading it again gives the same.
pub fn phoenix(bytes: &[u8]) {
    let frame = Received::Binary(bytes);
    let text_frame = str::from_utf8(bytes).ok().map(Received::Text);
    for version in [Version::One, Version::Two] {
        for push in [Some(frame), text_frame].into_iter().flatten().filter_map(|frame| read(version, frame).ok()) {
            assert!(version == Version::Two || !push.is_binary);
            match push.payload {
                Pushed::Json(payload) => same_again(version, &push, payload),
                Pushed::Broadcast { metadata, body } => {
                    let _ = broadcast_binary(&push.topic, &push.event, metadata, body);
                    if let MessageBody::Json(payload) = body {
                        same_again(version, &push, payload);
                    }
                }
            }
        }
    }
}

fn same_again(version: Version, push: &Push<'_>, payload: &str) {
    let (join_ref, reference) = (push.join_ref.as_deref(), push.reference.as_deref());
    let Frame::Text(written) = text(version, join_ref, reference, &push.topic, &push.event, payload) else {
        panic!("a text frame");
    };
    let again = read(version, Received::Text(&written)).expect("what is written is read");
    assert_eq!((&again.reference, &again.topic, &again.event), (&push.reference, &push.topic, &push.event));
    assert_eq!(again.payload, Pushed::Json(payload));
    assert!(version == Version::One || again.join_ref == push.join_ref);
}

/// `attachment LF state parts or history`: a wake that reads them or closes the socket, and a publication or none.
pub fn stored(text: &str) {
    let (attachment, history) = text.split_once('\n').unwrap_or((text, ""));
    let parts = history.lines().zip(0..).map(|(text, number)| StatePart { number, text: text.to_owned() });
    let states = [("client-0".to_owned(), parts.collect())].into();
    let sockets = vec![(SocketId(0), attachment.to_owned())];
    let (mut server, _) = wake(Stored { sockets, states, ..Stored::default() });
    server.handle(2, Input::Alarm);
    let _ = Publication::stored(1, history);
}

/// `body`: a documented request, or a refusal that names the error.
pub fn publish(text: &str) {
    if let Ok(request) = PublishRequest::read(text) {
        let (mut server, _) = wake(Stored::default());
        server.handle(2, Input::Publish { publications: request.publications, remembered: Default::default() });
    }
}

/// `interest LF batch LF judgements`: answers of a database's object; nobody receives a row without a verdict.
pub fn database(text: &str) {
    let mut parts = text.splitn(3, '\n');
    let (interest, batch, judgements) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next());
    let configuration = configured(WITH_DATABASE);
    let (mut server, _) = wake_with(configuration.clone(), Stored::default());
    let mut socket = Open {
        socket: SocketId(0),
        client_id: "client-0".into(),
        dialect: native::ID,
        principal: Some(principal()),
        ticket: None,
        recover: Recover::On,
        batches: false,
        address: None,
    };
    socket.principal.iter_mut().for_each(|principal| principal.all_claims = Some("{}".into()));
    server.handle(1, Input::Open(socket));
    server.handle(2, Input::InterestAnswered { revision: 1, catalog: Some(interest.to_owned()) });
    if let Ok(input) = changes::changes(batch, "org_1", &configuration) {
        let has_verdicts = batch.contains('1');
        let told = server.handle(3, input);
        let is_change = |effect: &Effect| matches!(effect, Effect::Deliver { event: Event::Change { .. }, .. });
        assert!(has_verdicts || !told.iter().any(is_change), "a row without a verdict was told");
    }
    if let Ok(input) = changes::feed(batch, "org_1", &configuration) {
        server.handle(4, input);
    }
    server.handle(5, Input::Judged { number: 1, verdicts: judgements.map(str::to_owned) });
    server.handle(6, Input::Authorized { number: 1, grant: judgements.map(str::to_owned) });
}

/// Every request of a client, in every dialect.
const EVERYTHING: &str = r#"{
    "channels":[{"topic":"*","read":{},"write":{},"presence":{}}],
    "tables":{"t":{},"messages":{},"products":{}},
    "butterbase":{"access":"public","listeners":-1,"tables":["*"],"public":["*"],
        "functions":{"url":"https://functions.example","events":{"e":"/e","chat_message":"/chat"}}},
    "fluxbase":{"organization":"org_1","anonymous":["public.products"]}
}"#;
const WITH_DATABASE: &str =
    r#"{"databases":{"main":{"connection":"DATABASE_URL","organization":"org_1","roles":["member"]}}}"#;

fn configured(realtime: &str) -> Rc<Configuration> {
    let configuration = read_configuration(&|name| match name {
        "ACCESS_TOKEN" | "JWT_SECRET" => Some("0123456789abcdef0123456789abcdef".into()),
        "REALTIME" => Some(realtime.into()),
        _ => None,
    });
    Rc::new(configuration.expect("the configuration is well formed"))
}

fn wake(stored: Stored) -> (TenantServer, Vec<Effect>) {
    wake_with(configured(EVERYTHING), stored)
}

fn wake_with(configuration: Rc<Configuration>, stored: Stored) -> (TenantServer, Vec<Effect>) {
    let environment = Environment { now: 1, organization: "org_1".into(), configuration, epoch: "epoch".into() };
    TenantServer::wake(environment, stored)
}

fn principal() -> Principal {
    let roles = Roles::new(["member".to_owned()]);
    Principal {
        user: Some("ada".into()),
        roles,
        method: Method::Session,
        expires: None,
        claims: Default::default(),
        all_claims: None,
        grants: Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bodies must hold for documented input, and for every prefix and suffix of it.
    #[track_caller]
    fn check(body: fn(&str), example: &str) {
        for place in (0..=example.len()).filter(|place| example.is_char_boundary(*place)) {
            let (before, after) = example.split_at(place);
            body(before);
            body(after);
            body(&format!("{after}{before}"));
        }
    }

    #[test]
    fn the_framings_hold_on_examples() {
        let frames: [&[u8]; 4] = [
            br#"{"topic":"realtime:t","event":"phx_join","payload":{"config":{}},"ref":"1","join_ref":"1"}"#,
            br#"["6",16,"realtime:t","broadcast",{"type":"broadcast","event":"e","payload":{"x":1}}]"#,
            b"\x03\x02\x01\x02\x01\x02\x01101te{}{\"a\":1}",
            b"\x00\x02\x01\x02\x01101t\xe9e{\"a\":1}",
        ];
        for frame in frames {
            for place in 0..=frame.len() {
                let (before, after) = frame.split_at(place);
                phoenix(before);
                phoenix(after);
                phoenix(&[after, before].concat());
                for byte in [0, 1, 0x22, 0x7f, 0xff] {
                    phoenix(&[before, &[byte], after.get(1..).unwrap_or_default()].concat());
                }
            }
        }
    }

    #[test]
    fn the_bodies_hold_on_examples() {
        check(filter, "a=in.(1,\"x,\"),b=not.match.^é\n{\"a\":\"1\",\"b\":null}");
        check(filter, "a=lt.1e9\n{\"a\":-1.50}");
        let config = r#"{"a.b":{"type":"email","show":{"roles":["x"],"or":"owner"}},"c":{"type":"ssn"}}"#;
        check(masking, &format!("{config}\n{{\"a\":[{{\"b\":\"j@x.com\"}}],\"c\":12345}}\nx"));
        check(
            token,
            "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjl9.AAAA\n{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"}]}",
        );
        let interest = r#"{"tables":[{"schema":"public","table":"t","enabled":true,"primary_key":["id"],"roles":{"member":{"state":"live"}}}]}"#;
        let change =
            r#"{"schema":"public","table":"t","op":"INSERT","at":"2026-11-26T00:00:00Z","new":{"id":7},"old":null}"#;
        let verdict = r#"{"schema":"public","table":"t","role":"member","columns":["id"],"changes":[0],"groups":["g"],"new":["0"],"old":["0"]}"#;
        let batch =
            format!(r#"{{"database":"main","epoch":"e","batch":2,"changes":[{change}],"verdicts":[{verdict}]}}"#);
        check(database, &format!("{interest}\n{batch}\n{{\"read\":true}}"));
        let realtime = r#"{"tables":{"t":{"rows":[{"roles":["a"]}]}},"channels":[{"topic":"a:{sub}:*"}],"limits":{}}"#;
        check(frame, r#"{"type":"subscribe","id":"s","table":"t","event":"*","filter":"a=eq.1"}"#);
        check(frame, r#"{"type":"presence_track","topic":"room:1","metadata":{"x":1}}"#);
        check(fluxbase, r#"{"type":"subscribe","config":{"table":"t","event":"*","filter":"a->b=like.*x, y"}}"#);
        check(fluxbase, r#"{"type":"presence","channel":"a","payload":{"event":"track","key":"k","state":{}}}"#);
        check(butterbase, r#"{"type":"subscribe","table":"t","id":1,"filter":{"a":1},"columns":["a"]}"#);
        check(butterbase, r#"{"type":"event","event":"e","payload":[1],"id":"x"}"#);
        check(publish, r#"{"organizationId":"o","type":"broadcast","event":"e","payload":[1],"targetRoles":["a"]}"#);
        let attachment = r#"{"version":1,"client_id":"client-0","state":{"wire":0,"opened":1,"principal":null}}"#;
        check(stored, &format!("{attachment}\n{{\"type\":\"broadcast\",\"event\":\"e\",\"payload\":1}}"));
        check(configuration, &format!("{realtime}\n[{{\"name\":\"ci\",\"hash\":\"00\",\"organizationId\":\"o\"}}]"));
    }
}
