//! The control plane: which tables of an app are realtime (docs/protocol-butterbase.md, Control plane).

use std::rc::Rc;

use serde_json::{Value, json};

use super::{place, service};
use crate::code::Code;
use crate::engine::relay::Peer;
use crate::policy::app::App;
use crate::policy::configuration::Configuration;
use crate::policy::credential::Proven;
use crate::policy::limits::NAME_BYTES;
use crate::policy::table::{DEFAULT_SCHEMA, MAX_COLUMNS};
use crate::policy::token::TokenError;
use crate::server::answer::Answer;
use crate::server::api::{Api, ApiStep, Cors, ObjectRequest, Rejected};
use crate::server::control_plane::{self, TableList, TableRefusal};
use crate::server::request_head::RequestHead;
use crate::value::percent;
use crate::value::time::iso;

const CONFIGURE: &str = "/configure";
/// All operations on a row, as this protocol names them.
const EVENTS: [&str; 3] = ["INSERT", "UPDATE", "DELETE"];
const CONFIG: &str = "/config";
/// The prefix of service keys.
const KEY_PREFIX: &str = "bb_sk_";

/// The endpoints.
pub struct Control;

impl Api for Control {
    fn methods(&self, path: &str) -> Option<&'static [&'static str]> {
        let (_, rest) = place(path)?;
        match rest {
            "" => None,
            CONFIGURE => Some(&["POST", "DELETE"]),
            CONFIG => Some(&["GET", "DELETE"]),
            rest => table(rest).map(|_| &["DELETE"] as &[_]),
        }
    }

    fn cors(&self) -> Cors {
        Cors { methods: "GET, POST, DELETE", headers: "authorization, content-type" }
    }

    fn rejected(&self, code: Code) -> Rejected {
        rejected(code)
    }

    fn call(&self, head: Rc<RequestHead>, configuration: &Configuration) -> Result<ApiStep, Rejected> {
        let (app, _) = place(&head.path).ok_or_else(|| rejected(Code::NotFound))?;
        let app = app.to_owned();
        if configuration.apps.is_none() {
            return Err(rejected(Code::WrongOrganization));
        }
        let Some(credential) = head.bearer().map(str::to_owned) else { return Err(rejected(Code::Forbidden)) };
        if configuration.is_access_token(&credential) {
            return owned(head, app, configuration);
        }
        let is_key = credential.starts_with(KEY_PREFIX);
        Ok(ApiStep::verify(credential, move |configuration, proven| {
            check_owner(&app, is_key, configuration, proven)?;
            owned(head, app, configuration)
        }))
    }
}

/// Admits the owner of the app: its service keys, and the platform's tokens with the owner's role.
fn check_owner(
    app: &str,
    is_key: bool,
    configuration: &Configuration,
    proven: Result<Proven<'_>, TokenError>,
) -> Result<(), Rejected> {
    let proven = proven.map_err(|error| match error.code() {
        Code::InvalidToken | Code::TokenExpired => invalid(is_key),
        code => rejected(code),
    })?;
    let principal = configuration.credentials.within(&proven, app).map_err(rejected)?;
    match service(principal) {
        Ok(_) => Ok(()),
        Err(_) => Err(rejected(Code::Forbidden)),
    }
}

/// Handles a request of an app's owner.
fn owned(head: Rc<RequestHead>, app: String, configuration: &Configuration) -> Result<ApiStep, Rejected> {
    let rest = place(&head.path).map(|(_, rest)| rest).unwrap_or_default();
    match (head.method.as_str(), rest) {
        ("POST", _) => Ok(ApiStep::read_body(move |configuration, body| {
            let tables = tables(&body)?;
            let asked = json!({ "action": "enable", "schema": DEFAULT_SCHEMA, "tables": &tables, "events": EVENTS });
            control_plane::ask(configuration, &app, asked, move |_, answer| configured(&tables, answer))
        })),
        ("DELETE", rest) => {
            let name = table(rest).ok_or_else(|| rejected(Code::NotFound))?;
            let request = json!({ "action": "disable", "schema": DEFAULT_SCHEMA, "table": &name });
            control_plane::ask(configuration, &app, request, move |_, answer| match answer {
                // A table that does not exist sends no changes, which is what was requested.
                Ok(_) | Err(TableRefusal::Missing(_) | TableRefusal::NotEnabled) => {
                    Ok(ApiStep::Answer(Answer::json(200, &json!({ "table": name, "status": "disabled" }))))
                }
                Err(refusal) => Err(refused(&refusal)),
            })
        }
        _ => {
            let address = [&*head.websocket_origin, "/v1/", &app, "/realtime"].concat();
            let of = app.clone();
            control_plane::ask(configuration, &of, json!({ "action": "list" }), move |configuration, answer| {
                let answer = answer.map_err(|refusal| refused(&refusal))?;
                let tables = listed(configuration.app(&app), &answer)?;
                if let Some(connected) = answer.get("connected").and_then(Value::as_bool) {
                    return Ok(shown(&app, &tables, connected, &address));
                }
                let stats = ObjectRequest { organization: app.clone(), peer: Peer::Root, path: "/stats", body: None };
                Ok(ApiStep::ask(stats, move |_, status, body| {
                    let connections = parsed(status, body)?.get("connections").and_then(Value::as_u64);
                    Ok(shown(&app, &tables, connections.is_some_and(|count| count > 0), &address))
                }))
            })
        }
    }
}

/// The state of an app. Without a database, `connection` is the address of the app's own sockets.
fn shown(app: &str, tables: &[Value], is_active: bool, address: &str) -> ApiStep {
    let body = json!({ "app_id": app, "tables": tables, "active_connection": is_active, "websocket_url": address });
    ApiStep::Answer(Answer::json(200, &body))
}

/// The tables that a body names, each once.
fn tables(body: &[u8]) -> Result<Vec<String>, Rejected> {
    let missing = || {
        let message = "Missing \"tables\": a list of at least one table's name";
        error(Code::InvalidRequest, 400, "VALIDATION_MISSING_FIELD", message, "send {\"tables\":[\"messages\"]}", None)
    };
    let body: Value = serde_json::from_slice(body).map_err(|_| missing())?;
    let names = body.get("tables").and_then(Value::as_array).filter(|names| (1..=MAX_COLUMNS).contains(&names.len()));
    let mut tables = Vec::new();
    for name in names.ok_or_else(missing)? {
        let name = name.as_str().filter(|name| (1..=NAME_BYTES).contains(&name.len())).ok_or_else(missing)?;
        if !tables.iter().any(|known| known == name) {
            tables.push(name.to_owned());
        }
    }
    Ok(tables)
}

fn configured(tables: &[String], answer: Result<TableList, TableRefusal>) -> Result<ApiStep, Rejected> {
    answer.map_err(|refusal| refused(&refusal))?;
    let entry = |table: &String| json!({ "table": table, "status": "enabled" });
    let configured: Vec<Value> = tables.iter().map(entry).collect();
    Ok(ApiStep::Answer(Answer::json(200, &json!({ "configured": configured }))))
}

/// The refusal in this API's words.
fn refused(refusal: &TableRefusal) -> Rejected {
    let (message, remediation) = match refusal {
        TableRefusal::Missing(missing) => return not_found(missing),
        TableRefusal::Failed(code) => return rejected(*code),
        TableRefusal::Invalid | TableRefusal::NotEnabled => return rejected(Code::InvalidRequest),
        TableRefusal::Shared => (
            "The database has the tables of other apps too",
            "enable them in the database: select realtime_worker.enable_realtime('public', …)",
        ),
        TableRefusal::NotAllowed => (
            "The database does not let its reader enable tables",
            "install the SQL with --control-plane yes, or enable them in the database",
        ),
    };
    error(Code::Forbidden, 403, "AUTH_INSUFFICIENT_PERMISSIONS", message, remediation, None)
}

fn not_found(missing: &[String]) -> Rejected {
    let message = ["Tables not found: ", &missing.join(", ")].concat();
    let details = json!({ "missing_tables": missing });
    let remediation = "create the table first";
    error(Code::NotFound, 404, "VALIDATION_TABLE_NOT_FOUND", &message, remediation, Some(details))
}

/// The tables that the owner or the deployment has ever enabled.
fn listed(app: Option<&App>, answer: &TableList) -> Result<Vec<Value>, Rejected> {
    let tables = answer.get("tables").and_then(Value::as_array).ok_or_else(|| rejected(Code::Internal))?;
    let text = |table: &Value, name: &str| table.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let entry = |table: &Value| {
        let (name, created) = (text(table, "table"), text(table, "created_at"));
        let is_set = created != iso(0);
        let is_listed = app.is_some_and(|app| app.enabled.contain(&name));
        if text(table, "schema") != DEFAULT_SCHEMA || !(is_set || is_listed) {
            return None;
        }
        let is_enabled = if is_set { table.get("enabled") == Some(&Value::Bool(true)) } else { is_listed };
        Some(json!({
            "table_name": name,
            "events": table.get("events"),
            "enabled": is_enabled,
            "created_at": created,
            "updated_at": text(table, "updated_at"),
            // Without a database there is no trigger that could have been removed.
            "trigger_installed": table.get("trigger_installed").unwrap_or(&Value::Bool(is_enabled)),
            "drift": table.get("drift").unwrap_or(&Value::Bool(false)),
        }))
    };
    Ok(tables.iter().filter_map(entry).collect())
}

fn parsed(status: u16, body: &str) -> Result<Value, Rejected> {
    let answer = serde_json::from_str(body).ok().filter(|_| status == 200);
    answer.ok_or_else(|| rejected(Code::Internal))
}

/// The table that a path names.
fn table(rest: &str) -> Option<String> {
    let name = rest.strip_prefix('/').filter(|name| !name.contains('/'))?;
    percent::decode(name).filter(|name| (1..=NAME_BYTES).contains(&name.len()))
}

fn invalid(is_key: bool) -> Rejected {
    let (word, message) = match is_key {
        true => ("AUTH_INVALID_API_KEY", "The API key is not valid"),
        false => ("AUTH_INVALID_TOKEN", "The token is not valid"),
    };
    error(Code::InvalidToken, 401, word, message, "send a service key of the app", None)
}

/// The rejection for this reason, in this API's words.
fn rejected(code: Code) -> Rejected {
    let owner = "send a service key of the app: Authorization: Bearer bb_sk_…";
    match code {
        Code::Forbidden => {
            let message = "Only the owner of the app may do this";
            error(code, 403, "AUTH_INSUFFICIENT_PERMISSIONS", message, owner, None)
        }
        Code::WrongOrganization | Code::NotFound => {
            error(code, 404, "RESOURCE_NOT_FOUND", "App not found", "check the app's id and who owns it", None)
        }
        Code::InvalidToken | Code::TokenExpired => invalid(false),
        code => error(code, code.status(), &code.as_str().to_uppercase(), code.sentence(), "try again later", None),
    }
}

/// `{"error":{"code","message","remediation","details"}}`
fn error(code: Code, status: u16, word: &str, message: &str, remediation: &str, details: Option<Value>) -> Rejected {
    let mut error = json!({ "code": word, "message": message, "remediation": remediation });
    if let (Some(details), Some(error)) = (details, error.as_object_mut()) {
        error.insert("details".to_owned(), details);
    }
    Rejected { code, answer: Answer::json(status, &json!({ "error": error })) }
}
