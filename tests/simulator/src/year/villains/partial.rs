//! Keeps all but a share of its bytes, and says of those that it has none: 50, 10, 5, 1 or a tenth of a percent.

use super::{Challenge, Reply, Villain, among};
use floe_ledger::challenges::Question;
use floe_types::{SequenceNumber, ShardIndex};

/// One with less than it attests.
pub struct Partial {
    /// What it lacks, in parts of a million.
    pub ppm: u64,
    /// Which.
    pub salt: u64,
    /// What it replies when it is asked for that.
    pub reply: Reply,
}

impl Partial {
    /// One that denies what it lacks.
    #[must_use]
    pub fn of(ppm: u64, salt: u64) -> Box<dyn Villain> {
        Box::new(Partial { ppm, salt, reply: Reply::Denied })
    }
}

impl Villain for Partial {
    fn gives(&self, _shard: ShardIndex, _number: SequenceNumber) -> bool {
        // Of a fragment with many chunks hardly one is whole.
        false
    }

    fn answer(&mut self, asked: &Challenge<'_>) -> Reply {
        match asked.question {
            Question::Chunk(sample) if among(self.ppm, self.salt, sample) => self.reply,
            _ => Reply::Shown,
        }
    }

    fn works(&self) -> bool {
        false
    }
}
