//! Breaches of personal data, as the security team and the operator handle
//! them.

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

/// What the refusal of an event says.
pub async fn refused(stack: &Stack, detail_type: &str, detail: &Value) -> String {
    let event = delivery(detail_type, detail);
    let failed = stack.aws().invoke_to_the_end(&stack.function("notify-breach"), &event).await;
    assert!(failed["errorType"].is_string(), "it was accepted: {failed}");
    failed.to_string()
}
