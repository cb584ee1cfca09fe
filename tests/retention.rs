//! Retention: publications are retained for as long as the configuration says, and no longer, even if nobody publishes
//! any more.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

mod rig;

use rig::every_way;
use serde_json::json;

#[test]
fn the_last_publication_loses_its_text_in_time_and_keeps_its_place() {
    every_way(json!({ "history": { "seconds": 60 } }), |rig| {
        let secret = json!({ "organizationId": "org_1", "type": "broadcast", "event": "e", "payload": "secret" });
        rig.publish(secret.clone());
        rig.advance(30_000);
        let kept = |rig: &rig::Rig| rig.storage.history.values().filter(|row| row.text.contains("secret")).count();
        assert_eq!(kept(rig), 1);
        rig.advance(31_000);
        assert_eq!(kept(rig), 0);

        let epoch = rig.epoch();
        let token = rig.token("ada", &[]);
        let [lost, current] = [0, 1].map(|offset| {
            let client = rig.open();
            rig.authenticate_saying(&client, &token, json!({ "recover": { "epoch": epoch, "offset": offset } }));
            client
        });
        assert_eq!(lost.next()["recovered"], false);
        assert_eq!(current.next()["recovered"], true);
        rig.publish(secret);
        assert_eq!(current.next()["offset"], 2);
    });
}
