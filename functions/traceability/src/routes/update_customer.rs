//! `PATCH /v1/customers/{id}`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::customer::{Customer, CustomerPatch, CustomerView};
use crate::partner::must_be_free;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "update-customer",
        method: Method::Patch,
        path: "/v1/customers/{id}",
        summary: "Changes a customer (JSON merge patch); needs If-Match.",
        query: None,
        body: Some(schema_of::<CustomerPatch>),
        answer: Answer::json(200, schema_of::<CustomerView>),
    },
    permission: Permission::WritePartners,
    assurance: Assurance::Full,
};

/// The handler. What is sealed is shown masked: only a read discloses.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id = call.request().path("id")?;
    let version = call.request().if_match()?;
    let patch: CustomerPatch = call.request().body()?;
    call.audited("customer.update", async |tx| {
        let before = tx.get::<Customer>(id).await?.ok_or(Problem::NotFound)?.at_version(version)?;
        let customer = patch.apply(call.tenant(), &before).await?;
        if customer.gln != before.entity.gln {
            must_be_free::<Customer>(tx, customer.gln.as_deref(), id).await?;
        }
        let after = tx.replace(&before, customer).await?;
        let view = CustomerView::new(call.tenant(), &after, false).await?;
        Ok(Reply::ok(&view)?.with_version(after.version))
    })
    .await
}
