//! I15: no honest key signs two different messages for one height, round and step, or two commitments or reports for
//! one epoch.
//!
//! A log of everything honest nodes ever published, through all their falls, lost disks and changes of keys. Signing is
//! deterministic, so equal statements are equal bytes. The other side of the coin: nobody may ever hold evidence against an
//! honest key. And a key serves one term: at the end nobody who is there has the secret of one that served before the
//! running term.

use super::Violation;
use crate::identity;
use crate::node::Node;
use crate::plan::{Plan, Villain};
use floe_consensus::{Equivocation, Message, MessageKind, ValidatorKey};
use floe_ledger::{Action, SignedTransaction, views};
use floe_machines::coordinator::Topic;
use floe_types::laws::Law;
use std::collections::BTreeMap;

/// One thing that may be said once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Consensus { key: ValidatorKey, height: u64, round: u32, kind: MessageKind },
    Report { who: usize, epoch: u64 },
    Commitment { who: usize, epoch: u64 },
}

/// The checker.
#[derive(Debug)]
pub(super) struct Signatures {
    said: BTreeMap<Act, [u8; 32]>,
    equivocators: Vec<usize>,
    /// Whose each key is that was ever made.
    owners: BTreeMap<ValidatorKey, usize>,
}

impl Signatures {
    pub(super) fn new(plan: &Plan) -> Signatures {
        let equivocator = |villain: &Villain| match villain {
            Villain::Equivocator { node } => Some(*node),
            _ => None,
        };
        let equivocators = plan.villains.iter().filter_map(equivocator).collect();
        Signatures { said: BTreeMap::new(), equivocators, owners: BTreeMap::new() }
    }

    pub(super) fn key_made(&mut self, who: usize, key: ValidatorKey) {
        self.owners.insert(key, who);
    }

    /// Whether the key is one of those whose owner says two things.
    pub(super) fn is_false(&self, key: &ValidatorKey) -> bool {
        self.owners.get(key).is_some_and(|owner| self.equivocators.contains(owner))
    }

    /// The run is over: past keys are destroyed by everybody who is there and has heard of the running term.
    pub(super) fn at_the_end(&self, nodes: &[Node]) -> Result<(), Violation> {
        for node in nodes.iter().filter(|node| node.is_honest() && node.live.is_some()) {
            let state = &node.disk.state;
            let Ok(office) = views::committee(state) else { continue };
            let next = views::next_committee(state).ok().flatten();
            let candidate = views::candidate(state, &node.id()).ok().flatten();
            let serves = |key: &[u8; 32]| {
                let in_office = [Some(&office), next.as_ref()].into_iter().flatten();
                in_office.flat_map(|committee| committee.members()).any(|member| member.vote_key.0 == *key)
                    || candidate.as_ref().is_some_and(|one| one.vote_key.0 == *key)
            };
            for term in 1..office.term() {
                let Ok(Some(past)) = views::committee_of(state, term) else { continue };
                let Some(member) = past.index_of(&node.id()).and_then(|index| past.member(index)) else { continue };
                let key = member.vote_key.0;
                if node.secrets.contains_key(&key) && !serves(&key) {
                    let (who, running) = (node.who, office.term());
                    let words = format!("node {who} has the secret of its key of term {term} in term {running}");
                    return Err(Violation::of(Law::I15, words));
                }
            }
        }
        Ok(())
    }

    pub(super) fn said(&mut self, who: usize, topic: Topic, bytes: &[u8]) -> Result<(), Violation> {
        let act = match topic {
            Topic::Consensus => match Message::decode(bytes, usize::MAX) {
                // A certificate is signed by many and may be made of other votes the next time.
                Ok(message) => match message.sender().filter(|key| self.owners.get(key) == Some(&who)) {
                    Some(key) => {
                        let (height, round, kind) = (message.height().0, message.round().0, message.kind());
                        Act::Consensus { key, height, round, kind }
                    }
                    None => return Ok(()),
                },
                Err(_) => return Ok(()),
            },
            Topic::Transactions => match SignedTransaction::decode(bytes).map(|signed| signed.transaction) {
                Ok(transaction) if transaction.sender.0 == identity::account_key(who).public() => {
                    match transaction.action {
                        Action::Report(report) => Act::Report { who, epoch: report.epoch.0 },
                        Action::Commit { epoch, .. } => Act::Commitment { who, epoch: epoch.0 },
                        _ => return Ok(()),
                    }
                }
                _ => return Ok(()),
            },
        };
        let hash = *blake3::hash(bytes).as_bytes();
        match self.said.insert(act, hash) {
            Some(before) if before != hash => Err(Violation::of(Law::I15, format!("two messages of one act, {act:?}"))),
            _ => Ok(()),
        }
    }

    /// Evidence that came with a decision: against villains only.
    pub(super) fn accused(&self, evidence: &[Equivocation]) -> Result<(), Violation> {
        for equivocation in evidence {
            let accused = self.owners.get(&equivocation.key());
            if !self.is_false(&equivocation.key()) {
                let (height, step) = (equivocation.height(), equivocation.step());
                let words = format!("there is evidence against honest node {accused:?} of {step:?} at {height}");
                return Err(Violation::of(Law::I15, words));
            }
        }
        Ok(())
    }
}
