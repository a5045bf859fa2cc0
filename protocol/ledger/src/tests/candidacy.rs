//! Candidates: what is refused, with the exact reason, and what becomes of stakes and offenders.

use super::fixture::*;
use super::net::*;
use crate::candidates::Standing;
use crate::*;
use floe_types::double_vote::{NoDoubleVote, Said, VoteStep};
use floe_types::keys::{SecretKey, Signature};
use floe_types::{AccountId, DoubleVote, Frost, NodeId, VoteKey};

fn boxed(join: Join) -> Action {
    Action::Join(Box::new(join))
}

#[test]
fn a_join_with_a_wrong_field_is_refused() {
    let mut net = Net::new();
    let (keys, other) = (Keys::newcomer(1), Keys::newcomer(2));
    let good = net.join_of(&keys, 1, Frost(WAL));
    let altered = |alter: fn(&mut Join)| {
        let mut join = good.clone();
        alter(&mut join);
        net.sign_join(&keys, &mut join);
        boxed(join)
    };
    let least = Frost(WAL);
    let cases = [
        (altered(|join| join.stake = Frost(WAL - 1)), Refusal::StakeTooLow { found: Frost(WAL - 1), least }),
        (altered(|join| join.stake = Frost::ZERO), Refusal::StakeTooLow { found: Frost::ZERO, least }),
        (
            altered(|join| join.stake = Frost(u64::MAX)),
            Refusal::Insufficient { balance: Frost(RICH.0 - FEE.0), needed: Frost(u64::MAX) },
        ),
        (altered(|join| join.name = "node-3".into()), Refusal::Taken { what: "name" }),
        (altered(|join| join.bls_key = bls(2).public()), Refusal::Taken { what: "BLS key" }),
        (altered(|join| join.vote_key = VoteKey([202; 32])), Refusal::Taken { what: "vote key" }),
        (altered(|join| join.vote_key = VoteKey([3; 32])), Refusal::Taken { what: "vote key" }),
        (altered(|join| join.vote_key = VoteKey(join.node.0)), Refusal::Taken { what: "vote key" }),
        (altered(|join| join.node = NodeId([202; 32])), Refusal::Taken { what: "node id" }),
        (altered(|join| join.node = node(2)), Refusal::AlreadyCandidate),
    ];
    for (action, refusal) in cases {
        assert_eq!(net.world.refusal(&key(2), action), refusal);
    }
    let shapes: [fn(&mut Join); 6] = [
        |join| join.name = "Loud".into(),
        |join| join.name = String::new(),
        |join| join.addresses = Vec::new(),
        |join| join.addresses = vec!["/memory/1".into(); 9],
        |join| join.domain = "x".repeat(65),
        |join| join.capacity_bytes = 0,
    ];
    for shape in shapes {
        let signed = net.world.sign(&key(2), 0, FEE, altered(shape));
        assert!(matches!(signed.check(&net.world.context.network), Err(TransactionError::Shape { .. })));
    }
    // Whoever lends a key must have signed for this node and account.
    let proofs: [fn(&mut Join, &Join); 6] = [
        |join, theirs| join.by_node = theirs.by_node,
        |join, theirs| join.by_vote_key = theirs.by_vote_key,
        |join, theirs| join.by_bls_key = theirs.by_bls_key,
        |join, theirs| join.possession = theirs.possession,
        |join, _| join.capacity_bytes += 1,
        |join, _| join.domain = "isp:a".into(),
    ];
    let theirs = net.join_of(&other, 2, Frost(WAL));
    for steal in proofs {
        let mut join = good.clone();
        steal(&mut join, &theirs);
        assert_eq!(net.world.refusal(&key(2), boxed(join)), Refusal::BadProof);
    }
    // Another account cannot use what was signed for this one.
    assert_eq!(net.world.refusal(&key(3), boxed(good.clone())), Refusal::BadProof);
    net.act(&key(2), boxed(good.clone()));
    assert_eq!(net.world.refusal(&key(2), boxed(good)), Refusal::AlreadyCandidate);
}

#[test]
fn the_owners_key_need_not_be_on_the_node_and_the_nodes_cannot_take_the_stake() {
    let mut net = Net::new();
    let keys = Keys::newcomer(1);
    let mut join = net.join_of(&keys, 1, Frost(2 * WAL));
    let duty = key(3);
    join.account = AccountId(duty.public());
    net.sign_join(&keys, &mut join);
    let (owner, node) = (keys.account.clone(), keys.node);
    net.act(&owner, boxed(join));
    let candidates = views::candidates(&net.world.state, &net.params()).unwrap();
    let ours = candidates.into_iter().find(|view| view.candidate.node == node).unwrap().candidate;
    assert_eq!((ours.owner, ours.account), (AccountId(owner.public()), AccountId(duty.public())));

    let withdraw = || Action::Stake { node, change: StakeChange::Withdraw(Frost(WAL)) };
    let describe = |domain: &str| {
        let (addresses, domain) = (vec!["/ip4/127.0.0.1/tcp/10".into()], domain.to_owned());
        Action::Describe(Description { node, addresses, domain, capacity_bytes: 1 << 41 })
    };
    for owners_alone in [withdraw(), Action::Leave { node }] {
        assert_eq!(net.world.refusal(&duty, owners_alone), Refusal::NotCandidate);
    }
    net.act(&duty, describe("isp:a"));
    net.act(&owner, describe("isp:b"));
    net.act(&owner, withdraw());
    let waits = views::unbonding(&net.world.state, &node).unwrap();
    assert_eq!(waits[0].1.account, AccountId(owner.public()), "the stake goes back to who bonded it");
}

#[test]
fn who_does_not_speak_for_a_candidate_changes_nothing_of_it() {
    let mut net = Net::new();
    let new = net.join(1, Frost(2 * WAL));
    let keys = net.keys[&new].clone();
    let mut stranger = keys.clone();
    stranger.node = NodeId([77; 32]);
    let describe = |node| {
        let (addresses, domain) = (vec!["/memory/1".to_owned()], String::new());
        Action::Describe(Description { node, addresses, domain, capacity_bytes: 7 })
    };
    let actions = |node| {
        [
            Action::Stake { node, change: StakeChange::Add(Frost(1)) },
            Action::Stake { node, change: StakeChange::Withdraw(Frost(1)) },
            Action::Leave { node },
            describe(node),
        ]
    };
    for action in actions(new) {
        assert_eq!(net.world.refusal(&key(1), action), Refusal::NotCandidate);
    }
    for action in actions(NodeId([77; 32])) {
        assert_eq!(net.world.refusal(&keys.account, action), Refusal::NotCandidate);
    }
    let announce = net.announcement(&keys, 2, &key(50));
    assert_eq!(net.world.refusal(&key(1), announce), Refusal::NotCandidate);
    net.act(&keys.account, describe(new));
    assert_eq!(views::addresses(&net.world.state, &new).unwrap().unwrap(), ["/memory/1"]);
}

#[test]
fn a_stake_unbonds_over_two_terms_and_an_epoch_and_never_below_the_least() {
    let mut net = Net::new();
    let new = net.join(1, Frost(5 * WAL));
    let change = |change| Action::Stake { node: new, change };
    let least = Frost(WAL);
    for (amount, found) in [(5 * WAL, 0), (4 * WAL + 1, WAL - 1), (5 * WAL + 1, 0), (u64::MAX, 0)] {
        let refusal = Refusal::StakeTooLow { found: Frost(found), least };
        assert_eq!(net.world.refusal(&key(2), change(StakeChange::Withdraw(Frost(amount)))), refusal);
    }
    let overflow = net.world.refusal(&key(2), change(StakeChange::Add(Frost(u64::MAX))));
    assert_eq!(overflow, Refusal::Overflow);
    let zero = net.world.sign(&key(2), 1, FEE, change(StakeChange::Add(Frost::ZERO)));
    assert!(matches!(zero.check(&net.world.context.network), Err(TransactionError::Shape { .. })));
    net.act(&key(2), change(StakeChange::Withdraw(Frost(WAL))));
    net.act(&key(2), change(StakeChange::Withdraw(Frost(WAL))));
    net.act(&key(2), change(StakeChange::Add(Frost(7))));
    let unbonding = views::unbonding(&net.world.state, &new).unwrap();
    assert_eq!(unbonding.iter().map(|(due, entry)| (due.0, entry.amount.0)).collect::<Vec<_>>(), [(10, 2 * WAL)]);
    let balance = |net: &Net| views::account(&net.world.state, &user(2)).unwrap().balance;
    let before = balance(&net);
    for _ in 0..8 {
        net.end_epoch();
    }
    assert_eq!(balance(&net), before);
    net.end_epoch();
    assert_eq!(balance(&net), Frost(before.0 + 2 * WAL));
    assert_eq!(views::unbonding(&net.world.state, &new).unwrap(), vec![]);
}

#[test]
fn who_gave_notice_and_never_served_goes_with_the_epoch() {
    let mut net = Net::new();
    let new = net.join(1, Frost(5 * WAL));
    let keys = net.keys[&new].clone();
    let before = views::account(&net.world.state, &user(2)).unwrap().balance;
    net.leave(new);
    assert_eq!(net.world.refusal(&key(2), Action::Leave { node: new }), Refusal::AlreadyLeaving);
    let add = Action::Stake { node: new, change: StakeChange::Add(Frost(1)) };
    assert_eq!(net.world.refusal(&key(2), add), Refusal::AlreadyLeaving);
    net.end_epoch();
    let after = views::account(&net.world.state, &user(2)).unwrap().balance;
    assert_eq!(after, Frost(before.0 + 5 * WAL - FEE.0));
    assert!(net.events.iter().any(|event| matches!(event, Event::StakeReleased { .. })));
    // Its name and keys are free again, and so is its place.
    let again = net.join_of(&keys, 1, Frost(WAL));
    net.act(&key(2), boxed(again));
}

#[test]
fn a_vote_key_out_of_its_terms_or_unproven_is_refused() {
    let mut net = Net::new();
    let new = net.join(1, Frost(5 * WAL));
    let keys = net.keys[&new].clone();
    let next = key(50);
    for term in [0, 1, 4, u64::MAX] {
        let refusal = Refusal::OtherTerm { found: term, least: 2, most: 3 };
        assert_eq!(net.world.refusal(&key(2), net.announcement(&keys, term, &next)), refusal);
    }
    assert_eq!(net.world.refusal(&key(2), net.announcement(&keys, 2, &keys.vote)), Refusal::Taken { what: "vote key" });
    let Action::VoteKey(good) = net.announcement(&keys, 2, &next) else { panic!() };
    let wrong = [
        Announcement { term: 3, ..good },
        Announcement { key: VoteKey(key(51).public()), ..good },
        Announcement { proof: Signature([0; 64]), ..good },
    ];
    for said in wrong {
        assert_eq!(net.world.refusal(&key(2), Action::VoteKey(said)), Refusal::BadProof);
    }
    net.act(&key(2), Action::VoteKey(good));
    // Said again for the same term, the first one is free.
    let other = net.announcement(&keys, 2, &key(51));
    net.act(&key(2), other);
    let back = net.announcement(&keys, 3, &next);
    net.act(&key(2), back);
    net.until_elected();
    let refusal = Refusal::OtherTerm { found: 2, least: 3, most: 3 };
    assert_eq!(net.world.refusal(&key(2), net.announcement(&keys, 2, &key(52))), refusal);
}

pub fn double_vote(net: &Net, secret: &SecretKey, height: u64) -> DoubleVote {
    let said = |value| Said { value, valid_round: None, signature: Signature([0; 64]) };
    let (first, second) = (said(None), said(Some([4; 32])));
    let mut votes =
        DoubleVote { key: VoteKey(secret.public()), step: VoteStep::Precommit, height, round: 0, first, second };
    let network = &net.world.context.network;
    votes.first.signature = secret.sign(&votes.statement(network, &first));
    votes.second.signature = secret.sign(&votes.statement(network, &second));
    votes
}

fn evidence(votes: DoubleVote) -> Action {
    Action::Evidence(Box::new(votes))
}

#[test]
fn a_double_vote_costs_a_tenth_of_the_stake_and_the_seats_once() {
    let mut net = Net::new();
    let new = net.join(1, Frost(5 * WAL));
    let keys = net.keys[&new].clone();
    net.end_term();
    assert_eq!(net.seats(&new).len(), 4);
    let withdraw = Action::Stake { node: new, change: StakeChange::Withdraw(Frost(WAL)) };
    net.act(&key(2), withdraw);
    let votes = double_vote(&net, &keys.vote, 3);
    let reserve = |net: &Net| views::totals(&net.world.state).unwrap().reserve.0;
    let before = reserve(&net);
    let events = net.act(&key(1), evidence(votes));
    // A tenth of what is bonded and of what is on its way back.
    let slashed = Frost(WAL / 2);
    assert!(matches!(&events[..], [Event::Punished { node, slashed: found, .. }] if *node == new && *found == slashed));
    assert_eq!(reserve(&net) - before, slashed.0);
    assert_eq!(net.world.refusal(&key(1), evidence(double_vote(&net, &keys.vote, 4))), Refusal::AlreadyPunished);
    // Until its seats are handed over it keeps its vote; then it waits a term.
    assert_eq!(net.seats(&new).len(), 4);
    net.end_term();
    assert_eq!(net.seats(&new).len(), 0);
    let view = |net: &Net| {
        let views = views::candidates(&net.world.state, &net.params()).unwrap();
        views.into_iter().find(|view| view.candidate.node == new).unwrap()
    };
    assert_eq!(view(&net).bound, election::Bound::NotStanding);
    assert!(matches!(view(&net).candidate.standing, Standing::Excluded { until: 5, .. }));
    net.end_term();
    assert_eq!((net.committee().term(), net.seats(&new).len()), (4, 0));
    net.end_term();
    assert_eq!((net.committee().term(), net.seats(&new).len()), (5, 3));
}

#[test]
fn what_proves_no_offence_is_refused() {
    let mut net = Net::new();
    let new = net.join(1, Frost(5 * WAL));
    let keys = net.keys[&new].clone();
    // A candidate that has no seat has no vote.
    let votes = double_vote(&net, &keys.vote, 3);
    assert_eq!(net.world.refusal(&key(1), evidence(votes)), Refusal::NotVoter);
    net.end_term();
    assert_eq!(net.world.refusal(&key(1), evidence(double_vote(&net, &key(60), 3))), Refusal::NotVoter);
    let mut equal = votes;
    equal.second = equal.first;
    let mut forged = votes;
    forged.second.value = Some([5; 32]);
    for (votes, why) in [(equal, NoDoubleVote::Equal), (forged, NoDoubleVote::BadSignature)] {
        assert_eq!(net.world.refusal(&key(1), evidence(votes)), Refusal::NoOffence { why });
    }
    let record = |net: &Net, epoch| views::epoch_record(&net.world.state, epoch).unwrap().unwrap().height.0;
    for _ in 0..12 {
        net.end_epoch();
    }
    let now = net.world.epoch();
    let least = record(&net, floe_types::Epoch(now.0 - net.params().unbonding().0));
    let refusal = Refusal::EvidenceTooOld { height: 3, least };
    assert_eq!(net.world.refusal(&key(1), evidence(votes)), refusal);
    let young = double_vote(&net, &keys.vote, least);
    net.act(&key(1), evidence(young));
}

#[test]
fn an_offender_that_left_is_still_within_reach_while_its_stake_unbonds() {
    let mut net = Net::new();
    let new = net.join(1, Frost(5 * WAL));
    let keys = net.keys[&new].clone();
    net.end_term();
    net.leave(new);
    net.end_term();
    net.end_epoch();
    assert_eq!(net.can_stop(&new), views::CanStop::Now);
    assert_eq!(views::candidates(&net.world.state, &net.params()).unwrap().len(), 7);
    let height = views::head(&net.world.state).unwrap().height.0;
    net.act(&key(1), evidence(double_vote(&net, &keys.vote, height)));
    let left = views::unbonding(&net.world.state, &new).unwrap();
    assert_eq!(left.iter().map(|(_, entry)| entry.amount.0).sum::<u64>(), 5 * WAL - WAL / 2);
    // Once it has gone back there is nothing to take.
    let mut late = Net::new();
    let gone = late.join(1, Frost(5 * WAL));
    late.end_term();
    late.leave(gone);
    late.end_term();
    while !views::unbonding(&late.world.state, &gone).unwrap().is_empty() || late.world.epoch().0 < 12 {
        late.end_epoch();
    }
    let height = views::head(&late.world.state).unwrap().height.0;
    let votes = double_vote(&late, &keys.vote, height);
    assert_eq!(late.world.refusal(&key(1), evidence(votes)), Refusal::NotCandidate);
}

#[test]
fn an_attestation_for_a_shard_without_a_row_is_refused() {
    let mut net = Net::new();
    net.store(blob(1), 9);
    let run = Run { first: Default::default(), last: Default::default() };
    let attest = |shards: ShardSet| Action::Attest { member: node(1), shards, runs: vec![run] };
    assert_eq!(net.world.refusal(&node_key(1), attest(seats(2))), Refusal::NotHolder { shard: 8 });
    let mixed = seats(1).union(&seats(6));
    assert_eq!(net.world.refusal(&node_key(1), attest(mixed)), Refusal::NotHolder { shard: 24 });
    assert_eq!(
        net.world.refusal(&node_key(1), attest([floe_types::ShardIndex(1000)].into_iter().collect())),
        Refusal::NotHolder { shard: 1000 }
    );
    let none = net.world.sign(&node_key(1), 0, FEE, attest(ShardSet::new()));
    assert!(matches!(none.check(&net.world.context.network), Err(TransactionError::Shape { .. })));
}

#[test]
fn the_supply_has_what_the_first_members_bonded() {
    let world = World::new();
    let totals = views::totals(&world.state).unwrap();
    assert_eq!(totals.stakes, Frost(28 * WAL));
    assert_eq!(totals.supply, Frost(10 * RICH.0 + 28 * WAL));
    assert_eq!(totals.accounts, Frost(10 * RICH.0));
    let account = AccountId(node_key(0).public());
    assert_eq!(views::account(&world.state, &account).unwrap().balance, RICH);
}
