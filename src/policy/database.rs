//! The databases that supply changes, and the groups in which row-level security evaluates rows.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::connection::ConnectionName;
use super::limits::NAME_BYTES;
use super::organization::is_organization;
use super::principal::{Method, Principal, SUBJECT};
use super::table::distinct;
use crate::code::Refusal;
use crate::value::form::{Field, Form};
use crate::value::json;
use crate::value::row::Row;

/// Databases of one deployment.
const MAX_DATABASES: usize = 100;
/// Roles that one list of a database may name.
const MAX_ROLES: usize = 32;
/// Bytes of a role's or column's name in PostgreSQL.
const MAX_IDENTIFIER: usize = 63;
/// Separates a database's name from the app's id in the name of an app's own database.
const OF_APP: char = '/';
/// The value of `organization` for a database with `{app}` in its connection name.
const EACH_APP: &str = "{app}";
/// Bytes of a group's id, in hexadecimal digits.
const GROUP_DIGITS: usize = 16;
/// The claim that names a database role.
const ROLE: &str = "role";
/// Claims that differ between tokens of one user: with them every renewal would create a new group.
const TIMES: [&str; 4] = ["exp", "iat", "nbf", "jti"];

const POLL_MILLISECONDS: u64 = 1_000;
const MIN_POLL_MILLISECONDS: u64 = 100;
const DRAIN_SECONDS: u64 = 300;
const MIN_DRAIN_SECONDS: u64 = 10;

/// `REALTIME.databases`, by name.
#[derive(Clone, Debug, Default)]
pub struct Databases {
    databases: BTreeMap<String, Rc<Database>>,
}

/// One database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Its name, which also names its object.
    pub name: Rc<str>,
    /// The secret with its URL, or the Hyperdrive binding; `None` if the app's id cannot be part of such a name.
    pub connection: Option<String>,
    /// The organizations that it serves.
    pub serves: Serves,
    /// The polling interval while there are subscribers and no doorbell rings, in milliseconds.
    pub poll_milliseconds: u64,
    /// The interval at which the outbox is drained without subscribers, in seconds; 0: never.
    pub drain_seconds: u64,
    /// Database roles for verdicts; the first is that of principals that name none.
    roles: Vec<String>,
    /// Roles whose holders see every row.
    bypass: Vec<String>,
}

/// The organizations whose rows a database holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serves {
    /// One.
    Organization(String),
    /// The organization named by this column of a row.
    Column(String),
    /// Every organization, each with a database of its own.
    Each(ConnectionName),
}

/// Principals that row-level security cannot tell apart: the same database role and claims.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// Its id: the hexadecimal digest of role and claims.
    pub id: Rc<str>,
    /// The database role.
    pub role: String,
    /// The claims: a JSON object with sorted keys.
    pub claims: String,
}

/// How a database treats a principal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// The claims that policies need are unknown: no row is visible.
    Nobody,
    /// Every row is visible.
    Bypass,
    /// Row-level security decides, evaluated for this group.
    Group(Rc<Group>),
}

impl Databases {
    /// Reads `{ name: database }`.
    ///
    /// # Errors
    /// On a malformed database, or two that serve the same organizations, with the path.
    pub fn read(field: &Field<'_>) -> Result<Databases, Refusal> {
        let entries = field.form()?.rest();
        if entries.len() > MAX_DATABASES {
            return Err(field.refuse(&format!("must have at most {MAX_DATABASES} databases")));
        }
        let mut databases: BTreeMap<String, Rc<Database>> = BTreeMap::new();
        for (name, value) in entries {
            if name.is_empty() || name.len() > NAME_BYTES {
                return Err(value.refuse("needs a name of 1 to 255 bytes"));
            }
            let database = Database::read(&name, &value)?;
            if databases.values().any(|known| known.serves.overlaps(&database.serves)) {
                return Err(value.refuse("serves the organizations of another database too"));
            }
            if databases.values().any(|known| known.shares_names(&database) || database.shares_names(known)) {
                return Err(value.refuse("has the name of an app's own database"));
            }
            databases.insert(name, Rc::new(database));
        }
        Ok(Databases { databases })
    }

    /// The database with this name: a declared one, or an app's own.
    pub fn get(&self, name: &str) -> Option<Rc<Database>> {
        match self.databases.get(name) {
            Some(database) => (!matches!(database.serves, Serves::Each(_))).then(|| database.clone()),
            None => {
                let (_, app) = name.rsplit_once(OF_APP)?;
                is_organization(app).then(|| self.of(app)).flatten().filter(|database| *database.name == *name)
            }
        }
    }

    /// The database that serves an organization: its own, otherwise one with `{app}` in its connection name, otherwise
    /// the one with an organization column.
    pub fn of(&self, organization: &str) -> Option<Rc<Database>> {
        let declared = self.serving(organization)?;
        let Serves::Each(connection) = &declared.serves else { return Some(declared.clone()) };
        let is_free = |name: &String| self.databases.values().all(|known| known.connection.as_ref() != Some(name));
        Some(Rc::new(Database {
            name: Rc::from(format!("{}{OF_APP}{organization}", declared.name)),
            connection: connection.of_app(organization).filter(is_free),
            serves: Serves::Organization(organization.to_owned()),
            ..Database::clone(declared)
        }))
    }

    /// Whether a database serves an organization.
    pub fn serve(&self, organization: &str) -> bool {
        self.serving(organization).is_some()
    }

    /// The name in `REALTIME.databases` of the database that serves an organization.
    pub fn declared_name(&self, organization: &str) -> Option<&str> {
        self.serving(organization).map(|database| &*database.name)
    }

    /// Whether `REALTIME.databases` has this name.
    pub fn declare(&self, name: &str) -> bool {
        self.databases.contains_key(name)
    }

    fn serving(&self, organization: &str) -> Option<&Rc<Database>> {
        let own =
            |database: &&Rc<Database>| matches!(&database.serves, Serves::Organization(own) if own == organization);
        let other = |database: &&Rc<Database>| !matches!(database.serves, Serves::Organization(_));
        let mut all = self.databases.values();
        all.clone().find(own).or_else(|| all.find(other))
    }

    /// The database of a deployment with only one.
    pub fn only(&self) -> Option<Rc<Database>> {
        let name = self.databases.keys().next().filter(|_| self.databases.len() == 1)?;
        self.get(name)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.databases.is_empty()
    }
}

impl Serves {
    /// Reads an organization's id, or `{ column }`, or that each app has a database of its own.
    fn read(field: &Field<'_>, connection: &ConnectionName) -> Result<Serves, Refusal> {
        let is_object = json::kind(field.json()) == json::Kind::Object;
        let text = field.text().unwrap_or_default();
        match (connection, is_object) {
            (ConnectionName::PerApp(..), _) if text == EACH_APP => Ok(Serves::Each(connection.clone())),
            (ConnectionName::PerApp(..), _) => Err(field.refuse("must be \"{app}\", as it stands in connection")),
            (ConnectionName::One(_), false) if is_organization(&text) => Ok(Serves::Organization(text)),
            (ConnectionName::One(_), false) => Err(field.refuse("must be an organization id, or { column }")),
            (ConnectionName::One(_), true) => {
                let mut form = field.form()?;
                let column = form.require("column")?.name(MAX_IDENTIFIER)?;
                form.finish()?;
                Ok(Serves::Column(column))
            }
        }
    }

    /// Whether two databases would serve the same organization.
    fn overlaps(&self, other: &Serves) -> bool {
        match (self, other) {
            (Serves::Organization(one), Serves::Organization(other)) => one == other,
            (Serves::Organization(_), _) | (_, Serves::Organization(_)) => false,
            // Each serves all organizations that no other database names.
            (Serves::Column(_) | Serves::Each(_), Serves::Column(_) | Serves::Each(_)) => true,
        }
    }
}

impl Database {
    fn read(name: &str, field: &Field<'_>) -> Result<Database, Refusal> {
        let mut form = field.form()?;
        let connection = ConnectionName::read(&form.require("connection")?)?;
        let serves = Serves::read(&form.require("organization")?, &connection)?;
        let database = Database {
            name: Rc::from(name),
            connection: match connection {
                ConnectionName::One(name) => Some(name),
                ConnectionName::PerApp(..) => None,
            },
            serves,
            roles: roles(&form.require("roles")?)?,
            bypass: form.take("bypass").map(|bypass| roles(&bypass)).transpose()?.unwrap_or_default(),
            poll_milliseconds: interval(&mut form, "pollMilliseconds", POLL_MILLISECONDS, MIN_POLL_MILLISECONDS)?,
            drain_seconds: interval(&mut form, "drainSeconds", DRAIN_SECONDS, MIN_DRAIN_SECONDS)?,
        };
        if database.roles.is_empty() {
            return Err(form.refuse("roles", "must name at least one role"));
        }
        if database.poll_milliseconds == 0 {
            return Err(form.refuse("pollMilliseconds", "must not be 0: changes would wait for ever"));
        }
        if database.bypass.iter().any(|role| database.roles.contains(role)) {
            return Err(form.refuse("bypass", "names a role that stands in roles too"));
        }
        form.finish()?;
        Ok(database)
    }

    /// Whether the name of an app's own database could be that of another database.
    fn shares_names(&self, other: &Database) -> bool {
        let of_app = other.name.strip_prefix(&*self.name).and_then(|rest| rest.strip_prefix(OF_APP));
        matches!(self.serves, Serves::Each(_)) && of_app.is_some_and(is_organization)
    }

    /// The database roles for verdicts.
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// How the database treats a principal.
    pub fn standing(&self, principal: &Principal) -> Standing {
        if principal.roles.any(&self.bypass) {
            return Standing::Bypass;
        }
        let claims = match (&principal.all_claims, principal.method) {
            (Some(claims), _) => claims.clone(),
            (None, Method::ApiKey | Method::Anonymous) => self.claims_of_key(principal),
            // The principal predates the database: policies may deny by a claim that was not kept.
            (None, Method::Session) => return Standing::Nobody,
        };
        if has_zero_byte(&claims) {
            return Standing::Nobody;
        }
        self.role(&claims, principal).map_or(Standing::Nobody, |role| {
            Standing::Group(Rc::new(Group { id: Rc::from(group_id(role, &claims)), role: role.to_owned(), claims }))
        })
    }

    /// The group under which principals that see every row report their tables. It needs no verdicts.
    pub fn group_of_bypass(&self) -> Option<Rc<Group>> {
        let role = self.roles.first()?.clone();
        let claims = String::from("{}");
        Some(Rc::new(Group { id: Rc::from(group_id(&role, &claims)), role, claims }))
    }

    /// Keys and anonymous principals have no claims; policies may use user and role.
    fn claims_of_key(&self, principal: &Principal) -> String {
        let mut claims = Map::new();
        if let Some(role) = self.role("{}", principal) {
            claims.insert(ROLE.to_owned(), Value::from(role));
        }
        claims.extend(principal.user.iter().map(|user| (SUBJECT.to_owned(), Value::from(user.as_str()))));
        canonical(&claims)
    }

    /// The database role of a principal: the one in its claim, otherwise one that it holds, otherwise the first.
    fn role(&self, claims: &str, principal: &Principal) -> Option<&str> {
        let claimed = Row::read(claims).ok().and_then(|claims| json::string(claims.get(ROLE)?));
        let known = |role: &str| self.roles.iter().find(|known| *known == role);
        let held = || principal.roles.as_slice().iter().find_map(|role| known(role));
        claimed.and_then(|role| known(&role)).or_else(held).or(self.roles.first()).map(String::as_str)
    }
}

/// The claims that row-level security may read, as one text, without those that differ between tokens.
pub fn canonical(claims: &Map<String, Value>) -> String {
    let mut sorted: Vec<(&String, &Value)> =
        claims.iter().filter(|(name, _)| !TIMES.contains(&name.as_str())).collect();
    sorted.sort_by_key(|(name, _)| name.as_str());
    let mut out = String::new();
    write_members(&mut out, &sorted);
    out
}

/// Writes a value with sorted object keys, independent of the build's map order.
fn write_sorted(out: &mut String, value: &Value) {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
            sorted.sort_by_key(|(name, _)| name.as_str());
            write_members(out, &sorted);
        }
        Value::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write_sorted(out, element);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

fn write_members(out: &mut String, members: &[(&String, &Value)]) {
    out.push('{');
    for (index, (name, value)) in members.iter().enumerate() {
        out.push_str(if index > 0 { "," } else { "" });
        json::write_string(out, name);
        out.push(':');
        write_sorted(out, value);
    }
    out.push('}');
}

/// Whether a string in a JSON text has a zero byte. PostgreSQL has no such text: it would fail everything that is reported
/// together with it.
fn has_zero_byte(json: &str) -> bool {
    json.match_indices("\\u0000").any(|(place, _)| {
        let before = json.as_bytes().get(..place).unwrap_or_default();
        before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0
    })
}

fn group_id(role: &str, claims: &str) -> String {
    let digest = Sha256::new().chain_update(role).chain_update("\n").chain_update(claims).finalize();
    digest.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(hexadecimal).take(GROUP_DIGITS).collect()
}

fn hexadecimal(digit: u8) -> Option<char> {
    char::from_digit(u32::from(digit), 16)
}

fn roles(field: &Field<'_>) -> Result<Vec<String>, Refusal> {
    let roles = field.texts(MAX_ROLES)?;
    let is_name = |role: &String| (1..=MAX_IDENTIFIER).contains(&role.len());
    if !roles.iter().all(is_name) {
        return Err(field.refuse("must name roles of 1 to 63 bytes"));
    }
    let names: BTreeSet<String> = distinct(roles.clone());
    match names.len() == roles.len() {
        true => Ok(roles),
        false => Err(field.refuse("must name each role once")),
    }
}

fn interval(form: &mut Form<'_>, name: &str, default: u64, least: u64) -> Result<u64, Refusal> {
    let Some(field) = form.take(name) else { return Ok(default) };
    match field.count()? {
        count if count == 0 || count >= least => Ok(count),
        _ => Err(field.refuse(&format!("must be at least {least}"))),
    }
}
