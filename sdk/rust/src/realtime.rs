//! The sender, which uses the runtime.

use serde::Serialize;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use worker::{Delay, Env, Fetch, Fetcher, Headers, Method, Request, RequestInit, RequestRedirect, Response};

use crate::backoff::Backoff;
use crate::error::{RealtimeError, Receipt, read_answer};
use crate::message::{Message, Options, batch_body};
use crate::publishing::publishing_functions;

/// Connects an API worker to the realtime Worker. It holds no state between calls.
pub struct Realtime {
    service: Service,
    url: String,
    token: String,
    /// How often to retry.
    pub backoff: Backoff,
}

enum Service {
    Binding(Fetcher),
    Address,
}

impl Realtime {
    /// Connects through the service binding `REALTIME` if there is one, otherwise to `REALTIME_URL`, with
    /// `ACCESS_TOKEN`.
    ///
    /// # Errors
    /// `configuration`, when one of them is missing.
    pub fn new(env: &Env) -> Result<Realtime, RealtimeError> {
        let text = |name: &str| env.secret(name).or_else(|_| env.var(name)).ok().map(|value| value.to_string());
        let missing = |what: &str| RealtimeError::here("configuration", format!("{what} is not set"));
        let token = text("ACCESS_TOKEN").ok_or_else(|| missing("ACCESS_TOKEN"))?;
        let (service, url) = match env.service("REALTIME") {
            Ok(binding) => (Service::Binding(binding), "https://realtime".to_owned()),
            Err(_) => (Service::Address, text("REALTIME_URL").ok_or_else(|| missing("REALTIME or REALTIME_URL"))?),
        };
        let url = format!("{}/broadcast", url.trim_end_matches('/'));
        Ok(Realtime { service, url, token, backoff: Backoff::default() })
    }

    publishing_functions!([async] publish [.await] -> Receipt, "When it cannot be published.");

    /// Up to 100 messages of one organization, accepted or rejected together, delivered in order.
    ///
    /// # Errors
    /// When they cannot be published.
    pub async fn batch(&self, organization_id: &str, messages: Vec<Message>) -> Result<Receipt, RealtimeError> {
        let messages = messages.into_iter().map(|message| message.with_id(random_uuid)).collect();
        self.send(&batch_body(organization_id, messages)).await
    }

    async fn publish(&self, organization_id: &str, message: Message) -> Result<Receipt, RealtimeError> {
        self.send(&message.with_id(random_uuid).body(organization_id)).await
    }

    /// Sends a body until it is accepted or another attempt is pointless. Every attempt has the same ids.
    pub(crate) async fn send(&self, body: &str) -> Result<Receipt, RealtimeError> {
        let mut tried = 0;
        loop {
            tried += 1;
            let error = match self.post(body).await {
                Ok(receipt) => return Ok(receipt),
                Err(error) => error,
            };
            match self.backoff.wait(tried, &error, js_sys::Math::random()) {
                Some(wait) => Delay::from(wait).await,
                None => return Err(error),
            }
        }
    }

    async fn post(&self, body: &str) -> Result<Receipt, RealtimeError> {
        let mut response = self.fetch(body).await.map_err(no_answer)?;
        let retry_after = response.headers().get("retry-after").ok().flatten();
        let text = response.text().await.map_err(no_answer)?;
        read_answer(response.status_code(), retry_after.as_deref(), &text)
    }

    async fn fetch(&self, body: &str) -> worker::Result<Response> {
        let headers = Headers::new();
        headers.set("authorization", &format!("Bearer {}", self.token))?;
        headers.set("content-type", "application/json")?;
        let mut init = RequestInit::new();
        // A redirected POST would become a GET somewhere else.
        init.with_method(Method::Post).with_headers(headers).with_redirect(RequestRedirect::Manual);
        init.with_body(Some(JsValue::from_str(body)));
        match &self.service {
            Service::Binding(binding) => binding.fetch(&self.url, Some(init)).await,
            Service::Address => Fetch::Request(Request::new_with_init(&self.url, &init)?).send().await,
        }
    }
}

/// Without the runtime's error text, which may contain the address.
fn no_answer(_: worker::Error) -> RealtimeError {
    RealtimeError::here("network", "no answer came")
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = crypto, js_name = randomUUID)]
    pub(crate) fn random_uuid() -> String;
}
