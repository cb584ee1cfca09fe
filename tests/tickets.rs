//! Tickets: valid for sixty seconds, for what they contain, with the secret that signed them; nothing else is one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::string_slice, reason = "a test stops at the first surprise")]

use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, Mac};
use realtime_worker::code::Code;
use realtime_worker::policy::principal::{Method, Principal};
use realtime_worker::policy::roles::Roles;
use realtime_worker::policy::secret::Secret;
use realtime_worker::policy::ticket::{LIFETIME_SECONDS, Ticket};
use sha2::Sha256;

const NOW: u64 = 1_800_000_000_000;

fn ticket() -> Ticket {
    let principal = Principal {
        user: Some("u7".into()),
        roles: Roles::new(["admin".to_owned(), "hr".to_owned()]),
        method: Method::Session,
        expires: Some(NOW + 3_600_000),
        claims: [("teams".to_owned(), vec!["é".to_owned(), "\"\\\0".to_owned()])].into(),
        all_claims: None,
        grants: Default::default(),
    };
    Ticket { id: "t1".into(), organization: "org_1".into(), expires: NOW + LIFETIME_SECONDS * 1_000, principal }
}

fn secret() -> Secret {
    Secret::new("a secret of thirty-two bytes or more")
}

fn verify(text: &str, now: u64) -> Result<Ticket, Code> {
    Ticket::verify(text, [secret()].iter(), now)
}

#[track_caller]
fn check_refused(what: &str, text: &str) {
    assert_eq!(verify(text, NOW), Err(Code::InvalidToken), "{what}");
    assert_eq!(verify(text, u64::MAX), Err(Code::InvalidToken), "{what}: its time must not matter");
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    <Hmac<Sha256> as Mac>::new_from_slice(key).unwrap()
}

/// A text signed like a ticket, which only the holder of the secret can do. The key derivation is HKDF (RFC 5869),
/// written out.
fn sealed(json: &str) -> String {
    let extracted = mac(b"realtime-worker").chain_update(secret().expose()).finalize().into_bytes();
    signed_with(&mac(&extracted).chain_update("ticket 2\x01").finalize().into_bytes(), json)
}

/// A text signed as by the build before HKDF.
fn sealed_before(json: &str) -> String {
    let derived = mac(secret().expose().as_bytes()).chain_update("realtime-worker ticket 1").finalize().into_bytes();
    signed_with(&derived, json)
}

fn signed_with(derived: &[u8], json: &str) -> String {
    let payload = Base64UrlUnpadded::encode_string(json.as_bytes());
    let signature = mac(derived).chain_update(&payload).finalize().into_bytes();
    format!("{payload}.{}", Base64UrlUnpadded::encode_string(&signature))
}

#[test]
fn a_ticket_says_what_was_signed() {
    assert_eq!(verify(&ticket().sign(&secret()).unwrap(), NOW), Ok(ticket()));
    let mut bare = ticket();
    bare.principal = Principal { user: None, expires: None, method: Method::ApiKey, ..bare.principal };
    bare.principal.claims.clear();
    assert_eq!(verify(&bare.sign(&secret()).unwrap(), NOW), Ok(bare));
}

#[test]
fn a_ticket_travels_in_a_url_as_it_is() {
    let text = ticket().sign(&secret()).unwrap();
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{text}");
}

#[test]
fn a_ticket_ends_to_the_millisecond() {
    let text = ticket().sign(&secret()).unwrap();
    let end = ticket().expires;
    assert_eq!(verify(&text, end - 1), Ok(ticket()));
    assert_eq!(verify(&text, end), Err(Code::TokenExpired));
    assert_eq!(verify(&text, u64::MAX), Err(Code::TokenExpired));
    assert_eq!(verify(&text, 0), Ok(ticket()));
}

#[test]
fn the_previous_secret_serves_while_rotating() {
    let (new, old, older) = (Secret::new("new".repeat(9)), secret(), Secret::new("older".repeat(9)));
    let both = [new.clone(), old.clone()];
    for signer in &both {
        assert_eq!(Ticket::verify(&ticket().sign(signer).unwrap(), both.iter(), NOW), Ok(ticket()));
    }
    assert_eq!(Ticket::verify(&ticket().sign(&older).unwrap(), both.iter(), NOW), Err(Code::InvalidToken));
    assert_eq!(Ticket::verify(&ticket().sign(&old).unwrap(), [new].iter(), NOW), Err(Code::InvalidToken));
    assert_eq!(Ticket::verify(&ticket().sign(&old).unwrap(), [].iter(), NOW), Err(Code::InvalidToken));
}

#[test]
fn another_secret_signs_nothing() {
    let ours = secret();
    let near = [
        String::new(),
        "\0".repeat(32),
        "\0".repeat(64),
        ours.expose()[1..].to_owned(),
        format!("{}\n", ours.expose()),
        ours.expose().to_uppercase(),
    ];
    for other in &near {
        check_refused(other, &ticket().sign(&Secret::new(other.as_str())).unwrap());
    }
}

/// The bearer token of the publishing API signs tickets only through a derived key, never directly.
#[test]
fn the_secret_itself_is_not_the_key() {
    let payload = Base64UrlUnpadded::encode_string(&serde_json::to_vec(&ticket()).unwrap());
    for message in [payload.clone(), format!("realtime-worker ticket 1{payload}"), format!("ticket 2{payload}")] {
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(secret().expose().as_bytes()).unwrap();
        let signature = mac.chain_update(message).finalize().into_bytes();
        check_refused("plain key", &format!("{payload}.{}", Base64UrlUnpadded::encode_string(&signature)));
    }
    let json = serde_json::to_string(&ticket()).unwrap();
    assert_eq!(sealed(&json), ticket().sign(&secret()).unwrap());
    assert_eq!(verify(&sealed(&json), NOW), Ok(ticket()));
}

/// During a deploy, a page gets its ticket from one build and opens its socket at the next.
#[test]
fn a_ticket_of_the_build_before_is_accepted_until_it_ends() {
    let text = sealed_before(&serde_json::to_string(&ticket()).unwrap());
    assert_eq!(verify(&text, NOW), Ok(ticket()));
    assert_eq!(verify(&text, ticket().expires), Err(Code::TokenExpired));
    assert_ne!(text, ticket().sign(&secret()).unwrap(), "none is signed so any more");
}

#[test]
fn no_character_can_be_changed_taken_or_put() {
    let text = ticket().sign(&secret()).unwrap();
    for place in 0..text.len() {
        check_refused(&format!("cut at {place}"), &text[..place]);
        check_refused(&format!("cut before {place}"), &text[place + 1..]);
        let (before, after) = (&text[..place], &text[place + 1..]);
        check_refused(&format!("without {place}"), &format!("{before}{after}"));
        for other in ['A', 'Q', '_', '=', '.', ' ', '\0', 'é'] {
            check_refused(&format!("{other:?} put at {place}"), &format!("{before}{other}{}", &text[place..]));
            if !text[place..].starts_with(other) {
                check_refused(&format!("{other:?} for {place}"), &format!("{before}{other}{after}"));
            }
        }
    }
    for ending in ["=", ".", "A", "AA", "\n", ".A", "%"] {
        check_refused(ending, &format!("{text}{ending}"));
    }
}

#[test]
fn no_bit_can_be_changed() {
    let text = ticket().sign(&secret()).unwrap();
    let parts: Vec<Vec<u8>> = text.split('.').map(|part| Base64UrlUnpadded::decode_vec(part).unwrap()).collect();
    let [payload, signature] = parts.as_slice() else { panic!("two parts") };
    let join = |payload: &[u8], signature: &[u8]| {
        format!("{}.{}", Base64UrlUnpadded::encode_string(payload), Base64UrlUnpadded::encode_string(signature))
    };
    assert_eq!(verify(&join(payload, signature), NOW), Ok(ticket()));
    let flipped = |bytes: &[u8], bit: usize| -> Vec<u8> {
        let flip = |(place, byte): (usize, &u8)| if place == bit / 8 { byte ^ (1 << (bit % 8)) } else { *byte };
        bytes.iter().enumerate().map(flip).collect()
    };
    for bit in 0..payload.len() * 8 {
        check_refused("payload", &join(&flipped(payload, bit), signature));
    }
    for bit in 0..signature.len() * 8 {
        check_refused("signature", &join(payload, &flipped(signature, bit)));
    }
}

#[test]
fn the_parts_of_two_tickets_do_not_mix() {
    let other = Ticket { organization: "org_2".into(), ..ticket() };
    let (first, second) = (ticket().sign(&secret()).unwrap(), other.sign(&secret()).unwrap());
    let halves = |text: &str| text.split_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let ((first, its), (second, others)) = (halves(&first), halves(&second));
    check_refused("swapped", &format!("{first}.{others}"));
    check_refused("swapped", &format!("{second}.{its}"));
    check_refused("doubled", &format!("{first}.{second}.{its}"));
}

#[test]
fn what_is_no_ticket_is_refused() {
    let long = format!("{}.x", "A".repeat(9_000));
    for text in ["", ".", "..", "null", "é.é", "\0", "a.b", "e30.", "e30.e30", &long, &".".repeat(9_000)] {
        check_refused(text, text);
    }
}

/// Even a text signed with the secret must be a ticket: the same key may sign other things one day.
#[test]
fn foreign_json_under_the_right_signature_is_refused() {
    let good = serde_json::to_string(&ticket()).unwrap();
    let deep = format!("{{\"id\":{}{}}}", "[".repeat(2_000), "]".repeat(2_000));
    let without = |name: &str| {
        let mut value = serde_json::to_value(ticket()).unwrap();
        value.as_object_mut().unwrap().remove(name);
        value.to_string()
    };
    let texts = [
        String::new(),
        "null".into(),
        "[]".into(),
        "{}".into(),
        "\"t1\"".into(),
        deep,
        good[..good.len() - 1].to_owned(),
        format!("{good}{good}"),
        good.replace("\"t1\"", "7"),
        good.replace("\"org_1\"", "null"),
        good.replace("\"session\"", "\"root\""),
        good.replace("\"admin\"", "1"),
        good.replacen("{", "{\"id\":\"t2\",", 1),
        good.replace(&ticket().expires.to_string(), "-1"),
        good.replace(&ticket().expires.to_string(), "1e300"),
        good.replace("\"teams\":[", "\"teams\":[[],"),
    ];
    for text in texts.into_iter().chain(["id", "organization", "expires", "principal"].map(without)) {
        check_refused(&text, &sealed(&text));
    }
}

#[test]
fn an_oversized_ticket_is_refused_before_it_is_read() {
    let mut large = ticket();
    large.principal.roles = Roles::new((0..2_000).map(|number| format!("role {number}")));
    // A ticket that could never be used is not issued.
    assert_eq!(large.sign(&secret()), None);
    let text = "a".repeat(9_000) + "." + &"a".repeat(43);
    check_refused("oversized", &text);
}
