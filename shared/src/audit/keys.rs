//! The keys that sign checkpoints of audit trails, to verify them with.

use aws_sdk_kms::primitives::Blob;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::OnceCell;

use super::checkpoint::origin_of;
use super::note::VerifierKey;
use super::restores::Restores;
use crate::config::Setting;
use crate::platform::Platform;
use crate::tenant::StoreError;

/// What a function needs that knows the keys of checkpoints.
pub const KEY_SETTINGS: [Setting; 4] = [
    Setting::CheckpointSigningKey,
    Setting::RetiredCheckpointKeys,
    Setting::AuditRestores,
    Setting::AuditHost,
];

/// What precedes an Ed25519 key in a `SubjectPublicKeyInfo` (RFC 8410 §4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0];

/// The key in KMS never changes under its ARN, so it is asked for once.
static PUBLIC_KEY: OnceCell<[u8; 32]> = OnceCell::const_new();

/// The keys that sign checkpoints of this deployment.
pub struct CheckpointKeys {
    host: String,
    /// The one that signs, then those that did.
    public: Vec<[u8; 32]>,
    restores: Restores,
}

impl CheckpointKeys {
    /// Asks KMS for the public key, once per execution environment.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when KMS does not answer;
    /// [`StoreError::Defect`] for a wrong configuration.
    pub async fn of(platform: &Platform) -> Result<Self, StoreError> {
        let current = PUBLIC_KEY.get_or_try_init(|| public_key(platform)).await?;
        let mut public = vec![*current];
        let retired = platform.setting(Setting::RetiredCheckpointKeys)?;
        for key in retired.split(',').map(str::trim).filter(|key| *key != "none") {
            let bytes = STANDARD.decode(key).ok().and_then(|bytes| bytes.try_into().ok());
            public.push(bytes.ok_or_else(|| StoreError::defect("a retired key is no key"))?);
        }
        let host = platform.setting(Setting::AuditHost)?.to_owned();
        let restores = Restores::parse(platform.setting(Setting::AuditRestores)?)?;
        Ok(Self { host, public, restores })
    }

    /// The restores after which trails go on as another generation.
    pub fn restores(&self) -> &Restores {
        &self.restores
    }

    /// The origin of a generation of a tenant's audit trail, which is also the
    /// keys' name.
    pub fn origin(&self, tenant: &str, generation: u64) -> String {
        origin_of(&self.host, tenant, generation)
    }

    /// The key that signs the checkpoints of this generation of a tenant's trail.
    ///
    /// # Errors
    /// [`StoreError::Defect`] when the host cannot be part of a key's name.
    pub fn signing(&self, tenant: &str, generation: u64) -> Result<VerifierKey, StoreError> {
        VerifierKey::new(&self.origin(tenant, generation), self.public[0])
            .map_err(StoreError::defect)
    }

    /// The keys that a tenant's checkpoints are signed with: of each generation
    /// that there can be, the present one first.
    ///
    /// # Errors
    /// [`StoreError::Defect`] when the host cannot be part of a key's name.
    pub fn of_tenant(&self, tenant: &str) -> Result<Vec<VerifierKey>, StoreError> {
        let origins = (1..=self.restores.generations()).map(|one| self.origin(tenant, one));
        let keys = origins.flat_map(|origin| {
            self.public.iter().map(move |public| VerifierKey::new(&origin, *public))
        });
        keys.collect::<Result<_, _>>().map_err(StoreError::defect)
    }
}

async fn public_key(platform: &Platform) -> Result<[u8; 32], StoreError> {
    let answer = platform
        .kms()
        .await?
        .get_public_key()
        .key_id(platform.setting(Setting::CheckpointSigningKey)?)
        .send()
        .await
        .map_err(|error| StoreError::unavailable("kms", &error))?;
    let spki = answer.public_key.map(Blob::into_inner).unwrap_or_default();
    spki.strip_prefix(&SPKI_PREFIX)
        .and_then(|key| key.try_into().ok())
        .ok_or_else(|| StoreError::defect("the checkpoint key is no Ed25519 key"))
}
