//! The body of `POST /broadcast` (docs/protocol-native.md, Publishing).

use sha2::{Digest, Sha256};

use super::api::ObjectRequest;
use super::request_head::RequestHead;
use crate::code::{Code, Refusal};
use crate::engine::input::Publisher;
use crate::engine::publication::Publication;
use crate::engine::relay::Peer;
use crate::policy::limits::BATCH_EVENTS;
use crate::policy::organization::is_organization;
use crate::policy::principal::Principal;
use crate::value::form::Form;
use crate::value::json;

/// The JSON keys under which the Worker names the payer.
const USER: &str = "publisher";
const KEY: &str = "publisherKey";
const ADDRESS: &str = "publisherAddress";
/// Bytes of the digest of a key.
const KEY_DIGEST: usize = 8;

/// A publisher's request, validated.
#[derive(Clone, Debug)]
pub struct PublishRequest {
    /// The tenant.
    pub organization: String,
    /// In the order of delivery.
    pub publications: Vec<Publication>,
}

impl PublishRequest {
    /// Reads a body: one event, or several under `messages`.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`] or [`Code::UnknownMaskType`] with the path of the offending key.
    pub fn read(body: &str) -> Result<PublishRequest, Refusal> {
        let mut form = Form::read(body, Code::InvalidRequest)?;
        let organization = organization(&mut form)?;
        Ok(PublishRequest { organization, publications: PublishRequest::publications(form, body)? })
    }

    fn publications(mut form: Form<'_>, body: &str) -> Result<Vec<Publication>, Refusal> {
        let Some(messages) = form.take("messages") else { return Ok(vec![Publication::read(form, body)?]) };
        form.finish()?;
        let messages = messages.list(BATCH_EVENTS)?;
        if messages.is_empty() {
            return Err(Refusal::at(Code::InvalidRequest, "messages", "messages must not be empty"));
        }
        messages.iter().map(|message| Publication::read(message.form()?, message.json())).collect()
    }

    /// Reads a client's publications as the Worker forwards them: the same body, with the payer.
    ///
    /// # Errors
    /// The same.
    pub fn read_for_client(body: &str) -> Result<(Publisher, Vec<Publication>), Refusal> {
        let mut form = Form::read(body, Code::InvalidRequest)?;
        organization(&mut form)?;
        let mut text = |name| form.take(name).map(|value| value.text()).transpose();
        let publisher = Publisher { user: text(USER)?, key: text(KEY)?, address: text(ADDRESS)? };
        Ok((publisher, PublishRequest::publications(form, body)?))
    }

    /// The organization of a body, for routing; the organization's object reads the rest.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`] when the body is not a JSON object, or names none.
    pub fn organization(body: &str) -> Result<String, Refusal> {
        organization(&mut Form::read(body, Code::InvalidRequest)?)
    }

    /// The idempotency keys, to be looked up before the request is handled.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.publications.iter().filter_map(|publication| publication.id.as_deref())
    }
}

/// Who is charged for a client's publications over HTTP. Clients without a user often share a key, which is identified
/// by its digest.
fn publisher(head: &RequestHead, principal: &Principal) -> Publisher {
    let presented = || head.bearer().or(head.api_key.as_deref()).unwrap_or_default();
    let digest = || -> [u8; 32] { Sha256::digest(presented().as_bytes()).into() };
    let key = || digest().iter().take(KEY_DIGEST).map(|byte| format!("{byte:02x}")).collect();
    Publisher { user: principal.user.clone(), key: principal.user.is_none().then(key), address: head.address.clone() }
}

/// The request that passes publications of the API worker or of a client to an organization's object.
pub fn object_request(
    head: &RequestHead,
    organization: String,
    client: Option<&Principal>,
    publications: &[Publication],
) -> ObjectRequest {
    let publisher = client.map(|principal| publisher(head, principal));
    let body = Some(request(&organization, publisher.as_ref(), publications));
    let path = if publisher.is_some() { "/publish-for-client" } else { "/publish" };
    ObjectRequest { organization, peer: Peer::Root, path, body }
}

/// The body of that request (docs/protocol-native.md, Publishing).
pub fn request(organization: &str, publisher: Option<&Publisher>, publications: &[Publication]) -> String {
    let mut body = String::from("{\"organizationId\":");
    json::write_string(&mut body, organization);
    if let Some(Publisher { user, key, address }) = publisher {
        for (name, value) in [(USER, user), (KEY, key), (ADDRESS, address)] {
            let Some(value) = value else { continue };
            body.push_str(&format!(",\"{name}\":"));
            json::write_string(&mut body, value);
        }
    }
    body.push_str(",\"messages\":[");
    for (index, publication) in publications.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        body.push_str(&publication.source);
    }
    body.push_str("]}");
    body
}

fn organization(form: &mut Form<'_>) -> Result<String, Refusal> {
    let organization = form.require("organizationId")?;
    let name = organization.text()?;
    if is_organization(&name) {
        return Ok(name);
    }
    Err(organization.refuse("must be 1 to 128 characters of A-Z, a-z, 0-9, _ . : -"))
}
