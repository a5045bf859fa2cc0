//! The bytes of the values proposed at the current height, with what this node thinks of them.
//!
//! The library knows values by name only. A height that fails round after round sees a new value in each, so
//! the number kept is bounded: the one whose proposal is oldest gives way, except the *valid value*, the one that
//! a quorum prevoted last, which the protocol may propose again.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{Round, ValueId, Verdict};

/// The values of one height.
#[derive(Default)]
pub(crate) struct Values {
    kept: BTreeMap<ValueId, Kept>,
}

pub(crate) struct Kept {
    pub bytes: Bytes,
    pub verdict: Verdict,
    /// Whether the library has taken it up, and so the journal has the bytes.
    pub journaled: bool,
    /// The last round that proposed it.
    round: Round,
}

impl Values {
    pub fn get(&self, id: &ValueId) -> Option<&Kept> {
        self.kept.get(id)
    }

    /// Keeps a value, or brings what is known of it up to date; makes room by dropping the oldest others.
    pub fn keep(&mut self, id: ValueId, bytes: Bytes, verdict: Verdict, round: Round) {
        let kept = self.kept.entry(id).or_insert(Kept { bytes, verdict, journaled: false, round });
        kept.verdict = verdict;
        kept.round = kept.round.max(round);
    }

    /// Drops the oldest until at most `max` are left, sparing `spared`.
    pub fn shrink(&mut self, max: usize, spared: &[Option<ValueId>]) {
        while self.kept.len() > max {
            let oldest = self
                .kept
                .iter()
                .filter(|(id, _)| !spared.contains(&Some(**id)))
                .min_by_key(|(id, kept)| (kept.round, **id))
                .map(|(id, _)| *id);
            let Some(oldest) = oldest else { return };
            self.kept.remove(&oldest);
        }
    }

    /// The bytes for the journal, the first time only.
    pub fn take_for_journal(&mut self, id: &ValueId) -> Option<Bytes> {
        let kept = self.kept.get_mut(id)?;
        let first = !std::mem::replace(&mut kept.journaled, true);
        first.then(|| kept.bytes.clone())
    }

    pub fn mark_journaled(&mut self, id: &ValueId) {
        if let Some(kept) = self.kept.get_mut(id) {
            kept.journaled = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_value_gives_way_but_never_a_spared_one() {
        let mut values = Values::default();
        let ids: Vec<_> = (0..6u8).map(|byte| ValueId::of(&[byte])).collect();
        for (round, id) in ids.iter().enumerate() {
            values.keep(*id, Bytes::new(), Verdict::Valid, Round(round as u32));
            values.shrink(3, &[Some(ids[0]), Some(*id)]);
        }
        let left: Vec<_> = ids.iter().filter(|id| values.get(id).is_some()).collect();
        assert_eq!(left, [&ids[0], &ids[4], &ids[5]]);
    }

    #[test]
    fn bytes_are_given_to_the_journal_once() {
        let mut values = Values::default();
        let id = ValueId::of(b"v");
        values.keep(id, Bytes::from_static(b"v"), Verdict::Invalid, Round(0));
        assert!(values.take_for_journal(&id).is_some());
        values.keep(id, Bytes::from_static(b"v"), Verdict::Valid, Round(1));
        assert!(values.take_for_journal(&id).is_none());
        assert_eq!(values.get(&id).map(|kept| kept.verdict), Some(Verdict::Valid));
    }
}
