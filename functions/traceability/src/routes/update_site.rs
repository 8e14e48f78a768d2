//! `PATCH /v1/sites/{id}`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::site::{Site, SitePatch, SiteView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "update-site",
        method: Method::Patch,
        path: "/v1/sites/{id}",
        summary: "Changes a site (JSON merge patch); needs If-Match.",
        query: None,
        body: Some(schema_of::<SitePatch>),
        answer: Answer::json(200, schema_of::<SiteView>),
    },
    permission: Permission::WriteTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id = call.request().path("id")?;
    let version = call.request().if_match()?;
    let patch: SitePatch = call.request().body()?;
    call.audited("site.update", async |tx| {
        let before = tx.get::<Site>(id).await?.ok_or(Problem::NotFound)?.at_version(version)?;
        let after = tx.replace(&before, patch.apply(&before.entity)).await?;
        Ok(Reply::ok(&SiteView::new(&after))?.with_version(after.version))
    })
    .await
}
