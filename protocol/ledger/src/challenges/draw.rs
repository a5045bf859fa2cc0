//! Which bytes are asked for, and when.
//!
//! A question is drawn uniformly over the *bytes* that the target is to keep, not over its blobs: hiding many small ones or a
//! large one costs the same. One of the target's rows is drawn, and a byte of all defended fragments of one shard; the weights
//! of the map of blobs lead from the byte to its blob. Where the row does not cover the blob both are drawn again. So every
//! byte of every covered fragment is as likely as any other, without a list of what the target covers. A target that covers
//! little is often asked nothing but to answer: [`Question::Presence`].
//!
//! Costs the depth of two maps a try, whatever is stored.

use super::{Beacon, Seed, Slot, Timetable, beacon};
use crate::blobs;
use crate::coverage;
use crate::pages;
use crate::rows::{self, RowId, Rows};
use crate::state::{StateError, StateRead};
use crate::tables::Table;
use floe_erasure::{Axis, Grain, Place, chunk_count, nth_chunk};
use floe_types::codec::{self, Domain};
use floe_types::{BlobId, BlockTime, Committee, Layout, MemberIndex, SequenceNumber, ShardIndex};
use serde::{Deserialize, Serialize};

/// How often a row and a byte are drawn before the question is one of presence: a target that covers a tenth of what it might
/// is asked for bytes in all but one of a thousand questions.
pub const PLACES_TRIED_MAX: u32 = 64;

/// One of a challenger's questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Aim {
    /// In which slot.
    pub slot: Slot,
    /// Of whom.
    pub target: MemberIndex,
    /// Which one, below [`floe_types::params::challenges_per_slot`].
    pub at: u16,
}

/// A chunk of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sample {
    /// The number of the blob's life.
    pub number: SequenceNumber,
    /// The blob.
    pub blob: BlobId,
    /// Its length in bytes.
    pub length: u64,
    /// Whose fragment: a shard that the target has a row of.
    pub shard: ShardIndex,
    /// In which of the two slivers.
    pub axis: Axis,
    /// Which stored symbol of it.
    pub symbol: u16,
    /// Which chunk of the symbol.
    pub chunk: u64,
}

impl Sample {
    /// Where the chunk is in the sliver pair.
    #[must_use]
    pub fn place(&self) -> Place {
        Place::chunk(self.axis, self.symbol, self.chunk)
    }
}

/// What a target is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Question {
    /// To sign that it is there: it covers nothing, or so little that no chunk was found.
    Presence,
    /// For a chunk with its way to the blob's id.
    Chunk(Sample),
}

/// Part of a fragment that a reader could not get from a holder that coverage names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unread {
    /// The blob.
    pub blob: BlobId,
    /// Whose fragment.
    pub shard: ShardIndex,
    /// Which of its two slivers.
    pub axis: Axis,
    /// Which symbol of the sliver, and which unit of that, when not all of it was read.
    pub unit: Option<(u16, u64)>,
}

/// What stands for a question in a report: half of a hash. Nobody can choose his questions, so that a second one with the
/// same tag would have to be found among those that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QuestionTag(pub [u8; 16]);

static TAG: Domain = Domain::new("floe 1 challenge: question");
static DICE: Domain = Domain::new("floe 1 challenge: what a question is drawn with");
static READ: Domain = Domain::new("floe 1 challenge: which chunk of what a reader could not get");
static MOMENT: Domain = Domain::new("floe 1 challenge: when a question is asked");

impl Question {
    /// What stands for it.
    #[must_use]
    pub fn tag(&self) -> QuestionTag {
        let hash = TAG.hash(&codec::encode(self));
        let mut tag = [0; 16];
        tag.iter_mut().zip(hash).for_each(|(into, byte)| *into = byte);
        QuestionTag(tag)
    }
}

/// Numbers that follow from 32 bytes and look like chance.
pub(crate) struct Dice(blake3::OutputReader);

impl Dice {
    /// The numbers that follow from `key`, which is a hash of its own use.
    pub(crate) fn of(key: &[u8; 32]) -> Dice {
        Dice(blake3::Hasher::new_keyed(key).finalize_xof())
    }

    /// A number below `end`, which is above zero: each as likely as the others up to one part in 2^64.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let mut bytes = [0; 16];
        self.0.fill(&mut bytes);
        // The remainder is below a u64.
        (u128::from_le_bytes(bytes) % u128::from(end.max(1))) as u64
    }
}

/// When the holder of `seed` asks this question: evenly over the slot, early enough for an answer to belong to it.
#[must_use]
pub fn asked_at(seed: &Seed, times: &Timetable, aim: &Aim) -> BlockTime {
    let mut dice = Dice::of(&MOMENT.hash(&codec::encode(&(seed.secret(), aim))));
    let begins = times.begins(aim.slot);
    begins.plus_millis(dice.below(times.last_question(aim.slot).millis_since(begins).saturating_add(1)))
}

/// Draws the questions of one epoch from a state of that epoch, whichever.
pub struct Questions<'a> {
    state: &'a dyn StateRead,
    committee: &'a Committee,
    rows: Rows,
    beacon: Beacon,
    /// Bytes of one fragment of each blob that is asked about.
    bytes: u64,
    /// One past the newest blob.
    end: u64,
}

impl<'a> Questions<'a> {
    /// Those of the epoch that runs in `state`, whose committee this is.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn of(state: &'a dyn StateRead, committee: &'a Committee) -> Result<Questions<'a>, StateError> {
        let beacon = beacon(state)?;
        let weights = pages::weights(state, &[0, beacon.end])?;
        let bytes = weights.first().map_or(0, |weight| weight.fragment_bytes);
        let end = blobs::counters(state)?.next_sequence;
        Ok(Questions { state, committee, rows: rows::load(state)?, beacon, bytes, end })
    }

    /// The epoch's beacon.
    #[must_use]
    pub fn beacon(&self) -> &Beacon {
        &self.beacon
    }

    /// What the holder of `seed` asks. A target that is no member is asked for its presence.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn draw(&self, seed: &Seed, aim: &Aim) -> Result<Question, StateError> {
        let mut dice = Dice::of(&DICE.hash(&codec::encode(&(seed.secret(), aim))));
        let target = self.committee.member(aim.target);
        let held: Vec<(RowId, ShardIndex)> = target
            .map(|member| self.rows.of(&member.node).map(|(id, row)| (id, row.shard)).collect())
            .unwrap_or_default();
        if held.is_empty() || self.bytes == 0 {
            return Ok(Question::Presence);
        }
        for _ in 0..PLACES_TRIED_MAX {
            // Both are drawn in every try: which row is accepted must not change how likely a byte is.
            let row = held.get(dice.below(held.len() as u64) as usize);
            let byte = dice.below(self.bytes);
            let Some((row, shard)) = row else { continue };
            let Some(number) = pages::at_byte(self.state, byte)? else { continue };
            let covering = coverage::covered(self.state, Table::Judged, number.0, self.end)?;
            if covering.contains(*row) {
                return self.chunk(&mut dice, number, *shard);
            }
        }
        Ok(Question::Presence)
    }

    /// A chunk of this shard's fragment of this blob. The last chunk of a symbol may be shorter, and is as likely.
    fn chunk(&self, dice: &mut Dice, number: SequenceNumber, shard: ShardIndex) -> Result<Question, StateError> {
        let life = blobs::life(self.state, number)?;
        let layout = life.as_ref().and_then(|life| Layout::new(self.committee.shards(), life.length).ok());
        let (Some(life), Some(layout)) = (life, layout) else { return Ok(Question::Presence) };
        let primary = chunk_count(&layout, Axis::Primary);
        let chunk = dice.below(primary.saturating_add(chunk_count(&layout, Axis::Secondary)));
        let place = match chunk.checked_sub(primary) {
            None => nth_chunk(&layout, Axis::Primary, chunk),
            Some(chunk) => nth_chunk(&layout, Axis::Secondary, chunk),
        };
        let Some(Place { axis, symbol, part, .. }) = place else { return Ok(Question::Presence) };
        let (blob, length) = (life.blob, life.length);
        Ok(Question::Chunk(Sample { number, blob, length, shard, axis, symbol, chunk: part }))
    }

    /// What is asked of `target` in `slot` because a reader of the seed's holder could not get it: one chunk of what was
    /// `unread`. Which one follows from the seed, so that the target does not know it before. None when that is not due of the
    /// target in this epoch.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn of_reader(
        &self,
        seed: &Seed,
        (slot, target): (Slot, MemberIndex),
        unread: &Unread,
    ) -> Result<Option<Question>, StateError> {
        let Unread { blob, shard, axis, unit } = *unread;
        let number = blobs::record(self.state, &blob)?.and_then(|record| record.sequence);
        let life = number.map(|number| blobs::life(self.state, number)).transpose()?.flatten();
        let layout = life.as_ref().and_then(|life| Layout::new(self.committee.shards(), life.length).ok());
        let (Some(number), Some(life), Some(layout)) = (number, life, layout) else { return Ok(None) };
        let mut dice = Dice::of(&READ.hash(&codec::encode(&(seed.secret(), slot, target, blob, shard, axis, unit))));
        let place = match unit {
            None => nth_chunk(&layout, axis, dice.below(chunk_count(&layout, axis))),
            Some((symbol, part)) => {
                let unit = Place { axis, symbol, grain: Grain::Unit, part };
                if !unit.exists(&layout) {
                    return Ok(None);
                }
                let range = unit.range(&layout);
                let chunk = Grain::Chunk.part_bytes(&layout).max(1);
                let (first, end) = (range.start / chunk, range.end.div_ceil(chunk));
                Some(Place::chunk(axis, symbol, first.saturating_add(dice.below(end.saturating_sub(first)))))
            }
        };
        let Some(Place { symbol, part, .. }) = place else { return Ok(None) };
        let sample = Sample { number, blob, length: life.length, shard, axis, symbol, chunk: part };
        let question = Question::Chunk(sample);
        Ok(self.is_due(&question, target)?.then_some(question))
    }

    /// Whether `question` is one that `target` must be able to answer: asked about what it covers, below the beacon's end, in
    /// a blob that is defended. For whoever is asked to ask again.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn is_due(&self, question: &Question, target: MemberIndex) -> Result<bool, StateError> {
        let Question::Chunk(sample) = question else { return Ok(true) };
        let life = if sample.number.0 < self.beacon.end { blobs::life(self.state, sample.number)? } else { None };
        let Some(life) = life.filter(|life| life.defence == crate::Defence::Defended) else { return Ok(false) };
        let layout = Layout::new(self.committee.shards(), life.length).ok();
        let fits = layout.is_some_and(|layout| sample.place().exists(&layout) && sample.place().is_stored(&layout));
        let row = self.committee.member(target).and_then(|member| self.rows.find(sample.shard, &member.node));
        let Some(row) = row.filter(|_| fits && (life.blob, life.length) == (sample.blob, sample.length)) else {
            return Ok(false);
        };
        Ok(coverage::covered(self.state, Table::Judged, sample.number.0, self.end)?.contains(row))
    }
}
