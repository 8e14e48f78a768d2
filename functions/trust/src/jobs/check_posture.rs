//! Looks at everything that is claimed, and publishes what it found. Watches the
//! dates of questionnaires before, which it looks at anyway.

use keystone::Problem;
use keystone::audit::entry::{ActorKind, Outcome, Resource};
use keystone::job::Job;
use keystone::tenant::WriteTx;
use keystone::{random, telemetry};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::checks::Look;
use crate::posture::{Document, PUBLISH, Posture, Status};
use crate::questionnaire_watch::{Watched, watch};

pub use crate::checks::SETTINGS;

/// The event: empty from the schedule.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Name of the operator who asks for a run.
    #[serde(default)]
    #[schemars(with = "String", length(min = 1, max = 100))]
    operator: Option<String>,
}

/// What a run published.
#[derive(Debug, Serialize)]
pub struct Published {
    /// SHA-256 of the document, hex.
    sha256: String,
    /// Controls that are live.
    live: u64,
    /// Controls of which a check failed.
    degraded: u64,
    /// Controls that were not seen.
    unverified: u64,
    /// Of questionnaires that wait.
    questionnaires: Watched,
}

/// The job. Each check has a time limit, and one that sees nothing leaves
/// `unknown`, so a run always publishes. Nothing is published before its end: a
/// run that was killed has published nothing, and the next begins anew. That a
/// questionnaire could not be watched fails the run when it has published.
pub async fn handle(job: Job) -> Result<Published, Problem> {
    let input: Input = job.input()?;
    let registry = job.registry().await?;
    let provider = registry.provider(job.now).await?;
    // The entry of a publication is public for good, so no person's name is in it.
    let by = job.attribution(ActorKind::Job, "check-posture");
    if let Some(operator) = &input.operator {
        let asks = job.attribution(ActorKind::Operator, operator);
        let posture = Resource { kind: "posture".into(), id: job.request_id.clone() };
        provider.record(&asks, "posture.ask", posture, Outcome::Success, json!({})).await?;
    }
    let questionnaires = watch(&registry, &by).await;
    let look = Look::begin(&job, &provider).await?;
    let document = Document::compile(&look, job.now).await;
    let posture = Posture::new(&document)?;
    let id = random::id(job.now)?;
    provider
        .audited(&by, PUBLISH, async |tx: &mut WriteTx<'_>| {
            tx.insert(id, posture.clone()).await?;
            Ok(())
        })
        .await?;
    let degraded = document.count(Status::Degraded);
    telemetry::counted(job.now, "check-posture", "controls_degraded", degraded);
    let questionnaires = questionnaires?;
    Ok(Published {
        sha256: posture.sha256,
        live: document.count(Status::Live),
        degraded,
        unverified: document.count(Status::Unverified),
        questionnaires,
    })
}
