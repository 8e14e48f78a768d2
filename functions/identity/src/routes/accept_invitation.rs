//! `POST /v1/invitations/accept`

use keystone::Problem;
use keystone::audit::entry::Outcome;
use keystone::config::Setting;
use keystone::http::{Answer, Method, PublicCall, PublicRoute, Reply, Spec, schema_of};

use crate::mailed_token::{Kind, TokenAndPassword, must_be_open, used_meanwhile};
use crate::sign_in;

/// The route.
pub const ROUTE: PublicRoute = PublicRoute {
    spec: Spec {
        name: "accept-invitation",
        method: Method::Post,
        path: "/v1/invitations/accept",
        summary: "Accepts an invitation and sets the password.",
        query: None,
        body: Some(schema_of::<TokenAndPassword>),
        answer: Answer::empty(),
    },
};

/// What the function needs beyond what every function does.
pub const SETTINGS: [Setting; 5] = [
    Setting::ThrottleTable,
    Setting::PepperSecret,
    Setting::MongodbSecret,
    Setting::DataKey,
    Setting::SubjectKeyTable,
];

/// The handler.
pub async fn handle(call: PublicCall) -> Result<Reply, Problem> {
    let chosen = Kind::Invitation.redeem(&call, &call.request().body()?).await?;
    let user = chosen.user;
    let by = sign_in::attribution(call.request(), Some(user.id), Outcome::Success)?;
    chosen
        .tenant
        .audited(&by, "user.activate", async |tx| {
            must_be_open(tx, &chosen.token, call.request().now).await?;
            let active = user.entity.clone().with_password(chosen.hash.clone());
            tx.replace(&user, active).await.map_err(used_meanwhile)?;
            Ok(Reply::empty())
        })
        .await
}
