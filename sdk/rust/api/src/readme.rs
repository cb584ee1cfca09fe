//! The example of the crate's README.

use realtime_worker_client::{Mask, MaskRule, Options, Realtime, RealtimeError, Show};
use serde_json::json;
use worker::Env;

/// Closes a claim, and tells everyone of its organization; only admins see the number.
pub async fn close_claim(env: &Env) -> Result<u64, RealtimeError> {
    // The service binding `REALTIME`, else the address in `REALTIME_URL`; and the secret `ACCESS_TOKEN`.
    let realtime = Realtime::new(env)?;

    // After the commit:
    let old = json!({ "id": "c1", "status": "open", "ssn": "123-45-6789" });
    let new = json!({ "id": "c1", "status": "closed", "ssn": "123-45-6789" });
    let admins = Show { roles: vec!["admin".into()], owner: false };
    let rule = MaskRule { mask: Mask::Ssn, show: admins };
    let options = Options { masking_config: [("ssn".to_owned(), rule)].into(), ..Options::default() };
    let receipt = realtime.update("claims", &new, Some(&old), "org_1", &options).await?;
    Ok(receipt.delivered)
}
