//! Sub-processors: who they are, how customers hear of a change 30 days before it
//! takes effect (claim C15, GDPR Art. 28(2); docs/adr/0029), and for whose data
//! they may be used (claim C1; docs/adr/0041).

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::Date;
use keystone::crypto::Subject;
use keystone::formats::is_in_eu;
use keystone::promises::SUB_PROCESSOR_NOTICE_DAYS;
use keystone::tenant::{
    Attribution, Contact, Entity, Filter, Id, JobRegistry, Page, Settings, Stored, Tenant,
    TenantId, Visit, WriteTx, schema,
};
use keystone::{FieldError, Problem, calendar, letters, mail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Days before a change's day from which our contact is reminded of objections
/// that are open: as many as of requests of people about their data.
const REMINDER_DAYS: i32 = 7;
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
    /// The countries in which it processes data or reaches it from, ISO 3166-1
    /// alpha-2. What was announced before they were asked for has none.
    #[serde(default)]
    #[schemars(length(max = 250), extend("items" = { "type": "string", "format": "country" }))]
    pub countries: Vec<String>,
    /// What protects the data there.
    #[schemars(length(min = 1, max = 500))]
    pub safeguards: String,
    /// Where it can be asked.
    #[schemars(length(min = 1, max = 200))]
    pub contact: String,
}

impl Description {
    /// Whether it has data outside the EU, which is also where it is taken to
    /// have it when nobody knows.
    fn outside_eu(&self) -> bool {
        self.countries.is_empty() || self.countries.iter().any(|country| !is_in_eu(country))
    }
}

/// How far the use of a sub-processor has come, for all tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SubProcessorState")]
pub enum State {
    /// Customers were told; it is not used yet.
    Announced,
    /// It is used.
    Active,
    /// It is not used, or no longer; the public list leaves it out.
    Withdrawn,
}

/// An announced change, in the provider's tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    description: Description,
    state: State,
    effective_on: Date,
    activated_at: Option<Timestamp>,
    withdrawn_at: Option<Timestamp>,
    /// Why it was withdrawn.
    reason: Option<String>,
    /// When our contact was reminded of open objections, before the day.
    #[serde(default)]
    reminded_at: Option<Timestamp>,
    /// When it was told that the day came and objections were open.
    #[serde(default)]
    held_up_at: Option<Timestamp>,
}

impl Entity for Change {
    const COLLECTION: &'static schema::Collection = &schema::SUB_PROCESSOR_CHANGES;
    const RESOURCE: &'static str = "sub_processor_change";
    const PERSONAL: &'static [&'static str] = &[];
}

/// Who objects for a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
#[schemars(rename = "SubProcessorObjector")]
pub enum Objector {
    /// A user, by their id.
    User(Id),
    /// Whoever wrote to us.
    Writer {
        /// The operator who recorded it.
        recorded_by: String,
    },
}

/// What a customer objects to, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SubProcessorObjection")]
pub struct Objection {
    /// Who objects for the tenant: the id of a user, or the operator who recorded
    /// that the tenant wrote to us.
    pub by: Objector,
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
    /// Whether it has data outside the EU; then it may be used only for tenants
    /// whose written consent is recorded.
    pub outside_eu: bool,
}

impl Listed {
    fn new(description: Description, state: State, effective_on: Option<Date>) -> Self {
        Self { outside_eu: description.outside_eu(), description, state, effective_on }
    }
}

/// All that are used or announced.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn list(provider: &Tenant) -> Result<Vec<Listed>, Problem> {
    Ok(known(provider).await?.into_iter().map(|(_, listed)| listed).collect())
}

/// As [`list`], each with the id of its change if it was not there from the
/// beginning.
async fn known(provider: &Tenant) -> Result<Vec<(Option<Id>, Listed)>, Problem> {
    let first: Vec<Description> = serde_json::from_str(FIRST).map_err(|error| {
        tracing::error!(cause = %error, "the first sub-processors cannot be read");
        Problem::Internal
    })?;
    let first =
        first.into_iter().map(|description| (None, Listed::new(description, State::Active, None)));
    let page = Page { after: None, limit: LISTED };
    let shown = Filter::all().any("state", vec!["active".into(), "announced".into()]);
    let changes = provider.list::<Change>(shown, page).await?;
    let changes = changes.into_iter().rev().map(|change| {
        let Change { description, state, effective_on, .. } = change.entity;
        (Some(change.id), Listed::new(description, state, Some(effective_on)))
    });
    Ok(first.chain(changes).collect())
}

/// What bars a sub-processor from a tenant's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SubProcessorBar")]
pub enum Bar {
    /// The change has not taken effect.
    NotInEffect,
    /// The tenant's objection to it is open.
    ObjectionOpen,
    /// It has data outside the EU, and no written consent of the tenant to that
    /// is in force.
    ConsentMissing,
}

/// The gate: what bars `one` from the data of the tenant with these settings,
/// which objected so. It may be used for that data only if nothing does.
fn bars(one: &Listed, objection: Option<&Objection>, settings: &Settings) -> Vec<Bar> {
    let not_in_effect = one.state != State::Active;
    let objects = objection.is_some_and(|objection| objection.outcome.is_none());
    let no_consent = one.outside_eu && settings.cross_border_consent.is_none();
    [
        (not_in_effect, Bar::NotInEffect),
        (objects, Bar::ObjectionOpen),
        (no_consent, Bar::ConsentMissing),
    ]
    .into_iter()
    .filter_map(|(holds, bar)| holds.then_some(bar))
    .collect()
}

/// A sub-processor as it concerns a tenant.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SubProcessorUse")]
pub struct ForTenant {
    /// Who it is.
    #[serde(flatten)]
    description: Description,
    /// Whether it is used at all.
    state: State,
    /// The day from which it is used at the earliest; absent for those that
    /// were there from the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    effective_on: Option<Date>,
    /// Whether it has data outside the EU.
    outside_eu: bool,
    /// Whether it may be used for the tenant's data now.
    allowed: bool,
    /// Why not; empty when it may.
    barred_by: Vec<Bar>,
}

/// All that are used or announced, each with whether it may be used for the data
/// of `tenant` now.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn list_for(provider: &Tenant, tenant: &Tenant) -> Result<Vec<ForTenant>, Problem> {
    let settings = tenant.settings().await?.entity;
    let known = known(provider).await?;
    let ids = known.iter().filter_map(|(change, _)| Some(change.as_ref()?.to_string())).collect();
    let page = Page { after: None, limit: LISTED };
    let told = tenant.list::<Told>(Filter::all().any("_id", ids), page).await?;
    let told: HashMap<Id, Told> = told.into_iter().map(|told| (told.id, told.entity)).collect();
    let shown = known.into_iter().map(|(change, one)| {
        let told = change.and_then(|change| told.get(&change));
        let barred_by = bars(&one, told.and_then(|told| told.objection.as_ref()), &settings);
        ForTenant {
            description: one.description,
            state: one.state,
            effective_on: one.effective_on,
            outside_eu: one.outside_eu,
            allowed: barred_by.is_empty(),
            barred_by,
        }
    });
    Ok(shown.collect())
}

/// What a run of the announcement did.
#[derive(Debug, Default, Serialize)]
pub struct Announced {
    /// Tenants that were told now.
    told: u64,
    /// Tenants that had been told before.
    before: u64,
    /// How far the message to each tenant came: the evidence of delivery.
    deliveries: Vec<Delivery>,
}

/// How far the message to a tenant's primary contact came.
#[derive(Debug, Serialize)]
struct Delivery {
    tenant: TenantId,
    mail: Option<mail::Progress>,
}

/// Announces a change to every customer, suspended ones too, whose data we have
/// like that of all others; they may object by a letter to `write_to`. The same
/// call again goes on where the one before ended: it tells nobody twice, but for
/// those whose message was given up or came back, and says how far each message
/// came.
///
/// # Errors
/// 422 when the day is less than 30 days away, the countries are missing or a
/// tenant has no primary contact, naming each; then nobody is told. 409 when the id is that of another
/// change or of one that waits no longer, 503 when a store does not answer.
pub async fn announce(
    registry: &JobRegistry<'_>,
    by: &Attribution,
    (id, description, effective_on): (Id, &Description, Date),
    write_to: &str,
) -> Result<Announced, Problem> {
    let provider = registry.provider(by.now).await?;
    let known = provider.get::<Change>(id).await?;
    let earliest = calendar::days_after(calendar::day_of(by.now), SUB_PROCESSOR_NOTICE_DAYS);
    match &known {
        Some(known) => same(&known.entity, description, effective_on)?,
        None if effective_on < earliest => {
            let days = SUB_PROCESSOR_NOTICE_DAYS;
            let why = format!("Must be at least {days} days ahead: {earliest} or later.");
            return Err(Problem::invalid("/effective_on", why));
        }
        None if description.countries.is_empty() => {
            return Err(Problem::invalid("/sub_processor/countries", "Must name a country."));
        }
        None => {}
    }
    let mut tenants = Vec::new();
    let mut missing = Vec::new();
    for enrolled in registry.walk(Visit::KeptCustomers).await? {
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
    if known.is_none() {
        keep(&provider, by, id, description, effective_on).await?;
    }
    // Who is told later than the others, since a run was interrupted or a message
    // was given up, has 30 days as well.
    let effective_on = effective_on.max(earliest);
    let mut done = Announced::default();
    for tenant in &tenants {
        if tell(tenant, by, id, (description, effective_on), write_to).await? {
            done.told += 1;
        } else {
            done.before += 1;
        }
        let mail = match tenant.get::<Told>(id).await? {
            Some(told) => mail::progress(tenant, told.entity.mail).await?,
            None => None,
        };
        done.deliveries.push(Delivery { tenant: tenant.id().clone(), mail });
    }
    Ok(done)
}

/// Whether the change that is known is the one that is announced again.
fn same(known: &Change, description: &Description, effective_on: Date) -> Result<(), Problem> {
    let refuse = |why: &str| Err(Problem::Conflict(why.into()));
    if known.description != *description || known.effective_on != effective_on {
        return refuse("This id is that of another change.");
    }
    if known.state != State::Announced {
        return refuse("The change took effect or was withdrawn.");
    }
    Ok(())
}

/// Keeps the change.
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
        withdrawn_at: None,
        reason: None,
        reminded_at: None,
        held_up_at: None,
    };
    provider
        .audited(by, "sub_processor_change.announce", async |tx: &mut WriteTx<'_>| {
            tx.insert(id, change.clone()).await?;
            Ok(())
        })
        .await
}

/// Tells a tenant, in one transaction with the message to its primary contact;
/// false when it was told before and the message is not known to be lost.
async fn tell(
    tenant: &Tenant,
    by: &Attribution,
    id: Id,
    (description, effective_on): (&Description, Date),
    write_to: &str,
) -> Result<bool, Problem> {
    let before = tenant.get::<Told>(id).await?;
    if let Some(told) = &before {
        let sent = mail::progress(tenant, told.entity.mail).await?;
        if sent.is_none_or(|sent| !sent.state.is_lost()) {
            return Ok(false);
        }
    }
    let mut overtaken = false;
    let told = tenant
        .audited(by, "sub_processor_notice.send", async |tx: &mut WriteTx<'_>| {
            let now = tx.get::<Told>(id).await?;
            overtaken =
                now.as_ref().map(|now| now.version) != before.as_ref().map(|before| before.version);
            if overtaken {
                return Err(Problem::Stale);
            }
            let contact = tx.settings().await?.entity.contacts.primary;
            let letter = letters::sub_processor(
                tx.tenant().profile(),
                &contact,
                (&description.name, &description.purpose, &description.location),
                (effective_on, description.outside_eu()),
                write_to,
            )?;
            let mail =
                mail::enqueue_though_suspended(tx, by.now, contact.subject(), &letter).await?;
            if let Some(now) = now {
                tx.replace(&now, Told { effective_on, mail, ..now.entity.clone() }).await?;
            } else {
                let description = description.clone();
                tx.insert(id, Told { description, effective_on, mail, objection: None }).await?;
            }
            Ok(())
        })
        .await;
    match told {
        // Another run was faster, or the tenant has just objected.
        Err(_) if overtaken => Ok(false),
        other => other.map(|()| true),
    }
}

/// Withdraws a change, or ends the use of a sub-processor.
///
/// # Errors
/// 404 when there is none, 409 when it was withdrawn before, 503 when the
/// database does not answer.
pub async fn withdraw(
    provider: &Tenant,
    by: &Attribution,
    change: Id,
    reason: &str,
) -> Result<(), Problem> {
    provider
        .audited(by, "sub_processor_change.withdraw", async |tx: &mut WriteTx<'_>| {
            let before = tx.get::<Change>(change).await?.ok_or(Problem::NotFound)?;
            if before.entity.state == State::Withdrawn {
                return Err(Problem::Conflict("The change was withdrawn before.".into()));
            }
            let after = Change {
                state: State::Withdrawn,
                withdrawn_at: Some(by.now),
                reason: Some(reason.to_owned()),
                ..before.entity.clone()
            };
            tx.replace(&before, after).await?;
            Ok(())
        })
        .await
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
    /// When the notice was written.
    #[schemars(with = "String", extend("format" = "date-time"))]
    told_at: Timestamp,
    /// When the mail service took the message to the primary contact; absent also
    /// when it came back.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    delivered_at: Option<Timestamp>,
    /// The tenant's objection.
    objection: Option<Objection>,
}

impl ToldView {
    /// The notice, with what became of its message.
    ///
    /// # Errors
    /// 503 when the database does not answer.
    pub async fn of(tenant: &Tenant, stored: &Stored<Told>) -> Result<Self, Problem> {
        let Told { description, effective_on, mail, objection } = stored.entity.clone();
        let sent = mail::progress(tenant, mail).await?;
        let sent = sent.filter(|sent| sent.state == mail::State::Sent);
        Ok(Self {
            id: stored.id,
            description,
            effective_on,
            told_at: stored.created_at,
            delivered_at: sent.map(|sent| sent.since),
            objection,
        })
    }
}

/// Whether `change` was announced and has neither taken effect nor been
/// withdrawn: while it waits, customers may object.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn is_waiting(provider: &Tenant, change: Id) -> Result<bool, Problem> {
    let found = provider.get::<Change>(change).await?;
    Ok(found.is_some_and(|change| change.entity.state == State::Announced))
}

/// Objects to a change for the tenant, and tells `ours`, the provider's contact,
/// and the tenant's own.
///
/// # Errors
/// 404 when the tenant was told of no such change; 409 when it objected before,
/// or the change is not `waiting` any more.
pub async fn object(
    tx: &mut WriteTx<'_>,
    (change, waiting): (Id, bool),
    (by, at): (Objector, Timestamp),
    reason: &str,
    ours: &Contact,
) -> Result<Stored<Told>, Problem> {
    let before = tx.get::<Told>(change).await?.ok_or(Problem::NotFound)?;
    if before.entity.objection.is_some() {
        return Err(Problem::Conflict("The tenant objected before.".into()));
    }
    if !waiting {
        return Err(Problem::Conflict("The change took effect or was withdrawn.".into()));
    }
    let in_writing = matches!(by, Objector::Writer { .. });
    let objection =
        Objection { by, at, reason: reason.to_owned(), outcome: None, settled_at: None };
    let after = Told { objection: Some(objection), ..before.entity.clone() };
    let told = tx.replace(&before, after).await?;
    let about = letters::Announced {
        change,
        name: &told.entity.description.name,
        effective_on: told.entity.effective_on,
    };
    // Neither waits if the tenant is suspended: ours is nobody of it, and theirs
    // is about the notice, which did not wait.
    let letter = letters::objection(tx.tenant().profile(), ours, &about, reason)?;
    mail::enqueue_though_suspended(tx, at, Subject::Tenant, &letter).await?;
    let theirs = tx.settings().await?.entity.contacts.primary;
    let letter = letters::objection_received(tx.tenant().profile(), &theirs, &about, in_writing)?;
    mail::enqueue_though_suspended(tx, at, theirs.subject(), &letter).await?;
    Ok(told)
}

/// Records that a tenant objects in writing, as one must of whom nobody can sign
/// in.
///
/// # Errors
/// 404 also when there is no such customer, 503 when a store does not answer;
/// else as [`object`].
pub async fn object_in_writing(
    registry: &JobRegistry<'_>,
    by: &Attribution,
    (tenant, change): (&TenantId, Id),
    reason: &str,
) -> Result<(), Problem> {
    let provider = registry.provider(by.now).await?;
    let waiting = is_waiting(&provider, change).await?;
    let ours = provider.settings().await?.entity.contacts.for_security();
    let found = registry.find(Visit::KeptCustomers, tenant.as_str()).await?;
    let tenant = registry.for_job(found.ok_or(Problem::NotFound)?, by.now).await?;
    tenant
        .audited(by, "sub_processor_notice.object", async |tx: &mut WriteTx<'_>| {
            let writer = Objector::Writer { recorded_by: by.actor.id.clone() };
            object(tx, (change, waiting), (writer, by.now), reason, &ours).await?;
            Ok(())
        })
        .await
}

/// Records what came of a tenant's objection.
///
/// # Errors
/// 404 when there is none, 409 when it is settled, 503 when a store does not
/// answer.
pub async fn settle(
    registry: &JobRegistry<'_>,
    by: &Attribution,
    (tenant, change): (&TenantId, Id),
    outcome: &str,
) -> Result<(), Problem> {
    let found = registry.find(Visit::KeptCustomers, tenant.as_str()).await?;
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

/// What a run did about the changes that are announced.
#[derive(Debug, Default, Serialize)]
pub struct Followed {
    /// Sub-processors that took effect.
    activated: u64,
    /// Letters about objections that are open.
    reminded: u64,
    /// Those that did not take effect, and why.
    waiting: Vec<(Id, Waits)>,
}

/// Lets those changes take effect whose time has come: 30 days after the last
/// confirmed delivery, with no objection open. Reminds our contact of those that
/// are open.
///
/// # Errors
/// 503 when a store does not answer; the next run goes on.
pub async fn activate_due(
    registry: &JobRegistry<'_>,
    by: &Attribution,
) -> Result<Followed, Problem> {
    let provider = registry.provider(by.now).await?;
    let announced = Filter::all().eq("state", "announced");
    let page = Page { after: None, limit: LISTED };
    let mut done = Followed::default();
    for change in provider.list::<Change>(announced, page).await? {
        let (why, objecting) = waits(registry, by, &change).await?;
        if remind(&provider, by, &change, &objecting).await? {
            done.reminded += 1;
        }
        if let Some(why) = why {
            done.waiting.push((change.id, why));
            continue;
        }
        provider
            .audited(by, "sub_processor_change.activate", async |tx: &mut WriteTx<'_>| {
                let before = tx.get::<Change>(change.id).await?.ok_or(Problem::NotFound)?;
                // Somebody may have withdrawn it meanwhile; the next run knows.
                if before.entity.state != State::Announced {
                    return Err(Problem::Stale);
                }
                let (state, activated_at) = (State::Active, Some(by.now));
                tx.replace(&before, Change { state, activated_at, ..before.entity.clone() })
                    .await?;
                Ok(())
            })
            .await?;
        done.activated += 1;
    }
    Ok(done)
}

impl Change {
    /// What is to be told at `now` of open objections, each once: whether the day
    /// has come, and the change once that is told.
    fn due(&self, now: Timestamp) -> Option<(bool, Self)> {
        let (today, day) = (calendar::day_of(now), self.effective_on);
        if today >= day {
            let after = Self { held_up_at: Some(now), ..self.clone() };
            return self.held_up_at.is_none().then_some((true, after));
        }
        let near = today >= calendar::days_after(day, -REMINDER_DAYS);
        let after = Self { reminded_at: Some(now), ..self.clone() };
        (near && self.reminded_at.is_none()).then_some((false, after))
    }
}

/// Reminds our contact that these tenants' objections are open, once before the
/// change's day and once when it has come; false when there is nothing to tell.
async fn remind(
    provider: &Tenant,
    by: &Attribution,
    change: &Stored<Change>,
    objecting: &[TenantId],
) -> Result<bool, Problem> {
    let Some((come, _)) = change.entity.due(by.now).filter(|_| !objecting.is_empty()) else {
        return Ok(false);
    };
    let action = if come { "sub_processor_change.hold_up" } else { "sub_processor_change.remind" };
    let told = provider
        .audited(by, action, async |tx: &mut WriteTx<'_>| {
            let before = tx.get::<Change>(change.id).await?.ok_or(Problem::NotFound)?;
            let due = before.entity.due(by.now).filter(|(now, _)| *now == come);
            // Another run was faster, or somebody withdrew it.
            let Some((_, after)) = due.filter(|(_, after)| after.state == State::Announced) else {
                return Err(Problem::Stale);
            };
            let to = tx.settings().await?.entity.contacts.for_security();
            let about = letters::Announced {
                change: before.id,
                name: &after.description.name,
                effective_on: after.effective_on,
            };
            let letter = letters::objections_open(&to, &about, objecting, come)?;
            tx.replace(&before, after).await?;
            mail::enqueue_though_suspended(tx, by.now, to.subject(), &letter).await?;
            Ok(())
        })
        .await;
    match told {
        Ok(()) => Ok(true),
        Err(Problem::Stale) => Ok(false),
        Err(problem) => Err(problem),
    }
}

/// What a change waits for first, and whose objections to it are open.
async fn waits(
    registry: &JobRegistry<'_>,
    by: &Attribution,
    change: &Stored<Change>,
) -> Result<(Option<Waits>, Vec<TenantId>), Problem> {
    let mut from = change.entity.effective_on;
    let (mut why, mut objecting) = (None, Vec::new());
    for enrolled in registry.walk(Visit::KeptCustomers).await? {
        let slug = enrolled.id().clone();
        let tenant = registry.for_job(enrolled, by.now).await?;
        let Some(told) = tenant.get::<Told>(change.id).await? else {
            // Who came later found it on the list.
            if tenant.settings().await?.created_at <= change.created_at {
                why.get_or_insert(Waits::Undelivered(slug));
            }
            continue;
        };
        match mail::progress(&tenant, told.entity.mail).await? {
            Some(sent) if sent.state == mail::State::Sent => {
                let day = calendar::day_of(sent.since);
                from = from.max(calendar::days_after(day, SUB_PROCESSOR_NOTICE_DAYS));
            }
            _ => {
                why.get_or_insert_with(|| Waits::Undelivered(slug.clone()));
            }
        }
        if told.entity.objection.is_some_and(|objection| objection.outcome.is_none()) {
            why.get_or_insert_with(|| Waits::Objection(slug.clone()));
            objecting.push(slug);
        }
    }
    let until = (calendar::day_of(by.now) < from).then_some(Waits::Until(from));
    Ok((why.or(until), objecting))
}

#[cfg(test)]
mod tests {
    use keystone::tenant::{Contacts, CrossBorderConsent};

    use super::*;

    #[test]
    fn the_first_sub_processors_can_be_read() {
        let first: Vec<Description> = serde_json::from_str(FIRST).unwrap();
        assert!(first.iter().all(|one| one.location.contains("eu-west-1")));
        // They are used for every tenant, whatever it consented to.
        assert!(first.iter().all(|one| !one.outside_eu()));
    }

    fn one(state: State, countries: &[&str]) -> Listed {
        let text = String::new;
        let countries = countries.iter().map(|&country| country.to_owned()).collect();
        let description = Description {
            name: text(),
            purpose: text(),
            data: text(),
            location: text(),
            countries,
            safeguards: text(),
            contact: text(),
        };
        Listed::new(description, state, None)
    }

    fn settings(consent: bool) -> Settings {
        let contact = Contact { name: String::new(), email: String::new(), user: None };
        let contacts = Contacts { primary: contact, security: None, billing: None };
        let mut settings = Settings::new(contacts, Timestamp::UNIX_EPOCH);
        assert!(settings.cross_border_consent.is_none(), "off by default");
        settings.cross_border_consent = consent.then(|| CrossBorderConsent {
            signatory: String::new(),
            document: String::new(),
            recorded_at: Timestamp::UNIX_EPOCH,
            recorded_by: keystone::random::id(Timestamp::UNIX_EPOCH).unwrap(),
        });
        settings
    }

    fn objection(outcome: Option<&str>) -> Objection {
        Objection {
            by: Objector::User(keystone::random::id(Timestamp::UNIX_EPOCH).unwrap()),
            at: Timestamp::UNIX_EPOCH,
            reason: String::new(),
            outcome: outcome.map(ToOwned::to_owned),
            settled_at: None,
        }
    }

    #[test]
    fn who_objected_is_a_user_or_an_operator_who_recorded_it() {
        // As releases stored it that knew users only.
        let user = "01890000-0000-7000-8000-000000000000";
        let mut stored = serde_json::to_value(objection(None)).unwrap();
        stored["by"] = user.into();
        let read: Objection = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(read.by, Objector::User(user.parse().unwrap()));
        assert_eq!(serde_json::to_value(read).unwrap(), stored);
        stored["by"] = serde_json::json!({ "recorded_by": "Una" });
        let read: Objection = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(read.by, Objector::Writer { recorded_by: "Una".into() });
        assert_eq!(serde_json::to_value(read).unwrap(), stored);
        for wrong in ["Una".into(), serde_json::json!({})] {
            stored["by"] = wrong;
            assert!(serde_json::from_value::<Objection>(stored.clone()).is_err(), "{stored}");
        }
    }

    #[test]
    fn open_objections_are_called_to_mind_before_the_day_and_on_it() {
        let at = |day: &str| format!("2026-06-{day}T12:00:00Z").parse::<Timestamp>().unwrap();
        let announced = Change {
            description: one(State::Announced, &["IE"]).description,
            state: State::Announced,
            effective_on: jiff::civil::date(2026, 6, 30),
            activated_at: None,
            withdrawn_at: None,
            reason: None,
            reminded_at: None,
            held_up_at: None,
        };
        let mut change = announced.clone();
        for (day, told) in [
            ("22", None),
            ("23", Some(false)),
            ("24", None),
            ("29", None),
            ("30", Some(true)),
            ("30", None),
        ] {
            let due = change.due(at(day));
            assert_eq!(due.as_ref().map(|(come, _)| *come), told, "{day}");
            change = due.map_or(change, |(_, after)| after);
        }
        // Who objects on the last day, or is looked at late, is not told of twice.
        let (come, after) = announced.due(at("30")).unwrap();
        assert!(come && after.due(at("30")).is_none());
    }

    #[test]
    fn data_leaves_the_eu_only_by_consent() {
        let cases: [(&[&str], bool, bool); 7] = [
            (&["IE", "DE"], false, false),
            (&["US"], false, true),
            (&["US"], true, false),
            // One that is outside is enough, and so is not to know.
            (&["IE", "GB"], false, true),
            (&["NO"], false, true),
            (&[], false, true),
            (&[], true, false),
        ];
        for (countries, consent, barred) in cases {
            let found = bars(&one(State::Active, countries), None, &settings(consent));
            let wanted: &[Bar] = if barred { &[Bar::ConsentMissing] } else { &[] };
            assert_eq!(found, wanted, "{countries:?} {consent}");
        }
    }

    #[test]
    fn all_that_bars_is_named_and_consent_lifts_nothing_else() {
        let open = objection(None);
        let bars =
            |state, consent, objection| bars(&one(state, &["US"]), objection, &settings(consent));
        assert_eq!(
            bars(State::Announced, false, Some(&open)),
            [Bar::NotInEffect, Bar::ObjectionOpen, Bar::ConsentMissing]
        );
        for state in [State::Announced, State::Withdrawn] {
            assert_eq!(bars(state, true, None), [Bar::NotInEffect]);
        }
        assert_eq!(bars(State::Active, true, Some(&open)), [Bar::ObjectionOpen]);
        assert!(bars(State::Active, true, Some(&objection(Some("Settled.")))).is_empty());
    }
}
