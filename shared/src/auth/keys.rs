//! HMAC-SHA-256 keys with ids, as a Secrets Manager secret holds them.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::hmac::{HMAC_SHA256, Key};
use zeroize::Zeroizing;

/// Fewest bytes of a key: HMAC-SHA-256 needs as many as its output
/// (RFC 7518 §3.2).
const MIN_KEY_BYTES: usize = 32;

/// Most characters of a key id.
const MAX_ID_CHARS: usize = 16;

/// The secret's member that names the key for new signatures.
pub(super) const CURRENT: &str = "current";
/// Since when it is that, epoch seconds; kept by the rotation.
pub(super) const CURRENT_SINCE: &str = "current_since";
/// The key that is to sign next, which verifies already.
pub(super) const NEXT: &str = "next";
/// Since when it is announced, epoch seconds.
pub(super) const NEXT_SINCE: &str = "next_since";

/// One key for new values and any number that only verify, so that a key can
/// be replaced while values made with the old one are still in use.
///
/// The crypto library holds the expanded keys and overwrites them on drop.
pub(super) struct HmacKeys {
    current_id: String,
    current: Key,
    keys: BTreeMap<String, Key>,
}

/// Why a secret with keys cannot be used. Says nothing about the keys.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// Not a JSON object of strings.
    #[error("the secret is not a JSON object of strings")]
    Malformed,
    /// A key id with other characters than letters, digits, `-` and `_`, or
    /// longer than 16 characters.
    #[error("a key id of the secret is not 1 to 16 letters, digits, '-' or '_'")]
    Id,
    /// A key shorter than 32 bytes.
    #[error("a key of the secret is shorter than {MIN_KEY_BYTES} bytes")]
    TooShort,
    /// `current` is absent or names no key.
    #[error("the secret's 'current' names none of its keys")]
    NoCurrent,
}

impl HmacKeys {
    /// Parses `{"current":"k1","k1":"<key>", ...}`; what the rotation notes
    /// beside the keys is no key.
    pub(super) fn parse(secret: &str) -> Result<Self, KeysError> {
        let members: BTreeMap<String, String> =
            serde_json::from_str(secret).map_err(|_| KeysError::Malformed)?;
        // Wrapped before the first check, so that an early return wipes too.
        let mut members: BTreeMap<String, Zeroizing<String>> =
            members.into_iter().map(|(id, text)| (id, Zeroizing::new(text))).collect();
        let current_id = members.remove(CURRENT).ok_or(KeysError::NoCurrent)?.to_string();
        for note in [CURRENT_SINCE, NEXT, NEXT_SINCE] {
            members.remove(note);
        }
        let mut keys = BTreeMap::new();
        for (id, text) in members {
            if !is_id(&id) {
                return Err(KeysError::Id);
            }
            if text.len() < MIN_KEY_BYTES {
                return Err(KeysError::TooShort);
            }
            keys.insert(id, Key::new(HMAC_SHA256, text.as_bytes()));
        }
        let current = keys.get(&current_id).ok_or(KeysError::NoCurrent)?.clone();
        Ok(Self { current_id, current, keys })
    }

    /// The key for new values, with its id.
    pub(super) fn current(&self) -> (&str, &Key) {
        (&self.current_id, &self.current)
    }

    /// The key with this id.
    pub(super) fn get(&self, id: &str) -> Option<&Key> {
        self.keys.get(id)
    }

    /// Every key with its id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Key)> {
        self.keys.iter().map(|(id, key)| (id.as_str(), key))
    }
}

fn is_id(id: &str) -> bool {
    (1..=MAX_ID_CHARS).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

impl fmt::Debug for HmacKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HmacKeys")
            .field("current", &self.current_id)
            .field("ids", &self.keys.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn the_shape_is_checked() {
        let parse =
            |secret: String| HmacKeys::parse(&secret).map(|keys| keys.current().0.to_owned());
        let short = &KEY[1..];
        assert_eq!(parse(format!(r#"{{"current":"k1","k1":"{KEY}"}}"#)), Ok("k1".into()));
        assert_eq!(
            parse(format!(r#"{{"current":"k2","k1":"{KEY}","k2":"{KEY}"}}"#)),
            Ok("k2".into())
        );
        assert_eq!(parse(format!(r#"{{"k1":"{KEY}"}}"#)), Err(KeysError::NoCurrent));
        assert_eq!(parse(format!(r#"{{"current":"k2","k1":"{KEY}"}}"#)), Err(KeysError::NoCurrent));
        assert_eq!(parse(r#"{"current":"current"}"#.into()), Err(KeysError::NoCurrent));
        assert_eq!(
            parse(format!(r#"{{"current":"k1","k1":"{short}"}}"#)),
            Err(KeysError::TooShort)
        );
        // A short key is refused even when it only verifies.
        assert_eq!(
            parse(format!(r#"{{"current":"k1","k1":"{KEY}","k0":""}}"#)),
            Err(KeysError::TooShort)
        );
        assert_eq!(parse(format!(r#"{{"current":"k\"","k\"":"{KEY}"}}"#)), Err(KeysError::Id));
        assert_eq!(parse(format!(r#"{{"current":"","":"{KEY}"}}"#)), Err(KeysError::Id));
        assert_eq!(
            parse(format!(r#"{{"current":"k1","k1":["{KEY}"]}}"#)),
            Err(KeysError::Malformed)
        );
        assert_eq!(parse("k1".into()), Err(KeysError::Malformed));
    }

    #[test]
    fn debug_shows_ids_only() {
        let keys = HmacKeys::parse(&format!(r#"{{"current":"k1","k1":"{KEY}"}}"#)).unwrap();
        let shown = format!("{keys:?}");
        assert!(shown.contains("k1"));
        assert!(!shown.contains(KEY));
    }
}
