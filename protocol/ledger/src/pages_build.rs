//! Builds a map's pages from its leaves in the order of their keys, each page once: what [`super::flush`] would leave.
//!
//! The right edge of the tree stands on a stack: pages that wait for their slots further right. Where a new key first differs
//! from the last one, everything that stands deeper is complete.

use super::{Page, Slot, address, nibble};
use crate::merkle::{EMPTY, Leaf, Map, Root};
use crate::state::StateError;
use crate::tables::Table;
use floe_types::codec;

/// Takes entries of the state.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(Vec<u8>, Vec<u8>) -> Result<(), StateError>;

/// A map on its way.
pub(crate) struct Builder {
    map: Map,
    /// Pages by depth, the deepest last.
    waiting: Vec<(usize, Page)>,
    newest: Option<Leaf>,
}

impl Builder {
    /// A map without leaves.
    pub(crate) fn new(map: Map) -> Builder {
        Builder { map, waiting: Vec::new(), newest: None }
    }

    /// Adds a leaf. Its key is above all before and as long.
    pub(crate) fn add(&mut self, leaf: Leaf, put: Sink<'_>) -> Result<(), StateError> {
        if let Some(before) = self.newest.take() {
            let fork = (0..leaf.key.len() * 2).find(|at| nibble(&before.key, *at) != nibble(&leaf.key, *at));
            let fork = fork.ok_or_else(|| Table::Merkle.damaged("a map has a key twice"))?;
            let slot = self.close(&before, Some(fork), put)?;
            if self.waiting.last().is_none_or(|(depth, _)| *depth < fork) {
                self.waiting.push((fork, Page::default()));
            }
            if let Some((depth, page)) = self.waiting.last_mut() {
                page.set(nibble(&before.key, *depth), slot);
            }
        }
        self.newest = Some(leaf);
        Ok(())
    }

    /// Completes the pages that end with `leaf` and stand deeper than `fork`; all of them without one. Gives what is above.
    fn close(&mut self, leaf: &Leaf, fork: Option<usize>, put: Sink<'_>) -> Result<Slot, StateError> {
        let mut slot = Slot::of_leaf(self.map, leaf.hash(), leaf.weight, &leaf.key);
        while let Some((depth, mut page)) = self.waiting.pop_if(|(depth, _)| fork.is_none_or(|fork| *depth > fork)) {
            page.set(nibble(&leaf.key, depth), slot);
            put(address(self.map, depth, &leaf.key), page.encode())?;
            let above = self.waiting.last().map(|(depth, _)| *depth).max(fork);
            let first = above.map_or(0, |above| above + 1);
            let (hash, weight) = page.summary(depth, 0, 0).unwrap_or_default();
            slot = Slot::Page(hash, weight, (first..depth).map(|at| nibble(&leaf.key, at)).collect());
        }
        Ok(slot)
    }

    /// Ends the map and gives its root.
    pub(crate) fn finish(mut self, put: Sink<'_>) -> Result<Root, StateError> {
        let Some(last) = self.newest.take() else { return Ok(EMPTY) };
        let top = self.close(&last, None, put)?;
        put(Table::MerkleRoots.key(&[&[self.map as u8]]), codec::encode(&top))?;
        Ok(top.summary().0)
    }
}
