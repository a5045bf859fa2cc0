//! Sees to it that two votes of one key are punished: what consensus found is submitted as evidence until the ledger knows.
//!
//! Members mostly find the same, so they take turns: with each height that passes without a punishment a third of the
//! committee more submits, in an order that the guilty key gives. Who is no member comes last: it may be the only one that heard
//! both votes. Whoever comes late pays for nothing: the ledger refuses a second punishment, and the wallet frees the line.
//!
//! Heights count from where the chain stands: what is found while old blocks are read in waits for the newest of them.
//!
//! At most [`ACCUSED_MAX`] keys are seen to at a time, for [`PATIENCE_HEIGHTS`] heights each; one more is left to the others.

use super::duties::SAID_BY_ITSELF;
use super::machine::{Coordinator, Work};
use super::{Equivocation, Error};
use crate::offence::double_vote;
use floe_ledger::{Action, views};
use floe_types::{Committee, DoubleVote, Height, NodeId, VoteKey};
use std::collections::BTreeMap;

/// The most keys that are seen to at a time.
pub const ACCUSED_MAX: usize = 64;
/// Heights after which nobody is waited for any more: the ledger does not take it, whatever its reason.
pub const PATIENCE_HEIGHTS: u64 = 32;
/// Heights after which evidence that did not get into a block is submitted again.
const AGAIN_HEIGHTS: u64 = 2;
/// The turn after those of all members.
const LAST_TURN: usize = 3;

#[derive(Debug)]
struct Accusation {
    votes: DoubleVote,
    found: Height,
    submitted: Option<Height>,
}

/// What is seen to.
#[derive(Debug, Default)]
pub(super) struct Accusations {
    open: BTreeMap<VoteKey, Accusation>,
}

impl Accusations {
    /// Takes what came with the decision of `height`.
    pub fn found(&mut self, height: Height, equivocations: &[Equivocation]) {
        for equivocation in equivocations {
            let votes = double_vote(equivocation);
            if self.open.len() < ACCUSED_MAX {
                self.open.entry(votes.key).or_insert(Accusation { votes, found: height, submitted: None });
            }
        }
    }

    /// Old blocks are being read in: `head` is not where the chain stands.
    fn wait_at(&mut self, head: Height) {
        self.open.values_mut().for_each(|open| open.found = open.found.max(head));
    }

    /// Those whose turn it is for `node` at `head`, marked as submitted.
    fn due(&mut self, committee: &Committee, node: &NodeId, head: Height) -> Vec<DoubleVote> {
        let members = committee.members().len();
        let place = committee.index_of(node);
        let mut due = Vec::new();
        for (key, open) in &mut self.open {
            let first = usize::from(key.0.first().copied().unwrap_or_default()) % members.max(1);
            let turn = match place {
                Some(place) => (usize::from(place.0) + members - first) % members.max(1) / (members / 3 + 1),
                None => LAST_TURN,
            };
            let has_come = head.0 >= open.found.0.saturating_add(turn as u64);
            let waits = open.submitted.is_some_and(|at| head.0 < at.0.saturating_add(AGAIN_HEIGHTS));
            if has_come && !waits {
                open.submitted = Some(head);
                due.push(open.votes);
            }
        }
        due
    }
}

impl Coordinator {
    /// After a block: what is punished is forgotten, what is not is submitted when it is this node's turn.
    pub(super) fn see_offences_punished(&mut self, work: &mut Work<'_>) -> Result<(), Error> {
        let head = self.head.height;
        if self.catch_up.has_blocks() {
            self.accusations.wait_at(head);
            return Ok(());
        }
        let mut over = Vec::new();
        for (key, open) in &self.accusations.open {
            let late = head.0 > open.found.0.saturating_add(PATIENCE_HEIGHTS);
            if late || views::punished(work.state, key)?.is_some() {
                over.push(*key);
            }
        }
        self.accusations.open.retain(|key, _| !over.contains(key));
        for votes in self.accusations.due(&self.committee, &self.node, head) {
            self.submit(work, SAID_BY_ITSELF, Action::Evidence(Box::new(votes)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{committee, node};
    use floe_types::double_vote::{Said, VoteStep};
    use floe_types::keys::Signature;

    fn votes(seed: u8) -> DoubleVote {
        let said = Said { value: None, valid_round: None, signature: Signature([0; 64]) };
        DoubleVote { key: VoteKey([seed; 32]), step: VoteStep::Prevote, height: 5, round: 0, first: said, second: said }
    }

    fn open(votes: DoubleVote) -> Accusations {
        let accusation = Accusation { votes, found: Height(5), submitted: None };
        Accusations { open: [(votes.key, accusation)].into() }
    }

    #[test]
    fn members_take_turns_until_all_have_submitted() {
        let committee = committee(7, 28, 1);
        let submits = |seed: u8, head: u64| !open(votes(9)).due(&committee, &node(seed), Height(head)).is_empty();
        let counts = [5, 6, 7].map(|head| (1..=7).filter(|seed| submits(*seed, head)).count());
        assert_eq!(counts, [3, 6, 7]);
        assert_eq!([7, 8].map(|head| submits(9, head)), [false, true], "who is no member comes last");
    }

    #[test]
    fn what_is_found_in_old_blocks_is_not_too_late_when_the_newest_has_come() {
        let committee = committee(1, 4, 1);
        let mut accusations = open(votes(9));
        (5..=5 + 2 * PATIENCE_HEIGHTS).for_each(|head| accusations.wait_at(Height(head)));
        let found = Height(5 + 2 * PATIENCE_HEIGHTS);
        assert!(accusations.open.values().all(|open| open.found == found));
        assert_eq!(accusations.due(&committee, &node(1), found).len(), 1);
    }

    #[test]
    fn evidence_is_submitted_again_but_not_at_every_height() {
        let committee = committee(1, 4, 1);
        let mut accusations = open(votes(9));
        let mut submits = |head: u64| !accusations.due(&committee, &node(1), Height(head)).is_empty();
        assert_eq!([5, 6, 7, 8].map(&mut submits), [true, false, true, false]);
    }

    #[test]
    fn no_more_keys_are_seen_to_than_there_is_room_for() {
        let mut accusations = Accusations::default();
        for seed in 0..=u8::MAX {
            let votes = votes(seed);
            if accusations.open.len() < ACCUSED_MAX {
                accusations.open.insert(votes.key, Accusation { votes, found: Height(5), submitted: None });
            }
        }
        accusations.found(Height(6), &[]);
        assert_eq!(accusations.open.len(), ACCUSED_MAX);
    }
}
