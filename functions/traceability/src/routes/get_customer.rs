//! `GET /v1/customers/{id}`

use keystone::Problem;
use keystone::audit::entry::Resource;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::customer::{Customer, CustomerView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-customer",
        method: Method::Get,
        path: "/v1/customers/{id}",
        summary: "Reads a customer; sealed data in clear if the role permits.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<CustomerView>),
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// The handler. A disclosure in clear is recorded before it is made; there is
/// none while the use of the data is restricted.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let stored = call
        .tenant()
        .get::<Customer>(call.request().path("id")?)
        .await?
        .ok_or(Problem::NotFound)?;
    let clear = call.sees(Permission::ReadContactData) && stored.entity.restriction.is_none();
    let sealed = stored.entity.delivery_address.is_some() || stored.entity.phone.is_some();
    if clear && sealed {
        let resource = Resource { kind: "customer".into(), id: stored.id.to_string() };
        call.disclose("customer.disclose", resource, &["delivery_address", "phone"], 1).await?;
    }
    let view = CustomerView::new(call.tenant(), &stored, clear).await?;
    Ok(Reply::ok(&view)?.with_version(stored.version))
}
