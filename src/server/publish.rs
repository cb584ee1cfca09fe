//! The body of `POST /broadcast` (docs/protocol-native.md, Publishing).

use crate::code::{Code, Refusal};
use crate::engine::publication::Publication;
use crate::policy::limits::BATCH_EVENTS;
use crate::policy::organization::is_organization;
use crate::value::form::Form;
use crate::value::json;

/// A publisher's request, read and found to be of the documented form.
#[derive(Clone, Debug)]
pub struct PublishRequest {
    /// The tenant.
    pub organization: String,
    /// In the order in which they are to be delivered.
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

    /// Reads what a client publishes, as the Worker hands it over: the same body, with the client's user in `publisher`.
    ///
    /// # Errors
    /// The same.
    pub fn read_for_client(body: &str) -> Result<(Option<String>, Vec<Publication>), Refusal> {
        let mut form = Form::read(body, Code::InvalidRequest)?;
        organization(&mut form)?;
        let user = form.take("publisher").map(|user| user.text()).transpose()?;
        Ok((user, PublishRequest::publications(form, body)?))
    }

    /// The organization that a body names, which the Worker routes by; the organization's object reads all of it.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`] when the body is no JSON object or names none.
    pub fn organization(body: &str) -> Result<String, Refusal> {
        organization(&mut Form::read(body, Code::InvalidRequest)?)
    }

    /// The idempotency keys, to be looked up before the request is handled.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.publications.iter().filter_map(|publication| publication.id.as_deref())
    }
}

/// The request by which an organization's object is told of these (docs/protocol-native.md, Publishing).
pub fn request(organization: &str, user: Option<&str>, publications: &[Publication]) -> String {
    let mut body = String::from("{\"organizationId\":");
    json::write_string(&mut body, organization);
    if let Some(user) = user {
        body.push_str(",\"publisher\":");
        json::write_string(&mut body, user);
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
