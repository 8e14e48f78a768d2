//! Signing of reports with the key in KMS.

use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{MessageType, SigningAlgorithmSpec};
use jiff::Timestamp;
use keystone::config::Setting;
use keystone::platform::Platform;
use keystone::tenant::StoreError;
use serde::Deserialize;

use crate::pades::{CertificateChain, prepare};

/// What a function needs that signs reports.
pub const SETTINGS: [Setting; 2] = [Setting::ReportSigningKey, Setting::ReportCertificateSecret];

/// What signs reports: a key that never leaves KMS, and its certificate.
pub struct Signer<'p> {
    kms: &'p aws_sdk_kms::Client,
    key: &'p str,
    chain: CertificateChain,
}

impl<'p> Signer<'p> {
    /// The signer, once it is certain that the certificate is of the key.
    ///
    /// # Errors
    /// [`StoreError`] when a store does not answer, or the two do not fit.
    pub async fn load(platform: &'p Platform, now: Timestamp) -> Result<Self, StoreError> {
        #[derive(Deserialize)]
        struct Secret {
            chain: String,
        }
        let kms = platform.kms().await?;
        let key = platform.config().get(Setting::ReportSigningKey).map_err(StoreError::defect)?;
        let secret = platform.secret(Setting::ReportCertificateSecret, now).await?;
        let secret: Secret = serde_json::from_str(&secret).map_err(StoreError::defect)?;
        let chain = CertificateChain::from_pem(&secret.chain).map_err(StoreError::defect)?;
        let public = kms
            .get_public_key()
            .key_id(key)
            .send()
            .await
            .map_err(|error| StoreError::unavailable("kms", &error))?
            .public_key
            .ok_or_else(|| StoreError::defect("KMS gave no public key"))?;
        let certified = chain.public_key_spki_der().map_err(StoreError::defect)?;
        if certified.as_slice() != public.as_ref() {
            return Err(StoreError::defect("the certificate is not of the signing key"));
        }
        Ok(Self { kms, key, chain })
    }

    /// Signs a report; `reason` is what readers say of the signature.
    ///
    /// # Errors
    /// [`StoreError`] when KMS does not sign; nothing is half signed then.
    pub async fn sign(
        &self,
        pdf: Vec<u8>,
        reason: &str,
        at: Timestamp,
    ) -> Result<Vec<u8>, StoreError> {
        let prepared = prepare(pdf, &self.chain, reason, at).map_err(StoreError::defect)?;
        let signature = self
            .kms
            .sign()
            .key_id(self.key)
            .message_type(MessageType::Digest)
            .message(Blob::new(prepared.digest().to_vec()))
            .signing_algorithm(SigningAlgorithmSpec::RsassaPkcs1V15Sha256)
            .send()
            .await
            .map_err(|error| StoreError::unavailable("kms", &error))?
            .signature
            .ok_or_else(|| StoreError::defect("KMS gave no signature"))?;
        prepared.finish(signature.as_ref()).map_err(StoreError::defect)
    }
}
