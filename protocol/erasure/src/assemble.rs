//! A read while its slivers arrive: checks them, says who sent a wrong one, and gives the blob out in order as far as
//! it is known.
//!
//! ```text
//!   offer / take  -->  [ at most p primaries, c secondaries ]  -->  write_ready: the next bytes of the blob
//! ```
//!
//! Systematic primary slivers go out as they come, the first gap stops them. With any `p` primaries, or any `c`
//! secondaries, all the rest goes out. Slivers stay where they are, behind [`ReadAt`]: what this keeps of them is a
//! handle each.
//!
//! Asking, waiting and hedging are the caller's. So is the whole: that the blob's id follows from what came out is seen
//! by [`crate::identify`] only.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;

use crate::decode::{Chosen, choose, decode_lines};
use crate::error::{DecodeError, FragmentError, WrongSliver};
use crate::id::{BlobId, PairIndex};
use crate::io::ReadAt;
use crate::layout::{Axis, Layout, SliverId};
use crate::options::Options;
use crate::proof::FragmentProof;
use crate::verify::{CheckedPrimary, CheckedSecondary, verify_primary, verify_secondary};

/// What became of a sliver that was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is kept.
    Kept,
    /// It was there already, or there are enough of its kind: it was dropped.
    Spare,
}

/// Slivers of one blob on their way to its bytes.
pub struct Assembler<S> {
    blob: BlobId,
    layout: Layout,
    primaries: BTreeMap<PairIndex, (CheckedPrimary, S)>,
    secondaries: BTreeMap<PairIndex, (CheckedSecondary, S)>,
    wrong: BTreeMap<SliverId, FragmentError>,
    written: u64,
}

impl<S: ReadAt> Assembler<S> {
    /// An assembler for a blob, without slivers.
    pub fn new(blob: &BlobId, layout: &Layout) -> Self {
        Self {
            blob: *blob,
            layout: *layout,
            primaries: BTreeMap::new(),
            secondaries: BTreeMap::new(),
            wrong: BTreeMap::new(),
            written: 0,
        }
    }

    /// Checks a sliver as a reader does, in one pass over `source`, and keeps it.
    ///
    /// # Errors
    /// [`WrongSliver`]: which one, and what is wrong. Unless nothing was found out
    /// ([`FragmentError::is_undecided`]) it is remembered ([`Assembler::wrong`]). The same sliver may be offered again
    /// by somebody else.
    pub fn offer(
        &mut self,
        sliver: SliverId,
        proof: &FragmentProof,
        source: S,
        options: &Options<'_>,
    ) -> Result<Taken, WrongSliver> {
        let (blob, layout, pair) = (self.blob, self.layout, sliver.pair);
        let taken = match sliver.axis {
            Axis::Primary => verify_primary(&blob, &layout, pair, proof, &source, options)
                .map(|checked| self.keep_primary(checked, source)),
            Axis::Secondary => verify_secondary(&blob, &layout, pair, proof, &source, options)
                .map(|checked| self.keep_secondary(checked, source)),
        };
        taken.map_err(|error| self.name(sliver, error))
    }

    fn name(&mut self, sliver: SliverId, error: FragmentError) -> WrongSliver {
        // What is no sliver of this layout is not remembered, so that at most 2n are.
        if let Some(finding) = error.finding().filter(|_| sliver.pair.0 < self.layout.shards()) {
            self.wrong.insert(sliver, finding);
        }
        WrongSliver { sliver, error }
    }

    /// Keeps a primary sliver that was checked elsewhere.
    ///
    /// # Errors
    /// [`DecodeError::Mixed`] when it is of another blob.
    pub fn take_primary(&mut self, checked: CheckedPrimary, source: S) -> Result<Taken, DecodeError> {
        self.compare(checked.blob(), checked.layout(), checked.pair())?;
        Ok(self.keep_primary(checked, source))
    }

    /// Keeps a secondary sliver that was checked elsewhere.
    ///
    /// # Errors
    /// [`DecodeError::Mixed`] when it is of another blob.
    pub fn take_secondary(&mut self, checked: CheckedSecondary, source: S) -> Result<Taken, DecodeError> {
        self.compare(checked.blob(), checked.layout(), checked.pair())?;
        Ok(self.keep_secondary(checked, source))
    }

    fn compare(&self, blob: BlobId, layout: Layout, pair: PairIndex) -> Result<(), DecodeError> {
        if blob == self.blob && layout == self.layout { Ok(()) } else { Err(DecodeError::Mixed { pair }) }
    }

    fn keep_primary(&mut self, checked: CheckedPrimary, source: S) -> Taken {
        let enough = self.primaries.len() >= self.layout.lines(Axis::Primary);
        if enough || self.primaries.contains_key(&checked.pair()) {
            return Taken::Spare;
        }
        self.primaries.insert(checked.pair(), (checked, source));
        Taken::Kept
    }

    fn keep_secondary(&mut self, checked: CheckedSecondary, source: S) -> Taken {
        let enough = self.secondaries.len() >= self.layout.lines(Axis::Secondary);
        if enough || self.secondaries.contains_key(&checked.pair()) {
            return Taken::Spare;
        }
        self.secondaries.insert(checked.pair(), (checked, source));
        Taken::Kept
    }

    /// The wrong slivers that were offered, each with the last thing found wrong with it. Where that is an inconsistency
    /// ([`FragmentError::is_inconsistency`]) the uploader is to blame and not who sent it.
    pub fn wrong(&self) -> impl Iterator<Item = (SliverId, &FragmentError)> {
        self.wrong.iter().map(|(sliver, error)| (*sliver, error))
    }

    /// How many more slivers of `axis` give the whole blob.
    pub fn missing(&self, axis: Axis) -> usize {
        let held = match axis {
            Axis::Primary => self.primaries.len(),
            Axis::Secondary => self.secondaries.len(),
        };
        self.layout.lines(axis) - held
    }

    /// Which kind of sliver gives the whole blob already: primaries if both do.
    fn complete(&self) -> Option<Axis> {
        [Axis::Primary, Axis::Secondary].into_iter().find(|axis| self.missing(*axis) == 0)
    }

    /// How many bytes of the blob are known from its start on.
    pub fn ready_bytes(&self) -> u64 {
        if self.complete().is_some() {
            return self.layout.blob_bytes();
        }
        let rows = (0..self.layout.rows()).take_while(|row| self.primaries.contains_key(&PairIndex(*row))).count();
        (rows as u64 * self.layout.primary_bytes()).min(self.layout.blob_bytes())
    }

    /// Bytes that were written.
    pub fn written_bytes(&self) -> u64 {
        self.written
    }

    /// Whether the whole blob was written.
    pub fn is_done(&self) -> bool {
        self.written == self.layout.blob_bytes()
    }

    /// Writes what is ready and was not written before; returns how many bytes that was.
    ///
    /// # Errors
    /// [`DecodeError`]. After one of the sink nobody knows how much it took, so that it is of no use any more; after
    /// another the same bytes may be asked for again, of a sink that drops what it has.
    pub fn write_ready(&mut self, sink: &mut dyn Write, options: &Options<'_>) -> Result<u64, DecodeError> {
        let window = self.written..self.ready_bytes();
        let bytes = window.end - window.start;
        if bytes == 0 {
            return Ok(0);
        }
        match self.complete() {
            None => self.write_rows(window.clone(), sink, options)?,
            Some(axis) => {
                let chosen = self.chosen(axis)?;
                decode_lines(&self.layout, axis, chosen, window.clone(), sink, options)?;
            }
        }
        self.written = window.end;
        Ok(bytes)
    }

    /// Writes systematic rows: all those of `window` are there.
    fn write_rows(&self, window: Range<u64>, sink: &mut dyn Write, options: &Options<'_>) -> Result<(), DecodeError> {
        let rows = self.primaries.iter().map(|(pair, (_, source))| Chosen {
            pair: *pair,
            line: usize::from(pair.0),
            source: source as &dyn ReadAt,
        });
        decode_lines(&self.layout, Axis::Primary, rows.collect(), window, sink, options)
    }

    fn chosen(&self, axis: Axis) -> Result<Vec<Chosen<'_>>, DecodeError> {
        let facts = |pair: &PairIndex| (self.blob, self.layout, *pair);
        match axis {
            Axis::Primary => {
                let slivers = self.primaries.iter().map(|(pair, (_, source))| (facts(pair), source as &dyn ReadAt));
                choose(&self.layout, axis, slivers)
            }
            Axis::Secondary => {
                let slivers = self.secondaries.iter().map(|(pair, (_, source))| (facts(pair), source as &dyn ReadAt));
                choose(&self.layout, axis, slivers)
            }
        }
    }
}
