//! Notices that an operator publishes to tenants: in their console, and if
//! asked to, by mail to their security contact.

use std::time::Duration;

use keystone::tenant::{Attribution, Entity, Id, JobRegistry, Tenant, Visit, WriteTx, schema};
use keystone::{FieldError, Problem, letters, mail};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::notice::{Kind, Notice};

/// After so long a run goes to no further tenant; the same call goes on.
const RUN_LIMIT: Duration = Duration::from_mins(10);

/// A notice as it was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announcement {
    /// Its title.
    pub title: String,
    /// Its text.
    pub paragraphs: Vec<String>,
    /// Slugs of those who get it; every tenant whose people may sign in if
    /// absent.
    pub tenants: Option<Vec<String>>,
    /// Whether it goes to their security contacts by mail, too.
    pub mail: bool,
}

impl Entity for Announcement {
    const COLLECTION: &'static schema::Collection = &schema::ANNOUNCEMENTS;
    const RESOURCE: &'static str = "announcement";
    const PERSONAL: &'static [&'static str] = &[];
}

/// What a run did.
#[derive(Debug, Default, Serialize)]
pub struct Published {
    /// Tenants that got the notice now.
    tenants: u64,
    /// Tenants that had it already.
    before: u64,
    /// Whether the time was over before all had it: call again.
    unfinished: bool,
}

/// Publishes a notice under `id`. The same call again goes on where the one
/// before ended, and gives no tenant the notice twice.
///
/// # Errors
/// 422 naming every tenant that does not exist; 409 when the id is that of
/// another notice; 503 when a store does not answer.
pub async fn publish(
    registry: &JobRegistry<'_>,
    by: &Attribution,
    id: Id,
    new: &Announcement,
) -> Result<Published, Problem> {
    let deadline = Instant::now() + RUN_LIMIT;
    let mut tenants = registry.walk(Visit::Customers).await?;
    if let Some(named) = &new.tenants {
        let missing = named
            .iter()
            .enumerate()
            .filter(|(_, slug)| !tenants.iter().any(|one| one.id().as_str() == *slug));
        let errors: Vec<_> = missing
            .map(|(index, _)| {
                FieldError::new(format!("/tenants/{index}"), "There is no such tenant.")
            })
            .collect();
        if !errors.is_empty() {
            return Err(Problem::Invalid(errors));
        }
        tenants.retain(|one| named.iter().any(|slug| slug == one.id().as_str()));
    }
    record(&registry.provider(by.now).await?, by, id, new).await?;
    let mut done = Published::default();
    let mut first_problem = None;
    for enrolled in tenants {
        if Instant::now() >= deadline {
            done.unfinished = true;
            break;
        }
        let slug = enrolled.id().clone();
        let told = async {
            let tenant = registry.for_job(enrolled, by.now).await?;
            deliver(&tenant, by, id, new).await
        };
        match told.await {
            Ok(true) => done.tenants += 1,
            Ok(false) => done.before += 1,
            Err(problem) => {
                tracing::error!(tenant = %slug, %problem, "a notice could not be published");
                first_problem.get_or_insert(problem);
            }
        }
    }
    first_problem.map_or(Ok(done), Err)
}

/// Keeps what is published, unless a run before did.
async fn record(
    provider: &Tenant,
    by: &Attribution,
    id: Id,
    new: &Announcement,
) -> Result<(), Problem> {
    let is_new = |known: &Announcement| {
        let what = "This id is that of another notice.";
        if known == new { Ok(()) } else { Err(Problem::Conflict(what.into())) }
    };
    if let Some(known) = provider.get::<Announcement>(id).await? {
        return is_new(&known.entity);
    }
    let mut other = None;
    let done = provider
        .audited(by, "announcement.publish", async |tx: &mut WriteTx<'_>| {
            other = tx.get::<Announcement>(id).await?;
            if other.is_some() {
                return Err(Problem::Stale);
            }
            tx.insert(id, new.clone()).await?;
            Ok(())
        })
        .await;
    other.map_or(done, |known| is_new(&known.entity))
}

/// Gives a tenant the notice; false when it has it.
async fn deliver(
    tenant: &Tenant,
    by: &Attribution,
    announcement: Id,
    new: &Announcement,
) -> Result<bool, Problem> {
    let slug = tenant.id().as_str();
    let id = Id::derived(announcement.made_at(), &["notice", &announcement.to_string(), slug]);
    if tenant.get::<Notice>(id).await?.is_some() {
        return Ok(false);
    }
    let mut told_by_another = false;
    let done = tenant
        .audited(by, "notice.publish", async |tx: &mut WriteTx<'_>| {
            told_by_another = tx.get::<Notice>(id).await?.is_some();
            if told_by_another {
                return Err(Problem::Stale);
            }
            let notice = Notice::new(Kind::Security, &new.title, new.paragraphs.clone(), None);
            tx.insert(id, notice).await?;
            if new.mail {
                let to = tx.settings().await?.entity.contacts.for_security();
                let profile = tx.tenant().profile();
                let letter = letters::notice(profile, &to, &new.title, &new.paragraphs)?;
                mail::enqueue(tx, by.now, to.subject(), &letter).await?;
            }
            Ok(())
        })
        .await;
    if told_by_another { Ok(false) } else { done.map(|()| true) }
}
