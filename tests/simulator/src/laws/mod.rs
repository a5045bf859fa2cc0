//! The checkers: one a law, each recomputing what it checks from what it sees.
//!
//! They see what nodes publish, what nodes write and what clients get, never what a machine thinks. None of them calls
//! the code whose promise it checks: the ledger's own check of its sums, say, is not used to check its sums.

mod agreement;
mod blobs;
mod chain;
mod conservation;
mod debts;
mod offences;
mod repairs;
mod seats;
mod signatures;
mod verdicts;

use crate::node::Node;
use crate::plan::Plan;
use bytes::Bytes;
use floe_consensus::ValidatorKey;
use floe_ledger::candidates::Standing;
use floe_ledger::{Block, BoundaryHeader, MemoryState, StateError, Verdict, Weight, views};
use floe_machines::coordinator::{Commit, Topic};
use floe_machines::wire::fragment::SymbolRequest;
use floe_machines::wire::sync::DecidedBlock;
use floe_types::laws::Law;
use floe_types::{BlobId, Committee, Epoch, Genesis, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which law; none when an honest machine stopped, which no law may excuse.
    pub law: Option<Law>,
    /// What was seen.
    pub words: String,
}

impl Violation {
    fn of(law: Law, words: impl Into<String>) -> Violation {
        Violation { law: Some(law), words: words.into() }
    }

    /// An honest node's machine cannot go on.
    pub(crate) fn stopped(node: usize, reason: &str) -> Violation {
        Violation { law: None, words: format!("honest node {node} stopped: {reason}") }
    }

    /// The run itself cannot go on.
    pub(crate) fn stuck(reason: &str) -> Violation {
        Violation { law: None, words: reason.to_owned() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.law {
            Some(law) => write!(f, "{law:?} ({}): {}", law.statement(), self.words),
            None => write!(f, "no honest machine stops: {}", self.words),
        }
    }
}

/// Who of `office` is excluded in `state`.
fn excluded(state: &MemoryState, office: &Committee) -> Result<BTreeSet<NodeId>, StateError> {
    let mut found = BTreeSet::new();
    for member in office.members() {
        let candidate = views::candidate(state, &member.node)?;
        if candidate.is_some_and(|one| matches!(one.standing, Standing::Excluded { .. })) {
            found.insert(member.node);
        }
    }
    Ok(found)
}

/// All checkers of a run.
pub struct Laws {
    watched: Vec<Law>,
    agreement: agreement::Agreement,
    conservation: conservation::Conservation,
    chain: chain::Chain,
    verdicts: verdicts::Verdicts,
    signatures: signatures::Signatures,
    blobs: blobs::Blobs,
    seats: seats::Seats,
    offences: offences::Offences,
    repairs: repairs::Repairs,
    debts: debts::Debts,
    archive: verdicts::Archive,
    genesis: Genesis,
}

impl Laws {
    /// Checkers of `watched` for a run.
    #[must_use]
    pub fn new(watched: &[Law], plan: &Plan, genesis: &Genesis) -> Laws {
        Laws {
            watched: watched.to_vec(),
            agreement: agreement::Agreement::default(),
            conservation: conservation::Conservation::new(genesis),
            chain: chain::Chain::new(genesis),
            verdicts: verdicts::Verdicts::default(),
            signatures: signatures::Signatures::new(plan),
            blobs: blobs::Blobs::default(),
            seats: seats::Seats::new(genesis),
            offences: offences::Offences::new(plan),
            repairs: repairs::Repairs::new(genesis),
            debts: debts::Debts::default(),
            archive: verdicts::Archive::new(),
            genesis: genesis.clone(),
        }
    }

    fn is_watched(&self, law: Law) -> bool {
        self.watched.contains(&law)
    }

    /// Keeps a finding when its law is watched.
    fn if_watched(&self, finding: Result<(), Violation>) -> Result<(), Violation> {
        match finding {
            Err(Violation { law: Some(law), .. }) if !self.is_watched(law) => Ok(()),
            other => other,
        }
    }

    /// A checker outside this module has seen `law` broken.
    ///
    /// # Errors
    /// The violation, when the law is watched.
    pub fn broken(&self, law: Law, words: impl Into<String>) -> Result<(), Violation> {
        self.if_watched(Err(Violation::of(law, words)))
    }

    /// A node makes a key for votes.
    pub fn key_made(&mut self, who: usize, key: ValidatorKey) {
        self.signatures.key_made(who, key);
    }

    /// Keys that were punished.
    #[must_use]
    pub fn punished(&self) -> u64 {
        self.offences.punished()
    }

    /// An honest node publishes a message.
    ///
    /// # Errors
    /// I15, when it has said something else before.
    pub fn said(&mut self, who: usize, topic: Topic, bytes: &Bytes) -> Result<(), Violation> {
        let finding = self.signatures.said(who, topic, bytes);
        self.if_watched(finding)
    }

    /// An honest node has written a block: its disk shows the state after it.
    ///
    /// # Errors
    /// I1, I7, I14 or I15.
    pub(crate) fn committed(&mut self, node: &Node, commit: &Commit) -> Result<(), Violation> {
        let block = Block::decode(&commit.block);
        let block =
            block.map_err(|error| Violation::of(Law::I1, format!("a decided block does not decode: {error}")))?;
        let evidence = self.signatures.accused(&commit.equivocations);
        self.if_watched(evidence)?;
        if self.is_watched(Law::I1) {
            self.agreement.committed(node, commit)?;
        }
        if self.is_watched(Law::I7) {
            self.conservation.committed(node, &block)?;
        }
        self.offences.seen(node, commit);
        if self.chain.is_next(&block) {
            self.first_commit(node, commit, &block)?;
        }
        let ended = self.chain.expectation(&block);
        if self.is_watched(Law::I14) {
            self.verdicts.committed(node, &block, ended)?;
        }
        Ok(())
    }

    /// The first honest node has written this block.
    fn first_commit(&mut self, node: &Node, commit: &Commit, block: &Block) -> Result<(), Violation> {
        let decided = DecidedBlock { block: commit.block.to_vec(), certificate: commit.certificate.clone() };
        self.archive.insert(commit.height, decided);
        let (offences, signatures) = (&mut self.offences, &self.signatures);
        let finding = offences.decided(block, |key| signatures.is_false(key));
        self.if_watched(finding)?;
        let finding = self.chain.advance(block, &node.disk.state);
        if self.is_watched(Law::I14) {
            finding?;
        }
        let finding = self.seats.decided(block, &node.disk.state);
        self.if_watched(finding)?;
        let finding = self.repairs.decided(block, &node.disk.state);
        self.if_watched(finding)?;
        let finding = self.debts.decided(block, &node.disk.state);
        self.if_watched(finding)
    }

    /// A holder gives a recovery symbol.
    ///
    /// # Errors
    /// I9, when the asker has no right to it.
    pub(crate) fn symbol_given(&self, holder: &Node, asker: &NodeId, request: &SymbolRequest) -> Result<(), Violation> {
        if !holder.is_honest() {
            return Ok(());
        }
        self.if_watched(self.repairs.symbol_given(holder, asker, request))
    }

    /// Fragments that boundaries planned to rebuild.
    #[must_use]
    pub fn planned(&self) -> u64 {
        self.repairs.planned()
    }

    /// What the reserve paid for repair, in FROST.
    #[must_use]
    pub fn paid_for_repair(&self) -> u64 {
        self.debts.paid()
    }

    /// An honest node has risen with what its disk has.
    ///
    /// # Errors
    /// I2, when fragments are gone that it had confirmed.
    pub(crate) fn rose(&self, node: &Node) -> Result<(), Violation> {
        self.if_watched(blobs::kept_what_was_confirmed(node))
    }

    /// A client was told that its blob is stored.
    pub fn acknowledged(&mut self, blob: BlobId, source: Arc<Vec<u8>>, last: Epoch) {
        self.blobs.acknowledged(blob, source, last);
    }

    /// Blobs that were acknowledged, with the last epoch that is paid.
    #[must_use]
    pub fn acknowledged_blobs(&self) -> Vec<(BlobId, Epoch)> {
        self.blobs.all()
    }

    /// A reader got bytes.
    ///
    /// # Errors
    /// I4, when they are not those of the blob.
    pub fn read(&self, who: usize, blob: &BlobId, bytes: &[u8]) -> Result<(), Violation> {
        self.if_watched(self.blobs.read(who, blob, bytes))
    }

    /// The run is over.
    ///
    /// # Errors
    /// I14, when blocks replayed from genesis come to another state than a node has; I15, when a past key was kept; I19,
    /// when nobody punished what was seen.
    pub(crate) fn at_the_end(&self, nodes: &[Node]) -> Result<(), Violation> {
        self.if_watched(self.signatures.at_the_end(nodes))?;
        self.if_watched(self.offences.at_the_end(nodes))?;
        if self.is_watched(Law::I14) { verdicts::replay(&self.genesis, &self.archive, nodes) } else { Ok(()) }
    }

    /// Heights decided and epochs ended so far.
    #[must_use]
    pub fn heights_and_epochs(&self) -> (u64, u64) {
        self.chain.heights_and_epochs()
    }
}

/// What the chain's own oracle expects of a boundary.
type Expected<'a> = Option<&'a chain::Expectation>;

/// The parts of a boundary header that the oracle has an opinion on.
fn differs(header: &BoundaryHeader, expected: &chain::Expectation) -> Option<&'static str> {
    let mut verdicts: BTreeMap<Verdict, Weight> = BTreeMap::new();
    for (verdict, weight) in &header.tally.verdicts {
        // The oracle knows nothing of risk: what is repaired is tolerated in its eyes.
        let verdict = if *verdict == Verdict::Repairing { Verdict::Tolerated } else { *verdict };
        let sum = verdicts.entry(verdict).or_default();
        sum.blobs += weight.blobs;
        sum.bytes += weight.bytes;
        sum.fragment_bytes += weight.fragment_bytes;
    }
    let verdicts: Vec<_> = verdicts.into_iter().collect();
    let checks = [
        ("epoch", header.ended == expected.epoch),
        ("reporters", header.reporters == expected.reporters),
        ("answered", header.answered == expected.answered),
        ("decision", header.decision == expected.decision),
        ("verdicts", verdicts == expected.verdicts),
        ("forgotten blobs", header.tally.forgotten.blobs == expected.forgotten),
        // Blobs with the same rows are two classes where only some are under repair.
        ("classes", header.tally.classes >= expected.classes),
    ];
    checks.into_iter().find(|(_, equal)| !equal).map(|(name, _)| name)
}
