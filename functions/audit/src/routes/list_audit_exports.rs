//! `GET /v1/audit/exports`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{
    Answer, Assurance, Call, List, Method, PageQuery, Reply, Route, Spec, schema_of,
};
use keystone::tenant::Filter;

use crate::exports::{Export, ExportView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-audit-exports",
        method: Method::Get,
        path: "/v1/audit/exports",
        summary: "Lists exports of the audit trail, newest first, without links.",
        query: Some(schema_of::<PageQuery>),
        body: None,
        answer: Answer::json(200, schema_of::<List<ExportView>>),
    },
    permission: Permission::ExportAudit,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let query: PageQuery = call.request().query()?;
    let page = call.page::<Export>(Filter::all(), &query).await?;
    let tenant = call.tenant();
    Reply::ok(&page.try_map_async(async |export| ExportView::new(tenant, export).await).await?)
}
