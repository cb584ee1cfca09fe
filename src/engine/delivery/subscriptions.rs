//! A session's subscriptions in order, indexed by id, topic and number, so that adding one does not walk the others.

use std::collections::{BTreeMap, BTreeSet};

use super::session::{Subscribed, Subscription};
use crate::engine::command::TableTarget;
use crate::policy::channel::Topic;

/// The subscriptions of one session; a session without any takes no memory for them.
#[derive(Clone, Default)]
pub(super) struct Subscriptions(Option<Box<Lists>>);

#[derive(Clone, Default)]
struct Lists {
    /// By a number that increases with each.
    all: BTreeMap<u64, Subscription>,
    last: u64,
    /// Several may have the same id: channels number their own.
    by_id: BTreeSet<(String, u64)>,
    /// How many name each topic.
    topics: BTreeMap<Topic, u32>,
    /// How many have each number.
    numbers: BTreeMap<u32, u32>,
    totals: Totals,
    /// Those that have no row yet.
    unsaved: BTreeSet<u64>,
    /// The rows of ended subscriptions.
    ended: Vec<u32>,
}

/// The totals that the limits on table subscriptions apply to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) count: u64,
    /// Bytes chosen by the client.
    pub(super) bytes: usize,
    pub(super) expressions: usize,
}

impl Totals {
    /// Those of one table subscription.
    pub(super) fn of(target: &TableTarget) -> Totals {
        Totals { count: 1, bytes: target.bytes(), expressions: target.filter.regular_expressions() }
    }

    /// The totals of both.
    pub(super) fn plus(self, other: Totals) -> Totals {
        Totals {
            count: self.count + other.count,
            bytes: self.bytes + other.bytes,
            expressions: self.expressions + other.expressions,
        }
    }

    fn minus(self, other: Totals) -> Totals {
        Totals {
            count: self.count.saturating_sub(other.count),
            bytes: self.bytes.saturating_sub(other.bytes),
            expressions: self.expressions.saturating_sub(other.expressions),
        }
    }
}

impl Subscriptions {
    /// Adds one after all others.
    pub(super) fn push(&mut self, subscription: Subscription) {
        self.0.get_or_insert_default().push(subscription);
    }

    /// Removes all that have this id.
    pub(super) fn remove(&mut self, id: &str) {
        let Some(lists) = &mut self.0 else { return };
        let places: Vec<u64> = lists.places(id).collect();
        places.into_iter().for_each(|place| lists.take(place));
    }

    /// Removes those for which `stays` is false.
    pub(super) fn retain(&mut self, stays: impl Fn(&Subscription) -> bool) {
        let Some(lists) = &mut self.0 else { return };
        let gone: Vec<u64> = lists.all.iter().filter(|(_, one)| !stays(one)).map(|(place, _)| *place).collect();
        gone.into_iter().for_each(|place| lists.take(place));
    }

    /// The first with this id.
    pub(super) fn get(&self, id: &str) -> Option<&Subscription> {
        let lists = self.0.as_ref()?;
        lists.places(id).next().and_then(|place| lists.all.get(&place))
    }

    /// How many have this id.
    pub(super) fn count_of(&self, id: &str) -> usize {
        self.0.as_ref().map_or(0, |lists| lists.places(id).count())
    }

    /// All, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.0.iter().flat_map(|lists| lists.all.values())
    }

    /// The topics that they name, each once.
    pub(super) fn topics(&self) -> impl ExactSizeIterator<Item = &Topic> + use<'_> {
        self.0.as_ref().map(|lists| lists.topics.keys()).unwrap_or_default()
    }

    /// Whether one names this topic.
    pub(super) fn has_topic(&self, topic: &Topic) -> bool {
        self.0.as_ref().is_some_and(|lists| lists.topics.contains_key(topic))
    }

    /// Whether a table subscription has this number.
    pub(super) fn has_number(&self, number: u32) -> bool {
        self.0.as_ref().is_some_and(|lists| lists.numbers.contains_key(&number))
    }

    /// The totals of all table subscriptions.
    pub(super) fn totals(&self) -> Totals {
        self.0.as_ref().map(|lists| lists.totals).unwrap_or_default()
    }

    /// Gives each subscription without a row a number, and passes it to `write`.
    pub(super) fn save(&mut self, mut next: impl FnMut() -> u32, mut write: impl FnMut(&Subscription)) {
        let Some(lists) = &mut self.0 else { return };
        for place in std::mem::take(&mut lists.unsaved) {
            if let Some(subscription) = lists.all.get_mut(&place) {
                subscription.row = next();
                write(subscription);
            }
        }
    }

    /// Takes the rows of ended subscriptions.
    pub(super) fn take_ended(&mut self) -> Vec<u32> {
        self.0.as_mut().map(|lists| std::mem::take(&mut lists.ended)).unwrap_or_default()
    }

    /// Forgets the row numbers.
    pub(super) fn forget_rows(&mut self) {
        let Some(lists) = &mut self.0 else { return };
        lists.all.values_mut().for_each(|subscription| subscription.row = 0);
        lists.unsaved = lists.all.keys().copied().collect();
        lists.ended.clear();
    }
}

impl Lists {
    fn push(&mut self, subscription: Subscription) {
        self.last += 1;
        self.by_id.insert((subscription.id.clone(), self.last));
        match &subscription.target {
            Subscribed::Topic(topic) => *self.topics.entry(topic.clone()).or_default() += 1,
            Subscribed::Table(target) => {
                *self.numbers.entry(target.number).or_default() += 1;
                self.totals = self.totals.plus(Totals::of(target));
            }
        }
        if subscription.row == 0 {
            self.unsaved.insert(self.last);
        }
        self.all.insert(self.last, subscription);
    }

    fn places(&self, id: &str) -> impl Iterator<Item = u64> {
        let range = self.by_id.range((id.to_owned(), 0)..=(id.to_owned(), u64::MAX));
        range.map(|(_, place)| *place)
    }

    fn take(&mut self, place: u64) {
        let Some(Subscription { id, target, row }) = self.all.remove(&place) else { return };
        self.by_id.remove(&(id, place));
        match &target {
            Subscribed::Topic(topic) => count_down(&mut self.topics, topic),
            Subscribed::Table(target) => {
                count_down(&mut self.numbers, &target.number);
                self.totals = self.totals.minus(Totals::of(target));
            }
        }
        if !self.unsaved.remove(&place) {
            self.ended.push(row);
        }
    }
}

impl FromIterator<Subscription> for Subscriptions {
    fn from_iter<T: IntoIterator<Item = Subscription>>(all: T) -> Subscriptions {
        let mut subscriptions = Subscriptions::default();
        all.into_iter().for_each(|subscription| subscriptions.push(subscription));
        subscriptions
    }
}

/// Decrements the count of a key, removing it at zero.
fn count_down<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    let Some(count) = counts.get_mut(key) else { return };
    *count -= 1;
    if *count == 0 {
        counts.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    fn topic(name: &str) -> Topic {
        Topic { private: true, name: Rc::from(name) }
    }

    fn of_topic(id: &str, name: &str) -> Subscription {
        Subscription::new(id.to_owned(), Subscribed::Topic(topic(name)))
    }

    fn ids(subscriptions: &Subscriptions) -> Vec<&str> {
        subscriptions.iter().map(|one| one.id.as_str()).collect()
    }

    #[test]
    fn they_keep_their_order_and_a_topic_stays_until_the_last_one_that_names_it_ends() {
        let mut all: Subscriptions = [of_topic("b", "x"), of_topic("a", "x"), of_topic("c", "y")].into_iter().collect();
        assert_eq!((ids(&all), all.topics().len()), (vec!["b", "a", "c"], 2));
        all.remove("b");
        assert!(all.has_topic(&topic("x")) && all.get("b").is_none() && all.get("a").is_some());
        all.retain(|one| one.id == "c");
        assert_eq!((ids(&all), all.has_topic(&topic("x"))), (vec!["c"], false));
    }

    #[test]
    fn each_is_written_once_and_what_has_ended_goes_once() {
        let mut all: Subscriptions = [of_topic("a", "x"), of_topic("b", "y")].into_iter().collect();
        let mut last = 0;
        let mut save = |all: &mut Subscriptions| {
            let mut written = Vec::new();
            let next = || {
                last += 1;
                last
            };
            all.save(next, |one| written.push((one.id.clone(), one.row)));
            written
        };
        assert_eq!(save(&mut all), [("a".to_owned(), 1), ("b".to_owned(), 2)]);
        all.push(of_topic("c", "z"));
        all.remove("a");
        assert_eq!(save(&mut all), [("c".to_owned(), 3)]);
        assert_eq!((all.take_ended(), all.take_ended()), (vec![1], vec![]));
        all.push(of_topic("d", "z"));
        all.remove("d");
        assert_eq!(all.take_ended(), Vec::<u32>::new(), "it never had a row");
        all.forget_rows();
        assert_eq!(save(&mut all).len(), 2);
    }
}
