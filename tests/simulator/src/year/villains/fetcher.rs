//! Keeps no fragment, only the hashes that openings are made of, and reads what it is asked for from others.
//!
//! Recovery symbols are given under a right only, and nobody has one to what it covers. What is left are reads: a sliver goes
//! whole. The symbol that a question is about is in one sliver of the other axis too; that is the least that it can fetch.

use super::{Challenge, Cost, Reply, Villain};
use floe_erasure::Layout;
use floe_ledger::challenges::{Question, Sample};
use floe_types::{SequenceNumber, ShardIndex};

/// One that holds nothing.
pub struct Fetcher {
    /// Bytes it can fetch in the time of the soft deadline. What takes longer is late.
    pub in_time: u64,
    /// Shards of the network.
    pub shards: u16,
    cost: Cost,
}

impl Fetcher {
    /// One with such a line.
    #[must_use]
    pub fn of(shards: u16, in_time: u64) -> Box<dyn Villain> {
        Box::new(Fetcher { in_time, shards, cost: Cost::default() })
    }
}

/// What is asked for with a question, and what must be read of others at least to answer it.
///
/// # Panics
/// When there is no such blob.
#[must_use]
pub fn cost(shards: u16, sample: &Sample) -> Cost {
    let layout = Layout::new(shards, sample.length).expect("it was drawn");
    let range = sample.place().range(&layout);
    let challenged = range.end - range.start;
    Cost { challenged, moved: layout.sliver_bytes(sample.axis.other()) }
}

impl Villain for Fetcher {
    fn gives(&self, _shard: ShardIndex, _number: SequenceNumber) -> bool {
        false
    }

    fn answer(&mut self, asked: &Challenge<'_>) -> Reply {
        let Question::Chunk(sample) = asked.question else { return Reply::Shown };
        let cost = cost(self.shards, sample);
        self.cost.challenged += cost.challenged;
        self.cost.moved += cost.moved;
        if cost.moved <= self.in_time { Reply::Shown } else { Reply::Late }
    }

    fn works(&self) -> bool {
        false
    }

    fn cost(&self) -> Cost {
        self.cost
    }
}
