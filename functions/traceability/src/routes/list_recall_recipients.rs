//! `GET /v1/recalls/{id}/recipients`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{
    Answer, Assurance, Call, List, Method, PageQuery, Reply, Route, Spec, schema_of,
};

use crate::recall::recipients::{RecipientView, page};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-recall-recipients",
        method: Method::Get,
        path: "/v1/recalls/{id}/recipients",
        summary: "Lists whom affected goods went to, and how to reach them if the role permits.",
        query: Some(schema_of::<PageQuery>),
        body: None,
        answer: Answer::json(200, schema_of::<List<RecipientView>>),
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// The handler. A disclosure in clear is recorded before it is made.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let query: PageQuery = call.request().query()?;
    Reply::ok(&page(&call, call.request().path("id")?, &query).await?)
}
