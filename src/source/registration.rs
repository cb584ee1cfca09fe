//! Registration: what organizations report of their listeners, and what the database says of it.

use std::rc::Rc;

use super::input::RequestId;
use super::link::Problem;
use super::task::SourceTask;
use super::{DatabaseSource, PROBE, SYNC, interest, refusal};

impl DatabaseSource {
    pub(super) fn interest(&mut self, now: u64, request: RequestId, body: String, out: &mut Vec<SourceTask>) {
        let Some(organization) = self.interests.tell(&body, out) else {
            out.push(SourceTask::Reply { request, status: 400, body: refusal("invalid_request") });
            return;
        };
        if self.interests.has_any() {
            self.closes_at = None;
            self.drains_at = None;
        }
        // This fails at once during a backoff; the organization repeats its request.
        if let Some(problem) = self.link.waits() {
            out.push(SourceTask::Reply { request, status: 503, body: refusal(problem.as_str()) });
            return;
        }
        if !self.interests.has_any() && !self.link.is_up() {
            out.push(SourceTask::Reply { request, status: 200, body: interest::nobody(&body) });
            return;
        }
        self.take_at = self.take_at.min(now.max(self.rests_until));
        self.queries.register(organization, Some(request), body);
    }

    pub(super) fn connected(&mut self, now: u64, listens: bool) {
        self.link.connected(listens);
        self.take_at = now;
        self.sync(now);
    }

    /// Synchronizes the captured tables with the publication, and registers every organization again to learn the
    /// result.
    pub(super) fn sync(&mut self, now: u64) {
        self.sync_at = now.saturating_add(SYNC);
        self.register_again(true);
        self.queries.sync();
    }

    /// Registers the organizations with listeners: all, or those that are not registered on this connection.
    pub(super) fn register_again(&mut self, is_all: bool) {
        for (organization, body) in self.interests.to_register(is_all) {
            if !self.queries.registers(organization) {
                self.queries.register(organization.clone(), None, body.to_owned());
            }
        }
    }

    pub(super) fn registered(
        &mut self,
        organization: Rc<str>,
        request: Option<RequestId>,
        body: String,
        out: &mut Vec<SourceTask>,
    ) {
        let is_news = self.interests.registered(&organization, interest::tables(&body));
        match request {
            Some(request) => out.push(SourceTask::Reply { request, status: 200, body }),
            None if !is_news => {}
            None => {
                let body = interest::feed(&self.database.name, Some(&body));
                out.push(SourceTask::Feed { organization, body });
            }
        }
    }

    /// The database rejects an organization's interest, or takes too long over it. What it registered before still holds;
    /// a request is repeated by the organization itself.
    pub(super) fn not_registered(
        &mut self,
        now: u64,
        organization: &str,
        request: Option<RequestId>,
        out: &mut Vec<SourceTask>,
    ) {
        let problem = Problem::QueryFailed.as_str();
        match request {
            Some(request) => out.push(SourceTask::Reply { request, status: 503, body: refusal(problem) }),
            None => self.retry_at = Some(now.saturating_add(PROBE)),
        }
        let details = vec![("problem", problem.to_owned()), ("organization", organization.to_owned())];
        out.push(SourceTask::Log { event: "not_registered", details });
    }
}
