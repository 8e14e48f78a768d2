//! `POST /v1/capture`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::capture::{Batch, CaptureView, ErrorBehaviour};
use crate::epcis::document::{self, DocumentSchema};
use crate::epcis::json::Json;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "capture-events",
        method: Method::Post,
        path: "/v1/capture",
        summary: "Captures the events of an EPCIS 2.0 document.",
        query: None,
        body: Some(schema_of::<DocumentSchema>),
        answer: Answer::json(202, schema_of::<CaptureView>),
    },
    permission: Permission::WriteTraceability,
    assurance: Assurance::Full,
};

/// The handler. The whole document is one transaction with one audit entry.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let header = call.request().header("gs1-capture-error-behaviour");
    let behaviour = ErrorBehaviour::of_header(header)?;
    let (entries, errors) = document::read(&Json::read(call.request().text()?)?);
    let batch = Batch::new(&call, entries, behaviour, errors)?;
    let id = call.new_id()?;
    call.audited("capture.create", async |tx| {
        let capture = batch.record(tx, &call, id).await?;
        Reply::accepted(format!("/v1/capture/{id}"), &CaptureView::new(&capture))
    })
    .await
}
