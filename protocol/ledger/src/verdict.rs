//! Verdicts: what an epoch decided about blobs, from coverage and from who took part.
//!
//! A verdict is about a *class*: all defended blobs that the same rows cover. It follows from facts that every node has: the
//! class's rows as the epoch is judged by, whose they are, who answered in it, and whether enough reported. Because it
//! follows, a [`Judge`] computes it again for any rows of any epoch that is remembered; what a boundary decided is kept in
//! the list that its header commits to.
//!
//! A shard is *covered* where any of its rows covers, and *held* when the holder of such a row is a member of the epoch's
//! committee that answered. A former holder outside the committee covers and answers nothing: nobody asks it. When several
//! could stand for a shard it is counted for one, its seat's holder first, then the oldest row: the margin in nodes is
//! then rather too small than too large, and it does not depend on what became of a row later.
//!
//! **Who took part** is what reports come to: [`crate::reports`]. A member *answered* when it held in more than half of the
//! decided slots; the epoch is *decided* when more than half of its slots are.
//!
//! # Laws
//! - **I14** Equal coverage and reports give equal verdicts on every node.
//!
//! # Not here
//! Risk and repair: [`crate::plan`] completes a record and makes `repairing` of `tolerated`. So a [`Judge`] alone gives all but
//! that, and what a boundary decided is looked up in its list of verdicts, not computed again. That a blob is `invalid` follows from its life ([`crate::invalid`]), not from its class.

use crate::merkle::Weight;
use crate::rows::{ByRow, Row, RowId, RowSet};
use crate::sets::{MemberSet, ShardSet};
use floe_risk::Probability;
use floe_types::{Committee, Epoch, MemberIndex, ShardIndex};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What was decided about a blob for an epoch. The first that holds, in this order, except that `Undecided` stands for the
/// three that need answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The paid term had ended before the epoch.
    Forgotten,
    /// Fewer than `p` shards are covered at all.
    Lost,
    /// Fewer than `p` covered shards answered in the epoch; holders may return.
    Unavailable,
    /// Every shard is covered and its holder answered.
    Intact,
    /// The boundary's plan has an entry for it, or an earlier entry is worked on.
    Repairing,
    /// Some are absent; nothing is done, on purpose.
    Tolerated,
    /// Too few reported to say.
    Undecided,
    /// Its encoding is inconsistent: it was dropped in the epoch or before, and stands above all others.
    Invalid,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Verdict; 8] = [
        Verdict::Forgotten,
        Verdict::Lost,
        Verdict::Unavailable,
        Verdict::Intact,
        Verdict::Repairing,
        Verdict::Tolerated,
        Verdict::Undecided,
        Verdict::Invalid,
    ];

    /// The word for programs and labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Forgotten => "forgotten",
            Verdict::Lost => "lost",
            Verdict::Unavailable => "unavailable",
            Verdict::Intact => "intact",
            Verdict::Repairing => "repairing",
            Verdict::Tolerated => "tolerated",
            Verdict::Undecided => "undecided",
            Verdict::Invalid => "invalid",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether an epoch was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// More than half of its slots are: members with at least `n - f` shards reported on each of those.
    Decided,
    /// They did not: verdicts that need answers are `undecided`.
    Undecided,
}

/// Who reported and who answered in an epoch: what verdicts go by. Made by [`crate::reports`], which has more to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participation {
    /// Members whose report was executed.
    pub reporters: MemberSet,
    /// Members that held in more than half of the decided slots.
    pub answered: MemberSet,
    /// Whether enough reported.
    pub decision: Decision,
}

/// A verdict with the numbers that made it, all in shards unless they say otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictRecord {
    /// The epoch it is about.
    pub epoch: Epoch,
    /// The class: the rows that cover its blobs.
    pub class: RowSet,
    /// The shards of those rows: the ones that are covered.
    pub shards: ShardSet,
    /// What was decided.
    pub verdict: Verdict,
    /// Covered shards whose holder answered. In an undecided epoch, as far as was reported.
    pub held: u16,
    /// Covered shards whose holder did not answer.
    pub absent: u16,
    /// Shards that nobody attested.
    pub uncovered: u16,
    /// Shards, covered or not, whose holder answered.
    pub answering: u16,
    /// Held shards above the `p` that a read needs, 0 when it has fewer.
    pub margin_shards: u16,
    /// How many *nodes*, the largest holders first, may vanish before a read fails.
    pub margin_nodes: u16,
    /// Nodes that hold something and answered: the `m` of *any k of m nodes*.
    pub nodes: u16,
    /// What it risks, and when that would be too much. Nothing for what is forgotten or invalid.
    pub risk: Risk,
}

/// Chances within the horizon of one decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    /// That fewer than `p` shards survive: the blobs are lost.
    pub loss: Probability,
    /// That fewer than `p + b` survive: `f` silent liars would suffice to lose them.
    pub margin: Probability,
}

/// Where risks come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// An upper bound that holds for every class with so many shards.
    #[default]
    Bound,
    /// Computed for this class.
    Exact,
}

/// Whether repair had begun before the boundary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// It had not: it begins when a risk passes its trigger.
    #[default]
    Calm,
    /// It had: it goes on until both risks are at their stop lines, or nothing is left to rebuild.
    Repairing,
}

/// The risk of a class at a boundary, with the lines that it was held against.
///
/// The planner counts a shard at the holder that is likeliest to live, and one that is excluded or no member as gone; a member
/// whose report was not opened as silent. So its counts may differ from the record's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Risk {
    /// Whether repair had begun.
    pub progress: Progress,
    /// Both risks.
    pub now: Lines,
    /// Repair begins above either.
    pub trigger: Lines,
    /// Repair ends at or below both.
    pub stop: Lines,
    /// How exact `now` is.
    pub precision: Precision,
    /// Covered shards whose holder is not gone.
    pub counted: u16,
    /// The Byzantine margin `b`: the most counted shards that liars with at most `f` seats may be the only ones to hold.
    pub byzantine: u16,
    /// The larger risk in thousandths of its accepted bound.
    pub urgency: u64,
    /// The epoch in which repair would start, when a line is passed and patience or the cap holds it back.
    pub starts: Option<Epoch>,
}

impl VerdictRecord {
    /// The record of a blob that was forgotten before the epoch.
    #[must_use]
    pub fn forgotten(epoch: Epoch) -> VerdictRecord {
        VerdictRecord::over(epoch, Verdict::Forgotten)
    }

    /// The record of a blob that was found invalid in the epoch or before.
    #[must_use]
    pub fn invalid(epoch: Epoch) -> VerdictRecord {
        VerdictRecord::over(epoch, Verdict::Invalid)
    }

    fn over(epoch: Epoch, verdict: Verdict) -> VerdictRecord {
        VerdictRecord {
            epoch,
            class: RowSet::new(),
            shards: ShardSet::new(),
            verdict,
            held: 0,
            absent: 0,
            uncovered: 0,
            answering: 0,
            margin_shards: 0,
            margin_nodes: 0,
            nodes: 0,
            risk: Risk::default(),
        }
    }
}

/// What a row is to an epoch's judge.
#[derive(Clone, Copy)]
struct Place {
    shard: ShardIndex,
    /// The holder, when it is a member that answered.
    answering: Option<MemberIndex>,
    is_seat: bool,
}

/// Judges the classes of one epoch: the committee, who took part, and whose the rows were, looked up once.
pub struct Judge<'a> {
    committee: &'a Committee,
    decision: Decision,
    epoch: Epoch,
    /// The rows that were not past in the epoch.
    places: ByRow<Place>,
    /// Their numbers.
    present: RowSet,
    answering: u16,
}

impl<'a> Judge<'a> {
    /// The judge of `epoch`, whose committee, participation and rows these were.
    #[must_use]
    pub fn new(
        committee: &'a Committee,
        participation: &Participation,
        epoch: Epoch,
        rows: impl IntoIterator<Item = (RowId, Row)>,
    ) -> Judge<'a> {
        let mut seats = vec![None; usize::from(committee.shards())];
        let mut answering = 0u16;
        for (at, member) in committee.members().iter().enumerate() {
            let index = MemberIndex(at as u16);
            if participation.answered.contains(index) {
                answering += member.shards.len() as u16;
            }
            for shard in &member.shards {
                if let Some(seat) = seats.get_mut(usize::from(shard.0)) {
                    *seat = Some(index);
                }
            }
        }
        let place = |(id, row): (RowId, Row)| {
            let index = committee.index_of(&row.holder);
            let is_seat = index.is_some() && seats.get(usize::from(row.shard.0)).copied().flatten() == index;
            let answering = index.filter(|index| participation.answered.contains(*index));
            (id, Place { shard: row.shard, answering, is_seat })
        };
        let places: ByRow<Place> = rows.into_iter().map(place).collect();
        let present = places.iter().map(|(id, _)| id).collect();
        Judge { committee, decision: participation.decision, epoch, places, present, answering }
    }

    /// By shard, which member's answer counts for the blobs that `rows` cover; and the shards they cover.
    fn holders(&self, rows: &RowSet) -> (Vec<Option<MemberIndex>>, ShardSet) {
        let mut covering = ShardSet::new();
        let mut holders: Vec<Option<MemberIndex>> = vec![None; usize::from(self.committee.shards())];
        for (_, place) in self.places.within(rows) {
            covering.insert(place.shard);
            let Some(holder) = holders.get_mut(usize::from(place.shard.0)) else { continue };
            if place.answering.is_some() && (holder.is_none() || place.is_seat) {
                *holder = place.answering;
            }
        }
        (holders, covering)
    }

    /// How many failure domains, the largest first, may vanish before the blobs that `rows` cover cannot be read, and how many
    /// hold something and answered. `domains` has that of each member.
    pub(crate) fn domains(&self, rows: &RowSet, domains: &[u16]) -> (u16, u16) {
        let needed = self.committee.shards() - 2 * self.committee.faulty();
        let mut held_by: BTreeMap<u16, u16> = BTreeMap::new();
        for holder in self.holders(rows).0.into_iter().flatten() {
            if let Some(domain) = domains.get(usize::from(holder.0)) {
                *held_by.entry(*domain).or_default() += 1;
            }
        }
        let of = held_by.len() as u16;
        (margin_nodes(held_by.into_values().collect(), needed), of)
    }

    /// The verdict on the blobs that `rows` cover.
    #[must_use]
    pub fn verdict(&self, rows: &RowSet) -> VerdictRecord {
        let shards = self.committee.shards();
        let needed = shards - 2 * self.committee.faulty();
        let (holders, covering) = self.holders(rows);
        let mut held_by = vec![0u16; self.committee.members().len()];
        for holder in holders.into_iter().flatten() {
            if let Some(count) = held_by.get_mut(usize::from(holder.0)) {
                *count += 1;
            }
        }
        held_by.retain(|count| *count > 0);
        let (covered, held) = (covering.len(), held_by.iter().sum::<u16>());
        let undecided = self.decision == Decision::Undecided;
        let verdict = match () {
            () if covered < needed => Verdict::Lost,
            () if undecided => Verdict::Undecided,
            () if held < needed => Verdict::Unavailable,
            () if held == shards => Verdict::Intact,
            () => Verdict::Tolerated,
        };
        VerdictRecord {
            epoch: self.epoch,
            class: rows.difference(&rows.difference(&self.present)),
            shards: covering,
            verdict,
            held,
            absent: covered - held,
            uncovered: shards.saturating_sub(covered),
            answering: self.answering,
            margin_shards: held.saturating_sub(needed),
            nodes: held_by.len() as u16,
            margin_nodes: margin_nodes(held_by, needed),
            risk: Risk::default(),
        }
    }
}

/// How many of `holders`, nodes or domains, the largest first, may vanish while `needed` remain.
fn margin_nodes(mut holders: Vec<u16>, needed: u16) -> u16 {
    holders.sort_unstable();
    let mut held = holders.iter().sum::<u16>();
    let mut vanished = 0;
    while let Some(largest) = holders.pop() {
        match held.checked_sub(largest) {
            Some(rest) if rest >= needed => held = rest,
            _ => break,
        }
        vanished += 1;
    }
    vanished
}

/// What an epoch decided, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Defended blobs and their bytes by verdict; verdicts that nobody got are absent.
    pub verdicts: BTreeMap<Verdict, Weight>,
    /// The thinnest defended blobs; none when there is no defended blob or nothing was decided.
    pub thinnest: Option<Thinnest>,
    /// Classes that were judged.
    pub classes: u64,
    /// Blobs that this boundary forgot.
    pub forgotten: Weight,
    /// Blobs that were found invalid in the epoch.
    pub invalid: Weight,
}

/// The least margin and who has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thinnest {
    /// Shards above what a read needs.
    pub margin_shards: u16,
    /// Nodes that may vanish.
    pub margin_nodes: u16,
    /// Nodes that hold something and answered.
    pub nodes: u16,
    /// Blobs at this margin.
    pub blobs: Weight,
}

/// Why a verdict changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Other members answered than in the epoch before, or others had the seats.
    Answers,
    /// This epoch or the one before was undecided.
    Quorum,
    /// Repair was planned, or is over.
    Repair,
    /// The paid term ended.
    Term,
    /// Its owner ended it.
    Deleted,
    /// Its encoding is inconsistent.
    Encoding,
}

/// A change of verdict from one epoch to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The epoch decided.
    pub epoch: Epoch,
    /// What changed.
    pub subject: Subject,
    /// What it was for the epoch before; for a blob that is forgotten or invalid, what its rows come to in this epoch.
    pub from: Verdict,
    /// What it is now.
    pub to: Verdict,
    /// Why.
    pub cause: Cause,
}

/// What a transition is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// All defended blobs that these rows cover.
    Class(RowSet),
    /// One blob, by its sequence number.
    Blob(floe_types::SequenceNumber),
}
