//! `GET /v1/roles`

use keystone::Problem;
use keystone::auth::user::{User, UserStatus};
use keystone::auth::{Grant, Permission, Role};
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::{Filter, Id, Page, Stored, Tenant};
use schemars::JsonSchema;
use serde::Serialize;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-roles",
        method: Method::Get,
        path: "/v1/roles",
        summary: "The permission matrix, and who holds which role.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<Roles>),
    },
    permission: Permission::ManageUsers,
    assurance: Assurance::Full,
};

/// The permission matrix with its holders.
#[derive(Serialize, JsonSchema)]
pub struct Roles {
    /// Least powerful first.
    roles: Vec<RoleView>,
}

/// A column of the matrix.
#[derive(Serialize, JsonSchema)]
struct RoleView {
    role: Role,
    /// One per permission, in the order of the matrix.
    grants: Vec<GrantView>,
    /// How many users hold the role.
    user_count: usize,
    /// Who holds the role, newest first; offboarded people do not.
    users: Vec<Holder>,
}

/// A cell of the matrix.
#[derive(Serialize, JsonSchema)]
struct GrantView {
    permission: Permission,
    grant: Grant,
}

/// A user who holds a role.
#[derive(Serialize, JsonSchema)]
struct Holder {
    id: Id,
    name: String,
    status: UserStatus,
}

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let users = everybody(call.tenant()).await?;
    let column = |role: Role| {
        let users: Vec<Holder> = users
            .iter()
            .filter(|user| user.entity.role == role)
            .map(|user| Holder {
                id: user.id,
                name: user.entity.name.clone(),
                status: user.entity.status,
            })
            .collect();
        let show =
            |&permission: &Permission| GrantView { permission, grant: permission.grant(role) };
        let grants = Permission::ALL.iter().map(show).collect();
        RoleView { role, grants, user_count: users.len(), users }
    };
    Reply::ok(&Roles { roles: Role::ALL.into_iter().map(column).collect() })
}

/// All users who are not offboarded, newest first.
async fn everybody(tenant: &Tenant) -> Result<Vec<Stored<User>>, Problem> {
    let mut users: Vec<Stored<User>> = Vec::new();
    loop {
        let page = Page { after: users.last().map(|user| user.id), limit: 100 };
        let found = tenant.list::<User>(Filter::all(), page).await?;
        if found.is_empty() {
            break;
        }
        users.extend(found);
    }
    users.retain(|user| user.entity.status != UserStatus::Deactivated);
    Ok(users)
}
