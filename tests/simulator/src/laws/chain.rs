//! An oracle for verdicts: the decided blocks once more, in the plainest words there are.
//!
//! It reads transactions off blocks and keeps lists: who reported what, which blob is covered by which shards since when.
//! No tables, no segments, no Merkle trees, none of the ledger's functions. At each boundary it says what the header
//! must say.

use floe_ledger::{Action, Block, Decision, MemberSet, Run, ShardSet, Verdict, Weight};
use floe_types::{BlobId, Committee, Epoch, Genesis, Height, MemberIndex, RegistrationNumber, ShardIndex};
use std::collections::{BTreeMap, BTreeSet};

/// What a boundary must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expectation {
    pub epoch: Epoch,
    pub reporters: MemberSet,
    pub answered: MemberSet,
    pub decision: Decision,
    pub verdicts: Vec<(Verdict, Weight)>,
    pub forgotten: u64,
    pub classes: u64,
}

#[derive(Debug)]
struct Registered {
    blob: BlobId,
    length: u64,
    last: Epoch,
    counts: bool,
}

#[derive(Debug)]
struct Life {
    blob: BlobId,
    length: u64,
    last: Epoch,
    judged: BTreeSet<ShardIndex>,
    is_defended: bool,
}

#[derive(Clone, Copy, Debug)]
enum Said {
    Held,
    Gone,
}

/// The oracle. Budgets for renewals are not followed: no workload sets one aside.
#[derive(Debug)]
pub(super) struct Chain {
    committee: Committee,
    height: Height,
    epoch: Epoch,
    reports: BTreeMap<MemberIndex, MemberSet>,
    registrations: BTreeMap<RegistrationNumber, Registered>,
    lives: Vec<Life>,
    /// Coverage that is gained or lost from the next epoch on.
    attested: Vec<(usize, Vec<ShardIndex>, Said)>,
}

impl Chain {
    pub(super) fn new(genesis: &Genesis) -> Chain {
        Chain {
            committee: genesis.committee().expect("a plan's genesis has a committee"),
            height: Height(0),
            epoch: Epoch(1),
            reports: BTreeMap::new(),
            registrations: BTreeMap::new(),
            lives: Vec::new(),
            attested: Vec::new(),
        }
    }

    pub(super) fn heights_and_epochs(&self) -> (u64, u64) {
        (self.height.0, self.epoch.0 - 1)
    }

    /// Takes a decided block when it is the next; the expectation of its boundary, if it is one.
    pub(super) fn advance(&mut self, block: &Block) -> super::Expected {
        if block.header.height != self.height.next() {
            return None;
        }
        self.height = block.header.height;
        let ended = (block.header.epoch > self.epoch).then(|| Box::new(self.end_epoch()));
        for signed in &block.transactions {
            self.take(&signed.transaction.action);
        }
        ended
    }

    fn shards(&self, member: MemberIndex) -> Vec<ShardIndex> {
        self.committee.member(member).map(|member| member.shards.clone()).unwrap_or_default()
    }

    fn defended(&self, blob: &BlobId) -> Option<usize> {
        self.lives.iter().position(|life| life.is_defended && life.blob == *blob)
    }

    fn take(&mut self, action: &Action) {
        match action {
            // Nobody comes or goes in a simulation yet: seats stay, and with them the one row of each shard. Nor is an encoding
            // inconsistent.
            Action::Transfer { .. }
            | Action::Renew { .. }
            | Action::Offer { .. }
            | Action::Join(_)
            | Action::Stake { .. }
            | Action::Leave { .. }
            | Action::Describe(_)
            | Action::VoteKey(_)
            | Action::Support { .. }
            | Action::Evidence(_)
            | Action::Invalid(_) => {}
            Action::Register { blob, length, last, .. } => {
                let number = RegistrationNumber(self.registrations.len() as u64 + 1);
                let counts = self.defended(blob).is_some();
                self.registrations.insert(number, Registered { blob: *blob, length: *length, last: *last, counts });
                if let Some(at) = self.defended(blob) {
                    self.lives[at].last = self.lives[at].last.max(*last);
                }
            }
            Action::Certify { registration, members, .. } => self.certify(*registration, members),
            Action::Extend { registration, last, .. } => self.lasts(*registration, *last),
            Action::Delete { registration } => self.lasts(*registration, self.epoch.next()),
            Action::Attest { shards, runs, .. } => self.say(shards, runs, Said::Held),
            Action::Withdraw { shards, runs, .. } => self.say(shards, runs, Said::Gone),
            Action::Report { member, answered, .. } => {
                if let Some(index) = self.committee.index_of(member) {
                    self.reports.insert(index, answered.clone());
                }
            }
        }
    }

    fn say(&mut self, shards: &ShardSet, runs: &[Run], said: Said) {
        let shards: Vec<_> = shards.iter().collect();
        for run in runs {
            let shards = shards.clone();
            self.attested.extend((run.first.0..=run.last.0).map(|at| (at as usize, shards.clone(), said)));
        }
    }

    /// A registration ends with another epoch, and its blob when none lasts longer.
    fn lasts(&mut self, registration: RegistrationNumber, last: Epoch) {
        let Some(moved) = self.registrations.get_mut(&registration) else { return };
        moved.last = last;
        let blob = moved.blob;
        let all = self.registrations.values().filter(|one| one.counts && one.blob == blob);
        let last = all.map(|one| one.last).max().unwrap_or(last);
        if let Some(at) = self.defended(&blob) {
            self.lives[at].last = last;
        }
    }

    fn certify(&mut self, registration: RegistrationNumber, members: &MemberSet) {
        let shards: Vec<_> = members.iter().flat_map(|member| self.shards(member)).collect();
        let Some(registered) = self.registrations.get_mut(&registration) else { return };
        registered.counts = true;
        let Registered { blob, length, last, .. } = *registered;
        match self.defended(&blob) {
            Some(at) => {
                self.lives[at].last = self.lives[at].last.max(last);
                self.attested.push((at, shards, Said::Held));
            }
            None => {
                let judged = shards.into_iter().collect();
                self.lives.push(Life { blob, length, last, judged, is_defended: true });
            }
        }
    }

    /// What the running epoch comes to; then the next begins.
    fn end_epoch(&mut self) -> Expectation {
        let (shards, faulty) = (usize::from(self.committee.shards()), usize::from(self.committee.faulty()));
        let held_by = |members: &mut dyn Iterator<Item = MemberIndex>| -> usize {
            members.map(|member| self.shards(member).len()).sum()
        };
        let decision = match held_by(&mut self.reports.keys().copied()) {
            held if held >= shards - faulty => Decision::Decided,
            _ => Decision::Undecided,
        };
        let is_vouched = |target: &MemberIndex| {
            let says = |(voucher, said): (&MemberIndex, &MemberSet)| {
                (voucher != target && said.contains(*target)).then_some(*voucher)
            };
            held_by(&mut self.reports.iter().filter_map(says)) > faulty
        };
        let everybody = (0..self.committee.members().len()).map(|at| MemberIndex(at as u16));
        let answered: BTreeSet<_> = everybody.filter(is_vouched).collect();
        let answering: BTreeSet<_> = answered.iter().flat_map(|member| self.shards(*member)).collect();

        let mut verdicts: BTreeMap<Verdict, Weight> = BTreeMap::new();
        let mut classes = BTreeSet::new();
        for life in self.lives.iter().filter(|life| life.is_defended) {
            classes.insert(life.judged.iter().copied().collect::<Vec<_>>());
            let verdict =
                judge(shards, faulty, decision, (life.judged.len(), life.judged.intersection(&answering).count()));
            let weight = verdicts.entry(verdict).or_default();
            weight.blobs += 1;
            weight.bytes += u128::from(life.length);
            weight.fragment_bytes += fragment_bytes(self.committee.shards(), life.length);
        }
        let epoch = self.epoch;
        let mut forgotten = 0;
        for life in self.lives.iter_mut().filter(|life| life.is_defended && life.last <= epoch) {
            life.is_defended = false;
            forgotten += 1;
        }
        for (at, shards, said) in std::mem::take(&mut self.attested) {
            let Some(life) = self.lives.get_mut(at) else { continue };
            match said {
                Said::Held => life.judged.extend(shards),
                Said::Gone => life.judged.retain(|shard| !shards.contains(shard)),
            }
        }
        let reporters = std::mem::take(&mut self.reports).into_keys().collect();
        self.epoch = epoch.next();
        Expectation {
            epoch,
            reporters,
            answered: answered.into_iter().collect(),
            decision,
            verdicts: verdicts.into_iter().collect(),
            forgotten,
            classes: classes.len() as u64,
        }
    }
}

fn fragment_bytes(shards: u16, length: u64) -> u64 {
    floe_erasure::Layout::new(shards, length).map_or(0, |layout| layout.fragment_bytes())
}

/// The verdict on a blob that `covered` shards cover, `held` of which answered.
fn judge(shards: usize, faulty: usize, decision: Decision, (covered, held): (usize, usize)) -> Verdict {
    let needed = shards - 2 * faulty;
    if covered < needed {
        Verdict::Lost
    } else if decision == Decision::Undecided {
        Verdict::Undecided
    } else if held < needed {
        Verdict::Unavailable
    } else if held == shards {
        Verdict::Intact
    } else {
        Verdict::Tolerated
    }
}
