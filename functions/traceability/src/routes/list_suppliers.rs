//! `GET /v1/suppliers`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{
    Answer, Assurance, Call, List, Method, PageQuery, Reply, Route, Spec, schema_of,
};
use keystone::tenant::Filter;

use crate::supplier::{Supplier, SupplierView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-suppliers",
        method: Method::Get,
        path: "/v1/suppliers",
        summary: "Lists suppliers, newest first, sealed data masked.",
        query: Some(schema_of::<PageQuery>),
        body: None,
        answer: Answer::json(200, schema_of::<List<SupplierView>>),
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let query: PageQuery = call.request().query()?;
    let page = call.page::<Supplier>(Filter::all(), &query).await?;
    Reply::ok(&page.try_map(|stored| SupplierView::new(call.tenant(), stored, false))?)
}
