//! Signed notes with Ed25519 signatures (C2SP `signed-note`).
//!
//! A note is a text that ends with a newline, an empty line, and one or more
//! signature lines: em dash, space, key name, space, base64 of a 4-byte key id
//! and the signature. What is signed is the text with its last newline.

use std::{fmt, str::FromStr};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::merkle::Hash;

/// Most signatures that a note may carry; the format asks for at least 16.
pub const MAX_SIGNATURES: usize = 64;

/// The longest note that is read, in bytes.
pub const MAX_NOTE_BYTES: usize = 64 * 1024;

/// The signature type of Ed25519 in a key id and a verifier key.
const ED25519_TYPE: u8 = 0x01;

/// The public half of a key that signs notes, with its name.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    public: [u8; 32],
}

impl VerifierKey {
    /// The key of this name with this Ed25519 public key (RFC 8032 §5.1.5).
    ///
    /// # Errors
    /// [`NoteError::KeyName`] for an empty name or one with white space, `+` or
    /// control characters.
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, NoteError> {
        if is_key_name(name) {
            Ok(Self { name: name.to_owned(), public })
        } else {
            Err(NoteError::KeyName)
        }
    }

    /// The key's name; a log's is its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id: what a signature line names the key by, beside its name.
    pub fn id(&self) -> [u8; 4] {
        let hash = Hash::of(&[self.name.as_bytes(), &[b'\n', ED25519_TYPE], &self.public]);
        let mut id = [0; 4];
        id.copy_from_slice(&hash.0[..4]);
        id
    }

    /// Checks a signature over `text`.
    ///
    /// # Errors
    /// [`NoteError::Signature`] when it is not this key's.
    pub fn verify(&self, text: &str, signature: &[u8]) -> Result<(), NoteError> {
        UnparsedPublicKey::new(&ED25519, self.public)
            .verify(text.as_bytes(), signature)
            .map_err(|_| NoteError::Signature(self.name.clone()))
    }
}

fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// Writes the verifier key (vkey): name, key id in hex, type and key in base64.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519_TYPE];
        key.extend_from_slice(&self.public);
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id()), STANDARD.encode(key))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::VerifierKey("it has not three parts divided by +"));
        };
        let bytes = STANDARD
            .decode(key)
            .map_err(|_| NoteError::VerifierKey("its last part is not base64"))?;
        let Some((&ED25519_TYPE, public)) = bytes.split_first() else {
            return Err(NoteError::VerifierKey("it is not an Ed25519 key (type 1)"));
        };
        let public = public
            .try_into()
            .map_err(|_| NoteError::VerifierKey("an Ed25519 public key has 32 bytes"))?;
        let key = Self::new(name, public)?;
        if hex::encode(key.id()) != id {
            return Err(NoteError::VerifierKey("its key id is not that of name and key"));
        }
        Ok(key)
    }
}

/// The note of `text`, signed. The signature (RFC 8032, 64 bytes) over the
/// text's bytes was made elsewhere; it is checked here, so that no bad note
/// comes into being.
///
/// # Errors
/// [`NoteError::Text`] for a text that cannot be a note's, and
/// [`NoteError::Signature`].
pub fn sign(text: &str, key: &VerifierKey, signature: &[u8]) -> Result<String, NoteError> {
    check_text(text)?;
    key.verify(text, signature)?;
    let mut signed = key.id().to_vec();
    signed.extend_from_slice(signature);
    Ok(format!("{text}\n\u{2014} {} {}\n", key.name, STANDARD.encode(signed)))
}

/// The text of a note and the keys that signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened<'n, 'k> {
    /// The text, with its last newline.
    pub text: &'n str,
    /// Those of the known keys that signed it.
    pub signed_by: Vec<&'k VerifierKey>,
    /// Signatures of keys that are not known, which say nothing.
    pub unknown: usize,
}

/// Opens a note. A key is known by name and id; signatures of others are
/// skipped.
///
/// # Errors
/// [`NoteError`] when it is no note, when no known key signed it, or when a
/// signature said to be a known key's is not.
pub fn open<'n, 'k>(note: &'n str, keys: &'k [VerifierKey]) -> Result<Opened<'n, 'k>, NoteError> {
    let (text, signatures) = split(note)?;
    let mut opened = Opened { text, signed_by: Vec::new(), unknown: 0 };
    for (count, line) in signatures.split_terminator('\n').enumerate() {
        if count == MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        let (name, signed) = line
            .strip_prefix("\u{2014} ")
            .and_then(|rest| rest.split_once(' '))
            .filter(|(name, _)| is_key_name(name))
            .ok_or(NoteError::SignatureLine)?;
        let signed = STANDARD.decode(signed).map_err(|_| NoteError::SignatureLine)?;
        let (id, signature) = signed.split_at_checked(4).ok_or(NoteError::SignatureLine)?;
        if signature.is_empty() {
            return Err(NoteError::SignatureLine);
        }
        match keys.iter().find(|key| key.name == name && key.id() == id) {
            Some(key) => {
                key.verify(text, signature)?;
                if !opened.signed_by.contains(&key) {
                    opened.signed_by.push(key);
                }
            }
            None => opened.unknown += 1,
        }
    }
    if opened.signed_by.is_empty() { Err(NoteError::NoKnownKey) } else { Ok(opened) }
}

/// Text and signature lines, which the last empty line divides.
fn split(note: &str) -> Result<(&str, &str), NoteError> {
    if note.len() > MAX_NOTE_BYTES {
        return Err(NoteError::Text("it is too long"));
    }
    let gap = note.rfind("\n\n").ok_or(NoteError::Text("no empty line ends its text"))?;
    let (text, signatures) = (&note[..=gap], &note[gap + 2..]);
    check_text(text)?;
    if signatures.is_empty() {
        return Err(NoteError::NoKnownKey);
    }
    if !signatures.ends_with('\n') {
        return Err(NoteError::Text("its last line has no newline"));
    }
    Ok((text, signatures))
}

fn check_text(text: &str) -> Result<(), NoteError> {
    if !text.ends_with('\n') {
        return Err(NoteError::Text("its text does not end with a newline"));
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(NoteError::Text("it holds a control character"));
    }
    Ok(())
}

/// A note or a verifier key that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not the text of a note.
    #[error("this is no signed note: {0}")]
    Text(&'static str),
    /// A signature line that is none.
    #[error("this is no signed note: a signature line is malformed")]
    SignatureLine,
    /// More than [`MAX_SIGNATURES`].
    #[error("the note carries too many signatures")]
    TooManySignatures,
    /// No known key signed.
    #[error("none of the given keys signed the note")]
    NoKnownKey,
    /// The signature of the key of this name is false.
    #[error("the signature of {0} is false")]
    Signature(String),
    /// Not the name of a key.
    #[error("a key name is not empty and has no white space, no + and no control character")]
    KeyName,
    /// Not a verifier key.
    #[error("this is no verifier key: {0}")]
    VerifierKey(&'static str),
}

#[cfg(test)]
pub(crate) mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use proptest::prelude::*;

    use super::*;

    pub(crate) const NAME: &str = "keystone.example/audit/acme";
    const VKEY: &str =
        "keystone.example/audit/acme+e9212b9c+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
    const FOO: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    pub(crate) const GOLDEN: &str = "keystone.example/audit/acme\n7\nkTlgHMHKirKnoMLBNMBIRfKxulSag9bIRc/NpDnMWF0=\n\n\u{2014} keystone.example/audit/acme 6SErnPuhwg9XqG/45P+Kaxj3HygPLkpws/f16awaDuzNDo9TE6T0zJEpZ25LZr10TFCM9W9fbUsVqGIjY5kNZt0uRA8=\n";

    /// Seed 0x00..0x1f; a test's key.
    pub(crate) fn pair(first: u8) -> Ed25519KeyPair {
        let seed: Vec<u8> = (first..first + 32).collect();
        Ed25519KeyPair::from_seed_unchecked(&seed).unwrap()
    }

    pub(crate) fn key(name: &str, pair: &Ed25519KeyPair) -> VerifierKey {
        VerifierKey::new(name, pair.public_key().as_ref().try_into().unwrap()).unwrap()
    }

    pub(crate) fn signed(text: &str, name: &str, pair: &Ed25519KeyPair) -> String {
        sign(text, &key(name, pair), pair.sign(text.as_bytes()).as_ref()).unwrap()
    }

    #[test]
    fn golden_verifier_keys() {
        assert_eq!(key(NAME, &pair(0)).to_string(), VKEY);
        for text in [VKEY, FOO] {
            assert_eq!(text.parse::<VerifierKey>().unwrap().to_string(), text);
        }
        for wrong in [
            "",
            "a+b",
            "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/bar+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U==",
            "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        ] {
            assert!(wrong.parse::<VerifierKey>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn golden_note() {
        let keys = [VKEY.parse().unwrap(), FOO.parse().unwrap()];
        let opened = open(GOLDEN, &keys).unwrap();
        assert_eq!(opened.text.lines().nth(1), Some("7"));
        assert_eq!(opened.signed_by, [&keys[0]]);
        let text = opened.text;
        assert_eq!(signed(text, NAME, &pair(0)), GOLDEN);
        assert_eq!(open(GOLDEN, &keys[1..]), Err(NoteError::NoKnownKey));
    }

    #[test]
    fn a_text_may_hold_empty_lines_and_other_scripts() {
        let pair = pair(3);
        let text = "eins\n\nzwei \u{2014} Größe\n\n\u{2014} drei vier\n";
        let note = signed(text, "schlüssel", &pair);
        assert_eq!(open(&note, &[key("schlüssel", &pair)]).unwrap().text, text);
    }

    /// During a rotation, and with witnesses, notes carry several signatures.
    #[test]
    fn unknown_signatures_are_skipped_and_false_ones_refused() {
        let (old, new) = (pair(1), pair(2));
        let text = "a\n";
        let line = |pair: &Ed25519KeyPair, name: &str| {
            signed(text, name, pair).strip_prefix("a\n\n").unwrap().to_owned()
        };
        let both = format!("{text}\n{}{}", line(&old, "k"), line(&new, "k"));
        for pair in [&old, &new] {
            let keys = [key("k", pair)];
            let opened = open(&both, &keys).unwrap();
            assert_eq!((opened.signed_by.len(), opened.unknown), (1, 1));
        }
        // The same key under another name is another key.
        assert_eq!(open(&both, &[key("l", &old)]), Err(NoteError::NoKnownKey));
        // The right key's signature over another text is not skipped.
        let false_line = signed("b\n", "k", &old).strip_prefix("b\n\n").unwrap().to_owned();
        let keys = [key("k", &old), key("k", &new)];
        let note = format!("{text}\n{}{false_line}", line(&new, "k"));
        assert_eq!(open(&note, &keys), Err(NoteError::Signature("k".into())));
        let many = |count| format!("{text}\n{}", line(&old, "k").repeat(count));
        assert!(open(&many(MAX_SIGNATURES), &keys).is_ok());
        assert_eq!(open(&many(MAX_SIGNATURES + 1), &keys), Err(NoteError::TooManySignatures));
    }

    #[test]
    fn malformed_notes_are_refused() {
        let keys = [VKEY.parse().unwrap()];
        for wrong in [
            GOLDEN.replace('\n', "\r\n"),
            GOLDEN.replace("\n7\n", "\n7\t\n"),
            GOLDEN.replace("\n7\n", "\n7\u{85}\n"),
            GOLDEN.replace('\u{2014}', "-"),
            GOLDEN.trim_end().to_owned(),
            GOLDEN.split_inclusive("\n\n").next().unwrap().to_owned(),
            GOLDEN.replace("\n\n", "\n"),
            GOLDEN.replace("kTlg", "kTlh"),
            format!("{GOLDEN}\n"),
            format!("{GOLDEN}\u{2014} x AAAA\n"),
            String::new(),
            "\n\n".into(),
        ] {
            assert!(open(&wrong, &keys).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn a_changed_character_is_noticed(at in 0..GOLDEN.len(), to in any::<char>()) {
            prop_assume!(GOLDEN.is_char_boundary(at));
            let from = GOLDEN[at..].chars().next().unwrap();
            prop_assume!(from != to);
            let changed = format!("{}{to}{}", &GOLDEN[..at], &GOLDEN[at + from.len_utf8()..]);
            prop_assert!(open(&changed, &[VKEY.parse().unwrap()]).is_err());
        }

        #[test]
        fn no_text_breaks_it(text in any::<String>()) {
            let _ = open(&text, &[VKEY.parse().unwrap()]);
            let _ = text.parse::<VerifierKey>();
        }
    }
}
