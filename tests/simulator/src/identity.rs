//! Who is who: the keys of every node, the same in every run, and the genesis that a plan calls for.
//!
//! Keys cost more than seeds do, so they are made once; what a seed draws is who does what.

use crate::plan::Plan;
use floe_consensus::{ValidatorKey, VoteSigningKey};
use floe_types::bls::{BlsSecretKey, BlsSignature, PublicKey};
use floe_types::committee::deal;
use floe_types::genesis::{GenesisAccount, PROTOCOL_VERSION};
use floe_types::keys::SecretKey;
use floe_types::{AccountId, BlockTime, EpochCount, Frost, Genesis, Member, NodeId, Params, VoteKey};
use std::sync::OnceLock;

/// The most nodes of a run.
pub const NODES_MAX: usize = 10;
/// When every network begins, in unix milliseconds.
pub const GENESIS_MILLIS: u64 = 1_700_000_000_000;
/// What every account holds at first.
const BALANCE: Frost = Frost(1_000_000_000);

struct BlsPart {
    public: PublicKey,
    possession: BlsSignature,
}

fn bls_parts() -> &'static [BlsPart] {
    static PARTS: OnceLock<Vec<BlsPart>> = OnceLock::new();
    PARTS.get_or_init(|| {
        let part = |node| BlsPart { public: bls_key(node).public(), possession: bls_key(node).prove_possession() };
        (0..NODES_MAX).map(part).collect()
    })
}

/// The name of node `node`. Names are in the order of indices, so that a node's index is its place in the committee.
#[must_use]
pub fn node_id(node: usize) -> NodeId {
    NodeId([node as u8 + 1; 32])
}

/// The node with this name.
#[must_use]
pub fn node_of(id: &NodeId) -> Option<usize> {
    usize::from(id.0[0]).checked_sub(1).filter(|node| *node < NODES_MAX)
}

/// The account key of a node.
#[must_use]
pub fn account_key(node: usize) -> SecretKey {
    SecretKey::from_bytes([node as u8 + 101; 32])
}

/// The vote key of a node.
#[must_use]
pub fn vote_signing_key(node: usize) -> VoteSigningKey {
    VoteSigningKey::from_secret([node as u8 + 151; 32])
}

/// The public vote key of a node.
#[must_use]
pub fn vote_key(node: usize) -> ValidatorKey {
    static KEYS: OnceLock<Vec<ValidatorKey>> = OnceLock::new();
    KEYS.get_or_init(|| (0..NODES_MAX).map(|node| vote_signing_key(node).public()).collect())[node]
}

/// The node with this vote key.
#[must_use]
pub fn voter(key: &ValidatorKey) -> Option<usize> {
    (0..NODES_MAX).find(|node| vote_key(*node) == *key)
}

/// The key with which a node signs confirmations.
#[must_use]
pub fn bls_key(node: usize) -> BlsSecretKey {
    BlsSecretKey::from_seed([node as u8 + 201; 32])
}

/// The parameters that a plan calls for: a devnet's, with a fee, so that there is one to conserve.
#[must_use]
pub fn params(plan: &Plan) -> Params {
    Params {
        fee_per_byte: Frost(1),
        price: Frost(7),
        paid_ahead_max: EpochCount(1_000),
        blob_bytes_max: 1 << 20,
        ..Params::devnet(plan.shards, plan.epoch_millis)
    }
}

/// The genesis that a plan calls for.
#[must_use]
pub fn genesis(plan: &Plan) -> Genesis {
    let member = |(node, shards): (usize, Vec<_>)| Member {
        node: node_id(node),
        name: format!("node-{node}"),
        account: AccountId(account_key(node).public()),
        vote_key: VoteKey(vote_key(node).0),
        bls_key: bls_parts()[node].public,
        possession: bls_parts()[node].possession,
        addresses: vec![format!("/memory/{}", node + 1)],
        domain: String::new(),
        capacity_bytes: 1 << 40,
        shards,
    };
    let members: Vec<_> = deal(plan.shards, plan.members).into_iter().enumerate().map(member).collect();
    let mut accounts: Vec<_> =
        members.iter().map(|member| GenesisAccount { account: member.account, balance: BALANCE }).collect();
    accounts.sort_by_key(|entry| entry.account);
    Genesis {
        version: PROTOCOL_VERSION,
        name: "simulated".to_owned(),
        time: BlockTime(GENESIS_MILLIS),
        params: params(plan),
        accounts,
        members,
        parent: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_has_a_genesis_that_a_network_can_begin_with() {
        for seed in 0..30 {
            let plan = Plan::draw(seed, 8);
            let genesis = genesis(&plan);
            assert_eq!(genesis.check(), Ok(()), "seed {seed}");
            let committee = genesis.committee().unwrap();
            assert!((0..plan.members).all(|node| usize::from(committee.index_of(&node_id(node)).unwrap().0) == node));
        }
    }
}
