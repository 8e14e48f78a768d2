//! Checkpoints in a chain: each with the proof that its tree extends the tree
//! of the one before (RFC 6962 §2.1.2), so that a log which forgot or rewrote
//! something cannot go on unnoticed.

use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::merkle::{Hash, ProofError, verify_consistency};
use crate::note::VerifierKey;

/// What a link names as its format.
pub const FORMAT: &str = "keystone-audit-checkpoint/1";

/// A signed checkpoint with the proof that it extends the one before. Archived
/// as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// [`FORMAT`].
    pub format: String,
    /// The signed note.
    pub checkpoint: String,
    /// Size of the tree of the checkpoint before; 0 for a log's first.
    pub previous: u64,
    /// The consistency proof from there; empty from size 0.
    pub consistency: Vec<Hash>,
}

impl Link {
    /// A link of this format.
    pub fn new(checkpoint: String, previous: u64, consistency: Vec<Hash>) -> Self {
        Self { format: FORMAT.to_owned(), checkpoint, previous, consistency }
    }

    /// Opens the checkpoint of this link alone.
    ///
    /// # Errors
    /// [`ChainFault::Format`] and [`ChainFault::Checkpoint`].
    pub fn open(&self, keys: &[VerifierKey]) -> Result<Checkpoint, ChainFault> {
        if self.format != FORMAT {
            return Err(ChainFault::Format);
        }
        Ok(Checkpoint::open(&self.checkpoint, keys)?)
    }
}

/// Verifies links from the oldest to the newest, one at a time.
#[derive(Debug, Default)]
pub struct Chain {
    last: Option<Checkpoint>,
}

impl Chain {
    /// The newest checkpoint so far.
    pub fn last(&self) -> Option<&Checkpoint> {
        self.last.as_ref()
    }

    /// Adds the next link. The first may be in the middle of a log's life: what
    /// it extends is then not checked. What a link says to extend is not signed,
    /// so that a chain which holds may leave checkpoints out, also the first.
    ///
    /// # Errors
    /// [`ChainFault`] says what is wrong with the link; the chain stays as it
    /// was.
    pub fn add(&mut self, link: &Link, keys: &[VerifierKey]) -> Result<&Checkpoint, ChainFault> {
        let checkpoint = link.open(keys)?;
        let size = checkpoint.size;
        match &self.last {
            Some(last) if last.origin != checkpoint.origin => {
                return Err(ChainFault::Origin {
                    last: last.origin.clone(),
                    found: checkpoint.origin,
                });
            }
            Some(last) if last.size != link.previous => {
                return Err(ChainFault::Gap { size, previous: link.previous, last: last.size });
            }
            Some(last) => {
                let proof = &link.consistency;
                verify_consistency(last.size, size, proof, &last.root, &checkpoint.root)
                    .map_err(|error| ChainFault::Proof { from: last.size, to: size, error })?;
            }
            None if link.previous == 0 => {
                let empty = Hash::of(&[]);
                verify_consistency(0, size, &link.consistency, &empty, &checkpoint.root)
                    .map_err(|error| ChainFault::Proof { from: 0, to: size, error })?;
            }
            None => {}
        }
        Ok(self.last.insert(checkpoint))
    }
}

/// Why a link does not belong to a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// Another format.
    #[error("this is no {FORMAT}")]
    Format,
    /// The checkpoint itself.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Of another log.
    #[error("the checkpoint is of the log {found}, those before of {last}")]
    Origin {
        /// Of those before.
        last: String,
        /// Of this one.
        found: String,
    },
    /// Extends another than the one before.
    #[error(
        "the checkpoint of {size} entries extends one of {previous}, but the one before has {last}"
    )]
    Gap {
        /// Of this one.
        size: u64,
        /// That it extends.
        previous: u64,
        /// Of the one before.
        last: u64,
    },
    /// The proof does not hold.
    #[error(
        "the log of {to} entries is not shown to extend the log of {from}: {error}; \
         entries were changed or removed after a checkpoint was signed, or the proof is false"
    )]
    Proof {
        /// Older size.
        from: u64,
        /// Newer size.
        to: u64,
        /// Why not.
        error: ProofError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::tests::signed_checkpoint;
    use crate::merkle::{consistency_proof, leaf_hash, root_of};
    use crate::note::tests::{NAME, key, pair};

    fn leaves(size: u64) -> Vec<Hash> {
        (0..size).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    fn link(leaves: &[Hash], from: u64, to: u64) -> Link {
        let root = root_of(&leaves[..usize::try_from(to).unwrap()]);
        let proof = consistency_proof(leaves, from, to).unwrap();
        Link::new(signed_checkpoint(to, root), from, proof)
    }

    #[test]
    fn a_chain_holds_link_by_link() {
        let leaves = leaves(100);
        let keys = [key(NAME, &pair(0))];
        let mut chain = Chain::default();
        for (from, to) in [(0, 1), (1, 7), (7, 8), (8, 8), (8, 100)] {
            assert_eq!(chain.add(&link(&leaves, from, to), &keys).unwrap().size, to);
        }
        assert_eq!(chain.last().unwrap().size, 100);
        let stored = serde_json::to_string(&link(&leaves, 8, 100)).unwrap();
        assert_eq!(serde_json::from_str::<Link>(&stored).unwrap(), link(&leaves, 8, 100));
    }

    #[test]
    fn a_rewritten_log_does_not_go_on() {
        let keys = [key(NAME, &pair(0))];
        let honest = leaves(20);
        let mut forged = honest.clone();
        forged[3] = leaf_hash(b"forged");
        let mut chain = Chain::default();
        chain.add(&link(&honest, 0, 10), &keys).unwrap();
        let fault = chain.add(&link(&forged, 10, 20), &keys).unwrap_err();
        assert!(matches!(fault, ChainFault::Proof { from: 10, to: 20, .. }));
        // A shorter log cannot follow, whatever it says to extend.
        let shorter = link(&honest, 0, 5);
        assert!(chain.add(&Link { previous: 10, ..shorter.clone() }, &keys).is_err());
        assert_eq!(
            chain.add(&shorter, &keys).unwrap_err(),
            ChainFault::Gap { size: 5, previous: 0, last: 10 }
        );
        assert!(chain.add(&link(&honest, 10, 20), &[key(NAME, &pair(1))]).is_err());
        chain.add(&link(&honest, 10, 20), &keys).unwrap();
    }
}
