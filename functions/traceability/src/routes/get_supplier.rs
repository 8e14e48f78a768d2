//! `GET /v1/suppliers/{id}`

use keystone::Problem;
use keystone::audit::entry::Resource;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::supplier::{Supplier, SupplierView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-supplier",
        method: Method::Get,
        path: "/v1/suppliers/{id}",
        summary: "Reads a supplier; sealed data in clear if the role permits.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<SupplierView>),
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// The handler. A disclosure in clear is recorded before it is made; there is
/// none while the use of the data is restricted.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let stored = call
        .tenant()
        .get::<Supplier>(call.request().path("id")?)
        .await?
        .ok_or(Problem::NotFound)?;
    let clear = call.sees(Permission::ReadSupplierBanking) && stored.entity.restriction.is_none();
    let sealed = stored.entity.banking.is_some();
    if clear && sealed {
        let resource = Resource { kind: "supplier".into(), id: stored.id.to_string() };
        call.disclose("supplier.disclose", resource, &["banking"], 1).await?;
    }
    let view = SupplierView::new(call.tenant(), &stored, clear).await?;
    Ok(Reply::ok(&view)?.with_version(stored.version))
}
