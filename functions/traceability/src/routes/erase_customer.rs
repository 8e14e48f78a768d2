//! `POST /v1/customers/{id}/erase`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::config::Setting;
use keystone::erasure::{Erased, NewErasure, erase};
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::{Stored, WriteTx};

use crate::customer::Customer;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "erase-customer",
        method: Method::Post,
        path: "/v1/customers/{id}/erase",
        summary: "Erases a customer's contact data everywhere, backups included.",
        query: None,
        body: Some(schema_of::<NewErasure>),
        answer: Answer::json(200, schema_of::<Erased>),
    },
    permission: Permission::EraseSubject,
    assurance: Assurance::FullRecent,
};

/// What the function needs beyond what every guarded function does: bundles that
/// were made of the data lie there.
pub const SETTINGS: [Setting; 1] = [Setting::ExportBucket];

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id = call.request().path("id")?;
    let NewErasure { ground } = call.request().body()?;
    let always = async |_: &mut WriteTx<'_>, _: &Stored<Customer>| Ok(());
    Reply::ok(&erase(&call, id, "customer.erase", ground, always).await?)
}
