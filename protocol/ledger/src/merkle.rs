//! A Merkle map kept in the state: put, remove, prove presence and absence, and count ranges, each in `O(log n)`.
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
//! Nodes are stored by split and prefix, so a change overwrites the nodes on its path and leaves nothing behind.

#[path = "merkle_build.rs"]
mod build;

pub(crate) use build::Builder;

use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
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
}

impl Weight {
    /// Both together. Counts are of what is stored, far below the largest number.
    #[must_use]
    pub fn plus(self, other: Weight) -> Weight {
        Weight { blobs: self.blobs.saturating_add(other.blobs), bytes: self.bytes.saturating_add(other.bytes) }
    }
}

/// The maps that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Map {
    /// Keys: sequence numbers, 8 bytes. Values: [`crate::SequenceRecord`].
    BySequence = 1,
    /// Keys: blob ids, 32 bytes. Values: [`crate::BlobRecord`].
    ById = 2,
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

/// What a node points to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Link {
    Leaf(Leaf),
    /// `prefix`: the bits before `split`, then zeros.
    Node {
        prefix: Vec<u8>,
        split: u16,
        hash: Root,
        weight: Weight,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Node {
    left: Link,
    right: Link,
}

/// The root of a map without entries.
pub const EMPTY: Root = Root([0; 32]);

/// The hash under which a map keeps the encoding `value`.
#[must_use]
pub fn value_hash(value: &[u8]) -> Root {
    Root(floe_types::codec::hash("floe 1 merkle map: value", value))
}

fn node_hash(split: u16, left: (Root, Weight), right: (Root, Weight)) -> Root {
    let mut hasher = blake3::Hasher::new_derive_key("floe 1 merkle map: node");
    hasher.update(&split.to_be_bytes());
    for (hash, weight) in [left, right] {
        hasher.update(&hash.0).update(&weight.blobs.to_be_bytes()).update(&weight.bytes.to_be_bytes());
    }
    Root(*hasher.finalize().as_bytes())
}

impl Leaf {
    fn hash(&self) -> Root {
        let mut hasher = blake3::Hasher::new_derive_key("floe 1 merkle map: leaf");
        hasher.update(&self.value.0).update(&self.weight.blobs.to_be_bytes()).update(&self.weight.bytes.to_be_bytes());
        hasher.update(&self.key);
        Root(*hasher.finalize().as_bytes())
    }
}

impl Link {
    fn summary(&self) -> (Root, Weight) {
        match self {
            Link::Leaf(leaf) => (leaf.hash(), leaf.weight),
            Link::Node { hash, weight, .. } => (*hash, *weight),
        }
    }

    /// A key that agrees with every key below in all bits before the split.
    fn key(&self) -> &[u8] {
        match self {
            Link::Leaf(leaf) => &leaf.key,
            Link::Node { prefix, .. } => prefix,
        }
    }

    /// The bits on which all keys below agree, counted from the front.
    fn agreed(&self) -> u16 {
        match self {
            Link::Leaf(leaf) => bits(&leaf.key),
            Link::Node { split, .. } => *split,
        }
    }
}

/// Keys have at most 32 bytes.
fn bits(key: &[u8]) -> u16 {
    key.len() as u16 * 8
}

fn bit(key: &[u8], at: u16) -> Side {
    match key.get(usize::from(at / 8)).map(|byte| byte & (0x80 >> (at % 8))) {
        None | Some(0) => Side::Left,
        Some(_) => Side::Right,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
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

fn masked(key: &[u8], keep: u16) -> Vec<u8> {
    let mut prefix = key.to_vec();
    for (at, byte) in prefix.iter_mut().enumerate() {
        let kept = keep.saturating_sub(at as u16 * 8).min(8);
        *byte &= if kept == 0 { 0 } else { 0xffu8 << (8 - kept) };
    }
    prefix
}

fn address(map: Map, split: u16, prefix: &[u8]) -> Vec<u8> {
    Table::Merkle.key(&[&[map as u8], &split.to_be_bytes(), prefix])
}

fn top(state: &dyn StateRead, map: Map) -> Result<Option<Link>, StateError> {
    Table::MerkleRoots.load(state, &Table::MerkleRoots.key(&[&[map as u8]]))
}

fn set_top(overlay: &mut Overlay<'_>, map: Map, link: Option<Link>) {
    let key = Table::MerkleRoots.key(&[&[map as u8]]);
    match link {
        Some(link) => Table::MerkleRoots.store(overlay, key, &link),
        None => overlay.delete(key),
    }
}

fn node(state: &dyn StateRead, map: Map, split: u16, prefix: &[u8]) -> Result<Node, StateError> {
    Table::Merkle.must(state, &address(map, split, prefix))
}

/// The node that parts left from right at `split`: its address, and the link to it.
fn joined(map: Map, split: u16, children: &Node) -> (Vec<u8>, Link) {
    let (left, right) = (children.left.summary(), children.right.summary());
    let prefix = masked(children.left.key(), split);
    let place = address(map, split, &prefix);
    (place, Link::Node { prefix, split, hash: node_hash(split, left, right), weight: left.1.plus(right.1) })
}

/// Writes the node that parts left from right at `split` and gives the link to it.
fn join(overlay: &mut Overlay<'_>, map: Map, split: u16, children: Node) -> Link {
    let (place, link) = joined(map, split, &children);
    Table::Merkle.store(overlay, place, &children);
    link
}

fn put_below(overlay: &mut Overlay<'_>, map: Map, link: Link, leaf: Leaf) -> Result<Link, StateError> {
    if let Some(split) = first_difference(link.key(), &leaf.key, link.agreed()) {
        let side = bit(&leaf.key, split);
        let leaf = Link::Leaf(leaf);
        let children = match side {
            Side::Left => Node { left: leaf, right: link },
            Side::Right => Node { left: link, right: leaf },
        };
        return Ok(join(overlay, map, split, children));
    }
    let Link::Node { prefix, split, .. } = link else { return Ok(Link::Leaf(leaf)) };
    let Node { left, right } = node(overlay, map, split, &prefix)?;
    let children = match bit(&leaf.key, split) {
        Side::Left => Node { left: put_below(overlay, map, left, leaf)?, right },
        Side::Right => Node { left, right: put_below(overlay, map, right, leaf)? },
    };
    Ok(join(overlay, map, split, children))
}

/// Sets the leaf's key to its value and weight. All keys of a map have one length.
pub(crate) fn put(overlay: &mut Overlay<'_>, map: Map, leaf: Leaf) -> Result<(), StateError> {
    let link = match top(overlay, map)? {
        Some(link) => put_below(overlay, map, link, leaf)?,
        None => Link::Leaf(leaf),
    };
    set_top(overlay, map, Some(link));
    Ok(())
}

fn remove_below(overlay: &mut Overlay<'_>, map: Map, link: Link, key: &[u8]) -> Result<Option<Link>, StateError> {
    if first_difference(link.key(), key, link.agreed()).is_some() {
        return Ok(Some(link));
    }
    let Link::Node { prefix, split, .. } = link else { return Ok(None) };
    let Node { left, right } = node(overlay, map, split, &prefix)?;
    let (left, right) = match bit(key, split) {
        Side::Left => (remove_below(overlay, map, left, key)?, Some(right)),
        Side::Right => (Some(left), remove_below(overlay, map, right, key)?),
    };
    match (left, right) {
        (Some(left), Some(right)) => Ok(Some(join(overlay, map, split, Node { left, right }))),
        (rest, None) | (None, rest) => {
            overlay.delete(address(map, split, &prefix));
            Ok(rest)
        }
    }
}

/// Takes `key` out of the map; nothing happens when it is not there.
///
/// The ledger itself forgets by changing a leaf, so that *it was there* stays provable; maps that lose entries come with
/// candidates and offers.
#[cfg_attr(not(test), expect(dead_code, reason = "part of the map's contract, exercised by its tests"))]
pub(crate) fn remove(overlay: &mut Overlay<'_>, map: Map, key: &[u8]) -> Result<(), StateError> {
    if let Some(link) = top(overlay, map)? {
        let rest = remove_below(overlay, map, link, key)?;
        set_top(overlay, map, rest);
    }
    Ok(())
}

/// The map's root and what all of it weighs.
pub(crate) fn root(state: &dyn StateRead, map: Map) -> Result<(Root, Weight), StateError> {
    Ok(top(state, map)?.map_or((EMPTY, Weight::default()), |link| link.summary()))
}

/// What the keys from `first` to `last` inclusive weigh.
pub(crate) fn weigh(state: &dyn StateRead, map: Map, first: &[u8], last: &[u8]) -> Result<Weight, StateError> {
    let mut sum = Weight::default();
    let mut open: Vec<Link> = top(state, map)?.into_iter().collect();
    while let Some(link) = open.pop() {
        let agreed = link.agreed();
        let least = link.key();
        let mut most = least.to_vec();
        for (at, byte) in most.iter_mut().enumerate() {
            let kept = agreed.saturating_sub(at as u16 * 8).min(8);
            *byte |= if kept == 8 { 0 } else { 0xffu8 >> kept };
        }
        if most.as_slice() < first || least > last {
            continue;
        }
        if first <= least && most.as_slice() <= last {
            sum = sum.plus(link.summary().1);
        } else if let Link::Node { prefix, split, .. } = link {
            let Node { left, right } = node(state, map, split, &prefix)?;
            open.extend([left, right]);
        }
    }
    Ok(sum)
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

/// A proof about `key`.
pub(crate) fn prove(state: &dyn StateRead, map: Map, key: &[u8]) -> Result<MapProof, StateError> {
    let mut path = Vec::new();
    let Some(mut link) = top(state, map)? else { return Ok(MapProof { leaf: None, path }) };
    loop {
        match link {
            Link::Leaf(leaf) => return Ok(MapProof { leaf: Some(leaf), path }),
            Link::Node { prefix, split, .. } => {
                // Below a node whose prefix differs from the key any leaf will do: its path splits at the difference nowhere.
                let Node { left, right } = node(state, map, split, &prefix)?;
                let (next, other) = match bit(key, split) {
                    Side::Left => (left, right),
                    Side::Right => (right, left),
                };
                let (sibling, weight) = other.summary();
                path.push(ProofStep { split, sibling, weight });
                link = next;
            }
        }
    }
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
    floe_types::codec::hash("floe 1 merkle list: leaf", item)
}

/// A list's inner node.
pub(crate) fn list_node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("floe 1 merkle list: node");
    *hasher.update(left).update(right).finalize().as_bytes()
}

/// A list's root, from how many items it has and its topmost node.
pub(crate) fn list_top(count: u64, below: &[u8; 32]) -> Root {
    let mut hasher = blake3::Hasher::new_derive_key("floe 1 merkle list: root");
    Root(*hasher.update(&count.to_be_bytes()).update(below).finalize().as_bytes())
}

#[cfg(test)]
#[path = "merkle_tests.rs"]
mod tests;
