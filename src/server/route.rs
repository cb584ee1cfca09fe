//! The HTTP surface (docs/protocol-native.md, HTTP): which path and method mean what.

use super::supabase::rest;
use crate::code::Code;

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A native socket.
    WebSocket,
    /// A publication.
    Broadcast,
    /// A ticket is wanted.
    Ticket,
    /// A browser asks whether its page may ask for a ticket.
    TicketPreflight,
    /// Messages of a Supabase client.
    SupabaseBatch,
    /// One message of a Supabase client, whose topic and event stand in the path.
    SupabaseSingle,
    /// A Supabase client asks whether anyone is there.
    SupabasePing,
    /// A browser asks whether its page may do one of these.
    SupabasePreflight,
    /// The figures of a tenant.
    Stats,
    /// Liveness.
    Health,
    /// The Inspector's page and what belongs to it.
    Page,
}

/// A path without what joining it to a base address may have added: more slashes before it, one after it.
pub fn normal(path: &str) -> &str {
    let after = path.trim_start_matches('/');
    // Where there was one slash or more, one is left; a path always begins with one.
    let path = path.get(path.len().saturating_sub(after.len() + 1)..).unwrap_or(path);
    path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path)
}

/// Finds the route of a request; `path` as [`normal`] gives it.
///
/// # Errors
/// [`Code::NotFound`] or [`Code::MethodNotAllowed`].
pub fn route(method: &str, path: &str) -> Result<Route, Code> {
    let (allowed, route): (&[&str], Route) = match path {
        "/realtime/v1/websocket" => (&["GET"], Route::WebSocket),
        "/broadcast" | "/realtime/v1/broadcast" => (&["POST"], Route::Broadcast),
        "/realtime/v1/ws-ticket" if method == "OPTIONS" => return Ok(Route::TicketPreflight),
        "/realtime/v1/ws-ticket" => (&["POST"], Route::Ticket),
        rest::BROADCAST => (&["POST", "OPTIONS"], Route::SupabaseBatch),
        rest::PING => (&["GET", "HEAD", "OPTIONS"], Route::SupabasePing),
        path if rest::place(path).is_some() => (&["POST", "OPTIONS"], Route::SupabaseSingle),
        "/realtime/v1/stats" => (&["GET"], Route::Stats),
        "/health" => (&["GET", "HEAD"], Route::Health),
        path if !path.starts_with("/realtime/") => (&["GET", "HEAD"], Route::Page),
        _ => return Err(Code::NotFound),
    };
    match route {
        _ if !allowed.contains(&method) => Err(Code::MethodNotAllowed),
        _ if method == "OPTIONS" => Ok(Route::SupabasePreflight),
        route => Ok(route),
    }
}

/// The methods that a path answers, for the header `Allow` of a refusal.
pub fn allowed(path: &str) -> String {
    let answers = ["GET", "HEAD", "POST", "OPTIONS"].into_iter().filter(|method| route(method, path).is_ok());
    answers.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn every_route_answers_its_methods_only() {
        assert_eq!(route("POST", "/broadcast"), Ok(Route::Broadcast));
        assert_eq!(route("GET", "/broadcast"), Err(Code::MethodNotAllowed));
        assert_eq!(route("GET", "/realtime/v1/nothing"), Err(Code::NotFound));
        assert_eq!(route("GET", "/"), Ok(Route::Page));
        assert_eq!(allowed("/realtime/v1/ws-ticket"), "POST, OPTIONS");
        assert_eq!(allowed("/broadcast"), "POST");
        for (path, route_of_post) in [("", Route::SupabaseBatch), ("/a%2Fb/events/c", Route::SupabaseSingle)] {
            let path = format!("/realtime/v1/api/broadcast{path}");
            assert_eq!(route("POST", &path), Ok(route_of_post));
            assert_eq!(route("OPTIONS", &path), Ok(Route::SupabasePreflight));
            assert_eq!(allowed(&path), "POST, OPTIONS");
        }
        assert_eq!(route("GET", "/realtime/v1/api/ping"), Ok(Route::SupabasePing));
        for unknown in ["a/events/%ff", "a/events", "a/b/events/c", "a/events/b/c", "events/a", "/"] {
            assert_eq!(
                route("POST", &format!("/realtime/v1/api/broadcast/{unknown}")),
                Err(Code::NotFound),
                "{unknown}"
            );
        }
    }
}
