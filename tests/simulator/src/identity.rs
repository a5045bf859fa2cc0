//! Who is who: the keys of every node, the same in every run, and the genesis that a plan calls for.
//!
//! Keys cost more than seeds do, so they are made once; what a seed draws is who does what.

use crate::plan::Plan;
use floe_consensus::{ValidatorKey, VoteSigningKey};
use floe_ledger::{Action, Join, SignedTransaction, Transaction};
use floe_types::bls::{BlsSecretKey, BlsSignature, PublicKey};
use floe_types::committee::deal;
use floe_types::genesis::{GenesisAccount, PROTOCOL_VERSION};
use floe_types::keys::{SecretKey, Signature};
use floe_types::params::SLOTS;
use floe_types::units::FROST_PER_WAL;
use floe_types::{AccountId, BlockTime, EpochCount, Frost, Genesis, Member, NetworkId, NodeId, Params, VoteKey};
use std::sync::OnceLock;

/// The most nodes of a run, newcomers included.
pub const NODES_MAX: usize = 20;
/// When every network begins, in unix milliseconds.
pub const GENESIS_MILLIS: u64 = 1_700_000_000_000;
/// What every account holds at first.
const BALANCE: Frost = Frost(1_000 * FROST_PER_WAL);
/// The failure domain of all that may fail: the ledger gives a domain at most `f` seats, whoever joins and leaves.
pub const DEN: &str = "operator:den";
/// What an operator pays for a transaction: more than any needs.
const OPERATORS_FEE: Frost = Frost(20_000);

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

/// The network key of a node.
#[must_use]
pub fn node_key(node: usize) -> SecretKey {
    SecretKey::from_bytes([node as u8 + 51; 32])
}

fn node_ids() -> &'static [NodeId] {
    static IDS: OnceLock<Vec<NodeId>> = OnceLock::new();
    IDS.get_or_init(|| (0..NODES_MAX).map(|node| NodeId(node_key(node).public())).collect())
}

/// The name of node `node`.
#[must_use]
pub fn node_id(node: usize) -> NodeId {
    node_ids()[node]
}

/// The node with this name.
#[must_use]
pub fn node_of(id: &NodeId) -> Option<usize> {
    node_ids().iter().position(|known| known == id)
}

/// The key of the operator of a node that was not in the first committee: it bonds the stake and is never on the node.
#[must_use]
pub fn operator_key(node: usize) -> SecretKey {
    SecretKey::from_bytes([node as u8 + 76; 32])
}

/// The account key of a node.
#[must_use]
pub fn account_key(node: usize) -> SecretKey {
    SecretKey::from_bytes([node as u8 + 101; 32])
}

/// The secret of the vote key that a member of the first committee begins with.
#[must_use]
pub fn first_secret(node: usize) -> [u8; 32] {
    [node as u8 + 151; 32]
}

/// The secret of the vote key that a node makes for a term: another one each time it makes one.
#[must_use]
pub fn made_secret(node: usize, term: u64, time: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"simulated vote key").update(&[node as u8]).update(&term.to_be_bytes()).update(&time.to_be_bytes());
    *hasher.finalize().as_bytes()
}

/// The vote key of a secret.
#[must_use]
pub fn vote_key(secret: [u8; 32]) -> ValidatorKey {
    VoteSigningKey::from_secret(secret).public()
}

/// The key with which a node signs confirmations.
#[must_use]
pub fn bls_key(node: usize) -> BlsSecretKey {
    BlsSecretKey::from_seed([node as u8 + 201; 32])
}

/// The parameters that a plan calls for: a devnet's, with a fee, so that there is one to conserve.
#[must_use]
pub fn params(plan: &Plan) -> Params {
    // In each half of a closing there is room for decisions whose proposer is absent.
    let closing_millis = plan.epoch_millis / 2;
    let slot = (plan.epoch_millis - closing_millis) / u64::from(SLOTS);
    Params {
        closing_millis,
        soft_millis: slot / 2,
        hard_millis: slot * 3 / 4,
        fee_per_byte: Frost(1),
        // High enough for a fragment to be worth something.
        price: Frost(1_000_003),
        paid_ahead_max: EpochCount(1_000),
        blob_bytes_max: 1 << 20,
        term_epochs: EpochCount(plan.term_epochs),
        election_epochs: EpochCount(plan.election_epochs),
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
        vote_key: VoteKey(vote_key(first_secret(node)).0),
        bls_key: bls_parts()[node].public,
        possession: bls_parts()[node].possession,
        addresses: vec![format!("/memory/{}", node + 1)],
        domain: plan.domain_of(node).to_owned(),
        capacity_bytes: 1 << 40,
        shards,
    };
    let members: Vec<_> = deal(plan.shards, plan.members).into_iter().enumerate().map(member).collect();
    let mut accounts: Vec<_> =
        members.iter().map(|member| GenesisAccount { account: member.account, balance: BALANCE }).collect();
    for node in plan.members..plan.people() {
        let keys = [account_key(node), operator_key(node)];
        accounts.extend(keys.map(|key| GenesisAccount { account: AccountId(key.public()), balance: BALANCE }));
    }
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

/// What a node's operator signs.
#[must_use]
pub fn operators(network: NetworkId, node: usize, nonce: u64, action: Action) -> SignedTransaction {
    let key = operator_key(node);
    let sender = AccountId(key.public());
    Transaction { network, sender, nonce, fee: OPERATORS_FEE, action }.sign(&key)
}

/// A candidacy, signed by the keys that it names. The vote key is the one of `secret`.
#[must_use]
pub fn join(plan: &Plan, network: &NetworkId, (node, secret): (usize, [u8; 32]), stake: Frost) -> Join {
    let voting = SecretKey::from_bytes(secret);
    let mut join = Join {
        node: node_id(node),
        name: format!("node-{node}"),
        account: AccountId(account_key(node).public()),
        vote_key: VoteKey(voting.public()),
        bls_key: bls_parts()[node].public,
        possession: bls_parts()[node].possession,
        addresses: vec![format!("/memory/{}", node + 1)],
        domain: plan.domain_of(node).to_owned(),
        capacity_bytes: 1 << 40,
        stake,
        by_node: Signature([0; 64]),
        by_vote_key: Signature([0; 64]),
        by_bls_key: BlsSignature([0; 96]),
    };
    let message = join.message(network, &AccountId(operator_key(node).public()));
    join.by_node = node_key(node).sign(&message);
    join.by_vote_key = voting.sign(&message);
    join.by_bls_key = bls_key(node).sign(&message);
    join
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
            assert!((0..plan.members).all(|node| committee.index_of(&node_id(node)).is_some()));
            assert!((0..plan.people()).all(|node| node_of(&node_id(node)) == Some(node)));
        }
    }
}
