//! Another tenant than the session's, in what answers requests.

use keystone::Problem;
use keystone::http::{Call, PublicCall};
use keystone::tenant::{Enrolled, Tenant, Visit};

pub async fn all(call: Call) -> Result<usize, Problem> {
    let registry = call.platform().registry(call.now()).await?;
    Ok(registry.walk(Visit::Kept).await.map_or(0, |all| all.len())) //~ E0599
}

pub async fn one(call: PublicCall, slug: &str) -> Result<usize, Problem> {
    let now = call.request().now;
    let registry = call.platform().registry(now).await?;
    Ok(registry.round(Visit::Kept, Some(slug)).await.map_or(0, |all| all.len())) //~ E0599
}

pub async fn opened(call: Call, enrolled: Enrolled) -> Result<Tenant, Problem> {
    let registry = call.platform().registry(call.now()).await?;
    registry.for_job(enrolled, call.now()).await //~ E0599
}
