//! The live scoreboard: what members said after each slot about who passed, and what that comes to.
//!
//! It moves dashboards, never decisions: an epoch is decided from reports that were committed to and opened. It counts as
//! the decision will, in shards: a target *held* in a slot when the members that say it answered have, with its own seats,
//! at least `f + 1`: in time, or at all.
//!
//! # Laws
//! - **CB-1** One word of each member and slot counts, the first. A second one changes nothing.
//! - **CB-2** Its size is bounded by members and slots, whatever is said.

use floe_ledger::MemberSet;
use floe_ledger::challenges::Slot;
use floe_types::params::SLOTS;
use floe_types::{Committee, Epoch, MemberIndex};
use std::collections::BTreeMap;

/// How a target stands in a slot, as far as was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Enough saw it answer everything in time.
    Held,
    /// Enough saw it answer, not enough of them everything in time: it holds and does not serve.
    Slow,
    /// Enough spoke, and too few saw it answer.
    Missed,
    /// Too few spoke so far.
    Unknown,
}

/// Whether something said was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It counts.
    New,
    /// This member has spoken about this slot before.
    Known,
    /// It is about no slot of the epoch, or by nobody of the committee.
    Foreign,
}

/// What one member said about one slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    passed: MemberSet,
    late: MemberSet,
}

/// The scoreboard of one epoch.
#[derive(Clone, Debug)]
pub struct Scoreboard {
    epoch: Epoch,
    /// Shards of each member, by index.
    weights: Vec<u16>,
    faulty: u16,
    quorum: u16,
    /// What was said, by slot.
    slots: Vec<BTreeMap<MemberIndex, Said>>,
}

impl Standing {
    /// Whether it counts as held.
    #[must_use]
    pub fn is_held(self) -> bool {
        matches!(self, Standing::Held | Standing::Slow)
    }
}

impl Scoreboard {
    /// An empty one of `epoch`, whose committee this is.
    #[must_use]
    pub fn new(epoch: Epoch, committee: &Committee) -> Scoreboard {
        let weights = committee.members().iter().map(|member| member.shards.len() as u16).collect();
        let slots = vec![BTreeMap::new(); usize::from(SLOTS)];
        Scoreboard { epoch, weights, faulty: committee.faulty(), quorum: committee.quorum(), slots }
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Takes in what `member` says of `slot`: who passed, and who answered late.
    pub fn say(&mut self, member: MemberIndex, slot: Slot, (passed, late): (&MemberSet, &MemberSet)) -> News {
        let members = self.weights.len() as u16;
        let fits = member.0 < members && passed.end() <= members && late.end() <= members;
        let Some(said) = self.slots.get_mut(usize::from(slot.0)).filter(|_| fits) else { return News::Foreign };
        if said.contains_key(&member) {
            return News::Known;
        }
        said.insert(member, Said { passed: passed.clone(), late: late.clone() });
        News::New
    }

    /// Whether `member` has spoken about `slot`.
    #[must_use]
    pub fn has_spoken(&self, member: MemberIndex, slot: Slot) -> bool {
        self.slots.get(usize::from(slot.0)).is_some_and(|said| said.contains_key(&member))
    }

    /// Shards of the members that spoke about `slot`.
    #[must_use]
    pub fn spoke(&self, slot: Slot) -> u16 {
        self.slots.get(usize::from(slot.0)).map_or(0, |said| said.keys().map(|member| self.weight(*member)).sum())
    }

    /// How `target` stands in `slot`.
    #[must_use]
    pub fn standing(&self, slot: Slot, target: MemberIndex) -> Standing {
        let Some(said) = self.slots.get(usize::from(slot.0)) else { return Standing::Unknown };
        let own = self.weight(target);
        let (mut passed, mut answered) = (own, own);
        for (member, said) in said.iter().filter(|(member, _)| **member != target) {
            if said.passed.contains(target) {
                passed += self.weight(*member);
                answered += self.weight(*member);
            } else if said.late.contains(target) {
                answered += self.weight(*member);
            }
        }
        let spoke = said.keys().filter(|member| **member != target).map(|member| self.weight(*member)).sum::<u16>();
        match () {
            () if passed > self.faulty => Standing::Held,
            () if answered > self.faulty => Standing::Slow,
            // Its own seats count as speaking: it is one of those that can be expected to.
            () if spoke + own < self.quorum => Standing::Unknown,
            () => Standing::Missed,
        }
    }

    /// How `target` stands in every slot.
    #[must_use]
    pub fn standings(&self, target: MemberIndex) -> Vec<Standing> {
        Slot::all().map(|slot| self.standing(slot, target)).collect()
    }

    /// The newest slot about which members with a quorum of shards spoke.
    #[must_use]
    pub fn newest_full_slot(&self) -> Option<Slot> {
        Slot::all().rev().find(|slot| self.spoke(*slot) >= self.quorum)
    }

    fn weight(&self, member: MemberIndex) -> u16 {
        self.weights.get(usize::from(member.0)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn set(members: &[u16]) -> MemberSet {
        members.iter().map(|index| MemberIndex(*index)).collect()
    }

    /// Ten members with a shard each: f = 3.
    fn board() -> Scoreboard {
        Scoreboard::new(Epoch(7), &testing::committee(10, 10, 1))
    }

    #[test]
    fn who_passed_with_f_others_held() {
        let mut board = board();
        for member in 1..4 {
            assert_eq!(board.standing(Slot(0), MemberIndex(0)), Standing::Unknown);
            assert_eq!(board.say(MemberIndex(member), Slot(0), (&set(&[0]), &set(&[]))), News::New);
        }
        assert_eq!(board.standing(Slot(0), MemberIndex(0)), Standing::Held, "three and its own seat");
        assert_eq!(board.standing(Slot(1), MemberIndex(0)), Standing::Unknown, "another slot");
        assert_eq!(board.spoke(Slot(0)), 3);
    }

    #[test]
    fn f_liars_neither_frame_nor_shield() {
        let mut framed = board();
        for member in 1..10 {
            let passed = if member <= 3 { set(&[]) } else { set(&[0]) };
            framed.say(MemberIndex(member), Slot(2), (&passed, &set(&[])));
        }
        assert_eq!(framed.standing(Slot(2), MemberIndex(0)), Standing::Held);
        // The absent one is itself among the three that lie.
        let mut shielded = board();
        for member in 1..10 {
            let passed = if member <= 2 { set(&[0]) } else { set(&[]) };
            shielded.say(MemberIndex(member), Slot(2), (&passed, &set(&[])));
        }
        assert_eq!(shielded.standing(Slot(2), MemberIndex(0)), Standing::Missed);
    }

    #[test]
    fn late_holds_and_does_not_serve() {
        let mut board = board();
        for member in 1..10 {
            board.say(MemberIndex(member), Slot(0), (&set(&[]), &set(&[0])));
        }
        assert_eq!(board.standing(Slot(0), MemberIndex(0)), Standing::Slow);
        assert_eq!(board.standings(MemberIndex(0))[1..], [Standing::Unknown; 5]);
        assert_eq!(board.newest_full_slot(), Some(Slot(0)));
    }

    #[test]
    fn a_second_word_and_strangers_change_nothing() {
        let mut board = board();
        board.say(MemberIndex(1), Slot(0), (&set(&[0]), &set(&[])));
        assert_eq!(board.say(MemberIndex(1), Slot(0), (&set(&[]), &set(&[]))), News::Known);
        assert_eq!(board.say(MemberIndex(10), Slot(0), (&set(&[0]), &set(&[]))), News::Foreign);
        assert_eq!(board.say(MemberIndex(2), Slot(6), (&set(&[0]), &set(&[]))), News::Foreign);
        assert_eq!(board.say(MemberIndex(2), Slot(0), (&set(&[700]), &set(&[]))), News::Foreign);
        assert_eq!(board.spoke(Slot(0)), 1);
    }

    #[test]
    fn what_a_target_says_of_itself_counts_nothing() {
        let mut board = board();
        for member in 0..3 {
            board.say(MemberIndex(member), Slot(0), (&set(&[0]), &set(&[])));
        }
        assert_eq!(board.standing(Slot(0), MemberIndex(0)), Standing::Unknown, "two others and its own seat are three");
    }
}
