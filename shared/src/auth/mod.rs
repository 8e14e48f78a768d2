//! Who may do what, and how they prove who they are.

mod dynamo;
mod keys;
pub mod password;
pub mod rotation;
pub mod session;
pub mod throttle;
pub mod token;
pub mod totp;
pub mod user;

mod permission;

pub use keys::KeysError;
pub use permission::{Grant, Permission, Role};

use session::SessionRecord;
use user::User;

use crate::tenant::{Id, Settings};

/// A signed-in person, as the pipeline established it for one request.
#[derive(Debug, Clone)]
pub struct Principal {
    role: Role,
    session: SessionRecord,
}

impl Principal {
    pub(crate) fn new(role: Role, session: SessionRecord) -> Self {
        Self { role, session }
    }

    /// Whether user and tenant, read again, still accept this session.
    pub fn is_accepted_by(&self, user: &User, settings: &Settings) -> bool {
        user.accepts(&self.session) && settings.accept(&self.session)
    }

    /// The tenant's count of ends of all sessions at sign-in.
    pub fn epoch(&self) -> i64 {
        self.session.epoch
    }

    /// Id of the user.
    pub fn user(&self) -> Id {
        self.session.user
    }

    /// The user's role, as stored when the request came in.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Id of the session.
    pub fn session(&self) -> Id {
        self.session.sid
    }

    /// What the matrix grants this principal for `permission`.
    pub fn grant(&self, permission: Permission) -> Grant {
        permission.grant(self.role)
    }
}
