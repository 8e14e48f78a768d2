//! Checkpoints (C2SP `tlog-checkpoint`): origin, size and root of a log's tree
//! as the text of a signed note.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::merkle::{Hash, MAX_SIZE};
use crate::note::{self, NoteError, VerifierKey};

/// What a log says of its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log: a name, not an address. Its key has the same name.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Root of the tree.
    pub root: Hash,
}

/// The origin of a tenant's log, which is also the name of the keys that sign
/// its checkpoints. `host` is the public name of the API, `generation` is 1 but
/// for a log that goes on after its database was restored and has lost something
/// that was signed.
pub fn origin_of(host: &str, tenant: &str, generation: u64) -> String {
    if generation == 1 {
        format!("{host}/audit/{tenant}")
    } else {
        format!("{host}/audit/{tenant}/{generation}")
    }
}

impl Checkpoint {
    /// The text to sign.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0))
    }

    /// Reads a text that was signed. Extension lines, which this log does not
    /// write, are allowed and say nothing.
    ///
    /// # Errors
    /// [`CheckpointError::Form`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let body = text.strip_suffix('\n').ok_or(CheckpointError::Form("it has no end"))?;
        let mut lines = body.split('\n');
        let mut line = |what| lines.next().filter(|line| !line.is_empty()).ok_or(what);
        let origin = line(CheckpointError::Form("it names no origin"))?.to_owned();
        let size = line(CheckpointError::Form("it has no tree size"))?;
        let root = line(CheckpointError::Form("it has no root"))?;
        let size = decimal(size).ok_or(CheckpointError::Form("its tree size is not a number"))?;
        let root = STANDARD
            .decode(root)
            .ok()
            .and_then(|root| root.try_into().ok())
            .ok_or(CheckpointError::Form("its root is not base64 of 32 bytes"))?;
        if lines.any(str::is_empty) {
            return Err(CheckpointError::Form("it has an empty line"));
        }
        Ok(Self { origin, size, root: Hash(root) })
    }

    /// The tenant whose log it is of, as its origin says.
    pub fn tenant(&self) -> Option<&str> {
        let (_, log) = self.origin.rsplit_once("/audit/")?;
        Some(log.split_once('/').map_or(log, |(tenant, _)| tenant))
    }

    /// Which generation of the log it is of, as its origin says: 1 unless
    /// something else stands there.
    pub fn generation(&self) -> u64 {
        generation_of(&self.origin)
    }

    /// Whether its log is a later generation of the log that `earlier` is of.
    pub fn succeeds(&self, earlier: &Self) -> bool {
        let host = |checkpoint: &Self| {
            checkpoint.origin.rsplit_once("/audit/").map(|(host, _)| host.to_owned())
        };
        let named = |checkpoint: &Self| {
            let (host, tenant) = (host(checkpoint)?, checkpoint.tenant()?.to_owned());
            (checkpoint.origin == origin_of(&host, &tenant, checkpoint.generation()))
                .then_some((host, tenant))
        };
        let (ours, theirs) = (named(self), named(earlier));
        ours.is_some() && ours == theirs && self.generation() > earlier.generation()
    }

    /// Reads a signed checkpoint: a known key signed it, and its origin is that
    /// key's name.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn open(note: &str, keys: &[VerifierKey]) -> Result<Self, CheckpointError> {
        let opened = note::open(note, keys)?;
        let checkpoint = Self::parse(opened.text)?;
        match opened.signed_by.iter().find(|key| key.name() == checkpoint.origin) {
            Some(_) => Ok(checkpoint),
            None => Err(CheckpointError::Origin(checkpoint.origin)),
        }
    }

    /// The signed note, given a signature over [`Self::text`].
    ///
    /// # Errors
    /// [`CheckpointError::Note`] when the signature is not `key`'s, and
    /// [`CheckpointError::Origin`] when the key has another name.
    pub fn sign(&self, key: &VerifierKey, signature: &[u8]) -> Result<String, CheckpointError> {
        if key.name() != self.origin {
            return Err(CheckpointError::Origin(self.origin.clone()));
        }
        Ok(note::sign(&self.text(), key, signature)?)
    }
}

/// Which generation of a log has this origin: 1 unless something else stands there.
pub(crate) fn generation_of(origin: &str) -> u64 {
    let log = origin.rsplit_once("/audit/").and_then(|(_, log)| log.split_once('/'));
    log.and_then(|(_, generation)| decimal(generation)).unwrap_or(1)
}

/// A number in ASCII decimal without leading zeros, at most [`MAX_SIZE`].
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok().filter(|number| *number <= MAX_SIZE)
}

/// A checkpoint that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note around it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text is not that of a checkpoint.
    #[error("the signed note is no checkpoint: {0}")]
    Form(&'static str),
    /// The key that signed is another log's.
    #[error("the checkpoint is of the log {0}, the key that signed it is of another")]
    Origin(String),
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::note::tests::{GOLDEN, NAME, key, pair, signed};

    /// The checkpoint of a tree, signed with a test's key.
    pub(crate) fn signed_checkpoint(size: u64, root: Hash) -> String {
        let checkpoint = Checkpoint { origin: NAME.into(), size, root };
        signed(&checkpoint.text(), NAME, &pair(0))
    }

    #[test]
    fn golden_checkpoint() {
        let keys = [key(NAME, &pair(0))];
        let checkpoint = Checkpoint::open(GOLDEN, &keys).unwrap();
        assert_eq!((checkpoint.origin.as_str(), checkpoint.size), (NAME, 7));
        assert_eq!(
            checkpoint.root.to_string(),
            "9139601cc1ca8ab2a7a0c2c134c04845f2b1ba549a83d6c845cfcda439cc585d"
        );
        let signature = pair(0).sign(checkpoint.text().as_bytes());
        assert_eq!(checkpoint.sign(&keys[0], signature.as_ref()).unwrap(), GOLDEN);
        let other = pair(1).sign(checkpoint.text().as_bytes());
        assert!(checkpoint.sign(&keys[0], other.as_ref()).is_err());
    }

    #[test]
    fn a_generation_succeeds_those_before_it_of_the_same_log() {
        let of = |origin: &str| Checkpoint { origin: origin.into(), size: 1, root: Hash::of(&[]) };
        let [first, second, third] = [1, 2, 3].map(|n| of(&origin_of("a.example", "acme", n)));
        assert_eq!(first.origin, "a.example/audit/acme");
        assert_eq!(third.origin, "a.example/audit/acme/3");
        for (checkpoint, generation) in [(&first, 1), (&second, 2), (&third, 3)] {
            assert_eq!((checkpoint.tenant(), checkpoint.generation()), (Some("acme"), generation));
        }
        assert!(second.succeeds(&first) && third.succeeds(&first) && third.succeeds(&second));
        for (later, earlier) in [
            (&first, &first),
            (&first, &second),
            (&second, &of("b.example/audit/acme")),
            (&of("a.example/audit/globex/2"), &first),
            (&of("a.example/audit/acme/1"), &first),
            (&of("a.example/audit/acme/02"), &first),
            (&of("a.example/audit/acme/2/3"), &first),
            (&of("acme/2"), &of("acme")),
        ] {
            assert!(!later.succeeds(earlier), "{later:?} {earlier:?}");
        }
    }

    #[test]
    fn malformed_checkpoints_are_refused() {
        let root = "kTlgHMHKirKnoMLBNMBIRfKxulSag9bIRc/NpDnMWF0=";
        assert!(Checkpoint::parse(&format!("o\n0\n{root}\n")).is_ok());
        assert!(Checkpoint::parse(&format!("o\n7\n{root}\nextension\n")).is_ok());
        for wrong in [
            format!("\n7\n{root}\n"),
            format!("o\n07\n{root}\n"),
            format!("o\n+7\n{root}\n"),
            format!("o\n-7\n{root}\n"),
            format!("o\n\n{root}\n"),
            format!("o\n9007199254740992\n{root}\n"),
            format!("o\n7\n{root}"),
            format!("o\n7\n{root}\n\n"),
            format!("o\n7\n{root}\n\nx\n"),
            format!("o\n7\n{}\n", &root[4..]),
            format!("o\n7\n{}\n", root.trim_end_matches('=')),
            "o\n7\n".into(),
            "o\n".into(),
            String::new(),
        ] {
            assert!(Checkpoint::parse(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_key_of_another_log_does_not_do() {
        let checkpoint = Checkpoint { origin: "b/audit/x".into(), size: 0, root: Hash::of(&[]) };
        let note = signed(&checkpoint.text(), NAME, &pair(0));
        let keys = [key(NAME, &pair(0))];
        assert_eq!(
            Checkpoint::open(&note, &keys),
            Err(CheckpointError::Origin("b/audit/x".into()))
        );
    }
}
