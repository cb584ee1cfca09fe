//! The deployment's configuration, read once from its variables and secrets (docs/configuration.md).

use std::collections::BTreeSet;

use super::api_key::ApiKeys;
use super::app::{App, Apps};
use super::channel::{Action, Channel, Grant, Topic};
use super::credential::Credentials;
use super::database::Databases;
use super::limits::{HistoryLimits, Limits, NAME_BYTES};
use super::organization::is_organization;
use super::principal::{Method, Principal, SUBJECT};
use super::relays::Relays;
use super::roles::Roles;
use super::secret::Secret;
use super::section::{Section, Sections};
use super::table::Tables;
use super::token::TokenRules;
use crate::code::{Code, Refusal};
use crate::value::form::Form;
use crate::value::json;

/// Minimum bytes of `JWT_SECRET`: HMAC keys must be as long as the hash (RFC 7518, 3.2).
const MIN_JWT_SECRET: usize = 32;
/// Minimum bytes of `ACCESS_TOKEN`: the holder of a ticket can test guesses against its signature offline.
const MIN_ACCESS_TOKEN: usize = 32;
/// Maximum channel policies; each of them may be tried for a topic.
const MAX_CHANNELS: usize = 1_000;

/// The default of `batchMilliseconds`.
const BATCH_MILLISECONDS: u64 = 20;
/// The longest that events may wait for others, in milliseconds: timers shorter than 100 ms do not prevent hibernation.
pub const MAX_BATCH_MILLISECONDS: u64 = 90;

/// The configuration of a deployment.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// `ACCESS_TOKEN`, then `ACCESS_TOKEN_PREVIOUS`: bearers of the publishing API.
    pub access_tokens: Vec<Secret>,
    /// How credentials are verified.
    pub credentials: Credentials,
    /// Exact origins; `None`: any.
    pub allowed_origins: Option<Vec<String>>,
    /// The rules of the tables.
    pub tables: Tables,
    /// The policies of private topics, in the order in which they are tried.
    pub channels: Vec<Channel>,
    /// Who may be present in the lobby; `None`: principals that have a user, and services of apps.
    lobby: Option<Grant>,
    /// Whether public topics exist.
    pub public_topics: bool,
    /// The limits.
    pub limits: Limits,
    /// How much history is retained.
    pub history: HistoryLimits,
    /// The organizations opened as apps; `None` if there are none.
    pub apps: Option<Apps>,
    /// Whether heartbeats are sent to sockets whose dialect has them.
    pub heartbeats: bool,
    /// How long events are collected under load for recipients that accept several per frame, in milliseconds.
    pub batch_milliseconds: u64,
    /// Whether the page at `/` is served.
    pub inspector: bool,
    /// Tables, with their schemas, that may be subscribed to without a credential, in dialects that have such sockets.
    pub open_tables: BTreeSet<String>,
    /// The private topic in which connections that open and close are announced; `None`: they are not.
    pub connections_topic: Option<Topic>,
    /// The settings of sections that belong to one kind of client.
    pub sections: Sections,
    /// How an organization's sockets are spread over objects; `None`: they are not.
    pub relays: Option<Relays>,
}

impl Configuration {
    /// Reads the configuration, with these sections of `REALTIME`; `variable` gives the text of a variable or secret,
    /// objects as JSON.
    ///
    /// # Errors
    /// [`Code::Configuration`] with the variable's name as the field. No message contains a secret's value.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>, sections: &[Section]) -> Result<Configuration, Refusal> {
        let access_token = secret(variable, "ACCESS_TOKEN", MIN_ACCESS_TOKEN)?;
        let access_token = access_token.ok_or_else(|| malformed("ACCESS_TOKEN", "is required: set it as a secret"))?;
        let previous = secret(variable, "ACCESS_TOKEN_PREVIOUS", MIN_ACCESS_TOKEN)?;
        let realtime = variable("REALTIME").unwrap_or_else(|| String::from("{}"));
        let mut configuration = Configuration {
            access_tokens: std::iter::once(access_token).chain(previous).collect(),
            credentials: credentials(variable)?,
            allowed_origins: variable("ALLOWED_ORIGINS").map(|list| origins(&list)).transpose()?,
            tables: Tables::default(),
            channels: Vec::new(),
            lobby: None,
            public_topics: true,
            limits: Limits::default(),
            history: HistoryLimits::default(),
            apps: None,
            heartbeats: true,
            batch_milliseconds: BATCH_MILLISECONDS,
            inspector: variable("INSPECTOR").as_deref() == Some("on"),
            open_tables: BTreeSet::new(),
            connections_topic: None,
            sections: Sections::default(),
            relays: None,
        };
        configuration.read_realtime(&realtime, sections).map_err(|refusal| below("REALTIME", refusal))?;
        configuration.credentials.claims = configuration.claims();
        Ok(configuration)
    }

    /// Whether `presented` is one of the access tokens. All are compared, so the time reveals nothing.
    pub fn is_access_token(&self, presented: &str) -> bool {
        self.access_tokens.iter().fold(false, |found, secret| secret.is(presented) | found)
    }

    /// Whether a page of this origin may connect. Clients other than browsers send no origin.
    pub fn allows_origin(&self, origin: Option<&str>) -> bool {
        match (&self.allowed_origins, origin) {
            (Some(allowed), Some(origin)) => allowed.iter().any(|one| one == origin),
            _ => true,
        }
    }

    /// Whether the principal may perform this operation on the topic (docs/protocol-native.md, Topics and presence).
    ///
    /// # Errors
    /// [`Code::Forbidden`], or [`Code::PublicTopicsDisabled`] where there are none.
    pub fn authorize(&self, action: Action, topic: &Topic, principal: &Principal) -> Result<(), Code> {
        match (topic.private, self.public_topics) {
            (false, true) if principal.method == Method::Anonymous => Err(Code::Forbidden),
            (false, true) => Ok(()),
            (false, false) => Err(Code::PublicTopicsDisabled),
            (true, _) => match self.channel(topic, principal) {
                Some(channel) if channel.allows(action, principal) => Ok(()),
                // A stored grant is stale if a policy now covers the topic.
                None if principal.grants.get(&*topic.name).is_some_and(|grant| grant.allows(action)) => Ok(()),
                _ => Err(Code::Forbidden),
            },
        }
    }

    /// Whether a message that a client publishes to the topic is retained.
    ///
    /// # Errors
    /// The same, if it may not publish there.
    pub fn may_publish(&self, topic: &Topic, principal: &Principal) -> Result<bool, Code> {
        self.authorize(Action::Write, topic, principal)?;
        Ok(self.channel(topic, principal).is_some_and(|channel| channel.history))
    }

    /// Whether the principal may be present in the topic or the lobby. Rosters show users, so a key that every page
    /// contains does not qualify.
    ///
    /// # Errors
    /// [`Code::Forbidden`], or [`Code::PublicTopicsDisabled`] where there are none.
    pub fn authorize_presence(&self, topic: Option<&Topic>, principal: &Principal) -> Result<(), Code> {
        let Some(topic) = topic else {
            let is_named = principal.user.is_some() || self.is_service(&principal.roles);
            let is_someone = is_named && principal.method != Method::Anonymous;
            let may = self.lobby.as_ref().map_or(is_someone, |lobby| lobby.includes(principal));
            return if may { Ok(()) } else { Err(Code::Forbidden) };
        };
        self.authorize(Action::Presence, topic, principal)
    }

    /// Whether table changes may be subscribed to without a credential, in dialects that allow such sockets.
    pub fn is_open_to_anonymous(&self, schema: &str, table: &str) -> bool {
        self.open_tables.contains(&format!("{schema}.{table}"))
    }

    /// Whether no policy covers a private topic, so that a database may decide.
    pub fn leaves_to_database(&self, topic: &Topic, principal: &Principal) -> bool {
        topic.private && self.channel(topic, principal).is_none()
    }

    /// The app settings of an organization; `None` if there are no apps.
    pub fn app(&self, organization: &str) -> Option<&App> {
        self.apps.as_ref().map(|apps| apps.get(organization))
    }

    /// Whether these roles include the one of an app's services.
    pub fn is_service(&self, roles: &Roles) -> bool {
        self.apps.as_ref().is_some_and(|apps| apps.terms.is_service(roles))
    }

    /// Serves apps: their issuers sign tokens, and no row rule restricts their services.
    pub fn serve_apps(&mut self, apps: Apps) {
        self.credentials.tokens.apps = Some(apps.terms);
        self.tables.admit_everywhere(apps.terms.service);
        self.apps = Some(apps);
    }

    /// The databases that supply changes.
    pub fn databases(&self) -> &Databases {
        &self.credentials.databases
    }

    /// The policy that governs a private topic for this principal: the first that matches.
    pub fn channel(&self, topic: &Topic, principal: &Principal) -> Option<&Channel> {
        self.channels.iter().find(|channel| topic.private && channel.matches(&topic.name, principal))
    }

    fn read_realtime(&mut self, text: &str, sections: &[Section]) -> Result<(), Refusal> {
        let mut form = Form::read(text, Code::Configuration)?;
        self.read_tables(&mut form)?;
        if let Some(channels) = form.take("channels") {
            self.channels = channels.list(MAX_CHANNELS)?.iter().map(Channel::read).collect::<Result<_, Refusal>>()?;
        }
        self.lobby = Grant::read(&mut form, "lobby")?;
        if let Some(public_topics) = form.take("publicTopics") {
            self.public_topics = public_topics.boolean()?;
        }
        if let Some(limits) = form.take("limits") {
            self.limits = Limits::read(&limits)?;
        }
        if let Some(history) = form.take("history") {
            self.history = HistoryLimits::read(&history)?;
        }
        if let Some(heartbeats) = form.take("heartbeats") {
            self.heartbeats = heartbeats.boolean()?;
        }
        if let Some(window) = form.take("batchMilliseconds") {
            self.batch_milliseconds = window.count()?;
            if self.batch_milliseconds > MAX_BATCH_MILLISECONDS {
                return Err(window.refuse("must be at most 90"));
            }
        }
        for section in sections {
            if let Some(field) = form.take(section.name) {
                (section.read)(&field, self)?;
            }
        }
        if let Some(relays) = form.take("relays") {
            self.relays = Relays::read(&relays)?;
        }
        form.finish()
    }

    fn read_tables(&mut self, form: &mut Form<'_>) -> Result<(), Refusal> {
        if let Some(tables) = form.take("tables") {
            self.tables = Tables::read(&tables)?;
        }
        if let Some(unknown) = form.take("unknownTables") {
            let refuses = match unknown.text()?.as_str() {
                "refuse" => true,
                "publish" => false,
                _ => return Err(unknown.refuse("must be \"publish\" or \"refuse\"")),
            };
            self.tables = std::mem::take(&mut self.tables).refusing_unknown(refuses);
        }
        if let Some(databases) = form.take("databases") {
            self.credentials.databases = Databases::read(&databases)?;
        }
        if let Some(table) = self.tables.of_database().filter(|_| self.databases().is_empty()) {
            let path = format!("tables.{table}.deletes");
            return Err(form.refuse(&path, "is for tables of a database, and there is none in databases"));
        }
        Ok(())
    }

    fn claims(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        self.tables.claims(&mut names);
        self.channels.iter().for_each(|channel| channel.claims(&mut names));
        names.remove(SUBJECT);
        names
    }
}

fn api_keys(text: &str) -> Result<ApiKeys, Refusal> {
    json::array(text).map_err(|_| malformed("API_KEYS", "must be a JSON array"))?;
    // Wrapped in an object, so that a refusal names the variable.
    let wrapped = format!("{{\"API_KEYS\":{text}}}");
    let mut form = Form::read(&wrapped, Code::Configuration)?;
    ApiKeys::read(&form.require("API_KEYS")?)
}

fn credentials(variable: &dyn Fn(&str) -> Option<String>) -> Result<Credentials, Refusal> {
    let url = variable("JWKS_URL");
    if url.as_deref().is_some_and(|url| !is_safe(url)) {
        return Err(malformed("JWKS_URL", "must be an https URL"));
    }
    let tokens = TokenRules {
        secret: secret(variable, "JWT_SECRET", MIN_JWT_SECRET)?,
        key_set_url: url,
        issuer: expected(variable, "JWT_ISSUER")?,
        audience: expected(variable, "JWT_AUDIENCE")?,
        apps: None,
    };
    let api_keys = variable("API_KEYS").map_or(Ok(ApiKeys::default()), |text| api_keys(&text))?;
    if tokens.secret.is_none() && tokens.key_set_url.is_none() && api_keys.is_empty() {
        return Err(malformed("JWT_SECRET", "is required, or JWKS_URL, or API_KEYS: without them nobody can connect"));
    }
    let default_organization = variable("DEFAULT_ORGANIZATION");
    if default_organization.as_deref().is_some_and(|name| !is_organization(name)) {
        return Err(malformed("DEFAULT_ORGANIZATION", "is no organization id"));
    }
    let organization_domain = variable("ORGANIZATION_DOMAIN");
    // An empty label, such as before a leading dot, matches no host, so the binding would have no effect.
    if organization_domain.as_deref().is_some_and(|domain| !domain.split('.').all(|label| is_of(label, b"-"))) {
        return Err(malformed("ORGANIZATION_DOMAIN", "must be a domain in lower case"));
    }
    Ok(Credentials {
        tokens,
        api_keys,
        default_organization,
        nameless_organization: None,
        organization_domain,
        claims: BTreeSet::new(),
        databases: Databases::default(),
    })
}

fn secret(variable: &dyn Fn(&str) -> Option<String>, name: &str, least: usize) -> Result<Option<Secret>, Refusal> {
    match variable(name) {
        Some(text) if text.len() < least => Err(malformed(name, &format!("must have at least {least} bytes"))),
        text => Ok(text.map(Secret::new)),
    }
}

/// A required claim value. An empty string would reject every token.
fn expected(variable: &dyn Fn(&str) -> Option<String>, name: &str) -> Result<Option<String>, Refusal> {
    match variable(name) {
        Some(text) if text.is_empty() => Err(malformed(name, "must not be empty; leave it out for no check")),
        text => Ok(text),
    }
}

/// Only a local issuer may do without TLS; otherwise anyone could supply the keys. A user name before the host would
/// make `http://localhost:1@elsewhere` look local.
pub(super) fn is_safe(url: &str) -> bool {
    let host = |rest: &str| rest.split(['/', '?', '#']).next().unwrap_or_default().to_owned();
    let local = || url.strip_prefix("http://127.0.0.1:").or_else(|| url.strip_prefix("http://localhost:"));
    let safe = match url.strip_prefix("https://").map(host) {
        Some(host) => !host.is_empty() && !host.contains('@'),
        None => local().map(host).is_some_and(|port| port.parse::<u16>().is_ok()),
    };
    safe && url.bytes().all(|byte| byte.is_ascii_graphic())
}

fn origins(list: &str) -> Result<Vec<String>, Refusal> {
    let origins =
        list.split([',', ' ']).map(|origin| origin.trim().trim_end_matches('/')).filter(|one| !one.is_empty());
    let origins: Vec<String> = origins.map(str::to_owned).collect();
    if origins.is_empty() || !origins.iter().all(|origin| is_origin(origin)) {
        return Err(malformed("ALLOWED_ORIGINS", "must list origins: scheme, host and port in lower case"));
    }
    Ok(origins)
}

/// Whether a browser could send this origin: scheme, host and port, in lower case, nothing else.
fn is_origin(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, host)| is_of(scheme, b"+-.") && is_of(host, b"-_.:[]"))
}

/// Whether a text is non-empty and consists of lower-case letters, digits and `more`.
fn is_of(text: &str, more: &[u8]) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || more.contains(&byte))
}

fn malformed(name: &str, what: &str) -> Refusal {
    Refusal::at(Code::Configuration, name, format!("{name} {what}"))
}

/// Prefixes the path of an error with the variable's name.
fn below(name: &str, refusal: Refusal) -> Refusal {
    let path = refusal.field.map_or_else(|| name.to_owned(), |field| format!("{name}.{field}"));
    Refusal::at(Code::Configuration, path, format!("{name}: {}", refusal.message))
}

// The configuration allows names as long as the protocol does, so a rule can name anything that a client can.
const _: () = assert!(NAME_BYTES == super::channel::MAX_TOPIC);
