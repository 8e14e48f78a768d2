//! `POST /v1/audit/checkpoints`

use keystone::Problem;
use keystone::audit::entry::{Outcome, Resource};
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use serde_json::json;

use crate::checkpoints::Publisher;
use crate::view::CheckpointView;

pub use crate::checkpoints::PUBLISH_SETTINGS as SETTINGS;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "create-audit-checkpoint",
        method: Method::Post,
        path: "/v1/audit/checkpoints",
        summary: "Signs a checkpoint of the audit trail now.",
        query: None,
        body: None,
        answer: Answer::json(201, schema_of::<CheckpointView>),
    },
    permission: Permission::ExportAudit,
    assurance: Assurance::Full,
};

/// The handler. The request is recorded first, so the checkpoint covers it too.
/// It asks for no `Idempotency-Key`: signing twice does no harm.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let by = call.attribution()?;
    let tenant = call.tenant();
    let resource = Resource { kind: "audit_trail".into(), id: tenant.id().to_string() };
    tenant
        .record(&by, "audit_trail.request_checkpoint", resource, Outcome::Success, json!({}))
        .await?;
    let publisher = Publisher::new(call.platform()).await?;
    let (signed, _) = publisher.publish(tenant, call.now()).await?;
    Reply::created("/v1/audit/checkpoint".into(), &CheckpointView::new(&signed))
}
