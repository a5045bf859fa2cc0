//! The roots of many Merkle trees of one shape at once, level by level across trees, so that small levels too fill
//! the lanes of the hash.
//!
//! Shapes are those of [`crate::merkle`]; tests compare with it.

use std::ops::Range;

use crate::hash::{Domain, Hash, Kernel};

/// The roots of trees whose leaves are the `columns` of each of the rows of `width` hashes that lie end to end in `rows`.
/// There is a column.
pub(crate) fn roots_of_rows(
    kernel: Kernel,
    domain: Domain,
    (rows, width): (&[Hash], usize),
    columns: Range<usize>,
) -> Vec<Hash> {
    let leaves = || rows.chunks_exact(width).map(|row| &row[columns.clone()]);
    let mut level = join_neighbours(kernel, domain, leaves(), columns.len());
    let mut count = columns.len().div_ceil(2);
    while count > 1 {
        level = join_neighbours(kernel, domain, level.chunks_exact(count), count);
        count = count.div_ceil(2);
    }
    level
}

/// The next level above levels of `count` hashes each, end to end.
fn join_neighbours<'a>(
    kernel: Kernel,
    domain: Domain,
    levels: impl Iterator<Item = &'a [Hash]> + Clone,
    count: usize,
) -> Vec<Hash> {
    let (half, next) = (count / 2, count.div_ceil(2));
    let mut above = vec![[0; 32]; levels.clone().count() * next];
    if next > half {
        // The odd last one moves up.
        levels.clone().zip(above.chunks_exact_mut(next)).for_each(|(level, above)| above[half] = level[count - 1]);
    }
    let (mut place, mut within) = (0, 0);
    kernel.node_pairs(domain, levels.flat_map(|level| level.as_chunks::<2>().0), |node| {
        above[place + within] = *node;
        within += 1;
        if within == half {
            (place, within) = (place + next, 0);
        }
    });
    above
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
            // Each row has something before the leaves and after them.
            let row = |i: usize| [vec![[1; 32]; 3], tree(i), vec![[2; 32]; 2]].concat();
            let end_to_end: Vec<Hash> = (0..trees).flat_map(row).collect();
            let rows = (end_to_end.as_slice(), leaves + 5);
            assert_eq!(roots_of_rows(kernel, Domain::SymbolNode, rows, 3..3 + leaves), expected);
            let rows: Vec<Vec<Hash>> = (0..leaves).map(|leaf| (0..trees).map(|i| hash(i, leaf)).collect()).collect();
            let rows: Vec<&[Hash]> = rows.iter().map(Vec::as_slice).collect();
            assert_eq!(roots_side_by_side(kernel, Domain::SymbolNode, &rows), expected);
        }
    }
}
