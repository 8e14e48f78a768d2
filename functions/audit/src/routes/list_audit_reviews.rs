//! `GET /v1/audit/reviews`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, PageQuery, Reply, Route, Spec, schema_of};
use keystone::tenant::Filter;

use crate::review::{Review, ReviewList, ReviewView, standing};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-audit-reviews",
        method: Method::Get,
        path: "/v1/audit/reviews",
        summary: "Lists attested reviews, newest first, and when the next is due.",
        query: Some(schema_of::<PageQuery>),
        body: None,
        answer: Answer::json(200, schema_of::<ReviewList>),
    },
    permission: Permission::ExportAudit,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let query: PageQuery = call.request().query()?;
    let page = call.page::<Review>(Filter::all(), &query).await?;
    let (reviewed_to, next_due_at) = standing(call.tenant()).await?;
    Reply::ok(&ReviewList {
        items: page.items.iter().map(ReviewView::from).collect(),
        next_cursor: page.next_cursor,
        reviewed_to,
        next_due_at,
        overdue: next_due_at < call.now(),
    })
}
