//! What a principal is entitled to: subscriptions, channels, a socket. Pure decisions.

use super::registry::Registry;
use super::session::{Subscribed, Subscription, free_number};
use super::subscriptions::{Subscriptions, Totals};
use super::tables::EnabledTables;
use crate::code::{Code, Reason, Refusal};
use crate::engine::command::{Subscribe, TableTarget, Target};
use crate::engine::database::interest::Readiness;
use crate::engine::profile::Profile;
use crate::policy::channel::{Action, Topic};
use crate::policy::configuration::Configuration;
use crate::policy::limits::REGULAR_EXPRESSIONS;
use crate::policy::principal::{Method, Principal};
use crate::policy::table::is_system_schema;

/// The rights of principals under the current configuration, tables and database.
pub(super) struct Rights<'a> {
    pub(super) organization: &'a str,
    pub(super) configuration: &'a Configuration,
    pub(super) tables: &'a EnabledTables,
    pub(super) registry: &'a Registry,
}

impl Rights<'_> {
    /// Decides whether a subscription may be added to `present` ones.
    pub(super) fn admit(
        &self,
        principal: &Principal,
        present: &Subscriptions,
        subscribe: Subscribe,
    ) -> Result<Subscription, (Refusal, String)> {
        let Subscribe { mut id, is_numbered, mut target, .. } = subscribe;
        if let Target::Table(target) = &mut target
            && is_numbered
        {
            target.number = free_number(present, target.number);
        }
        let refusal = match &target {
            Target::Table(target) if is_numbered => {
                let refusal = self.refuse_table(principal, present.totals(), target);
                id = if refusal.is_none() { target.number.to_string() } else { id };
                refusal
            }
            _ if present.get(&id).is_some() => Some(Refusal::of(Code::SubscriptionExists)),
            Target::Table(target) => self.refuse_table(principal, present.totals(), target),
            Target::Topic { topic, presence } => self.refuse_topic(principal, present, topic, *presence),
        };
        match (refusal, target) {
            (Some(refusal), _) => Err((refusal, id)),
            (None, Target::Table(target)) => Ok(Subscription::new(id, Subscribed::Table(target))),
            (None, Target::Topic { topic, .. }) => Ok(Subscription::new(id, Subscribed::Topic(topic))),
        }
    }

    pub(super) fn refuse_table(&self, principal: &Principal, present: Totals, target: &TableTarget) -> Option<Refusal> {
        let limits = &self.configuration.limits;
        let Totals { count, bytes, expressions } = present.plus(Totals::of(target));
        if count > limits.subscriptions {
            Some(Refusal::of(Code::SubscriptionLimit))
        } else if bytes as u64 > limits.filter_bytes {
            Some(Refusal::because(Code::SubscriptionLimit, "The connection's filters are too long together."))
        } else if expressions > REGULAR_EXPRESSIONS {
            Some(Refusal::because(Code::SubscriptionLimit, "The connection has too many regular expressions."))
        } else {
            (!self.admits(target, principal))
                .then(|| Refusal::because(Code::Forbidden, "Your roles do not receive this table's changes."))
        }
    }

    /// Whether a principal has one of the roles that receive changes of a table.
    pub(super) fn admits(&self, target: &TableTarget, principal: &Principal) -> bool {
        let table = self.configuration.tables.get(&target.schema, &target.table);
        table.required_roles.as_ref().is_none_or(|roles| principal.roles.any(roles))
    }

    pub(super) fn refuse_topic(
        &self,
        principal: &Principal,
        present: &Subscriptions,
        topic: &Topic,
        presence: bool,
    ) -> Option<Refusal> {
        // A topic counts once, however many subscriptions name it.
        let count = present.topics().len() as u64 + u64::from(!present.has_topic(topic));
        if count > self.configuration.limits.topics {
            return Some(Refusal::of(Code::TopicLimit));
        }
        let actions: &[Action] = if presence { &[Action::Read, Action::PresenceRead] } else { &[Action::Read] };
        let refused = actions.iter().find_map(|action| self.configuration.authorize(*action, topic, principal).err());
        refused.map(Refusal::of)
    }

    /// Whether a principal sees the messages and the members of a topic; either right suffices to join.
    pub(super) fn sight(&self, topic: &Topic, presence: bool, principal: &Principal) -> Result<(bool, bool), Refusal> {
        let messages = self.configuration.authorize(Action::Read, topic, principal);
        let members = self.configuration.authorize(Action::PresenceRead, topic, principal);
        match (messages, members) {
            (Err(code), members) if !presence || members.is_err() => Err(Refusal::of(code)),
            (messages, _) => Ok((messages.is_ok(), presence)),
        }
    }

    /// Whether a subscription is active at once; if not, the database has to answer first.
    pub(super) fn is_live(
        &self,
        principal: &Principal,
        subscription: &Subscription,
        profile: &Profile,
    ) -> Result<bool, Refusal> {
        let Some(target) = subscription.table() else { return Ok(true) };
        let readiness = self.registry.readiness(self.registry.standing(principal).as_ref(), target);
        match readiness.for_delivery(profile.table_delivery) {
            Readiness::Live => Ok(true),
            Readiness::Pending => Ok(false),
            Readiness::Refused(refusal) => Err(refusal),
        }
    }

    /// Whether a table exists for subscribers, and for those without a credential. The database decides for its own
    /// tables.
    pub(super) fn check_enabled(&self, principal: &Principal, target: &Target) -> Result<(), Refusal> {
        let Target::Table(target) = target else { return Ok(()) };
        let is_anonymous = principal.method == Method::Anonymous;
        if is_anonymous && !self.configuration.is_open_to_anonymous(&target.schema, &target.table) {
            return Err(Refusal::with(Code::Forbidden, Reason::CredentialRequired));
        }
        let (schema, table) = (&target.schema, &target.table);
        let is_enabled = || self.tables.of(schema, table).is_none_or(|setting| setting.is_enabled);
        let is_there =
            self.registry.database.is_some() || (self.configuration.tables.is_declared(schema, table) && is_enabled());
        if is_there && !is_system_schema(schema) { Ok(()) } else { Err(Refusal::of(Code::TableNotEnabled)) }
    }

    pub(super) fn check_metadata(&self, metadata: &str) -> Result<(), Refusal> {
        let fits = metadata.len() as u64 <= self.configuration.limits.presence_bytes;
        if fits { Ok(()) } else { Err(Refusal::of(Code::MetadataTooLarge)) }
    }

    /// Why an app may not have another listener, given how many this object has.
    pub(super) fn refuse_listener(&self, profile: &Profile, here: u64) -> Option<Refusal> {
        let most = self.configuration.app(self.organization).filter(|_| profile.is_listener)?.listeners?;
        let message = || format!("The app has as many realtime listeners as its plan allows: {most}");
        let elsewhere = self.registry.census.borrow().listeners;
        (here.saturating_add(elsewhere) >= most).then(|| Refusal::because(Code::ListenerLimit, message()))
    }

    pub(super) fn is_full(&self) -> bool {
        let elsewhere = self.registry.census.borrow().connections;
        self.registry.sockets().authenticated().saturating_add(elsewhere) >= self.configuration.limits.connections
    }

    /// Whether the limits leave no room for a socket from this address: a principal without a user has its address's
    /// share.
    pub(super) fn is_full_from(&self, principal: &Principal, address: Option<&str>) -> bool {
        let limits = &self.configuration.limits;
        let is_anonymous = principal.method == Method::Anonymous;
        let share = if is_anonymous { limits.anonymous_per_address } else { limits.userless_per_address };
        let has_share = |address: &str| self.registry.sockets().userless_of(address, is_anonymous) >= share;
        self.is_full_for(principal) || (principal.user.is_none() && address.is_some_and(has_share))
    }

    /// Whether the limits leave no room for another socket of this principal; the limit per user applies too.
    pub(super) fn is_full_for(&self, principal: &Principal) -> bool {
        self.is_full() || self.has_all_of(principal)
    }

    /// Whether a user has reached its limit of sockets, over all objects of the organization.
    pub(super) fn has_all_of(&self, principal: &Principal) -> bool {
        let elsewhere = |user: &str| self.registry.census.borrow().of_user(user);
        let of_user = |user: &str| self.registry.sockets().of_user(user).saturating_add(elsewhere(user));
        let limit = self.configuration.limits.connections_per_user;
        principal.user.as_ref().is_some_and(|user| of_user(user) >= limit)
    }
}
