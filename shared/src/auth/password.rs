//! Passwords: what may be chosen, how it is stored and how it is checked
//! (claims C7 and C21).
//!
//! Stored is bcrypt over `base64(HMAC-SHA-256(pepper, NFKC(password)))`. The
//! HMAC's 44 characters stay below bcrypt's 72-byte limit whatever the
//! password's length, and a stolen database cannot be guessed against without
//! the pepper, which is not in it.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bcrypt::HashParts;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize, Zeroizing};
use zxcvbn::{Score, zxcvbn};

use super::keys::{HmacKeys, KeysError};
use super::throttle::Admission;
use crate::FieldError;
use crate::tenant::StoreError;

/// Fewest characters of a new password, counted after NFKC.
pub const MIN_CHARS: usize = 12;

/// Most characters of a password, counted after NFKC.
pub const MAX_CHARS: usize = 128;

/// The bcrypt work factor: 2^12 rounds, neither more nor fewer.
pub const COST: u32 = 12;

/// Least strength on zxcvbn's scale from 0 to 4: "safely unguessable".
const MIN_SCORE: Score = Score::Three;

/// Passwords of [`MIN_CHARS`] characters or more that stood in leaks, commonest
/// first, in lower case and NFKC, one a line. `infra/common-passwords.sh` wrote
/// them and says whence.
const LEAKED: &str = include_str!("common_passwords.txt");

static IS_LEAKED: LazyLock<HashSet<&str>> = LazyLock::new(|| LEAKED.lines().collect());

/// Compared against when there is nothing to compare against, so that this
/// takes the same time. Made from 32 random bytes that were not kept; a match
/// would not count either.
const NOBODYS_HASH: &str = "$2b$12$ZaclLclsQ7eKgvFFaarpNeFZh9HoKZX2l8DXs8vug09wYgV4SibYC";

/// A password as somebody sent it, unchecked. Overwritten when dropped and
/// never shown.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("format" = "password"))]
pub struct PasswordInput(String);

impl From<String> for PasswordInput {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl PasswordInput {
    /// NFKC of the input, cut one character past [`MAX_CHARS`].
    fn normal(&self) -> Zeroizing<String> {
        // Sized once, so that no outgrown buffer is left behind unwiped.
        let mut normal = Zeroizing::new(String::with_capacity((MAX_CHARS + 1) * 4));
        normal.extend(self.0.nfkc().take(MAX_CHARS + 1));
        normal
    }
}

impl Drop for PasswordInput {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for PasswordInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordInput(..)")
    }
}

/// What a password must not be built from.
#[derive(Debug, Clone, Copy)]
pub struct PasswordContext<'a> {
    /// The account's e-mail address.
    pub email: &'a str,
    /// The person's name.
    pub name: &'a str,
    /// The tenant's slug.
    pub tenant: &'a str,
    /// Name under which the tenant's business is registered.
    pub organisation: &'a str,
}

/// Fewest letters and digits of a password beside words that anybody who knows
/// the account, or nothing at all, tries first.
const MIN_OTHER_CHARS: usize = 8;

/// Shortest word that is looked for in a password.
const MIN_WORD_CHARS: usize = 3;

/// What people of any tenant build passwords from: the product, the trade, the
/// calendar, and the word itself.
const COMMON_WORDS: [&str; 29] = [
    "keystone",
    "dairy",
    "farm",
    "food",
    "fresh",
    "trace",
    "batch",
    "password",
    "welcome",
    "letmein",
    "qwerty",
    "admin",
    "spring",
    "summer",
    "autumn",
    "winter",
    "january",
    "february",
    "march",
    "april",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "monday",
    "friday",
];

impl PasswordContext<'_> {
    /// The values, the words in them, and the words run together: the
    /// estimator takes `AoifeByrne` for two unrelated words otherwise.
    fn words(&self) -> Vec<String> {
        let local_part = self.email.split('@').next().unwrap_or_default();
        let mut words = Vec::new();
        for value in [self.email, local_part, self.name, self.tenant, self.organisation] {
            let parts = value.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
            words.extend(parts.clone().map(str::to_owned));
            words.push(parts.collect());
            words.push(value.to_owned());
        }
        words.extend(COMMON_WORDS.map(str::to_owned));
        words
    }

    /// Whether `normal` holds a word of the context, as it is or with digits
    /// and signs for letters, and beside such words too little. The estimator
    /// does not see that two of them make no better password than one.
    fn makes_up(&self, normal: &str) -> bool {
        let mut words: Vec<String> = self.words().iter().map(|word| fold(word)).collect();
        words.retain(|word| word.chars().count() >= MIN_WORD_CHARS);
        words.sort_unstable_by_key(|word| std::cmp::Reverse(word.len()));
        let mut rest = Zeroizing::new(fold(normal));
        let whole = rest.len();
        for word in &words {
            // In its place something that no word has, so that what stood
            // around it does not make another.
            rest = Zeroizing::new(rest.replace(word.as_str(), "\0"));
        }
        let others = rest.chars().filter(|c| c.is_alphanumeric()).count();
        rest.len() < whole && others < MIN_OTHER_CHARS
    }
}

/// `text` in one spelling for what people write for letters.
fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    folded.extend(text.chars().flat_map(char::to_lowercase).map(|c| match c {
        '0' => 'o',
        '1' | 'l' | '|' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }));
    folded
}

/// A password that meets the policy, in NFKC. Overwritten when dropped and
/// never shown.
pub struct Password(Zeroizing<String>);

impl Password {
    /// Checks a new password: 12 to 128 characters of any script after NFKC,
    /// none of 44,000 that leaked from other services, in whatever case, at
    /// least 10^8 guesses by zxcvbn's estimate, which knows common passwords
    /// and `context`, and 8 letters and digits beside the words of `context`,
    /// where it has any.
    ///
    /// # Errors
    /// What is wrong with it, for the field at the JSON pointer `field`.
    pub fn new(
        field: &str,
        input: &PasswordInput,
        context: PasswordContext<'_>,
    ) -> Result<Self, FieldError> {
        let normal = input.normal();
        let refuse = |message: String| Err(FieldError::new(field, message));
        match normal.chars().count() {
            0..MIN_CHARS => return refuse(format!("must have at least {MIN_CHARS} characters")),
            MIN_CHARS..=MAX_CHARS => {}
            _ => return refuse(format!("must have at most {MAX_CHARS} characters")),
        }
        if IS_LEAKED.contains(Zeroizing::new(normal.to_lowercase()).as_str()) {
            return refuse(
                "is too easy to guess. It is among the passwords that leaked from other services."
                    .to_owned(),
            );
        }
        if context.makes_up(&normal) {
            return refuse(
                "is too easy to guess. It is little more than your name, your organisation's \
                 or common words."
                    .to_owned(),
            );
        }
        let words = context.words();
        let estimate = zxcvbn(&normal, &words.iter().map(String::as_str).collect::<Vec<_>>());
        if estimate.score() < MIN_SCORE {
            let why = estimate.feedback().map(ToString::to_string).unwrap_or_default();
            return refuse(format!("is too easy to guess. {why}").trim_end().to_owned());
        }
        Ok(Self(normal))
    }

    /// Whether `input` is this same password.
    pub fn is(&self, input: &PasswordInput) -> bool {
        *self.0 == *input.normal()
    }

    /// The hash to store, with the current pepper and a fresh salt. Takes as
    /// long as a sign-in.
    ///
    /// # Errors
    /// [`StoreError`] when there is no randomness for the salt.
    pub fn hash(&self, pepper: &Pepper) -> Result<PasswordHash, StoreError> {
        self.hash_with_salt(pepper, crate::random::bytes()?)
    }

    fn hash_with_salt(&self, pepper: &Pepper, salt: [u8; 16]) -> Result<PasswordHash, StoreError> {
        let (pepper_id, key) = pepper.0.current();
        let hash =
            bcrypt::non_truncating_hash_with_salt(peppered(key, &self.0).as_bytes(), COST, salt)
                .map_err(StoreError::defect)?;
        Ok(PasswordHash { pepper_id: pepper_id.to_owned(), hash: hash.to_string() })
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// A password as stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordHash {
    /// Id of the pepper.
    pepper_id: String,
    /// The bcrypt hash in its modular crypt format.
    hash: String,
}

impl PasswordHash {
    /// The work factor that it was made with; `None` for what is no bcrypt.
    pub fn cost(&self) -> Option<u32> {
        self.hash.parse::<HashParts>().ok().map(|parts| parts.get_cost())
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHash").field("pepper_id", &self.pepper_id).finish_non_exhaustive()
    }
}

/// The peppers: HMAC keys that are kept apart from the hashes.
pub struct Pepper(HmacKeys);

impl Pepper {
    /// Parses the secret `{"current":"k1","k1":"<key>", ...}`: new hashes use
    /// the pepper that `current` names, hashes with the others still verify.
    ///
    /// # Errors
    /// [`KeysError`] when the secret has another shape, a pepper has fewer
    /// than 32 bytes or `current` names none.
    pub fn from_secret_json(secret: &str) -> Result<Self, KeysError> {
        HmacKeys::parse(secret).map(Self)
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether `input` is the password of `stored`. Asks for the admission of the
/// attempt, so that no check goes uncounted; the caller reports a match with
/// [`Admission::succeeded`].
///
/// Takes one bcrypt of cost 12, on a thread of its own, whatever it is given:
/// an account that does not exist (`None`), an input that could never be a
/// password, or a stored hash that cannot be used takes as long as a wrong
/// password and is answered `false`.
pub async fn verify(
    _: &Admission<'_>,
    input: &PasswordInput,
    stored: Option<&PasswordHash>,
    pepper: &Pepper,
) -> bool {
    let comparison = Comparison::new(input, stored, pepper);
    tokio::task::spawn_blocking(|| comparison.run()).await.unwrap_or(false)
}

/// The hash to keep in place of `stored`, whose password `input` was just shown
/// to be: with the current pepper, where a former one made `stored`, else
/// `None` at no cost. So a former pepper can be taken out of the secret once
/// its users have signed in.
///
/// # Errors
/// As [`Password::hash`].
pub fn renewed(
    input: &PasswordInput,
    stored: &PasswordHash,
    pepper: &Pepper,
) -> Result<Option<PasswordHash>, StoreError> {
    if stored.pepper_id == pepper.0.current().0 {
        return Ok(None);
    }
    Password(input.normal()).hash(pepper).map(Some)
}

/// One bcrypt comparison, always due, and whether its outcome counts.
struct Comparison {
    secret: Zeroizing<String>,
    hash: String,
    counts: bool,
}

impl Comparison {
    fn new(input: &PasswordInput, stored: Option<&PasswordHash>, pepper: &Pepper) -> Self {
        let normal = input.normal();
        let possible = (1..=MAX_CHARS).contains(&normal.chars().count());
        let usable = stored.and_then(|stored| {
            let key = pepper.0.get(&stored.pepper_id)?;
            let parts = HashParts::from_str(&stored.hash).ok()?;
            (parts.get_cost() == COST).then_some((key, stored.hash.as_str()))
        });
        let (key, hash) = usable.unwrap_or((pepper.0.current().1, NOBODYS_HASH));
        let counts = possible && usable.is_some();
        Self { secret: peppered(key, &normal), hash: hash.to_owned(), counts }
    }

    fn run(self) -> bool {
        // An error is impossible: the hash was parsed and the secret is short.
        let matches = bcrypt::non_truncating_verify(self.secret.as_bytes(), &self.hash);
        matches.unwrap_or(false) && self.counts
    }
}

/// What bcrypt gets in place of the password: 44 characters.
fn peppered(key: &hmac::Key, normal: &str) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(hmac::sign(key, normal.as_bytes())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONTEXT: PasswordContext<'static> = PasswordContext {
        email: "aoife.byrne@corrib-creamery.example",
        name: "Aoife Byrne",
        tenant: "corrib-creamery",
        organisation: "Western Shore Produce Ltd",
    };

    const SECRET: &str = r#"{"current":"k1","k1":"0123456789abcdef0123456789abcdef"}"#;

    fn pepper() -> Pepper {
        Pepper::from_secret_json(SECRET).unwrap()
    }

    fn input(text: &str) -> PasswordInput {
        PasswordInput::from(text.to_owned())
    }

    fn choose(text: &str) -> Result<Password, FieldError> {
        Password::new("/password", &input(text), CONTEXT)
    }

    fn matches(text: &str, stored: &PasswordHash) -> bool {
        Comparison::new(&input(text), Some(stored), &pepper()).run()
    }

    /// Made with Python's `hmac` and the C library's `crypt` from salt 0..15.
    fn golden() -> PasswordHash {
        PasswordHash {
            pepper_id: "k1".into(),
            hash: "$2b$12$..CA.uOD/eaGAOmJB.yMBuPWDGqDmUF3nk9ekakfsp0bl1I0vYXcm".into(),
        }
    }

    #[test]
    fn published_bcrypt_vectors() {
        // Openwall crypt_blowfish, wrapper.c; jBCrypt, TestBCrypt.java.
        for (password, hash) in [
            ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
            ("abc", "$2a$12$EXRkfkdmXn2gzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q"),
        ] {
            assert_eq!(bcrypt::non_truncating_verify(password, hash).ok(), Some(true), "{hash}");
        }
    }

    #[test]
    fn leaked_passwords_are_refused_in_whatever_case() {
        assert!(LEAKED.lines().count() > 40_000);
        for leaked in LEAKED.lines() {
            for spelling in [leaked.to_owned(), leaked.to_uppercase()] {
                // Some grow or shrink in upper case; what counts is the length.
                if spelling.to_lowercase() == leaked {
                    let refused = choose(&spelling).err().unwrap();
                    assert!(refused.message.contains("easy to guess"), "{spelling}");
                }
            }
        }
        // Strong by the estimate, and on the list.
        assert!(zxcvbn("gc4k6NUhRDK2", &[]).score() >= MIN_SCORE);
        assert!(choose("gc4k6NUhRDK2").is_err());
        assert!(choose("gc4k6NUhRDK3").is_ok());
    }

    #[test]
    fn another_implementation_makes_the_same_hash() {
        let password = choose("Grüße aus Kilkenny ①").unwrap();
        let salt = std::array::from_fn(|index| u8::try_from(index).unwrap());
        assert_eq!(password.hash_with_salt(&pepper(), salt).unwrap(), golden());
    }

    #[test]
    fn equivalent_spellings_are_one_password() {
        // NFC, NFD with the compatibility digit, and full-width letters.
        assert!(matches("Grüße aus Kilkenny 1", &golden()));
        assert!(matches("Gru\u{308}ße aus Kilkenny ①", &golden()));
        assert!(matches("Ｇrüße aus Kilkenny 1", &golden()));
        assert!(!matches("grüße aus Kilkenny 1", &golden()));
        assert!(!matches("Grüße aus Kilkenny 1 ", &golden()));
    }

    #[test]
    fn the_same_password_is_known_in_another_spelling() {
        let password = choose("Grüße aus Kilkenny ①").unwrap();
        assert!(password.is(&input("Gru\u{308}ße aus Kilkenny 1")));
        assert!(!password.is(&input("grüße aus Kilkenny 1")));
    }

    #[test]
    fn a_new_hash_verifies_and_is_salted() {
        let password = choose("violet tractor on mondays").unwrap();
        let first = password.hash(&pepper()).unwrap();
        assert!(matches("violet tractor on mondays", &first));
        assert!(first.hash.starts_with("$2b$12$"));
        assert_ne!(first, password.hash(&pepper()).unwrap());
    }

    #[test]
    fn every_comparison_is_one_bcrypt_of_cost_12() {
        let unusable = |hash: &str| PasswordHash { hash: hash.into(), ..golden() };
        let other_pepper = PasswordHash { pepper_id: "k0".into(), ..golden() };
        let cost_5 = unusable("$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW");
        let too_long = "x".repeat(MAX_CHARS + 1);
        let right = "Grüße aus Kilkenny 1";
        for (text, stored, counts) in [
            (right, Some(golden()), true),
            ("wrong", Some(golden()), true),
            (right, None, false),
            (right, Some(unusable("")), false),
            (right, Some(unusable("$2b$12$short")), false),
            (right, Some(unusable(&"ß".repeat(30))), false),
            (right, Some(cost_5), false),
            (right, Some(other_pepper), false),
            ("", Some(golden()), false),
            (&too_long, Some(golden()), false),
        ] {
            let pepper = pepper();
            let input = input(text);
            let comparison = Comparison::new(&input, stored.as_ref(), &pepper);
            assert_eq!(HashParts::from_str(&comparison.hash).unwrap().get_cost(), COST);
            assert_eq!(comparison.secret.len(), 44);
            assert_eq!(comparison.counts, counts, "{text:?} {stored:?}");
        }
    }

    #[test]
    fn an_outcome_that_does_not_count_is_never_a_match() {
        let secret =
            Zeroizing::new(peppered(pepper().0.current().1, "Grüße aus Kilkenny 1").to_string());
        let stored = golden();
        let comparison =
            |counts| Comparison { secret: secret.clone(), hash: stored.hash.clone(), counts };
        assert!(comparison(true).run());
        assert!(!comparison(false).run());
    }

    #[test]
    fn a_pepper_can_be_replaced_while_its_hashes_live() {
        let other = "another key, another key, another key";
        let check = |secret: &str| {
            let pepper = Pepper::from_secret_json(secret).unwrap();
            Comparison::new(&input("Grüße aus Kilkenny 1"), Some(&golden()), &pepper).run()
        };
        assert!(check(&format!(
            r#"{{"current":"k2","k1":"0123456789abcdef0123456789abcdef","k2":"{other}"}}"#
        )));
        assert!(!check(&format!(r#"{{"current":"k1","k1":"{other}"}}"#)));
    }

    #[test]
    fn a_hash_of_a_former_pepper_is_renewed_and_no_other() {
        let right = input("Grüße aus Kilkenny 1");
        assert_eq!(renewed(&right, &golden(), &pepper()).unwrap(), None);
        let k2 = "another key, another key, another key";
        let both =
            format!(r#"{{"current":"k2","k1":"0123456789abcdef0123456789abcdef","k2":"{k2}"}}"#);
        let both = Pepper::from_secret_json(&both).unwrap();
        let hash = renewed(&right, &golden(), &both).unwrap().unwrap();
        assert_eq!(hash.pepper_id, "k2");
        // The former pepper can go.
        let alone = format!(r#"{{"current":"k2","k2":"{k2}"}}"#);
        let alone = Pepper::from_secret_json(&alone).unwrap();
        assert!(Comparison::new(&right, Some(&hash), &alone).run());
        assert!(!Comparison::new(&right, Some(&golden()), &alone).run());
        assert_eq!(renewed(&right, &hash, &both).unwrap(), None);
    }

    #[test]
    fn length_counts_characters_after_normalisation() {
        let message = |text: &str| choose(text).map(|_| ()).map_err(|error| error.message);
        let too_short = Err("must have at least 12 characters".to_owned());
        let too_long = Err("must have at most 128 characters".to_owned());
        assert_eq!(message("kV9#mQ2$xL7"), too_short);
        assert_eq!(message("kV9#mQ2$xL7!"), Ok(()));
        // Twelve code points that compose to eleven characters.
        assert_eq!(message("kV9#mQ2$xLe\u{301}"), too_short);
        // Any script: twelve Georgian and twelve Han characters.
        assert_eq!(message("ყავისფერიძრო"), Ok(()));
        assert_eq!(message("青山绿水牛奶工厂星期三晚"), Ok(()));
        let printable = (0u8..).map(|n| char::from(b'!' + n.wrapping_mul(37) % 90));
        let long: String = printable.take(MAX_CHARS).collect();
        assert_eq!(message(&long), Ok(()));
        assert_eq!(message(&format!("{long}x")), too_long);
        // One character that NFKC makes eighteen of.
        assert_eq!(message(&"\u{FDFA}".repeat(8)), too_long);
    }

    #[test]
    fn guessable_passwords_are_refused_with_a_reason() {
        for text in [
            "passwordpassword",
            "password1234",
            "ｐａｓｓｗｏｒｄ１２３４",
            "aaaaaaaaaaaaaaaaaaaaaaaa",
            "123456789012",
            "qwertyuiop123",
            "aoife.byrne@corrib-creamery.example",
            "AoifeByrne2026",
            "aoifebyrne12",
            "corribcreamery",
            "Keystone2026",
            // Two words of the context, or one and what goes with it.
            "K3yst0n3-K3yst0n3",
            "corrib corrib-creamery",
            "C0rr1bCr3@mery!!",
            "Aoife-and-Byrne-2026",
            "Western_Shore!2026",
            "$h0re.Produce.99",
            "Dairy-Farm-2026!",
            "Winter2026Winter",
        ] {
            let error = choose(text).map(|_| ()).unwrap_err();
            assert_eq!(error.field, "/password");
            assert!(
                error.message.starts_with("is too easy to guess."),
                "{text}: {}",
                error.message
            );
            assert!(!error.message.contains(text));
        }
    }

    #[test]
    fn a_word_of_the_context_does_not_spoil_a_good_password() {
        for text in [
            "violet tractor in the creamery",
            "Winter geese over Western Shore",
            "aoife kV9#mQ2$xL7",
            // Nothing of the context, and hardly a letter.
            "7!)=%/(;_*+9",
        ] {
            assert!(choose(text).is_ok(), "{text}: {:?}", choose(text));
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let text = "violet tractor on mondays";
        assert_eq!(format!("{:?}", input(text)), "PasswordInput(..)");
        assert_eq!(format!("{:?}", choose(text).unwrap()), "Password(..)");
        assert!(!format!("{:?}", golden()).contains("2b"));
        assert!(!format!("{:?}", pepper()).contains("0123"));
    }

    #[test]
    fn a_stored_hash_survives_storage() {
        let stored = serde_json::to_value(golden()).unwrap();
        assert_eq!(stored["pepper_id"], "k1");
        assert_eq!(serde_json::from_value::<PasswordHash>(stored).unwrap(), golden());
    }

    proptest! {
        #[test]
        fn the_secret_never_reaches_the_limit_of_bcrypt(text in ".{0,400}") {
            let pepper = pepper();
            let comparison = Comparison::new(&input(&text), None, &pepper);
            prop_assert_eq!(comparison.secret.len(), 44);
        }
    }
}
