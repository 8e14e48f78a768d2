//! A detached CMS signature (RFC 5652) with the attributes that `PAdES` asks for.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    UnparsedPublicKey, VerificationAlgorithm,
};
use cms::cert::CertificateChoices;
use cms::content_info::ContentInfo;
use cms::signed_data::{SignedData, SignerIdentifier, SignerInfo};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5911::{ID_CONTENT_TYPE, ID_DATA, ID_MESSAGE_DIGEST, ID_SIGNED_DATA};
use const_oid::db::rfc5912::{
    ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ID_RSASSA_PSS, ID_SHA_256, SHA_256_WITH_RSA_ENCRYPTION,
    SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION,
};
use der::asn1::{Any, OctetString, SetOfVec};
use der::{Decode, Encode, Reader, SliceReader};
use keystone_log::merkle::Hash;
use x509_cert::Certificate;
use x509_cert::attr::Attribute;

/// `signingCertificateV2` (RFC 5035 §3).
const SIGNING_CERTIFICATE_V2: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");

/// Who signed.
pub(super) struct Signed {
    /// The signer's certificate.
    pub(super) signer: Certificate,
    /// All that the signature carries.
    pub(super) certificates: Vec<Certificate>,
}

/// Verifies the signature over `content`; whom its certificate belongs to is
/// another question.
pub(super) fn verify(cms: &[u8], content: &[u8]) -> Result<Signed, String> {
    let (envelope, rest) =
        read(cms).map_err(|error| format!("the signature is no CMS: {error}"))?;
    if rest.iter().any(|byte| *byte != 0) {
        return Err("something follows the signature".into());
    }
    let certificates: Vec<Certificate> = envelope
        .certificates
        .iter()
        .flat_map(|set| set.0.iter())
        .filter_map(|choice| match choice {
            CertificateChoices::Certificate(certificate) => Some(certificate.clone()),
            CertificateChoices::Other(_) => None,
        })
        .collect();
    let [signer_info] = envelope.signer_infos.0.as_slice() else {
        return Err("the signature has not exactly one signer".into());
    };
    let signer = certificates
        .iter()
        .find(|certificate| is_signer(signer_info, certificate))
        .ok_or("the signature does not carry its signer's certificate")?
        .clone();
    let attributes = signer_info.signed_attrs.as_ref().ok_or("no attributes are signed")?;
    if signer_info.digest_alg.oid != ID_SHA_256 {
        return Err("the signature's digest is not SHA-256".into());
    }
    if only::<ObjectIdentifier>(attributes, ID_CONTENT_TYPE) != Some(ID_DATA) {
        return Err("the signature is over another type of content".into());
    }
    let digest = only::<OctetString>(attributes, ID_MESSAGE_DIGEST);
    if digest.as_ref().map(OctetString::as_bytes) != Some(&Hash::of(&[content]).0) {
        return Err("the document was changed after it was signed".into());
    }
    let der = signer.to_der().map_err(|error| error.to_string())?;
    if bound_certificate(attributes) != Some(Hash::of(&[&der]).0) {
        return Err("the signature is not bound to its certificate".into());
    }
    // RFC 5652 §5.4: the signature is over the attributes as a SET OF.
    let message = attributes.to_der().map_err(|error| error.to_string())?;
    let algorithm = match signer_info.signature_algorithm.oid {
        const_oid::db::rfc5912::RSA_ENCRYPTION => SHA_256_WITH_RSA_ENCRYPTION,
        oid => oid,
    };
    verify_with(&signer, algorithm, &message, signer_info.signature.as_bytes())
        .map_err(|why| format!("the signature is false: {why}"))?;
    Ok(Signed { signer, certificates })
}

fn read(cms: &[u8]) -> der::Result<(SignedData, &[u8])> {
    let mut reader = SliceReader::new(cms)?;
    let info = ContentInfo::decode(&mut reader)?;
    let rest = cms.get(usize::try_from(reader.position())?..).unwrap_or_default();
    if info.content_type != ID_SIGNED_DATA {
        return Err(der::ErrorKind::OidUnknown { oid: info.content_type }.into());
    }
    Ok((info.content.decode_as()?, rest))
}

fn is_signer(info: &SignerInfo, certificate: &Certificate) -> bool {
    match &info.sid {
        SignerIdentifier::IssuerAndSerialNumber(id) => {
            id.issuer == certificate.tbs_certificate.issuer
                && id.serial_number == certificate.tbs_certificate.serial_number
        }
        SignerIdentifier::SubjectKeyIdentifier(_) => false,
    }
}

/// The one value of the one attribute of this type.
fn only_any(attributes: &SetOfVec<Attribute>, oid: ObjectIdentifier) -> Option<&Any> {
    let mut found = attributes.iter().filter(|attribute| attribute.oid == oid);
    let attribute = found.next().filter(|_| found.next().is_none())?;
    attribute.values.get(0).filter(|_| attribute.values.len() == 1)
}

fn only<'a, T: der::Choice<'a> + der::DecodeValue<'a>>(
    attributes: &'a SetOfVec<Attribute>,
    oid: ObjectIdentifier,
) -> Option<T> {
    only_any(attributes, oid)?.decode_as().ok()
}

/// The SHA-256 of the certificate that `signingCertificateV2` names first.
fn bound_certificate(attributes: &SetOfVec<Attribute>) -> Option<[u8; 32]> {
    // SigningCertificateV2 { certs { ESSCertIDv2 { certHash .. } .. } .. }; the
    // algorithm before the hash is absent where it is SHA-256.
    let binding = only_any(attributes, SIGNING_CERTIFICATE_V2)?;
    let certificates = first(binding.value()).ok()?;
    let certificate = first(certificates.value()).ok()?;
    let mut reader = SliceReader::new(certificate.value()).ok()?;
    OctetString::decode(&mut reader).ok()?.as_bytes().try_into().ok()
}

/// The first element of a sequence's content.
fn first(content: &[u8]) -> der::Result<Any> {
    Any::decode(&mut SliceReader::new(content)?)
}

/// Checks a signature by the key of `certificate`.
pub(super) fn verify_with(
    certificate: &Certificate,
    algorithm: ObjectIdentifier,
    message: &[u8],
    signature: &[u8],
) -> Result<(), String> {
    let verifier: &'static dyn VerificationAlgorithm = match algorithm {
        SHA_256_WITH_RSA_ENCRYPTION => &RSA_PKCS1_2048_8192_SHA256,
        SHA_384_WITH_RSA_ENCRYPTION => &RSA_PKCS1_2048_8192_SHA384,
        SHA_512_WITH_RSA_ENCRYPTION => &RSA_PKCS1_2048_8192_SHA512,
        ID_RSASSA_PSS => &RSA_PSS_2048_8192_SHA256,
        ECDSA_WITH_SHA_256 => &ECDSA_P256_SHA256_ASN1,
        ECDSA_WITH_SHA_384 => &ECDSA_P384_SHA384_ASN1,
        other => return Err(format!("the algorithm {other} is not known")),
    };
    let key = certificate.tbs_certificate.subject_public_key_info.subject_public_key.raw_bytes();
    UnparsedPublicKey::new(verifier, key)
        .verify(message, signature)
        .map_err(|_| "it was made by another key or over something else".to_owned())
}
