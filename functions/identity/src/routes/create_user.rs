//! `POST /v1/users`

use keystone::Problem;
use keystone::auth::user::{User, UserStatus};
use keystone::auth::{Permission, Role};
use keystone::config::Setting;
use keystone::crypto::Subject;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::Filter;
use keystone::{letters, mail};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::sign_in::Unasked;
use crate::user::{Manager, UserView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "create-user",
        method: Method::Post,
        path: "/v1/users",
        summary: "Invites a person by e-mail.",
        query: None,
        body: Some(schema_of::<NewUser>),
        answer: Answer::json(201, schema_of::<UserView>),
    },
    permission: Permission::ManageUsers,
    assurance: Assurance::FullRecent,
};

/// What the function needs beyond what every guarded function does.
pub const SETTINGS: [Setting; 2] = [Setting::PublicUrl, Setting::ThrottleTable];

/// A person to be invited.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// E-mail address; unique within the tenant.
    #[schemars(email, length(max = 254))]
    email: String,
    /// Name of the person.
    #[schemars(length(min = 1, max = 100), extend("format" = "person"))]
    name: String,
    /// What the person may do.
    role: Role,
}

/// The handler. The invitation leaves through the outbox, so that it is sent
/// if and only if the user is stored. Somebody who was offboarded keeps their
/// record: a new invitation to the same address opens it again. At most ten in a
/// quarter of an hour to one address, so that nobody's mailbox is flooded.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let new: NewUser = call.request().body()?;
    let id = call.new_id()?;
    let epoch = call.principal().epoch();
    let (user, token) = User::invite(&new.email, new.name, new.role, epoch, call.now())?;
    let url = call.platform().config().get(Setting::PublicUrl).map_err(|_| Problem::Internal)?;
    let message = letters::invitation(url, call.tenant().profile(), &user, &token)?;
    let mut unasked = Unasked::new(&call);
    let outcome = call
        .audited("user.invite", async |tx| {
            let manager = Manager::of(tx, &call).await?;
            manager.over(user.role)?;
            let with_address = Filter::all().eq("email", user.email.clone());
            let stored = match tx.find::<User>(with_address).await? {
                None => tx.insert(id, user.clone()).await?,
                Some(former) if former.entity.status == UserStatus::Deactivated => {
                    manager.over(former.entity.role)?;
                    // Counted on, so that no session of before comes back to life.
                    let credentials = former.entity.credentials;
                    tx.replace(&former, User { credentials, ..user.clone() }).await?
                }
                Some(_) => {
                    return Err(Problem::Conflict(
                        "There is a user with this e-mail address.".into(),
                    ));
                }
            };
            tx.link_contacts(&stored).await?;
            unasked.count(&user.email).await?;
            mail::enqueue(tx, call.now(), Subject::User(stored.id), &message).await?;
            let location = format!("/v1/users/{}", stored.id);
            Ok(Reply::created(location, &UserView::from(&stored))?.with_version(stored.version))
        })
        .await;
    unasked.settle(outcome).await
}
