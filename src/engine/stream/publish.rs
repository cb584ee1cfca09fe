//! Publishing: idempotency, order, durability, and the publisher's answer (docs/protocol-native.md, Publishing).

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::Stream;
use crate::code::{Code, Refusal};
use crate::engine::database::verdict::Verdict;
use crate::engine::effect::{Receipt, Task, Write};
use crate::engine::input::Remembered;
use crate::engine::message::{Accepted, Origin, Out, ToDelivery};
use crate::engine::publication::{Content, Publication};
use crate::policy::limits::IDEMPOTENCY_WINDOW;

/// A publisher's request that is being delivered.
pub(super) struct Request {
    accepted: u64,
    duplicates: u64,
    offset: u64,
    delivered: u64,
    /// Idempotency key and offset of each publication whose frames are not counted yet, in order.
    waiting: VecDeque<(Option<String>, u64)>,
}

/// A message that a client publishes.
pub(super) struct ClientMessage {
    pub(super) publication: Box<Publication>,
    pub(super) keep: bool,
    pub(super) origin: Origin,
}

impl Stream {
    /// Publishes all publications of a request or refuses them all. A remembered one is counted but not sent again.
    pub(in crate::engine) fn publish(
        &mut self,
        now: u64,
        publications: Vec<Publication>,
        remembered: BTreeMap<String, Remembered>,
        out: &mut Out,
    ) {
        match self.rate.wait(publications.len() as u64, now) {
            0 => {
                self.rate.take(publications.len() as u64, now);
                self.publish_all(now, publications, remembered, out);
            }
            wait => {
                let refusal = Refusal { retry_after: Some(wait), ..Refusal::of(Code::RateLimited) };
                out.run(Task::Published(Err(refusal)));
            }
        }
    }

    /// The same, for publications that were charged to someone else.
    pub(in crate::engine) fn publish_all(
        &mut self,
        now: u64,
        publications: Vec<Publication>,
        mut remembered: BTreeMap<String, Remembered>,
        out: &mut Out,
    ) {
        let accepted = publications.len() as u64;
        if let Some(refusal) = publications.iter().enumerate().find_map(|one| self.refuse_table(one)) {
            out.run(Task::Published(Err(refusal)));
            return;
        }
        remembered.retain(|_, answer| now.saturating_sub(answer.time) < IDEMPOTENCY_WINDOW);
        let mut request = Request { accepted, duplicates: 0, offset: 0, delivered: 0, waiting: Default::default() };
        let mut taken: Vec<String> = Vec::new();
        for publication in publications {
            if let Some(answer) = publication.id.as_ref().and_then(|id| remembered.get(id)) {
                request.duplicates += 1;
                request.offset = request.offset.max(answer.offset);
                request.delivered += answer.delivered;
            } else if publication.id.as_ref().is_some_and(|id| taken.contains(id)) {
                request.duplicates += 1;
            } else {
                let id = publication.id.clone();
                taken.extend(id.clone());
                let keep = self.is_retained(&publication);
                let offset = self.accept(now, publication, keep, (None, None), out);
                request.offset = offset;
                request.waiting.push_back((id, offset));
            }
        }
        self.request = Some(request);
        self.answer_when_delivered(out);
    }

    /// Why a change of this table may not be published.
    fn refuse_table(&self, (index, publication): (usize, &Publication)) -> Option<Refusal> {
        let Content::Change { schema, table, .. } = &publication.content else { return None };
        if self.catalog.as_ref().is_some_and(|catalog| catalog.enabled(schema, table).is_some()) {
            let message = format!("the table of event {} is the database's, which tells its changes itself", index + 1);
            return Some(Refusal::because(Code::InvalidRequest, message));
        }
        let what = self.configuration.tables.check(schema, table).err()?;
        Some(Refusal::because(Code::InvalidRequest, format!("the table of event {} {what}", index + 1)))
    }

    /// Publishes an authorized message of a client, after looking up its idempotency key if it has one.
    pub(super) fn publish_for_client(&mut self, now: u64, message: ClientMessage, out: &mut Out) {
        if message.origin.key.is_none() {
            self.accept(now, *message.publication, message.keep, (Some(message.origin), None), out);
            return;
        }
        self.recalling.push_back(message);
        if self.recalling.len() == 1 {
            self.recall(out);
        }
    }

    /// Looks up the key of the message that has waited longest. The next look-up follows its writes.
    fn recall(&self, out: &mut Out) {
        let key = self.recalling.front().and_then(|message| message.origin.key.clone());
        key.into_iter().for_each(|key| out.run(Task::Recall(key)));
    }

    /// The client whose message has waited longest for its key.
    pub(in crate::engine) fn recalling(&self) -> Option<&Origin> {
        self.recalling.front().map(|message| &message.origin)
    }

    /// Publishes the message that has waited longest, or repeats the first answer if its key is remembered.
    pub(in crate::engine) fn recalled(&mut self, now: u64, remembered: Option<Remembered>, out: &mut Out) {
        let Some(ClientMessage { publication, keep, origin }) = self.recalling.pop_front() else { return };
        let is_known = remembered.is_some_and(|answer| now.saturating_sub(answer.time) < IDEMPOTENCY_WINDOW);
        if is_known {
            let id = origin.acknowledge.into_iter();
            out.to_delivery.extend(id.map(|id| ToDelivery::Done { session: origin.session, id }));
        } else if let Some(id) = origin.key.clone() {
            let offset = self.accept(now, *publication, keep, (Some(origin), None), out);
            let answer = Remembered { time: now, offset, delivered: 0 };
            let forget = now.saturating_sub(IDEMPOTENCY_WINDOW);
            out.run(Task::Write(Write::Remember { id, answer, forget }));
        }
        self.recall(out);
    }

    /// Counts the frames of the publication that has waited longest.
    pub(super) fn delivered(&mut self, now: u64, frames: u64, out: &mut Out) {
        self.deliveries += frames;
        let Some(request) = &mut self.request else { return };
        request.delivered += frames;
        if let Some((Some(id), offset)) = request.waiting.pop_front() {
            let answer = Remembered { time: now, offset, delivered: frames };
            let forget = now.saturating_sub(IDEMPOTENCY_WINDOW);
            out.run(Task::Write(Write::Remember { id, answer, forget }));
        }
        self.answer_when_delivered(out);
    }

    /// Whether a publication of the API worker is retained.
    pub(super) fn is_retained(&self, publication: &Publication) -> bool {
        let may_be = match &publication.content {
            Content::Change { schema, table, .. } => self.configuration.tables.get(schema, table).history,
            Content::Message { .. } => true,
        };
        may_be && publication.history
    }

    /// Accepts a publication. One that is not retained does not advance the offset, because an offset without a row
    /// would be assigned again after a restart.
    pub(super) fn accept(
        &mut self,
        now: u64,
        publication: Publication,
        keep: bool,
        (origin, verdict): (Option<Origin>, Option<Rc<Verdict>>),
        out: &mut Out,
    ) -> u64 {
        self.begin(out);
        self.publications += 1;
        let offset = if keep { self.history.append(now, &publication, out) } else { self.history.offset() };
        let accepted = Accepted { publication: Rc::new(publication), offset, time: now, is_retained: keep, verdict };
        out.to_delivery.push_back(ToDelivery::Publish { accepted, origin });
        offset
    }

    fn answer_when_delivered(&mut self, out: &mut Out) {
        if let Some(request) = self.request.take_if(|request| request.waiting.is_empty()) {
            out.run(Task::Published(Ok(Receipt {
                accepted: request.accepted,
                duplicate: request.duplicates > 0 && request.duplicates == request.accepted,
                epoch: self.epoch.clone(),
                offset: request.offset,
                delivered: request.delivered,
                is_at_least: self.configuration.relays.is_some(),
            })));
        }
    }
}
