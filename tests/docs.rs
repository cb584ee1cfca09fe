//! The tables in `docs/` agree with the code. Each is below a comment such as `<!-- table: codes -->`.

use realtime_worker::code::{Code, Retry};
use realtime_worker::dialect::butterbase::{self, Butterbase};
use realtime_worker::dialect::native::{CLIENT_FRAMES, Native, SERVER_FRAMES};
use realtime_worker::dialect::{Dialect, Received, fluxbase};
use realtime_worker::policy::filter::{Filter, OPERATORS};
use realtime_worker::policy::limits::{self, HistoryLimits, Limits};
use realtime_worker::policy::mask::Mask;
use realtime_worker::policy::ticket;
use realtime_worker::server::{dialects, metrics};

/// The pages with tables.
const DOCS: &str = concat!(
    include_str!("../docs/protocol-native.md"),
    include_str!("../docs/protocol-fluxbase.md"),
    include_str!("../docs/configuration.md"),
    include_str!("../docs/operations.md"),
    include_str!("../docs/protocol-butterbase.md")
);

/// The rows of a table, without its header.
fn table(name: &str) -> Vec<&'static str> {
    let marker = format!("<!-- table: {name} -->\n");
    assert_eq!(DOCS.matches(&marker).count(), 1, "docs/ must have one line {marker}");
    let after = DOCS.split_once(&marker).map_or("", |(_, after)| after);
    after.lines().skip(2).take_while(|line| line.starts_with('|')).collect()
}

/// The example in the last cell of a row, which has the form `| … | … | example |`.
fn example(line: &str) -> &str {
    let line = line.trim_end_matches('|');
    line.rsplit_once(" | ").map_or(line, |(_, last)| last).trim()
}

/// Compares whole rows, in order.
#[track_caller]
fn assert_lines(name: &str, expected: &[String]) {
    let found = table(name);
    let missing: Vec<_> = expected.iter().filter(|line| !found.contains(&line.as_str())).cloned().collect();
    let foreign: Vec<_> = found.iter().filter(|line| !expected.iter().any(|one| one == *line)).copied().collect();
    assert!(
        missing.is_empty() && foreign.is_empty(),
        "docs/, table \"{name}\"\nadd:\n{}\nremove:\n{}\n",
        missing.join("\n"),
        foreign.join("\n"),
    );
    assert!(
        found.iter().eq(expected),
        "docs/, table \"{name}\": put the lines in this order:\n{}",
        expected.join("\n")
    );
}

/// Compares the names in the first cells, in order; the other cells are for people. A row may continue the previous one
/// with an empty name.
#[track_caller]
fn assert_names<'a>(name: &str, expected: impl Iterator<Item = &'a str>) {
    let first_cell = |line: &&'static str| line.split('|').nth(1).unwrap_or_default().trim();
    let found: Vec<_> = table(name).iter().map(first_cell).filter(|cell| !cell.is_empty()).collect();
    let expected: Vec<_> = expected.map(|name| format!("`{name}`")).collect();
    for cell in &expected {
        assert!(found.contains(&cell.as_str()), "docs/, table \"{name}\": add a line that begins with | {cell} |");
    }
    for cell in &found {
        assert!(expected.iter().any(|one| one == cell), "docs/, table \"{name}\": remove the line of {cell}");
    }
    assert_eq!(found, expected, "docs/, table \"{name}\": the order of the lines");
}

#[test]
fn codes() {
    let line = |code: &Code| {
        let close = code.close().map_or_else(String::new, |number| format!("{number} "));
        let retry = match code.retry() {
            Retry::No => "no",
            Retry::Later => "later",
            Retry::FreshToken => "fresh token",
        };
        format!("| `{}` | {} | {close}| {retry} | {} |", code.as_str(), code.status(), code.sentence())
    };
    assert_lines("codes", &Code::ALL.iter().map(line).collect::<Vec<_>>());
}

#[test]
fn metrics_of_prometheus() {
    let line = |(name, kind, help): (&str, &str, &str)| format!("| `{name}` | {kind} | {help} |");
    assert_lines("metrics", &metrics::table().map(line).collect::<Vec<_>>());
}

#[test]
fn limits_that_may_be_set() {
    let line = |(name, default, about): &(&str, u64, &str)| format!("| `{name}` | {default} | {about} |");
    assert_lines("limits", &Limits::TABLE.iter().map(line).collect::<Vec<_>>());
    assert_lines("history", &HistoryLimits::TABLE.iter().map(line).collect::<Vec<_>>());
}

#[test]
fn limits_that_are_fixed() {
    let seconds = |milliseconds: u64| format!("{} seconds", milliseconds / 1_000);
    let bytes = |count: usize| format!("{count} bytes");
    let expected = [
        ("a request's body", bytes(limits::BODY_BYTES)),
        ("events of one request", limits::BATCH_EVENTS.to_string()),
        ("an organization's id", format!("{} characters", limits::ORGANIZATION_CHARACTERS)),
        ("an idempotency key, a subscription's or message's id", bytes(limits::ID_BYTES)),
        ("the name of a topic, event, table, schema or user", bytes(limits::NAME_BYTES)),
        ("how long an idempotency key is remembered", seconds(limits::IDEMPOTENCY_WINDOW)),
        ("how long a ticket is valid", seconds(ticket::LIFETIME_SECONDS * 1_000)),
        ("how long a connection may wait before `auth`", seconds(limits::AUTH_DEADLINE)),
        ("how long a connection stays open after its token has expired", seconds(limits::EXPIRY_GRACE)),
        ("how long a subscription waits for the database", seconds(limits::MAX_DATABASE_WAIT)),
        (
            "frames of one connection that wait while keys are fetched, not counting joins and fresh tokens of its channels",
            limits::WAITING_FRAMES.to_string(),
        ),
        ("bytes of one organization's frames that wait while keys are fetched", limits::WAITING_BYTES.to_string()),
        (
            "rejections of a Supabase client within a minute that close its socket, as a multiple of `framesPerSecond` plus `topics`",
            limits::REJECTION_FACTOR.to_string(),
        ),
        ("regular expressions in all filters of one connection", limits::REGULAR_EXPRESSIONS.to_string()),
        (
            "bytes of a client's message that is retained, including everything beside its payload",
            limits::RETAINED_BYTES.to_string(),
        ),
        (
            "stored bytes of one connection's subscriptions and channels up to which it may add more",
            limits::STATE_BYTES.to_string(),
        ),
    ];
    assert_lines("fixed limits", &expected.map(|(name, value)| format!("| {name} | {value} |")));
}

/// The threat model names every limit, and states the fixed ones as in the code.
#[test]
fn the_threat_model_names_every_limit() {
    let page = include_str!("../docs/security.md");
    let names = Limits::TABLE.iter().map(|(name, ..)| format!("`{name}`"));
    let fixed = [
        format!("{} regular expressions", limits::REGULAR_EXPRESSIONS),
        format!("{},000,000 steps for one publication", limits::MAX_PUBLICATION_STEPS / 1_000_000),
        format!("at most once per {} ms", limits::PRESENCE_WINDOW),
        format!("at most {} MiB", limits::WAITING_BYTES / (1 << 20)),
        format!("{} events a request", limits::BATCH_EVENTS),
        format!("{} seconds", limits::AUTH_DEADLINE / 1_000),
        format!("more than {} MiB closes", limits::MESSAGE_LENGTH >> 20),
        format!("{},{},000 bytes", limits::STATE_BYTES / 1_000_000, limits::STATE_BYTES / 1_000 % 1_000),
        format!("at most {} KiB of members", limits::MAX_ROSTER_PAGE / 1_024),
        format!("are told of {} MiB at most", limits::MAX_WHOLE_ROSTER >> 20),
    ];
    for word in names.chain(fixed) {
        assert!(page.contains(&word), "docs/security.md says nothing of {word}");
    }
}

#[test]
fn frames() {
    assert_names("client frames", CLIENT_FRAMES.into_iter());
    assert_names("server frames", SERVER_FRAMES.into_iter());
    for kind in CLIENT_FRAMES {
        let frame = format!("{{\"type\":\"{kind}\"}}");
        let code = Native.decode(Received::Text(&frame)).err().map(|malformed| malformed.refusal.code);
        assert_ne!(code, Some(Code::UnknownType), "{kind}");
    }
}

#[test]
fn fluxbase_frames() {
    assert_names("fluxbase client frames", fluxbase::CLIENT_FRAMES.into_iter());
    assert_names("fluxbase server frames", fluxbase::SERVER_FRAMES.into_iter());
    for kind in fluxbase::CLIENT_FRAMES {
        let frame = format!("{{\"type\":\"{kind}\"}}");
        let code = fluxbase::Fluxbase.decode(Received::Text(&frame)).err().map(|malformed| malformed.refusal.code);
        assert_ne!(code, Some(Code::UnknownType), "{kind}");
    }
}

#[test]
fn fluxbase_routes() {
    for line in table("fluxbase routes") {
        let route = line.split('|').nth(1).unwrap_or_default().replace('`', "");
        let (methods, path) = route.trim().rsplit_once(' ').unwrap_or_default();
        let path = path.replace("{schema}/{table}", "public/products");
        let known = dialects::api(&path).and_then(|api| api.methods(&path)).unwrap_or_default();
        for method in methods.split(", ") {
            assert!(known.contains(&method), "{method} {path}");
        }
    }
}

#[test]
fn masks() {
    assert_names("masks", Mask::ALL.into_iter().map(|(name, _)| name));
    for (line, (name, mask)) in table("masks").iter().zip(Mask::ALL) {
        let texts: Vec<_> = example(line).split('`').collect();
        let [_, value, _, masked, _] = texts[..] else { panic!("the example of {name} is not `value` → `masked`") };
        assert_eq!(mask.json(&format!("\"{value}\"")), format!("\"{masked}\""), "the example of {name}");
    }
}

#[test]
fn filter_operators() {
    assert_names("operators", OPERATORS.into_iter());
    for (line, operator) in table("operators").iter().zip(OPERATORS) {
        let filter = example(line).trim_matches('`');
        assert!(filter.contains(&format!("={operator}.")), "the example of {operator}");
        assert!(Filter::parse(filter).is_ok(), "the example of {operator}");
    }
}

#[test]
fn butterbase_frames() {
    assert_names("butterbase client frames", butterbase::CLIENT_FRAMES.into_iter());
    assert_names("butterbase server frames", butterbase::SERVER_FRAMES.into_iter());
    for kind in butterbase::CLIENT_FRAMES {
        let frame = format!("{{\"type\":\"{kind}\"}}");
        let code = Butterbase.decode(Received::Text(&frame)).err().map(|malformed| malformed.refusal.code);
        assert_ne!(code, Some(Code::UnknownType), "{kind}");
    }
}

#[test]
fn butterbase_closings() {
    let codes = [
        Code::AuthRequired,
        Code::InvalidToken,
        Code::TokenExpired,
        Code::WrongOrganization,
        Code::AppPaused,
        Code::ListenerLimit,
        Code::ConnectionLimit,
        Code::RealtimeDisabled,
        Code::ServiceRestart,
        Code::TooManyErrors,
        Code::TooManyAttempts,
    ];
    let line = |code: Code| {
        let (number, reason) = Butterbase.closing(code);
        format!("| `{}` | {number} | {reason} |", code.as_str())
    };
    assert_lines("butterbase closings", &codes.map(line));
}

/// Every test and spec that a table of guarantees names exists.
#[test]
fn guarantees_are_proven_by_tests_that_exist() {
    let mut known = String::new();
    let mut folders = vec![
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests").into(),
        concat!(env!("CARGO_MANIFEST_DIR"), "/miniflare/specs").into(),
        concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/specs").into(),
    ];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir::<std::path::PathBuf>(folder).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "rs") {
                known.push_str(&std::fs::read_to_string(&path).unwrap_or_default());
            } else if path.is_dir() {
                folders.push(path);
            } else if let Some(name) = path.file_name() {
                known.extend(["fn ", &name.to_string_lossy(), "("]);
            }
        }
    }
    for name in ["butterbase guarantees", "fluxbase guarantees", "fluxbase plans"] {
        let proofs =
            table(name).into_iter().map(|line| line.trim_end_matches(" |").rsplit(" | ").next().unwrap_or(line));
        for (number, proofs) in proofs.enumerate() {
            let named: Vec<_> = proofs.split('`').skip(1).step_by(2).collect();
            assert!(
                !named.is_empty() || proofs.contains(".md"),
                "docs/, table \"{name}\", line {number} names no proof"
            );
            for proof in named {
                assert!(known.contains(&format!("fn {proof}(")), "docs/, table \"{name}\": there is no test {proof}");
            }
        }
    }
}
