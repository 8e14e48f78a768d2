//! `POST /v1/data-subject-requests/{id}/bundle`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::config::Setting;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::bundle::{BundleView, NewBundle};
use crate::request::SubjectRequest;

/// The route. A bundle carries data out of the product, so it asks for a
/// recent sign-in.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "make-subject-bundle",
        method: Method::Post,
        path: "/v1/data-subject-requests/{id}/bundle",
        summary: "Makes the bundle of all that is held of the person, with a link of five minutes.",
        query: None,
        body: Some(schema_of::<NewBundle>),
        answer: Answer::json(201, schema_of::<BundleView>),
    },
    permission: Permission::HandleSubjectRequests,
    assurance: Assurance::FullRecent,
};

/// What the function needs beyond what every guarded function does.
pub const SETTINGS: [Setting; 1] = [Setting::ExportBucket];

/// The handler. The link is handed out after the entry that records it; a file
/// without one is deleted.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let request = call.request().path("id")?;
    let new: NewBundle = call.request().body()?;
    let id = call.new_id()?;
    let bundle = new.make(&call, request, id).await?;
    // An answer that was kept for the client's key records nothing anew.
    let mut is_recorded = false;
    let recorded = call.audited("data_subject_request.hand_over", async |tx| {
        bundle.must_not_outlive(tx.tenant()).await?;
        let before = tx.get::<SubjectRequest>(request).await?.ok_or(Problem::NotFound)?;
        // The client named no version, so none of theirs is stale.
        let before = before.at_version(bundle.request_version()).map_err(|_| {
            Problem::Conflict("The request was changed meanwhile. Make the bundle again.".into())
        })?;
        tx.facts(&bundle.facts(), &[])?;
        tx.replace(&before, bundle.recorded_in(&before.entity, call.now())).await?;
        let location = format!("/v1/data-subject-requests/{request}");
        is_recorded = true;
        Reply::created(location, bundle.view())
    });
    let recorded = recorded.await;
    if recorded.is_err() || !is_recorded {
        bundle.discard(&call).await?;
    }
    recorded
}
