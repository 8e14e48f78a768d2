//! Mail that comes back, as SES tells of it.

use serde_json::{Value, json};

use crate::Stack;

/// The event about the message `mail` of a tenant, in the form of the examples of
/// SES's developer guide, to the recipient `to`.
pub fn event(set: &str, (slug, mail): (&str, &str), to: &str, (kind, sub): (&str, &str)) -> Value {
    json!({
        "version": "0",
        "id": "a53f29a1-2a2d-4c8e-a6f4-5c1b0a9c7c11",
        "detail-type": "Email Bounced",
        "source": "aws.ses",
        "account": "123456789012",
        "time": "2026-11-02T10:00:02Z",
        "region": "eu-west-1",
        "resources": [format!("arn:aws:ses:eu-west-1:123456789012:configuration-set/{set}")],
        "detail": {
            "eventType": "Bounce",
            "bounce": {
                "bounceType": kind,
                "bounceSubType": sub,
                "bouncedRecipients": [{
                    "emailAddress": to, "action": "failed", "status": "5.1.1",
                    "diagnosticCode": format!("smtp; 550 5.1.1 <{to}>: user unknown"),
                }],
                "timestamp": "2026-11-02T10:00:02.669Z",
                "feedbackId": "0102-feedback",
                "reportingMTA": "dsn; mta.example.com",
            },
            "mail": {
                "timestamp": "2026-11-02T10:00:00.012Z",
                "source": "no-reply@keystone.example",
                "sendingAccountId": "123456789012",
                "messageId": "0102-message",
                "destination": [to],
                "headersTruncated": false,
                "headers": [{ "name": "To", "value": to }],
                "commonHeaders": { "to": [to] },
                "tags": {
                    "ses:configuration-set": [set],
                    "ses:from-domain": ["keystone.example"],
                    "tenant": [slug],
                    "mail": [mail],
                },
            },
        },
    })
}

/// Hands the event to `record-bounce` as the queue does; how many messages it
/// recorded.
pub async fn record(stack: &Stack, event: &Value) -> Value {
    let message = json!({ "Records": [{ "body": event.to_string() }] });
    stack.aws().invoke(&stack.function("record-bounce"), &message).await
}
