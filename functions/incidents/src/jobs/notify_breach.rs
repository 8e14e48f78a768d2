//! Events about breaches: each is recorded, then every affected tenant is told.

use keystone::Problem;
use keystone::audit::entry::ActorKind;
use keystone::config::Setting;
use keystone::job::Job;

use crate::breach::{confirm, update};
use crate::delivery::{Teller, record_by_hand, tell_all};
use crate::event::{Envelope, Event};

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 4] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable, Setting::PublicUrl];

/// The job. However often an event is delivered, and to how many runs at once,
/// each tenant is told once; a run that dies leaves the rest to the next
/// delivery and to the watcher. An event that cannot be accepted fails the run,
/// so that the queue gives it up after a few deliveries and an alarm goes off; so
/// does one that names a tenant which does not exist, when the others are told.
pub async fn handle(job: Job) -> Result<u64, Problem> {
    let by = job.attribution(ActorKind::Job, "notify-breach");
    let public_url = job.platform.config().get(Setting::PublicUrl);
    let teller = Teller { by: &by, public_url: public_url.map_err(|_| Problem::Internal)? };
    let mut done = 0;
    for envelope in job.messages::<Envelope>()? {
        let event = envelope.open(job.now)?;
        let registry = job.registry().await?;
        let provider = registry.provider(job.now).await?;
        let mut unknown = Vec::new();
        let incident = match event {
            Event::Confirmed(event) => {
                unknown = confirm(&registry, &provider, &by, &event).await?;
                event.incident
            }
            Event::Updated(event) => {
                update(&provider, &by, &event).await?;
                event.incident
            }
            Event::ToldByHand(event) => {
                record_by_hand(&registry, &provider, &teller, &event).await?;
                event.incident
            }
        };
        tell_all(&registry, &provider, &teller, incident).await?;
        if !unknown.is_empty() {
            return Err(Problem::Invalid(unknown));
        }
        done += 1;
    }
    Ok(done)
}
