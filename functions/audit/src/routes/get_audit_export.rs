//! `GET /v1/audit/exports/{id}`

use keystone::Problem;
use keystone::audit::entry::{Outcome, Resource};
use keystone::auth::Permission;
use keystone::config::Setting;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::Entity;
use serde_json::json;

use crate::exports::{Export, ExportView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-audit-export",
        method: Method::Get,
        path: "/v1/audit/exports/{id}",
        summary: "Reads how far an export is, with links of five minutes when it is done.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<ExportView>),
    },
    permission: Permission::ExportAudit,
    assurance: Assurance::Full,
};

/// What the function needs beyond what every guarded function does.
pub const SETTINGS: [Setting; 1] = [Setting::ExportBucket];

/// The handler. Links are recorded before they are handed out.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id = call.request().path("id")?;
    let export = call.tenant().get::<Export>(id).await?.ok_or(Problem::NotFound)?;
    let view = ExportView::with_links(&call, &export).await?;
    if view.has_links() {
        let resource = Resource { kind: Export::RESOURCE.into(), id: id.to_string() };
        let facts = json!({ "files": export.entity.files() });
        call.tenant()
            .record(&call.attribution()?, "audit_export.fetch", resource, Outcome::Success, facts)
            .await?;
    }
    Reply::ok(&view)
}
