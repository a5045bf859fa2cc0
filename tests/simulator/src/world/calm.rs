//! The calm: links heal, everybody but villains is back. Liveness must return.
//!
//! ```text
//! Settling --every honest node decided a new height and saw a new epoch--> Storing
//! Storing  --a new blob is certified, within two epochs-----------------> Reading
//! Reading  --everything acknowledged and paid for reads back------------> Counting
//! Counting --a whole epoch of calm was decided, with everybody in it----> over
//! ```
//!
//! The run waits for states, never for time; only when a state does not come in time is a law broken.

use super::{Event, World};
use crate::laws::Violation;
use crate::node::{Presence, Role};
use crate::plan::{FaultClass, Weather};
use floe_ledger::{Block, BoundaryHeader, Decision, views};
use floe_types::laws::Law;
use floe_types::{BlobId, Epoch, Height, MemberIndex};
use std::collections::BTreeSet;

/// How often the calm is looked at, in milliseconds.
const WATCH_MILLIS: u64 = 100;
/// How long it may take until everybody moves again: some rounds at the longest timeouts, and catching up.
const SETTLE_MILLIS_MAX: u64 = 40_000;
/// How long reading everything back may take.
const READ_MILLIS_MAX: u64 = 30_000;
/// Epochs within which a new store completes.
const STORE_EPOCHS_MAX: u64 = 2;

/// How far the calm is.
#[derive(Debug)]
pub(crate) struct Calm {
    step: Step,
    /// When this step has failed.
    until: u64,
    began: u64,
    /// Block time from which everybody moves. An epoch that began before is not calm from its beginning, whenever the block that began
    /// it was decided: one that was proposed in the storm may be locked and decided late.
    clear_from: Option<u64>,
    /// The newest boundary that was looked at: the epoch that it began, and its block time.
    boundary: Option<(Epoch, u64)>,
    /// Epochs in which a height took more than one round, or the boundary before them did.
    hindered: BTreeSet<Epoch>,
    /// Epochs of calm that were looked at.
    counted: u64,
}

#[derive(Debug)]
enum Step {
    Settling { height: Height, epoch: Epoch },
    Storing { wanted: usize, from: Epoch },
    Reading { left: BTreeSet<BlobId> },
    Counting,
}

impl World {
    pub(super) fn calm_begins(&mut self) {
        self.trace.say(self.now, || "the calm begins".to_owned());
        self.is_calm = true;
        self.network.heal();
        self.network.set_weather(Weather::FAIR);
        for node in 0..self.nodes.len() {
            self.nodes[node].falls_after = None;
            if self.nodes[node].live.is_none() && !self.has_left(node) {
                let at = self.now + self.process_luck.below(500);
                self.queue.plan(at, Event::Rise { node });
            }
        }
        let (height, epoch) = self.furthest();
        let step = Step::Settling { height, epoch };
        let until = self.now + SETTLE_MILLIS_MAX;
        self.calm = Some(Calm {
            step,
            until,
            began: self.now,
            clear_from: None,
            boundary: None,
            hindered: BTreeSet::new(),
            counted: 0,
        });
        self.queue.plan(self.now + WATCH_MILLIS, Event::Watch);
    }

    /// Whether a silent member has gone for good.
    fn has_left(&self, node: usize) -> bool {
        let it = &self.nodes[node];
        it.role == Role::Silent || it.presence != Presence::Here
    }

    /// The greatest height and epoch of an honest node.
    pub(super) fn furthest(&self) -> (Height, Epoch) {
        let heads = self.nodes.iter().filter(|node| node.is_honest()).filter_map(|node| node.live.as_ref());
        heads.fold((Height(0), Epoch(0)), |(height, epoch), live| {
            let head = live.coordinator.head();
            (height.max(head.height), epoch.max(head.epoch))
        })
    }

    /// The least height and epoch of an honest node that is there to stay; nothing while one is not up.
    fn hindmost(&self) -> (Height, Epoch) {
        let staying = self.nodes.iter().filter(|node| node.is_honest() && !self.has_left(node.index));
        staying.fold((Height(u64::MAX), Epoch(u64::MAX)), |(height, epoch), node| match &node.live {
            Some(live) => (height.min(live.coordinator.head().height), epoch.min(live.coordinator.head().epoch)),
            None => (Height(0), Epoch(0)),
        })
    }

    pub(super) fn watch(&mut self) {
        self.end_halt();
        let Some(mut calm) = self.calm.take() else { return };
        self.look_on(&mut calm);
        if self.violation.is_none() && !self.is_over && self.now >= calm.until {
            let late = self.late(&calm.step);
            self.judge(late);
            self.is_over = true;
        }
        self.calm = Some(calm);
        self.queue.plan(self.now + WATCH_MILLIS, Event::Watch);
    }

    /// Beyond `f` nothing is decided, and nothing is promised but that all goes on when some come back: so they do.
    fn end_halt(&mut self) {
        if !self.are_too_many_silent() {
            return;
        }
        for node in 0..self.nodes.len() {
            let it = &self.nodes[node];
            if it.role == Role::Silent && it.presence == Presence::Here && it.live.is_none() {
                self.trace.say(self.now, || format!("{node} comes back: too many are silent"));
                self.stats.halts += 1;
                self.queue.plan(self.now, Event::Rise { node });
            }
        }
    }

    fn look_on(&mut self, calm: &mut Calm) {
        match &mut calm.step {
            Step::Settling { height, epoch } => {
                let (least, slowest) = self.hindmost();
                if least > *height && slowest > *epoch {
                    let took = self.now - calm.began;
                    self.stats.settle_millis_max = took;
                    self.trace.say(self.now, || format!("everybody moves again after {took} ms"));
                    let from = self.furthest().1;
                    calm.clear_from = Some(self.now);
                    calm.until = self.now + (STORE_EPOCHS_MAX + 1) * self.plan.epoch_millis * 2;
                    let wanted = self.want_stored();
                    calm.step = Step::Storing { wanted, from };
                }
            }
            Step::Storing { wanted, from } => {
                let (wanted, from) = (*wanted, *from);
                if self.is_stored(wanted) {
                    calm.until = self.now + READ_MILLIS_MAX;
                    let readable = self.readable().into_iter();
                    let left: BTreeSet<BlobId> = readable.filter(|blob| self.must_be_readable(blob)).collect();
                    for blob in &left {
                        self.read_somewhere(*blob);
                    }
                    calm.step = Step::Reading { left };
                } else if self.hindmost().1.0 > from.0 + STORE_EPOCHS_MAX {
                    calm.until = self.now;
                }
            }
            Step::Reading { left } => {
                if left.is_empty() {
                    calm.until = self.now + 4 * self.plan.epoch_millis;
                    calm.step = Step::Counting;
                }
            }
            Step::Counting => self.is_over = calm.counted > 0,
        }
    }

    /// A height of `epoch` took more than one round. A closing here is shorter than two turns of a proposer that lies or is gone, so
    /// the epoch may remain undecided; epochs of an hour have closings of minutes. When the block is a boundary the next one may as
    /// well: it begins by the block's time, and by the time of the decision half of its slots can be over (seed 539).
    pub(super) fn rounds_passed(&mut self, epoch: Epoch, block: &[u8]) {
        let Some(calm) = self.calm.as_mut() else { return };
        calm.hindered.insert(epoch);
        if Block::decode(block).is_ok_and(|block| block.header.boundary.is_some()) {
            calm.hindered.insert(epoch.next());
        }
    }

    /// A boundary was decided. In an epoch that was calm from its beginning everybody who serves is there, and who is gone is not.
    pub(super) fn count_heads(&mut self, block: &[u8]) {
        // Where clocks differ by as much as half a closing lasts, commitments come too late.
        let is_punctual = !self.plan.has(FaultClass::Clock);
        let Some(calm) = self.calm.as_mut() else { return };
        let Some(header) = Block::decode(block).ok().map(|block| block.header) else { return };
        let (time, Some(header)) = (header.time.0, header.boundary) else { return };
        let before = calm.boundary;
        if before.is_some_and(|(epoch, _)| header.ended < epoch) {
            // Somebody else has decided the same.
            return;
        }
        calm.boundary = Some((header.ended.next(), time));
        let began = before.and_then(|(epoch, time)| (epoch == header.ended).then_some(time));
        if calm.clear_from.is_none_or(|clear| began.is_none_or(|began| began < clear)) {
            return;
        }
        if is_punctual && header.decision == Decision::Undecided && calm.hindered.contains(&header.ended) {
            return;
        }
        calm.counted += 1;
        if is_punctual {
            let finding = self.presence(&header);
            self.judge(finding);
        }
    }

    fn presence(&self, header: &BoundaryHeader) -> Result<(), Violation> {
        let epoch = header.ended;
        if header.decision == Decision::Undecided {
            return self
                .laws
                .broken(Law::I5, format!("epoch {epoch} of the calm is undecided: {:?}", header.reporters));
        }
        let state = self.honest_up().first().map(|node| &self.nodes[*node].disk.state);
        let term = self.context.params.term_of(epoch);
        let committee = state.and_then(|state| views::committee_of(state, term).ok().flatten());
        let Some(committee) = committee else { return Ok(()) };
        for (at, member) in committee.members().iter().enumerate() {
            let was_there = header.answered.contains(MemberIndex(at as u16));
            let nodes: Vec<_> = self.nodes.iter().filter(|node| node.id() == member.node).collect();
            let gone = nodes.iter().all(|node| node.live.is_none() && self.has_left(node.index));
            let serves = nodes.iter().all(|node| matches!(node.role, Role::Honest | Role::Censor) && !node.is_poorer);
            let is_few = member.shards.len() <= usize::from(committee.faulty());
            if serves && !gone && !was_there {
                return self.laws.broken(Law::I5, format!("{} serves and is absent in epoch {epoch}", member.name));
            }
            if gone && is_few && was_there {
                return self.laws.broken(Law::I5, format!("{} is gone and answered in epoch {epoch}", member.name));
            }
        }
        Ok(())
    }

    /// A blob was read back.
    pub(super) fn read_back(&mut self, blob: &BlobId) {
        self.term_read_back(blob);
        if let Some(Calm { step: Step::Reading { left }, .. }) = &mut self.calm {
            left.remove(blob);
        }
    }

    fn late(&self, step: &Step) -> Result<(), crate::laws::Violation> {
        let heads: Vec<_> = self
            .nodes
            .iter()
            .map(|node| match &node.live {
                Some(live) => format!("{}@{}", live.coordinator.head().height, live.coordinator.head().epoch),
                None => "down".to_owned(),
            })
            .collect();
        let heads = heads.join(" ");
        match step {
            Step::Settling { height, epoch } => {
                let words = format!("no progress beyond {height}@{epoch} in {SETTLE_MILLIS_MAX} ms of calm: {heads}");
                self.laws.broken(Law::I18, words)
            }
            Step::Storing { from, .. } => {
                let words = format!("a store begun in epoch {from} of the calm is not certified: {heads}");
                self.laws.broken(Law::I18, words)
            }
            Step::Counting => self.laws.broken(Law::I18, format!("no epoch of the calm ends: {heads}")),
            Step::Reading { left } => {
                let blobs: Vec<_> = left.iter().map(ToString::to_string).collect();
                self.laws.broken(Law::I2, format!("cannot be read in the calm: {}", blobs.join(", ")))
            }
        }
    }
}
