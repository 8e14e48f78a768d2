//! The certificate path from a signer to a root that the auditor trusts
//! (RFC 5280 §6, without revocation; a path with critical extensions that are not
//! looked at here, such as name constraints, is refused).

use const_oid::ObjectIdentifier;
use der::Encode;
use x509_cert::Certificate;
use x509_cert::der::DateTime;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

use super::cms_signature::verify_with;

/// Certificates between signer and root.
const MAX_PATH: usize = 8;

/// Extensions that are looked at: key usage, basic constraints, extended key
/// usage (RFC 5280 §4.2.1).
const KNOWN: [ObjectIdentifier; 3] = [
    ObjectIdentifier::new_unwrap("2.5.29.15"),
    ObjectIdentifier::new_unwrap("2.5.29.19"),
    ObjectIdentifier::new_unwrap("2.5.29.37"),
];

/// Extended key usages of who signs documents: that of RFC 9336, Adobe's and
/// Microsoft's from before it, and any.
const DOCUMENTS: [ObjectIdentifier; 4] = [
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.36"),
    ObjectIdentifier::new_unwrap("1.2.840.113583.1.1.5"),
    ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.10.3.12"),
    ObjectIdentifier::new_unwrap("2.5.29.37.0"),
];

/// Reads the PEM certificates of trusted roots.
pub(super) fn roots(pem: &[u8]) -> Result<Vec<Certificate>, String> {
    let roots = Certificate::load_pem_chain(pem).map_err(|error| error.to_string())?;
    if roots.is_empty() { Err("it holds no certificate".into()) } else { Ok(roots) }
}

/// Verifies the path from `signer` to one of `roots` at a time in seconds since
/// 1970, and returns the names on it.
pub(super) fn verify(
    signer: &Certificate,
    others: &[Certificate],
    roots: &[Certificate],
    at: u64,
) -> Result<Vec<String>, String> {
    let usage = key_usage(signer)?;
    if !usage.is_some_and(|usage| usage.digital_signature() || usage.non_repudiation()) {
        return Err("the signer's certificate is not for signatures".into());
    }
    let purposes = signer.tbs_certificate.get::<ExtendedKeyUsage>().map_err(|e| e.to_string())?;
    if purposes.is_some_and(|(_, found)| !found.0.iter().any(|one| DOCUMENTS.contains(one))) {
        return Err("the signer's certificate is for other purposes than documents".into());
    }
    let mut names = Vec::new();
    let mut current = signer;
    for _ in 0..MAX_PATH {
        let name = current.tbs_certificate.subject.to_string();
        let validity = &current.tbs_certificate.validity;
        let (from, to) = (
            validity.not_before.to_unix_duration().as_secs(),
            validity.not_after.to_unix_duration().as_secs(),
        );
        if !(from..=to).contains(&at) {
            return Err(format!("the certificate of {name} was not valid at the given time"));
        }
        let extensions = current.tbs_certificate.extensions.iter().flatten();
        let mut critical = extensions.filter(|extension| extension.critical);
        if let Some(unknown) = critical.find(|extension| !KNOWN.contains(&extension.extn_id)) {
            let id = unknown.extn_id;
            return Err(format!("the certificate of {name} has the critical extension {id}"));
        }
        names.push(name);
        if roots.contains(current) {
            return Ok(names);
        }
        // A root that is not trusted leads nowhere but to itself.
        let below = names.len() - 1;
        let issues = |issuer: &&Certificate| *issuer != current && issued(issuer, current, below);
        let above = roots.iter().chain(others).find(issues);
        current = above.ok_or("the signer's certificate does not lead to the given root")?;
    }
    Err("the certificate path is too long".into())
}

/// Whether `issuer` is an authority that signed `certificate`, and may have as
/// many authorities `below` it.
fn issued(issuer: &Certificate, certificate: &Certificate, below: usize) -> bool {
    let message = certificate.tbs_certificate.to_der().unwrap_or_default();
    issuer.tbs_certificate.subject == certificate.tbs_certificate.issuer
        && is_authority(issuer, below)
        && certificate.signature_algorithm == certificate.tbs_certificate.signature
        && certificate.signature.as_bytes().is_some_and(|signature| {
            verify_with(issuer, certificate.signature_algorithm.oid, &message, signature).is_ok()
        })
}

fn is_authority(certificate: &Certificate, below: usize) -> bool {
    let constraints = certificate.tbs_certificate.get::<BasicConstraints>();
    let usage = key_usage(certificate).ok().flatten();
    let may = |found: BasicConstraints| {
        found.ca && found.path_len_constraint.is_none_or(|most| below <= usize::from(most))
    };
    constraints.is_ok_and(|found| found.is_some_and(|(_, found)| may(found)))
        && usage.is_some_and(|usage| usage.key_cert_sign())
}

fn key_usage(certificate: &Certificate) -> Result<Option<KeyUsage>, String> {
    let found = certificate.tbs_certificate.get::<KeyUsage>().map_err(|error| error.to_string())?;
    Ok(found.map(|(_, usage)| usage))
}

/// A PDF date in UTC, `D:20260102030405Z`, in seconds since 1970.
pub(super) fn pdf_time(text: &[u8]) -> Option<u64> {
    let text = str::from_utf8(text).ok()?.strip_prefix("D:")?.strip_suffix('Z')?;
    if text.len() != 14 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |range: std::ops::Range<usize>| text.get(range)?.parse::<u8>().ok();
    let at = DateTime::new(
        text.get(..4)?.parse().ok()?,
        part(4..6)?,
        part(6..8)?,
        part(8..10)?,
        part(10..12)?,
        part(12..14)?,
    );
    Some(at.ok()?.unix_duration().as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Root, issuing authority (path length 0), an authority below it, and what
    /// they issued, valid from 2020 to 2120.
    const CERTIFICATES: &[u8] = include_bytes!("path_tests.pem");

    #[test]
    fn who_may_sign_reports_is_certified_for_documents() {
        let certificates = roots(CERTIFICATES).unwrap();
        let (root, others) = certificates.split_first().unwrap();
        let root = std::slice::from_ref(root);
        let signs = |name: &str, at| {
            let subject = format!("CN={name}");
            let named = |one: &&Certificate| one.tbs_certificate.subject.to_string() == subject;
            verify(others.iter().find(named).unwrap(), others, root, at)
        };
        let at = 1_767_323_045;
        let path = ["CN=documents", "CN=issuing", "CN=root"];
        assert_eq!(signs("documents", at).unwrap(), path);
        signs("anything", at).unwrap();
        signs("harmless", at).unwrap();
        for (name, why) in [
            ("server", "the signer's certificate is for other purposes than documents"),
            (
                "strange",
                "the certificate of CN=strange has the critical extension 1.3.6.1.4.1.55555.1",
            ),
            ("too deep", "the signer's certificate does not lead to the given root"),
            ("issuing", "the signer's certificate is not for signatures"),
        ] {
            assert_eq!(signs(name, at).unwrap_err(), why, "{name}");
        }
        assert!(signs("documents", 0).unwrap_err().contains("was not valid"));
        // The root of somebody else.
        let stranger = &others[0..1];
        let signer = &others[2];
        assert_eq!(verify(signer, others, stranger, at).unwrap().len(), 2);
        assert!(verify(signer, &[], root, at).is_err());
    }

    #[test]
    fn times_are_utc_and_whole() {
        assert_eq!(pdf_time(b"D:19700101000001Z"), Some(1));
        assert_eq!(pdf_time(b"D:20260102030405Z"), Some(1_767_323_045));
        for wrong in ["D:20260102030405", "20260102030405Z", "D:20261302030405Z", "D:2026Z"] {
            assert_eq!(pdf_time(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
