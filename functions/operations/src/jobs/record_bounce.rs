//! Records mail that came back, as SES tells of it.

use std::collections::HashMap;

use keystone::Problem;
use keystone::audit::entry::ActorKind;
use keystone::config::Setting;
use keystone::job::Job;
use keystone::mail::{MAIL_TAG, TENANT_TAG, bounce};
use keystone::tenant::{Id, Visit};
use schemars::JsonSchema;
use serde::Deserialize;

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 3] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable];

/// An event of SES as `EventBridge` wraps it. It also names the recipient, which
/// nobody here needs to know.
#[derive(Deserialize, JsonSchema)]
pub struct Envelope {
    detail: Detail,
}

/// What became of a message ("Contents of event data" in SES's developer guide).
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Detail {
    event_type: String,
    mail: Sent,
    #[serde(default)]
    bounce: Option<Bounce>,
}

#[derive(Deserialize, JsonSchema)]
struct Sent {
    #[serde(default)]
    tags: HashMap<String, Vec<String>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Bounce {
    bounce_type: String,
    bounce_sub_type: String,
}

impl Detail {
    /// Whether the message did not arrive. SES tells of a soft bounce only when it
    /// has stopped trying; a general one may also be an automatic answer, such as
    /// that somebody is on leave, to a message that did arrive.
    fn came_back(&self) -> bool {
        match (self.event_type.as_str(), &self.bounce) {
            ("Reject", _) => true,
            ("Bounce", Some(bounce)) => {
                (bounce.bounce_type.as_str(), bounce.bounce_sub_type.as_str())
                    != ("Transient", "General")
            }
            _ => false,
        }
    }

    /// Whose message it was, and which; `None` when it was none of ours.
    fn message(&self) -> Option<(&str, Id)> {
        let tag = |name| self.mail.tags.get(name)?.first().map(String::as_str);
        Some((tag(TENANT_TAG)?, tag(MAIL_TAG)?.parse().ok()?))
    }
}

/// The job. Returns how many messages were recorded as come back; what is known
/// and what is none of ours is passed over.
pub async fn handle(job: Job) -> Result<u64, Problem> {
    let by = job.attribution(ActorKind::Job, "record-bounce");
    let registry = job.registry().await?;
    let mut recorded = 0;
    for Envelope { detail } in job.messages::<Envelope>()? {
        let Some((slug, id)) = detail.message().filter(|_| detail.came_back()) else { continue };
        let Some(enrolled) = registry.find(Visit::Kept, slug).await? else { continue };
        let tenant = registry.for_job(enrolled, job.now).await?;
        if bounce(&tenant, &by, id).await? {
            tracing::warn!(tenant = slug, mail = %id, "a message came back");
            recorded += 1;
        }
    }
    Ok(recorded)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn detail(value: Value) -> Detail {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_did_not_arrive_came_back() {
        let bounced = |kind: &str, sub: &str| {
            detail(json!({
                "eventType": "Bounce", "mail": {},
                "bounce": { "bounceType": kind, "bounceSubType": sub, "bouncedRecipients": [] },
            }))
            .came_back()
        };
        for (kind, sub) in [
            ("Permanent", "General"),
            ("Permanent", "NoEmail"),
            ("Permanent", "OnAccountSuppressionList"),
            ("Undetermined", "Undetermined"),
            ("Transient", "MailboxFull"),
        ] {
            assert!(bounced(kind, sub), "{kind} {sub}");
        }
        // It may be an answer to what did arrive.
        assert!(!bounced("Transient", "General"));
        let other = |kind: &str| detail(json!({ "eventType": kind, "mail": {} })).came_back();
        assert!(other("Reject"));
        for arrived in ["Delivery", "Complaint", "Send", "DeliveryDelay", "Bounce"] {
            assert!(!other(arrived), "{arrived}");
        }
    }

    #[test]
    fn a_message_is_ours_by_its_tags() {
        let id = "01890000-0000-7000-8000-000000000000";
        let of = |tags: Value| {
            let detail = detail(json!({ "eventType": "Reject", "mail": { "tags": tags } }));
            detail.message().map(|(tenant, id)| (tenant.to_owned(), id.to_string()))
        };
        let ours = json!({ "tenant": ["acme"], "mail": [id], "ses:operation": ["SendEmail"] });
        assert_eq!(of(ours), Some(("acme".into(), id.into())));
        for foreign in [
            json!({}),
            json!({ "tenant": ["acme"] }),
            json!({ "tenant": [], "mail": [id] }),
            json!({ "tenant": ["acme"], "mail": ["7"] }),
        ] {
            assert_eq!(of(foreign.clone()), None, "{foreign}");
        }
    }
}
