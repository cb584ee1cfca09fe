//! Fetches the key set of `JWKS_URL`.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use js_sys::futures::JsFuture;
use js_sys::{Array, Promise};
use wasm_bindgen::prelude::*;
use worker::{AbortController, AbortSignal, Delay, Fetch, Request, RequestInit, RequestRedirect, Response};

use super::fault::log_fault;
use super::runtime::now;
use crate::policy::credential::{Credentials, Proven};
use crate::policy::key_set::KeySet;
use crate::policy::shared_keys::{Fetched, KeySetStep, PATIENCE, PAUSE, SharedKeys};
use crate::policy::token::TokenError;
use crate::server::fault::Fault;

/// The longest key set, in bytes.
const MAX_BYTES: usize = 256 * 1024;
/// How many redirects are followed, all within the origin of `JWKS_URL`.
const MAX_REDIRECTS: usize = 3;
/// The polling interval of a request that waits for another request's fetch. It cannot await the other's promise: the
/// runtime cancels a request whose client has disconnected, and its promise would never settle.
const LOOK: Duration = Duration::from_millis(20);

thread_local! {
    /// The key set of this isolate, shared by all requests that the Worker itself verifies.
    static KEYS: RefCell<KeySet> = RefCell::default();
    /// The same as text, for this isolate's objects.
    static SHARED: RefCell<SharedKeys> = RefCell::default();
}

// The Cache API, shared by all isolates of a data centre. A separate cache, so that the zone's cache of this URL is
// neither read nor written.
#[wasm_bindgen(inline_js = "
const opened = () => caches.open('realtime-worker key sets');
export async function cached(url) {
  const response = await (await opened()).match(url);
  return response && [Number(response.headers.get('x-fetched')), await response.text()];
}
export async function cache(url, fetched, text, seconds) {
  const headers = { 'cache-control': `max-age=${seconds}`, 'x-fetched': `${fetched}` };
  await (await opened()).put(url, new Response(text, { headers }));
}
")]
extern "C" {
    #[wasm_bindgen(catch)]
    fn cached(url: &str) -> Result<Promise, JsValue>;
    #[wasm_bindgen(catch)]
    fn cache(url: &str, fetched: f64, text: &str, seconds: f64) -> Result<Promise, JsValue>;
}

/// The key set that this isolate last fetched, and when, in Unix milliseconds.
pub fn latest() -> Option<Fetched> {
    SHARED.with_borrow(|shared| shared.latest().cloned())
}

/// The key set, fetched unless this isolate has just done so; `None` if the issuer does not answer in time, or answers
/// with something else.
pub async fn fetch(url: &str) -> Option<Fetched> {
    let since = now();
    loop {
        match SHARED.with_borrow(|shared| shared.step(since, now())) {
            KeySetStep::Use(latest) => return latest,
            KeySetStep::Wait => Delay::from(LOOK).await,
            KeySetStep::Fetch => {
                SHARED.with_borrow_mut(|shared| shared.begin(now()));
                fetch_for_all(url).await;
            }
        }
    }
}

/// Completes the fetch that was begun, from the cache or from the issuer.
async fn fetch_for_all(url: &str) {
    if let Some(fetched) = from_cache(url).await {
        return SHARED.with_borrow_mut(|shared| shared.end(now(), Some(fetched)));
    }
    let fetched = from_issuer(url).await.map(|text| (now(), text)).map_err(|fault| log_fault(fault.during("key set")));
    SHARED.with_borrow_mut(|shared| shared.end(now(), fetched.as_ref().ok().cloned()));
    if let Ok((time, text)) = fetched {
        let written = settled(cache(url, time as f64, &text, (PAUSE / 1_000) as f64)).await;
        let _ = written.map_err(|error| log_fault(Fault::from(error).during("cache of key sets")));
    }
}

async fn settled(promise: Result<Promise, JsValue>) -> Result<JsValue, JsValue> {
    JsFuture::from(promise?).await
}

/// What another isolate has fetched within [`PAUSE`]. A failing cache counts as empty.
async fn from_cache(url: &str) -> Option<Fetched> {
    let found = settled(cached(url)).await;
    let found = found.map_err(|error| log_fault(Fault::from(error).during("cache of key sets"))).ok()?;
    let found = found.dyn_into::<Array>().ok()?;
    let (fetched, text) = (found.get(0).as_f64()? as u64, found.get(1).as_string()?);
    (now().checked_sub(fetched)? < PAUSE).then_some((fetched, text))
}

async fn from_issuer(url: &str) -> Result<String, Fault> {
    let controller = AbortController::default();
    let signal = controller.signal();
    let patience = Delay::from(Duration::from_millis(PATIENCE));
    let answer = match select(std::pin::pin!(read(url, &signal)), std::pin::pin!(patience)).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => Err(Fault::new("no answer in time")),
    };
    if answer.is_err() {
        // Cancels the rest of the body.
        controller.abort();
    }
    let text = answer?;
    if KeySet::default().answered(now(), Some(&text)) { Ok(text) } else { Err(Fault::new("the answer is none")) }
}

/// Follows redirects within the origin only: another origin could supply its own keys, and over plain HTTP anybody
/// could.
async fn read(url: &str, signal: &AbortSignal) -> Result<String, Fault> {
    let origin = web_sys::Url::new(url)?.origin();
    let mut url = url.to_owned();
    for _ in 0..=MAX_REDIRECTS {
        let mut init = RequestInit::new();
        init.with_redirect(RequestRedirect::Manual);
        let response = Fetch::Request(Request::new_with_init(&url, &init)?).send_with_signal(signal).await?;
        match response.status_code() {
            200 => return body(response).await,
            301 | 302 | 303 | 307 | 308 => {}
            status => return Err(Fault::new(format!("status {status}"))),
        }
        let location = response.headers().get("location")?.unwrap_or_default();
        let target = web_sys::Url::new_with_base(&location, &url)?;
        if target.origin() != origin {
            return Err(Fault::new("a redirect to another origin"));
        }
        url = target.href();
    }
    Err(Fault::new("too many redirects"))
}

/// A body, up to the maximum length of a key set.
async fn body(mut response: Response) -> Result<String, Fault> {
    let mut stream = response.stream()?;
    let mut body = Vec::new();
    while let Some(chunk) = stream.next().await {
        body.extend(chunk?);
        if body.len() > MAX_BYTES {
            return Err(Fault::new("the answer is too long"));
        }
    }
    String::from_utf8(body).map_err(|_| Fault::new("the answer is no UTF-8"))
}

/// Verifies a credential with the isolate's key set, which is fetched if needed.
///
/// # Errors
/// Why it is refused.
pub async fn verify<'a>(credentials: &'a Credentials, credential: &str) -> Result<Proven<'a>, TokenError> {
    let verify = || KEYS.with_borrow(|keys| credentials.verify(now(), credential, keys));
    match verify() {
        Err(TokenError::NeedsKeys) => {}
        proven => return proven,
    }
    let url = credentials.tokens.key_set_url.as_deref().unwrap_or_default();
    let answer = fetch(url).await;
    KEYS.with_borrow_mut(|keys| keys.shared(now(), answer.as_ref().map(|(time, text)| (*time, text.as_str()))));
    verify()
}
