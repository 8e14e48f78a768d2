//! `PATCH /v1/suppliers/{id}`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::partner::must_be_free;
use crate::supplier::{Clear, Supplier, SupplierPatch, SupplierView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "update-supplier",
        method: Method::Patch,
        path: "/v1/suppliers/{id}",
        summary: "Changes a supplier (JSON merge patch); needs If-Match.",
        query: None,
        body: Some(schema_of::<SupplierPatch>),
        answer: Answer::json(200, schema_of::<SupplierView>),
    },
    permission: Permission::WritePartners,
    assurance: Assurance::Full,
};

/// The handler. What is sealed is shown masked: only a read discloses.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id = call.request().path("id")?;
    let version = call.request().if_match()?;
    let patch: SupplierPatch = call.request().body()?;
    call.audited("supplier.update", async |tx| {
        let before = tx.get::<Supplier>(id).await?.ok_or(Problem::NotFound)?.at_version(version)?;
        let supplier = patch.apply(call.tenant(), &before).await?;
        if supplier.gln != before.entity.gln {
            must_be_free::<Supplier>(tx, supplier.gln.as_deref(), id).await?;
        }
        let after = tx.replace(&before, supplier).await?;
        let view = SupplierView::new(call.tenant(), &after, Clear::NOTHING).await?;
        Ok(Reply::ok(&view)?.with_version(after.version))
    })
    .await
}
