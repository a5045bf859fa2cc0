//! What is on disk: every column, its keys and its values. A change here is a change of [`FORMAT`].
//!
//! Numbers in keys are big-endian, so that the order of keys is the order of numbers. Values marked *codec* are the
//! canonical encoding of [`floe_types::codec`]; the rest are the bytes given, or as drawn here.
//!
//! | column | key | value | written |
//! | --- | --- | --- | --- |
//! | `meta` | a name of `meta` below | fixed bytes, see there | at opening, with each block |
//! | `state` | the ledger's | the ledger's | with each block, durable with the next synced write |
//! | `blocks` | height 8 | block length 4, block, certificate | the same |
//! | `journal` | height 8, index 4 | one entry of consensus | synced before a vote leaves |
//! | `fragment_data` | group 8, blob 32, pair 2, stage 8, chunk 4 | up to 256 KiB of fragment, checksum 16 | unsynced |
//! | `fragments` | group 8, blob 32, pair 2 | codec `StoredFragment` | by `keep`, synced |
//! | `fragment_index` | blob 32, pair 2, group 8 | bytes of the fragment 8 | with `fragments` |
//! | `staging` | stage 8 | codec `StagedMarker` | unsynced, before the first chunk |
//! | `confirmations` | `r`, registration 8 | codec `ConfirmationRecord` | synced before a signature leaves |
//! | | `g`, group 8, registration 8 | nothing | with the above |
//! | `peers` | node 32 | the peer book's | unsynced: a hint |
//! | `uploads` | the gateway's, at most 64 bytes | the gateway's | synced |
//! | `evidence` | height 8, index 4 | one member's two signed messages | unsynced, before the block of the height |
//! | `history` | `e`, the ledger's key of an account's touch | the ledger's | with each block |
//! | | `h`, height 8 | codec: the keys that the block added above, without the `e` | the same |
//! | `headers` | height 8 | codec `Sealed`: header and certificate of a boundary block | with the block, for good |
//! | `snapshots` | `o`, height 8, piece 5 | a piece of a snapshot that is offered | unsynced, the outline last |
//! | | `r`, piece 5 | a piece of the one that is arriving | unsynced |
//!
//! A *piece* is `o` for the outline, `p` and its number for a part, `z` and its number for a chunk.
//!
//! A *stage* is a number that no two arrivals of this store share, not even across restarts: what arrives a second time
//! never writes over what is kept. The index carries the group last, so that the copy of the latest group is the last of
//! its range, and the bytes, so that opening adds up every group from this small column alone.

use floe_machines::fragments::{FragmentKey, FragmentRecord};
use floe_types::{BlobId, Epoch, Height, PairIndex, RegistrationNumber};
use serde::{Deserialize, Serialize};

/// The version of everything this file says. A store of a newer one is refused.
pub const FORMAT: u32 = 1;

/// Names in `meta`.
pub(crate) mod meta {
    /// [`super::FORMAT`] of the store, 4 bytes.
    pub const FORMAT: &[u8] = b"format";
    /// The network whose ledger this is, 32 bytes.
    pub const NETWORK: &[u8] = b"network";
    /// The storage node whose store this is, 32 bytes.
    pub const NODE: &[u8] = b"node";
    /// Times the store was opened, 8 bytes: the upper half of every stage.
    pub const OPENINGS: &[u8] = b"openings";
    /// Height of the last block committed, 8 bytes; 0 once there is a genesis, absent before.
    pub const LAST_HEIGHT: &[u8] = b"last height";
    /// Height of the snapshot that the store began with, 8 bytes: there is no block at it. Absent without one.
    pub const BASE_HEIGHT: &[u8] = b"base height";
    /// The oldest height of which the block is kept, 8 bytes; absent for 1.
    pub const OLDEST: &[u8] = b"oldest height";
    /// What this node is to report of an epoch: the challenger's, at most [`crate::REPORT_BYTES_MAX`]. Absent before the first.
    pub const REPORT: &[u8] = b"report";
    /// Votes may have been cast that this store does not remember: the first height of which all is remembered, 8 bytes, or
    /// nothing while that is not known. Absent when its memory is whole.
    pub const MEMORY_LOST: &[u8] = b"memory lost";
    /// Nothing: the snapshot that has arrived is being put in place of the state. Absent otherwise.
    pub const RESTORING: &[u8] = b"restoring";
}

/// The columns of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Column {
    /// Whose store this is, and how far it has come.
    Meta,
    /// The ledger's state after the last block.
    State,
    /// Blocks with their certificates.
    Blocks,
    /// What consensus must remember of heights not yet decided.
    Journal,
    /// The bytes of fragments.
    FragmentData,
    /// The records of kept fragments.
    Fragments,
    /// Which groups keep a fragment of a blob and pair.
    FragmentIndex,
    /// Fragments on their way in.
    Staging,
    /// What was signed for.
    Confirmations,
    /// Where other nodes were last seen.
    Peers,
    /// What the gateway must go on sending after a restart.
    Uploads,
    /// Members caught signing two things.
    Evidence,
    /// Which blocks touched an account, and how.
    History,
    /// Headers of boundary blocks with their certificates.
    Headers,
    /// Pieces of snapshots.
    Snapshots,
}

impl Column {
    /// Every column.
    pub const ALL: [Column; 15] = [
        Column::Meta,
        Column::State,
        Column::Blocks,
        Column::Journal,
        Column::FragmentData,
        Column::Fragments,
        Column::FragmentIndex,
        Column::Staging,
        Column::Confirmations,
        Column::Peers,
        Column::Uploads,
        Column::Evidence,
        Column::History,
        Column::Headers,
        Column::Snapshots,
    ];

    /// Its name in the database and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Column::Meta => "meta",
            Column::State => "state",
            Column::Blocks => "blocks",
            Column::Journal => "journal",
            Column::FragmentData => "fragment_data",
            Column::Fragments => "fragments",
            Column::FragmentIndex => "fragment_index",
            Column::Staging => "staging",
            Column::Confirmations => "confirmations",
            Column::Peers => "peers",
            Column::Uploads => "uploads",
            Column::Evidence => "evidence",
            Column::History => "history",
            Column::Headers => "headers",
            Column::Snapshots => "snapshots",
        }
    }
}

/// A value of `fragments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredFragment {
    /// What the holder knows of it.
    pub record: FragmentRecord,
    /// Under which stage its chunks lie.
    pub stage: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// A value of `staging`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StagedMarker {
    /// What is arriving.
    pub key: FragmentKey,
    /// Its announced length in bytes.
    pub bytes: u64,
}

/// Joins parts into one key of fixed length.
fn joined<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut key = [0u8; N];
    let mut at = 0;
    for part in parts {
        key[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    debug_assert_eq!(at, N, "a key has no gap");
    key
}

/// A number of eight big-endian bytes: a height, a stage, a count.
pub(crate) fn number(value: u64) -> [u8; 8] {
    value.to_be_bytes()
}

/// Reads back what [`number`] wrote; `None` when there are not eight bytes.
pub(crate) fn number_of(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// A piece of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// What it is of.
    Outline,
    /// Sums.
    Part(u32),
    /// Entries.
    Chunk(u32),
}

/// Whose snapshot a piece is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Cut here, after the block of this height.
    Offered(Height),
    /// On its way in.
    Arriving,
}

fn pieces_of(whose: Whose) -> Vec<u8> {
    match whose {
        Whose::Offered(height) => [b"o".as_slice(), &number(height.0)].concat(),
        Whose::Arriving => b"r".to_vec(),
    }
}

/// A key of `snapshots`.
pub(crate) fn piece_key(whose: Whose, piece: Piece) -> Vec<u8> {
    let (kind, index) = match piece {
        Piece::Outline => (b'o', 0),
        Piece::Part(index) => (b'p', index),
        // Last, so that the chunks of a snapshot are the end of its range.
        Piece::Chunk(index) => (b'z', index),
    };
    let mut key = pieces_of(whose);
    key.push(kind);
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// The keys of `snapshots` of one snapshot: from the first, below the second.
pub(crate) fn piece_range(whose: Whose) -> (Vec<u8>, Vec<u8>) {
    let from = pieces_of(whose);
    let mut to = from.clone();
    to.push(255);
    (from, to)
}

/// A key of `journal`.
pub(crate) fn journal_key(height: Height, index: u32) -> [u8; 12] {
    joined(&[&number(height.0), &index.to_be_bytes()])
}

/// The height of a key of `journal`; `None` when it is none.
pub(crate) fn journal_height(key: &[u8]) -> Option<Height> {
    if key.len() != 12 {
        return None;
    }
    number_of(key.get(..8)?).map(Height)
}

/// A key of `fragments`.
pub(crate) fn fragment_key(key: &FragmentKey) -> [u8; 42] {
    joined(&[&number(key.group.0), &key.blob.0, &key.pair.0.to_be_bytes()])
}

/// A key of `fragment_data`.
pub(crate) fn chunk_key(key: &FragmentKey, stage: u64, chunk: u32) -> [u8; 54] {
    joined(&[&fragment_key(key), &number(stage), &chunk.to_be_bytes()])
}

/// A key of `fragment_index`.
pub(crate) fn index_key(key: &FragmentKey) -> [u8; 42] {
    joined(&[&key.blob.0, &key.pair.0.to_be_bytes(), &number(key.group.0)])
}

/// The group of a key of `fragment_index`; `None` when it is none.
pub(crate) fn index_group(key: &[u8]) -> Option<Epoch> {
    if key.len() != 42 {
        return None;
    }
    number_of(key.get(34..)?).map(Epoch)
}

/// The keys of `fragment_index` of one blob and pair, from first to last, both included.
pub(crate) fn index_range(blob: &BlobId, pair: PairIndex) -> ([u8; 42], [u8; 42]) {
    let of = |group| index_key(&FragmentKey { group, blob: *blob, pair });
    (of(Epoch(0)), of(Epoch(u64::MAX)))
}

/// A key of `confirmations` that holds a record.
pub(crate) fn confirmation_key(registration: RegistrationNumber) -> [u8; 9] {
    joined(&[b"r", &number(registration.0)])
}

/// A key of `confirmations` that says which registrations belong to a group.
pub(crate) fn confirmation_group_key(group: Epoch, registration: RegistrationNumber) -> [u8; 17] {
    joined(&[b"g", &number(group.0), &number(registration.0)])
}

/// The group and registration of a key made by [`confirmation_group_key`]; `None` when it is none.
pub(crate) fn confirmation_group_of(key: &[u8]) -> Option<(Epoch, RegistrationNumber)> {
    if key.len() != 17 || key.first() != Some(&b'g') {
        return None;
    }
    Some((Epoch(number_of(key.get(1..9)?)?), RegistrationNumber(number_of(key.get(9..)?)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(group: u64, blob: u8, pair: u16) -> FragmentKey {
        FragmentKey { group: Epoch(group), blob: BlobId([blob; 32]), pair: PairIndex(pair) }
    }

    #[test]
    fn names_are_unique_and_none_is_forgotten() {
        let names: std::collections::BTreeSet<_> = Column::ALL.iter().map(|column| column.name()).collect();
        assert_eq!(names.len(), Column::ALL.len());
    }

    #[test]
    fn keys_sort_as_their_numbers_do() {
        assert!(fragment_key(&key(1, 255, 9)) < fragment_key(&key(2, 0, 0)));
        assert!(fragment_key(&key(255, 0, 0)) < fragment_key(&key(256, 0, 0)));
        assert!(chunk_key(&key(1, 1, 1), 1, 255) < chunk_key(&key(1, 1, 1), 1, 256));
        assert!(chunk_key(&key(1, 1, 1), 1, u32::MAX) < chunk_key(&key(1, 1, 1), 2, 0));
        assert!(journal_key(Height(1), u32::MAX) < journal_key(Height(2), 0));
    }

    #[test]
    fn what_a_key_was_made_of_can_be_read_back() {
        assert_eq!(index_group(&index_key(&key(77, 3, 4))), Some(Epoch(77)));
        assert_eq!(journal_height(&journal_key(Height(9), 3)), Some(Height(9)));
        let group_key = confirmation_group_key(Epoch(5), RegistrationNumber(8));
        assert_eq!(confirmation_group_of(&group_key), Some((Epoch(5), RegistrationNumber(8))));
        assert_eq!(confirmation_group_of(&confirmation_key(RegistrationNumber(8))), None);
    }
}
