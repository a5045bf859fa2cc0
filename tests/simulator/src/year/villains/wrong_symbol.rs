//! Answers every question with bytes that do not lead to the blob.

use super::{Challenge, Reply, Villain};
use floe_ledger::challenges::Question;
use floe_types::{SequenceNumber, ShardIndex};

/// One that shows something else.
pub struct WrongSymbol;

impl Villain for WrongSymbol {
    fn gives(&self, _shard: ShardIndex, _number: SequenceNumber) -> bool {
        false
    }

    fn answer(&mut self, asked: &Challenge<'_>) -> Reply {
        if matches!(asked.question, Question::Chunk(_)) { Reply::SomethingElse } else { Reply::Shown }
    }

    fn works(&self) -> bool {
        false
    }
}
