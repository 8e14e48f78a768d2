//! `POST /v1/sub-processor-changes/{id}/objection`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::Id;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::sub_processor::{Objector, ToldView, is_waiting, object};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "object-to-sub-processor",
        method: Method::Post,
        path: "/v1/sub-processor-changes/{id}/objection",
        summary: "Objects to a change of sub-processors; it then waits for the outcome.",
        query: None,
        body: Some(schema_of::<NewObjection>),
        answer: Answer::json(200, schema_of::<ToldView>),
    },
    permission: Permission::ManageTenant,
    assurance: Assurance::Full,
};

/// An objection.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewObjection {
    /// Why the tenant objects.
    #[schemars(length(min = 1, max = 2000))]
    reason: String,
}

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let change: Id = call.request().path("id")?;
    let new: NewObjection = call.request().body()?;
    let provider = call.platform().registry(call.now()).await?.provider(call.now()).await?;
    let waiting = is_waiting(&provider, change).await?;
    let ours = provider.settings().await?.entity.contacts.for_security();
    call.audited("sub_processor_notice.object", async |tx| {
        let by = Objector::User(call.principal().user());
        let told = object(tx, (change, waiting), (by, call.now()), &new.reason, &ours).await?;
        Reply::ok(&ToldView::of(tx.tenant(), &told).await?)
    })
    .await
}
