//! Sub-processors: who they are, and how customers hear of a change 30 days
//! before it takes effect (claim C15, GDPR Art. 28(2); docs/adr/0029).

use jiff::Timestamp;
use jiff::civil::Date;
use keystone::tenant::{
    Attribution, Enrolled, Entity, Filter, Id, Page, Registry, Stored, Tenant, TenantId, Visit,
    WriteTx, schema,
};
use keystone::{FieldError, Problem, calendar, letters, mail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Days that customers have, from the notice to its effect.
pub const NOTICE_DAYS: i32 = 30;
/// Those that were there from the beginning.
const FIRST: &str = include_str!("../sub_processors.json");
/// Most changes that are listed.
const LISTED: i64 = 100;

/// Who a sub-processor is and what it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Name of the business.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// What it does for us.
    #[schemars(length(min = 1, max = 500))]
    pub purpose: String,
    /// Which data it processes.
    #[schemars(length(min = 1, max = 500))]
    pub data: String,
    /// Where.
    #[schemars(length(min = 1, max = 200))]
    pub location: String,
    /// What protects the data there.
    #[schemars(length(min = 1, max = 500))]
    pub safeguards: String,
    /// Where it can be asked.
    #[schemars(length(min = 1, max = 200))]
    pub contact: String,
}

/// Whether a sub-processor may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SubProcessorState")]
pub enum State {
    /// Customers were told; it is not used yet.
    Announced,
    /// It is used.
    Active,
}

/// An announced change, in the provider's tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    description: Description,
    state: State,
    effective_on: Date,
    activated_at: Option<Timestamp>,
}

impl Entity for Change {
    const COLLECTION: &'static schema::Collection = &schema::SUB_PROCESSOR_CHANGES;
    const RESOURCE: &'static str = "sub_processor_change";
    const PERSONAL: &'static [&'static str] = &[];
}

/// What a customer objects to, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SubProcessorObjection")]
pub struct Objection {
    /// Id of the user who objects for the tenant.
    pub by: Id,
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// What came of it; while there is nothing, the change waits.
    pub outcome: Option<String>,
    /// Since when.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub settled_at: Option<Timestamp>,
}

/// That a tenant was told of a change: evidence in its own database, under the
/// change's id.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    description: Description,
    effective_on: Date,
    /// The message to its primary contact.
    mail: Id,
    objection: Option<Objection>,
}

impl Entity for Told {
    const COLLECTION: &'static schema::Collection = &schema::SUB_PROCESSOR_NOTICES;
    const RESOURCE: &'static str = "sub_processor_notice";
    const PERSONAL: &'static [&'static str] = &["/objection/reason"];
}

/// A sub-processor as the public list shows it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SubProcessor")]
pub struct Listed {
    /// Who it is.
    #[serde(flatten)]
    pub description: Description,
    /// Whether it is used.
    pub state: State,
    /// The day from which it is used at the earliest; absent for those that
    /// were there from the beginning.
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    pub effective_on: Option<Date>,
}

/// All that are used or announced.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn list(provider: &Tenant) -> Result<Vec<Listed>, Problem> {
    let first: Vec<Description> = serde_json::from_str(FIRST).map_err(|error| {
        tracing::error!(cause = %error, "the first sub-processors cannot be read");
        Problem::Internal
    })?;
    let first = first.into_iter().map(|description| Listed {
        description,
        state: State::Active,
        effective_on: None,
    });
    let page = Page { after: None, limit: LISTED };
    let changes = provider.list::<Change>(Filter::all(), page).await?;
    let changes = changes.into_iter().rev().map(|change| Listed {
        description: change.entity.description,
        state: change.entity.state,
        effective_on: Some(change.entity.effective_on),
    });
    Ok(first.chain(changes).collect())
}

/// What a run of the announcement did.
#[derive(Debug, Default, Serialize)]
pub struct Announced {
    /// Tenants that were told now.
    told: u64,
    /// Tenants that had been told before.
    before: u64,
}

/// Announces a change to every customer. The same call again goes on where the
/// one before ended, and tells nobody twice.
///
/// # Errors
/// 422 when the day is less than 30 days away or a tenant has no primary
/// contact, naming each; then nobody is told. 409 when the id is that of another
/// change, 503 when a store does not answer.
pub async fn announce(
    registry: &Registry<'_>,
    by: &Attribution,
    (id, description, effective_on): (Id, &Description, Date),
) -> Result<Announced, Problem> {
    let earliest = calendar::days_after(calendar::day_of(by.now), NOTICE_DAYS);
    if effective_on < earliest {
        let why = format!("Must be at least {NOTICE_DAYS} days ahead: {earliest} or later.");
        return Err(Problem::invalid("/effective_on", why));
    }
    let mut tenants = Vec::new();
    let mut missing = Vec::new();
    for enrolled in registry.walk(Visit::Customers).await? {
        let tenant = registry.for_job(enrolled, by.now).await?;
        let contact = tenant.settings().await?.entity.contacts.primary;
        if !contact.email.contains('@') {
            let why = format!("The tenant {} has no primary contact.", tenant.id());
            missing.push(FieldError::new("/", why));
        }
        tenants.push(tenant);
    }
    if !missing.is_empty() {
        return Err(Problem::Invalid(missing));
    }
    let provider = registry.provider(by.now).await?;
    keep(&provider, by, id, description, effective_on).await?;
    let mut done = Announced::default();
    for tenant in &tenants {
        if tell(tenant, by, id, description, effective_on).await? {
            done.told += 1;
        } else {
            done.before += 1;
        }
    }
    Ok(done)
}

/// Keeps the change, unless a run before did.
async fn keep(
    provider: &Tenant,
    by: &Attribution,
    id: Id,
    description: &Description,
    effective_on: Date,
) -> Result<(), Problem> {
    let change = Change {
        description: description.clone(),
        state: State::Announced,
        effective_on,
        activated_at: None,
    };
    if let Some(known) = provider.get::<Change>(id).await? {
        let same =
            known.entity.description == *description && known.entity.effective_on == effective_on;
        let other = "This id is that of another change.";
        return if same { Ok(()) } else { Err(Problem::Conflict(other.into())) };
    }
    provider
        .audited(by, "sub_processor_change.announce", async |tx: &mut WriteTx<'_>| {
            tx.insert(id, change.clone()).await?;
            Ok(())
        })
        .await
}

/// Tells a tenant, in one transaction with the message to its primary contact;
/// false when it was told before.
async fn tell(
    tenant: &Tenant,
    by: &Attribution,
    id: Id,
    description: &Description,
    effective_on: Date,
) -> Result<bool, Problem> {
    if tenant.get::<Told>(id).await?.is_some() {
        return Ok(false);
    }
    let mut before = false;
    let told = tenant
        .audited(by, "sub_processor_notice.send", async |tx: &mut WriteTx<'_>| {
            before = tx.get::<Told>(id).await?.is_some();
            if before {
                return Err(Problem::Stale);
            }
            let contact = tx.settings().await?.entity.contacts.primary;
            let letter = letters::sub_processor(
                tx.tenant().profile(),
                &contact,
                (&description.name, &description.purpose, &description.location),
                effective_on,
            )?;
            let mail = mail::enqueue(tx, by.now, contact.subject(), &letter).await?;
            let description = description.clone();
            tx.insert(id, Told { description, effective_on, mail, objection: None }).await?;
            Ok(())
        })
        .await;
    match told {
        Err(_) if before => Ok(false),
        other => other.map(|()| true),
    }
}

/// A notice as its tenant sees it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SubProcessorChange")]
pub struct ToldView {
    /// Id of the change.
    id: Id,
    /// Who the sub-processor is.
    #[serde(flatten)]
    description: Description,
    /// The day from which it is used at the earliest.
    #[schemars(with = "String", extend("format" = "date"))]
    effective_on: Date,
    /// When the tenant was told.
    #[schemars(with = "String", extend("format" = "date-time"))]
    told_at: Timestamp,
    /// The tenant's objection.
    objection: Option<Objection>,
}

impl From<&Stored<Told>> for ToldView {
    fn from(stored: &Stored<Told>) -> Self {
        let Told { description, effective_on, objection, .. } = stored.entity.clone();
        Self { id: stored.id, description, effective_on, told_at: stored.created_at, objection }
    }
}

/// Objects to a change for the tenant.
///
/// # Errors
/// 404 when the tenant was told of no such change; 409 when it objected before,
/// or the day has come.
pub async fn object(
    tx: &mut WriteTx<'_>,
    change: Id,
    (by, at): (Id, Timestamp),
    reason: &str,
) -> Result<Stored<Told>, Problem> {
    let before = tx.get::<Told>(change).await?.ok_or(Problem::NotFound)?;
    if before.entity.objection.is_some() {
        return Err(Problem::Conflict("The tenant objected before.".into()));
    }
    if calendar::day_of(at) >= before.entity.effective_on {
        return Err(Problem::Conflict("The day of the change has come.".into()));
    }
    let reason = reason.to_owned();
    let objection = Some(Objection { by, at, reason, outcome: None, settled_at: None });
    Ok(tx.replace(&before, Told { objection, ..before.entity.clone() }).await?)
}

/// Records what came of a tenant's objection.
///
/// # Errors
/// 404 when there is none, 409 when it is settled, 503 when a store does not
/// answer.
pub async fn settle(
    registry: &Registry<'_>,
    by: &Attribution,
    (tenant, change): (&TenantId, Id),
    outcome: &str,
) -> Result<(), Problem> {
    let walked = registry.walk(Visit::Customers).await?;
    let found = walked.into_iter().find(|enrolled: &Enrolled| enrolled.id() == tenant);
    let tenant = registry.for_job(found.ok_or(Problem::NotFound)?, by.now).await?;
    tenant
        .audited(by, "sub_processor_notice.settle", async |tx: &mut WriteTx<'_>| {
            let before = tx.get::<Told>(change).await?.ok_or(Problem::NotFound)?;
            let open = before.entity.objection.clone().ok_or(Problem::NotFound)?;
            if open.outcome.is_some() {
                return Err(Problem::Conflict("The objection is settled.".into()));
            }
            let (outcome, settled_at) = (Some(outcome.to_owned()), Some(by.now));
            let objection = Some(Objection { outcome, settled_at, ..open });
            tx.replace(&before, Told { objection, ..before.entity.clone() }).await?;
            Ok(())
        })
        .await
}

/// Why a change has not taken effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Waits {
    /// Its day, or the 30th after the last delivery, is to come.
    Until(Date),
    /// The notice to this tenant was not delivered.
    Undelivered(TenantId),
    /// This tenant's objection is open.
    Objection(TenantId),
}

/// Lets those changes take effect whose time has come: 30 days after the last
/// confirmed delivery, with no objection open. What is still waiting is returned.
///
/// # Errors
/// 503 when a store does not answer; the next run goes on.
pub async fn activate_due(
    registry: &Registry<'_>,
    by: &Attribution,
) -> Result<(u64, Vec<(Id, Waits)>), Problem> {
    let provider = registry.provider(by.now).await?;
    let announced = Filter::all().eq("state", "announced");
    let page = Page { after: None, limit: LISTED };
    let (mut activated, mut waiting) = (0, Vec::new());
    for change in provider.list::<Change>(announced, page).await? {
        if let Some(why) = waits(registry, by, &change).await? {
            waiting.push((change.id, why));
            continue;
        }
        provider
            .audited(by, "sub_processor_change.activate", async |tx: &mut WriteTx<'_>| {
                let before = tx.get::<Change>(change.id).await?.ok_or(Problem::NotFound)?;
                let (state, activated_at) = (State::Active, Some(by.now));
                tx.replace(&before, Change { state, activated_at, ..before.entity.clone() })
                    .await?;
                Ok(())
            })
            .await?;
        activated += 1;
    }
    Ok((activated, waiting))
}

async fn waits(
    registry: &Registry<'_>,
    by: &Attribution,
    change: &Stored<Change>,
) -> Result<Option<Waits>, Problem> {
    let mut from = change.entity.effective_on;
    for enrolled in registry.walk(Visit::Customers).await? {
        let slug = enrolled.id().clone();
        let tenant = registry.for_job(enrolled, by.now).await?;
        let Some(told) = tenant.get::<Told>(change.id).await? else {
            // Who came later found it on the list.
            if tenant.settings().await?.created_at > change.created_at {
                continue;
            }
            return Ok(Some(Waits::Undelivered(slug)));
        };
        match mail::progress(&tenant, told.entity.mail).await? {
            Some(sent) if sent.state == mail::State::Sent => {
                let day = calendar::day_of(sent.since);
                from = from.max(calendar::days_after(day, NOTICE_DAYS));
            }
            _ => return Ok(Some(Waits::Undelivered(slug))),
        }
        if told.entity.objection.is_some_and(|objection| objection.outcome.is_none()) {
            return Ok(Some(Waits::Objection(slug)));
        }
    }
    Ok((calendar::day_of(by.now) < from).then_some(Waits::Until(from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sub_processors_can_be_read() {
        let first: Vec<Description> = serde_json::from_str(FIRST).unwrap();
        assert!(first.iter().all(|one| one.location.contains("eu-west-1")));
    }
}
