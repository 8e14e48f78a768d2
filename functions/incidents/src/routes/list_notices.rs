//! `GET /v1/notices`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{
    Answer, Assurance, Call, List, Method, PageQuery, Reply, Route, Spec, schema_of,
};
use keystone::tenant::Filter;

use crate::notice::{Notice, NoticeView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-notices",
        method: Method::Get,
        path: "/v1/notices",
        summary: "Lists the notices to the tenant, newest first, and who acknowledged them.",
        query: Some(schema_of::<PageQuery>),
        body: None,
        answer: Answer::json(200, schema_of::<List<NoticeView>>),
    },
    permission: Permission::ReadNotices,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let query: PageQuery = call.request().query()?;
    let page = call.page::<Notice>(Filter::all(), &query).await?;
    Reply::ok(&page.map(|notice| NoticeView::from(notice)))
}
