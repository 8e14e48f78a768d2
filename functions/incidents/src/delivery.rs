//! Telling tenants. What a tenant was told stands in its own database, so that
//! whoever delivers, and however often, tells nobody twice: incident, notice in
//! the console and mail in the outbox are one transaction.

use std::collections::HashMap;
use std::time::Duration;

use keystone::mail::{self, Mail};
use keystone::tenant::{
    Attribution, Contact, Enrolled, Id, JobRegistry, StoreError, Stored, Tenant, TenantRecord,
    Visit, WriteTx,
};
use keystone::{Problem, letters};
use tokio::time::Instant;

use crate::breach::{Breach, Delivery, deliveries, waits_long};
use crate::event::ToldByHand;
use crate::incident::{ByHand, Incident, Told, id_of};
use crate::notice::{Kind, Notice};

/// After so long a run tells no further tenant; the next goes on.
const RUN_LIMIT: Duration = Duration::from_mins(4);

/// Who tells, and where the letters lead to.
pub struct Teller<'a> {
    /// For the audit trails.
    pub by: &'a Attribution,
    /// Address of the console.
    pub public_url: &'a str,
}

/// The tenants that can be told: all whose keys exist, by slug.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn reachable(registry: &JobRegistry<'_>) -> Result<HashMap<String, Enrolled>, Problem> {
    let kept = registry.walk(Visit::Kept).await?;
    Ok(kept.into_iter().map(|one| (one.id().to_string(), one)).collect())
}

/// Tells everybody whom the breach affects all that is known of it. A tenant
/// whose stores do not answer does not stop the others.
///
/// # Errors
/// The first problem, when everybody else was told; 503 when the time was over.
pub async fn tell_all(
    registry: &JobRegistry<'_>,
    provider: &Tenant,
    teller: &Teller<'_>,
    id: Id,
) -> Result<(), Problem> {
    let deadline = Instant::now() + RUN_LIMIT;
    let breach = provider.get::<Breach>(id).await?.ok_or(Problem::NotFound)?;
    let mut tenants = reachable(registry).await?;
    let mut first_problem = None;
    let mut after = None;
    loop {
        let page = deliveries(provider, id, after).await?;
        after = page.last().map(|last| last.id);
        if after.is_none() {
            return first_problem.map_or(Ok(()), Err);
        }
        for delivery in &page {
            if Instant::now() >= deadline {
                return Err(Problem::Unavailable);
            }
            // One that was closed meanwhile is the watcher's to complain of.
            let Some(enrolled) = tenants.remove(&delivery.entity.tenant) else { continue };
            let told = async {
                let tenant = registry.for_job(enrolled, teller.by.now).await?;
                teller.tell(&tenant, &breach, &delivery.entity).await
            };
            if let Err(problem) = told.await {
                tracing::error!(tenant = delivery.entity.tenant, %problem, "not told of a breach");
                first_problem.get_or_insert(problem);
            }
        }
    }
}

/// Records that a tenant was told of a breach, or of what became known later, in
/// another way than by mail. Doing it again does nothing.
///
/// # Errors
/// 422 when the tenant is not affected or does not exist any more; 409 when the
/// incident or the update is not known yet, or it is recorded in another way.
pub async fn record_by_hand(
    registry: &JobRegistry<'_>,
    provider: &Tenant,
    teller: &Teller<'_>,
    event: &ToldByHand,
) -> Result<(), Problem> {
    let breach = provider.get::<Breach>(event.incident).await?;
    let breach =
        breach.ok_or_else(|| Problem::Conflict("This incident is not confirmed yet.".into()))?;
    if usize::try_from(event.sequence).unwrap_or(usize::MAX) > breach.entity.updates.len() {
        return Err(Problem::Conflict("This update has not come yet.".into()));
    }
    let affected = Delivery::id(event.incident, &event.tenant);
    let delivery = provider.get::<Delivery>(affected).await?;
    let enrolled = reachable(registry).await?.remove(&event.tenant);
    let Some(delivery) = delivery else {
        return Err(Problem::invalid("/tenant", "Is not affected by this incident."));
    };
    let Some(enrolled) = enrolled else {
        return Err(Problem::invalid("/tenant", "Was closed since."));
    };
    // It ends our clock, and cannot be taken back.
    if event.at < delivery.entity.confirmed_at {
        return Err(Problem::invalid("/at", "Must not be before the confirmation."));
    }
    let tenant = registry.for_job(enrolled, teller.by.now).await?;
    teller.tell(&tenant, &breach, &delivery.entity).await?;
    let id = id_of(breach.id, &tenant, delivery.entity.confirmed_at);
    let by_hand = ByHand { sequence: event.sequence, at: event.at, how: event.how.clone() };
    let mut nothing_new = false;
    let done = tenant
        .audited(teller.by, "incident.record_by_hand", async |tx: &mut WriteTx<'_>| {
            let before = tx.get::<Incident>(id).await?.ok_or(Problem::Internal)?;
            match before.entity.told_by_hand(event.sequence) {
                None => {}
                Some(known) if *known == by_hand => {
                    nothing_new = true;
                    return Err(Problem::Stale);
                }
                Some(_) => {
                    return Err(Problem::Conflict("It is recorded in another way.".into()));
                }
            }
            let mut after = before.entity.clone();
            if event.sequence == 0 {
                after.by_hand = Some(by_hand.clone());
            } else {
                after.updates_by_hand.push(by_hand.clone());
            }
            tx.replace(&before, after).await?;
            Ok(())
        })
        .await;
    if nothing_new { Ok(()) } else { done }
}

impl Teller<'_> {
    /// Tells a tenant all that is known of the breach and that it was not told
    /// before, and writes again what did not reach it.
    ///
    /// # Errors
    /// 503 when a store does not answer; what was told is recorded.
    pub async fn tell(
        &self,
        tenant: &Tenant,
        breach: &Stored<Breach>,
        delivery: &Delivery,
    ) -> Result<Incident, Problem> {
        let id = id_of(breach.id, tenant, delivery.confirmed_at);
        loop {
            let known = tenant.get::<Incident>(id).await?;
            if let Some(known) = known
                && known.entity.told.len() > breach.entity.updates.len()
            {
                return self.write_again(tenant, known).await;
            }
            self.tell_next(tenant, id, &breach.entity, delivery).await?;
        }
    }

    /// Writes again what is known not to have arrived, or has waited for hours, and was
    /// not told by hand, once the primary contact has another address than it is for.
    async fn write_again(
        &self,
        tenant: &Tenant,
        known: Stored<Incident>,
    ) -> Result<Incident, Problem> {
        let to = tenant.settings().await?.entity.contacts.primary;
        let mut lost = Vec::new();
        for (sequence, told) in (0..).zip(&known.entity.told) {
            let progress = mail::progress(tenant, told.mail_id).await?;
            let arrives_not = |progress: mail::Progress| {
                progress.state.is_lost() || waits_long(&progress, self.by.now)
            };
            if progress.is_some_and(arrives_not)
                && known.entity.told_by_hand(sequence).is_none()
                && !mail::was_for(tenant, told.mail_id, &to.email).await?
            {
                lost.push(told.mail_id);
            }
        }
        if lost.is_empty() {
            return Ok(known.entity);
        }
        let mut overtaken = false;
        let done = tenant
            .audited(self.by, "incident.write_again", async |tx: &mut WriteTx<'_>| {
                let before = tx.get::<Incident>(known.id).await?.ok_or(Problem::Internal)?;
                overtaken = before.version != known.version;
                if overtaken {
                    return Err(Problem::Stale);
                }
                let to = tx.settings().await?.entity.contacts.primary;
                let mut after = before.entity.clone();
                for (number, told) in after.told.iter_mut().enumerate() {
                    if lost.contains(&told.mail_id) {
                        let which = (known.id, number);
                        let profile = tx.tenant().profile();
                        let letter = self.letter(profile, &to, which, &before.entity)?;
                        let (now, what) = (self.by.now, (to.subject(), &letter));
                        mail::withdraw(tx, told.mail_id).await?;
                        told.mail_id = mail::enqueue_again(tx, now, what, told.mail_id).await?;
                    }
                }
                Ok(tx.replace(&before, after).await?.entity)
            })
            .await;
        // Another run was faster, or somebody told it by hand; the next looks again.
        if overtaken { Ok(known.entity) } else { done }
    }

    /// The next that is to be told, unless somebody else told all meanwhile.
    async fn tell_next(
        &self,
        tenant: &Tenant,
        id: Id,
        breach: &Breach,
        delivery: &Delivery,
    ) -> Result<(), Problem> {
        // An action is a constant, so what is next is looked at here already.
        let first = tenant.get::<Incident>(id).await?.is_none();
        let action = if first { "incident.notify" } else { "incident.update" };
        let mut told_by_another = false;
        let done = tenant
            .audited(self.by, action, async |tx: &mut WriteTx<'_>| {
                let before = tx.get::<Incident>(id).await?;
                let known = before.as_ref().map_or(0, |before| before.entity.told.len());
                told_by_another = before.is_none() != first || known > breach.updates.len();
                if told_by_another {
                    return Err(Problem::Stale);
                }
                match before {
                    None => self.notify(tx, id, breach, delivery).await,
                    Some(before) => self.add(tx, breach, &before).await,
                }
            })
            .await;
        if told_by_another { Ok(()) } else { done }
    }

    /// The notice of Art. 33(2).
    async fn notify(
        &self,
        tx: &mut WriteTx<'_>,
        id: Id,
        breach: &Breach,
        delivery: &Delivery,
    ) -> Result<(), Problem> {
        let to = tx.settings().await?.entity.contacts.primary;
        let mut incident = Incident {
            confirmed_at: delivery.confirmed_at,
            nature: breach.nature.clone(),
            consequences: breach.consequences.clone(),
            measures: breach.measures.clone(),
            contact: breach.contact.clone(),
            affected: delivery.affected.clone(),
            told: Vec::new(),
            by_hand: None,
            updates_by_hand: Vec::new(),
        };
        let letter = self.letter(tx.tenant().profile(), &to, (id, 0), &incident)?;
        let mail_id =
            mail::enqueue_though_suspended(tx, self.by.now, to.subject(), &letter).await?;
        let notice_id = self.notice_id(tx, id, 0);
        incident.told.push(Told { at: self.by.now, text: None, mail_id, notice_id });
        tx.insert(id, incident).await?;
        let notice = Notice::new(Kind::Breach, BREACH_TITLE, vec![BREACH_TEXT.into()], Some(id));
        tx.insert(notice_id, notice).await?;
        Ok(())
    }

    /// Further information by Art. 33(4).
    async fn add(
        &self,
        tx: &mut WriteTx<'_>,
        breach: &Breach,
        before: &Stored<Incident>,
    ) -> Result<(), Problem> {
        let number = before.entity.told.len();
        let update = number.checked_sub(1).and_then(|known| breach.updates.get(known));
        let text = &update.ok_or_else(|| StoreError::defect("nothing to tell"))?.text;
        let to = tx.settings().await?.entity.contacts.primary;
        let (profile, which) = (tx.tenant().profile(), (before.id, number));
        let letter = letters::breach_update(self.public_url, profile, &to, which, text)?;
        let mail_id =
            mail::enqueue_though_suspended(tx, self.by.now, to.subject(), &letter).await?;
        let notice_id = self.notice_id(tx, before.id, number);
        let mut after = before.entity.clone();
        after.told.push(Told { at: self.by.now, text: Some(text.clone()), mail_id, notice_id });
        tx.replace(before, after).await?;
        let notice = Notice::new(
            Kind::BreachUpdate,
            UPDATE_TITLE,
            vec![UPDATE_TEXT.into()],
            Some(before.id),
        );
        tx.insert(notice_id, notice).await?;
        Ok(())
    }

    /// The letter that tells `to` what of the incident has this number.
    fn letter(
        &self,
        tenant: &TenantRecord,
        to: &Contact,
        (id, number): (Id, usize),
        incident: &Incident,
    ) -> Result<Mail, Problem> {
        if let Some(text) = incident.told.get(number).and_then(|told| told.text.as_ref()) {
            return letters::breach_update(self.public_url, tenant, to, (id, number), text);
        }
        let affected = &incident.affected;
        let words = letters::Breach {
            incident: id,
            confirmed_at: incident.confirmed_at,
            nature: &incident.nature,
            subjects: &affected.subjects_in_words(),
            records: &affected.records_in_words(),
            consequences: &incident.consequences,
            measures: &incident.measures,
            contact: &incident.contact.in_words(),
        };
        letters::breach(self.public_url, tenant, to, &words)
    }

    fn notice_id(&self, tx: &WriteTx<'_>, incident: Id, number: usize) -> Id {
        let (slug, number) = (tx.tenant().id().as_str(), number.to_string());
        Id::derived(self.by.now, &["incident_notice", &incident.to_string(), &number, slug])
    }
}

const BREACH_TITLE: &str = "A security incident affects personal data of your organisation";
const BREACH_TEXT: &str = "We notified your primary contact. Administrators find what happened, \
                           which data is affected and both deadlines under incidents.";
const UPDATE_TITLE: &str = "More is known about a security incident";
const UPDATE_TEXT: &str = "We sent your primary contact what is known now. Administrators find it \
                           under incidents.";
