//! `GET /v1/tenant`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::tenant::TenantView;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-tenant",
        method: Method::Get,
        path: "/v1/tenant",
        summary: "Reads the tenant and its settings.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<TenantView>),
    },
    permission: Permission::ManageTenant,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let settings = call.tenant().settings().await?;
    let view = TenantView::new(call.tenant(), &settings);
    Ok(Reply::ok(&view)?.with_version(settings.version))
}
