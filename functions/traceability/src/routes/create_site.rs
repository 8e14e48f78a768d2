//! `POST /v1/sites`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::site::{Site, SiteView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "create-site",
        method: Method::Post,
        path: "/v1/sites",
        summary: "Records a site.",
        query: None,
        body: Some(schema_of::<Site>),
        answer: Answer::json(201, schema_of::<SiteView>),
    },
    permission: Permission::WriteTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let site: Site = call.request().body()?;
    let id = call.new_id()?;
    call.audited("site.create", async |tx| {
        let stored = tx.insert(id, site.clone()).await?;
        let view = SiteView::new(&stored);
        Ok(Reply::created(format!("/v1/sites/{id}"), &view)?.with_version(stored.version))
    })
    .await
}
