//! Reads after each term of a run about terms: whoever has come and gone, every blob that is paid for reads back.

use super::{Event, World};
use crate::scenario::Scenario;
use floe_types::BlobId;
use floe_types::laws::Law;
use std::collections::BTreeSet;

/// When reads that have failed are tried again, in milliseconds.
const AGAIN_MILLIS: u64 = 400;

/// What is still to be read in this term.
#[derive(Debug, Default)]
pub(crate) struct TermReads {
    left: BTreeSet<BlobId>,
}

impl World {
    /// A term began: what the last one left unread is a broken promise, and everything is read again.
    pub(super) fn term_began(&mut self) {
        if self.plan.scenario != Scenario::Terms || self.is_calm {
            return;
        }
        let readable: BTreeSet<BlobId> = self.readable().into_iter().collect();
        let unread = self.term_reads.left.intersection(&readable).next().copied();
        if let Some(blob) = unread {
            let words = format!("blob {blob} was not read back in a whole term");
            let broken = self.laws.broken(Law::I2, words);
            return self.judge(broken);
        }
        self.stats.term_reads += 1;
        self.term_reads.left = readable.into_iter().filter(|blob| self.must_be_readable(blob)).collect();
        self.look_at_term_reads();
    }

    /// Asks once more for what has not been read.
    pub(super) fn look_at_term_reads(&mut self) {
        if self.is_calm {
            return self.term_reads.left.clear();
        }
        for blob in self.term_reads.left.clone() {
            self.read_somewhere(blob);
        }
        if !self.term_reads.left.is_empty() {
            self.queue.plan(self.now + AGAIN_MILLIS, Event::TermWatch);
        }
    }

    /// A blob was read.
    pub(super) fn term_read_back(&mut self, blob: &BlobId) {
        self.term_reads.left.remove(blob);
    }
}
