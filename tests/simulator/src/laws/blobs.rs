//! I2 and I4: what was acknowledged reads back identical; no reader ever gets other bytes.
//!
//! The sources that clients gave are kept here, whatever nodes say about them. That a read must *succeed* is asked for in
//! the calm only, when the faults are within the bound; that it must not give wrong bytes is asked for always.

use super::Violation;
use crate::node::Node;
use floe_machines::custody::lost_pairs;
use floe_machines::fragments::FragmentStore;
use floe_types::laws::Law;
use floe_types::{BlobId, Epoch};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug)]
struct Acknowledged {
    source: Arc<Vec<u8>>,
    last: Epoch,
}

/// The checker.
#[derive(Debug, Default)]
pub(super) struct Blobs {
    acknowledged: BTreeMap<BlobId, Acknowledged>,
}

impl Blobs {
    pub(super) fn acknowledged(&mut self, blob: BlobId, source: Arc<Vec<u8>>, last: Epoch) {
        let entry = self.acknowledged.entry(blob).or_insert(Acknowledged { source, last });
        entry.last = entry.last.max(last);
    }

    pub(super) fn all(&self) -> Vec<(BlobId, Epoch)> {
        self.acknowledged.iter().map(|(blob, kept)| (*blob, kept.last)).collect()
    }

    pub(super) fn read(&self, who: usize, blob: &BlobId, bytes: &[u8]) -> Result<(), Violation> {
        match self.acknowledged.get(blob) {
            Some(kept) if kept.source.as_slice() != bytes => {
                let (found, length) = (bytes.len(), kept.source.len());
                let words =
                    format!("a reader at node {who} got {found} bytes of blob {blob} that are not its {length}");
                Err(Violation::of(Law::I4, words))
            }
            _ => Ok(()),
        }
    }
}

/// Whether everything the node confirmed is on its disk: what is synced stays.
pub(super) fn kept_what_was_confirmed(node: &Node) -> Result<(), Violation> {
    if !node.stores() {
        return Ok(());
    }
    let confirmations = node.disk.fragments.confirmations_after(None, usize::MAX).unwrap_or_default();
    for confirmation in confirmations {
        let lost = lost_pairs(&confirmation, &node.disk.fragments.of_blob(&confirmation.blob));
        if !lost.is_empty() {
            let words = format!(
                "node {} confirmed registration {} and has lost {} fragments of it",
                node.who,
                confirmation.registration,
                lost.len()
            );
            return Err(Violation::of(Law::I2, words));
        }
    }
    Ok(())
}
