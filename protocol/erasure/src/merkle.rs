//! Binary Merkle trees whose shape follows from the number of leaves alone.
//!
//! ```text
//!   5 leaves:        root
//!                   /    \       Level by level neighbours are joined; an odd last one moves up
//!                  o      \      unchanged. So the left side is always a full tree, and a tree of
//!                 / \      \     one leaf is that leaf.
//!                o   o      \
//!               / \ / \      \
//!               0 1 2 3      4
//! ```
//!
//! Leaves carry their own domain, inner nodes that of the tree, and counts are never taken from outside:
//! a node cannot pass for a leaf.

use crate::hash::{Domain, Hash, Kernel};

/// The root over `level`, which must not be empty and is used up.
pub(crate) fn root(kernel: Kernel, domain: Domain, level: &mut [Hash]) -> Hash {
    let mut count = level.len();
    while count > 1 {
        count = kernel.level(domain, &mut level[..count]);
    }
    level[0]
}

/// A whole tree, for handing out paths. Keeps about two hashes a leaf.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// The tree over `leaves`, which must not be empty.
    pub(crate) fn new(kernel: Kernel, domain: Domain, leaves: Vec<Hash>) -> Self {
        let mut levels = vec![leaves];
        while let Some(last) = levels.last().filter(|last| last.len() > 1) {
            let mut next = last.clone();
            let count = kernel.level(domain, &mut next);
            next.truncate(count);
            levels.push(next);
        }
        Self { levels }
    }

    pub(crate) fn root(&self) -> Hash {
        self.levels[self.levels.len() - 1][0]
    }

    /// The siblings of `leaf` and its ancestors, lowest first. Levels where it has none are left out.
    pub(crate) fn path(&self, leaf: usize) -> Vec<Hash> {
        let sibling = |(depth, level): (usize, &Vec<Hash>)| level.get((leaf >> depth) ^ 1).copied();
        self.levels.iter().enumerate().filter_map(sibling).collect()
    }
}

/// How many siblings the path of `leaf` has in a tree of `leaves`.
pub(crate) fn path_length(mut leaf: usize, mut leaves: usize) -> usize {
    let mut length = 0;
    while leaves > 1 {
        length += usize::from(leaf ^ 1 < leaves);
        leaf /= 2;
        leaves = leaves.div_ceil(2);
    }
    length
}

/// Most siblings the path of any leaf has in a tree of `leaves`: that of leaf 0.
pub(crate) fn path_length_max(leaves: usize) -> usize {
    path_length(0, leaves)
}

/// The root to which `hash` at `leaf` of `leaves` and its `path` lead. `None` when the path has not the
/// length it must have.
pub(crate) fn root_of_path(domain: Domain, hash: Hash, leaf: usize, leaves: usize, path: &[Hash]) -> Option<Hash> {
    if leaf >= leaves || path.len() != path_length(leaf, leaves) {
        return None;
    }
    let (mut hash, mut leaf, mut leaves, mut path) = (hash, leaf, leaves, path.iter());
    while leaves > 1 {
        if leaf ^ 1 < leaves {
            let sibling = path.next()?;
            hash = if leaf % 2 == 0 { domain.hash(&[&hash, sibling]) } else { domain.hash(&[sibling, &hash]) };
        }
        leaf /= 2;
        leaves = leaves.div_ceil(2);
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|i| *blake3::hash(&i.to_le_bytes()).as_bytes()).collect()
    }

    /// The slow twin: the left side is the largest power of two below the count.
    fn naive(leaves: &[Hash]) -> Hash {
        if let [leaf] = leaves {
            return *leaf;
        }
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        Domain::PairNode.hash(&[&naive(left), &naive(right)])
    }

    #[test]
    fn roots_and_paths_agree_with_the_definition() {
        let kernel = Kernel::detect();
        for count in 1..70 {
            let leaves = leaves(count);
            let expected = naive(&leaves);
            assert_eq!(root(kernel, Domain::PairNode, &mut leaves.clone()), expected);
            let tree = Tree::new(kernel, Domain::PairNode, leaves.clone());
            assert_eq!(tree.root(), expected);
            for (index, leaf) in leaves.iter().enumerate() {
                let path = tree.path(index);
                assert_eq!(root_of_path(Domain::PairNode, *leaf, index, count, &path), Some(expected));
                assert!(path.len() <= path_length_max(count));
                let long: Vec<Hash> = path.iter().copied().chain([[0; 32]]).collect();
                assert_eq!(root_of_path(Domain::PairNode, *leaf, index, count, &long), None);
                let other = (index + 1) % count;
                assert!(count == 1 || root_of_path(Domain::PairNode, *leaf, other, count, &path) != Some(expected));
            }
        }
    }
}
