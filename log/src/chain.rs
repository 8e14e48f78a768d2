//! Checkpoints in a chain: each with the proof that its tree extends the tree
//! of the one before (RFC 6962 §2.1.2), so that a log which forgot or rewrote
//! something cannot go on unnoticed.

use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, CheckpointError, generation_of};
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

    /// Which generation of its log the checkpoint says to be of. It is not opened.
    pub fn generation(&self) -> u64 {
        generation_of(self.checkpoint.lines().next().unwrap_or_default())
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
    /// Those that the newest extends, and itself, the oldest first.
    checkpoints: Vec<Checkpoint>,
    successions: Vec<Succession>,
}

/// That a log lost entries which had been signed, and goes on under another
/// origin: its database was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Succession {
    /// The newest checkpoint of the generation that ended.
    pub last: Checkpoint,
    /// Size of the last checkpoint that the next generation extends; 0 if none.
    pub kept: u64,
}

impl Chain {
    /// The newest checkpoint so far.
    pub fn last(&self) -> Option<&Checkpoint> {
        self.checkpoints.last()
    }

    /// Where the log lost what had been signed, the oldest first. Checkpoints that
    /// were lost and left out of the chain are not counted.
    pub fn successions(&self) -> &[Succession] {
        &self.successions
    }

    /// Adds the next link. The first may be in the middle of a log's life: what
    /// it extends is then not checked. What a link says to extend is not signed,
    /// so that a chain which holds may leave checkpoints out, also the first. The
    /// first of a later generation of the log extends whichever earlier checkpoint
    /// it says to; those after that are lost.
    ///
    /// # Errors
    /// [`ChainFault`] says what is wrong with the link; the chain stays as it
    /// was.
    pub fn add(&mut self, link: &Link, keys: &[VerifierKey]) -> Result<&Checkpoint, ChainFault> {
        let checkpoint = link.open(keys)?;
        let size = checkpoint.size;
        let last = self.checkpoints.last();
        let succeeded = last.filter(|last| last.origin != checkpoint.origin);
        if let Some(last) = succeeded
            && !checkpoint.succeeds(last)
        {
            return Err(ChainFault::Origin { last: last.origin.clone(), found: checkpoint.origin });
        }
        // What the link says to extend: the one before, or one before a restore.
        let kept = self.checkpoints.iter().rposition(|one| one.size == link.previous);
        let extended = if succeeded.is_some() {
            kept.and_then(|kept| self.checkpoints.get(kept))
        } else {
            last.filter(|last| last.size == link.previous)
        };
        let from = match (extended, last) {
            (Some(extended), _) => Some((extended.size, extended.root)),
            (None, Some(last)) if succeeded.is_none() || link.previous > 0 => {
                return Err(ChainFault::Gap { size, previous: link.previous, last: last.size });
            }
            (None, _) => (link.previous == 0).then(|| (0, Hash::of(&[]))),
        };
        if let Some((from, root)) = from {
            verify_consistency(from, size, &link.consistency, &root, &checkpoint.root)
                .map_err(|error| ChainFault::Proof { from, to: size, error })?;
        }
        if let Some(last) = succeeded {
            self.successions.push(Succession { last: last.clone(), kept: link.previous });
            self.checkpoints.truncate(kept.map_or(0, |kept| kept + 1));
        }
        self.checkpoints.push(checkpoint);
        Ok(&self.checkpoints[self.checkpoints.len() - 1])
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
    use crate::note::tests::{NAME, key, pair, signed};

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

    /// As [`link`], of a later generation.
    fn later(leaves: &[Hash], generation: u64, from: u64, to: u64) -> Link {
        let root = root_of(&leaves[..usize::try_from(to).unwrap()]);
        let origin = format!("{NAME}/{generation}");
        let text = Checkpoint { origin: origin.clone(), size: to, root }.text();
        let proof = consistency_proof(leaves, from, to).unwrap();
        Link::new(signed(&text, &origin, &pair(0)), from, proof)
    }

    #[test]
    fn a_log_that_was_restored_goes_on_as_another() {
        let keys = [key(NAME, &pair(0)), key(&format!("{NAME}/2"), &pair(0))];
        let lost = leaves(30);
        // From the twelfth on it is another log.
        let mut restored = lost.clone();
        for (number, leaf) in restored.iter_mut().enumerate().skip(12) {
            *leaf = leaf_hash(format!("again {number}").as_bytes());
        }
        let begun = || {
            let mut chain = Chain::default();
            for (from, to) in [(0, 7), (7, 10), (10, 20), (20, 30)] {
                chain.add(&link(&lost, from, to), &keys).unwrap();
            }
            chain
        };
        let mut chain = begun();
        chain.add(&later(&restored, 2, 10, 15), &keys).unwrap();
        chain.add(&later(&restored, 2, 15, 30), &keys).unwrap();
        let [succession] = chain.successions() else { panic!("one") };
        assert_eq!((succession.last.size, succession.kept), (30, 10));
        assert_eq!(chain.last().unwrap().generation(), 2);
        // Without what was lost it is the same chain.
        let mut chain = Chain::default();
        for next in [link(&lost, 0, 7), link(&lost, 7, 10), later(&restored, 2, 10, 15)] {
            chain.add(&next, &keys).unwrap();
        }
        assert_eq!(chain.successions()[0].last.size, 10);
        // A second restore takes all of the second generation.
        let third = [key(&format!("{NAME}/3"), &pair(0))];
        let keys = [keys.as_slice(), third.as_slice()].concat();
        let mut chain = begun();
        chain.add(&later(&restored, 2, 10, 15), &keys).unwrap();
        chain.add(&later(&lost, 3, 7, 25), &keys).unwrap();
        let kept: Vec<u64> = chain.successions().iter().map(|one| one.kept).collect();
        assert_eq!(kept, [10, 7]);
        // Nothing of it was kept.
        let mut chain = begun();
        chain.add(&later(&leaves(4), 2, 0, 4), &keys).unwrap();
        assert_eq!(chain.successions()[0].kept, 0);
        // What was kept is kept as it was, and there is no way back.
        let mut other = restored.clone();
        other[3] = leaf_hash(b"forged");
        let fault = begun().add(&later(&other, 2, 10, 15), &keys).unwrap_err();
        assert!(matches!(fault, ChainFault::Proof { from: 10, to: 15, .. }));
        let fault = begun().add(&later(&restored, 2, 9, 15), &keys).unwrap_err();
        assert!(matches!(fault, ChainFault::Gap { previous: 9, last: 30, .. }));
        let mut chain = begun();
        chain.add(&later(&restored, 2, 10, 15), &keys).unwrap();
        let fault = chain.add(&link(&restored, 15, 20), &keys).unwrap_err();
        assert!(matches!(fault, ChainFault::Origin { .. }));
        let fault = chain.add(&later(&restored, 2, 10, 20), &keys).unwrap_err();
        assert!(matches!(fault, ChainFault::Gap { previous: 10, last: 15, .. }));
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
