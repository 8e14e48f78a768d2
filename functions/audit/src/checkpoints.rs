//! Signed checkpoints of audit trails: publication and the archive.

use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{MessageType, SigningAlgorithmSpec};
use jiff::Timestamp;
use keystone::audit::chain::{Chain, Link};
use keystone::audit::checkpoint::Checkpoint;
use keystone::audit::entry::{Actor, ActorKind, Outcome, Resource};
use keystone::audit::keys::CheckpointKeys;
use keystone::audit::merkle::{Hash, verify_consistency};
use keystone::config::Setting;
use keystone::platform::Platform;
use keystone::tenant::{Attribution, AuditFilter, SignedCheckpoint, StoreError, Tenant};
use keystone::{Problem, random};
use serde_json::json;

use crate::archive::{Archive, Step};

/// What a function needs that publishes checkpoints.
pub const PUBLISH_SETTINGS: [Setting; 5] = [
    Setting::CheckpointSigningKey,
    Setting::RetiredCheckpointKeys,
    Setting::AuditRestores,
    Setting::AuditHost,
    Setting::ArchiveBucket,
];

/// How often a checkpoint is tried that another run was faster with.
const ATTEMPTS: u32 = 3;
/// What is recorded before a trail goes on after a restore of the database.
const RESTORED: &str = "audit_trail.restore";

/// Publishes checkpoints: proves, signs, archives, stores.
pub struct Publisher<'p> {
    platform: &'p Platform,
    keys: CheckpointKeys,
    archive: Archive,
}

impl<'p> Publisher<'p> {
    /// With the platform's clients.
    ///
    /// # Errors
    /// As [`CheckpointKeys::of`].
    pub async fn new(platform: &'p Platform) -> Result<Self, StoreError> {
        let archive = Archive::of(platform).await?;
        Ok(Self { platform, keys: CheckpointKeys::of(platform).await?, archive })
    }

    /// The newest checkpoint of the tenant's trail, signed now if the trail has
    /// grown. `true` with a checkpoint that this call signed.
    ///
    /// Nothing is signed before stored hashes were shown to lead from the last
    /// archived checkpoint to the present tree, and nobody sees what was signed
    /// before the archive, which nobody can change and which takes one
    /// successor of each checkpoint, has it. So whoever can rewrite the database
    /// gets no signature for another history, whenever a run dies: what it had
    /// archived the next one adopts, what it had not is lost with it.
    ///
    /// A trail of which a restore of the database has undone what was signed goes on
    /// as another generation, from the last checkpoint before.
    ///
    /// # Errors
    /// [`Problem::Conflict`] when the trail does not extend the last checkpoint,
    /// which means that it was tampered with; [`Problem::Unavailable`] when a
    /// store does not answer.
    pub async fn publish(
        &self,
        tenant: &Tenant,
        now: Timestamp,
    ) -> Result<(SignedCheckpoint, bool), Problem> {
        // Until then somebody may still write to what is about to be given up.
        if !self.keys.restores().are_over(now) {
            return Err(Problem::Unavailable);
        }
        for _ in 0..ATTEMPTS {
            let (last, generation) = self.last(tenant).await?;
            if generation > last.as_ref().map_or(1, |last| last.link.generation()) {
                // Nothing is recorded in a trail that does not hold.
                self.proved(tenant, last.as_ref(), generation).await?;
                self.note_restore(tenant, last.as_ref(), generation, now).await?;
            }
            let (head, link) = self.proved(tenant, last.as_ref(), generation).await?;
            let Some((previous, consistency)) = link else {
                return last.map(|last| (last, false)).ok_or(Problem::NotFound);
            };
            let checkpoint = self.sign(tenant, &head, generation).await?;
            let link = Link::new(checkpoint, previous, consistency);
            let signed = SignedCheckpoint { size: head.size, at: now, link };
            // Where another run was faster, what this one signed is dropped.
            if self.archive.keep(tenant.id(), &signed.link).await? {
                store(tenant, &signed).await?;
                return Ok((signed, true));
            }
        }
        Err(Problem::Unavailable)
    }

    /// The last archived checkpoint that no restore of the database has undone,
    /// and of which generation the next one is. What a run archived and did not
    /// store is stored now, if the trail still extends it.
    async fn last(&self, tenant: &Tenant) -> Result<(Option<SignedCheckpoint>, u64), Problem> {
        let broken = |what: String| contradicted(tenant, &what);
        let keys = self.keys.of_tenant(tenant.id().as_str())?;
        let restores = self.keys.restores();
        let mut chain = Chain::default();
        let unreadable = |error| unreadable(tenant, error);
        let mut last = tenant.last_checkpoint().await.map_err(unreadable)?;
        if let Some(stored) = &last {
            let size = stored.size;
            let archived = self.archive.at(tenant.id(), Step::of(&stored.link)).await;
            let archived = archived.map_err(unreadable)?;
            let archived = archived.filter(|archived| archived.link == stored.link);
            let archived = archived.ok_or_else(|| {
                broken(format!("the one stored for {size} entries is not archived"))
            })?;
            if restores.lost(archived.at) {
                return Err(broken(format!("the one stored for {size} entries was undone")));
            }
            let checkpoint =
                chain.add(&stored.link, &keys).map_err(|fault| broken(fault.to_string()))?;
            if checkpoint.size != size {
                let signs = checkpoint.size;
                return Err(broken(format!("the one stored for {size} entries signs {signs}")));
            }
        }
        let mut step = Step {
            generation: last.as_ref().map_or(1, |last| last.link.generation()),
            previous: last.as_ref().map_or(0, |last| last.size),
        };
        loop {
            let archived = self.archive.at(tenant.id(), step).await;
            let Some(archived) = archived.map_err(unreadable)? else {
                return Ok((last, step.generation));
            };
            if let Some(generation) = restores.generation_after(archived.at) {
                if generation <= step.generation {
                    return Err(broken(format!("the one that follows {step} was undone before")));
                }
                step.generation = generation;
                continue;
            }
            let checkpoint =
                chain.add(&archived.link, &keys).map_err(|fault| broken(fault.to_string()))?;
            let size = checkpoint.size;
            if Step::of(&archived.link) != step || size <= step.previous {
                return Err(broken(format!("the one archived after {step} does not extend it")));
            }
            let adopted = SignedCheckpoint { size, at: archived.at, link: archived.link };
            self.proved(tenant, Some(&adopted), step.generation).await?;
            tracing::warn!(tenant = %tenant.id(), size, "an archived checkpoint was not stored");
            store(tenant, &adopted).await?;
            step.previous = size;
            last = Some(adopted);
        }
    }

    /// Records, before a later generation begins after `last`, what was signed and
    /// is lost: the numbers of these entries are given again.
    async fn note_restore(
        &self,
        tenant: &Tenant,
        last: Option<&SignedCheckpoint>,
        generation: u64,
        now: Timestamp,
    ) -> Result<(), Problem> {
        let origin = self.keys.origin(tenant.id().as_str(), generation);
        let resource = Resource { kind: "audit_trail".into(), id: origin.clone() };
        let noted = AuditFilter {
            action: Some(RESTORED.into()),
            resource_id: Some(origin),
            ..AuditFilter::default()
        };
        if tenant.newest_audit_entry(&noted).await?.is_some() {
            return Ok(());
        }
        let keys = self.keys.of_tenant(tenant.id().as_str())?;
        let previous = last.map_or(0, |last| last.size);
        let mut of = last.map_or(1, |last| last.link.generation());
        let mut newest: Option<Checkpoint> = None;
        // The newest of the last generation that was lost.
        while of < generation {
            let mut step = Step { generation: of, previous };
            let mut next = generation;
            while let Some(undone) = self.archive.at(tenant.id(), step).await? {
                let Ok(checkpoint) = undone.link.open(&keys) else { break };
                if checkpoint.size <= step.previous {
                    break;
                }
                if step.previous == previous {
                    next = self.keys.restores().generation_after(undone.at).unwrap_or(generation);
                }
                step.previous = checkpoint.size;
                newest = Some(checkpoint);
            }
            of = next.max(of + 1);
        }
        let kept = tenant.audit_tree().await?.size();
        let facts = json!({
            "entries": kept,
            "signed": last.map_or(0, |last| last.size),
            "lost": newest.map(|newest| json!({ "entries": newest.size, "root": newest.root })),
        });
        tracing::warn!(tenant = %tenant.id(), generation, %facts, "the trail goes on after a restore");
        let by = Attribution {
            actor: Actor {
                kind: ActorKind::Job,
                id: "publish-checkpoints".into(),
                role: None,
                session: None,
            },
            source_ip: None,
            user_agent: None,
            request_id: random::id(now)?.to_string(),
            now,
        };
        tenant.record(&by, RESTORED, resource, Outcome::Success, facts).await
    }

    /// The present tree as a checkpoint, and what shows that it extends `last`;
    /// no proof where there is nothing new.
    async fn proved(
        &self,
        tenant: &Tenant,
        last: Option<&SignedCheckpoint>,
        generation: u64,
    ) -> Result<(Checkpoint, Option<(u64, Vec<Hash>)>), Problem> {
        let id = tenant.id().as_str();
        let broken = |what: String| contradicted(tenant, &what);
        let unreadable = |error| unreadable(tenant, error);
        let tree = tenant.audit_tree().await.map_err(unreadable)?;
        let origin = self.keys.origin(id, generation);
        let head = Checkpoint { origin, size: tree.size(), root: tree.root() };
        // Every trail begins with the provisioning of its tenant; a note of no
        // entries would have itself for a successor in the archive, for good.
        if head.size == 0 {
            return Err(broken("the head is that of an empty trail".into()));
        }
        let old = match last {
            Some(last) => Checkpoint::open(&last.link.checkpoint, &self.keys.of_tenant(id)?)
                .map_err(|error| broken(error.to_string()))?,
            None => Checkpoint { size: 0, root: Hash::of(&[]), ..head.clone() },
        };
        if old.size > head.size {
            let (signed, now) = (old.size, head.size);
            return Err(broken(format!("{signed} entries were signed, there are {now} now")));
        }
        if last.is_some() && old.size == head.size {
            return if old.root == head.root {
                Ok((head, None))
            } else {
                Err(broken(format!("the head of {} entries has another root", head.size)))
            };
        }
        // The head is one document; the hashes beside the entries must agree.
        if tenant.audit_root(head.size).await.map_err(unreadable)? != head.root {
            return Err(broken("the head is not that of the stored entries".into()));
        }
        let proof = tenant.audit_consistency(old.size, head.size).await.map_err(unreadable)?;
        verify_consistency(old.size, head.size, &proof, &old.root, &head.root)
            .map_err(|error| broken(format!("{} to {} entries: {error}", old.size, head.size)))?;
        Ok((head, Some((old.size, proof))))
    }

    async fn sign(
        &self,
        tenant: &Tenant,
        head: &Checkpoint,
        generation: u64,
    ) -> Result<String, Problem> {
        let signed = self
            .platform
            .kms()
            .await?
            .sign()
            .key_id(self.platform.setting(Setting::CheckpointSigningKey)?)
            .message_type(MessageType::Raw)
            .message(Blob::new(head.text()))
            .signing_algorithm(SigningAlgorithmSpec::Ed25519Sha512)
            .send()
            .await
            .map_err(|error| StoreError::unavailable("kms", &error))?;
        let signature = signed.signature.map(Blob::into_inner).unwrap_or_default();
        let key = self.keys.signing(tenant.id().as_str(), generation)?;
        // Checks the signature before it leaves.
        Ok(head.sign(&key, &signature).map_err(StoreError::defect)?)
    }
}

/// Stores an archived checkpoint, unless another run was faster with it.
async fn store(tenant: &Tenant, archived: &SignedCheckpoint) -> Result<(), StoreError> {
    match tenant.keep_checkpoint(archived).await {
        Err(StoreError::Duplicate) => Ok(()),
        done => done,
    }
}

/// What cannot be read is no less of a fault than what does not fit.
fn unreadable(tenant: &Tenant, error: StoreError) -> Problem {
    match error {
        StoreError::Trail(what) | StoreError::Defect(what) => contradicted(tenant, &what),
        other => other.into(),
    }
}

fn contradicted(tenant: &Tenant, what: &str) -> Problem {
    tracing::error!(tenant = %tenant.id(), what, "the audit trail contradicts its checkpoint");
    Problem::Conflict(format!("The audit trail contradicts its last checkpoint: {what}."))
}
