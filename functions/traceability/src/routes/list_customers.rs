//! `GET /v1/customers`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{
    Answer, Assurance, Call, List, Method, PageQuery, Reply, Route, Spec, schema_of,
};
use keystone::tenant::Filter;

use crate::customer::{Customer, CustomerView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-customers",
        method: Method::Get,
        path: "/v1/customers",
        summary: "Lists customers, newest first, sealed data masked.",
        query: Some(schema_of::<PageQuery>),
        body: None,
        answer: Answer::json(200, schema_of::<List<CustomerView>>),
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let query: PageQuery = call.request().query()?;
    let page = call.page::<Customer>(Filter::all(), &query).await?;
    Reply::ok(&page.try_map(|stored| CustomerView::new(call.tenant(), stored, false))?)
}
