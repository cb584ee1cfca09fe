//! `POST /realtime/v1/events`: a frame from the client of an event stream (docs/protocol-event-stream.md, Sending). Its
//! results are sent on the stream.

use std::rc::Rc;

use super::EVENTS;
use crate::code::{Code, Refusal};
use crate::engine::relay::Peer;
use crate::policy::configuration::Configuration;
use crate::policy::stream_key::StreamKey;
use crate::server::answer::Answer;
use crate::server::api::{Api, ApiStep, Cors, ObjectRequest, Rejected};
use crate::server::request_head::RequestHead;
use crate::server::streaming::{FRAME, frame_body};

/// The endpoint.
pub struct Frames;

impl Api for Frames {
    fn methods(&self, path: &str) -> Option<&'static [&'static str]> {
        (path == EVENTS).then_some(&["POST"])
    }

    fn cors(&self) -> Cors {
        Cors { methods: "GET, POST", headers: "authorization, content-type, last-event-id" }
    }

    fn rejected(&self, code: Code) -> Rejected {
        rejected(Refusal::of(code))
    }

    fn call(&self, head: Rc<RequestHead>, configuration: &Configuration) -> Result<ApiStep, Rejected> {
        head.check_origin(configuration).map_err(|code| self.rejected(code))?;
        let key = head.bearer().ok_or_else(|| self.rejected(Code::Unauthorized))?;
        let key = StreamKey::verify(key, configuration.access_tokens.iter()).map_err(|code| self.rejected(code))?;
        Ok(ApiStep::read_body(move |_, body| {
            let frame = String::from_utf8(body).map_err(|_| rejected(Refusal::of(Code::InvalidRequest)))?;
            let body = Some(frame_body(&key.client_id, &frame));
            let request = ObjectRequest { organization: key.organization, peer: Peer::Root, path: FRAME, body };
            Ok(ApiStep::ask(request, |_, status, body| {
                Ok(ApiStep::Answer(Answer { status, body: body.to_owned(), retry_after: None }))
            }))
        }))
    }
}

fn rejected(refusal: Refusal) -> Rejected {
    Rejected { code: refusal.code, answer: Answer::from(&refusal) }
}
