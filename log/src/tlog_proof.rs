//! The proof that a log holds an entry, as one text (C2SP `tlog-proof`): the
//! entry's index, the inclusion proof and a signed checkpoint.
//!
//! The format's `extra` line carries the entry itself, as a line of a
//! [`bundle`](crate::bundle), so that one file is all that an auditor needs. It
//! need not be trusted: the entry's leaf is what the proof is about.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::checkpoint::{Checkpoint, CheckpointError, decimal};
use crate::merkle::{Hash, ProofError, verify_inclusion};
use crate::note::VerifierKey;

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The longest inclusion proof that is read: one hash for each level.
const MAX_HASHES: usize = 64;

/// A proof as a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// What accompanies the proof; no part of it.
    pub extra: Option<Vec<u8>>,
    /// The leaf's index.
    pub index: u64,
    /// The inclusion proof, the leaf's sibling first.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint, with its signatures.
    pub checkpoint: String,
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", STANDARD.encode(hash.0))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for TlogProof {
    type Err = TlogProofError;

    fn from_str(text: &str) -> Result<Self, TlogProofError> {
        let (head, checkpoint) = text
            .split_once("\n\n")
            .ok_or(TlogProofError::Form("no empty line stands before the checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(TlogProofError::Form("its first line is not c2sp.org/tlog-proof@v1"));
        }
        let extra = lines
            .next_if(|line| line.starts_with("extra "))
            .map(|line| STANDARD.decode(&line["extra ".len()..]))
            .transpose()
            .map_err(|_| TlogProofError::Form("its extra line is not base64"))?;
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(decimal)
            .ok_or(TlogProofError::Form("it has no index line"))?;
        let mut hashes = Vec::new();
        for line in lines {
            let hash = STANDARD.decode(line).ok().and_then(|hash| hash.try_into().ok());
            let hash = hash.ok_or(TlogProofError::Form("a hash is not base64 of 32 bytes"))?;
            if hashes.len() == MAX_HASHES {
                return Err(TlogProofError::Form("it has more hashes than any tree has levels"));
            }
            hashes.push(Hash(hash));
        }
        Ok(Self { extra, index, hashes, checkpoint: checkpoint.to_owned() })
    }
}

impl TlogProof {
    /// Checks that the log of the checkpoint holds `leaf` at this index.
    ///
    /// # Errors
    /// [`TlogProofError`] says why that is not proved.
    pub fn verify(&self, leaf: &Hash, keys: &[VerifierKey]) -> Result<Checkpoint, TlogProofError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, keys)?;
        verify_inclusion(leaf, self.index, checkpoint.size, &self.hashes, &checkpoint.root)?;
        Ok(checkpoint)
    }
}

/// A proof that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// Not a proof.
    #[error("this is no tlog-proof: {0}")]
    Form(&'static str),
    /// The checkpoint in it.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The hashes do not lead from the entry to the checkpoint.
    #[error("the checkpoint does not cover the entry: {0}")]
    Proof(#[from] ProofError),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::checkpoint::tests::signed_checkpoint;
    use crate::merkle::{inclusion_proof, leaf_hash, root_of};
    use crate::note::tests::{GOLDEN, NAME, key, pair};

    fn proof_of(index: u64, size: usize) -> (Hash, TlogProof) {
        let leaves: Vec<Hash> =
            (0..size).map(|i| leaf_hash(format!("entry-{i}").as_bytes())).collect();
        let hashes = inclusion_proof(&leaves, index, size as u64).unwrap();
        let checkpoint = signed_checkpoint(size as u64, root_of(&leaves));
        let leaf = leaves[usize::try_from(index).unwrap()];
        (leaf, TlogProof { extra: None, index, hashes, checkpoint })
    }

    #[test]
    fn golden_proof() {
        let (leaf, proof) = proof_of(3, 7);
        assert_eq!(proof.checkpoint, GOLDEN);
        let text = proof.to_string();
        assert!(text.starts_with(
            "c2sp.org/tlog-proof@v1\nindex 3\nBJ19zbVrz+vTEzBMmDnxlqPUtu873AsIKY+TrIGR8Kg=\n"
        ));
        assert_eq!(text.lines().count(), 2 + 3 + 1 + 5);
        let read: TlogProof = text.parse().unwrap();
        assert_eq!(read, proof);
        assert_eq!(read.verify(&leaf, &[key(NAME, &pair(0))]).unwrap().size, 7);
    }

    #[test]
    fn the_only_entry_has_no_hashes() {
        let (leaf, mut proof) = proof_of(0, 1);
        proof.extra = Some(b"{}".to_vec());
        let text = proof.to_string();
        assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra e30=\nindex 0\n\nkeystone"));
        let read: TlogProof = text.parse().unwrap();
        assert_eq!(read, proof);
        read.verify(&leaf, &[key(NAME, &pair(0))]).unwrap();
    }

    #[test]
    fn malformed_proofs_are_refused() {
        let text = proof_of(3, 7).1.to_string();
        for wrong in [
            text.replacen("v1", "v2", 1),
            text.replacen("index 3", "index 03", 1),
            text.replacen("index 3\n", "", 1),
            text.replacen("BJ19", "B", 1),
            text.replacen("\n\n", "\n", 1),
            text.replacen(
                "index 3\n",
                &format!("index 3\n{}", "A".repeat(43) + "=\n").repeat(65),
                1,
            ),
            String::new(),
        ] {
            assert!(wrong.parse::<TlogProof>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_noticed(index in 0..7_u64, place in any::<usize>(), to in any::<u8>()) {
            let (leaf, proof) = proof_of(index, 7);
            let mut bytes = proof.to_string().into_bytes();
            let place = place % bytes.len();
            prop_assume!(bytes[place] != to);
            bytes[place] = to;
            let keys = [key(NAME, &pair(0))];
            let verified = String::from_utf8(bytes)
                .map(|text| text.parse::<TlogProof>().and_then(|read| read.verify(&leaf, &keys)));
            prop_assert!(!matches!(verified, Ok(Ok(_))));
        }
    }
}
