//! Merkle maps and lists: what headers commit to, and how an outsider checks a proof about them.
//!
//! The tree is a *critical-bit* tree over keys of one length: an inner node names the first bit, its *split*, at which the
//! keys below it differ; those with a 0 there are left, those with a 1 right. Nothing is stored for bits on which all
//! agree, so a million sequence numbers in a row make a tree twenty deep. Its shape follows from its keys alone, not
//! from the order in which they came: equal maps have equal roots.
//!
//! ```text
//!            split 1                 keys 000, 011, 010
//!           /       \
//!        000        split 2
//!                   /      \
//!                 010      011
//! ```
//!
//! **Absence.** A proof shows one real leaf `L` with its path. When `L` is not the key asked for, they first differ at some
//! bit `d`. If `d` is no split on the path, then at the first split beyond `d` (or at `L` itself) all keys below agree with
//! `L` in bit `d`, and above it every split was decided as the key decides it: the key is nowhere. If `d` is a split, the
//! proof shows the wrong leaf and is refused.
//!
//! **Weights.** Every leaf weighs something ([`Weight`]: how many defended blobs, how many bytes) and every node commits
//! to the weights of its children, so that the weight of a range of keys is known without visiting the range.
//!
//! This module is what outsiders check: hashes, proofs, lists. How a map is stored and changed is in [`crate::pages`].

use floe_types::codec::Domain;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The root of a Merkle structure or of the state: 32 bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Root(pub [u8; 32]);

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({self})")
    }
}

/// What a set of leaves weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Weight {
    /// Defended blobs.
    pub blobs: u64,
    /// Bytes of those blobs, before encoding.
    pub bytes: u128,
    /// Bytes of one fragment of each of them, summed: what one shard keeps of them.
    pub fragment_bytes: u64,
}

impl Weight {
    /// Both together. Counts are of what is stored, far below the largest number.
    #[must_use]
    pub fn plus(self, other: Weight) -> Weight {
        Weight {
            blobs: self.blobs.saturating_add(other.blobs),
            bytes: self.bytes.saturating_add(other.bytes),
            fragment_bytes: self.fragment_bytes.saturating_add(other.fragment_bytes),
        }
    }
}

impl Weight {
    /// What is left without `other`; none when it weighs more in anything.
    pub(crate) fn minus(self, other: Weight) -> Option<Weight> {
        Some(Weight {
            blobs: self.blobs.checked_sub(other.blobs)?,
            bytes: self.bytes.checked_sub(other.bytes)?,
            fragment_bytes: self.fragment_bytes.checked_sub(other.fragment_bytes)?,
        })
    }
}

/// The maps that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Map {
    /// Keys: sequence numbers, 8 bytes. Values: [`crate::SequenceRecord`].
    BySequence = 1,
    /// Keys: blob ids, 32 bytes. Values: [`crate::BlobRecord`].
    ById = 2,
    /// Keys: the last sequence numbers of judged segments, 8 bytes. Values: what [`crate::coverage`] keeps there.
    Segments = 3,
}

/// A leaf: its key, the hash of its value, its weight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    /// The key.
    pub key: Vec<u8>,
    /// [`value_hash`] of the value.
    pub value: Root,
    /// What it weighs.
    pub weight: Weight,
}

/// The root of a map without entries.
pub const EMPTY: Root = Root([0; 32]);

static VALUE: Domain = Domain::new("floe 1 merkle map: value");
static NODE: Domain = Domain::new("floe 1 merkle map: node");
static LEAF: Domain = Domain::new("floe 1 merkle map: leaf");

/// The hash under which a map keeps the encoding `value`.
#[must_use]
pub fn value_hash(value: &[u8]) -> Root {
    Root(VALUE.hash(value))
}

fn weight_bytes(weight: &Weight) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&weight.blobs.to_be_bytes());
    bytes[8..24].copy_from_slice(&weight.bytes.to_be_bytes());
    bytes[24..].copy_from_slice(&weight.fragment_bytes.to_be_bytes());
    bytes
}

/// The hash of the node that parts `left` from `right` at bit `split`.
pub(crate) fn node_hash(split: u16, left: (Root, Weight), right: (Root, Weight)) -> Root {
    let mut bytes = [0; 2 + 2 * 64];
    bytes[..2].copy_from_slice(&split.to_be_bytes());
    bytes[2..34].copy_from_slice(&left.0.0);
    bytes[34..66].copy_from_slice(&weight_bytes(&left.1));
    bytes[66..98].copy_from_slice(&right.0.0);
    bytes[98..].copy_from_slice(&weight_bytes(&right.1));
    Root(NODE.hash(&bytes))
}

impl Leaf {
    pub(crate) fn hash(&self) -> Root {
        let mut bytes = Vec::with_capacity(64 + self.key.len());
        bytes.extend_from_slice(&self.value.0);
        bytes.extend_from_slice(&weight_bytes(&self.weight));
        bytes.extend_from_slice(&self.key);
        Root(LEAF.hash(&bytes))
    }
}

/// Keys have at most 32 bytes.
fn bits(key: &[u8]) -> u16 {
    key.len() as u16 * 8
}

pub(crate) fn bit(key: &[u8], at: u16) -> Side {
    match key.get(usize::from(at / 8)).map(|byte| byte & (0x80 >> (at % 8))) {
        None | Some(0) => Side::Left,
        Some(_) => Side::Right,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// The first bit before `end` at which the keys differ.
fn first_difference(one: &[u8], two: &[u8], end: u16) -> Option<u16> {
    let at = one.iter().zip(two).position(|(a, b)| a != b)?;
    let (a, b) = (one.get(at)?, two.get(at)?);
    let difference = at as u16 * 8 + (a ^ b).leading_zeros() as u16;
    (difference < end).then_some(difference)
}

/// One step of a path: where the tree splits, and what is on the other side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofStep {
    /// The bit at which the keys below differ first.
    pub split: u16,
    /// The other side's hash.
    pub sibling: Root,
    /// What the other side weighs.
    pub weight: Weight,
}

/// Shows what a map holds at a key, or that it holds nothing there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapProof {
    /// The leaf at the key or, for absence, one that shows it; none in an empty map.
    pub leaf: Option<Leaf>,
    /// The path from the top down.
    pub path: Vec<ProofStep>,
}

/// What a proof has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The key has the value with this hash.
    Present {
        /// [`value_hash`] of the value.
        value: Root,
        /// What it weighs.
        weight: Weight,
    },
    /// The key has no value.
    Absent,
}

/// A proof that shows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Its splits are not ascending or beyond the key.
    #[error("the path is malformed")]
    Malformed,
    /// The root that follows from it is another.
    #[error("the path leads to another root")]
    OtherRoot,
    /// It shows a leaf that says nothing about the key.
    #[error("the leaf is not where the key would be")]
    OtherPlace,
}

impl MapProof {
    /// What the map with root `root` holds at `key`.
    ///
    /// # Errors
    /// [`ProofError`] when this does not show it.
    pub fn verify(&self, root: &Root, key: &[u8]) -> Result<Presence, ProofError> {
        let Some(leaf) = &self.leaf else {
            let empty = self.path.is_empty() && *root == EMPTY;
            return if empty { Ok(Presence::Absent) } else { Err(ProofError::OtherRoot) };
        };
        let ascending = self.path.windows(2).all(|pair| matches!(pair, [one, two] if one.split < two.split));
        let within = self.path.last().is_none_or(|step| step.split < bits(key));
        if leaf.key.len() != key.len() || key.len() > 32 || !ascending || !within {
            return Err(ProofError::Malformed);
        }
        let mut below = (leaf.hash(), leaf.weight);
        for step in self.path.iter().rev() {
            let other = (step.sibling, step.weight);
            let hash = match bit(&leaf.key, step.split) {
                Side::Left => node_hash(step.split, below, other),
                Side::Right => node_hash(step.split, other, below),
            };
            below = (hash, below.1.plus(step.weight));
        }
        if below.0 != *root {
            return Err(ProofError::OtherRoot);
        }
        match first_difference(&leaf.key, key, bits(key)) {
            None => Ok(Presence::Present { value: leaf.value, weight: leaf.weight }),
            Some(at) if self.path.iter().any(|step| step.split == at) => Err(ProofError::OtherPlace),
            Some(_) => Ok(Presence::Absent),
        }
    }
}

static LIST_NODE: Domain = Domain::new("floe 1 merkle list: node");
static LIST_LEAF: Domain = Domain::new("floe 1 merkle list: leaf");

/// The root of a list: a binary tree whose left side is the largest power of two below the count, leaves and nodes in
/// domains of their own. The count is part of it.
#[must_use]
pub fn list_root<T: AsRef<[u8]>>(items: &[T]) -> Root {
    fn below(items: &[[u8; 32]]) -> [u8; 32] {
        match items {
            [] => [0; 32],
            [only] => *only,
            _ => {
                let (left, right) = items.split_at(items.len().next_power_of_two() / 2);
                list_node(&below(left), &below(right))
            }
        }
    }
    let leaves: Vec<_> = items.iter().map(|item| list_leaf(item.as_ref())).collect();
    list_top(items.len() as u64, &below(&leaves))
}

/// A list's leaf.
pub(crate) fn list_leaf(item: &[u8]) -> [u8; 32] {
    LIST_LEAF.hash(item)
}

/// A list's inner node.
pub(crate) fn list_node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    LIST_NODE.hash(&[*left, *right].concat())
}

/// A list's root, from how many items it has and its topmost node.
pub(crate) fn list_top(count: u64, below: &[u8; 32]) -> Root {
    let mut hasher = blake3::Hasher::new_derive_key("floe 1 merkle list: root");
    Root(*hasher.update(&count.to_be_bytes()).update(below).finalize().as_bytes())
}
