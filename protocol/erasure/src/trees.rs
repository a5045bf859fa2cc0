//! The roots of many Merkle trees of one shape at once, level by level across trees, so that small levels too fill
//! the lanes of the hash.
//!
//! Shapes are those of [`crate::merkle`]; tests compare with it.

use crate::hash::{Domain, Hash, Kernel};

/// The roots of trees whose leaves lie end to end, `leaves` of each. Leaves are used up as memory.
pub(crate) fn roots_end_to_end(kernel: Kernel, domain: Domain, hashes: &mut [Hash], leaves: usize) -> Vec<Hash> {
    let trees = hashes.len() / leaves;
    let mut count = leaves;
    let mut pairs: Vec<[u8; 64]> = Vec::with_capacity(trees * (leaves / 2));
    let mut nodes: Vec<Hash> = Vec::new();
    while count > 1 {
        pairs.clear();
        for level in hashes[..trees * count].chunks(count) {
            pairs.extend(level.as_chunks::<2>().0.iter().map(|pair| {
                let mut node = [0; 64];
                node.copy_from_slice(pair.as_flattened());
                node
            }));
        }
        nodes.resize(pairs.len(), [0; 32]);
        kernel.node_pairs(domain, &pairs, &mut nodes);
        let (half, next) = (count / 2, count.div_ceil(2));
        for tree in 0..trees {
            // The odd last one moves up; where it goes, nothing is still to be read.
            let odd = hashes[tree * count + count - 1];
            hashes[tree * next..tree * next + half].copy_from_slice(&nodes[tree * half..(tree + 1) * half]);
            if next > half {
                hashes[tree * next + half] = odd;
            }
        }
        count = next;
    }
    hashes[..trees].to_vec()
}

/// The roots of trees that stand side by side: leaf `i` of tree `t` is `rows[i][t]`. There is a row, and all are as
/// long.
pub(crate) fn roots_side_by_side(kernel: Kernel, domain: Domain, rows: &[&[Hash]]) -> Vec<Hash> {
    let width = rows[0].len();
    let join = |rows: &[&[Hash]]| -> Vec<Hash> {
        let mut level = Vec::with_capacity(rows.len().div_ceil(2) * width);
        for pair in rows.chunks(2) {
            let start = level.len();
            level.extend_from_slice(pair[0]);
            if let [_, right] = pair {
                kernel.nodes(domain, &mut level[start..], right);
            }
        }
        level
    };
    let mut level = join(rows);
    while level.len() > width {
        let rows: Vec<&[Hash]> = level.chunks(width).collect();
        level = join(&rows);
    }
    level
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle;

    #[test]
    fn many_trees_are_each_tree() {
        let kernel = Kernel::detect();
        for (trees, leaves) in [(1, 1), (3, 1), (5, 2), (17, 9), (1, 16), (33, 3), (2, 23), (40, 67)] {
            let hash = |tree: usize, leaf: usize| *blake3::hash(&[tree as u8, leaf as u8]).as_bytes();
            let tree = |tree: usize| (0..leaves).map(|leaf| hash(tree, leaf)).collect::<Vec<_>>();
            let expected: Vec<Hash> =
                (0..trees).map(|i| merkle::root(kernel, Domain::SymbolNode, &mut tree(i))).collect();
            let mut end_to_end: Vec<Hash> = (0..trees).flat_map(tree).collect();
            assert_eq!(roots_end_to_end(kernel, Domain::SymbolNode, &mut end_to_end, leaves), expected);
            let rows: Vec<Vec<Hash>> = (0..leaves).map(|leaf| (0..trees).map(|i| hash(i, leaf)).collect()).collect();
            let rows: Vec<&[Hash]> = rows.iter().map(Vec::as_slice).collect();
            assert_eq!(roots_side_by_side(kernel, Domain::SymbolNode, &rows), expected);
        }
    }
}
