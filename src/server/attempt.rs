//! One attempt to connect, and the budget of the address that it comes from (docs/security.md, Refused attempts).

use super::handshake::HandshakeStep;
use super::request_head::RequestHead;
use crate::code::{Code, Refusal};
use crate::policy::attempts::{CredentialDigest, RefusedAttempts, is_charged};

/// The status with which an object refuses a credential, such as a ticket that was used before.
const UNAUTHORIZED: u16 = 401;
/// The status with which an object refuses an address whose budget is used up there.
const TOO_MANY_REQUESTS: u16 = 429;

/// An attempt to connect.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    /// Without one there is no budget.
    address: Option<String>,
    credential: Option<CredentialDigest>,
}

impl Attempt {
    /// The attempt that a request is.
    pub fn of(head: &RequestHead) -> Attempt {
        Attempt { address: head.address.clone(), credential: None }
    }

    /// Notes the credential that the next step rests on, and refuses the attempt if its address has used up its budget.
    /// `now` in Unix milliseconds; `limit`: refused attempts per minute.
    ///
    /// # Errors
    /// [`Code::TooManyAttempts`]
    pub fn check(
        &mut self,
        step: &HandshakeStep,
        known: &RefusedAttempts,
        now: u64,
        limit: u64,
    ) -> Result<(), Refusal> {
        self.credential = step.credential();
        if step.is_anonymous() {
            return Ok(());
        }
        self.address.as_deref().map_or(Ok(()), |address| known.check(now, limit, address, self.credential))
    }

    /// Charges the attempt if it was refused for its credential.
    pub fn refused(&self, code: Code, known: &mut RefusedAttempts, now: u64, limit: u64) {
        if let Some(address) = self.address.as_deref().filter(|_| is_charged(code)) {
            known.refuse(now, limit, address, self.credential);
        }
    }

    /// The same for the status of an object's answer.
    pub fn answered(&self, status: u16, known: &mut RefusedAttempts, now: u64, limit: u64) {
        match (&self.address, status) {
            (Some(address), UNAUTHORIZED) => known.refuse(now, limit, address, self.credential),
            // With a credential, it is some other limit.
            (Some(address), TOO_MANY_REQUESTS) if self.credential.is_none() => known.exhaust(now, limit, address),
            _ => {}
        }
    }
}

/// The code for a held socket whose organization's object answers with this status, or not at all.
pub fn refused_as(status: Option<u16>) -> Code {
    if status == Some(TOO_MANY_REQUESTS) { Code::TooManyAttempts } else { Code::Overloaded }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;
    use crate::dialect::read_configuration;
    use crate::policy::configuration::Configuration;
    use crate::policy::key_set::KeySet;
    use crate::policy::principal::Principal;
    use crate::server::admission::Admission;
    use crate::server::handshake;
    use crate::server::request_head::Query;

    const NOW: u64 = 1_800_000_000_000;
    const LIMIT: u64 = 5;

    fn configuration() -> Configuration {
        let read = |name: &str| matches!(name, "ACCESS_TOKEN" | "JWT_SECRET").then(|| "x".repeat(32));
        read_configuration(&read).unwrap()
    }

    /// A request for a socket; `token` in a header.
    fn head(address: &str, query: &str, token: Option<&str>) -> RequestHead {
        RequestHead {
            path: "/realtime/v1/websocket".to_owned(),
            query: Query::read(query),
            upgrade: Some("websocket".to_owned()),
            authorization: token.map(|token| ["Bearer ", token].concat()),
            address: (!address.is_empty()).then(|| address.to_owned()),
            ..RequestHead::default()
        }
    }

    /// What the Worker does with the request, up to the organization's object: why it is refused.
    fn refusal(known: &mut RefusedAttempts, head: &RequestHead) -> Option<Refusal> {
        let configuration = configuration();
        let mut attempt = Attempt::of(head);
        let step = handshake::admit(head, &configuration, NOW);
        let checked = step.and_then(|step| attempt.check(&step, known, NOW, LIMIT).map(|()| step));
        let refusal = match checked {
            Ok(HandshakeStep::Verify(unverified)) => {
                let proven = configuration.credentials.verify(NOW, unverified.credential(), &KeySet::default());
                unverified.conclude(&configuration.credentials, proven).err()
            }
            checked => checked.err(),
        }?;
        attempt.refused(refusal.code, known, NOW, LIMIT);
        Some(refusal)
    }

    #[test]
    fn the_same_credential_is_looked_at_a_few_times_and_another_one_always() {
        let mut known = RefusedAttempts::default();
        let eve = head("192.0.2.1", "organizationId=org_1", Some("bad"));
        for _ in 0..LIMIT {
            assert_eq!(refusal(&mut known, &eve).unwrap().code, Code::InvalidToken);
        }
        for _ in 0..2 * LIMIT {
            let refusal = refusal(&mut known, &eve).unwrap();
            assert_eq!((refusal.code, refusal.retry_after), (Code::TooManyAttempts, Some(12_000)));
        }
        for other in [
            head("192.0.2.1", "organizationId=org_1", Some("another")),
            head("192.0.2.1", "organizationId=org_2", Some("bad")),
            head("192.0.2.1", "vsn=1.0.0&apikey=bad", None),
            head("192.0.2.2", "organizationId=org_1", Some("bad")),
            head("", "organizationId=org_1", Some("bad")),
        ] {
            assert_eq!(refusal(&mut known, &other).unwrap().code, Code::InvalidToken, "{other:?}");
        }
        // Whose first frame is to have the credential is not told apart from the others of the address.
        for silent in ["organizationId=org_1", ""] {
            let stranger = head("192.0.2.1", silent, None);
            assert_eq!(refusal(&mut known, &stranger).unwrap().code, Code::TooManyAttempts);
            assert_eq!(refusal(&mut known, &head("192.0.2.3", silent, None)), None);
        }
    }

    #[test]
    fn what_only_the_object_knows_is_learnt_from_its_answer() {
        let mut known = RefusedAttempts::default();
        let stranger = head("192.0.2.1", "organizationId=org_1", None);
        let attempt = Attempt::of(&stranger);
        for status in [101, 404, 503] {
            attempt.answered(status, &mut known, NOW, LIMIT);
        }
        assert_eq!(refusal(&mut known, &stranger), None);
        attempt.answered(429, &mut known, NOW, LIMIT);
        assert_eq!(refusal(&mut known, &stranger).unwrap().code, Code::TooManyAttempts);
        // Who needs no credential has none that could be refused.
        let anonymous = Admission { principal: Some(Principal::anonymous("anyone")), ..Admission::default() };
        let anonymous = HandshakeStep::Open("org_1".to_owned(), Box::new(anonymous));
        assert!(Attempt::of(&stranger).check(&anonymous, &known, NOW, LIMIT).is_ok());
        // A ticket that was used before is refused by the object.
        let ticket = Attempt {
            address: Some("192.0.2.2".to_owned()),
            credential: Some(crate::policy::attempts::CredentialDigest::of("org_1", "t1")),
        };
        let mut known = RefusedAttempts::default();
        (0..LIMIT).for_each(|_| ticket.answered(401, &mut known, NOW, LIMIT));
        assert!(known.check(NOW, LIMIT, "192.0.2.2", ticket.credential).is_err());
        ticket.answered(429, &mut known, NOW, LIMIT);
        assert!(known.check(NOW, LIMIT, "192.0.2.3", ticket.credential).is_ok());
        assert_eq!((refused_as(Some(429)), refused_as(None)), (Code::TooManyAttempts, Code::Overloaded));
    }
}
