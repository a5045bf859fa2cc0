//! What the tests of the data path share: a small ledger, a committee with real keys, a source of chance by seed.

use crate::ledger_view::{BlobFacts, Covering, LedgerView, RegistrationFacts, RegistrationStatus, UncoveredPage};
use crate::wire::fragment::Right;
use floe_ledger::RowKind;
use floe_types::bls::BlsSecretKey;
use floe_types::committee::deal;
use floe_types::{
    AccountId, BlobId, Committee, Epoch, Member, MemberIndex, NetworkId, NodeId, RegistrationNumber, SequenceNumber,
    ShardIndex, VoteKey,
};
use std::collections::{BTreeMap, BTreeSet};

/// Chance by seed (splitmix64).
pub struct Chance(pub u64);

impl Chance {
    /// A number below `bound`, which is above zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// True `percent` times of a hundred.
    pub fn in_hundred(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `items`, taken out.
    pub fn take<T>(&mut self, items: &mut Vec<T>) -> Option<T> {
        (!items.is_empty()).then(|| items.swap_remove(self.below(items.len() as u64) as usize))
    }
}

/// The node with this seed.
pub fn node(seed: u8) -> NodeId {
    NodeId([seed; 32])
}

/// The BLS key of that node.
pub fn bls_key(seed: u8) -> BlsSecretKey {
    BlsSecretKey::from_seed([seed; 32])
}

/// A committee of `members` nodes with seeds from 1, which are their indices plus one, and `shards` shards.
pub fn committee(members: u8, shards: u16, term: u64) -> Committee {
    let dealt = deal(shards, usize::from(members));
    let list = (1..=members).zip(dealt).map(|(seed, shards)| Member {
        node: node(seed),
        name: format!("node-{seed}"),
        account: AccountId([seed; 32]),
        vote_key: VoteKey([seed + 100; 32]),
        bls_key: bls_key(seed).public(),
        possession: bls_key(seed).prove_possession(),
        addresses: vec!["/memory/1".to_owned()],
        domain: String::new(),
        capacity_bytes: 1 << 40,
        shards,
    });
    Committee::new(term, shards, list.collect()).unwrap()
}

/// A ledger in memory.
pub struct Ledger {
    pub epoch: Epoch,
    pub committee: Committee,
    pub registrations: BTreeMap<RegistrationNumber, RegistrationFacts>,
    pub blobs: BTreeMap<BlobId, BlobFacts>,
    /// Who may rebuild which shard of which blob, and why.
    pub rights: BTreeSet<(NodeId, BlobId, ShardIndex, Right)>,
}

impl Ledger {
    pub fn new(members: u8, shards: u16) -> Ledger {
        Ledger {
            epoch: Epoch(1),
            committee: committee(members, shards, 1),
            registrations: BTreeMap::new(),
            blobs: BTreeMap::new(),
            rights: BTreeSet::new(),
        }
    }

    /// Registers `blob` from now to epoch `last`, to be certified in the next epoch at the latest.
    pub fn register(&mut self, blob: BlobId, blob_bytes: u64, last: u64) -> RegistrationNumber {
        let number = RegistrationNumber(self.registrations.len() as u64 + 1);
        let facts = RegistrationFacts {
            blob,
            blob_bytes,
            last: Epoch(last),
            certify_by: self.epoch.next(),
            status: RegistrationStatus::Pending,
        };
        self.registrations.insert(number, facts);
        number
    }

    /// Certifies what `number` registered, covered by all shards of `members`.
    pub fn certify(&mut self, number: RegistrationNumber, members: &[MemberIndex]) -> SequenceNumber {
        let facts = self.registrations.get_mut(&number).unwrap();
        facts.status = RegistrationStatus::Certified;
        let sequence = SequenceNumber(self.blobs.len() as u64);
        let rows = |member: &MemberIndex| {
            let member = self.committee.member(*member).unwrap();
            let row = |shard: &ShardIndex| Covering { shard: *shard, kind: RowKind::Seat, node: member.node };
            member.shards.iter().map(row).collect::<Vec<_>>()
        };
        let mut coverage: Vec<Covering> = members.iter().flat_map(rows).collect();
        coverage.sort();
        let blob = BlobFacts { blob_bytes: facts.blob_bytes, sequence, last_paid: facts.last, coverage };
        self.blobs.insert(facts.blob, blob);
        sequence
    }
}

impl LedgerView for Ledger {
    fn network(&self) -> NetworkId {
        NetworkId([7; 32])
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn committee(&self) -> &Committee {
        &self.committee
    }

    fn registration(&self, number: RegistrationNumber) -> Option<RegistrationFacts> {
        self.registrations.get(&number).copied()
    }

    fn blob(&self, blob: &BlobId) -> Option<BlobFacts> {
        self.blobs.get(blob).cloned()
    }

    fn uncovered(&self, member: MemberIndex, from: SequenceNumber, limit: usize) -> UncoveredPage {
        let member = self.committee.member(member).unwrap();
        let seats = member.shards.len();
        let covered =
            |facts: &BlobFacts| member.shards.iter().filter(|shard| facts.covers_seat(&member.node, **shard)).count();
        let mut blobs: Vec<_> = self
            .blobs
            .iter()
            .filter(|(_, facts)| self.epoch <= facts.last_paid && covered(facts) < seats)
            .map(|(blob, facts)| (facts.sequence, *blob))
            .filter(|(sequence, _)| *sequence >= from)
            .collect();
        blobs.sort();
        let next = blobs.get(limit).map(|(sequence, _)| *sequence);
        blobs.truncate(limit);
        UncoveredPage { blobs, next }
    }

    fn allows(&self, node: &NodeId, blob: &BlobId, shard: ShardIndex, right: Right) -> bool {
        self.rights.contains(&(*node, *blob, shard, right))
    }
}
