//! `GET /v1/tenant/data`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::portable;
use schemars::JsonSchema;
use serde::Serialize;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-tenant-data",
        method: Method::Get,
        path: "/v1/tenant/data",
        summary: "Lists the collections of which the tenant can take everything along.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<Collections>),
    },
    permission: Permission::ManageTenant,
    assurance: Assurance::Full,
};

/// What there is to take along, beside the exports of the audit trail.
#[derive(Serialize, JsonSchema)]
pub struct Collections {
    /// The collections.
    items: Vec<CollectionView>,
}

/// A collection.
#[derive(Serialize, JsonSchema)]
pub struct CollectionView {
    /// Its name, for `/v1/tenant/data/{collection}`.
    name: &'static str,
    /// Documents in it.
    documents: u64,
}

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let mut items = Vec::new();
    for collection in portable::collections() {
        let documents = call.tenant().count(collection).await?;
        items.push(CollectionView { name: collection.name, documents });
    }
    Reply::ok(&Collections { items })
}
