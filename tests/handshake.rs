//! Who may open a socket, where it is opened, and how refusals are reported: decided on plain values, without a
//! runtime.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at the first surprise")]

mod signing;

use std::rc::Rc;

use realtime_worker::code::{Code, Refusal};
use realtime_worker::dialect::native;
use realtime_worker::dialect::read_configuration;
use realtime_worker::dialect::{Frame, Received};
use realtime_worker::engine::command::{Position, Recover};
use realtime_worker::engine::input::{DialectId, SocketId};
use realtime_worker::policy::configuration::Configuration;
use realtime_worker::policy::key_set::KeySet;
use realtime_worker::policy::principal::{Method, Principal};
use realtime_worker::policy::roles::Roles;
use realtime_worker::policy::ticket::Ticket;
use realtime_worker::server::admission::Admission;
use realtime_worker::server::answer::Answer;
use realtime_worker::server::entrance::Rejection;
use realtime_worker::server::handshake::{HandshakeStep, admit, refused, refused_by_object};
use realtime_worker::server::held_socket::{HeldSocket, HeldStep};
use realtime_worker::server::request_head::{Query, RequestHead, authorize};
use realtime_worker::server::supabase::{RestPublisher, publisher};
use realtime_worker::server::ticket;
use serde_json::{Value, json};
use signing::*;

const ACCESS_TOKEN: &str = "an-access-token-of-thirty-two-bytes";

fn configuration(variables: &[(&str, &str)]) -> Configuration {
    let read = |name: &str| {
        let set = variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        set.or_else(|| match name {
            "ACCESS_TOKEN" => Some(ACCESS_TOKEN.to_owned()),
            "JWT_SECRET" => Some(SECRET.to_owned()),
            _ => None,
        })
    };
    read_configuration(&read).unwrap()
}

fn answer_of(rejection: Rejection) -> Answer {
    match rejection {
        Rejection::Answer(answer) => answer,
        Rejection::Close { .. } => panic!("rejected after the upgrade"),
    }
}

fn head(query: &str) -> RequestHead {
    RequestHead {
        host: "realtime.example.com".to_owned(),
        path: "/realtime/v1/websocket".to_owned(),
        query: Query::read(query),
        upgrade: Some("WebSocket".to_owned()),
        ..RequestHead::default()
    }
}

fn with_token(query: &str, token: &str) -> RequestHead {
    RequestHead { authorization: Some(format!("Bearer {token}")), ..head(query) }
}

fn token() -> String {
    hmac("HS256", SECRET, &good_claims())
}

fn sealed_ticket(organization: &str, expires: u64) -> String {
    let principal = Principal {
        user: Some("u7".into()),
        roles: Roles::new(["admin".to_owned()]),
        method: Method::Session,
        expires: None,
        claims: [("name".to_owned(), vec!["Zoë 🦀".to_owned()])].into(),
        all_claims: None,
        grants: Default::default(),
    };
    let ticket = Ticket { id: "t1".into(), organization: organization.into(), expires, principal };
    ticket.sign(configuration(&[]).access_tokens.first().unwrap()).unwrap()
}

/// Both steps, with no keys but the secret.
fn decide(head: &RequestHead, configuration: &Configuration) -> Result<(String, Admission), Refusal> {
    match admit(head, configuration, NOW)? {
        HandshakeStep::Open(organization, admission) => Ok((organization, *admission)),
        HandshakeStep::Verify(unverified) => {
            let credentials = &configuration.credentials;
            let proven = credentials.verify(NOW, unverified.credential(), &KeySet::default());
            unverified.conclude(credentials, proven)
        }
        HandshakeStep::Hold(_) => panic!("the socket is held"),
    }
}

#[track_caller]
fn is_refused(head: &RequestHead, configuration: &Configuration, code: Code, field: Option<&str>) {
    let refusal = decide(head, configuration).unwrap_err();
    assert_eq!((refusal.code, refusal.field.as_deref()), (code, field), "{head:?}");
}

#[test]
fn only_an_upgrade_of_an_allowed_page_is_looked_at() {
    let open = configuration(&[]);
    for upgrade in [None, Some(""), Some("h2c")] {
        let head = RequestHead { upgrade: upgrade.map(str::to_owned), ..head("?organizationId=org_1") };
        is_refused(&head, &open, Code::UpgradeRequired, None);
        let in_their_words = RequestHead { query: Query::read("?vsn=2.0.0&apikey=x"), ..head };
        let answer = answer_of(refused(&in_their_words, &Refusal::of(Code::UpgradeRequired)));
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, &body["code"]), (426, &json!("upgrade_required")), "no socket says so");
    }
    let closed = configuration(&[("ALLOWED_ORIGINS", "https://app.example.com")]);
    let from = |query: &str, origin: &str| RequestHead { origin: Some(origin.to_owned()), ..head(query) };
    for query in ["?organizationId=org_1", "?vsn=2.0.0&apikey=x", ""] {
        is_refused(&from(query, "https://evil.example.com"), &closed, Code::OriginNotAllowed, None);
    }
    assert!(decide(&from("?organizationId=org_1", "https://app.example.com"), &closed).is_ok());
    assert!(decide(&head("?organizationId=org_1"), &closed).is_ok(), "a request of no page");
    assert!(decide(&from("?organizationId=org_1", "https://evil.example.com"), &open).is_ok());
}

#[test]
fn a_socket_without_a_credential_goes_where_its_address_says() {
    let configuration = configuration(&[("DEFAULT_ORGANIZATION", "main")]);
    let (organization, admission) = decide(&head("?organizationId=org_1"), &configuration).unwrap();
    assert_eq!((&*organization, &admission), ("org_1", &Admission::default()));
    for query in ["", "?organizationId=", "?other=1"] {
        assert_eq!(admit(&head(query), &configuration, NOW), Ok(HandshakeStep::Hold(native::ID)), "{query}");
    }
    for name in ["a/b", "%ff", "%00", "a%20b", "+", &"x".repeat(129)] {
        let query = format!("?organizationId={name}");
        is_refused(&head(&query), &configuration, Code::InvalidRequest, Some("organizationId"));
    }
}

#[test]
fn a_header_proves_who_someone_is_in_one_organization() {
    let configuration_without_default = configuration(&[]);
    let configuration = configuration(&[("DEFAULT_ORGANIZATION", "org_1")]);
    for query in ["?organizationId=org_1", ""] {
        let (organization, admission) = decide(&with_token(query, &token()), &configuration).unwrap();
        let principal = admission.principal.unwrap();
        assert_eq!((&*organization, principal.user.as_deref(), admission.ticket), ("org_1", Some("u7"), None));
    }
    let padded = with_token("?organizationId=org_1", &format!("  {} \t", token()));
    assert!(decide(&padded, &configuration).is_ok());
    let nowhere = with_token("", &token());
    is_refused(&nowhere, &configuration_without_default, Code::InvalidRequest, Some("organizationId"));
    is_refused(&with_token("?organizationId=org_2", &token()), &configuration, Code::WrongOrganization, None);
    is_refused(&with_token("?organizationId=org_1", "nonsense"), &configuration, Code::InvalidToken, None);
    let expired = hmac("HS256", SECRET, &claims_with("exp", json!(NOW_SECONDS - 60)));
    is_refused(&with_token("?organizationId=org_1", &expired), &configuration, Code::TokenExpired, None);
    // Another scheme is not a credential, so the first frame has to bring one.
    let basic = RequestHead { authorization: Some("Basic dTpw".to_owned()), ..head("") };
    assert_eq!(admit(&basic, &configuration, NOW), Ok(HandshakeStep::Hold(native::ID)));
}

#[test]
fn a_credential_that_needs_keys_waits_for_them_and_fails_closed() {
    let configuration = configuration(&[("JWKS_URL", "https://issuer.example/keys")]);
    let signed = with_token("?organizationId=org_1", "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.e30.AAAA");
    is_refused(&signed, &configuration, Code::KeysUnavailable, None);
}

#[test]
fn the_subprotocol_that_is_agreed_to_goes_with_the_socket() {
    let offering = |head: RequestHead| RequestHead { protocols: Some("chat, other".to_owned()), ..head };
    let configuration = configuration(&[]);
    for head in [head("?organizationId=org_1"), head(&format!("?apikey={}", token()))] {
        let (_, admission) = decide(&offering(head.clone()), &configuration).unwrap();
        assert_eq!(Admission::read(&admission.header().unwrap()).unwrap().protocol.as_deref(), Some("chat"));
        assert_eq!(decide(&head, &configuration).unwrap().1.protocol, None);
    }
}

#[test]
fn a_ticket_says_where_and_who() {
    let configuration = configuration(&[("DEFAULT_ORGANIZATION", "main")]);
    let good = sealed_ticket("org_1", NOW + 1);
    for named in ["", "&organizationId=org_1"] {
        // The header no longer counts.
        let head = with_token(&format!("?ws_ticket={good}{named}"), "nonsense");
        let (organization, admission) = decide(&head, &configuration).unwrap();
        assert_eq!((&*organization, admission.ticket), ("org_1", Some(("t1".to_owned(), NOW + 1))));
    }
    let elsewhere = head(&format!("?ws_ticket={good}&organizationId=main"));
    is_refused(&elsewhere, &configuration, Code::InvalidToken, None);
    let old = head(&format!("?ws_ticket={}", sealed_ticket("org_1", NOW)));
    is_refused(&old, &configuration, Code::TokenExpired, None);
    is_refused(&with_token("?ws_ticket=x.y", &token()), &configuration, Code::InvalidToken, None);
}

#[test]
fn recovery_is_asked_for_in_the_address() {
    let configuration = configuration(&[]);
    let position = |epoch: &str, offset| Recover::From(Position { epoch: epoch.to_owned(), offset });
    let cases = [
        ("", Recover::Off),
        ("&recover=false", Recover::Off),
        ("&recover=true", Recover::On),
        ("&epoch=e1&offset=7", position("e1", 7)),
        ("&epoch=e1&offset=0&recover=nonsense", position("e1", 0)),
    ];
    for (more, recover) in cases {
        let (_, admission) = decide(&head(&format!("?organizationId=org_1{more}")), &configuration).unwrap();
        assert_eq!(admission.open(SocketId(1), "c1".to_owned(), false).recover, recover, "{more}");
    }
    let malformed = [
        ("&epoch=e1", "offset"),
        ("&offset=1", "epoch"),
        ("&epoch=e1&offset=-1", "offset"),
        ("&epoch=e1&offset=x", "offset"),
        ("&recover=1", "recover"),
    ];
    for (more, field) in malformed {
        let head = head(&format!("?organizationId=org_1{more}"));
        is_refused(&head, &configuration, Code::InvalidRequest, Some(field));
    }
}

#[test]
fn a_client_of_supabase_comes_in_with_a_key_and_is_refused_in_its_words() {
    let configuration = configuration(&[("DEFAULT_ORGANIZATION", "main")]);
    let key = token();
    for (version, dialect) in [("", 1), ("vsn=1.0.0&", 1), ("vsn=2.0.0&", 2)] {
        let (organization, admission) = decide(&head(&format!("?{version}apikey={key}")), &configuration).unwrap();
        assert_eq!((&*organization, admission.dialect), ("org_1", dialect), "{version}");
        assert!(admission.principal.is_some() && admission.ticket.is_none());
    }
    let by_header = RequestHead { x_api_key: Some(key.clone()), ..head("?vsn=2.0.0") };
    assert!(decide(&by_header, &configuration).is_ok());
    let told = |head: &RequestHead| {
        let refusal = decide(head, &configuration).unwrap_err();
        let answer = answer_of(refused(head, &refusal));
        (answer.status, serde_json::from_str::<Value>(&answer.body).unwrap()["error"].clone())
    };
    assert_eq!(told(&head("?vsn=2.0.0")), (401, json!("API key is missing")));
    let unspoken = json!("The vsn must match ~> 1.0.0 or ~> 2.0.0");
    assert_eq!(told(&head(&format!("?vsn=3.0.0&apikey={key}"))), (403, unspoken));
    // A native client reads an object.
    assert_eq!(told(&head("?ws_ticket=x")).1["code"], "invalid_token");
}

#[test]
fn what_was_verified_reaches_the_object_whole() {
    let admission = decide(&head(&format!("?ws_ticket={}", sealed_ticket("org_1", NOW + 1))), &configuration(&[]));
    let (_, admission) = admission.unwrap();
    let header = admission.header().unwrap();
    assert!(header.is_ascii(), "{header}");
    assert_eq!(Admission::read(&header), Some(admission.clone()));
    let open = admission.open(SocketId(3), "c3".to_owned(), true);
    assert!(open.ticket.unwrap().spent && open.principal.unwrap().claims["name"] == ["Zoë 🦀"]);
    // As the previous version wrote it.
    let before = r#"{"principal":null,"ticket":null,"recover":true,"missed_after":["e1",7]}"#;
    let before = Admission::read(before).unwrap().open(SocketId(1), "c1".to_owned(), false);
    assert_eq!(before.recover, Recover::From(Position { epoch: "e1".to_owned(), offset: 7 }));
    assert_eq!(Admission::read("nonsense"), None);
    let limit = Refusal::of(Code::ConnectionLimit);
    let statuses = [0, 1, 2, 99].map(|dialect| answer_of(refused_by_object(DialectId(dialect), &limit)).status);
    assert_eq!(statuses, [503, 429, 429, 503]);
}

/// What a held socket receives, and what becomes of it.
fn hold(held: &mut HeldSocket, text: &str) -> (Vec<String>, Option<Code>, Option<String>) {
    let words = |frames: Vec<Frame>| {
        let kind = |frame| match frame {
            Frame::Text(text) => serde_json::from_str::<Value>(&text).unwrap()["type"].as_str().unwrap().to_owned(),
            Frame::Binary(_) => panic!("a binary frame"),
        };
        frames.into_iter().map(kind).collect()
    };
    match held.receive(Received::Text(text)) {
        HeldStep::Enter(organization) => (Vec::new(), None, Some(organization)),
        HeldStep::Answer(frames) => (words(frames), None, None),
        HeldStep::End(frames, code) => (words(frames), Some(code), None),
    }
}

#[test]
fn a_held_socket_waits_for_the_frame_that_names_its_organization() {
    let configuration = Rc::new(configuration(&[]));
    let start = || HeldSocket::new(native::ID, configuration.clone()).unwrap();
    let mut held = start();
    assert_eq!(hold(&mut held, r#"{"type":"ping"}"#), (vec!["pong".to_owned()], None, None));
    let auth = r#"{"type":"auth","token":"t","organizationId":"org_1"}"#;
    assert_eq!(hold(&mut held, auth), (Vec::new(), None, Some("org_1".to_owned())));
    for auth in [r#"{"type":"auth","token":"t"}"#, r#"{"type":"auth","token":"t","organizationId":"a/b"}"#] {
        assert_eq!(hold(&mut start(), auth).1, Some(Code::WrongOrganization), "{auth}");
    }
    let other = r#"{"type":"subscribe","id":"s","table":"t"}"#;
    assert_eq!(hold(&mut start(), other).1, Some(Code::AuthRequired));
    let default = self::configuration(&[("DEFAULT_ORGANIZATION", "main")]);
    let step = HeldSocket::new(native::ID, Rc::new(default))
        .unwrap()
        .receive(Received::Text(r#"{"type":"auth","token":"t"}"#));
    assert_eq!(step, HeldStep::Enter("main".to_owned()));
}

#[test]
fn a_held_socket_that_errs_again_and_again_is_closed() {
    let configuration = Rc::new(configuration(&[]));
    let most = configuration.limits.errors_per_minute;
    let large = "x".repeat(usize::try_from(configuration.limits.frame_bytes).unwrap() + 1);
    for text in ["nonsense", &large] {
        let mut held = HeldSocket::new(native::ID, configuration.clone()).unwrap();
        for _ in 1..most {
            assert_eq!(hold(&mut held, text), (vec!["error".to_owned()], None, None));
        }
        assert_eq!(hold(&mut held, text), (vec!["error".to_owned()], Some(Code::TooManyErrors), None));
    }
    let binary = HeldSocket::new(native::ID, configuration).unwrap().receive(Received::Binary(&[]));
    assert!(matches!(binary, HeldStep::Answer(frames) if frames.len() == 1));
}

#[test]
fn a_ticket_is_issued_for_an_organization_of_the_tokens() {
    let configuration = configuration(&[("ALLOWED_ORIGINS", "https://app.example.com")]);
    let of = |origin: &str| RequestHead { origin: Some(origin.to_owned()), ..with_token("", &token()) };
    assert_eq!(ticket::token(&of("https://evil.example.com"), &configuration), Err(Code::OriginNotAllowed));
    assert_eq!(ticket::token(&head(""), &configuration), Err(Code::Unauthorized));
    assert_eq!(ticket::token(&of("https://app.example.com"), &configuration), Ok(&*token()));
    for body in ["", "{}", "[]", r#"{"organizationId":"a/b"}"#, r#"{"organizationId":"org_1","more":1}"#] {
        assert_eq!(ticket::organization(body, &configuration).unwrap_err().code, Code::InvalidRequest, "{body}");
    }
    let organization = ticket::organization(r#"{"organizationId":"org_1"}"#, &configuration).unwrap();
    let issue = |organization: &str| {
        let proven = configuration.credentials.verify(NOW, &token(), &KeySet::default());
        ticket::issue(&configuration, organization.to_owned(), proven, "t9".to_owned(), NOW)
    };
    let answer: Value = serde_json::from_str(&issue(&organization).unwrap().body).unwrap();
    let (organization, admission) =
        decide(&head(&format!("?ws_ticket={}", answer["wsTicket"].as_str().unwrap())), &configuration).unwrap();
    assert_eq!((&*organization, admission.ticket.unwrap().0), ("org_1", "t9".to_owned()));
    assert_eq!(issue("org_2").unwrap_err().code, Code::WrongOrganization);
}

#[test]
fn the_access_token_alone_opens_what_is_the_services() {
    let open = configuration(&[]);
    assert_eq!(authorize(Some(&format!("Bearer {ACCESS_TOKEN}")), &open), Ok(()));
    for other in [None, Some(""), Some("Bearer "), Some("Bearer x"), Some(ACCESS_TOKEN)] {
        assert_eq!(authorize(other, &open), Err(Code::Unauthorized), "{other:?}");
    }
    assert_eq!(head("?organizationId=org_1").organization(&open), Ok("org_1".to_owned()));
    assert_eq!(head("").organization(&open).unwrap_err().field.as_deref(), Some("organizationId"));
}

#[test]
fn a_publisher_over_rest_is_the_service_or_a_key() {
    let closed = configuration(&[("ALLOWED_ORIGINS", "https://app.example.com"), ("DEFAULT_ORGANIZATION", "main")]);
    let service = |query: &str| publisher(&with_token(query, ACCESS_TOKEN), &closed);
    assert_eq!(service("?organizationId=org_1"), Ok(RestPublisher::Service("org_1".to_owned())));
    assert_eq!(service(""), Ok(RestPublisher::Service("main".to_owned())));
    assert_eq!(service("?organizationId=a/b"), Err(Code::WrongOrganization));
    assert_eq!(publisher(&with_token("", "k"), &closed), Ok(RestPublisher::Client("k".to_owned())));
    let by_header = RequestHead { api_key: Some("k".to_owned()), ..head("") };
    assert_eq!(publisher(&by_header, &closed), Ok(RestPublisher::Client("k".to_owned())));
    assert_eq!(publisher(&head(""), &closed), Err(Code::Unauthorized));
    let page = RequestHead { origin: Some("https://evil.example.com".to_owned()), ..by_header };
    assert_eq!(publisher(&page, &closed), Err(Code::OriginNotAllowed));
}
