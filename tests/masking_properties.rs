//! Masking, for random configurations, viewers and rows: a hidden value shows what its mask leaves and no more, and
//! other values keep their bytes. The rules of the contract are implemented a second time here, on trees.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use realtime_worker::code::Code;
use realtime_worker::policy::masking::Masking;
use realtime_worker::policy::roles::Roles;
use realtime_worker::value::form::Form;
use realtime_worker::value::row::Row;
use serde_json::json;

const ROLES: [&str; 3] = ["admin", "hr", "member"];
const MASKS: [&str; 6] = ["email", "phone", "ssn", "creditCard", "name", "redact"];
/// Names that occur in each other and in values, so that search and replace would fail.
const KEYS: [&str; 9] = ["a", "b", "c", "a.b", "ssn", "a.b.c", "é\"\\", "", "123-45-6789"];
const PATHS: [&str; 12] = ["a", "b", "a.b", "a.b.c", "b.a", "ssn", "a.", ".a", "", "é\"\\", "ssn.ssn", "123-45-6789"];

/// Texts that fit one mask, nearly fit it, or occur in each other.
const TEXTS: [&str; 20] = [
    "",
    "a",
    "ssn",
    "123-45-6789",
    "john@yourdomain.com",
    "a@b@c.com",
    "@b.com",
    "a@b.1",
    "a@.com",
    "J",
    "Émile Zola",
    "[REDACTED]",
    "12345",
    "1234",
    "４１１１",
    "{\"b\":1}",
    "\u{0}\"\\",
    "null",
    "4111-1111-1111-1111",
    "x@y.é-1",
];

/// A JSON value that preserves the order of its keys and the spelling of its numbers.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Null,
    Boolean(bool),
    Number(String),
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

/// One masked field: its path, its mask, and who sees it (roles, and whether the owner does).
#[derive(Clone, Debug)]
struct Field {
    path: &'static str,
    mask: &'static str,
    roles: Vec<&'static str>,
    owner: bool,
}

impl Tree {
    fn text(&self) -> String {
        let members = |(key, value): &(String, Tree)| format!("{}:{}", json!(key), value.text());
        match self {
            Tree::Null => "null".into(),
            Tree::Boolean(value) => value.to_string(),
            Tree::Number(digits) => digits.clone(),
            Tree::Text(text) => json!(text).to_string(),
            Tree::Array(elements) => format!("[{}]", elements.iter().map(Tree::text).collect::<Vec<_>>().join(",")),
            Tree::Object(object) => format!("{{{}}}", object.iter().map(members).collect::<Vec<_>>().join(",")),
        }
    }
}

fn scalars() -> impl Strategy<Value = Tree> {
    prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::Boolean),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,6})?".prop_map(Tree::Number),
        "-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,4})?[eE][+-]?[0-9]{1,2}".prop_map(Tree::Number),
        select(TEXTS.as_slice()).prop_map(|text| Tree::Text(text.into())),
        "[a-c@.0-9 é-]{0,14}".prop_map(Tree::Text),
        any::<String>().prop_map(Tree::Text),
    ]
}

fn object(values: impl Strategy<Value = Tree>) -> impl Strategy<Value = Tree> {
    let keys = subsequence(KEYS.to_vec(), 0..=KEYS.len()).prop_shuffle();
    (keys, vec(values, KEYS.len()))
        .prop_map(|(keys, values)| Tree::Object(keys.into_iter().map(str::to_owned).zip(values).collect()))
}

fn trees() -> impl Strategy<Value = Tree> {
    scalars()
        .prop_recursive(4, 24, 4, |inner| prop_oneof![vec(inner.clone(), 0..4).prop_map(Tree::Array), object(inner)])
}

fn configurations() -> impl Strategy<Value = Vec<Field>> {
    let field = (select(MASKS.as_slice()), subsequence(ROLES.to_vec(), 0..=2), any::<bool>());
    let paths = subsequence(PATHS.to_vec(), 0..=5).prop_shuffle();
    (paths, vec(field, 5)).prop_map(|(paths, fields)| {
        let field = |(path, (mask, roles, owner))| Field { path, mask, roles, owner };
        paths.into_iter().zip(fields).map(field).collect()
    })
}

fn masking(fields: &[Field]) -> Masking {
    let entry = |field: &Field| {
        let mut show = json!({ "roles": field.roles });
        if field.owner {
            show["or"] = json!("owner");
        }
        format!("{}:{}", json!(field.path), json!({ "type": field.mask, "show": show }))
    };
    let text = format!("{{\"m\":{{{}}}}}", fields.iter().map(entry).collect::<Vec<_>>().join(","));
    let mut form = Form::read(&text, Code::InvalidRequest).unwrap();
    Masking::read(&form.require("m").unwrap()).unwrap()
}

/// The mask of each path that the viewer does not see, in the order in which the paths were named.
fn expected_masks(configurations: &[Vec<Field>], roles: &[&str], owner: bool) -> Vec<(&'static str, &'static str)> {
    let mut hidden: Vec<(&str, Option<&str>)> = Vec::new();
    for field in configurations.iter().flatten() {
        let shown = (field.owner && owner) || field.roles.iter().any(|role| roles.contains(role));
        let mask = (!shown).then_some(field.mask);
        match hidden.iter_mut().find(|(path, _)| *path == field.path) {
            Some((_, earlier)) => {
                *earlier = match (*earlier, mask) {
                    (Some(one), Some(other)) if one != other => Some("redact"),
                    (one, other) => one.or(other),
                }
            }
            None => hidden.push((field.path, mask)),
        }
    }
    hidden.into_iter().filter_map(|(path, mask)| Some((path, mask?))).collect()
}

/// What the contract leaves of a value (docs/protocol-native.md, Masking).
fn expected_value(mask: &str, value: &Tree) -> Tree {
    let text = match value {
        Tree::Null => return Tree::Null,
        Tree::Text(text) => text.clone(),
        Tree::Number(number) => decimal(number),
        _ => return Tree::Text("[REDACTED]".into()),
    };
    let digits: Vec<char> = text.chars().filter(|c| c.is_ascii_digit()).collect();
    let last_four = || digits.iter().rev().take(4).rev().collect::<String>();
    let shown = match mask {
        "phone" | "ssn" if digits.len() >= 5 => Some("*".repeat(digits.len() - 4) + &last_four()),
        "creditCard" if digits.len() >= 5 => Some(format!("**** **** **** {}", last_four())),
        "name" => text.chars().next().map(|first| format!("{first}***")),
        "email" => expected_email(&text),
        _ => None,
    };
    Tree::Text(shown.unwrap_or_else(|| "[REDACTED]".into()))
}

/// A number without its exponent: the point is moved digit by digit.
fn decimal(number: &str) -> String {
    let Some((mantissa, exponent)) = number.split_once(['e', 'E']) else { return number.to_owned() };
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |mantissa| ("-", mantissa));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let (mut whole, mut fraction) = (whole.to_owned(), fraction.to_owned());
    let exponent: i32 = exponent.parse().unwrap();
    for _ in 0..exponent.abs() {
        if exponent > 0 {
            whole.push(if fraction.is_empty() { '0' } else { fraction.remove(0) });
        } else {
            fraction.insert(0, whole.pop().unwrap_or('0'));
        }
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

fn expected_email(text: &str) -> Option<String> {
    let mut parts: Vec<&str> = text.split('@').collect();
    let domain = parts.pop().filter(|_| !parts.is_empty())?;
    let local = parts.join("@");
    let mut labels: Vec<&str> = domain.split('.').collect();
    let last = labels.pop().filter(|_| !labels.is_empty())?;
    let host: Vec<char> = labels.join(".").chars().collect();
    let is_top_level = last.chars().next()?.is_alphabetic() && last.chars().all(|c| c.is_alphanumeric() || c == '-');
    let (first, host_first) = (local.chars().next()?, host.first()?);
    is_top_level.then(|| format!("{first}***@{host_first}{}.{last}", "*".repeat(host.len() - 1)))
}

/// The value without what `steps` point to: through objects by name, through arrays to every element. A key with dots
/// matches several steps.
fn expected_within(value: &Tree, steps: &[&str], mask: &str) -> Tree {
    match value {
        value if steps.is_empty() => expected_value(mask, value),
        Tree::Null => Tree::Null,
        Tree::Array(elements) => Tree::Array(elements.iter().map(|one| expected_within(one, steps, mask)).collect()),
        Tree::Object(members) => {
            let hide = |(key, value): &(String, Tree)| {
                let steps_of_key = (1..=steps.len()).find(|count| steps[..*count].join(".") == *key);
                let hidden = steps_of_key.map(|count| expected_within(value, &steps[count..], mask));
                (key.clone(), hidden.unwrap_or_else(|| value.clone()))
            };
            Tree::Object(members.iter().map(hide).collect())
        }
        scalar => expected_value("redact", scalar),
    }
}

fn expected_row(row: &Tree, masks: &[(&str, &str)]) -> Tree {
    masks.iter().fold(row.clone(), |seen, (path, mask)| {
        let whole = matches!(row, Tree::Object(members) if members.iter().any(|(key, _)| key == path));
        let steps: Vec<&str> = if whole { vec![path] } else { path.split('.').collect() };
        expected_within(&seen, &steps, mask)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_row_shows_what_the_masks_say_and_no_more(
        row in object(trees()),
        configurations in vec(configurations(), 1..=3),
        roles in subsequence(ROLES.to_vec(), 0..=3),
        owner: bool,
    ) {
        let both = configurations.iter().map(|one| masking(one)).reduce(|one, other| one.and(&other)).unwrap();
        let hidden = both.hidden(&Roles::new(roles.iter().map(|role| (*role).to_owned())), owner);
        let mut seen = String::new();
        both.apply(&Row::read(&row.text()).unwrap(), &hidden).write(&mut seen);
        let masks = expected_masks(&configurations, &roles, owner);
        prop_assert_eq!(&seen, &expected_row(&row, &masks).text());
        prop_assert!(serde_json::from_str::<serde_json::Value>(&seen).is_ok());
    }

    /// Two viewers with the same masks see the same; additional roles never hide more.
    #[test]
    fn another_role_never_hides_more(
        row in object(trees()),
        fields in configurations(),
        roles in subsequence(ROLES.to_vec(), 0..=2),
        more in select(ROLES.as_slice()),
    ) {
        let masking = masking(&fields);
        let hidden = |roles: &[&str], owner| masking.hidden(&Roles::new(roles.iter().map(|role| (*role).to_owned())), owner);
        let with_more: Vec<&str> = roles.iter().copied().chain([more]).collect();
        let original = Row::read(&row.text()).unwrap();
        for (fewer, greater) in [(hidden(&roles, false), hidden(&with_more, false)), (hidden(&roles, false), hidden(&roles, true))] {
            let (fewer, greater) = (masking.apply(&original, &fewer), masking.apply(&original, &greater));
            for ((before, least), most) in original.columns.iter().zip(&fewer.columns).zip(&greater.columns) {
                // A column that the viewer with fewer roles sees is visible to the one with more.
                prop_assert!(least != before || most == before);
            }
        }
    }

    #[test]
    fn a_payload_of_any_kind_is_masked_alike(
        payload in trees(),
        fields in configurations(),
        roles in subsequence(ROLES.to_vec(), 0..=3),
    ) {
        let masking = masking(&fields);
        let hidden = masking.hidden(&Roles::new(roles.iter().map(|role| (*role).to_owned())), false);
        let masks = expected_masks(std::slice::from_ref(&fields), &roles, false);
        let expected = masks.iter().fold(payload.clone(), |seen, (path, mask)| {
            expected_within(&seen, &path.split('.').collect::<Vec<_>>(), mask)
        });
        prop_assert_eq!(masking.apply_json(&payload.text(), &hidden), expected.text());
    }

    /// Values that differ only in what their mask hides are indistinguishable.
    #[test]
    fn what_a_mask_hides_makes_no_difference(
        (left, right) in vec(("[0-9]", "[0-9]"), 1..=12).prop_map(|pairs| pairs.into_iter().unzip::<String, String, String, String>()),
        tail in "[0-9]{4}",
        ((first, one), other) in (("[a-zé]", "[a-z. @]{0,9}"), "[a-z. @]{0,9}"),
        ((host, label), host_stars) in (("[a-z]", "[a-z]{2,5}"), "[a-z]{4}"),
    ) {
        for mask in ["phone", "ssn", "creditCard"] {
            prop_assert_eq!(alone(mask, &format!("{left}{tail}")), alone(mask, &format!("({right}) {tail}")));
        }
        prop_assert_eq!(alone("name", &format!("{first}{one}")), alone("name", &format!("{first}{other}")));
        prop_assert_eq!(alone("redact", &one), alone("redact", &other));
        let email = |local: &str, rest: &str| alone("email", &format!("{first}{local}@{host}{rest}.{label}"));
        prop_assert_eq!(email(&one, "abcd"), email(&other, &host_stars));
    }

    #[test]
    fn no_text_makes_masking_panic(path in option::of("[a.]{0,8}"), row in any::<String>(), value in any::<String>()) {
        let masking = masking(&[Field { path: "a.b", mask: "email", roles: vec![], owner: false }]);
        let hidden = masking.hidden(&Roles::default(), false);
        masking.apply_json(&row, &hidden);
        masking.apply_json(&value, &hidden);
        let text = format!("{{{}:{}}}", json!(path.unwrap_or_default()), json!(value));
        masking.apply(&Row::read(&text).unwrap(), &hidden);
    }
}

/// Such an object is not a row, so it is masked as a payload: under the same rules, at every occurrence of the key.
#[test]
fn an_object_that_is_no_row_is_masked_like_one() {
    let masking = masking(&[Field { path: "a.b", mask: "redact", roles: vec![], owner: false }]);
    let hidden = masking.hidden(&Roles::default(), false);
    let cases = [
        (r#"{"a.b":"secret","x":1,"x":2}"#, r#"{"a.b":"[REDACTED]","x":1,"x":2}"#),
        (r#"{"a.b":"secret","a\u002eb":"secret"}"#, r#"{"a.b":"[REDACTED]","a.b":"[REDACTED]"}"#),
        (r#"{"a":{"b":"secret"},"a":{"b":"secret"}}"#, r#"{"a":{"b":"[REDACTED]"},"a":{"b":"[REDACTED]"}}"#),
        (r#"{"a.b":"secret","\ud800":1}"#, r#""[REDACTED]""#),
        (r#"{"a":{"b":"secret","\ud800":1}}"#, r#"{"a":"[REDACTED]"}"#),
        (r#""secret""#, r#""[REDACTED]""#),
        (r#"["secret",{"a":[["secret"]]}]"#, r#"["[REDACTED]",{"a":[["[REDACTED]"]]}]"#),
    ];
    for (payload, expected) in cases {
        assert_eq!(masking.apply_json(payload, &hidden), expected, "{payload}");
    }
}

/// The column of a row in which this one text is hidden by `mask`.
fn alone(mask: &'static str, value: &str) -> String {
    let masking = masking(&[Field { path: "v", mask, roles: vec![], owner: false }]);
    let row = Row::read(&json!({ "v": value }).to_string()).unwrap();
    masking.apply(&row, &masking.hidden(&Roles::default(), false)).get("v").unwrap().to_owned()
}
