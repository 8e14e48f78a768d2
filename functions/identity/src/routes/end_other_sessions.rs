//! `DELETE /v1/auth/sessions`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::sign_in::{self, SignedIn};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "end-other-sessions",
        method: Method::Delete,
        path: "/v1/auth/sessions",
        summary: "Ends all of the caller's sessions and opens one in place of that in use.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<SignedIn>),
    },
    permission: Permission::OwnAccount,
    assurance: Assurance::FullRecent,
};

/// The handler. Counting the credentials on ends every session at once, also
/// one that was made a moment ago and that the index by user does not show
/// yet, and every half-finished sign-in; the one that takes the place of the
/// caller's is made for the count to come.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let (platform, tenant) = (call.platform(), call.tenant());
    let user = sign_in::caller(&call).await?;
    let after = user.entity.clone().signed_out();
    let session = sign_in::carry_on(&call, after.credentials, false).await?;
    let sid = session.sid;
    let recorded = tenant
        .audited(&call.attribution()?, "user.end_sessions", async |tx| {
            tx.replace(&user, after.clone()).await?;
            Ok(())
        })
        .await;
    let answer = sign_in::answer(platform, session, recorded).await?;
    sign_in::sweep(platform, call.now(), user.id, Some(sid)).await;
    Reply::ok(&answer)
}
