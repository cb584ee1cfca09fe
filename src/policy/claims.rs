//! From a token's claims to a principal of one organization (docs/protocol-native.md, Connecting).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::app::AppTerms;
use super::principal::{Method, Principal, SUBJECT};
use super::roles::Roles;
use crate::code::Code;

/// Claims that name the single organization of a token.
const ORGANIZATION_CLAIMS: [&str; 4] = ["organizationId", "activeOrganizationId", "org_id", "ref"];
/// The claim that maps several organizations to roles.
const ORGANIZATIONS: &str = "organizations";
/// Clerk's claim: an object whose `id` names the active organization, and `rol` the role there.
const CLERK_ORGANIZATION: &str = "o";
/// Normalized names of claims that concern organizations (lower case, without `_` and `-`). A token with any of them
/// never falls back to the default organization, even if its claim cannot be interpreted.
const ORGANIZATION_WORDS: [&str; 21] = [
    "o",
    "org",
    "orgid",
    "orgs",
    "organization",
    "organizationid",
    "organizations",
    "organisation",
    "organisationid",
    "organisations",
    "activeorganization",
    "activeorganizationid",
    "activeorganisation",
    "activeorganisationid",
    "tenant",
    "tenantid",
    "tenants",
    "workspace",
    "workspaceid",
    "workspaces",
    "ref",
];
/// Maximum values retained per claim, and roles per token.
const MAX_VALUES: usize = 1_000;

/// The claims of a verified token.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// All claims except the registered times.
    pub values: Map<String, Value>,
    /// `exp`, in Unix milliseconds.
    pub expires: u64,
    /// The app whose issuer signed the token: the token is valid for that app only, whatever its claims say.
    pub app: Option<SigningApp>,
}

/// An app whose issuer signed a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningApp {
    /// Its id.
    pub id: String,
    /// What its protocol calls roles.
    pub terms: &'static AppTerms,
}

impl Claims {
    /// The principal that these claims prove within `organization`, keeping the claims in `kept`. A token without any
    /// organization claim belongs to `default` only.
    ///
    /// # Errors
    /// [`Code::WrongOrganization`] when the token does not name the organization, [`Code::InvalidToken`] when the
    /// subject is not a string.
    pub fn principal(
        &self,
        organization: &str,
        kept: &BTreeSet<String>,
        default: Option<&str>,
    ) -> Result<Principal, Code> {
        let roles = self.roles(organization, default).ok_or(Code::WrongOrganization)?;
        let user = match self.values.get(SUBJECT) {
            // An app's own issuer signs tokens of its users only.
            None | Some(Value::Null) if self.app.is_some() => return Err(Code::InvalidToken),
            None | Some(Value::Null) => None,
            Some(Value::String(user)) if !user.is_empty() => Some(user.clone()),
            Some(_) => return Err(Code::InvalidToken),
        };
        let mut claims = BTreeMap::new();
        claims.extend(kept.iter().filter_map(|name| Some((name.clone(), texts(self.claim(name)?)))));
        Ok(Principal {
            user,
            roles,
            method: Method::Session,
            expires: Some(self.expires),
            claims,
            all_claims: None,
            grants: BTreeMap::new(),
        })
    }

    /// The single organization that the token names; `None` if it names none or several.
    pub fn organization(&self) -> Option<&str> {
        if let Some(app) = &self.app {
            return Some(&app.id);
        }
        let mut named = self.named();
        let Some(first) = named.next() else {
            let map = self.values.get(ORGANIZATIONS)?.as_object()?;
            return map.keys().next().filter(|_| map.len() == 1).map(String::as_str);
        };
        named.all(|other| other == first).then_some(first)
    }

    /// The roles in `organization`: from the map `organizations` if it names it, otherwise the token's own.
    fn roles(&self, organization: &str, default: Option<&str>) -> Option<Roles> {
        if let Some(app) = &self.app {
            return (app.id == organization).then(|| app.terms.user_roles(&Roles::new(self.own_roles())));
        }
        if let Some(roles) = self.values.get(ORGANIZATIONS).and_then(|map| map.get(organization)) {
            // Issuers may use `null` or `false` to say that a user has left.
            let is_member = matches!(roles, Value::String(_) | Value::Array(_));
            return is_member.then(|| Roles::new(role_names(roles)));
        }
        let is_named = self.named().any(|named| named == organization);
        let is_of = is_named || (default == Some(organization) && self.is_nameless());
        let clerk = self.clerk("id").filter(|id| *id == organization).and_then(|_| self.clerk("rol"));
        is_of.then(|| Roles::new(self.own_roles().chain(clerk.map(str::to_owned))))
    }

    /// The roles that the token grants in any organization.
    fn own_roles(&self) -> impl Iterator<Item = String> {
        let list = self.values.get("roles").map(role_names).unwrap_or_default();
        let single = self.values.get("role").filter(|role| role.is_string()).map(role_names).unwrap_or_default();
        list.into_iter().chain(single)
    }

    /// The organizations in claims that name a single one.
    fn named(&self) -> impl Iterator<Item = &str> {
        let claims = ORGANIZATION_CLAIMS.into_iter().filter_map(|name| self.values.get(name)?.as_str());
        claims.chain(self.clerk("id"))
    }

    fn clerk(&self, member: &str) -> Option<&str> {
        self.values.get(CLERK_ORGANIZATION)?.get(member)?.as_str()
    }

    /// Whether no claim concerns organizations. A `null` claim does: its issuer states that the user belongs to none.
    fn is_nameless(&self) -> bool {
        !self.values.keys().any(|name| speaks_of_organizations(name))
    }

    /// A claim by name, or by dotted path if no claim has that name.
    fn claim(&self, name: &str) -> Option<&Value> {
        self.values.get(name).or_else(|| {
            let mut steps = name.split('.');
            let first = self.values.get(steps.next()?)?;
            steps.try_fold(first, |value, step| value.get(step))
        })
    }
}

/// Whether a claim's name is one of [`ORGANIZATION_WORDS`], possibly namespaced (`https://app.example/org_id`).
fn speaks_of_organizations(name: &str) -> bool {
    let last = name.rsplit(['/', ':', '.']).next().unwrap_or(name);
    let word: String = last.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect();
    ORGANIZATION_WORDS.contains(&word.as_str())
}

/// The roles in a claim: its elements, or the parts of a string such as Better Auth's `admin,member`.
fn role_names(value: &Value) -> Vec<String> {
    match value {
        Value::String(names) => names.split(',').map(|name| name.trim().to_owned()).take(MAX_VALUES).collect(),
        value => texts(value),
    }
}

/// The scalar values of a claim, or of its elements, as text. Objects and `null` are left out.
fn texts(value: &Value) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    match value {
        Value::Array(elements) => elements.iter().filter_map(text).take(MAX_VALUES).collect(),
        value => text(value).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(claims: &str, organization: &str) -> Result<Principal, Code> {
        let claims = Claims { values: serde_json::from_str(claims).unwrap(), expires: 7, app: None };
        claims.principal(organization, &["teams".to_owned(), "app.plan".to_owned()].into(), None)
    }

    #[test]
    fn every_way_to_name_the_organization() {
        for name in ORGANIZATION_CLAIMS {
            assert!(principal(&format!("{{\"{name}\":\"org_1\"}}"), "org_1").is_ok(), "{name}");
            assert_eq!(principal(&format!("{{\"{name}\":\"org_2\"}}"), "org_1"), Err(Code::WrongOrganization));
        }
        assert_eq!(principal("{}", "org_1"), Err(Code::WrongOrganization));
        assert_eq!(principal(r#"{"organizationId":["org_1"]}"#, "org_1"), Err(Code::WrongOrganization));
    }

    #[test]
    fn the_one_organization_is_never_guessed() {
        let named = |claims: &str| {
            let claims = Claims { values: serde_json::from_str(claims).unwrap(), expires: 7, app: None };
            claims.organization().map(str::to_owned)
        };
        for one in [r#"{"ref":"o"}"#, r#"{"ref":"o","org_id":"o"}"#, r#"{"organizations":{"o":"member"}}"#] {
            assert_eq!(named(one).as_deref(), Some("o"), "{one}");
        }
        assert_eq!(named(r#"{"activeOrganizationId":"o","organizations":{"p":[],"o":[]}}"#).as_deref(), Some("o"));
        for none in ["{}", r#"{"ref":"o","org_id":"p"}"#, r#"{"organizations":{"o":[],"p":[]}}"#, r#"{"ref":["o"]}"#] {
            assert_eq!(named(none), None, "{none}");
        }
        assert_eq!(named(r#"{"organizations":{}}"#), None);
    }

    #[test]
    fn roles_are_those_of_the_organization() {
        let roles = |claims, organization| principal(claims, organization).unwrap().roles.as_slice().to_vec();
        assert_eq!(roles(r#"{"org_id":"o","roles":["a","b"],"role":"c"}"#, "o"), ["a", "b", "c"]);
        assert_eq!(roles(r#"{"org_id":"o","roles":["a","b"],"role":"b"}"#, "o"), ["a", "b"]);
        let map = r#"{"organizations":{"o":"member","p":["admin","hr"]},"organizationId":"p","roles":["root"]}"#;
        assert_eq!(roles(map, "o"), ["member"]);
        assert_eq!(roles(map, "p"), ["admin", "hr"]);
    }

    #[test]
    fn several_roles_may_stand_in_one_text() {
        let roles = |claims| principal(claims, "o").unwrap().roles.as_slice().to_vec();
        assert_eq!(roles(r#"{"org_id":"o","role":"admin,member"}"#), ["admin", "member"]);
        assert_eq!(roles(r#"{"org_id":"o","roles":" admin , member,"}"#), ["admin", "member"]);
        assert_eq!(roles(r#"{"organizations":{"o":"admin,member"}}"#), ["admin", "member"]);
        assert_eq!(roles(r#"{"org_id":"o","roles":["a,b"]}"#), ["a,b"], "an element is one role");
    }

    #[test]
    fn clerk_names_the_organization_in_an_object() {
        let claims = r#"{"o":{"id":"org_1","rol":"admin","slg":"acme"},"role":"authenticated"}"#;
        assert_eq!(principal(claims, "org_1").unwrap().roles.as_slice(), ["authenticated", "admin"]);
        assert_eq!(principal(claims, "org_2"), Err(Code::WrongOrganization));
        let both = r#"{"o":{"id":"org_1","rol":"admin"},"org_id":"org_2"}"#;
        assert!(principal(both, "org_2").unwrap().roles.as_slice().is_empty(), "the role is held elsewhere");
    }

    #[test]
    fn an_organization_in_an_unknown_claim_is_not_let_into_the_default() {
        let in_default = |claims: &str| {
            let claims = Claims { values: serde_json::from_str(claims).unwrap(), expires: 7, app: None };
            claims.principal("main", &BTreeSet::new(), Some("main")).is_ok()
        };
        for nameless in ["{}", r#"{"sub":"u","scope":"x","origin":"y"}"#] {
            assert!(in_default(nameless), "{nameless}");
        }
        for name in
            ["tenant_id", "orgId", "https://app.example/org_id", "custom:tenant", "workspace", "o", "organisation"]
        {
            assert!(!in_default(&format!("{{\"{name}\":\"other\"}}")), "{name}");
        }
        assert!(!in_default(r#"{"o":{"id":"other"}}"#));
        assert!(in_default(r#"{"o":{"id":"main"}}"#));
    }

    #[test]
    fn only_the_claims_that_rules_ask_for_are_kept() {
        let kept =
            principal(r#"{"ref":"o","sub":"u","teams":["a",1,{}],"app":{"plan":"pro"},"secret":"x"}"#, "o").unwrap();
        assert_eq!(kept.claim("teams"), ["a", "1"]);
        assert_eq!(kept.claim("app.plan"), ["pro"]);
        assert_eq!(kept.claim("sub"), ["u"]);
        assert_eq!(kept.claims.len(), 2);
        assert_eq!(principal(r#"{"ref":"o","sub":7}"#, "o"), Err(Code::InvalidToken));
        assert_eq!(principal(r#"{"ref":"o","sub":""}"#, "o"), Err(Code::InvalidToken));
    }
}
