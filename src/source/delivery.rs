//! Delivers parts of batches to their organizations, each in order; a failing organization does not hold up the others
//! for long.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use serde::Deserialize;

use super::task::SourceTask;

/// The first wait after a failure, in milliseconds; it doubles up to [`MAX_WAIT`].
const MIN_WAIT: u64 = 250;
/// The longest wait between two attempts, in milliseconds.
const MAX_WAIT: u64 = 5_000;
/// How long an organization may fail before its parts are stored here so that the others proceed, in milliseconds.
const PARK_AFTER: u64 = 30_000;
/// The most parts that are stored for one organization. Beyond this the others wait, because nothing may be lost.
const MAX_PARKED: usize = 256;

/// The undelivered parts, by organization.
#[derive(Default)]
pub(super) struct Deliveries {
    lanes: BTreeMap<Rc<str>, Lane>,
}

#[derive(Default)]
struct Lane {
    parts: VecDeque<QueuedPart>,
    is_sent: bool,
    attempts: u32,
    retry_at: u64,
    /// Since when its object has failed, in Unix milliseconds.
    fails_since: Option<u64>,
}

struct QueuedPart {
    batch: u64,
    body: Rc<str>,
    is_parked: bool,
}

impl Deliveries {
    /// The stored parts.
    pub(super) fn of(parked: Vec<(String, u64, String)>) -> Deliveries {
        let mut deliveries = Deliveries::default();
        for (organization, batch, body) in parked {
            let lane = deliveries.lanes.entry(Rc::from(organization)).or_default();
            lane.parts.push_back(QueuedPart { batch, body: Rc::from(body), is_parked: true });
        }
        deliveries
    }

    /// Adds a part. If its organization has stored parts, it is stored with them.
    pub(super) fn push(
        &mut self,
        now: u64,
        organization: Rc<str>,
        batch: u64,
        body: String,
        out: &mut Vec<SourceTask>,
    ) {
        let lane = self.lanes.entry(organization.clone()).or_default();
        // After a crash a batch is delivered again. A restored database restarts its numbers, in another epoch.
        if lane.parts.iter().any(|part| part.batch == batch && epoch(&part.body) == epoch(&body)) {
            return;
        }
        lane.parts.push_back(QueuedPart { batch, body: Rc::from(body), is_parked: false });
        lane.park(now, &organization, out);
    }

    /// Sends the parts that may be sent, and stores those that must not hold up others.
    pub(super) fn advance(&mut self, now: u64, out: &mut Vec<SourceTask>) {
        for (organization, lane) in &mut self.lanes {
            lane.park(now, organization, out);
            let Some(part) = lane.parts.front().filter(|_| !lane.is_sent && lane.retry_at <= now) else { continue };
            let (batch, body) = (part.batch, part.body.clone());
            lane.is_sent = true;
            out.push(SourceTask::Deliver { organization: organization.clone(), batch, body });
        }
        self.lanes.retain(|_, lane| !lane.parts.is_empty());
    }

    /// Handles the answer of an organization's object.
    pub(super) fn delivered(
        &mut self,
        now: u64,
        organization: &Rc<str>,
        batch: u64,
        status: u16,
        out: &mut Vec<SourceTask>,
    ) {
        let Some(lane) = self.lanes.get_mut(organization) else { return };
        lane.is_sent = false;
        if lane.parts.front().is_none_or(|part| part.batch != batch) {
            return;
        }
        // A malformed part stays malformed, however often it is sent.
        let is_refused = (400..500).contains(&status) && status != 429;
        if status != 200 && !is_refused {
            return lane.fail(now);
        }
        if is_refused {
            let details = vec![("organizationId", organization.to_string()), ("batch", batch.to_string())];
            out.push(SourceTask::Log { event: "batch_refused", details });
        }
        if lane.parts.pop_front().is_some_and(|part| part.is_parked) {
            out.push(SourceTask::Unpark { organization: organization.clone(), batch });
        }
        (lane.attempts, lane.retry_at, lane.fails_since) = (0, now, None);
    }

    /// Drops the parts that the database delivers again on its next connection, including any being sent.
    pub(super) fn forget(&mut self) {
        for lane in self.lanes.values_mut() {
            let mut is_sent = lane.is_sent;
            lane.parts.retain(|part| std::mem::take(&mut is_sent) || part.is_parked);
        }
    }

    /// Whether an organization has undelivered parts.
    pub(super) fn has(&self, organization: &str) -> bool {
        self.lanes.get(organization).is_some_and(|lane| !lane.parts.is_empty())
    }

    /// Whether the database may delete the batch: every part is delivered or stored here.
    pub(super) fn is_settled(&self) -> bool {
        self.lanes.values().flat_map(|lane| &lane.parts).all(|part| part.is_parked)
    }

    /// How many parts there are.
    pub(super) fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.parts.len()).sum()
    }

    /// The next deadline, in Unix milliseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.lanes.values().filter(|lane| !lane.is_sent).map(|lane| lane.retry_at).min()
    }
}

impl Lane {
    fn fail(&mut self, now: u64) {
        let wait = MIN_WAIT.checked_shl(self.attempts.min(16)).unwrap_or(MAX_WAIT).min(MAX_WAIT);
        self.attempts = self.attempts.saturating_add(1);
        self.retry_at = now.saturating_add(wait);
        self.fails_since.get_or_insert(now);
    }

    fn park(&mut self, now: u64, organization: &Rc<str>, out: &mut Vec<SourceTask>) {
        let parked = self.parts.iter().filter(|part| part.is_parked).count();
        let fails = self.fails_since.is_some_and(|since| now.saturating_sub(since) >= PARK_AFTER);
        // To keep their order, parts behind a stored one must be stored too.
        if (!fails && parked == 0) || self.parts.len() > MAX_PARKED {
            return;
        }
        for part in self.parts.iter_mut().filter(|part| !part.is_parked) {
            part.is_parked = true;
            out.push(SourceTask::Park {
                organization: organization.clone(),
                batch: part.batch,
                body: part.body.clone(),
            });
        }
    }
}

/// The epoch of a part.
fn epoch(body: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Epoch {
        epoch: String,
    }
    serde_json::from_str::<Epoch>(body).ok().map(|part| part.epoch)
}
