//! A network whose committee changes: newcomers with real keys, epochs in which members report by themselves.

use super::fixture::*;
use crate::candidacy::vote_key_message;
use crate::*;
use floe_types::bls::{BlsSecretKey, BlsSignature, aggregate};
use floe_types::keys::{SecretKey, Signature};
use floe_types::{
    AccountId, BlobId, Committee, Epoch, Frost, MemberIndex, NodeId, RegistrationNumber, SequenceNumber, ShardIndex,
    VoteKey,
};
use std::collections::{BTreeMap, BTreeSet};

/// What one operator has in hand.
#[derive(Clone)]
pub struct Keys {
    pub node: NodeId,
    pub network: Option<SecretKey>,
    pub account: SecretKey,
    pub vote: SecretKey,
    pub bls: BlsSecretKey,
}

impl Keys {
    /// Those of newcomer `seed`. User 2 speaks for all of them.
    pub fn newcomer(seed: u8) -> Keys {
        let secret = |domain: u8| {
            let mut bytes = [seed; 32];
            bytes[0] = domain;
            bytes
        };
        let network = SecretKey::from_bytes(secret(1));
        Keys {
            node: NodeId(network.public()),
            network: Some(network),
            account: key(2),
            vote: SecretKey::from_bytes(secret(2)),
            bls: BlsSecretKey::from_seed(secret(3)),
        }
    }

    /// Those of a node of the first committee, whose ids and vote keys are nobody's.
    pub fn first(at: usize) -> Keys {
        Keys { node: node(at), network: None, account: node_key(at), vote: key(0), bls: bls(at) }
    }
}

/// Seats cost this much in the test network.
pub const WAL: u64 = floe_types::units::FROST_PER_WAL;

/// A ledger with everybody's keys.
pub struct Net {
    pub world: World,
    pub keys: BTreeMap<NodeId, Keys>,
    /// Nodes that neither report nor attest nor confirm.
    pub gone: BTreeSet<NodeId>,
    /// Events since they were last looked at.
    pub events: Vec<Event>,
}

impl Net {
    pub fn new() -> Net {
        Net::of(World::new())
    }

    pub fn of(world: World) -> Net {
        let keys = ALL.map(|at| (node(at), Keys::first(at)));
        Net { world, keys: keys.into(), gone: BTreeSet::new(), events: Vec::new() }
    }

    pub fn committee(&self) -> Committee {
        views::committee(&self.world.state).unwrap()
    }

    pub fn params(&self) -> floe_types::Params {
        self.world.context.params.clone()
    }

    /// The seats of `node` in the committee in office.
    pub fn seats(&self, node: &NodeId) -> Vec<ShardIndex> {
        let committee = self.committee();
        let member = committee.index_of(node).and_then(|index| committee.member(index));
        member.map(|member| member.shards.clone()).unwrap_or_default()
    }

    pub fn join_of(&self, keys: &Keys, seed: u8, stake: Frost) -> Join {
        let mut join = Join {
            node: keys.node,
            name: format!("new-{seed}"),
            account: AccountId(keys.account.public()),
            vote_key: VoteKey(keys.vote.public()),
            bls_key: keys.bls.public(),
            possession: keys.bls.prove_possession(),
            addresses: vec!["/ip4/127.0.0.1/tcp/9".into()],
            domain: String::new(),
            capacity_bytes: 1 << 40,
            stake,
            by_node: Signature([0; 64]),
            by_vote_key: Signature([0; 64]),
            by_bls_key: BlsSignature([0; 96]),
        };
        self.sign_join(keys, &mut join);
        join
    }

    pub fn sign_join(&self, keys: &Keys, join: &mut Join) {
        let account = AccountId(keys.account.public());
        let message = join.message(&self.world.context.network, &account);
        join.by_node = keys.network.as_ref().unwrap().sign(&message);
        join.by_vote_key = keys.vote.sign(&message);
        join.by_bls_key = keys.bls.sign(&message);
    }

    /// Newcomer `seed` joins.
    pub fn join(&mut self, seed: u8, stake: Frost) -> NodeId {
        let keys = Keys::newcomer(seed);
        let join = self.join_of(&keys, seed, stake);
        self.act(&keys.account, Action::Join(Box::new(join)));
        self.keys.insert(keys.node, keys.clone());
        keys.node
    }

    pub fn leave(&mut self, node: NodeId) {
        let account = self.keys[&node].account.clone();
        self.act(&account, Action::Leave { node });
    }

    pub fn announcement(&self, keys: &Keys, term: u64, next: &SecretKey) -> Action {
        let key = VoteKey(next.public());
        let message = vote_key_message(&self.world.context.network, &keys.node, term, &key);
        Action::VoteKey(Announcement { node: keys.node, term, key, proof: next.sign(&message) })
    }

    pub fn act(&mut self, key: &SecretKey, action: Action) -> Vec<Event> {
        let events = self.world.act(key, action);
        self.events.extend(events.clone());
        events
    }

    /// The members in office that are there.
    pub fn present(&self) -> Vec<(MemberIndex, NodeId)> {
        let committee = self.committee();
        let all = committee.members().iter().enumerate();
        let all = all.map(|(at, member)| (MemberIndex(at as u16), member.node));
        all.filter(|(_, node)| !self.gone.contains(node)).collect()
    }

    /// Certifies what is registered, confirmed by everybody that is there.
    pub fn certificate(&self, blob: BlobId, registration: RegistrationNumber) -> Action {
        let term = self.committee().term();
        let message = confirmation_message(&self.world.context.network, term, registration, &blob, 1);
        let present = self.present();
        let signatures: Vec<_> = present.iter().map(|(_, node)| self.keys[node].bls.sign(&message)).collect();
        let (signature, members) =
            (aggregate(&signatures).unwrap(), present.into_iter().map(|(index, _)| index).collect());
        Action::Certify { blob, registration, version: 1, members, signature }
    }

    pub fn store(&mut self, blob: BlobId, epochs: u64) {
        let registration = self.world.register(blob, epochs);
        let action = self.certificate(blob, registration);
        self.act(&key(1), action);
    }

    /// The rows of `node` of this kind attest all they miss.
    pub fn fill(&mut self, node: NodeId, kind: RowKind) {
        let rows = views::rows_of(&self.world.state, &node).unwrap();
        for (id, row) in rows.into_iter().filter(|(_, row)| row.kind == kind) {
            self.fill_row(id, row);
        }
    }

    pub fn fill_row(&mut self, id: RowId, row: Row) {
        let gaps = views::gaps(&self.world.state, id, SequenceNumber(0), 1000).unwrap().gaps;
        let (Some(first), Some(last)) = (gaps.first(), gaps.last()) else { return };
        let runs = vec![Run { first: first.sequence, last: last.sequence }];
        let shards = [row.shard].into_iter().collect();
        let account = self.keys[&row.holder].account.clone();
        self.act(&account, Action::Attest { member: row.holder, shards, runs });
    }

    /// Ends the epoch: who is there reports the others as there.
    pub fn end_epoch(&mut self) -> EpochRecord {
        let present = self.present();
        let answered: MemberSet = present.iter().map(|(index, _)| *index).collect();
        let (epoch, root) = (self.world.epoch(), Root([7; 32]));
        let by = |(_, node): &(MemberIndex, NodeId), action| self.world.by(&self.keys[node].account, action);
        let commit = |one: &(MemberIndex, NodeId)| by(one, Action::Commit { member: one.1, epoch, root });
        let report = |one: &(MemberIndex, NodeId)| {
            let report = self.world.report_of(one.1, &self.keys[&one.1].bls, &answered);
            by(one, Action::Report(Box::new(report)))
        };
        let (commits, reports) = (present.iter().map(commit).collect(), present.iter().map(report).collect());
        self.world.close(commits, reports);
        let ended = self.world.boundary(Vec::new());
        self.events.extend(ended.events);
        let epoch = Epoch(self.world.epoch().0 - 1);
        views::epoch_record(&self.world.state, epoch).unwrap().unwrap()
    }

    /// Ends epochs until a term has ended.
    pub fn end_term(&mut self) {
        let term = self.committee().term();
        while self.committee().term() == term {
            self.end_epoch();
        }
    }

    /// Ends epochs until the next committee is chosen.
    pub fn until_elected(&mut self) -> Committee {
        loop {
            if let Some(next) = views::next_committee(&self.world.state).unwrap() {
                return next;
            }
            self.end_epoch();
        }
    }

    pub fn holders(&self, blob: BlobId) -> Vec<views::Holder> {
        views::holders(&self.world.state, &blob).unwrap()
    }

    pub fn covered(&self, blob: BlobId) -> u16 {
        views::blob(&self.world.state, &blob).unwrap().unwrap().covered.len()
    }

    pub fn can_stop(&self, node: &NodeId) -> views::CanStop {
        views::can_stop(&self.world.state, &self.world.context.params, node).unwrap()
    }
}
