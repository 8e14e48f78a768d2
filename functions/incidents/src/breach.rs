//! Breaches as the provider keeps them: what was confirmed, what became known
//! later, and for each affected tenant how far it was told.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use keystone::mail::{self, State as MailState};
use keystone::tenant::{
    Attribution, Entity, Filter, Id, JobRegistry, Page, Part, Stored, Tenant, Visit, WriteTx,
    schema,
};
use keystone::{FieldError, Problem};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::clocks::Clocks;
use crate::event::{Affected, AffectedTenant, Confirmed, Contact, Updated};
use crate::incident::delivered_at;

/// Tenants that one breach may affect.
const MOST: i64 = 5_000;

/// A letter that has waited for so long needs somebody to see why, though it is tried
/// for longer.
const WAITS_LONG: SignedDuration = SignedDuration::from_hours(4);

/// Whether anybody is still to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The watcher looks at it.
    Open,
    /// Every affected tenant was told all that is known.
    Settled,
}

/// A breach as it is stored, under the id of the incident.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breach {
    /// Whether anybody is still to be told.
    pub state: State,
    /// What happened.
    pub nature: String,
    /// What is likely to come of it.
    pub consequences: String,
    /// What was done and is proposed.
    pub measures: String,
    /// Where more can be learnt.
    pub contact: Contact,
    /// What became known later, in order.
    pub updates: Vec<Update>,
    /// Slugs that events named as affected, and that are no tenant's. Absent in releases
    /// before this field.
    #[serde(default)]
    pub unknown: BTreeSet<String>,
}

/// What became known later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// What is known.
    pub text: String,
    /// When the event came.
    pub at: Timestamp,
}

impl Entity for Breach {
    const COLLECTION: &'static schema::Collection = &schema::BREACHES;
    const RESOURCE: &'static str = "breach";
    const PERSONAL: &'static [&'static str] = &["/contact"];
}

/// How far one affected tenant was told of a breach.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// The breach.
    pub breach_id: Id,
    /// Slug of the tenant.
    pub tenant: String,
    /// When it was confirmed that this tenant is affected.
    pub confirmed_at: Timestamp,
    /// What of its data is affected.
    pub affected: Affected,
    /// How far each letter came that was seen in the tenant's outbox: the
    /// notice, then what became known later.
    pub letters: Vec<mail::Progress>,
    /// When the tenant was told in another way than by mail, where the notice did not
    /// reach it.
    pub by_hand_at: Option<Timestamp>,
    /// Which of what became known later it was told so. Absent in releases before this
    /// field.
    #[serde(default)]
    pub updates_by_hand: Vec<i64>,
    /// Hours after confirmation at which an alarm was raised.
    pub alarms: Vec<i64>,
    /// Whether the 72 hours were missed.
    pub missed: bool,
}

impl Entity for Delivery {
    const COLLECTION: &'static schema::Collection = &schema::BREACH_DELIVERIES;
    const RESOURCE: &'static str = "breach_delivery";
    const PERSONAL: &'static [&'static str] = &[];
}

impl Delivery {
    /// The id of the delivery of `breach` to `tenant`: there is one.
    pub fn id(breach: Id, tenant: &str) -> Id {
        // Not of the event's time, which may differ when the tenant comes again.
        let at = breach.made_at();
        Id::derived(at, &["breach_delivery", &breach.to_string(), tenant])
    }

    /// Whether the tenant was told all that is known of `breach`. Who was told by
    /// hand needs no notice by mail.
    pub fn is_settled(&self, breach: &Breach) -> bool {
        let waits = self.by_mail().any(|letter| letter.state == MailState::Pending);
        self.letters.len() > breach.updates.len() && !waits && !self.has_failed()
    }

    /// When the notice was delivered.
    pub fn delivered_at(&self) -> Option<Timestamp> {
        delivered_at(&self.letters, self.by_hand_at)
    }

    /// The letters that nobody has made up for by hand.
    fn by_mail(&self) -> impl Iterator<Item = &mail::Progress> {
        let made_up = |sequence: i64| match sequence {
            0 => self.by_hand_at.is_some(),
            update => self.updates_by_hand.contains(&update),
        };
        let letters = (0_i64..).zip(&self.letters);
        letters.filter(move |(sequence, _)| !made_up(*sequence)).map(|(_, letter)| letter)
    }

    /// Whether a letter was given up or came back that nobody has made up for by
    /// hand.
    pub fn has_failed(&self) -> bool {
        self.by_mail().any(|letter| letter.state.is_lost())
    }

    /// Whether one of them has waited for hours at `now`.
    pub fn waits_long(&self, now: Timestamp) -> bool {
        self.by_mail().any(|letter| waits_long(letter, now))
    }

    /// Both clocks at `now`.
    pub fn clocks(&self, now: Timestamp) -> Clocks {
        Clocks::new(self.confirmed_at, self.delivered_at(), now)
    }
}

/// Whether a letter has waited for hours at `now`.
pub fn waits_long(letter: &mail::Progress, now: Timestamp) -> bool {
    letter.state == MailState::Pending && letter.since + WAITS_LONG <= now
}

/// What of a delivery an event that comes again is compared with.
#[derive(Deserialize)]
struct Known {
    affected: Affected,
}

impl Part for Known {
    type Of = Delivery;
    const FIELDS: &'static [&'static str] = &["affected"];
}

/// The deliveries of a breach, at most 100, after `after`.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn deliveries(
    provider: &Tenant,
    breach: Id,
    after: Option<Id>,
) -> Result<Vec<Stored<Delivery>>, Problem> {
    let of_breach = Filter::all().eq("breach_id", breach.to_string());
    Ok(provider.list::<Delivery>(of_breach, Page { after, limit: 100 }).await?)
}

/// Records a confirmed breach with those whom it affects, or further ones.
/// Doing it again does nothing. Returns what is wrong with those who do not exist:
/// the others are not to wait for them.
///
/// # Errors
/// 422 naming every tenant when none of them exists; 409 when the breach, or a
/// tenant in it, is known with other content: that is for an update.
pub async fn confirm(
    registry: &JobRegistry<'_>,
    provider: &Tenant,
    by: &Attribution,
    event: &Confirmed,
) -> Result<Vec<FieldError>, Problem> {
    let known = deliveries_known(provider, event.incident).await?;
    let kept: Vec<String> =
        registry.walk(Visit::Kept).await?.iter().map(|one| one.id().to_string()).collect();
    let mut unknown = BTreeSet::new();
    let mut errors = Vec::new();
    for (index, AffectedTenant { tenant, .. }) in event.tenants.iter().enumerate() {
        if !known.contains(&Delivery::id(event.incident, tenant)) && !kept.contains(tenant) {
            tracing::error!(tenant, incident = %event.incident, "a breach of no tenant of ours");
            let field = format!("/tenants/{index}/tenant");
            errors.push(FieldError::new(field, "There is no such tenant."));
            unknown.insert(tenant.clone());
        }
    }
    if unknown.len() == event.tenants.len() {
        return Err(Problem::Invalid(errors));
    }
    let mut nothing_new = false;
    let done = provider
        .audited(by, "breach.confirm", async |tx: &mut WriteTx<'_>| {
            let further = record(tx, event, &unknown).await?;
            nothing_new = further.is_none();
            let further = further.ok_or(Problem::Stale)?;
            let named: Vec<&str> = further.iter().map(|(_, one)| one.tenant.as_str()).collect();
            tx.facts(&json!({ "tenants": named }), &[])?;
            Ok(tx.insert_many(further).await?)
        })
        .await;
    if nothing_new { Ok(errors) } else { done.map(|()| errors) }
}

async fn deliveries_known(provider: &Tenant, breach: Id) -> Result<Vec<Id>, Problem> {
    let of_breach = Filter::all().eq("breach_id", breach.to_string());
    let known = provider.parts::<Known>(of_breach, MOST).await?;
    Ok(known.into_iter().map(|(id, _)| id).collect())
}

/// Writes the breach, if it is new or has news; returns the deliveries to add, or
/// `None` when there is nothing new.
async fn record(
    tx: &mut WriteTx<'_>,
    event: &Confirmed,
    unknown: &BTreeSet<String>,
) -> Result<Option<Vec<(Id, Delivery)>>, Problem> {
    let breach = Breach {
        state: State::Open,
        nature: event.nature.clone(),
        consequences: event.consequences.clone(),
        measures: event.measures.clone(),
        contact: event.contact.clone(),
        updates: Vec::new(),
        unknown: unknown.clone(),
    };
    let before = tx.get::<Breach>(event.incident).await?;
    if before.as_ref().is_some_and(|before| !before.entity.says_the_same(&breach)) {
        let what = "This incident is known with another content: tell what is new as an update.";
        return Err(Problem::Conflict(what.into()));
    }
    let of_breach = Filter::all().eq("breach_id", event.incident.to_string());
    let known = tx.parts::<Known>(of_breach, MOST).await?;
    let mut further = Vec::new();
    for one in event.tenants.iter().filter(|one| !unknown.contains(&one.tenant)) {
        let id = Delivery::id(event.incident, &one.tenant);
        match known.iter().find(|(known, _)| *known == id) {
            Some((_, known)) if known.affected == one.affected => {}
            Some(_) => {
                let what = format!("{} is known as affected in another way.", one.tenant);
                return Err(Problem::Conflict(what));
            }
            None => further.push((id, Delivery::new(event, one))),
        }
    }
    let count = i64::try_from(known.len() + further.len()).unwrap_or(i64::MAX);
    if count > MOST {
        return Err(Problem::invalid("/tenants", "So many tenants need a second incident."));
    }
    match before {
        None => {
            tx.insert(event.incident, breach).await?;
        }
        Some(before) => {
            let mut after = before.entity.clone();
            // Whoever it names and is there by now is unknown no longer.
            after.unknown.retain(|slug| event.tenants.iter().all(|one| one.tenant != *slug));
            after.unknown.extend(unknown.iter().cloned());
            if further.is_empty() && after.unknown == before.entity.unknown {
                return Ok(None);
            }
            if !further.is_empty() {
                after.state = State::Open;
            }
            tx.replace(&before, after).await?;
        }
    }
    Ok(Some(further))
}

/// Records what became known later. Doing it again does nothing.
///
/// # Errors
/// 409 when the incident is not known yet, when an earlier update is still to
/// come, or when this one is known with another text.
pub async fn update(provider: &Tenant, by: &Attribution, event: &Updated) -> Result<(), Problem> {
    let mut nothing_new = false;
    let done = provider
        .audited(by, "breach.update", async |tx: &mut WriteTx<'_>| {
            let Some(before) = tx.get::<Breach>(event.incident).await? else {
                return Err(Problem::Conflict("This incident is not confirmed yet.".into()));
            };
            let mut after = before.entity.clone();
            let known = usize::try_from(event.sequence - 1).unwrap_or(usize::MAX);
            match after.updates.get(known) {
                Some(update) if update.text == event.text => {
                    nothing_new = true;
                    return Err(Problem::Stale);
                }
                Some(_) => {
                    return Err(Problem::Conflict(
                        "This update is known with another text.".into(),
                    ));
                }
                None if known > after.updates.len() => {
                    return Err(Problem::Conflict("An earlier update has not come yet.".into()));
                }
                None => after.updates.push(Update { text: event.text.clone(), at: by.now }),
            }
            after.state = State::Open;
            tx.replace(&before, after).await?;
            Ok(())
        })
        .await;
    if nothing_new { Ok(()) } else { done }
}

impl Breach {
    /// Whether both say the same of what was confirmed.
    fn says_the_same(&self, other: &Self) -> bool {
        let said = |one: &Self| {
            let Self { nature, consequences, measures, contact, .. } = one.clone();
            (nature, consequences, measures, contact)
        };
        said(self) == said(other)
    }
}

impl Delivery {
    fn new(event: &Confirmed, one: &AffectedTenant) -> Self {
        Self {
            breach_id: event.incident,
            tenant: one.tenant.clone(),
            confirmed_at: event.confirmed_at,
            affected: one.affected.clone(),
            letters: Vec::new(),
            by_hand_at: None,
            updates_by_hand: Vec::new(),
            alarms: Vec::new(),
            missed: false,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn delivery(letters: &[MailState]) -> Delivery {
        let progress = |state: &MailState| mail::Progress {
            state: *state,
            since: Timestamp::from_second(3600).unwrap(),
        };
        Delivery {
            breach_id: Id::from_u128(1),
            tenant: "acme".into(),
            confirmed_at: Timestamp::UNIX_EPOCH,
            affected: Affected {
                subject_categories: vec!["customers".into()],
                subjects: None,
                record_categories: vec!["addresses".into()],
                records: None,
            },
            letters: letters.iter().map(progress).collect(),
            by_hand_at: None,
            updates_by_hand: Vec::new(),
            alarms: Vec::new(),
            missed: false,
        }
    }

    #[test]
    fn a_delivery_is_settled_when_every_letter_was_sent() {
        let mut breach = Breach {
            state: State::Open,
            nature: "n".into(),
            consequences: "c".into(),
            measures: "m".into(),
            contact: Contact { name: "n".into(), email: "e@x.example".into(), phone: None },
            updates: Vec::new(),
            unknown: BTreeSet::new(),
        };
        let settled = |breach: &Breach, letters: &[MailState]| delivery(letters).is_settled(breach);
        assert!(!settled(&breach, &[]));
        assert!(!settled(&breach, &[MailState::Pending]));
        assert!(!settled(&breach, &[MailState::Failed]));
        assert!(!settled(&breach, &[MailState::Bounced]));
        assert!(settled(&breach, &[MailState::Sent]));
        breach.updates.push(Update { text: "more".into(), at: Timestamp::UNIX_EPOCH });
        assert!(!settled(&breach, &[MailState::Sent]));
        assert!(!settled(&breach, &[MailState::Sent, MailState::Pending]));
        assert!(settled(&breach, &[MailState::Sent, MailState::Sent]));
    }

    #[test]
    fn a_letter_may_wait_for_four_hours() {
        // They were written after an hour.
        let hours = |hours: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
        let second = delivery(&[MailState::Sent, MailState::Pending]);
        assert!(!second.waits_long(hours(5) - SignedDuration::from_secs(1)));
        assert!(second.waits_long(hours(5)));
        for other in [MailState::Sent, MailState::Failed, MailState::Bounced] {
            assert!(!delivery(&[other]).waits_long(hours(9)));
        }
        // Nothing waits for what somebody told by hand.
        let by_hand = Delivery { updates_by_hand: vec![1], ..second };
        assert!(!by_hand.waits_long(hours(5)));
    }

    #[test]
    fn only_a_notice_that_was_sent_is_delivered() {
        let hour = Timestamp::from_second(3600).ok();
        assert_eq!(delivery(&[]).delivered_at(), None);
        assert_eq!(delivery(&[MailState::Pending]).delivered_at(), None);
        assert_eq!(delivery(&[MailState::Failed]).delivered_at(), None);
        assert_eq!(delivery(&[MailState::Bounced]).delivered_at(), None);
        assert_eq!(delivery(&[MailState::Sent, MailState::Failed]).delivered_at(), hour);
        assert!(delivery(&[MailState::Sent, MailState::Failed]).has_failed());
        // Or one whose content somebody told by hand.
        assert!(delivery(&[MailState::Bounced]).has_failed());
        let mut told = delivery(&[MailState::Bounced]);
        told.by_hand_at = Some(Timestamp::UNIX_EPOCH);
        assert_eq!(told.delivered_at(), told.by_hand_at);
        assert!(!told.has_failed());
        // What came later they were not told so, until they were.
        let mut told = delivery(&[MailState::Failed, MailState::Failed, MailState::Bounced]);
        told.by_hand_at = Some(Timestamp::UNIX_EPOCH);
        assert!(told.has_failed());
        told.updates_by_hand = vec![2];
        assert!(told.has_failed());
        told.updates_by_hand = vec![2, 1];
        assert!(!told.has_failed());
        told.by_hand_at = None;
        assert!(told.has_failed());
    }
}
