//! `PAdES` baseline B-B signatures (ETSI EN 319 142-1) by a key that stays in a
//! key management service: [`prepare`] gives the digest to sign, and
//! [`Prepared::finish`] puts the signature in. Until then nothing is handed
//! out, so a failed signing call leaves no half-signed file.

use cms::cert::{CertificateChoices, IssuerAndSerialNumber};
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{
    CertificateSet, DigestAlgorithmIdentifiers, EncapsulatedContentInfo, SignedData,
    SignerIdentifier, SignerInfo, SignerInfos,
};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5911::{ID_CONTENT_TYPE, ID_DATA, ID_MESSAGE_DIGEST, ID_SIGNED_DATA};
use const_oid::db::rfc5912::{ID_SHA_256, SHA_256_WITH_RSA_ENCRYPTION};
use der::asn1::{Any, OctetString, SetOfVec, UintRef};
use der::{Decode, Encode, Reader, SliceReader, Tag};
use jiff::Timestamp;
use keystone::audit::merkle::Hash;
use lopdf::{Dictionary, Document, IncrementalDocument, Object, StringFormat, dictionary};
use spki::AlgorithmIdentifierOwned;
use x509_cert::Certificate;
use x509_cert::attr::Attribute;

/// `signingCertificateV2` (RFC 5035 §3), which binds the certificate to the
/// signature.
const SIGNING_CERTIFICATE_V2: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");

/// A number of ten digits that stands in `ByteRange` until the offsets are
/// known: a PDF of up to 10 GB needs no more.
const OFFSET_PLACEHOLDER: i64 = 9_999_999_999;

/// The signer's certificate and those above it, leaf first.
pub struct CertificateChain(Vec<Certificate>);

impl CertificateChain {
    /// Reads a PEM chain, leaf first.
    ///
    /// # Errors
    /// [`PadesError::Certificate`] when it holds no certificate.
    pub fn from_pem(pem: &str) -> Result<Self, PadesError> {
        let chain = Certificate::load_pem_chain(pem.as_bytes())
            .map_err(|_| PadesError::Certificate("not a PEM chain"))?;
        if chain.is_empty() {
            return Err(PadesError::Certificate("empty chain"));
        }
        Ok(Self(chain))
    }

    fn leaf(&self) -> Result<&Certificate, PadesError> {
        self.0.first().ok_or(PadesError::Certificate("empty chain"))
    }

    /// The certified public key, DER `SubjectPublicKeyInfo` (RFC 5280 §4.1).
    ///
    /// # Errors
    /// [`PadesError::Der`] when it cannot be encoded.
    pub fn public_key_spki_der(&self) -> Result<Vec<u8>, PadesError> {
        Ok(self.leaf()?.tbs_certificate.subject_public_key_info.to_der()?)
    }

    /// Length of a signature by the leaf's RSA key, in bytes.
    fn signature_len(&self) -> Result<usize, PadesError> {
        let key = &self.leaf()?.tbs_certificate.subject_public_key_info.subject_public_key;
        let mut reader = SliceReader::new(key.raw_bytes())?;
        // RSAPublicKey (RFC 8017 §A.1.1): modulus, exponent.
        let modulus = reader.sequence(|key| {
            let modulus = UintRef::decode(key)?.as_bytes().len();
            UintRef::decode(key)?;
            Ok(modulus)
        })?;
        Ok(modulus)
    }
}

/// A PDF with room for a signature, and the attributes that are signed.
pub struct Prepared {
    pdf: Vec<u8>,
    contents_at: usize,
    contents_len: usize,
    attributes: SetOfVec<Attribute>,
    chain: Vec<Certificate>,
    issuer: IssuerAndSerialNumber,
    digest: [u8; 32],
}

/// Adds a signature field to `pdf` and works out what is to be signed.
///
/// # Errors
/// [`PadesError`] when the PDF or the certificate cannot be used.
pub fn prepare(
    pdf: Vec<u8>,
    chain: &CertificateChain,
    reason: &str,
    at: Timestamp,
) -> Result<Prepared, PadesError> {
    let leaf = chain.leaf()?;
    let issuer = IssuerAndSerialNumber {
        issuer: leaf.tbs_certificate.issuer.clone(),
        serial_number: leaf.tbs_certificate.serial_number.clone(),
    };
    // Its length does not depend on the hashes in it, so a dry run tells it.
    let dry = signed_data(
        &signed_attributes(leaf, &[0; 32])?,
        &chain.0,
        &issuer,
        &vec![0; chain.signature_len()?],
    )?;
    let appended_at = pdf.len();
    let mut signed = with_signature_field(pdf, reason, at, dry.len())?;
    let contents_at = find(&signed, appended_at, b"/Contents<")? + b"/Contents<".len();
    let contents_len = dry.len() * 2;
    let resume_at = contents_at + contents_len + 1;
    let (gap_at, end) = (contents_at - 1, signed.len());
    set_byte_range(&mut signed, appended_at, [0, gap_at, resume_at, end - resume_at])?;
    let content = Hash::of(&[&signed[..gap_at], &signed[resume_at..]]);
    let attributes = signed_attributes(leaf, &content.0)?;
    // RFC 5652 §5.4: the digest is over the attributes as an explicit SET OF.
    let digest = Hash::of(&[&attributes.to_der()?]).0;
    Ok(Prepared {
        pdf: signed,
        contents_at,
        contents_len,
        attributes,
        chain: chain.0.clone(),
        issuer,
        digest,
    })
}

impl Prepared {
    /// SHA-256 of the signed attributes: what RSASSA-PKCS1-v1_5 signs.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The signed PDF.
    ///
    /// # Errors
    /// [`PadesError::Signature`] when the signature has not the length of the
    /// certified key.
    pub fn finish(mut self, signature: &[u8]) -> Result<Vec<u8>, PadesError> {
        let cms = signed_data(&self.attributes, &self.chain, &self.issuer, signature)?;
        let text = hex::encode(cms);
        if text.len() != self.contents_len {
            return Err(PadesError::Signature);
        }
        self.pdf[self.contents_at..self.contents_at + text.len()].copy_from_slice(text.as_bytes());
        Ok(self.pdf)
    }
}

/// The PDF with an incremental update that holds an invisible signature field
/// on its first page, with `len` bytes of room.
fn with_signature_field(
    pdf: Vec<u8>,
    reason: &str,
    at: Timestamp,
    len: usize,
) -> Result<Vec<u8>, PadesError> {
    let previous = Document::load_mem(&pdf)?;
    let catalog = previous.trailer.get(b"Root")?.as_reference()?;
    let page = *previous.get_pages().get(&1).ok_or(PadesError::Pdf("no page"))?;
    let mut update = IncrementalDocument::create_from(pdf, previous);
    let signature = update.new_document.add_object(dictionary! {
        "Type" => "Sig",
        "Filter" => "Adobe.PPKLite",
        "SubFilter" => "ETSI.CAdES.detached",
        "ByteRange" => vec![
            0.into(),
            OFFSET_PLACEHOLDER.into(),
            OFFSET_PLACEHOLDER.into(),
            OFFSET_PLACEHOLDER.into(),
        ],
        "Contents" => Object::String(vec![0; len], StringFormat::Hexadecimal),
        "M" => Object::string_literal(at.strftime("D:%Y%m%d%H%M%SZ").to_string()),
        "Reason" => Object::string_literal(reason),
    });
    let field = update.new_document.add_object(dictionary! {
        "Type" => "Annot",
        "Subtype" => "Widget",
        "FT" => "Sig",
        "T" => Object::string_literal("Signature"),
        "V" => signature,
        "Rect" => vec![0.into(), 0.into(), 0.into(), 0.into()],
        "F" => 132,
        "P" => page,
    });
    change(&mut update, page, |page| {
        let mut annotations = match page.get(b"Annots") {
            Ok(Object::Array(present)) => present.clone(),
            Ok(_) => return Err(PadesError::Pdf("annotations of the first page")),
            Err(_) => Vec::new(),
        };
        annotations.push(field.into());
        page.set("Annots", annotations);
        Ok(())
    })?;
    change(&mut update, catalog, |catalog| {
        let form = dictionary! { "Fields" => vec![field.into()], "SigFlags" => 3 };
        catalog.set("AcroForm", form);
        Ok(())
    })?;
    let mut out = Vec::new();
    update.save_to(&mut out).map_err(|_| PadesError::Pdf("not written"))?;
    Ok(out)
}

fn change(
    update: &mut IncrementalDocument,
    id: lopdf::ObjectId,
    change: impl FnOnce(&mut Dictionary) -> Result<(), PadesError>,
) -> Result<(), PadesError> {
    update.opt_clone_object_to_new_document(id)?;
    change(update.new_document.get_object_mut(id)?.as_dict_mut()?)
}

fn find(pdf: &[u8], from: usize, wanted: &[u8]) -> Result<usize, PadesError> {
    pdf.get(from..)
        .and_then(|part| part.windows(wanted.len()).position(|window| window == wanted))
        .map(|at| from + at)
        .ok_or(PadesError::Pdf("placeholder lost"))
}

/// Writes the real offsets over the placeholder, padded with blanks.
fn set_byte_range(pdf: &mut [u8], from: usize, range: [usize; 4]) -> Result<(), PadesError> {
    let start = find(pdf, from, b"/ByteRange[")? + b"/ByteRange[".len();
    let end = find(pdf, start, b"]")?;
    let [a, b, c, d] = range;
    let text = format!("{a} {b} {c} {d}");
    let room = end - start;
    if text.len() > room {
        return Err(PadesError::Pdf("byte range"));
    }
    pdf[start..end].copy_from_slice(format!("{text:room$}").as_bytes());
    Ok(())
}

/// `contentType`, `messageDigest`, `signingCertificateV2`; `PAdES` keeps the
/// signing time in the signature dictionary (EN 319 142-1 §6.3).
fn signed_attributes(
    leaf: &Certificate,
    content: &[u8; 32],
) -> Result<SetOfVec<Attribute>, PadesError> {
    let certificate = Hash::of(&[&leaf.to_der()?]).0;
    // SigningCertificateV2 { certs { ESSCertIDv2 { certHash } } }; SHA-256 is
    // the default algorithm and so left out.
    let hash = OctetString::new(certificate)?.to_der()?;
    let binding = sequence(&sequence(&sequence(&hash)?)?)?;
    let mut attributes = SetOfVec::new();
    for (oid, value) in [
        (ID_CONTENT_TYPE, Any::encode_from(&ID_DATA)?),
        (ID_MESSAGE_DIGEST, Any::encode_from(&OctetString::new(*content)?)?),
        (SIGNING_CERTIFICATE_V2, Any::from_der(&binding)?),
    ] {
        attributes.insert(Attribute { oid, values: SetOfVec::try_from(vec![value])? })?;
    }
    Ok(attributes)
}

fn sequence(content: &[u8]) -> Result<Vec<u8>, PadesError> {
    Ok(Any::new(Tag::Sequence, content)?.to_der()?)
}

fn signed_data(
    attributes: &SetOfVec<Attribute>,
    chain: &[Certificate],
    issuer: &IssuerAndSerialNumber,
    signature: &[u8],
) -> Result<Vec<u8>, PadesError> {
    let sha256 = AlgorithmIdentifierOwned { oid: ID_SHA_256, parameters: None };
    let signer = SignerInfo {
        version: CmsVersion::V1,
        sid: SignerIdentifier::IssuerAndSerialNumber(issuer.clone()),
        digest_alg: sha256.clone(),
        signed_attrs: Some(attributes.clone()),
        signature_algorithm: AlgorithmIdentifierOwned {
            oid: SHA_256_WITH_RSA_ENCRYPTION,
            parameters: Some(Any::null()),
        },
        signature: OctetString::new(signature)?,
        unsigned_attrs: None,
    };
    let certificates: Vec<CertificateChoices> =
        chain.iter().cloned().map(CertificateChoices::Certificate).collect();
    let message = SignedData {
        version: CmsVersion::V1,
        digest_algorithms: DigestAlgorithmIdentifiers::try_from(vec![sha256])?,
        encap_content_info: EncapsulatedContentInfo { econtent_type: ID_DATA, econtent: None },
        certificates: Some(CertificateSet(SetOfVec::try_from(certificates)?)),
        crls: None,
        signer_infos: SignerInfos(SetOfVec::try_from(vec![signer])?),
    };
    let content = Any::from_der(&message.to_der()?)?;
    Ok(ContentInfo { content_type: ID_SIGNED_DATA, content }.to_der()?)
}

/// Why a PDF cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum PadesError {
    /// The certificate chain cannot be used.
    #[error("certificate: {0}")]
    Certificate(&'static str),
    /// The signature is not of the certified key.
    #[error("the signature has not the length of the certified key")]
    Signature,
    /// The PDF is not as expected.
    #[error("pdf: {0}")]
    Pdf(&'static str),
    /// The PDF cannot be read or changed.
    #[error(transparent)]
    Structure(#[from] lopdf::Error),
    /// DER cannot be written or read.
    #[error(transparent)]
    Der(#[from] der::Error),
}
