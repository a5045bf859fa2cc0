//! Fetches decided blocks when others are ahead.
//!
//! One request is open at a time. Whoever claims the greatest height is asked first; who fails or lies goes to the end
//! of the line. What came is fed to consensus one height after the other: a certificate counts, not who gave it.

use crate::wire::sync::{Ask, BLOCKS_MAX, BlocksAnswer, DecidedBlock, Request};
use floe_types::{Height, NetworkId, NodeId};
use std::collections::{BTreeMap, VecDeque};

/// How long a request may stay open before another member is asked. Longer than the transport's own limit.
const OPEN_MILLIS_MAX: u64 = 15_000;

/// What is known of being behind.
#[derive(Debug)]
pub(super) struct CatchUp {
    network: NetworkId,
    /// The greatest height anybody claimed to have decided, or is deciding.
    target: Height,
    open: Option<(NodeId, u64)>,
    fetched: VecDeque<DecidedBlock>,
    giver: Option<NodeId>,
    /// Failures by node, to prefer others.
    failures: BTreeMap<NodeId, u32>,
    /// Somebody has dropped the block that comes next here.
    dropped: bool,
}

impl CatchUp {
    pub fn new(network: NetworkId) -> CatchUp {
        CatchUp {
            network,
            target: Height(0),
            open: None,
            fetched: VecDeque::new(),
            giver: None,
            failures: BTreeMap::new(),
            dropped: false,
        }
    }

    /// Somebody has decided `height`, or says so.
    pub fn heard_of(&mut self, height: Height) {
        self.target = self.target.max(height);
    }

    /// Whether blocks above `tip` are known of and not here.
    pub fn is_behind(&self, tip: Height) -> bool {
        self.target > tip
    }

    /// The height that others claim, when a snapshot is the better way to it: they are `far` ahead, or have dropped blocks.
    pub fn is_far_behind(&self, tip: Height, far: u64) -> Option<Height> {
        let far = self.target.0.saturating_sub(tip.0) > far;
        (far || self.dropped).then_some(self.target)
    }

    /// Whom to ask for what comes after `tip`, when nothing is open. `heights` are the members with their claims.
    pub fn ask(&mut self, now: u64, tip: Height, heights: &BTreeMap<NodeId, Height>) -> Option<(NodeId, Request)> {
        if !self.fetched.is_empty() {
            return None;
        }
        if let Some((node, since)) = self.open {
            if now.saturating_sub(since) < OPEN_MILLIS_MAX {
                return None;
            }
            self.failed(node);
        }
        let preference = |(node, height): &(&NodeId, &Height)| {
            let failures = self.failures.get(*node).copied().unwrap_or(0);
            (failures, std::cmp::Reverse(**height), **node)
        };
        let (node, _) = heights.iter().min_by_key(preference)?;
        self.open = Some((*node, now));
        let request = Request { network: self.network, ask: Ask::Blocks { from: tip.next(), count_max: BLOCKS_MAX } };
        Some((*node, request))
    }

    /// Blocks came. An answer nobody waits for is dropped. One without blocks sends its giver to the end of the line.
    pub fn came(&mut self, from: NodeId, tip: Height, answer: BlocksAnswer) {
        if self.open.is_none_or(|(node, _)| node != from) {
            return;
        }
        self.open = None;
        self.dropped |= answer.blocks.is_empty() && answer.oldest > tip.next();
        if answer.blocks.is_empty() {
            self.failed(from);
        } else {
            self.failures.remove(&from);
            self.giver = Some(from);
            self.fetched = answer.blocks.into();
        }
    }

    /// A request came to nothing.
    pub fn failed(&mut self, from: NodeId) {
        if self.open.is_some_and(|(node, _)| node == from) {
            self.open = None;
        }
        *self.failures.entry(from).or_insert(0) += 1;
    }

    /// Whether fetched blocks wait.
    pub fn has_blocks(&self) -> bool {
        !self.fetched.is_empty()
    }

    /// The next fetched block, for the height after the tip.
    pub fn next_block(&mut self) -> Option<DecidedBlock> {
        self.fetched.pop_front()
    }

    /// What was fetched is of no use; answers who gave it.
    pub fn discard(&mut self) -> Option<NodeId> {
        self.fetched.clear();
        let giver = self.giver.take();
        if let Some(node) = giver {
            *self.failures.entry(node).or_insert(0) += 1;
        }
        giver
    }

    /// A claim that nobody could back: forget it, so that a liar cannot keep a node asking.
    pub fn forget_target(&mut self, tip: Height) {
        self.target = tip;
    }

    /// Whether every one of `members` failed since its last success.
    pub fn all_failed(&self, members: &BTreeMap<NodeId, Height>) -> bool {
        members.keys().all(|node| self.failures.get(node).copied().unwrap_or(0) > 0)
    }

    /// Everybody gets another chance.
    pub fn forgive(&mut self) {
        self.failures.clear();
    }
}
