//! `GET /v1/sub-processor-changes`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{
    Answer, Assurance, Call, List, Method, PageQuery, Reply, Route, Spec, schema_of,
};
use keystone::tenant::Filter;

use crate::sub_processor::{Told, ToldView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-sub-processor-changes",
        method: Method::Get,
        path: "/v1/sub-processor-changes",
        summary: "Lists the changes of sub-processors that the tenant was told of, newest first.",
        query: Some(schema_of::<PageQuery>),
        body: None,
        answer: Answer::json(200, schema_of::<List<ToldView>>),
    },
    permission: Permission::ReadNotices,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let query: PageQuery = call.request().query()?;
    let page = call.page::<Told>(Filter::all(), &query).await?;
    Reply::ok(&page.try_map_async(async |told| ToldView::of(call.tenant(), told).await).await?)
}
