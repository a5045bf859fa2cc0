//! When things happen in an epoch: slots, then the closing in two halves. All by block time.
//!
//! ```text
//!  began                                                     closing     middle      end
//!    │ slot 0 │ slot 1 │ slot 2 │ slot 3 │ slot 4 │ slot 5 │   commits  │  reports  │
//! ```
//!
//! The first block of at least the middle's time is made even when nothing else is to be decided; its id is the **draw**.

use floe_types::params::SLOTS;
use floe_types::{BlockTime, Params};
use serde::{Deserialize, Serialize};

/// One of the parts of an epoch in which every member challenges every other, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u8);

impl Slot {
    /// All of them.
    pub fn all() -> impl DoubleEndedIterator<Item = Slot> {
        (0..SLOTS).map(Slot)
    }

    /// The one after it; none after the last.
    #[must_use]
    pub fn next(self) -> Option<Slot> {
        Some(Slot(self.0.checked_add(1)?)).filter(|next| next.exists())
    }

    /// Whether there is such a slot.
    #[must_use]
    pub fn exists(self) -> bool {
        self.0 < SLOTS
    }
}

/// The times of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timetable {
    began: BlockTime,
    slot_millis: u64,
    closing: BlockTime,
    middle: BlockTime,
    end: BlockTime,
    hard_millis: u64,
}

impl Timetable {
    /// That of the epoch which began at `began`.
    #[must_use]
    pub fn of(params: &Params, began: BlockTime) -> Timetable {
        let closing = params.epoch_millis.saturating_sub(params.closing_millis);
        Timetable {
            began,
            slot_millis: params.slot_millis(),
            closing: began.plus_millis(closing),
            middle: began.plus_millis(closing.saturating_add(params.closing_millis / 2)),
            end: began.plus_millis(params.epoch_millis),
            hard_millis: params.hard_millis,
        }
    }

    /// The slot at `time`; none before the epoch and from the closing on.
    #[must_use]
    pub fn slot_at(&self, time: BlockTime) -> Option<Slot> {
        let since = time.0.checked_sub(self.began.0).filter(|_| time < self.closing)?;
        // What rounding leaves over belongs to the last slot.
        let at = since.checked_div(self.slot_millis)?.min(u64::from(SLOTS) - 1);
        Some(Slot(at as u8))
    }

    /// When `slot` begins.
    #[must_use]
    pub fn begins(&self, slot: Slot) -> BlockTime {
        self.began.plus_millis(self.slot_millis.saturating_mul(u64::from(slot.0)))
    }

    /// When the last question of `slot` may be asked, so that its answer still belongs to it.
    #[must_use]
    pub fn last_question(&self, slot: Slot) -> BlockTime {
        self.begins(slot).plus_millis(self.slot_millis.saturating_sub(self.hard_millis))
    }

    /// When the closing begins: commitments are executed in blocks from here on, up to the middle.
    #[must_use]
    pub fn closing(&self) -> BlockTime {
        self.closing
    }

    /// The middle of the closing: the first block of at least this time is the draw, reports are executed in later ones.
    #[must_use]
    pub fn middle(&self) -> BlockTime {
        self.middle
    }

    /// When the epoch may end.
    #[must_use]
    pub fn end(&self) -> BlockTime {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_share_the_time_before_the_closing() {
        for params in [Params::standard(100), Params::devnet(28, 15_000), Params::devnet(4, 1_001)] {
            let began = BlockTime(77);
            let times = Timetable::of(&params, began);
            assert_eq!(times.slot_at(BlockTime(76)), None);
            assert_eq!(times.slot_at(times.closing()), None);
            for slot in Slot::all() {
                assert_eq!(times.slot_at(times.begins(slot)), Some(slot));
                let due = times.last_question(slot).plus_millis(params.hard_millis);
                let end = slot.next().map_or(times.closing(), |next| times.begins(next));
                assert!(times.begins(slot) < times.last_question(slot) && due <= end, "{slot:?}");
                assert_eq!(times.slot_at(BlockTime(end.0 - 1)), Some(slot));
            }
            assert!(times.closing() < times.middle() && times.middle() < times.end());
            assert_eq!(times.end(), began.plus_millis(params.epoch_millis));
        }
    }

    #[test]
    fn there_are_six_slots() {
        assert_eq!((Slot(4).next(), Slot(5).next(), Slot(255).next()), (Some(Slot(5)), None, None));
        assert!(Slot(5).exists() && !Slot(6).exists());
    }
}
