//! Any range of a blob from only the parts of symbols that it needs, each verified.
//!
//! ```text
//!   range --> needs, one unit (64 KiB, or a symbol if that is less) each, in the order of the blob
//!
//!   need (row, column, unit)   1. its own row        primary sliver `row`,       symbol `column`     proven
//!                              2. its column         secondary sliver `column`,  symbol `row`        derived
//!                              3. any p rows' units of the same column, decoded                      derived
//! ```
//!
//! All but the last take no arithmetic. Only what comes from its own row is *proven*: two readers that were given a
//! proven range agree, whatever the uploader did. What was read from a column or decoded is right if the blob is
//! consistent, which a reader of ranges cannot know: it is *derived*, and says so.
//!
//! A reader holds a stated number of bytes, and what the next unit waits for is always taken.
//!
//! # Source
//! The grain is that in which strangers are served (see [`UNIT_BYTES`](crate::UNIT_BYTES)).

use std::collections::BTreeMap;
use std::ops::Range;

use crate::code::Code;
use crate::error::RangeError;
use crate::id::{BlobId, PairIndex};
use crate::layout::{Axis, Layout};
use crate::opening::{CheckedPart, Grain, Place};
use crate::solve::{SolveScratch, Solver};

/// How the bytes of a range came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provenance {
    /// All of them were opened in their own rows.
    Proven,
    /// Some were read from a column or decoded.
    Derived,
}

/// One unit of the blob's matrix that a range needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Need {
    /// The row of its symbol, below `p`.
    pub row: u16,
    /// The column of its symbol, below `c`.
    pub column: u16,
    /// Which unit of the symbol.
    pub unit: u64,
}

impl Need {
    /// Where it is proven: in the primary sliver that is its row.
    pub fn in_row(&self) -> (PairIndex, Place) {
        self.in_other_row(PairIndex(self.row))
    }

    /// Where the same bytes are as well: in the secondary sliver that is its column.
    pub fn in_column(&self, layout: &Layout) -> (PairIndex, Place) {
        let place = Place { axis: Axis::Secondary, symbol: self.row, grain: Grain::Unit, part: self.unit };
        (layout.pair_with(Axis::Secondary, self.column.min(layout.shards() - 1)), place)
    }

    /// What `p` different pairs together give it by: the same unit of the same column in their primary slivers.
    pub fn in_other_row(&self, pair: PairIndex) -> (PairIndex, Place) {
        (pair, Place { axis: Axis::Primary, symbol: self.column, grain: Grain::Unit, part: self.unit })
    }
}

/// What a range of a blob needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangePlan {
    layout: Layout,
    range: Range<u64>,
}

impl RangePlan {
    /// The plan for the bytes of `range`, which may be empty.
    ///
    /// # Errors
    /// [`RangeError::Range`] when it ends before it begins or after the blob.
    pub fn new(layout: &Layout, range: Range<u64>) -> Result<Self, RangeError> {
        if range.start > range.end || range.end > layout.blob_bytes() {
            let Range { start, end } = range;
            return Err(RangeError::Range { start, end, length: layout.blob_bytes() });
        }
        Ok(Self { layout: *layout, range })
    }

    /// The bytes it is for.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// How many units it needs.
    pub fn len(&self) -> u64 {
        let numbers = self.numbers();
        numbers.end - numbers.start
    }

    /// Whether it needs none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The units it needs, in the order of the blob. As many as [`RangePlan::len`]: to be taken as they can be asked for.
    pub fn needs(&self) -> impl Iterator<Item = Need> + use<> {
        let layout = self.layout;
        self.numbers().map(move |number| need(&layout, number))
    }

    /// The numbers of its units among all units of the matrix.
    fn numbers(&self) -> Range<u64> {
        if self.range.is_empty() {
            return 0..0;
        }
        let number = |byte: u64| {
            let size = self.layout.symbol_bytes();
            let within = byte % size / Grain::Unit.part_bytes(&self.layout);
            byte / size * Grain::Unit.parts(&self.layout) + within
        };
        number(self.range.start)..number(self.range.end - 1) + 1
    }
}

fn need(layout: &Layout, number: u64) -> Need {
    let (symbol, unit) = (number / Grain::Unit.parts(layout), number % Grain::Unit.parts(layout));
    let columns = u64::from(layout.columns());
    // Units of a range are within the matrix: rows and columns are below n.
    Need { row: (symbol / columns) as u16, column: (symbol % columns) as u16, unit }
}

/// The units of one column that are alike: those of different rows.
#[derive(Debug, Default)]
struct Group {
    /// By row.
    rows: BTreeMap<u16, Vec<u8>>,
    /// The same, from the column's own sliver.
    column: BTreeMap<u16, Vec<u8>>,
}

/// Puts a range together from checked units, in order.
#[derive(Debug)]
pub struct RangeReader {
    blob: BlobId,
    plan: RangePlan,
    /// Units that were not given out yet.
    numbers: Range<u64>,
    /// By column and unit.
    groups: BTreeMap<(u16, u64), Group>,
    held_bytes: u64,
    held_bytes_max: u64,
    received_bytes: u64,
    provenance: Provenance,
    /// For the last places that were solved.
    solver: Option<(Vec<usize>, usize, Solver)>,
}

impl RangeReader {
    /// A reader of `plan`. It holds `held_bytes_max` bytes, and what the next unit can use besides: its own column's
    /// units, `3p` at most.
    pub fn new(blob: &BlobId, plan: RangePlan, held_bytes_max: u64) -> Self {
        Self {
            blob: *blob,
            numbers: plan.numbers(),
            plan,
            groups: BTreeMap::new(),
            held_bytes: 0,
            held_bytes_max,
            received_bytes: 0,
            provenance: Provenance::Proven,
            solver: None,
        }
    }

    /// The unit that is given out next. None when all have been.
    pub fn waiting_for(&self) -> Option<Need> {
        (!self.numbers.is_empty()).then(|| need(&self.plan.layout, self.numbers.start))
    }

    /// Bytes of units that were taken.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Bytes that are held.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// How what was given out so far came about.
    pub fn provenance(&self) -> Provenance {
        self.provenance
    }

    /// Takes a unit, of any row or column. One that is there already is ignored.
    ///
    /// # Errors
    /// [`RangeError::Mixed`] when it is of another blob, [`RangeError::Useless`] when the rest of the range cannot use
    /// it, [`RangeError::Full`] when it is to be offered again later.
    pub fn offer(&mut self, part: CheckedPart) -> Result<(), RangeError> {
        let (layout, pair, place) = (self.plan.layout, part.pair(), part.place());
        if part.blob() != self.blob || part.layout() != layout {
            return Err(RangeError::Mixed { pair });
        }
        let alike = place.grain == Grain::Unit || (place.grain == Grain::Symbol && Grain::Unit.parts(&layout) == 1);
        let line = layout.sliver_of(place.axis, pair);
        let (column, row) = match place.axis {
            Axis::Primary => (place.symbol, None),
            Axis::Secondary => (line, Some(place.symbol)),
        };
        if !alike || !self.can_use(column, place.part, row) {
            return Err(RangeError::Useless { pair, place });
        }
        let bytes = part.bytes().len() as u64;
        let next = self.waiting_for().is_some_and(|next| (next.column, next.unit) == (column, place.part));
        if !next && self.held_bytes + bytes > self.held_bytes_max {
            return Err(RangeError::Full);
        }
        let group = self.groups.entry((column, place.part)).or_default();
        let enough = group.rows.len() >= usize::from(layout.rows());
        let (units, line) = match row {
            // Rows that are not asked for serve to decode the others, and p are enough for that.
            None if enough && line >= layout.rows() => return Ok(()),
            None => (&mut group.rows, line),
            Some(row) => (&mut group.column, row),
        };
        if let std::collections::btree_map::Entry::Vacant(entry) = units.entry(line) {
            entry.insert(part.into_bytes());
            self.held_bytes += bytes;
            self.received_bytes += bytes;
        }
        Ok(())
    }

    /// Whether a unit of `column` is still needed: in any row, or in this one.
    fn can_use(&self, column: u16, unit: u64, row: Option<u16>) -> bool {
        let layout = &self.plan.layout;
        if column >= layout.columns() || unit >= Grain::Unit.parts(layout) {
            return false;
        }
        let number = |row: u16| {
            let symbol = u64::from(row) * u64::from(layout.columns()) + u64::from(column);
            symbol * Grain::Unit.parts(layout) + unit
        };
        let needed = |row: u16| self.numbers.contains(&number(row));
        match row {
            Some(row) => row < layout.rows() && needed(row),
            None => (0..layout.rows()).any(needed),
        }
    }

    /// The next bytes of the range, if they are known: those of one unit, cut to the range. None when more is needed,
    /// and when all was given out ([`RangeReader::waiting_for`] tells which).
    pub fn next_bytes(&mut self) -> Option<Vec<u8>> {
        let next = self.waiting_for()?;
        let key = (next.column, next.unit);
        let group = self.groups.get_mut(&key)?;
        let (unit, from_row) = if let Some(unit) = group.rows.remove(&next.row) {
            self.held_bytes -= unit.len() as u64;
            (unit, true)
        } else if let Some(unit) = group.column.remove(&next.row) {
            self.held_bytes -= unit.len() as u64;
            (unit, false)
        } else {
            (self.decoded(key, next.row)?, false)
        };
        if !from_row {
            self.provenance = Provenance::Derived;
        }
        self.numbers.start += 1;
        if !self.can_use(next.column, next.unit, None) {
            let dropped = self.groups.remove(&key).unwrap_or_default();
            let units = dropped.rows.values().chain(dropped.column.values());
            self.held_bytes -= units.map(|unit| unit.len() as u64).sum::<u64>();
        }
        Some(self.cut(next, unit))
    }

    /// The unit of `row`, from those of `p` others.
    fn decoded(&mut self, key: (u16, u64), row: u16) -> Option<Vec<u8>> {
        let layout = &self.plan.layout;
        let (p, n) = (usize::from(layout.rows()), usize::from(layout.shards()));
        let group = self.groups.get(&key)?;
        if group.rows.len() < p {
            return None;
        }
        let known: Vec<usize> = group.rows.keys().take(p).map(|line| usize::from(*line)).collect();
        let wanted = usize::from(row);
        let again = self.solver.as_ref().is_some_and(|(last, of, _)| *last == known && *of == wanted);
        if !again {
            let solver = Solver::new(&Code::new(p, n), &known, &[wanted]).ok()?;
            self.solver = Some((known, wanted, solver));
        }
        let (_, _, solver) = self.solver.as_ref()?;
        let units: Vec<&[u8]> = group.rows.values().take(p).map(Vec::as_slice).collect();
        let mut unit = vec![0; units[0].len()];
        solver.solve(unit.len(), &units, &mut [&mut unit], &mut SolveScratch::default());
        Some(unit)
    }

    /// What of a unit is in the range.
    fn cut(&self, need: Need, mut unit: Vec<u8>) -> Vec<u8> {
        let layout = &self.plan.layout;
        let within = need.in_row().1.range(layout).start;
        let start = layout.symbol_offset(u64::from(need.row), u64::from(need.column)) + within;
        let place = |byte: u64| (byte.max(start) - start).min(unit.len() as u64) as usize;
        let (from, to) = (place(self.plan.range.start), place(self.plan.range.end));
        unit.truncate(to);
        unit.drain(..from);
        unit
    }
}
