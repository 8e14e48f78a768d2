//! `POST /v1/users/{id}/invite`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::auth::user::{User, UserStatus};
use keystone::config::Setting;
use keystone::crypto::Subject;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::{letters, mail};

use crate::sign_in::Unasked;
use crate::user::{Manager, UserView, offboarded};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "invite-user",
        method: Method::Post,
        path: "/v1/users/{id}/invite",
        summary: "Sends an invited person another invitation; the one before is void.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<UserView>),
    },
    permission: Permission::ManageUsers,
    assurance: Assurance::FullRecent,
};

/// What the function needs beyond what every guarded function does.
pub const SETTINGS: [Setting; 2] = [Setting::PublicUrl, Setting::ThrottleTable];

/// The handler: for an invitation that was lost, or that ended after its seven
/// days. Counted with those of `POST /v1/users` to the same address.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id = call.request().path("id")?;
    let url = call.platform().config().get(Setting::PublicUrl).map_err(|_| Problem::Internal)?;
    let mut unasked = Unasked::new(&call);
    let outcome = call
        .audited("user.invite", async |tx| {
            let manager = Manager::of(tx, &call).await?;
            let before = tx.get::<User>(id).await?.ok_or(Problem::NotFound)?;
            manager.over(before.entity.role)?;
            match before.entity.status {
                UserStatus::Invited => {}
                UserStatus::Active => {
                    return Err(Problem::Conflict("This user has accepted the invitation.".into()));
                }
                UserStatus::Deactivated => return Err(offboarded()),
            }
            let epoch = call.principal().epoch();
            let (after, token) = before.entity.clone().invited_again(epoch, call.now())?;
            let message = letters::invitation(url, call.tenant().profile(), &after, &token)?;
            let after = tx.replace(&before, after).await?;
            unasked.count(&after.entity.email).await?;
            mail::enqueue(tx, call.now(), Subject::User(id), &message).await?;
            Ok(Reply::ok(&UserView::from(&after))?.with_version(after.version))
        })
        .await;
    unasked.settle(outcome).await
}
