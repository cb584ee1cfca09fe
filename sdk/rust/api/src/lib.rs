//! An API worker that publishes one message of each kind, after its (imaginary) commit; at `/outbox`, together with its
//! commit.
#![cfg(target_arch = "wasm32")]

mod outbox;
mod readme;

use realtime_worker_client::{Encoding, Mask, MaskRule, Message, Options, Realtime, RealtimeError, Show};
use serde_json::json;
use worker::{Context, Env, Request, Response, Result, event};

const ORGANIZATION: &str = "org_1";

#[event(fetch)]
async fn fetch(mut request: Request, env: Env, _context: Context) -> Result<Response> {
    let path = request.path();
    let answer = if path.starts_with("/outbox") {
        outbox::answer(&mut request, &env).await
    } else {
        publish(&path, &env).await.map(|delivered| json!({ "delivered": delivered }))
    };
    match answer {
        Ok(answer) => Response::from_json(&answer),
        Err(error) => Response::from_json(&json!({ "code": error.code, "status": error.status, "field": error.field })),
    }
}

async fn publish(path: &str, env: &Env) -> std::result::Result<u64, RealtimeError> {
    let realtime = Realtime::new(env)?;
    let everyone = Options::default();
    if path == "/refused" {
        return Ok(realtime.broadcast("", &(), ORGANIZATION, &everyone).await?.delivered);
    }
    if path == "/readme" {
        return readme::close_claim(env).await;
    }
    if path == "/kinds" {
        return kinds(&realtime).await;
    }
    let (open, closed) = (json!({ "id": "c1", "open": true }), json!({ "id": "c1", "open": false }));
    let rule = MaskRule { mask: Mask::Name, show: Show { roles: vec!["admin".into()], owner: false } };
    let masked = Options { masking_config: [("title".to_owned(), rule)].into(), ..Options::default() };
    let receipts = [
        realtime.insert("claims", &json!({ "id": "c1", "title": "First" }), ORGANIZATION, &masked).await?,
        realtime.update("claims", &closed, Some(&open), ORGANIZATION, &everyone).await?,
        realtime.delete("claims", &closed, ORGANIZATION, &everyone).await?,
        realtime.broadcast("extraction:started", &json!({ "materialId": 1 }), ORGANIZATION, &everyone).await?,
        realtime.broadcast("private", &1, ORGANIZATION, &Options::to_user("mel")).await?,
    ];
    let messages = vec![
        Message::broadcast("first", &1, &everyone)?,
        Message::broadcast("second", &2, &Options::to_roles(["member"]))?,
    ];
    let batch = realtime.batch(ORGANIZATION, messages).await?;
    Ok(receipts.iter().map(|receipt| receipt.delivered).sum::<u64>() + batch.delivered)
}

/// Bytes, column types, and a message that is not retained.
async fn kinds(realtime: &Realtime) -> std::result::Result<u64, RealtimeError> {
    let bytes = Options { encoding: Some(Encoding::Base64), ..Options::default() };
    let types = [("id", "int8"), ("amount", "numeric")].map(|(column, name)| (column.to_owned(), name.to_owned()));
    let typed = Options { columns: types.into(), history: Some(false), ..Options::default() };
    let receipts = [
        realtime.insert("payments", &json!({ "id": "7", "amount": "1.5" }), ORGANIZATION, &typed).await?,
        realtime.broadcast("waveform", &"AAEC", ORGANIZATION, &bytes).await?,
    ];
    Ok(receipts.iter().map(|receipt| receipt.delivered).sum())
}
