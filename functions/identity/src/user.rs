//! Users as they are shown and changed, and who may manage whom (claim C6).

use jiff::Timestamp;
use keystone::Problem;
use keystone::auth::user::{User, UserStatus};
use keystone::auth::{Grant, Permission, Role};
use keystone::http::Call;
use keystone::restriction::Restriction;
use keystone::tenant::{Id, Stored, WriteTx};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A user as shown.
#[derive(Serialize, JsonSchema)]
pub struct UserView {
    /// Id.
    pub id: Id,
    /// E-mail address.
    pub email: String,
    /// Name of the person.
    pub name: String,
    /// What the person may do.
    pub role: Role,
    /// Whether the person may sign in.
    pub status: UserStatus,
    /// Whether the person signs in with a second factor.
    pub second_factor: bool,
    /// That the person's data is stored and not used (GDPR Art. 18).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restriction: Option<Restriction>,
    /// Version, as in the `ETag`.
    pub version: i64,
    /// When the person was first invited.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created_at: Timestamp,
    /// When the user was last changed.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub updated_at: Timestamp,
}

impl From<&Stored<User>> for UserView {
    fn from(stored: &Stored<User>) -> Self {
        Self {
            id: stored.id,
            email: stored.entity.email.clone(),
            name: stored.entity.name.clone(),
            role: stored.entity.role,
            status: stored.entity.status,
            second_factor: stored.entity.second_factor_since().is_some(),
            restriction: stored.entity.restriction.clone(),
            version: stored.version,
            created_at: stored.created_at,
            updated_at: stored.updated_at,
        }
    }
}

/// Changes to a user (RFC 7396): absent members stay.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    /// Name of the person.
    #[serde(default)]
    #[schemars(with = "String", length(min = 1, max = 100), extend("format" = "person"))]
    pub name: Option<String>,
    /// What the person may do; nobody changes their own.
    #[serde(default)]
    #[schemars(with = "Role")]
    pub role: Option<Role>,
}

impl UserPatch {
    /// The user after the changes.
    pub fn apply(&self, before: &User) -> User {
        User {
            name: self.name.clone().unwrap_or_else(|| before.name.clone()),
            role: self.role.unwrap_or(before.role),
            ..before.clone()
        }
    }
}

/// A manager of users, as the transaction that manages them sees them.
///
/// The pipeline read the manager's role before the transaction began, and by
/// now somebody may have taken it away. Transactions of a tenant are serial,
/// so what one reads of the manager holds until it commits. From this follows
/// that a tenant keeps an active `super_admin`: only one can take the role
/// from another or offboard them, nobody does either to themselves, and so
/// whoever does it remains.
pub struct Manager {
    id: Id,
    role: Role,
}

impl Manager {
    /// Whoever makes the request.
    ///
    /// # Errors
    /// 401 when they left or their sessions ended meanwhile, 403 when their role no longer
    /// lets them manage users.
    pub async fn of(tx: &mut WriteTx<'_>, call: &Call) -> Result<Self, Problem> {
        let stored = call.caller(tx).await?;
        let role = stored.entity.role;
        match Permission::ManageUsers.grant(role) {
            Grant::Full | Grant::BelowSuperAdmin => Ok(Self { id: stored.id, role }),
            _ => Err(Problem::Forbidden),
        }
    }

    /// Whether the manager is granted `permission` without a bound.
    pub fn may(&self, permission: Permission) -> bool {
        permission.grant(self.role) == Grant::Full
    }

    /// Whether `user` is the manager.
    pub fn is(&self, user: Id) -> bool {
        self.id == user
    }

    /// Checks that users of `role` are the manager's to manage, and the role
    /// theirs to grant.
    ///
    /// # Errors
    /// 403 when not.
    pub fn over(&self, role: Role) -> Result<(), Problem> {
        if self.role.manages(role) { Ok(()) } else { Err(Problem::Forbidden) }
    }
}

/// The refusal of a change to somebody who has left.
pub fn offboarded() -> Problem {
    Problem::Conflict("This user was offboarded; invite them again to readmit them.".into())
}
