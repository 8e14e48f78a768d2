//! Accesses of the provider's operators, as the tenant sees and ends them.

use jiff::Timestamp;
use keystone::Problem;
use keystone::auth::Permission;
use keystone::auth::operator::{AccessState, Ended, OperatorAccess};
use keystone::http::{Call, Reply};
use keystone::tenant::{Id, Settings, Stored, WriteTx};
use schemars::JsonSchema;
use serde::Serialize;

/// An access as it is shown.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OperatorAccess")]
pub struct AccessView {
    /// Id; what was asked for with it stands in the audit trail under
    /// `resource_id`.
    id: Id,
    /// Name of the person at the provider.
    operator: String,
    /// Why it was granted.
    reason: String,
    /// Where it stands.
    state: AccessState,
    /// When it was granted.
    #[schemars(with = "String", extend("format" = "date-time"))]
    granted_at: Timestamp,
    /// When it ends unless somebody ends it before.
    #[schemars(with = "String", extend("format" = "date-time"))]
    until: Timestamp,
    /// Who ended it before.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
}

impl AccessView {
    /// The access as it stands at `now`, in a tenant with these settings.
    pub fn new(stored: &Stored<OperatorAccess>, settings: &Settings, now: Timestamp) -> Self {
        let OperatorAccess { operator, reason, until, ended, .. } = stored.entity.clone();
        Self {
            id: stored.id,
            operator,
            reason,
            state: stored.entity.state(settings, now),
            granted_at: stored.created_at,
            until,
            ended,
        }
    }
}

/// Ends the access with this id in the caller's name. One that has ended stays
/// as it is, and gives the same answer.
///
/// # Errors
/// 404 when there is no such access; 403 when the caller may no longer end it;
/// 503 when the database does not answer.
pub async fn end(call: &Call, id: Id) -> Result<Reply, Problem> {
    let (tenant, now) = (call.tenant(), call.now());
    let (known, settings) = tokio::join!(tenant.get::<OperatorAccess>(id), tenant.settings());
    let (mut known, mut settings) = (known?.ok_or(Problem::NotFound)?, settings?.entity);
    if !known.entity.serves(&settings, now) {
        return Reply::ok(&AccessView::new(&known, &settings, now));
    }
    let mut done_before = false;
    let done = call
        .audited("operator_access.end", async |tx: &mut WriteTx<'_>| {
            call.caller_with(tx, Permission::EndOperatorAccesses).await?;
            settings = tx.settings().await?.entity;
            known = tx.get::<OperatorAccess>(id).await?.ok_or(Problem::NotFound)?;
            done_before = !known.entity.serves(&settings, now);
            if done_before {
                return Err(Problem::Stale);
            }
            let mut after = known.entity.clone();
            after.ended = Some(Ended { by: call.principal().user(), at: now });
            let ended = tx.replace(&known, after).await?;
            Reply::ok(&AccessView::new(&ended, &settings, now))
        })
        .await;
    if done_before { Reply::ok(&AccessView::new(&known, &settings, now)) } else { done }
}
