//! `POST /v1/products`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::StoreError;

use crate::product::{Product, ProductView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "create-product",
        method: Method::Post,
        path: "/v1/products",
        summary: "Creates a product.",
        query: None,
        body: Some(schema_of::<Product>),
        answer: Answer::json(201, schema_of::<ProductView>),
    },
    permission: Permission::WriteTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let product: Product = call.request().body()?;
    let id = call.new_id()?;
    call.audited("product.create", async |tx| {
        let stored = tx.insert(id, product.clone()).await.map_err(taken)?;
        let view = ProductView::new(&stored);
        Ok(Reply::created(format!("/v1/products/{id}"), &view)?.with_version(stored.version))
    })
    .await
}

fn taken(error: StoreError) -> Problem {
    match error {
        StoreError::Duplicate => Problem::Conflict("There is a product with this GTIN.".into()),
        other => other.into(),
    }
}
