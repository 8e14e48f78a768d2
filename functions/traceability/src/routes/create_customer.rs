//! `POST /v1/customers`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::customer::{Customer, CustomerView, NewCustomer};
use crate::partner::must_be_free;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "create-customer",
        method: Method::Post,
        path: "/v1/customers",
        summary: "Creates a customer.",
        query: None,
        body: Some(schema_of::<NewCustomer>),
        answer: Answer::json(201, schema_of::<CustomerView>),
    },
    permission: Permission::WritePartners,
    assurance: Assurance::Full,
};

/// The handler. What was sealed is shown masked: only a read discloses.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let new: NewCustomer = call.request().body()?;
    let id = call.new_id()?;
    let customer = new.into_customer(call.tenant(), id).await?;
    call.audited("customer.create", async |tx| {
        must_be_free::<Customer>(tx, customer.gln.as_deref(), id).await?;
        let stored = tx.insert(id, customer.clone()).await?;
        let view = CustomerView::new(call.tenant(), &stored, false).await?;
        Ok(Reply::created(format!("/v1/customers/{id}"), &view)?.with_version(stored.version))
    })
    .await
}
