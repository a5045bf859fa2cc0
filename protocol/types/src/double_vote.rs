//! Proof that a vote key signed two different things for one height, round and step, in a form that needs no consensus
//! to check.
//!
//! What a vote key signs is a *statement* of fixed length, so that no two statements share bytes:
//!
//! ```text
//! "floe-consensus-v1" | network 32 | step 1 | height 8 | round 4 | voted 1 + value 32 | has 1 + valid round 4
//! ```
//!
//! Consensus makes them and stands alone, and so does the ledger that punishes by them. The form stands here a second
//! time; a test where both are known holds the two together.
//!
//! # Laws
//! - **I19** Keys that sign one thing for each height, round and step have no valid proof against them.

use crate::keys::{self, Signature};
use crate::names::{NetworkId, VoteKey};
use serde::{Deserialize, Serialize};

/// Bytes of a statement.
pub const STATEMENT_BYTES: usize = 17 + 32 + 1 + 8 + 4 + 33 + 5;
const DOMAIN: &[u8; 17] = b"floe-consensus-v1";

/// Which of the three signed acts of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum VoteStep {
    /// The first vote.
    Prevote,
    /// The second vote.
    Precommit,
    /// The proposer's offer.
    Proposal,
}

/// One of the two things that were signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The value; none for nil, which a proposal cannot say.
    pub value: Option<[u8; 32]>,
    /// Of proposals only: the earlier round named in it.
    pub valid_round: Option<u32>,
    /// By the vote key over the statement.
    pub signature: Signature,
}

/// Two conflicting statements of one key. Unchecked until [`DoubleVote::verify`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoubleVote {
    /// Who signed both.
    pub key: VoteKey,
    /// The act that was done twice.
    pub step: VoteStep,
    /// Of both.
    pub height: u64,
    /// Of both.
    pub round: u32,
    /// One.
    pub first: Said,
    /// The other.
    pub second: Said,
}

/// Why two statements prove nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoDoubleVote {
    /// They say the same.
    #[error("both statements say the same")]
    Equal,
    /// No validator makes such a statement: a proposal of nothing, or a vote with a valid round.
    #[error("a statement is none that is ever made")]
    Malformed,
    /// A signature is not of its statement by the key.
    #[error("a signature is not of its statement by this key")]
    BadSignature,
}

impl DoubleVote {
    /// The bytes that `said` is a signature over.
    #[must_use]
    pub fn statement(&self, network: &NetworkId, said: &Said) -> [u8; STATEMENT_BYTES] {
        let step = match self.step {
            VoteStep::Prevote => 1,
            VoteStep::Precommit => 2,
            VoteStep::Proposal => 3,
        };
        let (voted, value) = said.value.map_or((0, [0; 32]), |value| (1, value));
        let (has, valid_round) = said.valid_round.map_or((0, 0), |round| (1, round));
        let mut bytes = [0; STATEMENT_BYTES];
        let mut rest = bytes.as_mut_slice();
        let parts: [&[u8]; 9] = [
            DOMAIN,
            &network.0,
            &[step],
            &self.height.to_be_bytes(),
            &self.round.to_be_bytes(),
            &[voted],
            &value,
            &[has],
            &valid_round.to_be_bytes(),
        ];
        for part in parts {
            let (place, after) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        }
        bytes
    }

    /// Whether the key really signed two different statements on this network.
    ///
    /// # Errors
    /// [`NoDoubleVote`] with the first thing that is wrong, the cheap ones first.
    pub fn verify(&self, network: &NetworkId) -> Result<(), NoDoubleVote> {
        if (self.first.value, self.first.valid_round) == (self.second.value, self.second.valid_round) {
            return Err(NoDoubleVote::Equal);
        }
        for said in [&self.first, &self.second] {
            let is_made = match self.step {
                VoteStep::Proposal => said.value.is_some(),
                VoteStep::Prevote | VoteStep::Precommit => said.valid_round.is_none(),
            };
            if !is_made {
                return Err(NoDoubleVote::Malformed);
            }
        }
        for said in [&self.first, &self.second] {
            keys::verify(&self.key.0, &self.statement(network, said), &said.signature)
                .map_err(|_| NoDoubleVote::BadSignature)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SecretKey;

    const NETWORK: NetworkId = NetworkId([7; 32]);

    fn signed(key: &SecretKey, step: VoteStep, values: [(Option<[u8; 32]>, Option<u32>); 2]) -> DoubleVote {
        let unsigned = |(value, valid_round)| Said { value, valid_round, signature: Signature([0; 64]) };
        let [first, second] = values.map(unsigned);
        let mut vote = DoubleVote { key: VoteKey(key.public()), step, height: 9, round: 2, first, second };
        vote.first.signature = key.sign(&vote.statement(&NETWORK, &first));
        vote.second.signature = key.sign(&vote.statement(&NETWORK, &second));
        vote
    }

    #[test]
    fn two_different_statements_are_proof_and_nothing_else_is() {
        let key = SecretKey::from_bytes([1; 32]);
        let good = signed(&key, VoteStep::Precommit, [(None, None), (Some([1; 32]), None)]);
        assert_eq!(good.verify(&NETWORK), Ok(()));
        assert_eq!(good.verify(&NetworkId([8; 32])), Err(NoDoubleVote::BadSignature));
        let same = signed(&key, VoteStep::Prevote, [(Some([1; 32]), None), (Some([1; 32]), None)]);
        assert_eq!(same.verify(&NETWORK), Err(NoDoubleVote::Equal));
        let rounds = signed(&key, VoteStep::Proposal, [(Some([1; 32]), None), (Some([1; 32]), Some(1))]);
        assert_eq!(rounds.verify(&NETWORK), Ok(()));
        let nil = signed(&key, VoteStep::Proposal, [(Some([1; 32]), None), (None, None)]);
        assert_eq!(nil.verify(&NETWORK), Err(NoDoubleVote::Malformed));
        let vote = signed(&key, VoteStep::Prevote, [(Some([1; 32]), None), (Some([1; 32]), Some(1))]);
        assert_eq!(vote.verify(&NETWORK), Err(NoDoubleVote::Malformed));
        for touch in [
            |vote: &mut DoubleVote| vote.key.0[0] ^= 1,
            |vote: &mut DoubleVote| vote.height += 1,
            |vote: &mut DoubleVote| vote.round += 1,
            |vote: &mut DoubleVote| vote.step = VoteStep::Prevote,
            |vote: &mut DoubleVote| vote.second.signature.0[0] ^= 1,
            |vote: &mut DoubleVote| vote.second.value = Some([2; 32]),
        ] {
            let mut touched = good;
            touch(&mut touched);
            assert_eq!(touched.verify(&NETWORK), Err(NoDoubleVote::BadSignature));
        }
    }
}
