//! `GET /v1/operator-accesses`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::auth::operator::OperatorAccess;
use keystone::http::{
    Answer, Assurance, Call, List, Method, PageQuery, Reply, Route, Spec, schema_of,
};
use keystone::tenant::Filter;

use crate::operator_access::AccessView;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-operator-accesses",
        method: Method::Get,
        path: "/v1/operator-accesses",
        summary: "Lists the accesses of the provider's staff to the tenant, newest first.",
        query: Some(schema_of::<PageQuery>),
        body: None,
        answer: Answer::json(200, schema_of::<List<AccessView>>),
    },
    permission: Permission::ReadOperatorAccesses,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let query: PageQuery = call.request().query()?;
    let settings = call.tenant().settings().await?.entity;
    let page = call.page::<OperatorAccess>(Filter::all(), &query).await?;
    Reply::ok(&page.map(|access| AccessView::new(access, &settings, call.now())))
}
