//! Provisioning of a tenant, invoked by an operator through IAM only.

use keystone::Problem;
use keystone::audit::entry::ActorKind;
use keystone::config::Setting;
use keystone::job::Job;
use keystone::letters;
use keystone::tenant::{Contact, Contacts, Grants, NewTenant, Provisioned, TenantId};
use schemars::JsonSchema;
use serde::Deserialize;

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 4] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable, Setting::PublicUrl];

/// The event.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Name of the operator who asks for the tenant; enters its audit trail.
    #[schemars(length(min = 1, max = 100))]
    operator: String,
    /// Slug of the tenant.
    #[schemars(extend("format" = "tenant"))]
    tenant: String,
    /// Name under which the business is registered.
    #[schemars(length(min = 1, max = 200))]
    legal_name: String,
    /// ISO 3166-1 alpha-2 code.
    #[schemars(extend("format" = "country"))]
    country: String,
    /// Whom we reach.
    contacts: ContactsInput,
    /// The first `super_admin`.
    super_admin: ContactInput,
    /// Who grants the functions' database user its rights; provisioning
    /// itself unless given.
    #[serde(default)]
    #[schemars(with = "Grants")]
    grants: Option<Grants>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ContactsInput {
    primary: ContactInput,
    security: Option<ContactInput>,
    billing: Option<ContactInput>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ContactInput {
    /// Name of the person.
    #[schemars(length(min = 1, max = 100), extend("format" = "person"))]
    name: String,
    /// E-mail address.
    #[schemars(email, length(max = 254))]
    email: String,
}

impl From<ContactInput> for Contact {
    fn from(input: ContactInput) -> Self {
        Self { name: input.name, email: input.email, user: None }
    }
}

/// The job. Doing it twice makes one tenant; doing it after a crash finishes.
pub async fn handle(job: Job) -> Result<Provisioned, Problem> {
    let input: Input = job.input()?;
    let by = job.attribution(ActorKind::Operator, &input.operator);
    let url = job.platform.config().get(Setting::PublicUrl).map_err(|_| Problem::Internal)?;
    let new = NewTenant {
        id: TenantId::parse(&input.tenant)
            .ok_or_else(|| Problem::invalid("/tenant", "Must be a tenant's short name."))?,
        legal_name: input.legal_name,
        country: input.country,
        contacts: Contacts {
            primary: input.contacts.primary.into(),
            security: input.contacts.security.map(Into::into),
            billing: input.contacts.billing.map(Into::into),
        },
        super_admin_email: input.super_admin.email,
        super_admin_name: input.super_admin.name,
    };
    job.registry()
        .await?
        .provision(&by, &new, input.grants.unwrap_or(Grants::Server), |tenant, user, token| {
            letters::invitation(url, tenant, user, token)
        })
        .await
}
