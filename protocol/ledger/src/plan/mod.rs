//! The plan of a boundary: what each class risks, what is rebuilt of it, and by whom.
//!
//! ```text
//!  rows, gauges, domains ──► Network ─┐
//!  classes, pauses, flags ──► Class ──┴─► decide ──► numbers of every class            before anything is forgotten
//!  classes above a bound or under repair,
//!  their blobs by rotation ──► Class, one a rotation ──► decide ──► tickets, flags     after what ended is forgotten
//! ```
//!
//! The mathematics are [`floe_risk::planner`]'s. Twice, because most classes need no blobs counted: only those that are above a
//! bound, or under repair, are looked up in the map of segments, cut into runs of the rotation and weighed. A network in
//! which nothing is wrong looks at no segment.
//!
//! **The flag** of a class, whether repair of it has begun, is a mark in the map of coverage like the marks of pauses: it
//! follows the numbers when rows come and go, so that repair goes on to its stop line and not just below the trigger.
//!
//! # Laws
//! - **I8** A blob whose term is over is in no plan.
//! - **I9** No plan without a passed bound or an unfinished repair.
//! - **I14** Equal states give equal plans.
//!
//! # Not here
//! How a plan is written down: `carry`. Who may be served symbols: [`crate::repairs`].

mod carry;
mod groups;
mod network;

pub use floe_risk::planner::{Margins, Ruler};

pub(crate) use carry::Carrying;
pub(crate) use groups::PIECES_MAX;
pub(crate) use network::Scene;

use crate::classes;
use crate::coverage::{self, Run};
use crate::merkle::Weight;
use crate::pages;
use crate::repairs::{self, Batch, Haste, Scope};
use crate::rows::{self, ByRow, RowId, RowSet, Rows};
use crate::standing::{self, Assembly};
use crate::state::{StateError, StateRead};
use crate::tables::Table;
use crate::verdict::{Decision, Lines, Precision, Progress, Risk, Verdict, VerdictRecord};
use crate::views;
use floe_risk::planner::{self, Class, CoveringRow, Flag, Gap, Network, NodeIndex, OpenTicket, Outcome};
use floe_types::{Committee, Epoch, NodeId, Params, SequenceNumber};
use groups::{Blocks, Piece, runs_by_class};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What was planned at a boundary, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// Tickets given.
    pub tickets: u64,
    /// Fragments that they come to and that count against the cap.
    pub pairs: u64,
    /// Fragments beside it: of blobs that may break the cap.
    pub uncapped: u64,
    /// The cap.
    pub cap: u64,
}

/// The runs of each class that there are, by its rows as it is judged.
pub(crate) type Runs = BTreeMap<RowSet, Vec<Run>>;

/// What a boundary has on its desk.
pub(crate) struct Desk<'a> {
    scene: &'a Scene<'a>,
    network: Network,
    /// By place in the network.
    nodes: Vec<NodeId>,
    rows: ByRow<CoveringRow>,
    gaps: BTreeMap<RowSet, Vec<Gap>>,
    /// Of the epoch that ended.
    batches: Vec<Batch>,
    runs: Option<Runs>,
    outcomes: BTreeMap<RowSet, Outcome>,
}

/// A class of which blobs are rebuilt.
#[derive(Debug)]
pub(crate) struct Entry {
    pub tickets: Vec<planner::Ticket>,
    pub scope: Scope,
    pub blobs: u64,
    pub haste: Haste,
}

/// What was decided, to be written down.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The most urgent first.
    pub entries: Vec<Entry>,
    /// Classes whose flag changes, by their rows, with what it is from now on.
    pub flags: Vec<(RowSet, Flag)>,
    /// Rows of stand-ins that some class still needs.
    pub needed: BTreeSet<RowId>,
    pub planned: Planned,
    /// By place in the network the plan speaks of.
    pub nodes: Vec<NodeId>,
    pub runs: Runs,
}

impl<'a> Desk<'a> {
    /// Judges every class.
    pub(crate) fn judge(scene: &'a Scene<'a>, state: &dyn StateRead) -> Result<Desk<'a>, StateError> {
        let (network, nodes) = scene.network()?;
        let rows = scene.covering_rows(&nodes);
        let mut desk = Desk {
            scene,
            network,
            nodes,
            rows,
            gaps: scene.gaps(),
            batches: repairs::batches(state)?,
            runs: None,
            outcomes: BTreeMap::new(),
        };
        if !desk.batches.is_empty() {
            desk.runs = Some(runs_by_class(state, scene.end, scene.idle)?);
        }
        let classes: Vec<Class> = scene.classes.keys().map(|key| desk.class(key, Turn::Any, Vec::new())).collect();
        let decided = desk.decide(&classes)?;
        desk.outcomes = scene.classes.keys().cloned().zip(decided.classes).collect();
        Ok(desk)
    }

    fn decide(&self, classes: &[Class]) -> Result<planner::Plan, StateError> {
        let decision = match self.scene.decision {
            Decision::Decided => planner::Decision::Decided,
            Decision::Undecided => planner::Decision::Undecided,
        };
        let decided = planner::decide(&self.network, decision, self.scene.epoch.next(), classes);
        decided.map_err(|error| Table::Rows.damaged(error.to_string()))
    }

    /// A class as the planner knows it.
    fn class(&self, key: &RowSet, turn: Turn, groups: Vec<planner::Group>) -> Class {
        let rows = rows_of(&self.rows, key);
        let flag = if self.scene.rows.is_under_repair(key) { Flag::Repairing } else { Flag::Calm };
        let open = self.open(key, &rows, turn);
        Class { rows, gaps: self.gaps.get(key).cloned().unwrap_or_default(), open, flag, groups }
    }

    /// Tickets of the ended epoch for blobs of a class that were not attested.
    fn open(&self, key: &RowSet, rows: &[CoveringRow], turn: Turn) -> Vec<OpenTicket> {
        // Blobs that have tickets have the mark, but for those beyond what a boundary marks.
        let runs = self.runs.as_ref().and_then(|runs| runs.get(key));
        let Some(runs) = runs.filter(|_| self.scene.rows.is_under_repair(key)) else { return Vec::new() };
        let mut open = BTreeSet::new();
        for batch in &self.batches {
            let its_turn = turn == Turn::Any || turn == Turn::Of(batch.scope.rotation);
            if !its_turn || !groups::overlap(&batch.scope.runs, runs) {
                continue;
            }
            for entry in &batch.entries {
                let Some(target) = self.nodes.iter().position(|node| *node == entry.target) else { continue };
                let target = NodeIndex(target as u16);
                if !rows.iter().any(|row| row.shard == entry.shard && row.holder == target) {
                    open.insert((entry.shard, target, entry.since));
                }
            }
        }
        open.into_iter().map(|(shard, target, since)| OpenTicket { shard, target, since }).collect()
    }

    /// Whether something may have to be rebuilt of a class.
    fn wants(&self, outcome: &Outcome, key: &RowSet) -> bool {
        let bounds = self.network.bounds();
        let passed = outcome.risks.loss > bounds.loss || outcome.risks.margin > bounds.margin;
        let counts = matches!(outcome.verdict, planner::Verdict::Tolerated | planner::Verdict::Repairing);
        counts && (passed || self.scene.rows.is_under_repair(key))
    }

    /// Decides what is rebuilt of what `state` still defends, and completes the numbers of the classes.
    pub(crate) fn plan(&mut self, state: &dyn StateRead) -> Result<Plan, StateError> {
        let mut wanted: Vec<&RowSet> =
            self.outcomes.iter().filter(|(key, outcome)| self.wants(outcome, key)).map(|(key, _)| key).collect();
        wanted.sort_by_key(|key| std::cmp::Reverse(self.outcomes.get(*key).map(|outcome| outcome.urgency)));
        let wanted: Vec<RowSet> = wanted.into_iter().cloned().collect();
        let marked = self.outcomes.keys().any(|key| self.scene.rows.is_under_repair(key));
        if self.runs.is_none() && (marked || !wanted.is_empty()) {
            self.runs = Some(runs_by_class(state, self.scene.end, self.scene.idle)?);
        }
        let runs = self.runs.clone().unwrap_or_default();
        let blocks = Blocks::weigh(state, &self.scene.constants, &wanted, &runs)?;
        let (mut parts, mut classes) = (Vec::new(), Vec::new());
        for key in &wanted {
            for (rotation, pieces) in blocks.of(key) {
                let group = groups::group(rotation, pieces);
                classes.push(self.class(key, Turn::Of(rotation), vec![group]));
                parts.push((key, rotation, pieces));
            }
        }
        // What else is still defended counts towards the cap: a class that is lost is never planned for.
        let left = pages::weights(state, &[0, self.scene.end])?.first().map_or(0, |weight| weight.blobs);
        let rest = left.saturating_sub(blocks.blobs());
        classes.push(groups::bystanders(rest));
        let decided = self.decide(&classes)?;
        let (pairs, uncapped, cap) = (decided.pairs, decided.uncapped, decided.cap);
        let mut plan = Plan { nodes: self.nodes.clone(), ..Plan::default() };
        plan.planned = Planned { tickets: 0, pairs, uncapped, cap };
        self.collect(state, &mut plan, &parts, &decided.classes)?;
        plan.flags = self.flags();
        plan.needed = self.needed();
        plan.runs = runs;
        Ok(plan)
    }

    /// Takes the plans of parts into the outcomes of their classes, the most urgent first.
    fn collect(
        &mut self,
        state: &dyn StateRead,
        plan: &mut Plan,
        parts: &[(&RowSet, u16, &[Piece])],
        decided: &[Outcome],
    ) -> Result<(), StateError> {
        for (key, ..) in parts {
            if let Some(whole) = self.outcomes.get_mut(*key) {
                (whole.flag, whole.starts) = (Flag::Calm, None);
            }
        }
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by_key(|at| std::cmp::Reverse(decided.get(*at).map(|outcome| outcome.urgency)));
        for at in order {
            let (Some((key, rotation, pieces)), Some(part)) = (parts.get(at), decided.get(at)) else { continue };
            if let Some(whole) = self.outcomes.get_mut(*key) {
                groups::merge(whole, part);
            }
            let haste = self.haste(part);
            for group in &part.groups {
                let cut = groups::cut(state, pieces, group.blobs)?;
                let all = self.runs.as_ref().and_then(|runs| runs.get(*key)).map_or(&[][..], Vec::as_slice);
                let scope = Scope { runs: groups::clipped(all, pieces, cut), rotation: *rotation };
                let (tickets, blobs) = (group.tickets.clone(), group.blobs);
                plan.entries.push(Entry { tickets, scope, blobs, haste });
            }
        }
        Ok(())
    }

    fn haste(&self, outcome: &Outcome) -> Haste {
        let (shards, repair) = (self.network.shards(), &self.scene.constants.repair);
        let edge = shards.readable() + shards.faulty() / 2;
        let far = outcome.urgency > repair.uncapped_above.saturating_mul(1_000);
        if far || outcome.counts.held <= edge { Haste::Urgent } else { Haste::Capped }
    }

    /// The classes whose flag changes.
    fn flags(&self) -> Vec<(RowSet, Flag)> {
        let is = |key: &RowSet| if self.scene.rows.is_under_repair(key) { Flag::Repairing } else { Flag::Calm };
        let changed = self.outcomes.iter().filter(|(key, outcome)| is(key) != outcome.flag);
        changed.map(|(key, outcome)| (key.clone(), outcome.flag)).collect()
    }

    /// The rows of stand-ins that a class has and that are not dropped for it.
    fn needed(&self) -> BTreeSet<RowId> {
        let stands_in = |of: &CoveringRow| of.kind == planner::RowKind::StandIn;
        let mut needed = BTreeSet::new();
        if !self.rows.iter().any(|(_, of)| stands_in(of)) {
            return needed;
        }
        for (key, outcome) in &self.outcomes {
            for (row, of) in self.rows.within(key).filter(|(_, of)| stands_in(of)) {
                let dropped = outcome.drops.iter().any(|drop| drop.shard == of.shard && drop.holder == of.holder);
                if !dropped {
                    needed.insert(row);
                }
            }
        }
        needed
    }

    /// Completes the record of the class with these rows by what the planner came to.
    pub(crate) fn complete(&self, key: &RowSet, record: &mut VerdictRecord) {
        let Some(outcome) = self.outcomes.get(key) else { return };
        if record.verdict == Verdict::Tolerated && outcome.verdict == planner::Verdict::Repairing {
            record.verdict = Verdict::Repairing;
        }
        let lines = |risks: &floe_risk::loss::Risks| Lines { loss: risks.loss, margin: risks.margin };
        let under_repair = self.scene.rows.is_under_repair(key);
        record.risk = Risk {
            progress: if under_repair { Progress::Repairing } else { Progress::Calm },
            now: lines(&outcome.risks),
            trigger: lines(&outcome.lines.trigger),
            stop: lines(&outcome.lines.stop),
            precision: match outcome.precision {
                planner::Precision::Bound => Precision::Bound,
                planner::Precision::Exact => Precision::Exact,
            },
            counted: outcome.counts.covered as u16,
            byzantine: outcome.counts.byzantine as u16,
            urgency: outcome.urgency,
            starts: outcome.starts,
        };
    }
}

/// What a scene is made of, as it stands now.
struct Present {
    committee: Committee,
    assembly: Assembly,
    rows: Rows,
    idle: RowSet,
    covering: BTreeMap<RowSet, Weight>,
    classes: BTreeMap<RowSet, Weight>,
}

/// Whose ruler is asked for.
#[derive(Clone, Copy)]
pub(crate) enum RulerOf<'a> {
    /// That of the class that the blob is in now, as the running epoch is judged by.
    Blob(SequenceNumber),
    /// That of the blobs which these rows cover.
    Rows(&'a RowSet),
}

/// The ruler of a class; none when there is no such blob, or no such row.
///
/// # Errors
/// [`StateError`].
pub(crate) fn ruler(state: &dyn StateRead, params: &Params, of: RulerOf<'_>) -> Result<Option<Ruler>, StateError> {
    let constants = standing::constants(params);
    let (rows, covering) = (rows::load(state)?, classes::all(state)?);
    let idle = rows.idle();
    let classes = classes::judged(&covering, &idle);
    let (committee, assembly) = (views::committee(state)?, Assembly::of(state, &constants)?);
    let present = Present { committee, assembly, rows, idle, covering, classes };
    let (end, now) = (views::next_sequence(state)?.0, views::head(state)?.epoch);
    let scene = Scene {
        params,
        constants,
        committee: &present.committee,
        assembly: &present.assembly,
        decision: Decision::Decided,
        epoch: Epoch(now.0.saturating_sub(1)),
        rows: &present.rows,
        idle: &present.idle,
        covering: &present.covering,
        classes: &present.classes,
        end,
        defended: defended(present.classes.values()),
    };
    let covered = match of {
        RulerOf::Blob(number) => coverage::covered(state, Table::Judged, number.0, end)?,
        RulerOf::Rows(rows) => rows.clone(),
    };
    if covered.is_empty() {
        return Ok(None);
    }
    let (network, nodes) = scene.network()?;
    let rows = scene.covering_rows(&nodes);
    let key = covered.difference(scene.idle);
    let flag = if scene.rows.is_under_repair(&key) { Flag::Repairing } else { Flag::Calm };
    let rows = rows_of(&rows, &key);
    let class = Class { rows, gaps: Vec::new(), open: Vec::new(), flag, groups: Vec::new() };
    let ruler = planner::ruler(&network, &class).map_err(|error| Table::Rows.damaged(error.to_string()))?;
    Ok(Some(ruler))
}

/// The rows of a class as the planner knows them.
fn rows_of(rows: &ByRow<CoveringRow>, class: &RowSet) -> Vec<CoveringRow> {
    let mut found = Vec::with_capacity(class.len());
    found.extend(rows.within(class).map(|(_, row)| *row));
    found
}

/// Which turns of the rotation are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Any,
    Of(u16),
}

/// What all classes weigh together.
pub(crate) fn defended<'a>(classes: impl Iterator<Item = &'a Weight>) -> u64 {
    classes.fold(0u64, |sum, weight| sum.saturating_add(weight.blobs))
}
