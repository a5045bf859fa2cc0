//! What is known of each row of a boundary, found for all rows of a set at once.
//!
//! A boundary asks this of every row of thousands of classes, a thousand rows each. Sets are a few long runs, so that a run is
//! looked up and the rest follows.

use super::{RowId, RowSet};

/// Something about each of some rows.
#[derive(Clone, Debug)]
pub(crate) struct ByRow<T>(Vec<(RowId, T)>);

impl<T> FromIterator<(RowId, T)> for ByRow<T> {
    fn from_iter<I: IntoIterator<Item = (RowId, T)>>(rows: I) -> ByRow<T> {
        let mut rows: Vec<(RowId, T)> = rows.into_iter().collect();
        rows.sort_by_key(|(id, _)| *id);
        ByRow(rows)
    }
}

impl<T> ByRow<T> {
    /// All of it, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RowId, &T)> {
        self.0.iter().map(|(id, known)| (*id, known))
    }

    /// Of the rows in `set`, those that are known, by number.
    pub(crate) fn within<'a>(&'a self, set: &'a RowSet) -> impl Iterator<Item = (RowId, &'a T)> {
        set.runs().iter().flat_map(|(first, last)| {
            let from = self.0.partition_point(|(id, _)| id.0 < *first);
            let rest = self.0.get(from..).unwrap_or_default();
            rest.iter().take_while(|(id, _)| id.0 <= *last).map(|(id, known)| (*id, known))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    proptest::proptest! {
        #[test]
        fn what_is_known_of_a_set_is_what_is_known_of_each_row_in_it(known: BTreeMap<u8, u8>, set: BTreeSet<u8>) {
            let row = |id: &u8| RowId(u32::from(*id) % 60);
            let known: BTreeMap<RowId, u8> = known.iter().map(|(id, what)| (row(id), *what)).collect();
            let set: BTreeSet<RowId> = set.iter().map(row).collect();
            let slow: Vec<(RowId, u8)> =
                known.iter().filter(|(id, _)| set.contains(id)).map(|(id, what)| (*id, *what)).collect();
            let rows: RowSet = set.into_iter().collect();
            let fast: ByRow<u8> = known.into_iter().collect();
            proptest::prop_assert_eq!(fast.within(&rows).map(|(id, what)| (id, *what)).collect::<Vec<_>>(), slow);
        }
    }
}
