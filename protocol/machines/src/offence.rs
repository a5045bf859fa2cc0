//! Tells the ledger of an equivocation that consensus found, in the ledger's words.
//!
//! The two know nothing of each other; the test here holds their forms of a statement together.

use floe_consensus::{Equivocation, Stated, Step};
use floe_types::VoteKey;
use floe_types::double_vote::{DoubleVote, Said, VoteStep};
use floe_types::keys::Signature;

/// The same proof for [`floe_ledger::Action::Evidence`].
#[must_use]
pub fn double_vote(equivocation: &Equivocation) -> DoubleVote {
    let said = |stated: Stated| Said {
        value: stated.value.map(|value| value.0),
        valid_round: stated.valid_round.map(|round| round.0),
        signature: Signature(stated.signature.0),
    };
    let step = match equivocation.step() {
        Step::Prevote => VoteStep::Prevote,
        Step::Precommit => VoteStep::Precommit,
        Step::Proposal => VoteStep::Proposal,
    };
    let [first, second] = equivocation.statements().map(said);
    let key = VoteKey(equivocation.key().0);
    DoubleVote { key, step, height: equivocation.height().0, round: equivocation.round().0, first, second }
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_types::codec::encode;
    use floe_types::keys::SecretKey;
    use floe_types::{NetworkId, codec};

    const NETWORK: NetworkId = NetworkId([7; 32]);

    /// What the ledger would punish, signed.
    fn signed(step: VoteStep, values: [(Option<[u8; 32]>, Option<u32>); 2]) -> DoubleVote {
        let secret = SecretKey::from_bytes([3; 32]);
        let unsigned = |(value, valid_round)| Said { value, valid_round, signature: Signature([0; 64]) };
        let [first, second] = values.map(unsigned);
        let mut votes = DoubleVote { key: VoteKey(secret.public()), step, height: 300, round: 2, first, second };
        votes.first.signature = secret.sign(&votes.statement(&NETWORK, &first));
        votes.second.signature = secret.sign(&votes.statement(&NETWORK, &second));
        votes
    }

    fn halves(signature: &Signature) -> [[u8; 32]; 2] {
        let (one, two) = signature.0.split_at(32);
        [one.try_into().unwrap(), two.try_into().unwrap()]
    }

    #[test]
    fn what_the_ledger_punishes_is_what_consensus_finds() {
        for (step, kind) in [(VoteStep::Prevote, 0u32), (VoteStep::Precommit, 1)] {
            let votes = signed(step, [(None, None), (Some([9; 32]), None)]);
            let vote =
                |said: &Said| (kind, votes.height, votes.round, said.value, votes.key.0, halves(&said.signature));
            let bytes = encode(&(0u32, vote(&votes.first), vote(&votes.second)));
            check(&votes, &bytes);
        }
        let offers = signed(VoteStep::Proposal, [(Some([9; 32]), Some(1)), (Some([9; 32]), None)]);
        let offer = |said: &Said| {
            (offers.height, offers.round, said.valid_round, said.value.unwrap(), offers.key.0, halves(&said.signature))
        };
        check(&offers, &encode(&(1u32, offer(&offers.first), offer(&offers.second))));
    }

    fn check(votes: &DoubleVote, bytes: &[u8]) {
        // Consensus puts a format byte before.
        let bytes = [&[1], bytes].concat();
        let equivocation = Equivocation::decode(&bytes).unwrap();
        assert!(equivocation.verify(&NETWORK.0), "consensus signs other bytes than the ledger checks");
        assert_eq!(double_vote(&equivocation), *votes);
        assert_eq!(votes.verify(&NETWORK), Ok(()));
        let _: DoubleVote = codec::decode(&encode(votes), 512).unwrap();
    }
}
