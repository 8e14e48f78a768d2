//! The permission matrix of SPEC §3: one table, deny by default.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A user's role within a tenant (claim C6).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees a sample of the product; may change nothing.
    Demo,
    /// May read, with personal data masked.
    Viewer,
    /// Runs the daily traceability work.
    OpsUser,
    /// Administers the tenant below `super_admin`.
    Admin,
    /// Holds every permission in the tenant.
    SuperAdmin,
}

impl Role {
    /// All roles, least powerful first.
    pub const ALL: [Self; 5] =
        [Self::Demo, Self::Viewer, Self::OpsUser, Self::Admin, Self::SuperAdmin];

    /// The role's name in tokens, documents and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Viewer => "viewer",
            Self::OpsUser => "ops_user",
            Self::Admin => "admin",
            Self::SuperAdmin => "super_admin",
        }
    }

    /// The role with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// What the matrix answers for a role and a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// Not permitted.
    Denied,
    /// Permitted.
    Full,
    /// Values are shown masked.
    Masked,
    /// Only what the principal did.
    Own,
    /// Only users whose role is below `super_admin`.
    BelowSuperAdmin,
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident = $super_admin:ident $admin:ident $ops_user:ident $viewer:ident $demo:ident;)*) => {
        /// A row of the matrix.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Permission {
            $($(#[$doc])* $name,)*
        }

        impl Permission {
            /// All permissions, in the order of the matrix.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What `role` is granted.
            pub const fn grant(self, role: Role) -> Grant {
                match self {
                    $(Self::$name => match role {
                        Role::SuperAdmin => Grant::$super_admin,
                        Role::Admin => Grant::$admin,
                        Role::OpsUser => Grant::$ops_user,
                        Role::Viewer => Grant::$viewer,
                        Role::Demo => Grant::$demo,
                    },)*
                }
            }
        }
    };
}

permissions! {
    //                        super_admin admin ops_user viewer demo
    /// Products, sites, batches, events, dispatches, recalls, and the
    /// suppliers and customers that they name: read.
    ReadTraceability        = Full Full Full Full Full;
    /// Products, sites, batches, events, dispatches: write.
    WriteTraceability       = Full Full Full Denied Denied;
    /// Recalls and their exercises: start, record notices, close. Apart from
    /// the row above, since the duty to recall does not end with a contract.
    RunRecalls              = Full Full Full Denied Denied;
    /// Delivery addresses, phones and e-mail addresses of contacts in clear.
    ReadContactData         = Full Full Full Masked Masked;
    /// Supplier banking metadata in clear.
    ReadSupplierBanking     = Full Full Masked Masked Masked;
    /// Suppliers and customers: write.
    WritePartners           = Full Full Denied Denied Denied;
    /// Users: invite, change role, offboard.
    ManageUsers             = Full BelowSuperAdmin Denied Denied Denied;
    /// MFA policy, contacts, consent, retention.
    ManageTenant            = Full Denied Denied Denied Denied;
    /// Data keys: versions, states, what they are in use for.
    ReadKeys                = Full Full Denied Denied Denied;
    /// Audit trail: query.
    QueryAudit              = Full Full Own Denied Denied;
    /// Audit trail: export, attest a review.
    ExportAudit             = Full Full Denied Denied Denied;
    /// Data-subject requests: open, progress.
    HandleSubjectRequests   = Full Full Denied Denied Denied;
    /// Data-subject requests: erase.
    EraseSubject            = Full Denied Denied Denied Denied;
    /// Notices: read.
    ReadNotices             = Full Full Full Full Denied;
    /// Notices: acknowledge.
    AcknowledgeNotices      = Full Full Denied Denied Denied;
    /// Security incidents that affect the tenant: read, report.
    ReadIncidents           = Full Full Denied Denied Denied;
    /// Security questionnaires about the product: ask for one, read it.
    AskQuestionnaires       = Full Full Denied Denied Denied;
    /// One's own session and account.
    OwnAccount              = Full Full Full Full Full;
}

impl Permission {
    /// Whether the permission is to add to or change the tenant's business
    /// data, which ends when the tenant's closing is announced. Everything
    /// that people need to leave, or that the law gives them, goes on.
    pub const fn adds_data(self) -> bool {
        matches!(self, Self::WriteTraceability | Self::WritePartners)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_keep_their_names() {
        for role in Role::ALL {
            assert_eq!(Role::named(role.name()), Some(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.name());
        }
        assert_eq!(Role::named("root"), None);
    }

    #[test]
    fn demo_and_viewer_change_nothing() {
        use Permission::*;
        for permission in [
            WriteTraceability,
            RunRecalls,
            WritePartners,
            ManageUsers,
            ManageTenant,
            ExportAudit,
            HandleSubjectRequests,
            EraseSubject,
            AcknowledgeNotices,
        ] {
            assert_eq!(permission.grant(Role::Demo), Grant::Denied, "{permission:?}");
            assert_eq!(permission.grant(Role::Viewer), Grant::Denied, "{permission:?}");
        }
    }
}
