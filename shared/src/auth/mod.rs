//! Who may do what, and how they prove who they are.

mod dynamo;
mod keys;
pub mod operator;
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

use operator::OperatorAccess;
use session::SessionRecord;
use user::User;

use crate::audit::entry::{Actor, ActorKind};
use crate::tenant::{Id, Settings, Stored};

/// Who makes a request, as the pipeline established it for this one: a user
/// who signed in, or an operator who was granted access to the tenant.
#[derive(Debug, Clone)]
pub struct Principal(Holder);

#[derive(Debug, Clone)]
enum Holder {
    User { role: Role, session: SessionRecord },
    Operator(Stored<OperatorAccess>),
}

impl Principal {
    pub(crate) fn new(role: Role, session: SessionRecord) -> Self {
        Self(Holder::User { role, session })
    }

    pub(crate) fn operator(access: Stored<OperatorAccess>) -> Self {
        Self(Holder::Operator(access))
    }

    /// The user's session; an operator has none.
    fn user_session(&self) -> Option<&SessionRecord> {
        match &self.0 {
            Holder::User { session, .. } => Some(session),
            Holder::Operator(_) => None,
        }
    }

    /// Whether user and tenant, read again, still accept this session: never
    /// an operator's access, which is no user's.
    pub fn is_accepted_by(&self, user: &User, settings: &Settings) -> bool {
        self.user_session().is_some_and(|one| user.accepts(one) && settings.accept(one))
    }

    /// The tenant's count of ends of all sessions at sign-in.
    pub fn epoch(&self) -> i64 {
        match &self.0 {
            Holder::User { session, .. } => session.epoch,
            Holder::Operator(access) => access.entity.epoch,
        }
    }

    /// Id of the user; of the access, which is no user's, for an operator.
    pub fn user(&self) -> Id {
        match &self.0 {
            Holder::User { session, .. } => session.user,
            Holder::Operator(access) => access.id,
        }
    }

    /// The user's role, as stored when the request came in. An operator counts
    /// as a reader where a role is asked for; what is granted says
    /// [`Principal::grant`].
    pub fn role(&self) -> Role {
        match &self.0 {
            Holder::User { role, .. } => *role,
            Holder::Operator(_) => Role::Viewer,
        }
    }

    /// Id of the session, or of the access.
    pub fn session(&self) -> Id {
        match &self.0 {
            Holder::User { session, .. } => session.sid,
            Holder::Operator(access) => access.id,
        }
    }

    /// What the matrix grants this principal for `permission`.
    pub fn grant(&self, permission: Permission) -> Grant {
        match &self.0 {
            Holder::User { role, .. } => permission.grant(*role),
            Holder::Operator(_) => permission.grant_to_operator(),
        }
    }

    /// Who acts, for an audit entry: a user by id, an operator by name, as
    /// wherever operators act, each with their session or access.
    pub fn actor(&self) -> Actor {
        let session = Some(self.session().to_string());
        match &self.0 {
            Holder::User { role, session: of } => Actor {
                kind: ActorKind::User,
                id: of.user.to_string(),
                role: Some(role.name().into()),
                session,
            },
            Holder::Operator(access) => Actor {
                kind: ActorKind::Operator,
                id: access.entity.operator.clone(),
                role: None,
                session,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn an_operator_stands_in_the_trail_by_name_and_has_no_session() {
        let at = Timestamp::UNIX_EPOCH;
        let entity = OperatorAccess {
            operator: "Una Daly".into(),
            reason: "Ticket 7: lot L-7 is missing".into(),
            until: at,
            epoch: 0,
            ended: None,
        };
        let id = Id::from_u128(7);
        let access = Stored { id, version: 1, created_at: at, updated_at: at, entity };
        let principal = Principal::operator(access);
        let actor = principal.actor();
        assert_eq!((actor.kind, actor.id.as_str()), (ActorKind::Operator, "Una Daly"));
        assert_eq!((actor.role, actor.session), (None, Some(id.to_string())));
        assert!(principal.user_session().is_none());
        assert_eq!(principal.grant(Permission::ReadContactData), Grant::Masked);
        assert_eq!(principal.grant(Permission::OwnAccount), Grant::Denied);
    }
}
