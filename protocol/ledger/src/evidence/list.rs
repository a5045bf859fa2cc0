//! Proofs that a list whose root is known holds an item at a place ([`crate::merkle::list_root`]).

use crate::merkle::{Root, list_leaf, list_node, list_top};
use serde::{Deserialize, Serialize};

/// The most steps of a path: a list has fewer than 2^64 items.
const STEPS_MAX: usize = 64;

/// Shows the item at a place of a list. The place and the length are part of what is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListProof {
    /// The place, from 0.
    pub place: u64,
    /// How many items the list has.
    pub count: u64,
    /// The other sides, from the item up.
    pub siblings: Vec<Root>,
}

/// A list proof that shows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListProofError {
    /// The place is beyond the list, or the path is not as long as the list's shape asks.
    #[error("the path does not fit place {place} of {count}")]
    Malformed {
        /// The place.
        place: u64,
        /// The length.
        count: u64,
    },
    /// Another root follows from it.
    #[error("the path leads to another root")]
    OtherRoot,
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// On which side the place lies at each step, from the top down; `None` beyond the list.
fn sides(mut place: u64, mut count: u64) -> Option<Vec<Side>> {
    if place >= count {
        return None;
    }
    let mut sides = Vec::new();
    while count > 1 {
        // The largest power of two below the count.
        let left = 1u64 << (63 - (count - 1).leading_zeros());
        if place < left {
            sides.push(Side::Left);
            count = left;
        } else {
            sides.push(Side::Right);
            (place, count) = (place - left, count - left);
        }
    }
    Some(sides)
}

impl ListProof {
    /// Shows the item at `place`; `None` beyond the list.
    #[must_use]
    pub fn of<T: AsRef<[u8]>>(items: &[T], place: u64) -> Option<ListProof> {
        let count = items.len() as u64;
        let path = sides(place, count)?;
        let hashes: Vec<_> = items.iter().map(|item| list_leaf(item.as_ref())).collect();
        let mut rest = hashes.as_slice();
        let mut siblings = Vec::with_capacity(path.len());
        for side in path {
            let (left, right) = rest.split_at_checked(rest.len().next_power_of_two() / 2)?;
            let (next, other) = match side {
                Side::Left => (left, right),
                Side::Right => (right, left),
            };
            siblings.push(Root(top(other)));
            rest = next;
        }
        siblings.reverse();
        Some(ListProof { place, count, siblings })
    }

    /// Checks that the list with root `root` holds `item` at [`Self::place`].
    ///
    /// # Errors
    /// [`ListProofError`] when this does not show it.
    pub fn verify(&self, root: &Root, item: &[u8]) -> Result<(), ListProofError> {
        let (place, count) = (self.place, self.count);
        let path = sides(place, count).filter(|path| path.len() == self.siblings.len() && path.len() <= STEPS_MAX);
        let path = path.ok_or(ListProofError::Malformed { place, count })?;
        let steps = path.iter().rev().zip(&self.siblings);
        let below = steps.fold(list_leaf(item), |below, (side, sibling)| match side {
            Side::Left => list_node(&below, &sibling.0),
            Side::Right => list_node(&sibling.0, &below),
        });
        if list_top(count, &below) == *root { Ok(()) } else { Err(ListProofError::OtherRoot) }
    }
}

/// The topmost node above `hashes`, which are not none.
fn top(hashes: &[[u8; 32]]) -> [u8; 32] {
    match hashes {
        [] => [0; 32],
        [only] => *only,
        _ => {
            let (left, right) = hashes.split_at(hashes.len().next_power_of_two() / 2);
            list_node(&top(left), &top(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::list_root;

    fn items(count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|at| vec![at as u8; at % 5]).collect()
    }

    #[test]
    fn every_item_of_every_short_list_is_shown_and_no_other() {
        for count in 1..40 {
            let items = items(count);
            let root = list_root(&items);
            for place in 0..count {
                let proof = ListProof::of(&items, place as u64).unwrap();
                assert_eq!(proof.verify(&root, &items[place]), Ok(()));
                assert_eq!(proof.verify(&root, b"another"), Err(ListProofError::OtherRoot));
                for wrong in [place as u64 + 1, count as u64, u64::MAX] {
                    let moved = ListProof { place: wrong, ..proof.clone() };
                    assert!(moved.verify(&root, &items[place]).is_err(), "{place} shown at {wrong} of {count}");
                }
                for wrong in [0, count as u64 + 1, u64::MAX] {
                    let other = ListProof { count: wrong, ..proof.clone() };
                    assert!(other.verify(&root, &items[place]).is_err(), "{count} passed as {wrong}");
                }
            }
            assert_eq!(ListProof::of(&items, count as u64), None);
        }
    }

    #[test]
    fn a_path_that_is_longer_or_shorter_or_touched_is_refused() {
        let items = items(21);
        let root = list_root(&items);
        let proof = ListProof::of(&items, 13).unwrap();
        let mut longer = proof.clone();
        longer.siblings.push(Root([0; 32]));
        let mut shorter = proof.clone();
        shorter.siblings.pop();
        for wrong in [longer, shorter] {
            assert!(matches!(wrong.verify(&root, &items[13]), Err(ListProofError::Malformed { .. })));
        }
        for at in 0..proof.siblings.len() {
            let mut touched = proof.clone();
            touched.siblings[at].0[7] ^= 1;
            assert_eq!(touched.verify(&root, &items[13]), Err(ListProofError::OtherRoot));
        }
    }
}
