//! `GET /v1/sites/{id}`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::site::{Site, SiteView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-site",
        method: Method::Get,
        path: "/v1/sites/{id}",
        summary: "Reads a site.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<SiteView>),
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let stored =
        call.tenant().get::<Site>(call.request().path("id")?).await?.ok_or(Problem::NotFound)?;
    Ok(Reply::ok(&SiteView::new(&stored))?.with_version(stored.version))
}
