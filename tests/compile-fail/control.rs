//! What the other files do wrong, done right.

use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::{Filter, Id, Tenant, WriteTx};
use keystone::{Exit, Problem};
use keystone_traceability::product::{Product, ProductView};

const ROUTE: Route = Route {
    spec: Spec {
        name: "create-product",
        method: Method::Post,
        path: "/v1/products",
        summary: "",
        query: None,
        body: Some(schema_of::<Product>),
        answer: Answer::json(201, schema_of::<ProductView>),
    },
    permission: Permission::WriteTraceability,
    assurance: Assurance::Full,
};

async fn handle(call: Call) -> Result<Reply, Problem> {
    let product: Product = call.request().body()?;
    let id = call.new_id()?;
    call.audited("product.create", async |tx: &mut WriteTx<'_>| {
        tx.insert(id, product.clone()).await?;
        Ok(Reply::empty())
    })
    .await
}

pub async fn by_gtin(tenant: &Tenant, gtin: String) -> Result<Option<Id>, Problem> {
    let found = tenant.find::<Product>(Filter::all().eq("gtin", gtin)).await?;
    Ok(found.map(|stored| stored.id))
}

pub async fn run() -> Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
