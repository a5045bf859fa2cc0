//! I15: no honest key signs two different messages for one height, round and step, or two reports for one epoch.
//!
//! A log of everything honest nodes ever published, through all their falls. Signing is deterministic, so equal
//! statements are equal bytes. The other side of the coin: nobody may ever hold evidence against an honest key.

use super::Violation;
use crate::identity;
use crate::plan::{Plan, Villain};
use floe_consensus::{Equivocation, Message, MessageKind};
use floe_ledger::{Action, SignedTransaction};
use floe_machines::coordinator::Topic;
use floe_types::laws::Law;
use std::collections::BTreeMap;

/// One thing that may be said once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Consensus { who: usize, height: u64, round: u32, kind: MessageKind },
    Report { who: usize, epoch: u64 },
}

/// The checker.
#[derive(Debug)]
pub(super) struct Signatures {
    said: BTreeMap<Act, [u8; 32]>,
    equivocators: Vec<usize>,
}

impl Signatures {
    pub(super) fn new(plan: &Plan) -> Signatures {
        let equivocator = |villain: &Villain| match villain {
            Villain::Equivocator { node } => Some(*node),
            _ => None,
        };
        Signatures { said: BTreeMap::new(), equivocators: plan.villains.iter().filter_map(equivocator).collect() }
    }

    pub(super) fn said(&mut self, who: usize, topic: Topic, bytes: &[u8]) -> Result<(), Violation> {
        let act = match topic {
            Topic::Consensus => match Message::decode(bytes, usize::MAX) {
                // A certificate is signed by many and may be made of other votes the next time.
                Ok(message) if message.sender().is_some_and(|key| identity::voter(&key) == Some(who)) => {
                    let (height, round, kind) = (message.height().0, message.round().0, message.kind());
                    Act::Consensus { who, height, round, kind }
                }
                _ => return Ok(()),
            },
            Topic::Transactions => match SignedTransaction::decode(bytes).map(|signed| signed.transaction) {
                Ok(transaction) if transaction.sender.0 == identity::account_key(who).public() => {
                    match transaction.action {
                        Action::Report { epoch, .. } => Act::Report { who, epoch: epoch.0 },
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
            let accused = identity::voter(&equivocation.key());
            if accused.is_none_or(|node| !self.equivocators.contains(&node)) {
                let (height, step) = (equivocation.height(), equivocation.step());
                let words = format!("there is evidence against honest node {accused:?} of {step:?} at {height}");
                return Err(Violation::of(Law::I15, words));
            }
        }
        Ok(())
    }
}
