//! `POST /v1/notices/{id}/acknowledgement`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::notice::{NoticeView, acknowledge};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "acknowledge-notice",
        method: Method::Post,
        path: "/v1/notices/{id}/acknowledgement",
        summary: "Acknowledges a notice in the caller's name; again, it changes nothing.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<NoticeView>),
    },
    permission: Permission::AcknowledgeNotices,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    acknowledge(&call, call.request().path("id")?).await
}
