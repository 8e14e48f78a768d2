//! The end of somebody's data, of which no audit entry would tell.

use keystone::Problem;
use keystone::crypto::{Subject, SubjectSecrets};
use keystone::http::Call;
use keystone::tenant::TenantId;

pub async fn erased(secrets: &SubjectSecrets, tenant: &TenantId) {
    let _ = secrets.destroy(tenant, Subject::Tenant, "").await; //~ E0624
    let _ = secrets.destroy_all(tenant).await; //~ E0624
}

pub async fn taken(call: Call) {
    let _ = call.platform().vault().await; //~ E0624
    let _ = call.tenant().destroy_secret(Subject::Tenant, "").await; //~ E0624
}

pub async fn closed(call: Call) -> Result<(), Problem> {
    let registry = call.platform().registry(call.now()).await?;
    let _ = registry.destroy(&call.attribution()?, call.tenant().id()).await; //~ E0599
    let _ = registry.begin_closing(&call.attribution()?).await; //~ E0599
    let _ = registry.provision(&call.attribution()?).await; //~ E0599
    Ok(())
}
