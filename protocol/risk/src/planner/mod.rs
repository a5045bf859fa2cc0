//! The planner: one verdict and one repair plan for each class, the same on every node.
//!
//! 1. **Judge** each class (`judge.rs`): by the common bound, exactly when that is not enough.
//! 2. **Trigger**: a class not under repair is taken up when a risk passes its bound (and four times what it would be at
//!    best reach); one under repair is kept up until both are at their stop lines or nothing is left to rebuild.
//! 3. **Plan** (`repair.rs`): for each group of blobs with the same rotation, the shortest list that does it.
//! 4. **Cap**: the most urgent class first; who is at more than a thousand times its bound, or hardly held, is not held up.
//!
//! Beside the plan there are things that nobody decides: a seat that answers and lacks a fragment fills it when the
//! [trickle](trickles) says so, or at once while the ticket for what an uploader did not deliver stands; a stand-in's copy is
//! dropped when the seat's holder has the fragment and answers.
//!
//! # Laws
//! - **I8** A blob whose term is over is in no plan.
//! - **I9** No plan without a passed bound or an unfinished repair; patience is kept outside an emergency.
//! - **I10** One outage with all others well costs nothing, in a committee of seven members or more.
//! - **I11** Nothing is sent to who comes back with its data.
//! - **I13** Urgent rebuilds stay within the cap but for blobs that may break it, and no shard is planned twice.
//!
//! # Not here
//! What classes are and where rows come from; carrying a ticket out; pay. `forgotten` and `invalid` are said by the ledger.

mod class;
mod judge;
mod network;
mod repair;

pub use class::{Class, CoveringRow, Dropped, Flag, Gap, GapCause, Group, OpenTicket, RowKind};
pub use judge::{Counts, Margins, Precision, Ruler};
pub use network::{Error, NODES_MAX, Network, Node, NodeIndex};
pub use repair::{Lines, Ticket, Why};

use crate::loss::Risks;
use crate::params::{Life, Params};
use class::Spread;
use floe_types::{Epoch, EpochCount, SequenceNumber, ShardIndex};
use judge::{Judge, covered_rows, passes, urgency};
use repair::{Builder, Candidate, For, Hosts};

/// Whether enough reported to say anything of the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Decided,
    /// No: nothing new is planned, flags keep their value.
    Undecided,
}

/// What the planner says of a class. The first that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Fewer than `p` shards have a row at all.
    Lost,
    /// Too few reported to say more.
    Undecided,
    /// Fewer than `p` covered shards answered; holders may return.
    Unavailable,
    /// Every shard is covered and its holder answered.
    Intact,
    /// The plan has an entry for it, or an earlier one is under way.
    Repairing,
    /// Some are absent: nothing is done, on purpose.
    Tolerated,
}

/// The rebuilds of one group of a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPlan {
    /// The group, by its place in the class.
    pub group: usize,
    /// Of so many of its blobs, those with the lowest sequence numbers: all of them unless the cap says otherwise.
    pub blobs: u64,
    /// What is rebuilt of each.
    pub tickets: Vec<Ticket>,
}

/// What was decided about a class, with the numbers that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// The counts.
    pub counts: Counts,
    /// Both risks over the horizon.
    pub risks: Risks,
    /// Whether they are the class's own or the common bound.
    pub precision: Precision,
    /// The lines they were held against; of a class that is not near them, with a reach of zero.
    pub lines: Lines,
    /// The larger risk in thousandths of its accepted bound.
    pub urgency: u64,
    /// The flag after this boundary.
    pub flag: Flag,
    /// The epoch in which repair would start, when a bound is passed and patience or the cap holds it back.
    pub starts: Option<Epoch>,
    /// What is rebuilt now.
    pub groups: Vec<GroupPlan>,
    /// Shards that their seats' holders fill by the trickle.
    pub refill: Vec<ShardIndex>,
    /// Shards that their seats' holders may rebuild at any time: the uploader never delivered them.
    pub standing: Vec<ShardIndex>,
    /// Stand-ins whose copy is needed no more.
    pub drops: Vec<Dropped>,
}

/// The plan of a boundary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One outcome for each class, in their order.
    pub classes: Vec<Outcome>,
    /// Urgent pairs planned that count against the cap.
    pub pairs: u64,
    /// Urgent pairs planned beside it.
    pub uncapped: u64,
    /// The cap.
    pub cap: u64,
}

/// The first eight bytes of a keyed hash.
pub(crate) fn hash(label: &[u8], input: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(label).update(input);
    let mut first = [0u8; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_le_bytes(first)
}

/// The rotation of a blob: the same for a run of consecutive numbers, else without order.
#[must_use]
pub fn rotation(params: &Params, blob: SequenceNumber) -> u16 {
    let run = blob.0 / params.repair.rotation_run.max(1);
    let turns = u64::from(params.repair.rotations.max(1));
    (hash(b"floe stand-in rotation", &run.to_le_bytes()) % turns) as u16
}

/// Whether a gap of this blob at an answering seat is filled in `epoch`: once in every `trickle` epochs, at a constant rate over
/// all runs of blobs and shards. Never for a blob that ends soon.
#[must_use]
pub fn trickles(params: &Params, epoch: Epoch, blob: SequenceNumber, shard: ShardIndex, life: Life) -> bool {
    let mut input = [0u8; 10];
    input[..8].copy_from_slice(&(blob.0 / params.repair.rotation_run.max(1)).to_le_bytes());
    input[8..].copy_from_slice(&shard.0.to_le_bytes());
    let every = params.repair.trickle.0.max(1);
    life == Life::Lasting && (epoch.0 % every + hash(b"floe trickle", &input) % every).is_multiple_of(every)
}

/// Decides all classes at the boundary that begins `now`.
///
/// # Errors
/// [`Error`] when a class names a shard or node that is not there.
pub fn decide(network: &Network, decision: Decision, now: Epoch, classes: &[Class]) -> Result<Plan, Error> {
    for (at, class) in classes.iter().enumerate() {
        class.check(at, network)?;
    }
    let defended = classes.iter().fold(0u64, |sum, class| sum.saturating_add(class.defended()));
    let cap = network.params.cap(network.shards.all() as u16, defended);
    let mut judge = Judge::new(network);
    let mut hosts = Hosts::of(network);
    let mut judged: Vec<Judged> = Vec::with_capacity(classes.len());
    for class in classes {
        judged.push(judge_class(&mut judge, &mut hosts, class, decision, now));
    }
    let mut order: Vec<usize> = (0..classes.len()).filter(|at| judged[*at].wants.is_some()).collect();
    order.sort_by_key(|at| (std::cmp::Reverse(judged[*at].outcome.urgency), *at));
    let mut desk = Desk { judge, hosts, budget: Budget { cap, capped: 0, uncapped: 0 }, now };
    for at in order {
        desk.repair(&classes[at], &mut judged[at]);
    }
    let classes = judged.into_iter().map(|one| one.outcome).collect();
    Ok(Plan { classes, pairs: desk.budget.capped, uncapped: desk.budget.uncapped, cap })
}

/// The ruler of a class, with its repair line: for whoever asks, not for every boundary.
///
/// The repair line is taken against the accepted bounds, without the floor of a best reach that nobody knows yet.
///
/// # Errors
/// [`Error`] when the class names a shard or node that is not there.
pub fn ruler(network: &Network, class: &Class) -> Result<Ruler, Error> {
    class.check(0, network)?;
    Ok(Judge::new(network).ruler(class))
}

/// A class between judgement and plan.
struct Judged {
    outcome: Outcome,
    /// What a plan is made of, when one is to be made: of few classes among thousands.
    wants: Option<Wants>,
}

/// A class that may be repaired.
struct Wants {
    spread: Spread,
    candidates: Vec<Candidate>,
}

fn judge_class(judge: &mut Judge<'_>, hosts: &mut Hosts, class: &Class, decision: Decision, now: Epoch) -> Judged {
    let network = judge.network;
    let spread = Spread::of(network, class);
    let rows = covered_rows(&spread);
    let counts = judge.counts(&spread, rows);
    let read = network.shards.readable();
    let (mut risks, mut precision) = (judge.bound(counts.covered), Precision::Bound);
    if !judge.bound_applies(class) || passes(&risks, &network.bounds) {
        (risks, precision) = (judge.risks(&spread, &counts, &network.loss), Precision::Exact);
    }
    let verdict = match () {
        () if counts.rows < read => Verdict::Lost,
        () if decision == Decision::Undecided => Verdict::Undecided,
        () if counts.held < read => Verdict::Unavailable,
        () if counts.held == network.shards.all() => Verdict::Intact,
        () => Verdict::Tolerated,
    };
    let mut outcome = Outcome {
        verdict,
        counts,
        risks,
        precision,
        lines: Lines::of(network, &Risks::default()),
        urgency: urgency(&risks, &network.bounds),
        flag: class.flag,
        starts: None,
        groups: Vec::new(),
        refill: Vec::new(),
        standing: Vec::new(),
        drops: Vec::new(),
    };
    aside(network, class, now, &mut outcome);
    let mut judged = Judged { outcome, wants: None };
    let earlier = under_way(network, class, &spread);
    match verdict {
        Verdict::Intact | Verdict::Lost => judged.outcome.flag = Flag::Calm,
        Verdict::Tolerated if class.flag == Flag::Repairing || passes(&risks, &network.bounds) => {
            let candidates = repair::candidates(network, class, &spread, now);
            // One blob: who has no room at all is out of reach.
            let whom = For { rotation: 0, blobs: 1, now };
            let mut builder = Builder::new(network, class, spread.clone(), hosts, whom);
            let reach = repair::reach(judge, &mut builder, &candidates);
            judged.outcome.lines = Lines::of(network, &reach);
            let lines = &judged.outcome.lines;
            let line = if class.flag == Flag::Repairing { &lines.stop } else { &lines.trigger };
            judged.wants = passes(&risks, line).then_some(Wants { spread, candidates });
            judged.outcome.flag = Flag::Calm;
        }
        _ => {}
    }
    if judged.outcome.verdict == Verdict::Tolerated && earlier {
        judged.outcome.verdict = Verdict::Repairing;
    }
    judged
}

/// Whether an earlier entry is still worked on: its shard is not held otherwise and its target answers.
fn under_way(network: &Network, class: &Class, spread: &Spread) -> bool {
    let held = |shard: ShardIndex| spread.node_of(shard.0).is_some_and(|node| network.answers(node));
    class.open.iter().any(|ticket| !held(ticket.shard) && network.answers(ticket.target))
}

/// What goes on beside the plan.
fn aside(network: &Network, class: &Class, now: Epoch, outcome: &mut Outcome) {
    let seated = repair::seat_rows(network, class);
    let standing = network.params.repair.standing;
    for (shard, has) in seated.iter().enumerate() {
        let shard = ShardIndex(shard as u16);
        if *has || !network.seat(shard.0).is_some_and(|seat| network.answers(seat)) {
            continue;
        }
        let undelivered = class.gaps.iter().any(|gap| {
            let young = now.0.saturating_sub(gap.since.0) < standing.0;
            gap.shard == shard && gap.cause == GapCause::Undelivered && young
        });
        let list = if undelivered { &mut outcome.standing } else { &mut outcome.refill };
        list.push(shard);
    }
    for row in class.rows.iter().filter(|row| row.kind == RowKind::StandIn) {
        let home = network.seat(row.shard.0).is_some_and(|seat| seat != row.holder && network.answers(seat));
        if home && seated.get(usize::from(row.shard.0)).is_some_and(|has| *has) {
            outcome.drops.push(Dropped { shard: row.shard, holder: row.holder });
        }
    }
}

/// What may still be rebuilt at this boundary.
struct Budget {
    cap: u64,
    capped: u64,
    uncapped: u64,
}

impl Budget {
    /// Of how many of `blobs` so many shards may be rebuilt; books them.
    fn grant(&mut self, blobs: u64, shards: u64, free: Capped) -> u64 {
        match free {
            Capped::No => {
                self.uncapped = self.uncapped.saturating_add(blobs.saturating_mul(shards));
                blobs
            }
            Capped::Yes => {
                let left = self.cap.saturating_sub(self.capped);
                let granted = left.checked_div(shards).unwrap_or(0).min(blobs);
                self.capped = self.capped.saturating_add(granted.saturating_mul(shards));
                granted
            }
        }
    }
}

/// Whether the cap holds for a class.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Capped {
    Yes,
    No,
}

/// What plans share: one class takes from the room and the budget that the next one finds.
struct Desk<'a> {
    judge: Judge<'a>,
    hosts: Hosts,
    budget: Budget,
    now: Epoch,
}

impl Desk<'_> {
    fn repair(&mut self, class: &Class, judged: &mut Judged) {
        let Judged { outcome, wants: Some(Wants { spread, candidates }) } = judged else { return };
        let network = self.judge.network;
        let (repair, counts) = (&network.params.repair, outcome.counts);
        let edge = network.shards.readable() + network.shards.faulty() / 2;
        let patience = if counts.held <= edge { EpochCount(0) } else { repair.patience };
        let ripe = candidates.iter().copied().filter(|candidate| candidate.waits(patience) == 0);
        let ripe: Vec<Candidate> = ripe.collect();
        let far = outcome.urgency > repair.uncapped_above.saturating_mul(1_000);
        let capped = if far || counts.held <= edge { Capped::No } else { Capped::Yes };
        for (at, group) in class.groups.iter().enumerate() {
            if group.life == Life::Over || group.blobs == 0 {
                continue;
            }
            let whom = For { rotation: group.rotation, blobs: group.blobs, now: self.now };
            let builder = Builder::new(network, class, spread.clone(), &mut self.hosts, whom);
            let tickets = repair::plan(&mut self.judge, builder, &ripe, &outcome.risks, &outcome.lines);
            if tickets.is_empty() {
                continue;
            }
            outcome.flag = Flag::Repairing;
            let blobs = self.budget.grant(group.blobs, tickets.len() as u64, capped);
            if blobs < group.blobs {
                outcome.starts = Some(self.now.next());
            }
            if blobs > 0 {
                self.hosts.book(&tickets, blobs);
                outcome.groups.push(GroupPlan { group: at, blobs, tickets });
            }
        }
        if outcome.groups.is_empty() {
            let waits = candidates.iter().map(|candidate| candidate.waits(patience)).filter(|waits| *waits > 0);
            let ripens = waits.min().map(|waits| Epoch(self.now.0.saturating_add(waits)));
            outcome.starts = outcome.starts.or(ripens);
        } else {
            outcome.verdict = Verdict::Repairing;
            let tickets = outcome.groups.iter().flat_map(|group| &group.tickets);
            let planned: std::collections::BTreeSet<ShardIndex> = tickets.map(|ticket| ticket.shard).collect();
            outcome.refill.retain(|shard| !planned.contains(shard));
            outcome.standing.retain(|shard| !planned.contains(shard));
        }
    }
}
