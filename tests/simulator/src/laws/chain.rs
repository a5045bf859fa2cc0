//! An oracle for verdicts: the decided blocks once more, in the plainest words there are.
//!
//! It reads transactions off blocks and keeps lists: who reported what, which blob is covered by which holders since when, who
//! hands over to whom. No tables, no segments, no Merkle trees, none of the ledger's functions. At each boundary it says what
//! the header must say. Who is chosen it takes from the state, as [`super::seats`] checks it.

use super::Violation;
use floe_ledger::reports::Report;
use floe_ledger::transaction::{ENCODING_VERSION, confirmation_message};
use floe_ledger::{Action, Block, Decision, MemberSet, MemoryState, RowKind, Run, ShardSet, Verdict, Weight, views};
use floe_types::bls::verify_aggregate;
use floe_types::laws::Law;
use floe_types::{
    BlobId, Committee, Epoch, Genesis, Height, MemberIndex, NetworkId, NodeId, Params, RegistrationNumber, ShardIndex,
};
use std::collections::{BTreeMap, BTreeSet};

/// Slots of an epoch.
const SLOTS: usize = 6;

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

/// A holder of a shard. One that had it and has no row any more comes back as if new: nothing of it is left then.
type Holding = (ShardIndex, NodeId);

#[derive(Debug)]
struct Life {
    blob: BlobId,
    length: u64,
    last: Epoch,
    judged: BTreeSet<Holding>,
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
    network: NetworkId,
    params: Params,
    committee: Committee,
    /// Of the term before, until the first epoch of the running one has ended.
    before: Option<Committee>,
    next: Option<Committee>,
    /// Who may cover what, as what and since when.
    rows: BTreeMap<Holding, (RowKind, Epoch)>,
    height: Height,
    epoch: Epoch,
    reports: BTreeMap<MemberIndex, Report>,
    registrations: BTreeMap<RegistrationNumber, Registered>,
    lives: Vec<Life>,
    /// Coverage that is gained or lost from the next epoch on.
    attested: Vec<(usize, Vec<Holding>, Said)>,
    expectations: BTreeMap<Epoch, Expectation>,
}

fn seats(committee: &Committee) -> BTreeMap<ShardIndex, NodeId> {
    let of = |member: &floe_types::Member| {
        let node = member.node;
        member.shards.clone().into_iter().map(move |shard| (shard, node))
    };
    committee.members().iter().flat_map(of).collect()
}

impl Chain {
    pub(super) fn new(genesis: &Genesis) -> Chain {
        let committee = genesis.committee().expect("a plan's genesis has a committee");
        let rows = seats(&committee).into_iter().map(|holding| (holding, (RowKind::Seat, Epoch(1)))).collect();
        Chain {
            network: genesis.network(),
            params: genesis.params.clone(),
            committee,
            before: None,
            next: None,
            rows,
            height: Height(0),
            epoch: Epoch(1),
            reports: BTreeMap::new(),
            registrations: BTreeMap::new(),
            lives: Vec::new(),
            attested: Vec::new(),
            expectations: BTreeMap::new(),
        }
    }

    pub(super) fn heights_and_epochs(&self) -> (u64, u64) {
        (self.height.0, self.epoch.0 - 1)
    }

    /// Whether nobody has decided this block before.
    pub(super) fn is_next(&self, block: &Block) -> bool {
        block.header.height == self.height.next()
    }

    /// What the boundary in `block` must say, if it is one.
    pub(super) fn expectation(&self, block: &Block) -> super::Expected<'_> {
        let boundary = block.header.boundary.as_ref()?;
        self.expectations.get(&boundary.ended)
    }

    /// Takes the next decided block, after which the state is this.
    pub(super) fn advance(&mut self, block: &Block, state: &MemoryState) -> Result<(), Violation> {
        self.height = block.header.height;
        let ends = block.header.epoch > self.epoch;
        if ends {
            let expected = self.end_epoch(state)?;
            self.expectations.insert(expected.epoch, expected);
        }
        for signed in &block.transactions {
            self.take(&signed.transaction.action);
        }
        if ends { self.compare_rows(state) } else { Ok(()) }
    }

    /// The rows of the state are these. Who stands in is taken from the state: [`super::repairs`] looks at it.
    fn compare_rows(&mut self, state: &MemoryState) -> Result<(), Violation> {
        let broken = |words: String| Violation::of(Law::I14, words);
        let rows = views::rows(state).map_err(|error| broken(error.to_string()))?;
        let found: BTreeMap<Holding, (RowKind, Epoch)> =
            rows.iter().map(|(_, row)| ((row.shard, row.holder), (row.kind, row.since))).collect();
        self.take_stand_ins(&found);
        if found == self.rows {
            return Ok(());
        }
        let epoch = self.epoch;
        Err(broken(format!("with epoch {epoch} the rows are {found:?}, expected {:?}", self.rows)))
    }

    /// Rows of stand-ins come, end, and become a former holder's.
    fn take_stand_ins(&mut self, found: &BTreeMap<Holding, (RowKind, Epoch)>) {
        let stood = |rows: &BTreeMap<Holding, (RowKind, Epoch)>, row: &Holding| {
            rows.get(row).is_some_and(|(kind, _)| *kind == RowKind::StandIn)
        };
        let gone: Vec<Holding> =
            self.rows.keys().filter(|row| stood(&self.rows, row) && !found.contains_key(row)).copied().collect();
        for row in gone {
            self.rows.remove(&row);
            self.lives.iter_mut().for_each(|life| {
                life.judged.remove(&row);
            });
        }
        for (row, is) in found {
            if stood(found, row) || (stood(&self.rows, row) && is.0 == RowKind::Former) {
                self.rows.insert(*row, *is);
            }
        }
    }

    fn shards(&self, member: MemberIndex) -> Vec<ShardIndex> {
        self.committee.member(member).map(|member| member.shards.clone()).unwrap_or_default()
    }

    fn defended(&self, blob: &BlobId) -> Option<usize> {
        self.lives.iter().position(|life| life.is_defended && life.blob == *blob)
    }

    fn take(&mut self, action: &Action) {
        match action {
            Action::Transfer { .. }
            | Action::Renew { .. }
            | Action::Offer { .. }
            | Action::Join(_)
            | Action::Stake { .. }
            | Action::Leave { .. }
            | Action::Describe(_)
            | Action::VoteKey(_)
            | Action::Support { .. }
            | Action::Commit { .. }
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
            Action::Certify { .. } => self.certify(action),
            Action::Extend { registration, last, .. } => self.lasts(*registration, *last),
            Action::Delete { registration } => self.lasts(*registration, self.epoch.next()),
            Action::Attest { member, shards, runs } => self.say((member, shards), runs, Said::Held),
            Action::Withdraw { member, shards, runs } => self.say((member, shards), runs, Said::Gone),
            Action::Report(report) => {
                if let Some(index) = self.committee.index_of(&report.member) {
                    self.reports.insert(index, Report::clone(report));
                }
            }
        }
    }

    fn say(&mut self, (member, shards): (&NodeId, &ShardSet), runs: &[Run], said: Said) {
        let holdings: Vec<Holding> = shards.iter().map(|shard| (shard, *member)).collect();
        for run in runs {
            let holdings = holdings.clone();
            self.attested.extend((run.first.0..=run.last.0).map(|at| (at as usize, holdings.clone(), said)));
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

    /// Whose word a certificate is: the running committee's, or in the first epoch of a term that of the one before.
    fn signers(&self, action: &Action) -> Vec<Holding> {
        let Action::Certify { blob, registration, members, signature, .. } = action else { return Vec::new() };
        let signed = |committee: &Committee| {
            let signers = members.iter().filter_map(|index| committee.member(index)).collect::<Vec<_>>();
            let keys: Vec<_> = signers.iter().map(|member| member.bls_key).collect();
            let message = confirmation_message(&self.network, committee.term(), *registration, blob, ENCODING_VERSION);
            let holds = |member: &&floe_types::Member| {
                let node = member.node;
                member.shards.clone().into_iter().map(move |shard| (shard, node))
            };
            let holdings: Vec<Holding> = signers.iter().flat_map(holds).collect();
            verify_aggregate(&keys, &message, signature).is_ok().then_some(holdings)
        };
        let earlier = self.before.as_ref().and_then(signed);
        let running = || {
            let signers = members.iter().flat_map(|index| {
                let node = self.committee.member(index).map(|member| member.node).unwrap_or_default();
                self.shards(index).into_iter().map(move |shard| (shard, node))
            });
            signers.collect()
        };
        let mut holdings = earlier.unwrap_or_else(running);
        holdings.retain(|holding| self.rows.contains_key(holding));
        holdings
    }

    fn certify(&mut self, action: &Action) {
        let Action::Certify { registration, .. } = action else { return };
        let holdings = self.signers(action);
        let Some(registered) = self.registrations.get_mut(registration) else { return };
        registered.counts = true;
        let Registered { blob, length, last, .. } = *registered;
        match self.defended(&blob) {
            Some(at) => {
                self.lives[at].last = self.lives[at].last.max(last);
                self.attested.push((at, holdings, Said::Held));
            }
            None => {
                let judged = holdings.into_iter().collect();
                self.lives.push(Life { blob, length, last, judged, is_defended: true });
            }
        }
    }

    /// Whether the epoch is decided, and who was there in most of the slots that count: the decided ones, or when too few are,
    /// those of which anybody speaks.
    fn participation(&self) -> (Decision, BTreeSet<MemberIndex>) {
        let (shards, faulty) = (usize::from(self.committee.shards()), usize::from(self.committee.faulty()));
        let weight = |member: &MemberIndex| self.shards(*member).len();
        let spoke = |slot: usize| -> usize {
            let of_slot = self.reports.iter().filter(|(_, report)| report.held[slot].is_some());
            of_slot.map(|(member, _)| weight(member)).sum()
        };
        let decided: Vec<usize> = (0..SLOTS).filter(|slot| spoke(*slot) >= shards - faulty).collect();
        let is_decided = decided.len() * 2 > SLOTS;
        let counted = if is_decided { decided } else { (0..SLOTS).filter(|slot| spoke(*slot) > 0).collect() };
        let held = |target: &MemberIndex, slot: usize| {
            let says = |(voucher, report): &(&MemberIndex, &Report)| {
                *voucher != target && report.held[slot].as_ref().is_some_and(|held| held.contains(*target))
            };
            let vouchers = self.reports.iter().filter(says).map(|(voucher, _)| weight(voucher)).sum::<usize>();
            vouchers + weight(target) > faulty
        };
        let was_there =
            |target: &MemberIndex| counted.iter().filter(|slot| held(target, **slot)).count() * 2 > counted.len();
        let everybody = (0..self.committee.members().len()).map(|at| MemberIndex(at as u16));
        let decision = if is_decided { Decision::Decided } else { Decision::Undecided };
        (decision, everybody.filter(was_there).collect())
    }

    /// What the running epoch comes to; then the next begins.
    fn end_epoch(&mut self, state: &MemoryState) -> Result<Expectation, Violation> {
        let (shards, faulty) = (usize::from(self.committee.shards()), usize::from(self.committee.faulty()));
        let (decision, answered) = self.participation();
        let answers = |node: &NodeId| self.committee.index_of(node).is_some_and(|index| answered.contains(&index));
        let mut verdicts: BTreeMap<Verdict, Weight> = BTreeMap::new();
        let mut classes = BTreeSet::new();
        for life in self.lives.iter().filter(|life| life.is_defended) {
            classes.insert(life.judged.clone());
            let covered: BTreeSet<ShardIndex> = life.judged.iter().map(|(shard, _)| *shard).collect();
            let held: BTreeSet<ShardIndex> =
                life.judged.iter().filter(|(_, node)| answers(node)).map(|(shard, _)| *shard).collect();
            let verdict = judge(shards, faulty, decision, (covered.len(), held.len()));
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
        for (at, holdings, said) in std::mem::take(&mut self.attested) {
            let Some(life) = self.lives.get_mut(at) else { continue };
            match said {
                Said::Held => life.judged.extend(holdings),
                Said::Gone => life.judged.retain(|holding| !holdings.contains(holding)),
            }
        }
        let reporters = std::mem::take(&mut self.reports).into_keys().collect();
        let count = classes.len() as u64;
        self.end_rows(&classes, epoch);
        self.turn(state, epoch)?;
        self.epoch = epoch.next();
        Ok(Expectation {
            epoch,
            reporters,
            answered: answered.into_iter().collect(),
            decision,
            verdicts: verdicts.into_iter().collect(),
            forgotten,
            classes: count,
        })
    }

    /// Former holders go whose fragments somebody else has for each class, and those whose time is up.
    fn end_rows(&mut self, classes: &BTreeSet<BTreeSet<Holding>>, epoch: Epoch) {
        let kind = |holding: &Holding| self.rows.get(holding).map(|(kind, _)| *kind);
        let is_needed = |row: &Holding| {
            let covers = |class: &&BTreeSet<Holding>| class.contains(row);
            let otherwise = |class: &BTreeSet<Holding>| {
                let lasting = |one: &&Holding| {
                    let lasts = matches!(kind(one), Some(RowKind::Seat | RowKind::Incoming | RowKind::StandIn));
                    one.0 == row.0 && lasts
                };
                class.iter().any(|one| lasting(&one))
            };
            classes.iter().filter(covers).any(|class| !otherwise(class))
        };
        let is_over = |(row, (kind, since)): (&Holding, &(RowKind, Epoch))| {
            let deadline = since.0 + self.params.former_epochs.0;
            let over = *kind == RowKind::Former && (deadline <= epoch.0 + 1 || !is_needed(row));
            over.then_some(*row)
        };
        let over: Vec<Holding> = self.rows.iter().filter_map(is_over).collect();
        for row in over {
            self.rows.remove(&row);
            self.lives.iter_mut().for_each(|life| {
                life.judged.remove(&row);
            });
        }
    }

    /// The term ends or the next committee is chosen, as the calendar says.
    fn turn(&mut self, state: &MemoryState, epoch: Epoch) -> Result<(), Violation> {
        let broken = |words: String| Violation::of(Law::I14, words);
        let (length, next) = (self.params.term_epochs.0, epoch.next());
        self.before = None;
        if epoch.0.is_multiple_of(length) {
            let office = views::committee(state).map_err(|error| broken(error.to_string()))?;
            let chosen = self.next.take();
            if office.term() != self.committee.term() + 1 {
                return Err(broken(format!("after epoch {epoch} the term is {}", office.term())));
            }
            if chosen.is_some_and(|chosen| chosen != office) {
                return Err(broken(format!("another committee than the chosen one serves term {}", office.term())));
            }
            let before = seats(&self.committee);
            for (shard, node) in seats(&office) {
                let had = before.get(&shard).copied();
                if had == Some(node) {
                    continue;
                }
                self.rows.insert((shard, node), (RowKind::Seat, next));
                self.rows.extend(had.map(|had| ((shard, had), (RowKind::Former, next))));
            }
            self.before = Some(std::mem::replace(&mut self.committee, office));
        }
        // A first term as short as the notice has no election.
        if (epoch.0 + self.params.election_epochs.0).is_multiple_of(length) {
            self.next = views::next_committee(state).map_err(|error| broken(error.to_string()))?;
            let Some(chosen) = &self.next else {
                return Err(broken(format!("nobody is chosen with epoch {epoch}")));
            };
            let held = seats(&self.committee);
            for (shard, node) in seats(chosen) {
                if held.get(&shard) != Some(&node) {
                    self.rows.insert((shard, node), (RowKind::Incoming, next));
                }
            }
        }
        Ok(())
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
