//! `GET /v1/suppliers/{id}`

use keystone::Problem;
use keystone::audit::entry::Resource;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::supplier::{Clear, Supplier, SupplierView};

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
    let sees = |permission| call.sees(permission) && stored.entity.restriction.is_none();
    let clear = Clear {
        contact: sees(Permission::ReadContactData),
        banking: sees(Permission::ReadSupplierBanking),
    };
    let Supplier { email, banking, .. } = &stored.entity;
    let shown = [
        (clear.contact && email.is_some()).then_some("email"),
        (clear.banking && banking.is_some()).then_some("banking"),
    ];
    let shown: Vec<&str> = shown.into_iter().flatten().collect();
    if !shown.is_empty() {
        let resource = Resource { kind: "supplier".into(), id: stored.id.to_string() };
        call.disclose("supplier.disclose", resource, &shown, 1).await?;
    }
    let view = SupplierView::new(call.tenant(), &stored, clear).await?;
    Ok(Reply::ok(&view)?.with_version(stored.version))
}
