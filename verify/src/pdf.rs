//! `keystone-verify pdf`: the `PAdES` signature (ETSI EN 319 142-1, baseline B-B)
//! of a report, the certificate path to a given root, and the bundle attached.

mod cms_signature;
mod path;

use der::Encode;
use keystone_log::merkle::Hash;
use keystone_log::note::VerifierKey;
use lopdf::{Dictionary, Document, Object, Stream};
use x509_cert::Certificate;

use crate::bundle::{self, Bundle};
use crate::{Failure, Report};

/// Name of the attached bundle.
const BUNDLE: &[u8] = b"bundle.jsonl";

/// The largest report that is read, in bytes.
const MAX_BYTES: u64 = 1 << 30;

/// The largest attachment, in bytes, once it is inflated. A volume ends with the
/// batch of 500 entries, of 64 KiB each and their openings, in which its bundle
/// reaches 32 MiB.
const MAX_ATTACHED: usize = 256 << 20;

/// Verifies signed reports against a root certificate in a PEM file, and the hash
/// of the `only` certificate that may have signed, if one is given.
pub(crate) fn verify_files(
    files: &[String],
    root: &str,
    only: Option<Hash>,
    keys: &[VerifierKey],
) -> Result<Report, Failure> {
    let roots = std::fs::read(root).map_err(|error| Failure::unreadable(root, &error))?;
    let roots = path::roots(&roots).map_err(|why| Failure::Unusable(format!("{root}: {why}")))?;
    let (mut signatures, mut bundles) = (Vec::new(), Vec::new());
    for file in files {
        let (signature, bundle) =
            verify_file(file, &roots, only, keys).map_err(|failure| failure.of(file, files))?;
        signatures.extend(signature);
        bundles.push(bundle);
    }
    let mut report = bundle::report(&bundles)?;
    report.verdict = match files.len() {
        1 => format!("signed report with {}", report.verdict),
        _ => format!("signed reports with {}", report.verdict),
    };
    signatures.push(
        "The certificates were valid at the time that the report gives for its signature."
            .to_owned(),
    );
    report.checked.splice(0..0, signatures);
    report.unchecked.extend([
        "That the certificate was not revoked, since that needs a network.".to_owned(),
        "The time of the signature: it is the signer's own statement.".to_owned(),
        "That the printed table shows what the attached bundle does; both are signed together."
            .to_owned(),
    ]);
    Ok(report)
}

/// What was checked of one report's signature, and the bundle attached to it.
fn verify_file(
    file: &str,
    roots: &[Certificate],
    only: Option<Hash>,
    keys: &[VerifierKey],
) -> Result<([String; 2], Bundle), Failure> {
    let length = std::fs::metadata(file).map_err(|error| Failure::unreadable(file, &error))?.len();
    if length > MAX_BYTES {
        return Err(Failure::Unusable(format!("{file} is larger than any report")));
    }
    let bytes = std::fs::read(file).map_err(|error| Failure::unreadable(file, &error))?;
    let document = Document::load_mem(&bytes)
        .map_err(|error| Failure::refused(format!("{file} is no PDF: {error}")))?;

    let signature = signature(&document)?;
    let (content, cms) = signed_parts(&bytes, signature)?;
    let signed = cms_signature::verify(&cms, &content).map_err(Failure::refused)?;
    let fingerprint = Hash::of(&[&signed.signer.to_der().map_err(Failure::refused)?]);
    if only.is_some_and(|only| only != fingerprint) {
        let why = format!("another certificate signed, with the SHA-256 {fingerprint}");
        return Err(Failure::refused(why));
    }
    let at = signing_time(signature)?;
    let names =
        path::verify(&signed.signer, &signed.certificates, roots, at).map_err(Failure::refused)?;

    let attached = attached_bundle(&document)?;
    let bundle = bundle::verify_bundle(attached.as_slice(), keys)?;
    let checked = [
        format!(
            "The signature covers every byte of the {} of the file, and nothing was added.",
            bytes.len()
        ),
        format!(
            "It was made by the key that {} is certified for (SHA-256 of the certificate \
             {fingerprint}); {} up to the given root.",
            names.first().map_or("nobody", String::as_str),
            names.join(", then ")
        ),
    ];
    Ok((checked, bundle))
}

/// The only signature dictionary of the document.
fn signature(document: &Document) -> Result<&Dictionary, Failure> {
    let mut found = document.objects.values().filter_map(|object| {
        let dictionary = object.as_dict().ok()?;
        dictionary.has(b"ByteRange").then_some(dictionary)
    });
    match (found.next(), found.next()) {
        (Some(signature), None) => Ok(signature),
        (None, _) => Err(Failure::refused("the PDF is not signed")),
        (Some(_), Some(_)) => Err(Failure::refused("the PDF has more than one signature")),
    }
}

/// What is signed, and the signature (CMS, DER). The signed ranges must be the
/// whole file but for the signature itself.
fn signed_parts(bytes: &[u8], signature: &Dictionary) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    let refused = |why: &str| Failure::refused(why);
    let range = signature.get(b"ByteRange").and_then(Object::as_array).map_err(Failure::refused)?;
    let range: Option<Vec<usize>> = range
        .iter()
        .map(|number| number.as_i64().ok().and_then(|number| usize::try_from(number).ok()))
        .collect();
    let Some([0, gap, resume, rest]) = range.as_deref().and_then(|range| range.first_chunk())
    else {
        return Err(refused("the signature's byte range is malformed"));
    };
    if range.as_ref().is_some_and(|range| range.len() != 4) {
        return Err(refused("the signature's byte range is malformed"));
    }
    if resume.checked_add(*rest) != Some(bytes.len()) {
        return Err(refused(
            "the signature does not cover the whole file: something was added after it",
        ));
    }
    let parts = bytes.get(..*gap).zip(bytes.get(*gap..*resume)).zip(bytes.get(*resume..));
    let Some(((before, hole), after)) = parts else {
        return Err(refused("the signature's byte range is malformed"));
    };
    let digits = hole.strip_prefix(b"<").and_then(|hole| hole.strip_suffix(b">"));
    let cms = digits
        .and_then(from_hex)
        .ok_or_else(|| refused("the part that is not signed holds more than the signature"))?;
    Ok(([before, after].concat(), cms))
}

fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if digits.len() % 2 == 1 {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// When the report says that it was signed, in seconds since 1970.
fn signing_time(signature: &Dictionary) -> Result<u64, Failure> {
    let text = signature.get(b"M").and_then(Object::as_str).map_err(Failure::refused)?;
    path::pdf_time(text).ok_or_else(|| Failure::refused("the signature gives no time in UTC"))
}

/// The only attachment with the bundle's name.
fn attached_bundle(document: &Document) -> Result<Vec<u8>, Failure> {
    let named = |object: &&Dictionary| {
        let name = object.get(b"UF").or_else(|_| object.get(b"F")).and_then(Object::as_str);
        object.has(b"EF") && name.is_ok_and(is_bundle)
    };
    let mut found =
        document.objects.values().filter_map(|object| object.as_dict().ok()).filter(named);
    let specification = match (found.next(), found.next()) {
        (Some(only), None) => only,
        (None, _) => return Err(Failure::refused("no bundle.jsonl is attached to the PDF")),
        _ => return Err(Failure::refused("several bundle.jsonl are attached to the PDF")),
    };
    let file = specification
        .get(b"EF")
        .and_then(Object::as_dict)
        .and_then(|files| files.get(b"F"))
        .and_then(Object::as_reference)
        .and_then(|id| document.get_object(id))
        .and_then(Object::as_stream)
        .map_err(|error| Failure::refused(format!("the attachment cannot be read: {error}")))?;
    inflated(file, MAX_ATTACHED)
}

/// The content of an attachment, of at most `most` bytes.
fn inflated(file: &Stream, most: usize) -> Result<Vec<u8>, Failure> {
    file.get_plain_content_with_limit(most)
        .map_err(|error| Failure::refused(format!("the attachment cannot be read: {error}")))
}

/// Whether a file specification's name, in `PDFDocEncoding` or UTF-16, is the
/// bundle's.
fn is_bundle(name: &[u8]) -> bool {
    let wide: Vec<u8> =
        [0xfe, 0xff].into_iter().chain(BUNDLE.iter().flat_map(|byte| [0, *byte])).collect();
    name == BUNDLE || name == wide
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attachment_inflates_to_its_bound_and_no_further() {
        let plain = Stream::new(Dictionary::new(), vec![b'x'; 1 << 20]);
        let mut packed = plain.clone();
        packed.compress().unwrap();
        assert!(packed.dict.has(b"Filter") && packed.content.len() < 1 << 12);
        for file in [plain, packed] {
            assert_eq!(inflated(&file, 1 << 20).ok().unwrap().len(), 1 << 20);
            assert!(matches!(inflated(&file, (1 << 20) - 1), Err(Failure::Refused(_))));
        }
    }
}
