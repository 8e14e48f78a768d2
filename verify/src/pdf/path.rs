//! The certificate path from a signer to a root that the auditor trusts
//! (RFC 5280 §6, without revocation and name constraints).

use der::Encode;
use x509_cert::Certificate;
use x509_cert::der::DateTime;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

use super::cms_signature::verify_with;

/// Certificates between signer and root.
const MAX_PATH: usize = 8;

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
        names.push(name);
        if roots.contains(current) {
            return Ok(names);
        }
        // A root that is not trusted leads nowhere but to itself.
        let above =
            roots.iter().chain(others).find(|issuer| *issuer != current && issued(issuer, current));
        current = above.ok_or("the signer's certificate does not lead to the given root")?;
    }
    Err("the certificate path is too long".into())
}

/// Whether `issuer` is an authority that signed `certificate`.
fn issued(issuer: &Certificate, certificate: &Certificate) -> bool {
    let message = certificate.tbs_certificate.to_der().unwrap_or_default();
    issuer.tbs_certificate.subject == certificate.tbs_certificate.issuer
        && is_authority(issuer)
        && certificate.signature_algorithm == certificate.tbs_certificate.signature
        && certificate.signature.as_bytes().is_some_and(|signature| {
            verify_with(issuer, certificate.signature_algorithm.oid, &message, signature).is_ok()
        })
}

fn is_authority(certificate: &Certificate) -> bool {
    let constraints = certificate.tbs_certificate.get::<BasicConstraints>();
    let usage = key_usage(certificate).ok().flatten();
    constraints.is_ok_and(|found| found.is_some_and(|(_, found)| found.ca))
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

    #[test]
    fn times_are_utc_and_whole() {
        assert_eq!(pdf_time(b"D:19700101000001Z"), Some(1));
        assert_eq!(pdf_time(b"D:20260102030405Z"), Some(1_767_323_045));
        for wrong in ["D:20260102030405", "20260102030405Z", "D:20261302030405Z", "D:2026Z"] {
            assert_eq!(pdf_time(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
