//! Says what it lacks when it is asked for it; or of every second blob that it has it not; or that it has it and has it not.

use super::{Challenge, Declared, Reply, Villain, among};
use floe_ledger::challenges::Question;
use floe_types::{Epoch, SequenceNumber, ShardIndex};

/// Lacks some fragments, and withdraws them in the epoch in which it is asked for one.
pub struct AfterAsked {
    /// What it lacks, in parts of a million.
    pub ppm: u64,
    /// Which.
    pub salt: u64,
    withdrawn: bool,
}

impl AfterAsked {
    /// One that lacks so much.
    #[must_use]
    pub fn of(ppm: u64, salt: u64) -> Box<dyn Villain> {
        Box::new(AfterAsked { ppm, salt, withdrawn: false })
    }
}

impl Villain for AfterAsked {
    fn gives(&self, _shard: ShardIndex, number: SequenceNumber) -> bool {
        !among(self.ppm, self.salt, &number)
    }

    fn answer(&mut self, asked: &Challenge<'_>) -> Reply {
        match asked.question {
            Question::Chunk(sample) if among(self.ppm, self.salt, &sample.number) => Reply::Denied,
            _ => Reply::Shown,
        }
    }

    fn declares(&mut self, _epoch: Epoch, accused: usize, blobs: u64) -> Vec<(Declared, Vec<SequenceNumber>)> {
        if accused == 0 || self.withdrawn {
            return Vec::new();
        }
        self.withdrawn = true;
        let lacks = |number: &SequenceNumber| among(self.ppm, self.salt, number);
        vec![(Declared::Lost, (0..blobs).map(SequenceNumber).filter(lacks).collect())]
    }

    fn works(&self) -> bool {
        false
    }
}

/// Withdraws every second blob, once.
#[derive(Default)]
pub struct EverySecond {
    done: bool,
}

fn every_second(blobs: u64) -> Vec<SequenceNumber> {
    (0..blobs).step_by(2).map(SequenceNumber).collect()
}

impl Villain for EverySecond {
    fn gives(&self, _shard: ShardIndex, number: SequenceNumber) -> bool {
        !self.done || number.0 % 2 == 1
    }

    fn declares(&mut self, _epoch: Epoch, _accused: usize, blobs: u64) -> Vec<(Declared, Vec<SequenceNumber>)> {
        if std::mem::replace(&mut self.done, true) { Vec::new() } else { vec![(Declared::Lost, every_second(blobs))] }
    }

    fn works(&self) -> bool {
        false
    }
}

/// Withdraws every second blob in one epoch and attests it again in the next, for ever.
pub struct Flapping;

impl Villain for Flapping {
    fn declares(&mut self, epoch: Epoch, _accused: usize, blobs: u64) -> Vec<(Declared, Vec<SequenceNumber>)> {
        let said = if epoch.0.is_multiple_of(2) { Declared::Lost } else { Declared::Held };
        vec![(said, every_second(blobs))]
    }

    fn works(&self) -> bool {
        false
    }
}
