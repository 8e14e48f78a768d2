//! Breaches of personal data, as the security team and the operator handle
//! them.

use std::time::Duration;

use keystone::clock;
use mongodb::bson::{DateTime, Document, doc};
use serde_json::{Value, json};

use crate::Stack;

/// The event that the queue hands to `notify-breach`.
pub fn delivery(detail_type: &str, detail: &Value) -> Value {
    let event = json!({
        "version": "0", "source": "keystone.security", "detail-type": detail_type,
        "detail": detail,
    });
    json!({ "Records": [{ "body": event.to_string() }] })
}

/// Delivers an event, which must be accepted.
pub async fn notify(stack: &Stack, detail_type: &str, detail: &Value) {
    let event = delivery(detail_type, detail);
    let done = stack.aws().invoke(&stack.function("notify-breach"), &event).await;
    assert_eq!(done, json!(1));
}

/// Tells the tenant `slug` of a breach, and holds the mail before any run sends it:
/// from the moment at which it is in the outbox it is due in the far future.
pub async fn notify_and_hold(stack: &Stack, slug: &str, detail: &Value) {
    // What waits already is none of it.
    let only = json!({ "tenant": slug });
    stack.aws().invoke(stack.value("DRAIN_OUTBOX_FUNCTION"), &only).await;
    let began = DateTime::from_millis(clock::now().as_millisecond());
    let database = stack.database().await.database(&format!("t_{slug}"));
    let outbox = database.collection::<Document>("outbox");
    let catch = async {
        let new = doc! { "state": "pending", "created_at": { "$gte": began } };
        // In the year 2100.
        let due_at = DateTime::from_millis(4_102_444_800_000);
        let later = doc! { "$set": { "due_at": due_at, "attempts": 0 } };
        loop {
            let done = outbox.update_many(new.clone(), later.clone()).await;
            if done.expect("the database answers").matched_count > 0 {
                return;
            }
        }
    };
    let catch = tokio::time::timeout(Duration::from_mins(1), catch);
    let ((), caught) = futures::join!(notify(stack, "BreachConfirmed", detail), catch);
    caught.expect("the mail is in the outbox and nobody sent it");
}

/// What the refusal of an event says.
pub async fn refused(stack: &Stack, detail_type: &str, detail: &Value) -> String {
    let event = delivery(detail_type, detail);
    let failed = stack.aws().invoke_to_the_end(&stack.function("notify-breach"), &event).await;
    assert!(failed["errorType"].is_string(), "it was accepted: {failed}");
    failed.to_string()
}
