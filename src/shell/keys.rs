//! Fetching the key set of `JWKS_URL`.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future::{Either, select};
use worker::{Delay, Fetch, Method, Request};

use super::runtime::now;
use crate::policy::credential::{Credentials, Proven};
use crate::policy::key_set::KeySet;
use crate::policy::token::TokenError;

/// How long the issuer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a key set.
const MAX_BYTES: usize = 256 * 1024;

thread_local! {
    /// The key set of this isolate, shared by all requests that the Worker itself authenticates.
    static KEYS: RefCell<KeySet> = RefCell::default();
    /// The same as text, for the objects of this isolate that wake, and when it came.
    static LATEST: RefCell<Option<(u64, String)>> = RefCell::default();
}

/// The key set as somebody in this isolate last fetched it, and when, in Unix milliseconds.
pub fn latest() -> Option<(u64, String)> {
    LATEST.with_borrow(Clone::clone)
}

/// The key set's text; `None` when the issuer does not answer in time or says something else.
pub async fn fetch(url: &str) -> Option<String> {
    let request = Request::new(url, Method::Get).ok()?;
    let answer = async {
        let mut response = Fetch::Request(request).send().await.ok()?;
        let is_ok = response.status_code() == 200;
        response.text().await.ok().filter(|text| is_ok && text.len() <= MAX_BYTES)
    };
    let answer = match select(std::pin::pin!(answer), std::pin::pin!(Delay::from(PATIENCE))).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => None,
    };
    // What is no key set must not take the place of one that still serves.
    if let Some(text) = answer.as_ref().filter(|text| KeySet::default().answered(now(), Some(text))) {
        LATEST.set(Some((now(), text.clone())));
    }
    answer
}

/// What a credential proves, with the isolate's key set, fetched where that is needed.
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
    KEYS.with_borrow_mut(|keys| keys.answered(now(), answer.as_deref()));
    verify()
}
