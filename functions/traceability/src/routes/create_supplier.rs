//! `POST /v1/suppliers`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::partner::must_be_free;
use crate::supplier::{Clear, NewSupplier, Supplier, SupplierView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "create-supplier",
        method: Method::Post,
        path: "/v1/suppliers",
        summary: "Creates a supplier.",
        query: None,
        body: Some(schema_of::<NewSupplier>),
        answer: Answer::json(201, schema_of::<SupplierView>),
    },
    permission: Permission::WritePartners,
    assurance: Assurance::Full,
};

/// The handler. What was sealed is shown masked: only a read discloses.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let new: NewSupplier = call.request().body()?;
    let id = call.new_id()?;
    let supplier = new.into_supplier(call.tenant(), id).await?;
    call.audited("supplier.create", async |tx| {
        must_be_free::<Supplier>(tx, supplier.gln.as_deref(), id).await?;
        let stored = tx.insert(id, supplier.clone()).await?;
        let view = SupplierView::new(call.tenant(), &stored, Clear::NOTHING).await?;
        Ok(Reply::created(format!("/v1/suppliers/{id}"), &view)?.with_version(stored.version))
    })
    .await
}
