//! I14: the same ledger prefix gives the same verdicts on every node, and after a replay from genesis the same state.
//!
//! Each boundary that a node writes is compared with that of the first node, with what the node's disk remembers of the
//! epoch, and with what the chain's own oracle expected. At the end a fresh node replays the decided blocks, checking
//! certificates, and must come to every node's state byte for byte.

use super::{Expected, Violation, differs};
use crate::node::Node;
use floe_consensus::{Certificate, Validator, ValidatorKey, ValidatorSet};
use floe_ledger::records::EpochRecord;
use floe_ledger::{Block, BoundaryHeader, Context, MemoryState, StateRead};
use floe_machines::wire::sync::DecidedBlock;
use floe_types::laws::Law;
use floe_types::{Committee, Epoch, Genesis, Height};
use std::collections::BTreeMap;

/// Every block that was ever decided, whoever still has it.
pub(super) type Archive = BTreeMap<Height, DecidedBlock>;

/// The tag of the table of epochs, as the ledger's own list gives it.
const EPOCHS: u8 = 21;
/// Of the certificates of a replay, one in this many is verified, the last always.
const CERTIFICATES_ONE_IN: u64 = 8;

/// The checker.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    boundaries: BTreeMap<Epoch, BoundaryHeader>,
}

impl Verdicts {
    pub(super) fn committed(&mut self, node: &Node, block: &Block, expected: Expected<'_>) -> Result<(), Violation> {
        let Some(header) = &block.header.boundary else { return Ok(()) };
        let (who, epoch) = (node.who, header.ended);
        let broken = |words: String| Err(Violation::of(Law::I14, words));
        if let Some(expected) = expected
            && let Some(what) = differs(header, expected)
        {
            return broken(format!("the boundary of epoch {epoch} has other {what} than {expected:?}: {header:?}"));
        }
        if self.boundaries.entry(epoch).or_insert_with(|| header.clone()) != header {
            return broken(format!("node {who} has another boundary of epoch {epoch} than others"));
        }
        let key = [&[EPOCHS][..], &epoch.0.to_be_bytes()].concat();
        let record = node.disk.state.get(&key).ok().flatten();
        let record = record.and_then(|bytes| postcard::from_bytes::<EpochRecord>(&bytes).ok());
        match record {
            Some(record) if record.boundary == *header => Ok(()),
            _ => broken(format!("node {who} does not remember epoch {epoch} as its block decided it")),
        }
    }
}

/// Replays the decided blocks from genesis and compares with every honest node.
pub(super) fn replay(genesis: &Genesis, archive: &Archive, nodes: &[Node]) -> Result<(), Violation> {
    let broken = |words: String| Violation::of(Law::I14, words);
    let honest = || nodes.iter().filter(|node| node.is_honest());
    let last = archive.last_key_value().map_or(Height(0), |(height, _)| *height);
    let context = Context::of(genesis);
    let mut state = MemoryState::new();
    state.apply(&floe_ledger::begin(genesis).map_err(|error| broken(error.to_string()))?);
    compare(Height(0), &state, honest())?;
    for (height, decided) in archive {
        let failed = |reason: String| broken(format!("the block of height {height} does not replay: {reason}"));
        let block = Block::decode(&decided.block).map_err(|error| failed(error.to_string()))?;
        if *height == last || height.0 % CERTIFICATES_ONE_IN == 0 {
            let certificate = Certificate::decode(&decided.certificate, usize::MAX);
            let certificate = certificate.map_err(|error| failed(error.to_string()))?;
            let office = floe_ledger::views::committee(&state).map_err(|error| failed(error.to_string()))?;
            certificate.verify(&context.network.0, &validators(&office)).map_err(|error| failed(error.to_string()))?;
        }
        let executed =
            floe_ledger::execute_decided(&state, &context, block).map_err(|error| failed(error.to_string()))?;
        state.apply(&executed.changes);
        compare(*height, &state, honest())?;
    }
    Ok(())
}

fn validators(committee: &Committee) -> ValidatorSet {
    let validator = |member: &floe_types::Member| Validator {
        key: ValidatorKey(member.vote_key.0),
        power: member.shards.len() as u64,
    };
    let all = committee.members().iter().map(validator).collect();
    ValidatorSet::new(all).expect("a committee's members have distinct keys and shards")
}

/// Every node whose newest block is at this height has this state.
fn compare<'a>(height: Height, state: &MemoryState, nodes: impl Iterator<Item = &'a Node>) -> Result<(), Violation> {
    for node in nodes {
        let newest = floe_ledger::views::head(&node.disk.state).map_or(Height(0), |head| head.height);
        if newest == height && node.disk.state != *state {
            let words = format!("node {} has another state at height {height} than a replay from genesis", node.who);
            return Err(Violation::of(Law::I14, words));
        }
    }
    Ok(())
}
