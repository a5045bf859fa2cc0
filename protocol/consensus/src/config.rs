//! What a network agrees on and what one node allows itself.

use std::time::Duration;

use crate::message::MESSAGE_OVERHEAD_MAX;
use crate::{NetworkId, Round, TimerKind};

/// How many rounds beyond its own a machine listens to. Later ones are joined by a round certificate.
pub const ROUNDS_AHEAD_MAX: u32 = 10;

/// How the machine behaves. `network` and `value_bytes_max` must be the same on all nodes.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which network's signatures count.
    pub network: NetworkId,
    /// How long each step waits.
    pub timeouts: Timeouts,
    /// The longest value that may be decided, in bytes.
    pub value_bytes_max: usize,
    /// How many heights above the current one messages are put by for. Four: a validator that has just decided
    /// is at most one behind, and one further behind needs catch-up anyway.
    pub heights_ahead_max: u64,
    /// Messages put by per height and sender. Eight: two votes each for some rounds, and a proposal.
    pub backlog_messages_per_sender_max: usize,
    /// Memory for all messages put by, in bytes.
    pub backlog_bytes_max: usize,
    /// Values kept per height, at least 8. A height needs one per failed round; older ones give way, and if an
    /// older one is decided after all, catch-up brings it back.
    pub values_max: usize,
}

impl Config {
    /// The defaults for a network: 1 MiB values, 32 MiB of backlog, 64 values per height.
    pub fn new(network: NetworkId) -> Self {
        Self {
            network,
            timeouts: Timeouts::default(),
            value_bytes_max: 1 << 20,
            heights_ahead_max: 4,
            backlog_messages_per_sender_max: 8,
            backlog_bytes_max: 32 << 20,
            values_max: 64,
        }
    }

    /// The longest message of this network, for [`crate::Message::decode`] and the transport.
    pub fn message_bytes_max(&self) -> usize {
        self.value_bytes_max.saturating_add(MESSAGE_OVERHEAD_MAX)
    }
}

/// How long a step waits before it moves on. Validators may differ; then the slow ones only wait longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a proposal, in round 0.
    pub propose: Duration,
    /// For more prevotes, once two thirds prevoted without agreement.
    pub prevote: Duration,
    /// For more precommits, once two thirds precommitted without agreement.
    pub precommit: Duration,
    /// Between repetitions of the node's last votes, in case they were lost.
    pub rebroadcast: Duration,
    /// Added to each of them per round, so that a slow network finally has time.
    pub growth_per_round: Duration,
    /// None grows beyond this.
    pub max: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            propose: Duration::from_secs(3),
            prevote: Duration::from_secs(1),
            precommit: Duration::from_secs(1),
            rebroadcast: Duration::from_secs(5),
            growth_per_round: Duration::from_millis(500),
            max: Duration::from_secs(60),
        }
    }
}

impl Timeouts {
    /// How long the timer of this kind runs in this round.
    pub fn after(&self, kind: TimerKind, round: Round) -> Duration {
        let base = match kind {
            TimerKind::Propose => self.propose,
            TimerKind::Prevote => self.prevote,
            TimerKind::Precommit => self.precommit,
            TimerKind::Rebroadcast => self.rebroadcast,
        };
        base.saturating_add(self.growth_per_round.saturating_mul(round.0)).min(self.max)
    }
}
