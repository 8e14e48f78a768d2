//! `POST /v1/users`

use jiff::Timestamp;
use keystone::Problem;
use keystone::auth::user::{User, UserStatus};
use keystone::auth::{Grant, Permission, Role, invitation_mail};
use keystone::config::Setting;
use keystone::http::{Answer, Call, Method, Reply, Route, Spec, schema_of};
use keystone::mail;
use keystone::tenant::{Id, StoreError, Stored};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
};

/// What the function needs beyond what every guarded function does.
pub const SETTINGS: [Setting; 1] = [Setting::PublicUrl];

/// A person to be invited.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// E-mail address; unique within the tenant.
    #[schemars(email, length(max = 254))]
    email: String,
    /// Name of the person.
    #[schemars(length(min = 1, max = 100))]
    name: String,
    /// What the person may do.
    role: Role,
}

/// A user as shown.
#[derive(Serialize, JsonSchema)]
pub struct UserView {
    id: Id,
    email: String,
    name: String,
    role: Role,
    status: UserStatus,
    version: i64,
    #[schemars(with = "String", extend("format" = "date-time"))]
    created_at: Timestamp,
}

impl From<&Stored<User>> for UserView {
    fn from(stored: &Stored<User>) -> Self {
        Self {
            id: stored.id,
            email: stored.entity.email.clone(),
            name: stored.entity.name.clone(),
            role: stored.entity.role,
            status: stored.entity.status,
            version: stored.version,
            created_at: stored.created_at,
        }
    }
}

/// The handler. The invitation leaves through the outbox, so that it is sent
/// if and only if the user was created.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let new: NewUser = call.request().body()?;
    let below = call.principal().grant(Permission::ManageUsers) == Grant::BelowSuperAdmin;
    if below && new.role == Role::SuperAdmin {
        return Err(Problem::Forbidden);
    }
    let id = call.new_id()?;
    let (user, token) = User::invite(&new.email, new.name, new.role, call.now())?;
    let url = call.platform().config().get(Setting::PublicUrl).map_err(|_| Problem::Internal)?;
    let message = invitation_mail(url, call.tenant().id(), &user, &token);
    call.audited("user.invite", async |tx| {
        let stored = tx.insert(id, user.clone()).await.map_err(taken)?;
        mail::enqueue(tx, call.now(), &message).await?;
        let view = UserView::from(&stored);
        Ok(Reply::created(format!("/v1/users/{id}"), &view)?.with_version(stored.version))
    })
    .await
}

fn taken(error: StoreError) -> Problem {
    match error {
        StoreError::Duplicate => {
            Problem::Conflict("There is a user with this e-mail address.".into())
        }
        other => other.into(),
    }
}
