//! The peer book: whom we met where, and when last. It is what makes a restart independent of bootstrap peers.
//!
//! Bounded in peers and in addresses; the peer seen longest ago goes first. Where it is kept is for the store; it is
//! read once at the start and written, whole, by a thread of its own, so that a slow disk delays no vote.

use crate::config::BookLimits;
use floe_types::NodeId;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// One peer of the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRecord {
    /// Who.
    pub node: NodeId,
    /// Where, as multiaddresses without the peer id; the newest first, at most [`BookLimits::addresses_max`].
    pub addresses: Vec<String>,
    /// When a connection to it was last open, in unix milliseconds; 0 when others told us of it.
    pub last_seen: u64,
}

/// Where the peer book is kept. Called from the network's own threads, never concurrently.
pub trait PeerBookStore: Send {
    /// All records; an empty book is an empty list.
    ///
    /// # Errors
    /// When the book is there and cannot be read.
    fn load(&mut self) -> io::Result<Vec<PeerRecord>>;

    /// Replaces the whole book.
    ///
    /// # Errors
    /// When the old book is still what is kept.
    fn save(&mut self, records: &[PeerRecord]) -> io::Result<()>;
}

/// A peer book in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryPeerBook {
    records: Arc<Mutex<Vec<PeerRecord>>>,
}

impl MemoryPeerBook {
    /// What was saved last.
    #[must_use]
    pub fn records(&self) -> Vec<PeerRecord> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl PeerBookStore for MemoryPeerBook {
    fn load(&mut self) -> io::Result<Vec<PeerRecord>> {
        Ok(self.records())
    }

    fn save(&mut self, records: &[PeerRecord]) -> io::Result<()> {
        *self.records.lock().unwrap_or_else(PoisonError::into_inner) = records.to_vec();
        Ok(())
    }
}

/// What the book knows of one peer.
#[derive(Debug, Clone, Default)]
struct Entry {
    addresses: Vec<String>,
    last_seen: u64,
}

/// The book in memory, with its bounds.
#[derive(Debug)]
pub(crate) struct Book {
    limits: BookLimits,
    own: NodeId,
    entries: BTreeMap<NodeId, Entry>,
    changed: Changed,
}

/// Whether there is something to save.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changed {
    No,
    Yes,
}

impl Book {
    /// A book of the given records, cut to its bounds. Our own record is left out.
    pub(crate) fn new(own: NodeId, limits: BookLimits, records: Vec<PeerRecord>) -> Self {
        let mut book = Self { limits, own, entries: BTreeMap::new(), changed: Changed::No };
        for record in records {
            book.learn(record.node, record.addresses);
            book.seen(record.node, record.last_seen);
        }
        book.changed = Changed::No;
        book
    }

    /// Adds addresses of a peer, given newest first.
    pub(crate) fn learn(&mut self, node: NodeId, addresses: Vec<String>) {
        if node == self.own || addresses.is_empty() {
            return;
        }
        let entry = self.entries.entry(node).or_default();
        let mut merged: Vec<String> = Vec::new();
        for address in addresses.into_iter().chain(entry.addresses.iter().cloned()) {
            if merged.len() < self.limits.addresses_max && !merged.contains(&address) {
                merged.push(address);
            }
        }
        if merged != entry.addresses {
            entry.addresses = merged;
            self.changed = Changed::Yes;
        }
        self.shrink(node);
    }

    /// A connection to this peer was open at this time.
    pub(crate) fn seen(&mut self, node: NodeId, now: u64) {
        if let Some(entry) = self.entries.get_mut(&node)
            && entry.last_seen < now
        {
            entry.last_seen = now;
            self.changed = Changed::Yes;
        }
    }

    /// Forgets a peer.
    pub(crate) fn forget(&mut self, node: &NodeId) {
        if self.entries.remove(node).is_some() {
            self.changed = Changed::Yes;
        }
    }

    /// Where a peer was met.
    pub(crate) fn addresses(&self, node: &NodeId) -> &[String] {
        self.entries.get(node).map_or(&[], |entry| &entry.addresses)
    }

    /// All peers, the one seen last first.
    pub(crate) fn by_last_seen(&self) -> Vec<NodeId> {
        let mut nodes: Vec<(u64, NodeId)> = self.entries.iter().map(|(node, entry)| (entry.last_seen, *node)).collect();
        nodes.sort_unstable_by(|a, b| b.cmp(a));
        nodes.into_iter().map(|(_, node)| node).collect()
    }

    /// The records to save, or `None` when nothing changed since the last call.
    pub(crate) fn take_changes(&mut self) -> Option<Vec<PeerRecord>> {
        match std::mem::replace(&mut self.changed, Changed::No) {
            Changed::No => None,
            Changed::Yes => Some(self.records()),
        }
    }

    fn records(&self) -> Vec<PeerRecord> {
        self.entries
            .iter()
            .map(|(node, entry)| PeerRecord {
                node: *node,
                addresses: entry.addresses.clone(),
                last_seen: entry.last_seen,
            })
            .collect()
    }

    /// Keeps the number of peers bounded: the one seen longest ago goes, but not the one just learnt of.
    fn shrink(&mut self, newest: NodeId) {
        while self.entries.len() > self.limits.peers_max {
            let oldest = self
                .entries
                .iter()
                .filter(|(node, _)| **node != newest)
                .min_by_key(|(node, entry)| (entry.last_seen, **node))
                .map(|(node, _)| *node);
            match oldest {
                Some(node) => self.entries.remove(&node),
                None => return,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(seed: u8) -> NodeId {
        NodeId([seed; 32])
    }

    fn book(peers_max: usize) -> Book {
        let limits = BookLimits { peers_max, addresses_max: 2, ..BookLimits::default() };
        Book::new(node(0), limits, Vec::new())
    }

    #[test]
    fn the_peer_seen_longest_ago_is_forgotten_first() {
        let mut book = book(2);
        for (seed, seen) in [(1, 30), (2, 10), (3, 20)] {
            book.learn(node(seed), vec![format!("/ip4/10.0.0.{seed}/tcp/1")]);
            book.seen(node(seed), seen);
        }
        assert_eq!(book.by_last_seen(), vec![node(1), node(3)]);
    }

    #[test]
    fn the_newest_addresses_are_kept() {
        let mut book = book(2);
        book.learn(node(1), vec!["/a".into(), "/b".into()]);
        book.learn(node(1), vec!["/c".into(), "/b".into()]);
        assert_eq!(book.addresses(&node(1)), ["/c".to_owned(), "/b".to_owned()]);
    }

    #[test]
    fn an_unchanged_book_is_not_saved_again() {
        let mut book = book(2);
        book.learn(node(1), vec!["/a".into()]);
        assert_eq!(book.take_changes().map(|records| records.len()), Some(1));
        book.learn(node(1), vec!["/a".into()]);
        assert_eq!(book.take_changes(), None);
    }

    #[test]
    fn the_own_record_is_left_out() {
        let mut book = book(2);
        book.learn(node(0), vec!["/a".into()]);
        assert_eq!(book.take_changes(), None);
    }
}
