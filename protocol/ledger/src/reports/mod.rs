//! Reports: what members say of each other in an epoch, what they must show of it, and what it comes to.
//!
//! ```text
//!  first half of the closing     middle          second half                    boundary
//!  Commit{root of outcomes} ──► first block ──► Report{seed, who held, shown} ──► Attendance
//!                               = the draw
//! ```
//!
//! A member commits to the root of its outcomes before anybody can know the draw: the id of the first block of at least the
//! middle's time. The draw names [`SHOWN_MAX`] of the passes that its report claims; it shows the signed answer of each, with
//! the way to the root it committed to. A report is executed when all of them are right: the seed is the member's, the question
//! is the one that the seed gives, the target signed the answer, the bytes lead to the blob. Otherwise it is void, and its
//! member is as one that did not report. Who claims a share `x` that it cannot show is caught with `1 - (1 - x)^4` in an
//! epoch; the votes hold against `f` shards of liars even if none is caught.
//!
//! **Asked again.** What one member was not shown is asked for by the others in the next slot. The accuser names the question
//! by its own seed, the others by its tag: a sample that was not drawn counts for nothing. What they say is testimony, and is
//! decided by shards ([`floe_risk::integrity::decide`]).
//!
//! # Laws
//! - **I5** An honest node that honest members with the target reach `f + 1` shards of is never absent.
//! - **RE-1** At most one commitment and one report of a member in an epoch; no report without its commitment.
//! - **RE-2** A report that is executed shows every answer that the draw names.

mod attendance;
mod opening;

pub use attendance::{Attendance, MemberAttendance, attendance};
pub(crate) use attendance::{forget, remember};
#[cfg(any(test, feature = "synthetic"))]
pub(crate) use opening::Opened;
pub(crate) use opening::opened;

use crate::challenges::{Aim, Answer, Dice, OutcomePath, QuestionTag, Slot, Timetable};
use crate::merkle::Root;
use crate::records::Head;
use crate::sets::MemberSet;
use crate::state::{Overlay, StateError, StateRead};
use crate::tables::Table;
use crate::views;
use floe_types::bls::BlsSignature;
use floe_types::codec::{self, Domain};
use floe_types::params::SLOTS;
use floe_types::{BlockId, BlockTime, Epoch, MemberIndex, NodeId, Params};
use serde::{Deserialize, Serialize};

/// Passes of a report that must be shown, when it claims so many.
pub const SHOWN_MAX: usize = 4;
/// Samples that a report speaks of for others, at most: those of the first slots, then of the first accusers. A sixth of what a
/// thousand members could accuse.
pub const REASKS_MAX: usize = 512;

/// What a member says that it could not get: at most one in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Accusation {
    /// Of whom, in which slot, which of its questions.
    pub aim: Aim,
}

/// What came of asking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// A valid signed answer.
    Shown,
    /// The target answered, and not with that; or it did not answer.
    Missing,
}

/// What a member got of what another could not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReAsk {
    /// The slot of the accusation: it was asked again in the next.
    pub slot: Slot,
    /// Who could not get it.
    pub accuser: MemberIndex,
    /// What.
    pub tag: QuestionTag,
    /// What came of it.
    pub said: Said,
}

/// One of the answers that the draw names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Which question of that slot to that target: any that was answered.
    pub at: u16,
    /// The answer.
    pub answer: Answer,
    /// Its way to the commitment.
    pub path: OutcomePath,
}

/// What a member saw in one slot.
pub type Held = [Option<MemberSet>; SLOTS as usize];

/// What a member says of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The sender's node.
    pub member: NodeId,
    /// The epoch: the running one.
    pub epoch: Epoch,
    /// Its seed, opened.
    pub seed: BlsSignature,
    /// By slot, the members of which it has a valid answer to a question of that slot, in time or late. None for a slot in which
    /// it did not ask. Its own bit says nothing.
    pub held: Held,
    /// By member, how many of all its questions were answered before the soft deadline.
    pub passed: Vec<u16>,
    /// What it could not get, ascending by slot.
    pub accusations: Vec<Accusation>,
    /// What it got of what others could not get: ascending by slot and accuser.
    pub reasks: Vec<ReAsk>,
    /// The answers that the draw names, in its order.
    pub shown: Vec<Shown>,
}

/// The passes that `draw` names of those that `member` claims: at most [`SHOWN_MAX`], each once.
#[must_use]
pub fn drawn(draw: &BlockId, member: MemberIndex, held: &Held) -> Vec<(Slot, MemberIndex)> {
    let mut claims: Vec<(Slot, MemberIndex)> = Vec::new();
    for (slot, held) in Slot::all().zip(held) {
        let others = held.iter().flat_map(MemberSet::iter).filter(|target| *target != member);
        claims.extend(others.map(|target| (slot, target)));
    }
    let mut dice = Dice::of(&DRAWN.hash(&codec::encode(&(draw, member))));
    let mut named = Vec::with_capacity(SHOWN_MAX);
    while named.len() < SHOWN_MAX && !claims.is_empty() {
        named.push(claims.swap_remove(dice.below(claims.len() as u64) as usize));
    }
    named
}

/// What `member` committed to in the running epoch.
///
/// # Errors
/// [`StateError`].
pub fn commitment(state: &dyn StateRead, member: MemberIndex) -> Result<Option<Root>, StateError> {
    Table::Commits.load(state, &Table::Commits.key(&[&member.0.to_be_bytes()]))
}

/// The draw of the running epoch: the id of its first block of at least the middle's time, once there is one. From then on
/// reports are executed.
///
/// # Errors
/// [`StateError`].
pub fn draw(state: &dyn StateRead, params: &Params) -> Result<Option<BlockId>, StateError> {
    if let Some(draw) = Table::Draw.load(state, &Table::Draw.key(&[]))? {
        return Ok(Some(draw));
    }
    let head = views::head(state)?;
    let middle = Timetable::of(params, head.epoch_began).middle();
    Ok((head.time >= middle).then_some(head.block))
}

/// Writes the draw down when `head` is the block that became it: its id is known from the block after it on.
pub(crate) fn settle_draw(overlay: &mut Overlay<'_>, params: &Params, head: &Head) -> Result<(), StateError> {
    let key = Table::Draw.key(&[]);
    if head.time >= Timetable::of(params, head.epoch_began).middle() && overlay.get(&key)?.is_none() {
        Table::Draw.store(overlay, key, &head.block);
    }
    Ok(())
}

/// Drops what belongs to the epoch that ends.
pub(crate) fn clear(overlay: &mut Overlay<'_>) -> Result<(), StateError> {
    for table in [Table::Commits, Table::Reports, Table::Draw] {
        for (key, _) in table.all(overlay, &[])? {
            overlay.delete(table.key(&[&key]));
        }
    }
    Ok(())
}

/// Whether `member` has reported on the running epoch.
///
/// # Errors
/// [`StateError`].
pub fn reported(state: &dyn StateRead, member: MemberIndex) -> Result<bool, StateError> {
    Ok(state.get(&Table::Reports.key(&[&member.0.to_be_bytes()]))?.is_some())
}

/// From when on a block is due that becomes the draw: when somebody has committed and there is none yet.
///
/// # Errors
/// [`StateError`].
pub fn draw_due(state: &dyn StateRead, params: &Params) -> Result<Option<BlockTime>, StateError> {
    if draw(state, params)?.is_some() || Table::Commits.page(state, &[], &[], 1)?.is_empty() {
        return Ok(None);
    }
    Ok(Some(Timetable::of(params, views::head(state)?.epoch_began).middle()))
}

static DRAWN: Domain = Domain::new("floe 1 report: which answers are shown");
