//! `POST /v1/recalls/{id}/notices`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::recall::notice::{NewNotice, RecordedNotice};
use crate::recall::with_finding;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "record-recall-notice",
        method: Method::Post,
        path: "/v1/recalls/{id}/notices",
        summary: "Records that somebody who got affected goods was told, or what they answered.",
        query: None,
        body: Some(schema_of::<NewNotice>),
        answer: Answer::json(201, schema_of::<RecordedNotice>),
    },
    permission: Permission::RunRecalls,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let recall = call.request().path("id")?;
    let new: NewNotice = call.request().body()?;
    let id = call.new_id()?;
    let (_, finding) = with_finding(call.tenant(), recall).await?;
    call.audited("recall_notice.create", async |tx| {
        let (recorded, version) = new.record(&call, recall, id, tx, &finding).await?;
        let location = format!("/v1/recalls/{recall}/recipients");
        Ok(Reply::created(location, &recorded)?.with_version(version))
    })
    .await
}
