//! `GET /realtime/v1/metrics`: figures of organizations in Prometheus format (docs/operations.md, Metrics).
//!
//! Only the organizations that the request names are queried, because a query wakes an object and a scrape must not pay
//! for all of them. No label has values that clients choose.

use std::fmt::Write;

use serde_json::Value;

use super::request_head::RequestHead;
use crate::code::{Code, Refusal};
use crate::policy::configuration::Configuration;
use crate::policy::organization::is_organization;

/// The media type of the text (Prometheus exposition format 0.0.4).
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Maximum organizations per request: each costs a request to its object.
pub const MAX_ORGANIZATIONS: usize = 20;

/// The location of a metric's value in the figures.
enum At {
    /// At this path.
    Path(&'static [&'static str]),
    /// One value per member of this object, under a label of this name.
    Each(&'static str, &'static str),
    /// The length of the list at this path.
    Length(&'static [&'static str]),
}

/// A metric of an organization.
struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    at: At,
    /// The divisor that converts the value to the unit in the name.
    scale: f64,
}

const fn metric(name: &'static str, kind: &'static str, at: At, help: &'static str) -> Metric {
    Metric { name, kind, help, at, scale: 1.0 }
}

use At::{Each, Length, Path};

const METRICS: [Metric; 23] = [
    metric("realtime_connections", "gauge", Each("byDialect", "dialect"), "Open connections."),
    metric("realtime_connections_pending", "gauge", Path(&["pending"]), "Connections that have not authenticated yet."),
    metric("realtime_topics", "gauge", Path(&["topics"]), "Topics with at least one subscriber."),
    metric("realtime_tables", "gauge", Path(&["tables"]), "Tables with at least one subscriber."),
    metric("realtime_presence_members", "gauge", Path(&["presence"]), "Members present, over all topics."),
    metric("realtime_history_publications", "gauge", Path(&["history"]), "Publications that can be recovered."),
    metric("realtime_stream_offset", "gauge", Path(&["offset"]), "Offset of the newest publication."),
    metric("realtime_publications_total", "counter", Path(&["publications"]), "Publications accepted."),
    metric("realtime_deliveries_total", "counter", Path(&["deliveries"]), "Frames of publications handed to sockets."),
    metric("realtime_too_slow_total", "counter", Path(&["tooSlow"]), "Connections closed because they did not read."),
    metric(
        "realtime_refused_attempts_total",
        "counter",
        Path(&["refusedAttempts"]),
        "Attempts to connect that the object refused for their credential.",
    ),
    Metric {
        scale: 1_000.0,
        ..metric(
            "realtime_object_start_time_seconds",
            "gauge",
            Path(&["since"]),
            "When the object came to life; counters begin then.",
        )
    },
    metric(
        "realtime_wasm_memory_bytes",
        "gauge",
        Path(&["wasmMemory"]),
        "Memory of the Wasm, shared by the objects of its isolate.",
    ),
    metric(
        "realtime_relays_recovered_total",
        "counter",
        Path(&["missedByRelays", "recovered"]),
        "Publications that relays missed and read from the history.",
    ),
    metric(
        "realtime_relays_lost_total",
        "counter",
        Path(&["missedByRelays", "lost"]),
        "What relays missed and no history had.",
    ),
    metric(
        "realtime_database_live",
        "gauge",
        Path(&["database", "live"]),
        "1 while the changes of the database come in.",
    ),
    metric(
        "realtime_database_groups",
        "gauge",
        Path(&["database", "groups"]),
        "Groups of principals that the database judges for.",
    ),
    metric(
        "realtime_database_unjudged_total",
        "counter",
        Path(&["database", "unjudged"]),
        "Denials because nobody had judged.",
    ),
    metric(
        "realtime_database_failed_total",
        "counter",
        Path(&["database", "failed"]),
        "Times that the database could not judge.",
    ),
    metric("realtime_database_lost_total", "counter", Path(&["database", "lost"]), "Changes that could not be told."),
    metric(
        "realtime_database_tables_without_row_security",
        "gauge",
        Length(&["database", "withoutRowSecurity"]),
        "Enabled tables whose every row goes to every subscriber.",
    ),
    metric("realtime_up", "gauge", Path(&["up"]), "1 if the organization's object answered."),
    metric("realtime_scrape_duration_seconds", "gauge", Path(&["seconds"]), "How long its answer took."),
];

/// Name, type and meaning of each metric, in the order of the table in the documentation.
pub fn table() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    METRICS.iter().map(|metric| (metric.name, metric.kind, metric.help))
}

/// The organizations of a request: a comma-separated list, or the default one.
///
/// # Errors
/// [`Code::InvalidRequest`]
pub fn organizations(head: &RequestHead, configuration: &Configuration) -> Result<Vec<String>, Refusal> {
    let default = configuration.credentials.default_organization.as_deref();
    let refuse = |message: String| Refusal::at(Code::InvalidRequest, "organizationId", message);
    let named = head.parameter("organizationId").or(default);
    let named = named.ok_or_else(|| refuse("organizationId is required".to_owned()))?;
    let mut names: Vec<String> = named.split(',').map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > MAX_ORGANIZATIONS {
        return Err(refuse(format!("organizationId names more than {MAX_ORGANIZATIONS} organizations")));
    }
    match names.iter().find(|name| !is_organization(name)) {
        Some(_) => Err(refuse("organizationId is no list of organization ids".to_owned())),
        None => Ok(names),
    }
}

/// One organization's answer, and the time that it took.
pub struct Scrape {
    /// The organization.
    pub organization: String,
    /// The figures; `None` when its object did not answer.
    pub figures: Option<Value>,
    /// In milliseconds.
    pub took: u64,
}

impl Scrape {
    fn complete(&self) -> Value {
        let mut figures = self.figures.clone().unwrap_or_else(|| Value::Object(Default::default()));
        if let Some(figures) = figures.as_object_mut() {
            figures.insert("up".to_owned(), Value::from(u8::from(self.figures.is_some())));
            figures.insert("seconds".to_owned(), Value::from(self.took as f64 / 1_000.0));
        }
        figures
    }
}

/// The text of these answers.
pub fn text(scrapes: &[Scrape], version: &str) -> String {
    let mut out = String::new();
    head(&mut out, "realtime_build_info", "gauge", "The version that answers.");
    sample(&mut out, "realtime_build_info", &[("version", version)], 1.0);
    let figures: Vec<(&str, Value)> =
        scrapes.iter().map(|scrape| (scrape.organization.as_str(), scrape.complete())).collect();
    for metric in &METRICS {
        let mut samples = String::new();
        figures.iter().for_each(|(organization, figures)| metric.write(&mut samples, organization, figures));
        // A metric without values is not announced: only some deployments have databases.
        if !samples.is_empty() {
            head(&mut out, metric.name, metric.kind, metric.help);
            out.push_str(&samples);
        }
    }
    out
}

impl Metric {
    fn write(&self, out: &mut String, organization: &str, figures: &Value) {
        let organization = ("organization", organization);
        let reach = |path: &[&str]| path.iter().try_fold(figures, |value, name| value.get(name));
        match self.at {
            Path(path) => {
                let value = reach(path).and_then(number);
                value.into_iter().for_each(|value| sample(out, self.name, &[organization], value / self.scale));
            }
            Length(path) => {
                let list = reach(path).and_then(Value::as_array);
                list.into_iter().for_each(|list| sample(out, self.name, &[organization], list.len() as f64));
            }
            Each(name, label) => {
                for (key, value) in figures.get(name).and_then(Value::as_object).into_iter().flatten() {
                    let labels = [organization, (label, key.as_str())];
                    number(value).into_iter().for_each(|value| sample(out, self.name, &labels, value));
                }
            }
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or(value.as_bool().map(|is_so| f64::from(u8::from(is_so))))
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String never fails.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn sample(out: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    let label = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", escaped(value));
    let labels: Vec<String> = labels.iter().map(label).collect();
    let _ = writeln!(out, "{name}{{{}}} {value}", labels.join(","));
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;
    use crate::server::request_head::Query;
    use serde_json::json;

    fn named(query: &str) -> Result<Vec<String>, Option<String>> {
        let head = RequestHead { query: Query::read(query), ..RequestHead::default() };
        let read =
            |name: &str| (name != "REALTIME" && matches!(name, "ACCESS_TOKEN" | "JWT_SECRET")).then(|| "x".repeat(32));
        let configuration = Configuration::read(&read, &[]).unwrap();
        organizations(&head, &configuration).map_err(|refusal| refusal.field)
    }

    #[test]
    fn organizations_are_named_and_few() {
        let many = |count: usize| (0..count).map(|number| format!("o{number}")).collect::<Vec<_>>().join(",");
        assert_eq!(named("organizationId=b,a,b"), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(named(&format!("organizationId={}", many(20))).map(|names| names.len()), Ok(20));
        for query in [
            "",
            "organizationId=",
            "organizationId=a,,b",
            "organizationId=a b",
            &format!("organizationId={}", many(21)),
        ] {
            assert_eq!(named(query), Err(Some("organizationId".to_owned())), "{query}");
        }
    }

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let figures = json!({
            "byDialect": { "some-dialect": 2, "a\"b\\c\n": 1 },
            "pending": 0,
            "since": 1_500,
            "database": { "live": true, "withoutRowSecurity": ["public.a", "public.b"] },
        });
        let answered = Scrape { organization: "org_1".into(), figures: Some(figures), took: 12 };
        let silent = Scrape { organization: "org_2".into(), figures: None, took: 0 };
        let text = text(&[answered, silent], "1.2.3");
        let expected = [
            "# HELP realtime_build_info The version that answers.",
            "# TYPE realtime_build_info gauge",
            "realtime_build_info{version=\"1.2.3\"} 1",
            "# HELP realtime_connections Open connections.",
            "# TYPE realtime_connections gauge",
            "realtime_connections{organization=\"org_1\",dialect=\"a\\\"b\\\\c\\n\"} 1",
            "realtime_connections{organization=\"org_1\",dialect=\"some-dialect\"} 2",
            "# HELP realtime_connections_pending Connections that have not authenticated yet.",
            "# TYPE realtime_connections_pending gauge",
            "realtime_connections_pending{organization=\"org_1\"} 0",
            "# HELP realtime_object_start_time_seconds When the object came to life; counters begin then.",
            "# TYPE realtime_object_start_time_seconds gauge",
            "realtime_object_start_time_seconds{organization=\"org_1\"} 1.5",
            "# HELP realtime_database_live 1 while the changes of the database come in.",
            "# TYPE realtime_database_live gauge",
            "realtime_database_live{organization=\"org_1\"} 1",
            "# HELP realtime_database_tables_without_row_security Enabled tables whose every row goes to every subscriber.",
            "# TYPE realtime_database_tables_without_row_security gauge",
            "realtime_database_tables_without_row_security{organization=\"org_1\"} 2",
            "# HELP realtime_up 1 if the organization's object answered.",
            "# TYPE realtime_up gauge",
            "realtime_up{organization=\"org_1\"} 1",
            "realtime_up{organization=\"org_2\"} 0",
            "# HELP realtime_scrape_duration_seconds How long its answer took.",
            "# TYPE realtime_scrape_duration_seconds gauge",
            "realtime_scrape_duration_seconds{organization=\"org_1\"} 0.012",
            "realtime_scrape_duration_seconds{organization=\"org_2\"} 0",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
        assert!(text.ends_with('\n'));
    }
}
