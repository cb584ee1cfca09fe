//! Hostile JSON before any rule sees it: read without a panic in time linear in its length, or refused.
#![allow(clippy::unwrap_used, clippy::string_slice, reason = "a test stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "a test may ask how long something took")]

use std::time::{Duration, Instant};

use realtime_worker::code::Code;
use realtime_worker::policy::masking::Masking;
use realtime_worker::policy::roles::Roles;
use realtime_worker::value::form::Form;
use realtime_worker::value::json;
use realtime_worker::value::row::Row;

/// Levels of nesting that no stack of a Worker could hold if each took a stack frame.
const DEEP: usize = 100_000;

/// Reads `text` in every possible way, and accesses everything.
fn read_everything(text: &str) {
    drop(json::object(text));
    drop(json::lenient_object(text));
    drop(json::array(text));
    drop(json::string(text));
    json::kind(text);
    if let Ok(row) = Row::read(text) {
        let mut written = String::new();
        row.write(&mut written);
        assert_eq!(Row::read(&written).unwrap(), row);
        row.columns.iter().for_each(|column| drop(row.key(&column.name)));
    }
    let Ok(mut form) = Form::read(text, Code::InvalidRequest) else { return };
    for (_, field) in form.rest() {
        drop((field.text(), field.name(10), field.boolean(), field.count()));
        drop((field.texts(10), field.is_null(), field.path()));
        drop(field.form().map(|mut form| form.rest().len()));
        drop(field.list(10).map(|list| list.len()));
    }
    form.finish().unwrap();
}

/// Runs `work` on the smallest stack that a Worker's thread has, and returns its duration.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) -> Duration {
    let start = Instant::now();
    std::thread::Builder::new().stack_size(512 * 1_024).spawn(work).unwrap().join().unwrap();
    start.elapsed()
}

/// Masks what `path` points to in a row with this text.
fn mask(path: &str, row: &str) -> Option<String> {
    let config = format!("{{\"m\":{{\"{path}\":{{\"type\":\"redact\"}}}}}}");
    let mut form = Form::read(&config, Code::InvalidRequest).unwrap();
    let masking = Masking::read(&form.require("m").unwrap()).unwrap();
    let seen = masking.apply(&Row::read(row).ok()?, &masking.hidden(&Roles::default(), false));
    let mut out = String::new();
    seen.write(&mut out);
    Some(out)
}

#[test]
fn deep_nesting_needs_no_stack() {
    let shapes = [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]"), ("[[],", "]"), ("{\"b\":[],\"a\":", "}")];
    on_a_small_stack(move || {
        for (open, close) in shapes {
            let text = format!("{}1{}", open.repeat(DEEP), close.repeat(DEEP));
            for whole in [text.clone(), format!("{{\"a\":{text}}}"), text[..text.len() / 2].to_owned()] {
                read_everything(&whole);
            }
        }
    });
}

/// A path reaches through arrays, so nested arrays must not become nested calls.
#[test]
fn masking_in_deep_nesting_needs_no_stack_and_shows_nothing() {
    for (open, close) in [("[", "]"), ("[[1],", "]"), ("[{\"b\":", "}]"), ("{\"b\":", "}"), ("[{\"x\":1},", "]")] {
        let took = on_a_small_stack(move || {
            let inner = format!("{}{{\"b\":\"secret\"}}{}", open.repeat(DEEP), close.repeat(DEEP));
            for path in ["a.b", "a.b.b.b", "a.b.b.b.b.b.b.b.b.b.b.b.b.b.b.b"] {
                let seen = mask(path, &format!("{{\"a\":{inner},\"c\":\"kept\"}}")).unwrap();
                assert!(!seen.contains("secret") && seen.ends_with("\"c\":\"kept\"}"), "{open} {path}");
                Row::read(&seen).unwrap();
            }
        });
        assert!(took < Duration::from_secs(10), "{open} took {took:?}");
    }
}

#[test]
fn a_path_is_still_followed_through_a_few_arrays() {
    let row = r#"{"a":[[[{"b":"secret","c":1}]],[{"b":null}]]}"#;
    assert_eq!(mask("a.b", row).unwrap(), r#"{"a":[[[{"b":"[REDACTED]","c":1}]],[{"b":null}]]}"#);
}

#[test]
fn huge_numbers_stay_as_they_are_and_are_no_counts() {
    let digits = "9".repeat(100_000);
    let fraction = format!("0.{digits}");
    let exponents = ["1e999999999999", "-1e-999999999999", "1E+400", "-0", "-0.0e0", "18446744073709551616"];
    for number in exponents.into_iter().chain([digits.as_str(), &fraction]) {
        let text = format!("{{\"n\":{number}}}");
        read_everything(&text);
        assert_eq!(Row::read(&text).unwrap().get("n"), Some(number));
        let mut form = Form::read(&text, Code::InvalidRequest).unwrap();
        assert!(form.require("n").unwrap().count().is_err(), "{}", &number[..number.len().min(30)]);
    }
    for no_number in ["+1", "01", "1.", ".5", "1e", "0x10", "NaN", "Infinity", "-", "1_000", "１"] {
        assert!(Row::read(&format!("{{\"n\":{no_number}}}")).is_err(), "{no_number}");
    }
}

#[test]
fn a_lone_surrogate_is_no_text_and_no_key() {
    for lone in ["\\ud800", "\\udc00", "\\udfff", "a\\ud800", "\\ud800\\ud800", "\\ud800a", "\\udc00\\ud800"] {
        let value = format!("{{\"a\":\"{lone}\"}}");
        read_everything(&value);
        assert_eq!(Row::read(&value).unwrap().key("a"), None, "{lone}");
        let mut form = Form::read(&value, Code::InvalidRequest).unwrap();
        let refusal = form.require("a").unwrap().text().unwrap_err();
        assert_eq!((refusal.code, refusal.field.as_deref()), (Code::InvalidRequest, Some("a")));
        let key = format!("{{\"{lone}\":1}}");
        read_everything(&key);
        assert!(Row::read(&key).is_err() && Form::read(&key, Code::InvalidRequest).is_err(), "{lone}");
    }
    assert_eq!(json::string("\"\\ud83d\\ude00\"").as_deref(), Some("😀"));
}

#[test]
fn a_key_that_stands_twice_is_refused_however_it_is_spelt() {
    let spellings = ["ssn", "\\u0073sn", "s\\u0073n", "ss\\u006e", "\\u0073\\u0073\\u006E"];
    for first in spellings {
        for second in spellings {
            let text = format!("{{\"id\":1,\"{first}\":1,\"x\":[],\"{second}\":2}}");
            read_everything(&text);
            assert!(Row::read(&text).is_err() && Form::read(&text, Code::InvalidRequest).is_err(), "{text}");
        }
    }
    for text in [r#"{"":1,"":2}"#, r#"{"/":1,"\/":2}"#, r#"{"é":1,"\u00e9":2}"#, r#"{"😀":1,"\ud83d\ude00":2}"#] {
        assert!(Row::read(text).is_err(), "{text}");
    }
    // Other letters, however similar they look, are other keys.
    for text in ["{\"é\":1,\"e\u{301}\":2}", r#"{"ssn":1,"SSN":2}"#, r#"{"ssn":1,"ssn ":2}"#, r#"{"ssn":1,"ѕѕn":2}"#]
    {
        assert!(Row::read(text).is_ok(), "{text}");
    }
}

#[test]
fn nul_and_other_control_characters() {
    for code in (0..32).chain([127, 0x85, 0x2028, 0xfeff]) {
        let character = char::from_u32(code).unwrap();
        let raw = format!("{{\"a{character}\":\"b{character}\"}}");
        read_everything(&raw);
        assert_eq!(Row::read(&raw).is_ok(), code >= 32, "a raw {code}");
        let escaped = format!("{{\"a\\u{code:04x}\":\"b\\u{code:04x}\"}}");
        read_everything(&escaped);
        let row = Row::read(&escaped).unwrap();
        assert_eq!(row.key(&format!("a{character}")), Some(format!("b{character}")), "an escaped {code}");
        read_everything(&format!("{character}{{}}{character}"));
    }
    assert!(Row::read("\0").is_err() && Row::read("{}\0").is_err() && Row::read("\u{feff}{}").is_err());
}

#[test]
fn a_text_that_is_cut_is_refused_wherever_it_is_cut() {
    let text = r#"{"a":{"b":[1,"\u00e9",{"c":null}],"é":"\ud83d\ude00"},"n":-1.5e+10,"t":true}"#;
    read_everything(text);
    for (place, _) in text.char_indices() {
        read_everything(&text[..place]);
        read_everything(&text[place..]);
        assert!(Row::read(&text[..place]).is_err(), "cut at {place}");
        assert!(Form::read(&text[..place], Code::InvalidRequest).is_err(), "cut at {place}");
    }
}

#[test]
fn a_hostile_key_makes_no_long_answer() {
    let key = "k".repeat(100_000);
    let form = Form::read(Box::leak(format!("{{\"{key}\":1}}").into_boxed_str()), Code::InvalidRequest).unwrap();
    let refusal = form.finish().unwrap_err();
    assert!(refusal.message.len() < 300 && refusal.field.is_some_and(|field| field.len() < 300));
}

/// As many keys as fit into a request: short, long, with equal prefixes, in order and out of order.
#[test]
fn a_mebibyte_of_keys_takes_no_quadratic_time() {
    let orders: [fn(u32) -> String; 4] = [
        |number| number.to_string(),
        |number| (1_000_000 - number).to_string(),
        |number| number.wrapping_mul(2_654_435_761).to_string(),
        |number| format!("{}{number}", "x".repeat(200)),
    ];
    for order in orders {
        let mut text = String::from("{\"first\":0");
        for number in 0.. {
            text.push_str(&format!(",\"{}\":1", order(number)));
            if text.len() > 1_024 * 1_024 {
                break;
            }
        }
        text.push('}');
        let start = Instant::now();
        let row = Row::read(&text).unwrap();
        assert!(row.get("absent").is_none());
        drop(Form::read(&text, Code::InvalidRequest).unwrap().finish());
        drop(Form::read(&text, Code::InvalidRequest).unwrap().rest());
        let took = start.elapsed();
        // Quadratic work would take minutes; a busy machine takes a second or two.
        assert!(took < Duration::from_secs(20), "{took:?}");
    }
}
