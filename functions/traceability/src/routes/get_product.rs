//! `GET /v1/products/{id}`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::product::{Product, ProductView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-product",
        method: Method::Get,
        path: "/v1/products/{id}",
        summary: "Reads a product.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<ProductView>),
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let stored =
        call.tenant().get::<Product>(call.request().path("id")?).await?.ok_or(Problem::NotFound)?;
    Ok(Reply::ok(&ProductView::new(&stored))?.with_version(stored.version))
}
