//! I1: no two honest nodes decide different values at one height, and their states are equal.
//!
//! The state is hashed here entry by entry after every commit, whatever root the block claims: a root in a header says
//! what a node computed, this says what its disk has.

use super::Violation;
use crate::node::Node;
use floe_ledger::MemoryState;
use floe_machines::coordinator::Commit;
use floe_types::Height;
use floe_types::laws::Law;
use std::collections::BTreeMap;

/// What the first honest node to reach a height had there.
#[derive(Debug)]
struct First {
    node: usize,
    block: [u8; 32],
    state: [u8; 32],
}

/// The checker.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    heights: BTreeMap<Height, First>,
}

fn digest(state: &MemoryState) -> [u8; 32] {
    let mut bytes = Vec::new();
    for (key, value) in state.entries() {
        bytes.extend_from_slice(&(key.len() as u32).to_be_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(&(value.len() as u32).to_be_bytes());
        bytes.extend_from_slice(value);
    }
    *blake3::hash(&bytes).as_bytes()
}

impl Agreement {
    pub(super) fn committed(&mut self, node: &Node, commit: &Commit) -> Result<(), Violation> {
        let own =
            First { node: node.who, block: *blake3::hash(&commit.block).as_bytes(), state: digest(&node.disk.state) };
        let height = commit.height;
        let Some(first) = self.heights.get(&height) else {
            self.heights.insert(height, own);
            return Ok(());
        };
        let (one, two) = (first.node, own.node);
        let broken =
            |what| Err(Violation::of(Law::I1, format!("nodes {one} and {two} have other {what} at height {height}")));
        if first.block != own.block {
            return broken("blocks");
        }
        if first.state != own.state {
            return broken("states");
        }
        Ok(())
    }
}
