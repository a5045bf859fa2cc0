//! One epoch of asking: which questions are when, which are under way, what each came to.
//!
//! A round knows no wire and no state: it is told what was drawn and what came back. Everything in it follows from the
//! committee's size: as many entries as there are questions.

use super::again::Again;
use super::interface::AskId;
use crate::wire::challenge::Accused;
use floe_ledger::MemberSet;
use floe_ledger::challenges::{Aim, Answer, Question, Seed, Slip, Slot, Timetable, Unread, asked_at};
use floe_ledger::reports::Held;
use floe_types::params::{SLOTS, challenges_per_slot};
use floe_types::{Epoch, MemberIndex, codec};
use std::collections::{BTreeMap, BTreeSet};

/// What a question came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    /// A checked answer, before the soft deadline.
    Passed(Answer),
    /// A checked answer, before the hard deadline.
    Late(Answer),
    /// The target said no, or showed something else.
    Missed(Question),
    /// No answer in time, or none that says anything of the bytes.
    Silent(Question),
}

impl Got {
    /// The answer, when there is one.
    #[must_use]
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            Got::Passed(answer) | Got::Late(answer) => Some(answer),
            Got::Missed(_) | Got::Silent(_) => None,
        }
    }
}

/// What questions came to, counted. For metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answered before the soft deadline.
    pub passed: u64,
    /// Answered before the hard one.
    pub late: u64,
    /// Said no, or showed something else.
    pub missed: u64,
    /// Said nothing.
    pub silent: u64,
    /// Accusations of others that were followed and shown.
    pub shown_again: u64,
    /// Accusations of others that were followed and not shown.
    pub missed_again: u64,
    /// What a reader could not get, and was shown when this node asked.
    pub shown_to_reader: u64,
    /// What a reader could not get, and this node could not either.
    pub missed_by_reader: u64,
}

/// Why a question is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// One of this node's own.
    Own(Aim),
    /// What this accuser could not get in this slot.
    Again(Slot, MemberIndex),
    /// What a reader of this node could not get of this target, asked in this slot.
    OfReader(Slot, MemberIndex),
}

/// A question under way.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub purpose: Purpose,
    pub slip: Slip,
    pub asked_at: u64,
}

/// Of ten questions of a slot, so many must have been asked for the slot to be reported on.
const ASKED_OF_TEN: usize = 9;

/// An epoch of asking.
#[derive(Debug)]
pub struct Round {
    pub(super) epoch: Epoch,
    pub(super) times: Timetable,
    pub(super) me: MemberIndex,
    pub(super) members: usize,
    pub(super) seed: Seed,
    /// Questions that were not asked yet, by their moment in unix milliseconds.
    pub(super) waiting: BTreeSet<(u64, Aim)>,
    pub(super) open: BTreeMap<AskId, Open>,
    /// Questions asked in each slot.
    pub(super) asked: [usize; SLOTS as usize],
    pub(super) got: BTreeMap<Aim, Got>,
    pub(super) again: BTreeMap<(Slot, MemberIndex), Again>,
    /// What is to be asked again, by its moment.
    pub(super) again_waiting: BTreeSet<(u64, Slot, MemberIndex)>,
    /// What readers could not get and is to be asked: one of each target in a slot.
    pub(super) unread: BTreeMap<(Slot, MemberIndex), Unread>,
    /// The same by its moment.
    pub(super) unread_waiting: BTreeSet<(u64, Slot, MemberIndex)>,
    /// What became of it.
    pub(super) of_readers: BTreeMap<(Slot, MemberIndex), Got>,
    /// What this node could not get, by slot.
    pub(super) accused: BTreeMap<Slot, Accused>,
    /// The slot whose observation comes next; past the last when all are sent.
    pub(super) to_observe: u8,
}

impl Round {
    /// The round of an epoch for the member `me` of `members`. What was due before `now` in slots that are over is not asked.
    #[must_use]
    pub fn new(epoch: Epoch, times: Timetable, (me, members): (MemberIndex, usize), seed: Seed, now: u64) -> Round {
        let mut waiting = BTreeSet::new();
        for slot in Slot::all().filter(|slot| times.last_question(*slot).0 >= now) {
            for target in (0..members as u16).map(MemberIndex).filter(|target| *target != me) {
                for at in 0..challenges_per_slot(members) {
                    let aim = Aim { slot, target, at };
                    waiting.insert((asked_at(&seed, &times, &aim).0, aim));
                }
            }
        }
        let to_observe = Slot::all().filter(|slot| ends(&times, *slot) <= now).count() as u8;
        Round {
            epoch,
            times,
            me,
            members,
            seed,
            waiting,
            open: BTreeMap::new(),
            asked: [0; SLOTS as usize],
            got: BTreeMap::new(),
            again: BTreeMap::new(),
            again_waiting: BTreeSet::new(),
            unread: BTreeMap::new(),
            unread_waiting: BTreeSet::new(),
            of_readers: BTreeMap::new(),
            accused: BTreeMap::new(),
            to_observe,
        }
    }

    /// The next question that is due, once; those whose time in their slot is over are passed over.
    pub fn next_due(&mut self, now: u64) -> Option<Aim> {
        while let Some((at, aim)) = self.waiting.first().copied().filter(|(at, _)| *at <= now) {
            self.waiting.remove(&(at, aim));
            if now <= self.times.last_question(aim.slot).0 {
                return Some(aim);
            }
        }
        None
    }

    /// Notes that an own question is on its way.
    pub fn note_asked(&mut self, slot: Slot) {
        if let Some(asked) = self.asked.get_mut(usize::from(slot.0)) {
            *asked += 1;
        }
    }

    /// Notes what an own question came to.
    pub fn settle(&mut self, aim: Aim, got: Got) {
        self.got.insert(aim, got);
    }

    /// What this member's questions are drawn with.
    #[must_use]
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// Whether nearly all questions of `slot` were asked.
    #[must_use]
    pub fn is_reported(&self, slot: Slot) -> bool {
        let all = self.members.saturating_sub(1) * usize::from(challenges_per_slot(self.members));
        let asked = self.asked.get(usize::from(slot.0)).copied().unwrap_or(0);
        // A committee of one has nobody to ask, and has asked everybody.
        asked * 10 >= all * ASKED_OF_TEN
    }

    /// What the questions of `slot` came to.
    pub fn of_slot(&self, slot: Slot) -> impl Iterator<Item = (&Aim, &Got)> {
        let from = Aim { slot, target: MemberIndex(0), at: 0 };
        self.got.range(from..).take_while(move |(aim, _)| aim.slot == slot)
    }

    /// Whether `target` answered any own question of `slot` or of the one before.
    pub fn answers_otherwise(&self, slot: Slot, target: MemberIndex) -> bool {
        let near = [Some(slot), slot.0.checked_sub(1).map(Slot)];
        let answered = |slot: Slot| self.of_slot(slot).any(|(aim, got)| aim.target == target && got.answer().is_some());
        near.into_iter().flatten().any(answered)
    }

    /// Who answered all questions of `slot` in time, and who else answered any.
    #[must_use]
    pub fn seen(&self, slot: Slot) -> (MemberSet, MemberSet) {
        let (mut answered, mut failed) = (MemberSet::new(), MemberSet::new());
        for (aim, got) in self.of_slot(slot) {
            if got.answer().is_some() {
                answered.insert(aim.target);
            }
            if !matches!(got, Got::Passed(_)) {
                failed.insert(aim.target);
            }
        }
        (answered.without(&failed), answered.intersection(&failed))
    }

    /// The sample of `slot` that others should ask for: one that was denied, or passed over in silence by a target that
    /// answers otherwise. Which of several follows from epoch, slot and asker. None in the last slot, after which nobody asks
    /// again.
    #[must_use]
    pub fn accusation(&self, slot: Slot) -> Option<Accused> {
        slot.next()?;
        let sample = |aim: &Aim, question: &Question| {
            let accused = Accused { aim: *aim, question: *question };
            matches!(question, Question::Chunk(_)).then_some(accused)
        };
        let denied = self.of_slot(slot).filter_map(|(aim, got)| match got {
            Got::Missed(question) => sample(aim, question),
            _ => None,
        });
        let silent = self.of_slot(slot).filter_map(|(aim, got)| match got {
            Got::Silent(question) if self.answers_otherwise(slot, aim.target) => sample(aim, question),
            _ => None,
        });
        let mut found: Vec<Accused> = denied.collect();
        if found.is_empty() {
            found = silent.collect();
        }
        let spread =
            codec::hash("floe 1 challenge: which of several accusations", &codec::encode(&(self.epoch, slot, self.me)));
        let [first, second, ..] = spread;
        let at = usize::from(u16::from_le_bytes([first, second])).checked_rem(found.len())?;
        found.get(at).copied()
    }

    /// By slot, the members of which there is an answer; none for a slot that is not reported on.
    #[must_use]
    pub fn held(&self) -> Held {
        let of = |slot: Slot| {
            let answered = self.of_slot(slot).filter(|(_, got)| got.answer().is_some());
            self.is_reported(slot).then(|| answered.map(|(aim, _)| aim.target).collect::<MemberSet>())
        };
        let mut held = Held::default();
        held.iter_mut().zip(Slot::all()).for_each(|(into, slot)| *into = of(slot));
        held
    }

    /// By member, how many questions of reported slots were answered in time.
    #[must_use]
    pub fn passed(&self) -> Vec<u16> {
        let mut passed = vec![0u16; self.members];
        for (aim, got) in self.got.iter().filter(|(aim, _)| self.is_reported(aim.slot)) {
            if let (Got::Passed(_), Some(count)) = (got, passed.get_mut(usize::from(aim.target.0))) {
                *count = count.saturating_add(1);
            }
        }
        passed
    }

    /// When something is next due, in unix milliseconds.
    #[must_use]
    pub fn wake_at(&self, hard_millis: u64) -> Option<u64> {
        let asks = self.waiting.first().map(|(at, _)| *at);
        let again = self.again_waiting.first().map(|(at, ..)| *at);
        let unread = self.unread_waiting.first().map(|(at, ..)| *at);
        let open = self.open.values().map(|open| open.asked_at.saturating_add(hard_millis).saturating_add(1)).min();
        let slot = Some(Slot(self.to_observe)).filter(|slot| slot.exists()).map(|slot| ends(&self.times, slot));
        [asks, again, unread, open, slot].into_iter().flatten().min()
    }
}

/// When `slot` ends, in unix milliseconds.
pub(super) fn ends(times: &Timetable, slot: Slot) -> u64 {
    slot.next().map_or(times.closing(), |next| times.begins(next)).0
}
