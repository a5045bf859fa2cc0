//! Every table of the ledger's state, declared once: its tag, its key, its value and who writes it.
//!
//! A key is the table's tag and then the parts below, numbers big-endian, so that order is the order of numbers. Values
//! are in the one encoding of [`floe_types::codec`].
//!
//! | tag | table | key after the tag | value |
//! | --- | --- | --- | --- |
//! | 1 | `Head` | | [`crate::Head`]; left out of state roots, because it names them |
//! | 2 | `Accounts` | account | [`crate::Account`] |
//! | 3 | `Totals` | | [`crate::Totals`] |
//! | 4 | `Fund` | | rates of the storage fund |
//! | 5 | `FundEnds` | last paid epoch | sum of the rates that end with it |
//! | 6 | `Committee` | | [`floe_types::Committee`] in force |
//! | 7 | `Counters` | | next numbers |
//! | 8 | `Registrations` | number | [`crate::Registration`] |
//! | 9 | `Deadlines` | epoch, number | nothing; uncertified registrations by the epoch they lapse with |
//! | 10 | `Blobs` | blob id | [`crate::BlobRecord`] |
//! | 13 | `Sequence` | sequence number | [`crate::SequenceRecord`] without what its registration says |
//! | 14 | `Expiries` | last paid epoch, sequence number | nothing; defended blobs by the epoch they are forgotten with |
//! | 15 | `Owners` | first half of account, sequence number | nothing |
//! | 16 | `Coverage` | last sequence number of the segment | coverage now, see [`crate::coverage`] |
//! | 17 | `Judged` | likewise | coverage as this epoch is judged by |
//! | 24 | `Classes` | hash of the rows | the rows and what the defended blobs they are judged by weigh |
//! | 18 | `Attested` | index | runs attested in this epoch, judged from the next on, and older ones that wait |
//! | 19 | `Changes` | epoch, index | the coverage that held for a segment before this epoch |
//! | 20 | `Reports` | member | what it reported, in this epoch |
//! | 21 | `Epochs` | epoch | [`crate::EpochRecord`] |
//! | 22 | `Merkle` | map, depth, prefix | a page, see [`crate::pages`]; left out of state roots: it follows from other tables |
//! | 23 | `MerkleRoots` | map | the top of a map; likewise |
//! | 25 | `Beacon` | | [`crate::challenges::Beacon`] of the running epoch |
//! | 26 | `Commits` | member | root of its outcomes, in this epoch |
//! | 27 | `Draw` | | the block that says which answers must be shown, once there is one in this epoch |
//! | 28 | `Attendance` | epoch | [`crate::reports::Attendance`] |
//! | 30 | `Offers` | node | the price it would serve for |
//! | 31 | `Prices` | | [`crate::Prices`] |
//! | 32 | `Load` | | [`crate::Load`]: bytes that one shard is to keep |
//! | 33 | `FundStarts` | epoch | sum of the rates that begin with it |
//! | 34 | `Budgets` | registration | WAL set aside for its renewal |
//! | 35 | `Renewals` | last paid epoch, registration | nothing; registrations with a budget |
//! | 39 | `History` | account, height and place inverted | [`crate::history::Touch`]; beside the state, in no change set and no root |
//! | 36 | `Terms` | sequence number, last paid epoch inverted, registration | nothing; of a life with several registrations |
//! | 60 | `Protocol` | | [`crate::Protocol`]; absent while the first version is in force and none is set |
//! | 61 | `Supports` | node | the latest version it can follow |
//! | 40 | `Rows` | | [`crate::rows::Rows`] that there are |
//! | 41 | `PastRows` | first epoch without it, row | a [`crate::rows::Row`] that ended |
//! | 42 | `Candidates` | node | [`crate::candidates::Candidate`] |
//! | 43 | `Taken` | what it is, its bytes | the candidate whose key or name this is |
//! | 44 | `Unbonding` | epoch, node | stake that goes back with this epoch |
//! | 45 | `NextCommittee` | | [`floe_types::Committee`] chosen for the next term |
//! | 46 | `PastCommittees` | term | [`floe_types::Committee`] of a term that ended |
//! | 47 | `Offences` | vote key | the epoch in which it was punished |
//! | 48 | `Candidacy` | | how many candidates there are |
//! | 49 | `Invalid` | blob id | [`crate::InvalidRecord`] of an inconsistent blob |
//! | 50 | `Lists` | epoch, list, page | leaves of the lists that the epoch's boundary header commits to, see [`crate::evidence`] |
//! | 51 | `Rolls` | first epoch | who votes from then on: [`crate::evidence::TermRecord`]; kept for good |
//! | 70 | `Tickets` | number | a batch of [`crate::repairs::Ticket`]s that share their blobs |
//! | 71 | `Gauges` | node | [`crate::standing::Gauges`] |
//! | 72 | `Climate` | | what the network has seen of departures, and who falls silent together |
//! | 73 | `Claims` | row, node | a [`crate::claims::Claim`]: what the row rebuilt of the node's gaps |
//! | 74 | `Debts` | node | what it owes the reserve |
//! | 52 | `Digest` | | the sum over all entries, see [`crate::digest`]; left out of state roots, because it makes them |

use crate::state::{Entry, Overlay, StateError, StateRead};
use floe_types::codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A table of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Table {
    Head = 1,
    Accounts = 2,
    Totals = 3,
    Fund = 4,
    FundEnds = 5,
    Committee = 6,
    Counters = 7,
    Registrations = 8,
    Deadlines = 9,
    Blobs = 10,
    Sequence = 13,
    Expiries = 14,
    Owners = 15,
    Coverage = 16,
    Judged = 17,
    Attested = 18,
    Changes = 19,
    Reports = 20,
    Epochs = 21,
    Merkle = 22,
    MerkleRoots = 23,
    Classes = 24,
    Beacon = 25,
    Commits = 26,
    Draw = 27,
    Attendance = 28,
    Offers = 30,
    Prices = 31,
    Load = 32,
    FundStarts = 33,
    Budgets = 34,
    Renewals = 35,
    Terms = 36,
    History = 39,
    Protocol = 60,
    Supports = 61,
    Rows = 40,
    PastRows = 41,
    Candidates = 42,
    Taken = 43,
    Unbonding = 44,
    NextCommittee = 45,
    PastCommittees = 46,
    Offences = 47,
    Candidacy = 48,
    Invalid = 49,
    Lists = 50,
    Rolls = 51,
    Digest = 52,
    Tickets = 70,
    Gauges = 71,
    Climate = 72,
    Claims = 73,
    Debts = 74,
}

impl Table {
    /// The name in messages to people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Table::Head => "head",
            Table::Accounts => "accounts",
            Table::Totals => "totals",
            Table::Fund => "fund",
            Table::FundEnds => "fund-ends",
            Table::Committee => "committee",
            Table::Counters => "counters",
            Table::Registrations => "registrations",
            Table::Deadlines => "deadlines",
            Table::Blobs => "blobs",
            Table::Sequence => "sequence",
            Table::Expiries => "expiries",
            Table::Owners => "owners",
            Table::Coverage => "coverage",
            Table::Judged => "judged",
            Table::Attested => "attested",
            Table::Changes => "changes",
            Table::Reports => "reports",
            Table::Epochs => "epochs",
            Table::Merkle => "merkle",
            Table::MerkleRoots => "merkle-roots",
            Table::Classes => "classes",
            Table::Beacon => "beacon",
            Table::Commits => "commits",
            Table::Draw => "draw",
            Table::Attendance => "attendance",
            Table::Offers => "offers",
            Table::Prices => "prices",
            Table::Load => "load",
            Table::FundStarts => "fund-starts",
            Table::Budgets => "budgets",
            Table::Renewals => "renewals",
            Table::Terms => "terms",
            Table::History => "history",
            Table::Protocol => "protocol",
            Table::Supports => "supports",
            Table::Rows => "rows",
            Table::PastRows => "past-rows",
            Table::Candidates => "candidates",
            Table::Taken => "taken",
            Table::Unbonding => "unbonding",
            Table::NextCommittee => "next-committee",
            Table::PastCommittees => "past-committees",
            Table::Offences => "offences",
            Table::Candidacy => "candidacy",
            Table::Invalid => "invalid",
            Table::Lists => "lists",
            Table::Rolls => "rolls",
            Table::Digest => "digest",
            Table::Tickets => "tickets",
            Table::Gauges => "gauges",
            Table::Climate => "climate",
            Table::Claims => "claims",
            Table::Debts => "debts",
        }
    }

    /// The key with these parts.
    pub(crate) fn key(self, parts: &[&[u8]]) -> Vec<u8> {
        let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
        key.push(self as u8);
        for part in parts {
            key.extend_from_slice(part);
        }
        key
    }

    /// The key of one number.
    pub(crate) fn number(self, number: u64) -> Vec<u8> {
        self.key(&[&number.to_be_bytes()])
    }

    /// The key of two numbers.
    pub(crate) fn numbers(self, first: u64, second: u64) -> Vec<u8> {
        self.key(&[&first.to_be_bytes(), &second.to_be_bytes()])
    }

    /// The value is not what the ledger wrote.
    pub(crate) fn damaged(self, reason: impl Into<String>) -> StateError {
        StateError::Damaged { table: self.name(), reason: reason.into() }
    }

    /// The value at `key`, a key of this table.
    ///
    /// State is the ledger's own writing, so the strict second look of [`codec::decode`] is spared.
    pub(crate) fn load<T: DeserializeOwned>(self, state: &dyn StateRead, key: &[u8]) -> Result<Option<T>, StateError> {
        let Some(bytes) = state.get(key)? else { return Ok(None) };
        self.parse(&bytes).map(Some)
    }

    /// The value at `key`, which must be there.
    pub(crate) fn must<T: DeserializeOwned>(self, state: &dyn StateRead, key: &[u8]) -> Result<T, StateError> {
        self.load(state, key)?.ok_or_else(|| self.damaged("an entry is missing"))
    }

    /// A value of this table.
    pub(crate) fn parse<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, StateError> {
        postcard::from_bytes(bytes).map_err(|error| self.damaged(error.to_string()))
    }

    /// Sets the value at `key`, a key of this table.
    pub(crate) fn store<T: Serialize + ?Sized>(self, overlay: &mut Overlay<'_>, key: Vec<u8>, value: &T) {
        debug_assert_eq!(key.first(), Some(&(self as u8)));
        overlay.put(key, codec::encode(value));
    }

    /// Entries whose key begins with `prefix` and is at least `from`, at most `limit`; keys without the tag.
    pub(crate) fn page(
        self,
        state: &dyn StateRead,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<Entry>, StateError> {
        let start = self.key(&[prefix, from]);
        let end = after(self.key(&[prefix]));
        let entries = state.range(&start, &end, limit)?;
        Ok(entries.into_iter().map(|(key, value)| (key.get(1..).unwrap_or_default().to_vec(), value)).collect())
    }

    /// Every entry whose key begins with `prefix`, read in pages; keys without the tag.
    pub(crate) fn all(self, state: &dyn StateRead, prefix: &[u8]) -> Result<Vec<Entry>, StateError> {
        const PAGE: usize = 1024;
        let mut found = Vec::new();
        let mut from = Vec::new();
        loop {
            let page = self.page(state, prefix, &from, PAGE)?;
            let complete = page.len() < PAGE;
            found.extend(page);
            match found.last() {
                Some((key, _)) if !complete => {
                    from = key.get(prefix.len()..).unwrap_or_default().to_vec();
                    from.push(0);
                }
                _ => return Ok(found),
            }
        }
    }
}

/// The least key that is above every key beginning with `prefix`. Tags are below 255, so there is one.
pub(crate) fn after(mut prefix: Vec<u8>) -> Vec<u8> {
    while prefix.last() == Some(&255) {
        prefix.pop();
    }
    if let Some(last) = prefix.last_mut() {
        *last += 1;
    }
    prefix
}

/// The number in `key` that starts at byte `at`.
pub(crate) fn number_at(table: Table, key: &[u8], at: usize) -> Result<u64, StateError> {
    let bytes = key.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u64::from_be_bytes).ok_or_else(|| table.damaged("a key is too short"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{ChangeSet, MemoryState};

    #[test]
    fn a_table_is_read_whole_across_pages() {
        let mut changes = ChangeSet::new();
        for number in 0..3_000u64 {
            changes.0.insert(Table::Owners.number(number), Some(vec![]));
        }
        changes.0.insert(Table::Sequence.number(1), Some(vec![]));
        changes.0.insert(Table::Expiries.number(1), Some(vec![]));
        let mut state = MemoryState::new();
        state.apply(&changes);
        let all = Table::Owners.all(&state, &[]).unwrap();
        let numbers: Vec<_> = all.iter().map(|(key, _)| number_at(Table::Owners, key, 0).unwrap()).collect();
        assert_eq!(numbers, (0..3_000).collect::<Vec<_>>());
    }

    #[test]
    fn the_end_of_a_prefix_is_above_all_of_it() {
        assert_eq!(after(vec![3, 255, 255]), vec![4]);
        assert_eq!(after(vec![3, 7]), vec![3, 8]);
    }
}
