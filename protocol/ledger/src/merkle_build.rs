//! Builds a map from its leaves in the order of their keys, each node once: what putting them one by one would leave.
//!
//! The right edge of the tree stands on a stack: left sides that wait, each with the split above it, for their right side to
//! end. Where a new key first differs from the last one, everything that splits further down is complete.

use super::{EMPTY, Leaf, Link, Map, Node, Root, bits, first_difference, joined};
use crate::state::StateError;
use crate::tables::Table;
use floe_types::codec;

/// Takes entries of the state.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(Vec<u8>, Vec<u8>) -> Result<(), StateError>;

/// A map on its way.
pub(crate) struct Builder {
    map: Map,
    waiting: Vec<(Link, u16)>,
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
            let split = first_difference(&before.key, &leaf.key, bits(&leaf.key));
            let split = split.ok_or_else(|| Table::Merkle.damaged("a map has a key twice"))?;
            let left = self.close(Link::Leaf(before), Some(split), put)?;
            self.waiting.push((left, split));
        }
        self.newest = Some(leaf);
        Ok(())
    }

    /// Joins what ends with `right` and splits beyond `above`; all of it without one.
    fn close(&mut self, mut right: Link, above: Option<u16>, put: Sink<'_>) -> Result<Link, StateError> {
        while let Some((left, split)) = self.waiting.pop_if(|(_, split)| above.is_none_or(|above| *split > above)) {
            let children = Node { left, right };
            let (place, link) = joined(self.map, split, &children);
            put(place, codec::encode(&children))?;
            right = link;
        }
        Ok(right)
    }

    /// Ends the map and gives its root.
    pub(crate) fn finish(mut self, put: Sink<'_>) -> Result<Root, StateError> {
        let Some(last) = self.newest.take() else { return Ok(EMPTY) };
        let top = self.close(Link::Leaf(last), None, put)?;
        put(Table::MerkleRoots.key(&[&[self.map as u8]]), codec::encode(&top))?;
        Ok(top.summary().0)
    }
}
