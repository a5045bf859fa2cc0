//! Makes known what somebody is bound to, so that a height need not wait for that one's turn.
//!
//! Who saw a quorum of prevotes for a value in a round is locked on it and prevotes nothing else later. When the others did
//! not see that quorum (votes were lost, whoever cast them fell) they propose other values, in which the locked one has no
//! part. Where every vote is needed, with exactly a quorum there, nothing is then decided before it is the locked one's
//! own turn: as many rounds as there are members, each longer than the last. The library shows a lock to all, but only
//! from its tenth round on and only when the lock is made.
//!
//! ```text
//!  round 4   proposer: a value of its own       the locked one: prevotes nil, shows polka and proposal of round 2
//!  round 5   proposer: the value of round 2     all: prevote it
//! ```
//!
//! 1. **Showing.** A proposal of the round under way that is for another value and rests on no quorum as new as ours says
//!    that its proposer does not know. Then the certificate that locked this node is published, and the proposal with the
//!    value unless more than a third precommitted that: a lock that so many have is not hidden, and a proposer that only
//!    pretends not to know must not make all of them send a value. One proposal is answered once; when nobody contradicts,
//!    nothing is said.
//! 2. **Taking up.** Who has to propose a value and knows of one that a quorum prevoted proposes that, as if it were its own.
//!    Whoever is locked on it prevotes it, and whoever is not locked does too.
//!
//! Neither changes who may prevote or precommit what: any valid value may be proposed by a proposer that is not locked.
//!
//! # Where we differ (decision 040)
//! The paper's line 16 proposes again only what the proposer itself saw accepted in time (its *valid value*). A certificate
//! of an earlier round that came late says as much about what others are bound to. The library keeps it and does not propose
//! it; so it is proposed as a fresh value, without the round that would release those who are locked on an older one. These
//! wait for a proposer that is locked on the newer one, as before.

use crate::ballot::SignedProposal;
use crate::context;
use crate::machine::Run;
use crate::message::Content;
use crate::{Effect, Message, Round, ValueId, Verdict};
use arc_malachitebft_core_types as core;
use bytes::Bytes;

impl Run {
    /// Looks at a proposal that was let in: publishes what this node is bound to when the proposer does not know of it.
    pub fn answer_unknowing(&mut self, proposal: &SignedProposal) {
        if self.host.own_key().is_none() || proposal.round != self.round() {
            return;
        }
        let Some(valid) = self.state.driver.valid_value() else { return };
        let (value, round) = (valid.value, context::our_round(valid.round));
        let is_older = round < proposal.round && proposal.valid_round < Some(round);
        if proposal.value == value || !is_older {
            return;
        }
        let Some(polka) = self.state.polka_certificate(valid.round, &value).map(context::our_polka) else { return };
        // The certificate first: it makes room for a proposal that would be one too many of its round.
        self.host.effects.push(Effect::Publish(Message(Content::Polka(polka))));
        let votes = self.state.driver.votes().per_round(valid.round).map(|round| round.votes());
        let bound = votes.map_or(0, |votes| votes.get_weight(core::VoteType::Precommit, &core::NilOrVal::Val(value)));
        if u128::from(bound) * 3 > u128::from(self.host.validators.total_power()) {
            return;
        }
        let shown = self.state.driver.proposal_and_validity_for_round_and_value(valid.round, value);
        let shown = shown.map(|(shown, _)| context::our_proposal(&shown.message, shown.signature));
        let bytes = self.host.values.get(&value).map(|kept| kept.bytes.clone());
        if let (Some(shown), Some(bytes)) = (shown, bytes) {
            self.host.effects.push(Effect::Publish(Message(Content::Proposal(shown, bytes))));
        }
    }

    /// The newest value of this height of which is known that a quorum prevoted it, and that is here and valid.
    pub fn once_prevoted(&self) -> Option<(ValueId, Bytes)> {
        let here = |(round, id): (Round, ValueId)| {
            let kept = self.host.values.get(&id).filter(|kept| kept.verdict == Verdict::Valid)?;
            Some((round, id, kept.bytes.clone()))
        };
        let known = self.state.driver.polka_certificates().iter();
        let known = known.map(|polka| (context::our_round(polka.round), polka.value_id));
        let newest = known.filter_map(here).max_by_key(|(round, id, _)| (*round, *id));
        newest.map(|(_, id, bytes)| (id, bytes))
    }
}
