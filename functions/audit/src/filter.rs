//! Filters of the audit trail as a client sends them.

use jiff::Timestamp;
use keystone::Problem;
use keystone::auth::{Grant, Permission, Principal};
use keystone::tenant::AuditFilter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What to look for; absent members do not restrict.
#[derive(Debug, Default, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilterInput {
    /// Id of the actor.
    #[schemars(length(min = 1, max = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Action, such as `batch.create`.
    #[schemars(length(min = 1, max = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Type of the resource, such as `batch`.
    #[schemars(length(min = 1, max = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<String>,
    /// Id of the resource.
    #[schemars(length(min = 1, max = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// Not before this moment.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Before this moment.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Source address.
    #[schemars(with = "Option<String>", extend("format" = "ip"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
}

impl FilterInput {
    /// Refuses a period that holds no moment.
    ///
    /// # Errors
    /// 422 for `field` then.
    pub fn check_period(&self, field: &str) -> Result<(), Problem> {
        match (self.from, self.to) {
            (Some(from), Some(to)) if from >= to => {
                Err(Problem::invalid(field, "Must be later than the beginning of the period."))
            }
            _ => Ok(()),
        }
    }

    /// The filter, narrowed to the principal's own actions where the matrix
    /// grants no more.
    ///
    /// # Errors
    /// 403 when it asks for somebody else's then.
    pub fn for_principal(mut self, principal: &Principal) -> Result<AuditFilter, Problem> {
        if principal.grant(Permission::QueryAudit) == Grant::Own {
            let own = principal.user().to_string();
            if self.actor.is_some_and(|actor| actor != own) {
                return Err(Problem::Forbidden);
            }
            self.actor = Some(own);
        }
        Ok(self.into())
    }
}

impl From<FilterInput> for AuditFilter {
    fn from(input: FilterInput) -> Self {
        Self {
            actor: input.actor,
            action: input.action,
            resource_type: input.resource_type,
            resource_id: input.resource_id,
            from: input.from,
            to: input.to,
            ip: input.ip.map(|ip| ip.to_canonical().to_string()),
        }
    }
}
