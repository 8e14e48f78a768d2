//! `GET /v1/sites`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{
    Answer, Assurance, Call, List, Method, PageQuery, Reply, Route, Spec, schema_of,
};
use keystone::tenant::Filter;

use crate::site::{Site, SiteView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-sites",
        method: Method::Get,
        path: "/v1/sites",
        summary: "Lists sites, newest first.",
        query: Some(schema_of::<PageQuery>),
        body: None,
        answer: Answer::json(200, schema_of::<List<SiteView>>),
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let page: PageQuery = call.request().query()?;
    Reply::ok(&call.page::<Site>(Filter::all(), &page).await?.map(SiteView::new))
}
