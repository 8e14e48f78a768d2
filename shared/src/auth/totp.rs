//! Time-based one-time passwords (RFC 6238): SHA-1, six digits, steps of 30 s,
//! which is what every authenticator app can do; and the recovery codes for
//! when the app is lost (claim C8).

use std::fmt;

use aws_lc_rs::digest;
use jiff::Timestamp;
use qrcode::QrCode;
use qrcode::render::svg;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use totp_rs::{Algorithm, Builder, Totp};
use zeroize::{Zeroize, Zeroizing};

use super::throttle::Admission;
use crate::random;
use crate::tenant::StoreError;

/// Bytes of a seed: as many as the output of the hash (RFC 4226 §4).
const SEED_BYTES: usize = 20;
const DIGITS: u8 = 6;
const STEP_SECONDS: u64 = 30;
/// Steps by which the two clocks may differ, in either direction.
const DRIFT: u16 = 1;
const ISSUER: &str = "Keystone";

/// How many recovery codes a user gets.
pub const RECOVERY_CODES: usize = 10;
/// Random bytes of a recovery code: 120 bits, so that its plain hash is as
/// good as the code itself is hard to guess (OWASP ASVS 5.0, 6.5.2).
const RECOVERY_BYTES: usize = 15;
/// Crockford's base 32: no letter looks like a digit.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// What an authenticator app and we share. Overwritten when dropped and never
/// shown but once, to its owner.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(Vec<u8>);

impl Drop for Seed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

impl Seed {
    /// A seed that nobody has.
    ///
    /// # Errors
    /// When no randomness is to be had.
    pub fn new() -> Result<Self, random::Unavailable> {
        Ok(Self(random::bytes::<SEED_BYTES>()?.to_vec()))
    }

    /// A name of the seed that tells nothing of it: SHA-256, hex.
    pub fn fingerprint(&self) -> String {
        let mut input = zeroize::Zeroizing::new(b"keystone/totp-seed/v1".to_vec());
        input.extend_from_slice(&self.0);
        hex::encode(digest::digest(&digest::SHA256, &input))
    }

    fn totp(&self, account: &str) -> Result<Totp, StoreError> {
        Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(DIGITS)
            .with_step_duration(STEP_SECONDS)
            .with_skew(DRIFT)
            .with_secret(self.0.clone())
            .with_issuer(Some(ISSUER))
            .with_account_name(account)
            .build()
            .map_err(StoreError::defect)
    }

    /// The seed as its owner takes it over, for the account `email` of
    /// `tenant`.
    ///
    /// # Errors
    /// [`StoreError::Defect`] when it cannot be written or drawn.
    pub fn enrolment(&self, tenant: &str, email: &str) -> Result<Enrolment, StoreError> {
        // A colon ends the issuer in the label of the URI.
        let account = format!("{email} ({tenant})").replace(':', " ");
        let totp = self.totp(&account)?;
        let uri = totp.to_url().map_err(StoreError::defect)?;
        let qr_svg = QrCode::new(uri.as_bytes())
            .map_err(StoreError::defect)?
            .render::<svg::Color<'_>>()
            .min_dimensions(240, 240)
            .build();
        Ok(Enrolment { secret: totp.secret().to_base32(), otpauth_uri: uri, qr_svg })
    }

    /// The step at `now`, one before or one after, whose code is `code`. That
    /// the step was not used before is for the throttle to say.
    ///
    /// # Errors
    /// [`StoreError::Defect`] for a seed that is too short.
    pub fn step_of(
        &self,
        _admission: &Admission<'_>,
        code: &Code,
        now: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        self.matching_step(&code.0, now)
    }

    fn matching_step(&self, code: &str, now: Timestamp) -> Result<Option<u64>, StoreError> {
        let now = u64::try_from(now.as_second()).map_err(StoreError::defect)?;
        Ok(self.totp("account")?.check(code, now))
    }
}

/// A seed as its owner takes it over.
#[derive(Serialize, JsonSchema)]
pub struct Enrolment {
    /// The seed in base 32 (RFC 4648), to be typed in.
    pub secret: String,
    /// The seed as authenticator apps read it.
    pub otpauth_uri: String,
    /// The URI as a QR code, an SVG image.
    pub qr_svg: String,
}

/// A code as somebody sent it. Overwritten when dropped and never shown.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Code(#[schemars(length(min = 6, max = 64))] String);

impl Drop for Code {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(..)")
    }
}

impl Code {
    /// The form in which a recovery code is stored; `None` for what cannot be
    /// one. Case, spaces and hyphens do not matter, nor do the letters that
    /// look like digits.
    pub fn recovery_hash(&self) -> Option<String> {
        let mut plain = Zeroizing::new(String::with_capacity(self.0.len()));
        plain.extend(self.0.chars().filter(|c| !matches!(c, ' ' | '-')).map(|c| {
            match c.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            }
        }));
        (plain.len() == RECOVERY_BYTES * 8 / 5).then(|| hash(&plain))
    }
}

/// Ten recovery codes, and the form in which they are stored.
///
/// # Errors
/// When no randomness is to be had.
pub fn recovery_codes() -> Result<(Vec<String>, Vec<String>), random::Unavailable> {
    let mut shown = Vec::with_capacity(RECOVERY_CODES);
    let mut stored = Vec::with_capacity(RECOVERY_CODES);
    for _ in 0..RECOVERY_CODES {
        let code = base32(&random::bytes::<RECOVERY_BYTES>()?);
        stored.push(hash(&code));
        let groups: Vec<&str> =
            (0..code.len()).step_by(4).filter_map(|at| code.get(at..at + 4)).collect();
        shown.push(groups.join("-"));
    }
    Ok((shown, stored))
}

/// Five bits a character; the length is a multiple of five bytes.
fn base32(bytes: &[u8]) -> String {
    bytes
        .chunks(5)
        .flat_map(|chunk| {
            let bits = chunk.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            (0..8).rev().map(move |at| char::from(ALPHABET[(bits >> (5 * at) & 31) as usize]))
        })
        .collect()
}

fn hash(code: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, code.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// RFC 6238, appendix B, the rows for SHA-1; the last six of eight digits.
    #[test]
    fn the_vectors_of_the_rfc() {
        let seed = Seed(b"12345678901234567890".to_vec());
        for (second, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let step = seed.matching_step(code, at(second)).unwrap();
            assert_eq!(step, u64::try_from(second / 30).ok(), "{second}");
        }
    }

    #[test]
    fn one_step_of_drift_and_no_more() {
        let seed = Seed(b"12345678901234567890".to_vec());
        // The code of step 37037036, which began at 1111111080.
        let at_step = |step: i64| seed.matching_step("081804", at(step * 30)).unwrap();
        let of_code = 37_037_036;
        assert_eq!(at_step(of_code - 2), None);
        for step in [of_code - 1, of_code, of_code + 1] {
            assert_eq!(at_step(step), u64::try_from(of_code).ok());
        }
        assert_eq!(at_step(of_code + 2), None);
        for wrong in ["081805", "81804", "0818040", "", "08180a", "\u{660}81804", " 081804"] {
            assert_eq!(seed.matching_step(wrong, at(of_code * 30)).unwrap(), None, "{wrong}");
        }
    }

    /// What a camera reads off the picture, whose dark parts are rectangles
    /// (`M<left> <top>h<width>v<height>H..V..`).
    fn scanned(svg: &str) -> String {
        let of = |text: &str, before: &str| -> usize {
            let text = text.split_once(before).unwrap().1;
            text.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
        };
        let side = of(svg, "width=\"");
        let mut dark = vec![false; side * side];
        for rectangle in svg.split_once(" d=\"M").unwrap().1.split('M') {
            let left = of(&format!("M{rectangle}"), "M");
            let (top, width, height) = (of(rectangle, " "), of(rectangle, "h"), of(rectangle, "v"));
            for row in top..top + height {
                dark[row * side + left..row * side + left + width].fill(true);
            }
        }
        let shade = |x, y| if dark[y * side + x] { 0 } else { 255 };
        let mut picture = rqrr::PreparedImage::prepare_from_greyscale(side, side, shade);
        let [code] = &picture.detect_grids()[..] else { panic!("one code is seen") };
        code.decode().unwrap().1
    }

    #[test]
    fn an_enrolment_says_the_same_thrice() {
        let seed = Seed(b"12345678901234567890".to_vec());
        let shown = seed.enrolment("acme-dairy", "eve:x@example.com").unwrap();
        assert_eq!(shown.secret.trim_end_matches('='), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert!(shown.otpauth_uri.starts_with("otpauth://totp/Keystone:"), "{}", shown.otpauth_uri);
        assert!(shown.otpauth_uri.contains("secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"));
        assert!(shown.otpauth_uri.contains("issuer=Keystone"));
        assert_eq!(scanned(&shown.qr_svg), shown.otpauth_uri);
        assert_eq!(format!("{seed:?}{:?}", Code("123456".into())), "Seed(..)Code(..)");
    }

    #[test]
    fn a_recovery_code_is_known_however_it_is_typed() {
        let (shown, stored) = recovery_codes().unwrap();
        assert_eq!((shown.len(), stored.len()), (RECOVERY_CODES, RECOVERY_CODES));
        for (code, hash) in shown.iter().zip(&stored) {
            assert_eq!(code.len(), 29, "{code}");
            for typed in
                [code.clone(), code.replace('-', ""), code.replace('-', " ").to_lowercase()]
            {
                assert_eq!(Code(typed).recovery_hash().as_ref(), Some(hash));
            }
        }
        assert_eq!(base32(&[0xFF, 0, 0, 0, 1]), "ZW000001");
        assert_eq!(Code("123456".into()).recovery_hash(), None);
    }
}
