//! The Merkle tree of RFC 6962 §2.1 over SHA-256.
//!
//! A tree of `n` leaves splits at the largest power of two below `n`; no leaf
//! is doubled and nothing is padded. Leaves are numbered from 0, and a leaf's
//! index is the `seq` of the audit entry behind it.
//!
//! Appending needs the tree's right edge only ([`TreeHead`]). A proof needs
//! interior nodes: [`TreeHead::append`] hands out each perfect subtree when its
//! last leaf arrives, and [`inclusion_subtrees`] and [`consistency_subtrees`]
//! name those that a proof is made of, so that a proof over a large log reads a
//! few dozen stored hashes. Whoever holds all leaves uses [`inclusion_proof`]
//! and [`consistency_proof`].

use std::{fmt, ops::Range, str::FromStr};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

/// A SHA-256 hash; as text, and so in JSON and BSON, 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// SHA-256 of the concatenated parts.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(part);
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Self(hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl FromStr for Hash {
    type Err = HashTextError;

    /// Reads exactly what [`Display`](fmt::Display) writes; upper-case digits
    /// are refused, so that a hash has one spelling.
    fn from_str(text: &str) -> Result<Self, HashTextError> {
        let mut hash = [0; 32];
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(HashTextError);
        }
        hex::decode_to_slice(text, &mut hash).map_err(|_| HashTextError)?;
        Ok(Self(hash))
    }
}

impl TryFrom<String> for Hash {
    type Error = HashTextError;

    fn try_from(text: String) -> Result<Self, HashTextError> {
        text.parse()
    }
}

/// A text is not a hash of 64 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a hash of 64 lower-case hex digits")]
pub struct HashTextError;

/// The hash of a leaf: SHA-256(0x00 || data) (RFC 6962 §2.1).
pub fn leaf_hash(data: &[u8]) -> Hash {
    Hash::of(&[&[0x00], data])
}

/// The hash of an inner node: SHA-256(0x01 || left || right) (RFC 6962 §2.1).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash::of(&[&[0x01], &left.0, &right.0])
}

/// The largest tree that [`TreeHead`] loads: 2^53 − 1 leaves, the largest
/// number that JSON carries safely (RFC 7493 §2.2).
pub const MAX_SIZE: u64 = (1 << 53) - 1;

/// A tree reduced to its right edge: the roots of the perfect subtrees that it
/// consists of, largest first, one for each 1 bit of `size`.
///
/// This is all that appending and the root need. Loading refuses an edge whose
/// length does not fit `size`, and a size above [`MAX_SIZE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredTreeHead")]
pub struct TreeHead {
    size: u64,
    edge: Vec<Hash>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredTreeHead {
    size: u64,
    edge: Vec<Hash>,
}

impl TryFrom<StoredTreeHead> for TreeHead {
    type Error = TreeHeadError;

    fn try_from(StoredTreeHead { size, edge }: StoredTreeHead) -> Result<Self, TreeHeadError> {
        if size > MAX_SIZE {
            return Err(TreeHeadError::Size(size));
        }
        if u32::try_from(edge.len()) != Ok(size.count_ones()) {
            return Err(TreeHeadError::Edge { size, edge: edge.len() });
        }
        Ok(Self { size, edge })
    }
}

/// A stored tree head that cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeHeadError {
    /// The size exceeds [`MAX_SIZE`].
    #[error("tree size {0} exceeds 2^53 - 1")]
    Size(u64),
    /// The edge has not one hash for each 1 bit of the size.
    #[error("{edge} edge hashes do not fit tree size {size}")]
    Edge {
        /// Number of leaves.
        size: u64,
        /// Number of hashes found.
        edge: usize,
    },
}

impl TreeHead {
    /// The tree without leaves.
    pub const fn empty() -> Self {
        Self { size: 0, edge: Vec::new() }
    }

    /// The number of leaves, which is the next leaf's index.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf, in at most log2(size) + 1 hashes and less than one on
    /// average.
    ///
    /// Returns the roots of the perfect subtrees that end with this leaf, by
    /// height: the leaf itself, then the subtree of 2 leaves if one is now
    /// full, of 4, and so on; two hashes on average. Stored with the leaf, they
    /// are what [`Subtree`] addresses.
    pub fn append(&mut self, leaf: Hash) -> Vec<Hash> {
        let mut completed = vec![leaf];
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            // The edge holds a hash for each 1 bit, so there is one to pop.
            if let Some(left) = self.edge.pop() {
                node = node_hash(&left, &node);
                completed.push(node);
            }
        }
        self.edge.push(node);
        self.size += 1;
        completed
    }

    /// Appends a perfect subtree of 2^`height` leaves by its root, as whoever
    /// follows a tree without seeing each leaf does; height 0 is a leaf. Takes
    /// no memory beyond the edge.
    ///
    /// # Errors
    /// [`ProofError::Range`] when no perfect subtree of this height begins here
    /// or the tree would outgrow [`MAX_SIZE`].
    pub fn append_subtree(&mut self, height: u32, root: Hash) -> Result<(), ProofError> {
        let leaves = 1_u64.checked_shl(height).ok_or(ProofError::Range)?;
        let aligned = self.size.is_multiple_of(leaves);
        let size = self.size.checked_add(leaves).filter(|size| aligned && *size <= MAX_SIZE);
        let size = size.ok_or(ProofError::Range)?;
        let mut node = root;
        for _ in 0..(self.size >> height).trailing_ones() {
            // As in `append`: there is one to pop.
            if let Some(left) = self.edge.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.edge.push(node);
        self.size = size;
        Ok(())
    }

    /// The tree's root (Merkle Tree Hash); SHA-256 of nothing when empty.
    pub fn root(&self) -> Hash {
        join(&self.edge)
    }
}

/// The root above adjacent perfect subtrees, given largest first; SHA-256 of
/// nothing for none. Turns each group of [`inclusion_subtrees`] and
/// [`consistency_subtrees`] into one hash of the proof.
pub fn join(subtrees: &[Hash]) -> Hash {
    subtrees
        .iter()
        .rev()
        .copied()
        .reduce(|right, left| node_hash(&left, &right))
        .unwrap_or_else(|| Hash::of(&[]))
}

/// The root of the tree with these leaves.
pub fn root_of(leaves: &[Hash]) -> Hash {
    let mut head = TreeHead::empty();
    for leaf in leaves {
        head.append(*leaf);
    }
    head.root()
}

/// A perfect subtree: 2^`height` leaves, of which `last` is the index of the
/// last. It is element `height` of what [`TreeHead::append`] returned for that
/// leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subtree {
    /// Index of the last leaf.
    pub last: u64,
    /// log2 of the number of leaves; 0 is the leaf itself.
    pub height: u32,
}

/// What the proof that leaf `index` is in the tree of `size` leaves consists
/// of: for each hash of the proof, in order, the perfect subtrees to
/// [`join`].
///
/// # Errors
/// [`ProofError::Range`] when `index >= size`.
pub fn inclusion_subtrees(index: u64, size: u64) -> Result<Vec<Vec<Subtree>>, ProofError> {
    Ok(inclusion_ranges(index, size)?.into_iter().map(perfect_subtrees).collect())
}

/// What the proof that the tree of `to` leaves extends the tree of `from`
/// consists of; see [`inclusion_subtrees`].
///
/// # Errors
/// [`ProofError::Range`] when `from > to`.
pub fn consistency_subtrees(from: u64, to: u64) -> Result<Vec<Vec<Subtree>>, ProofError> {
    Ok(consistency_ranges(from, to)?.into_iter().map(perfect_subtrees).collect())
}

/// The proof that leaf `index` is in the tree of the first `size` leaves, the
/// leaf's sibling first (RFC 6962 §2.1.1).
///
/// # Errors
/// [`ProofError::Range`] when `index >= size` or `size > leaves.len()`.
pub fn inclusion_proof(leaves: &[Hash], index: u64, size: u64) -> Result<Vec<Hash>, ProofError> {
    roots_of(leaves, inclusion_ranges(index, size)?)
}

/// The proof that the tree of the first `to` leaves extends the tree of the
/// first `from` (RFC 6962 §2.1.2); empty when `from` is 0 or `to`.
///
/// # Errors
/// [`ProofError::Range`] when `from > to` or `to > leaves.len()`.
pub fn consistency_proof(leaves: &[Hash], from: u64, to: u64) -> Result<Vec<Hash>, ProofError> {
    roots_of(leaves, consistency_ranges(from, to)?)
}

fn roots_of(leaves: &[Hash], ranges: Vec<Range<u64>>) -> Result<Vec<Hash>, ProofError> {
    ranges
        .into_iter()
        .map(|range| {
            let start = usize::try_from(range.start).map_err(|_| ProofError::Range)?;
            let end = usize::try_from(range.end).map_err(|_| ProofError::Range)?;
            leaves.get(start..end).map(root_of).ok_or(ProofError::Range)
        })
        .collect()
}

/// The leaf ranges whose roots form the inclusion proof.
fn inclusion_ranges(index: u64, size: u64) -> Result<Vec<Range<u64>>, ProofError> {
    if index >= size {
        return Err(ProofError::Range);
    }
    let mut ranges = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            ranges.push(middle..end);
            end = middle;
        } else {
            ranges.push(start..middle);
            start = middle;
        }
    }
    ranges.reverse();
    Ok(ranges)
}

/// The leaf ranges whose roots form the consistency proof.
fn consistency_ranges(from: u64, to: u64) -> Result<Vec<Range<u64>>, ProofError> {
    if from > to {
        return Err(ProofError::Range);
    }
    let mut ranges = Vec::new();
    if from == 0 {
        return Ok(ranges);
    }
    let (mut start, mut end) = (0, to);
    while end != from {
        let middle = start + split(end - start);
        if from <= middle {
            ranges.push(middle..end);
            end = middle;
        } else {
            ranges.push(start..middle);
            start = middle;
        }
    }
    // The verifier knows the subtree that is left only if it is the old tree.
    if start > 0 {
        ranges.push(start..end);
    }
    ranges.reverse();
    Ok(ranges)
}

/// The leaves from `start` to before `end` as perfect subtrees of the tree, in
/// order and as few as possible: at most two for each level.
pub fn gap(start: u64, end: u64) -> impl Iterator<Item = Subtree> {
    let mut start = start;
    std::iter::from_fn(move || {
        let leaves = end.checked_sub(start).filter(|leaves| *leaves > 0)?;
        let height = start.trailing_zeros().min(leaves.ilog2());
        start += 1 << height;
        Some(Subtree { last: start - 1, height })
    })
}

/// The largest power of two below `leaves`, which must be at least 2.
fn split(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}

/// A subtree of the tree as perfect ones, largest first.
fn perfect_subtrees(range: Range<u64>) -> Vec<Subtree> {
    gap(range.start, range.end).collect()
}

/// A proof that cannot be made or does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Index and sizes do not fit each other or the log.
    #[error("no such leaf or tree")]
    Range,
    /// The proof has too few or too many hashes for this index and these sizes.
    #[error("the proof's length does not fit")]
    Length,
    /// The proof leads to another root.
    #[error("the proof does not lead to the root")]
    Root,
}

/// Checks that `leaf` is leaf `index` of the tree with `size` leaves and this
/// root (RFC 9162 §2.1.3.2).
///
/// # Errors
/// [`ProofError`] says why the proof does not hold.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Range);
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if hash == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the tree of `to` leaves with root `to_root` extends the tree of
/// `from` leaves with root `from_root` (RFC 9162 §2.1.4.2).
///
/// Each tree extends the empty one and itself, by an empty proof.
///
/// # Errors
/// [`ProofError`] says why the proof does not hold.
pub fn verify_consistency(
    from: u64,
    to: u64,
    proof: &[Hash],
    from_root: &Hash,
    to_root: &Hash,
) -> Result<(), ProofError> {
    if from > to {
        return Err(ProofError::Range);
    }
    if from == 0 || from == to {
        let expected = if from == 0 { &Hash::of(&[]) } else { to_root };
        return match proof {
            [] if from_root == expected => Ok(()),
            [] => Err(ProofError::Root),
            _ => Err(ProofError::Length),
        };
    }
    let (mut node, mut last) = (from - 1, to - 1);
    let whole = node.trailing_ones();
    node >>= whole;
    last >>= whole;
    // If `from` is a power of two, the proof starts from the old root.
    let (first, path) = if from.is_power_of_two() {
        (from_root, proof)
    } else {
        proof.split_first().ok_or(ProofError::Length)?
    };
    let (mut old, mut new) = (*first, *first);
    for hash in path {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            old = node_hash(hash, &old);
            new = node_hash(hash, &new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, hash);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if old == *from_root && new == *to_root { Ok(()) } else { Err(ProofError::Root) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(text: &str) -> Hash {
        text.parse().unwrap()
    }

    /// `entry-0` .. as leaf hashes.
    fn log(size: usize) -> Vec<Hash> {
        (0..size).map(|i| leaf_hash(format!("entry-{i}").as_bytes())).collect()
    }

    fn size(leaves: &[Hash]) -> u64 {
        u64::try_from(leaves.len()).unwrap()
    }

    const NODE_0_1: &str = "2f27a5082c1d42afa488ac350a9fc4390c084f54f71ecdff859e98db8429b479";
    const NODE_4_6: &str = "e429c5b5ccaa9523c37297f1846766f903137e82195c5199e6be57130d1006c8";

    #[test]
    fn golden_log_of_seven_entries() {
        let leaves = log(7);
        let expected = [
            "40766b2033429026f53d54502679a839706b4741f8dcaf3a8bba5f41b5ffe075",
            "e868811a482c27d50b6d45dde79c465d6adb9b06645100477a90cf3d8518898b",
            "049d7dcdb56bcfebd313304c9839f196a3d4b6ef3bdc0b08298f93ac8191f0a8",
            "27479b6ab321d2ee477452f68ba527748e863cafe8fbd1df2bf89d1570d1b697",
            "194bb5a2d5bd10e5d1aa6fd5d42980b356caf1da623cd9987c4bfa2f81771ed7",
            "514158527515064c7bbd35b44c9f11addcfc38b439554fc9bb0d8b7c661c3e8f",
            "0cfda576ff4b29ea33c3afdaeed1bd637eb654b28a04302fcab5fd7db07801cc",
        ];
        assert_eq!(leaves, expected.map(hash));
        assert_eq!(
            root_of(&leaves[..4]),
            hash("256b9e8825e5d370a4ae005d0901ea291977e2927f5cf8e3e72660dd09519edb")
        );
        let root = hash("9139601cc1ca8ab2a7a0c2c134c04845f2b1ba549a83d6c845cfcda439cc585d");
        assert_eq!(root_of(&leaves), root);

        let inclusion = inclusion_proof(&leaves, 3, 7).unwrap();
        assert_eq!(inclusion, [leaves[2], hash(NODE_0_1), hash(NODE_4_6)]);
        verify_inclusion(&leaves[3], 3, 7, &inclusion, &root).unwrap();

        let from_power_of_two = consistency_proof(&leaves, 4, 7).unwrap();
        assert_eq!(from_power_of_two, [hash(NODE_4_6)]);
        let consistency = consistency_proof(&leaves, 3, 7).unwrap();
        assert_eq!(consistency, [leaves[2], leaves[3], hash(NODE_0_1), hash(NODE_4_6)]);
    }

    #[test]
    fn golden_empty_tree() {
        let empty = hash("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(TreeHead::empty().root(), empty);
        assert_eq!(root_of(&[]), empty);
    }

    /// The reference tree of the Certificate Transparency code base.
    #[test]
    fn golden_certificate_transparency_tree() {
        let leaves: Vec<Hash> = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ]
        .iter()
        .map(|data| leaf_hash(&hex::decode(data).unwrap()))
        .collect();
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ]
        .map(hash);
        for (n, root) in (1..).zip(&roots) {
            assert_eq!(root_of(&leaves[..n]), *root);
        }
        assert_eq!(
            inclusion_proof(&leaves, 0, 8).unwrap(),
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ]
            .map(hash)
        );
    }

    /// The definition of RFC 6962 §2.1, word for word.
    fn merkle_tree_hash(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::of(&[]),
            [leaf] => *leaf,
            _ => {
                let middle = leaves.len().next_power_of_two() / 2;
                node_hash(
                    &merkle_tree_hash(&leaves[..middle]),
                    &merkle_tree_hash(&leaves[middle..]),
                )
            }
        }
    }

    #[test]
    fn head_has_the_root_of_the_definition_and_survives_storage() {
        let leaves = log(600);
        let mut head = TreeHead::empty();
        for n in 0..=leaves.len() {
            assert_eq!(head.root(), merkle_tree_hash(&leaves[..n]));
            assert_eq!(head.size(), u64::try_from(n).unwrap());
            let stored = serde_json::to_string(&head).unwrap();
            assert_eq!(serde_json::from_str::<TreeHead>(&stored).unwrap(), head);
            let stored = mongodb::bson::serialize_to_vec(&head).unwrap();
            assert_eq!(mongodb::bson::deserialize_from_slice::<TreeHead>(&stored).unwrap(), head);
            if let Some(leaf) = leaves.get(n) {
                head.append(*leaf);
            }
        }
    }

    #[test]
    fn loading_refuses_what_is_no_head() {
        let load = |size: u64, edge: &[&str]| {
            let stored = serde_json::json!({ "size": size, "edge": edge });
            serde_json::from_value::<TreeHead>(stored)
        };
        assert_eq!(load(2, &[NODE_0_1]).unwrap().root(), hash(NODE_0_1));
        assert!(load(3, &[NODE_0_1]).is_err());
        assert!(load(2, &[NODE_0_1, NODE_4_6]).is_err());
        assert!(load(0, &[NODE_0_1]).is_err());
        assert!(load(2, &[&NODE_0_1[2..]]).is_err());
        assert!(load(2, &[&NODE_0_1.to_uppercase()]).is_err());
        assert!(load(1 << 53, &[NODE_0_1]).is_err());
    }

    #[test]
    fn proofs_hold_for_each_leaf_of_each_tree() {
        let leaves = log(300);
        for n in 1..=leaves.len() {
            let leaves = &leaves[..n];
            let root = merkle_tree_hash(leaves);
            for (index, leaf) in (0..).zip(leaves) {
                let proof = inclusion_proof(leaves, index, size(leaves)).unwrap();
                verify_inclusion(leaf, index, size(leaves), &proof, &root).unwrap();
            }
        }
    }

    #[test]
    fn proofs_hold_between_each_two_trees() {
        let leaves = log(130);
        let roots: Vec<Hash> = (0..=leaves.len()).map(|n| merkle_tree_hash(&leaves[..n])).collect();
        for (to, to_root) in (0..).zip(&roots) {
            for (from, from_root) in (0..=to).zip(&roots) {
                let proof = consistency_proof(&leaves, from, to).unwrap();
                verify_consistency(from, to, &proof, from_root, to_root).unwrap();
            }
        }
    }

    /// What a store does: keep `append`'s hashes by leaf, look subtrees up.
    #[test]
    fn stored_subtrees_make_the_same_proofs() {
        let leaves = log(130);
        let mut head = TreeHead::empty();
        let stored: Vec<Vec<Hash>> = leaves.iter().map(|leaf| head.append(*leaf)).collect();
        let look_up = |groups: Vec<Vec<Subtree>>| -> Vec<Hash> {
            let read = |subtree: &Subtree| {
                stored[usize::try_from(subtree.last).unwrap()]
                    [usize::try_from(subtree.height).unwrap()]
            };
            groups.iter().map(|group| join(&group.iter().map(read).collect::<Vec<_>>())).collect()
        };
        for to in 1..=size(&leaves) {
            for from in 0..to {
                assert_eq!(
                    look_up(inclusion_subtrees(from, to).unwrap()),
                    inclusion_proof(&leaves, from, to).unwrap()
                );
                assert_eq!(
                    look_up(consistency_subtrees(from, to).unwrap()),
                    consistency_proof(&leaves, from, to).unwrap()
                );
            }
        }
    }

    #[test]
    fn what_does_not_exist_has_no_proof() {
        let leaves = log(8);
        assert_eq!(inclusion_proof(&leaves, 8, 8), Err(ProofError::Range));
        assert_eq!(inclusion_proof(&leaves, 0, 9), Err(ProofError::Range));
        assert_eq!(inclusion_proof(&leaves, 0, 0), Err(ProofError::Range));
        assert_eq!(consistency_proof(&leaves, 3, 9), Err(ProofError::Range));
        assert_eq!(consistency_proof(&leaves, 5, 4), Err(ProofError::Range));
        let root = root_of(&leaves);
        assert_eq!(verify_inclusion(&leaves[0], 8, 8, &[], &root), Err(ProofError::Range));
        assert_eq!(verify_inclusion(&leaves[0], 0, 0, &[], &root), Err(ProofError::Range));
        assert_eq!(verify_consistency(9, 8, &[], &root, &root), Err(ProofError::Range));
    }

    #[test]
    fn trivial_consistency_is_still_checked() {
        let leaves = log(8);
        let (empty, root) = (root_of(&[]), root_of(&leaves));
        let other = root_of(&leaves[..7]);
        assert_eq!(verify_consistency(0, 8, &[], &empty, &root), Ok(()));
        assert_eq!(verify_consistency(0, 8, &[], &other, &root), Err(ProofError::Root));
        assert_eq!(verify_consistency(0, 8, &[root], &empty, &root), Err(ProofError::Length));
        assert_eq!(verify_consistency(8, 8, &[], &other, &root), Err(ProofError::Root));
        assert_eq!(verify_consistency(8, 8, &[root], &root, &root), Err(ProofError::Length));
        assert_eq!(verify_consistency(7, 8, &[], &other, &root), Err(ProofError::Length));
    }

    fn flip(hash: &mut Hash, bit: usize) {
        hash.0[bit / 8 % 32] ^= 1 << (bit % 8);
    }

    /// The root of each tree of a growing log, by its size.
    fn roots(leaves: &[Hash]) -> Vec<Hash> {
        let mut head = TreeHead::empty();
        let mut roots = vec![head.root()];
        for leaf in leaves {
            head.append(*leaf);
            roots.push(head.root());
        }
        roots
    }

    /// The way from the root to leaf `index` by the definition of RFC 6962 §2.1:
    /// at each split, whether to the right.
    fn turns(index: u64, size: u64) -> Vec<bool> {
        if size < 2 {
            return Vec::new();
        }
        let middle = size.next_power_of_two() / 2;
        let right = index >= middle;
        let rest = if right { turns(index - middle, size - middle) } else { turns(index, middle) };
        [vec![right], rest].concat()
    }

    /// A tree size, a smaller number, and some position and bit to tamper with.
    fn cases() -> impl Strategy<Value = (u64, u64, usize, usize)> {
        (2_u64..300).prop_flat_map(|size| (Just(size), 0..size, any::<usize>(), 0_usize..256))
    }

    proptest! {
        #[test]
        fn changed_inclusion_fails((size, index, place, bit) in cases()) {
            let longer_log = log(usize::try_from(size).unwrap() + 40);
            let roots = roots(&longer_log);
            let leaves = &longer_log[..usize::try_from(size).unwrap()];
            let leaf = leaves[usize::try_from(index).unwrap()];
            let root = root_of(leaves);
            let proof = inclusion_proof(leaves, index, size).unwrap();
            let place = place % proof.len();

            let mut changed = proof.clone();
            flip(&mut changed[place], bit);
            prop_assert_eq!(
                verify_inclusion(&leaf, index, size, &changed, &root), Err(ProofError::Root));
            let (mut other_leaf, mut other_root) = (leaf, root);
            flip(&mut other_leaf, bit);
            flip(&mut other_root, bit);
            prop_assert_eq!(
                verify_inclusion(&other_leaf, index, size, &proof, &root), Err(ProofError::Root));
            prop_assert_eq!(
                verify_inclusion(&leaf, index, size, &proof, &other_root), Err(ProofError::Root));

            for other in (0..size + 2).filter(|other| *other != index) {
                prop_assert!(verify_inclusion(&leaf, other, size, &proof, &root).is_err());
            }

            // Of another tree of the log the proof shows nothing. Under the root of
            // its own it holds for every size in which the path is the same: the
            // size is what the checkpoint signs together with the root.
            let path = turns(index, size);
            for (other, own) in (0..).zip(&roots).filter(|(other, _)| *other != size) {
                let held = verify_inclusion(&leaf, index, other, &proof, &root).is_ok();
                let same = index < other && turns(index, other) == path;
                prop_assert_eq!(held, same, "{} of {} as of {}", index, size, other);
                prop_assert!(verify_inclusion(&leaf, index, other, &proof, own).is_err());
            }

            let mut longer = proof.clone();
            longer.insert(place, root);
            prop_assert_eq!(
                verify_inclusion(&leaf, index, size, &longer, &root), Err(ProofError::Length));
            let mut shorter = proof;
            shorter.remove(place);
            prop_assert_eq!(
                verify_inclusion(&leaf, index, size, &shorter, &root), Err(ProofError::Length));
        }

        #[test]
        fn changed_consistency_fails((to, from, place, bit) in cases()) {
            prop_assume!(from > 0);
            let leaves = log(usize::try_from(to).unwrap() + 40);
            let roots = roots(&leaves);
            let root = |size: u64| roots[usize::try_from(size).unwrap()];
            let (old, new) = (root(from), root(to));
            let proof = consistency_proof(&leaves, from, to).unwrap();
            let place = place % proof.len();

            let mut changed = proof.clone();
            flip(&mut changed[place], bit);
            prop_assert_eq!(
                verify_consistency(from, to, &changed, &old, &new), Err(ProofError::Root));
            let (mut other_old, mut other_new) = (old, new);
            flip(&mut other_old, bit);
            flip(&mut other_new, bit);
            prop_assert!(verify_consistency(from, to, &proof, &other_old, &new).is_err());
            prop_assert!(verify_consistency(from, to, &proof, &old, &other_new).is_err());

            for other in (0..=to).filter(|other| *other != from) {
                prop_assert!(verify_consistency(other, to, &proof, &old, &new).is_err());
            }
            // As above: to another tree of the log the proof does not lead.
            for (other, own) in (0..).zip(&roots).filter(|(other, _)| *other != to) {
                prop_assert!(verify_consistency(from, other, &proof, &old, own).is_err());
            }

            let mut longer = proof.clone();
            longer.insert(place, new);
            prop_assert!(verify_consistency(from, to, &longer, &old, &new).is_err());
            let mut shorter = proof;
            shorter.remove(place);
            prop_assert!(verify_consistency(from, to, &shorter, &old, &new).is_err());
        }
    }
}
