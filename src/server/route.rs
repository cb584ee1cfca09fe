//! The HTTP surface (docs/protocol-native.md, HTTP): routes by path and method.

use super::api::Api;
use super::dialects;
use crate::code::Code;

/// The route of a request.
#[derive(Clone, Copy)]
pub enum Route {
    /// A socket.
    WebSocket,
    /// A publication.
    Broadcast,
    /// A request for a ticket.
    Ticket,
    /// A CORS preflight for tickets.
    TicketPreflight,
    /// The API of a dialect.
    Api(&'static dyn Api),
    /// A CORS preflight for this API.
    ApiPreflight(&'static dyn Api),
    /// The figures of a tenant.
    Stats,
    /// The figures of tenants, for Prometheus.
    Metrics,
    /// The doorbell: a database has changes.
    SourceWake,
    /// The state of a database.
    SourceStatus,
    /// Liveness.
    Health,
    /// The Inspector's page and its assets.
    Page,
}

/// The path of an absolute URL as the runtime writes it.
pub fn path(url: &str) -> &str {
    let from_host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = from_host.find(['?', '#']).unwrap_or(from_host.len());
    let (before, _) = from_host.split_at(end);
    before.find('/').map_or("/", |start| before.split_at(start).1)
}

/// Normalizes a path: joining it to a base address may have added slashes in front, or one at the end.
pub fn normal(path: &str) -> &str {
    let after = path.trim_start_matches('/');
    // Several leading slashes become one; a path always begins with one.
    let path = path.get(path.len().saturating_sub(after.len() + 1)..).unwrap_or(path);
    path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path)
}

/// Finds the route of a request; `path` as [`normal`] gives it.
///
/// # Errors
/// [`Code::NotFound`] or [`Code::MethodNotAllowed`].
pub fn route(method: &str, path: &str) -> Result<Route, Code> {
    let (allowed, route): (&[&str], Route) = match path {
        "/broadcast" | "/realtime/v1/broadcast" => (&["POST"], Route::Broadcast),
        "/realtime/v1/ws-ticket" if method == "OPTIONS" => return Ok(Route::TicketPreflight),
        "/realtime/v1/ws-ticket" => (&["POST"], Route::Ticket),
        "/realtime/v1/stats" => (&["GET"], Route::Stats),
        "/realtime/v1/metrics" => (&["GET"], Route::Metrics),
        "/realtime/v1/source/wake" => (&["POST"], Route::SourceWake),
        "/realtime/v1/source/status" => (&["GET"], Route::SourceStatus),
        "/health" => (&["GET", "HEAD"], Route::Health),
        path if dialects::opens_sockets(path) && (method == "GET" || dialects::api(path).is_none()) => {
            (&["GET"], Route::WebSocket)
        }
        path => match dialects::api(path) {
            Some(api) if method == "OPTIONS" => return Ok(Route::ApiPreflight(api)),
            Some(api) => (api.methods(path).unwrap_or_default(), Route::Api(api)),
            None if !path.starts_with("/realtime/") => (&["GET", "HEAD"], Route::Page),
            None => return Err(Code::NotFound),
        },
    };
    if allowed.contains(&method) { Ok(route) } else { Err(Code::MethodNotAllowed) }
}

/// The methods of a path, for the header `Allow`.
pub fn allowed(path: &str) -> String {
    let answers = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        .into_iter()
        .filter(|method| route(method, path).is_ok());
    answers.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stands_between_host_and_query() {
        for (url, expected) in [
            ("https://example.com/", "/"),
            ("https://example.com/a/b?c=/d#/e", "/a/b"),
            ("http://127.0.0.1:8787//broadcast/", "//broadcast/"),
            ("https://example.com/a%3F%23?b", "/a%3F%23"),
            ("https://example.com?a/b", "/"),
            ("https://example.com#/a", "/"),
            ("", "/"),
        ] {
            assert_eq!(path(url), expected, "{url}");
        }
    }

    #[test]
    fn slashes_of_a_base_address_do_not_matter() {
        let cases = [
            ("//broadcast", "/broadcast"),
            ("///realtime/v1/websocket/", "/realtime/v1/websocket"),
            ("/broadcast/", "/broadcast"),
            ("/broadcast//", "/broadcast/"),
            ("/a//b", "/a//b"),
            ("/", "/"),
            ("//", "/"),
            ("", ""),
        ];
        for (path, normal_path) in cases {
            assert_eq!(normal(path), normal_path, "{path}");
        }
    }

    /// The name of a route, for tests to compare.
    fn kind(method: &str, path: &str) -> Result<&'static str, Code> {
        route(method, path).map(|route| match route {
            Route::WebSocket => "socket",
            Route::Broadcast => "broadcast",
            Route::Ticket => "ticket",
            Route::TicketPreflight => "ticket preflight",
            Route::Api(_) => "api",
            Route::ApiPreflight(_) => "api preflight",
            Route::Stats => "stats",
            Route::Metrics => "metrics",
            Route::SourceWake => "wake",
            Route::SourceStatus => "status",
            Route::Health => "health",
            Route::Page => "page",
        })
    }

    #[test]
    fn every_route_answers_its_methods_only() {
        assert_eq!(kind("POST", "/broadcast"), Ok("broadcast"));
        assert_eq!(kind("GET", "/broadcast"), Err(Code::MethodNotAllowed));
        assert_eq!(kind("GET", "/realtime/v1/websocket"), Ok("socket"));
        assert_eq!(kind("GET", "/realtime/v1/metrics"), Ok("metrics"));
        assert_eq!(kind("GET", "/realtime/v1/events"), Ok("socket"));
        assert_eq!(kind("POST", "/realtime/v1/events"), Ok("api"));
        assert_eq!(kind("OPTIONS", "/realtime/v1/events"), Ok("api preflight"));
        assert_eq!(allowed("/realtime/v1/events"), "GET, POST, OPTIONS");
        assert_eq!(kind("GET", "/realtime/v1/nothing"), Err(Code::NotFound));
        assert_eq!(kind("GET", "/"), Ok("page"));
        assert_eq!(kind("OPTIONS", "/realtime/v1/ws-ticket"), Ok("ticket preflight"));
        assert_eq!(allowed("/realtime/v1/ws-ticket"), "POST, OPTIONS");
        assert_eq!(allowed("/broadcast"), "POST");
        for path in ["", "/a%2Fb/events/c"] {
            let path = format!("/realtime/v1/api/broadcast{path}");
            assert_eq!(kind("POST", &path), Ok("api"));
            assert_eq!(kind("OPTIONS", &path), Ok("api preflight"));
            assert_eq!(allowed(&path), "POST, OPTIONS");
        }
        assert_eq!(kind("GET", "/realtime/v1/api/ping"), Ok("api"));
        for unknown in ["a/events/%ff", "a/events", "a/b/events/c", "a/events/b/c", "events/a", "/"] {
            let path = format!("/realtime/v1/api/broadcast/{unknown}");
            assert_eq!(kind("POST", &path), Err(Code::NotFound), "{unknown}");
        }
    }
}
