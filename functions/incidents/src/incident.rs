//! What a tenant was told of a breach, in its own database.

use jiff::Timestamp;
use keystone::Problem;
use keystone::mail::{self, State as MailState};
use keystone::tenant::{Entity, Id, Stored, Tenant, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clocks::Clocks;
use crate::event::{Affected, Contact};
use crate::notice::Notice;

/// An incident as the tenant keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incident {
    /// When it was confirmed that the tenant is affected.
    pub confirmed_at: Timestamp,
    /// What happened.
    pub nature: String,
    /// What is likely to come of it.
    pub consequences: String,
    /// What was done and is proposed.
    pub measures: String,
    /// Where more can be learnt.
    pub contact: Contact,
    /// What of the tenant's data is affected.
    pub affected: Affected,
    /// What was told, in order: the notice, then what became known later.
    pub told: Vec<Told>,
    /// How the tenant was told of it where the notice did not reach it.
    pub by_hand: Option<ByHand>,
    /// The same of what became known later. Releases before this field told only of
    /// the notice by hand.
    #[serde(default)]
    pub updates_by_hand: Vec<ByHand>,
}

/// That the tenant was told in another way than by mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ToldByHand")]
pub struct ByHand {
    /// Of what: 0 for the notice, then the number of the further information.
    #[serde(default)]
    pub sequence: i64,
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// How, by whom and to whom.
    pub how: String,
}

/// Something that the tenant was told, by mail and in its console.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// When it was recorded, its mail written and its notice published.
    pub at: Timestamp,
    /// What became known; absent in the notice itself, which says all of the
    /// incident.
    pub text: Option<String>,
    /// The mail in the tenant's outbox.
    pub mail_id: Id,
    /// The notice in the console.
    pub notice_id: Id,
}

impl Entity for Incident {
    const COLLECTION: &'static schema::Collection = &schema::INCIDENTS;
    const RESOURCE: &'static str = "incident";
    const PERSONAL: &'static [&'static str] = &["/contact", "/by_hand/how", "/updates_by_hand"];
}

impl Incident {
    /// How the tenant was told by hand what has this number.
    pub fn told_by_hand(&self, sequence: i64) -> Option<&ByHand> {
        let mut by_hand = self.by_hand.iter().chain(&self.updates_by_hand);
        by_hand.find(|one| one.sequence == sequence)
    }
}

/// The id under which `tenant` knows `breach`: tenants cannot tell from it
/// whether they are affected by the same one.
pub fn id_of(breach: Id, tenant: &Tenant, confirmed_at: Timestamp) -> Id {
    Id::derived(confirmed_at, &["incident", &breach.to_string(), tenant.id().as_str()])
}

/// How far the mails came, in the order of what was told.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn letters(tenant: &Tenant, incident: &Incident) -> Result<Vec<mail::Progress>, Problem> {
    let mut letters = Vec::with_capacity(incident.told.len());
    for told in &incident.told {
        letters.push(mail::progress(tenant, told.mail_id).await?.ok_or(Problem::Internal)?);
    }
    Ok(letters)
}

/// When the notice was delivered: by mail, or by hand if that was earlier.
pub fn delivered_at(
    letters: &[mail::Progress],
    by_hand_at: Option<Timestamp>,
) -> Option<Timestamp> {
    let notice = letters.first().filter(|letter| letter.state == MailState::Sent);
    notice.map(|letter| letter.since).into_iter().chain(by_hand_at).min()
}

/// An incident as it is shown.
#[derive(Serialize, JsonSchema)]
pub struct IncidentView {
    /// Id.
    pub id: Id,
    /// When it was confirmed that your data is affected.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub confirmed_at: Timestamp,
    /// What happened.
    pub nature: String,
    /// What is likely to come of it.
    pub consequences: String,
    /// What was done and is proposed.
    pub measures: String,
    /// Where more can be learnt.
    pub contact: Contact,
    /// What of your data is affected.
    pub affected: Affected,
    /// Our deadline as processor, and yours as controller.
    pub clocks: Clocks,
    /// What you were told, in order.
    pub told: Vec<ToldView>,
    /// How you were told of it where the notice did not reach you.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<ByHand>,
    /// How you were told what became known later, where mail did not reach you.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub updates_by_hand: Vec<ByHand>,
    /// All that happened, oldest first; only in the answer about a single
    /// incident.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub timeline: Vec<Entry>,
}

/// Something that you were told.
#[derive(Serialize, JsonSchema)]
pub struct ToldView {
    /// 0 for the notice, then the number of the further information.
    pub sequence: usize,
    /// What became known; absent in the notice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// When it was recorded.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// How far the mail to your primary contact came.
    pub mail: mail::Progress,
    /// The notice in the console.
    pub notice_id: Id,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "TimelineEntry")]
pub struct Entry {
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// What.
    pub what: What,
    /// Which of what you were told: 0 for the notice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<usize>,
    /// The user who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Id>,
}

/// What happens in the course of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It was confirmed that your data is affected.
    Confirmed,
    /// The notice was published in the console, and its mail written.
    Published,
    /// The mail was sent to your primary contact.
    MailSent,
    /// The mail could not be sent and was given up.
    MailFailed,
    /// The mail came back: it did not reach your primary contact.
    MailBounced,
    /// You were told in another way than by mail.
    ToldByHand,
    /// Our 72 hours were over before the notice was delivered.
    DeadlineMissed,
    /// Somebody of yours acknowledged the notice.
    Acknowledged,
}

impl What {
    /// In words, for reports.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Published => "published in the console, mail written",
            Self::MailSent => "mail sent to the primary contact",
            Self::MailFailed => "mail given up",
            Self::MailBounced => "mail came back",
            Self::ToldByHand => "told by hand",
            Self::DeadlineMissed => "72 hours over without delivery",
            Self::Acknowledged => "acknowledged",
        }
    }
}

impl IncidentView {
    /// The view of `stored` at `now`, in short.
    ///
    /// # Errors
    /// 503 when the database does not answer.
    pub async fn short(
        tenant: &Tenant,
        stored: &Stored<Incident>,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let letters = letters(tenant, &stored.entity).await?;
        Ok(Self::new(stored, &letters, now))
    }

    /// The view with its timeline.
    ///
    /// # Errors
    /// 404 when there is no such incident; 503 when the database does not
    /// answer.
    pub async fn whole(tenant: &Tenant, id: Id, now: Timestamp) -> Result<Self, Problem> {
        let stored = tenant.get::<Incident>(id).await?.ok_or(Problem::NotFound)?;
        let mut view = Self::short(tenant, &stored, now).await?;
        let mut acknowledged = Vec::new();
        for told in &view.told {
            let notice = tenant.get::<Notice>(told.notice_id).await?.ok_or(Problem::Internal)?;
            acknowledged.extend(notice.entity.acknowledgements.iter().map(|one| Entry {
                at: one.at,
                what: What::Acknowledged,
                sequence: Some(told.sequence),
                by: Some(one.by),
            }));
        }
        view.timeline = view.entries();
        view.timeline.extend(acknowledged);
        view.timeline.sort_by_key(|entry| (entry.at, entry.what, entry.sequence));
        Ok(view)
    }

    fn new(stored: &Stored<Incident>, letters: &[mail::Progress], now: Timestamp) -> Self {
        let incident = stored.entity.clone();
        let told = incident.told.into_iter().zip(letters).enumerate();
        Self {
            id: stored.id,
            confirmed_at: incident.confirmed_at,
            nature: incident.nature,
            consequences: incident.consequences,
            measures: incident.measures,
            contact: incident.contact,
            affected: incident.affected,
            clocks: Clocks::new(
                incident.confirmed_at,
                delivered_at(letters, incident.by_hand.as_ref().map(|told| told.at)),
                now,
            ),
            by_hand: incident.by_hand,
            updates_by_hand: incident.updates_by_hand,
            told: told
                .map(|(sequence, (told, mail))| ToldView {
                    sequence,
                    text: told.text,
                    at: told.at,
                    mail: *mail,
                    notice_id: told.notice_id,
                })
                .collect(),
            timeline: Vec::new(),
        }
    }

    /// What happened, but for what the tenant's own people did.
    fn entries(&self) -> Vec<Entry> {
        let entry = |at, what, sequence| Entry { at, what, sequence, by: None };
        let mut entries = vec![entry(self.confirmed_at, What::Confirmed, None)];
        for told in &self.told {
            let sequence = Some(told.sequence);
            entries.push(entry(told.at, What::Published, sequence));
            match told.mail.state {
                MailState::Pending => {}
                MailState::Sent => entries.push(entry(told.mail.since, What::MailSent, sequence)),
                MailState::Failed => {
                    entries.push(entry(told.mail.since, What::MailFailed, sequence));
                }
                MailState::Bounced => {
                    entries.push(entry(told.mail.since, What::MailBounced, sequence));
                }
            }
        }
        if let Some(by_hand) = &self.by_hand {
            entries.push(entry(by_hand.at, What::ToldByHand, None));
        }
        for by_hand in &self.updates_by_hand {
            let sequence = usize::try_from(by_hand.sequence).ok();
            entries.push(entry(by_hand.at, What::ToldByHand, sequence));
        }
        if self.clocks.missed() {
            entries.push(entry(self.clocks.ours.deadline, What::DeadlineMissed, None));
        }
        entries
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use jiff::SignedDuration;

    use super::*;

    /// An incident, confirmed at the epoch, of which so much was told, one hour
    /// after another.
    pub(crate) fn view(letters: &[MailState], now: Timestamp) -> IncidentView {
        let hour = |n: usize| {
            Timestamp::UNIX_EPOCH + SignedDuration::from_hours(i64::try_from(n).unwrap())
        };
        let told = (0..letters.len()).map(|n| Told {
            at: hour(n + 1),
            text: (n > 0).then(|| format!("Phase {n}")),
            mail_id: Id::from_u128(1),
            notice_id: Id::from_u128(2),
        });
        let incident = Incident {
            confirmed_at: Timestamp::UNIX_EPOCH,
            nature: "A backup was copied".into(),
            consequences: "Unwanted calls".into(),
            measures: "Keys were replaced".into(),
            contact: Contact { name: "Una".into(), email: "u@x.example".into(), phone: None },
            affected: Affected {
                subject_categories: vec!["customers".into()],
                subjects: Some(40),
                record_categories: vec!["addresses".into()],
                records: None,
            },
            told: told.collect(),
            by_hand: None,
            updates_by_hand: Vec::new(),
        };
        let letters: Vec<_> = letters
            .iter()
            .enumerate()
            .map(|(n, state)| mail::Progress { state: *state, since: hour(n + 2) })
            .collect();
        let stored = Stored {
            id: Id::from_u128(7),
            version: 1,
            created_at: hour(1),
            updated_at: hour(1),
            entity: incident,
        };
        IncidentView::new(&stored, &letters, now)
    }

    #[test]
    fn the_timeline_tells_what_was_sent_and_what_was_missed() {
        let hour = |n| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(n);
        let told = view(&[MailState::Sent, MailState::Failed], hour(90));
        let entries: Vec<_> = told.entries().iter().map(|one| (one.at, one.what)).collect();
        let expected = [
            (hour(0), What::Confirmed),
            (hour(1), What::Published),
            (hour(2), What::MailSent),
            (hour(2), What::Published),
            (hour(3), What::MailFailed),
        ];
        assert_eq!(entries, expected);
        assert_eq!(told.clocks.yours.deadline, Some(hour(74)));
        // What came back was not delivered, whatever was said before.
        let back = view(&[MailState::Bounced], hour(73));
        assert_eq!(back.clocks.ours.delivered_at, None);
        let entries: Vec<_> = back.entries().iter().map(|one| one.what).collect();
        let wanted = [What::Confirmed, What::Published, What::MailBounced, What::DeadlineMissed];
        assert_eq!(entries, wanted);
        let late = view(&[MailState::Pending], hour(73));
        assert_eq!(late.entries().last().map(|one| one.what), Some(What::DeadlineMissed));
        assert_eq!(late.clocks.yours.started_at, None);
    }
}
