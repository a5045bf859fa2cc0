//! Keeps the network's peer book in the store: two crates that do not know each other meet here.

use floe_network::{PeerBookStore, PeerRecord};
use floe_storage::Store;
use floe_types::codec;
use serde::{Deserialize, Serialize};
use std::io;

/// The longest entry in bytes: eight addresses of 256 characters with room to spare.
const ENTRY_BYTES_MAX: usize = 16 << 10;

#[derive(Serialize, Deserialize)]
struct Entry {
    addresses: Vec<String>,
    last_seen: u64,
}

/// The peer book in the store's own column.
pub struct StoredPeerBook(pub Store);

impl PeerBookStore for StoredPeerBook {
    fn load(&mut self) -> io::Result<Vec<PeerRecord>> {
        let entries = self.0.load_peers().map_err(io::Error::other)?;
        // An entry of another version is forgotten, not an error: members come from the ledger.
        let known = entries.into_iter().filter_map(|(node, bytes)| {
            let Entry { addresses, last_seen } = codec::decode(&bytes, ENTRY_BYTES_MAX).ok()?;
            Some(PeerRecord { node, addresses, last_seen })
        });
        Ok(known.collect())
    }

    fn save(&mut self, records: &[PeerRecord]) -> io::Result<()> {
        let entry = |record: &PeerRecord| {
            let entry = Entry { addresses: record.addresses.clone(), last_seen: record.last_seen };
            (record.node, codec::encode(&entry))
        };
        let entries: Vec<_> = records.iter().map(entry).collect();
        self.0.save_peers(&entries).map_err(io::Error::other)
    }
}
