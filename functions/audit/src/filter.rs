//! Filters of the audit trail as a client sends them.

use jiff::Timestamp;
use keystone::Problem;
use keystone::auth::{Grant, Permission, Principal};
use keystone::tenant::AuditFilter;
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::IpAddr;

/// What to look for; absent members do not restrict.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilterInput {
    /// Id of the actor.
    #[schemars(length(min = 1, max = 100))]
    pub actor: Option<String>,
    /// Action, such as `batch.create`.
    #[schemars(length(min = 1, max = 100))]
    pub action: Option<String>,
    /// Type of the resource, such as `batch`.
    #[schemars(length(min = 1, max = 100))]
    pub resource_type: Option<String>,
    /// Id of the resource.
    #[schemars(length(min = 1, max = 100))]
    pub resource_id: Option<String>,
    /// Not before this moment.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub from: Option<Timestamp>,
    /// Before this moment.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub to: Option<Timestamp>,
    /// Source address.
    #[schemars(with = "Option<String>", extend("format" = "ip"))]
    pub ip: Option<IpAddr>,
}

impl FilterInput {
    /// The filter, narrowed to the principal's own actions where the matrix
    /// grants no more.
    ///
    /// # Errors
    /// 403 when it asks for somebody else's then.
    pub fn for_principal(self, principal: &Principal) -> Result<AuditFilter, Problem> {
        let mut actor = self.actor;
        if principal.grant(Permission::QueryAudit) == Grant::Own {
            let own = principal.user().to_string();
            if actor.is_some_and(|actor| actor != own) {
                return Err(Problem::Forbidden);
            }
            actor = Some(own);
        }
        Ok(AuditFilter {
            actor,
            action: self.action,
            resource_type: self.resource_type,
            resource_id: self.resource_id,
            from: self.from,
            to: self.to,
            ip: self.ip.map(|ip| ip.to_canonical().to_string()),
        })
    }
}
