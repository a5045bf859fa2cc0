//! Gives a blob back from any `p` of its primary slivers, or from any `c` of its secondary ones.
//!
//! A systematic sliver is a row, or a column, of the blob and is copied. A missing one is a sum of the others, each
//! times an element of the field; the factors follow from which slivers there are and are computed once. So a missing
//! line can be had in any order, hence the blob streams out in its order from bounded memory.
//!
//! ```text
//!   primaries     the blob is the rows, one after the other        k = p lines of c symbols, once
//!   secondaries   the blob is the columns, symbol by symbol        k = c lines of one symbol, for each of the p rows
//! ```
//!
//! As many missing lines as fit into memory are computed together, so that the slivers are read again only for the next
//! ones. Where many rows of columns fit into memory, they are one *band*: read, solved and laid out at once.

use std::io::Write;
use std::ops::Range;

use crate::code::Code;
use crate::error::DecodeError;
use crate::id::{BlobId, PairIndex};
use crate::io::ReadAt;
use crate::layout::{Axis, Layout};
use crate::options::Options;
use crate::solve::{SolveScratch, Solver};
use crate::verify::{CheckedPrimary, CheckedSecondary};

/// Bytes that are read of a sliver at a time when it is only copied.
const COPY_BYTES: u64 = 1 << 18;
/// Bytes of one line that are solved at a time, at most: beyond, nothing is gained.
const STEP_BYTES_MAX: usize = 64 << 10;
/// And at least, whatever the memory: narrower steps are mostly calls.
const STEP_BYTES_MIN: usize = 1 << 10;

/// Decodes the blob of `layout` from at least `p` different primary slivers into `sink`, in order and exactly
/// [`Layout::blob_bytes`] bytes.
///
/// Systematic slivers are preferred; with all of them there is no arithmetic. More slivers than needed, and
/// repeated ones, are ignored. The slivers are read again here, so that a source that changed since its
/// check gives other bytes: who must be sure compares the id of what came out.
///
/// # Errors
/// [`DecodeError`]. What was written by then is of no use, but that it is a beginning of the blob if only
/// reading or writing failed.
pub fn decode(
    layout: &Layout,
    slivers: &[(CheckedPrimary, &dyn ReadAt)],
    sink: &mut dyn Write,
    options: &Options<'_>,
) -> Result<(), DecodeError> {
    let facts = |checked: &CheckedPrimary| (checked.blob(), checked.layout(), checked.pair());
    let slivers = slivers.iter().map(|(checked, source)| (facts(checked), *source));
    let chosen = choose(layout, Axis::Primary, slivers)?;
    decode_lines(layout, Axis::Primary, chosen, 0..layout.blob_bytes(), sink, options)
}

/// Decodes the blob of `layout` from at least `c` different secondary slivers: the twin of [`decode`].
///
/// # Errors
/// As [`decode`].
pub fn decode_secondaries(
    layout: &Layout,
    slivers: &[(CheckedSecondary, &dyn ReadAt)],
    sink: &mut dyn Write,
    options: &Options<'_>,
) -> Result<(), DecodeError> {
    let facts = |checked: &CheckedSecondary| (checked.blob(), checked.layout(), checked.pair());
    let slivers = slivers.iter().map(|(checked, source)| (facts(checked), *source));
    let chosen = choose(layout, Axis::Secondary, slivers)?;
    decode_lines(layout, Axis::Secondary, chosen, 0..layout.blob_bytes(), sink, options)
}

/// One of the slivers that are decoded from.
#[derive(Clone, Copy)]
pub(crate) struct Chosen<'a> {
    pub(crate) pair: PairIndex,
    /// Which row or column it is.
    pub(crate) line: usize,
    pub(crate) source: &'a dyn ReadAt,
}

/// As many of the slivers as are needed, the first by line, which takes systematic ones first.
pub(crate) fn choose<'a>(
    layout: &Layout,
    axis: Axis,
    slivers: impl Iterator<Item = ((BlobId, Layout, PairIndex), &'a dyn ReadAt)>,
) -> Result<Vec<Chosen<'a>>, DecodeError> {
    let mut first = None;
    let mut chosen = Vec::new();
    for ((blob, of, pair), source) in slivers {
        if *first.get_or_insert(blob) != blob || of != *layout {
            return Err(DecodeError::Mixed { pair });
        }
        chosen.push(Chosen { pair, line: usize::from(layout.sliver_of(axis, pair)), source });
    }
    chosen.sort_by_key(|sliver| sliver.line);
    chosen.dedup_by_key(|sliver| sliver.line);
    let needed = layout.lines(axis);
    if chosen.len() < needed {
        return Err(DecodeError::TooFew { needed, given: chosen.len() });
    }
    chosen.truncate(needed);
    Ok(chosen)
}

/// Writes the bytes of `window` of the `p x c` source symbols, which may end in the padding.
pub(crate) fn decode_lines(
    layout: &Layout,
    axis: Axis,
    chosen: Vec<Chosen<'_>>,
    window: Range<u64>,
    sink: &mut dyn Write,
    options: &Options<'_>,
) -> Result<(), DecodeError> {
    let known: Vec<usize> = chosen.iter().map(|sliver| sliver.line).collect();
    let code = Code::new(layout.lines(axis), usize::from(layout.shards()));
    let output = Output { at: 0, window, sink, options };
    let mut decoding = Decoding { layout, chosen, known, code, output, scratch: SolveScratch::default() };
    match axis {
        Axis::Primary => decoding.rows(),
        Axis::Secondary => decoding.columns(),
    }
}

/// Where the bytes go that fall into the window.
struct Output<'a> {
    /// Where in the source symbols the next byte is.
    at: u64,
    window: Range<u64>,
    sink: &'a mut dyn Write,
    options: &'a Options<'a>,
}

impl Output<'_> {
    /// Writes the next bytes; what is outside the window is dropped.
    fn write(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        if self.options.is_cancelled() {
            return Err(DecodeError::Cancelled);
        }
        let within = |place: u64| (place.max(self.at) - self.at).min(bytes.len() as u64) as usize;
        let wanted = &bytes[within(self.window.start)..within(self.window.end)];
        let offset = self.at.max(self.window.start);
        self.sink.write_all(wanted).map_err(|source| DecodeError::Write { offset, source })?;
        self.at += bytes.len() as u64;
        self.options.report(self.at.min(self.window.end));
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.at >= self.window.end
    }
}

/// Neighbouring lines that are missing and are computed together.
struct Group {
    lines: Vec<usize>,
    solver: Solver,
}

/// One call of [`decode`] or its twin.
struct Decoding<'a> {
    layout: &'a Layout,
    chosen: Vec<Chosen<'a>>,
    known: Vec<usize>,
    code: Code,
    output: Output<'a>,
    scratch: SolveScratch,
}

impl Decoding<'_> {
    /// From primaries: the rows one after the other.
    fn rows(&mut self) -> Result<(), DecodeError> {
        let row_bytes = self.layout.primary_bytes();
        let window = self.output.window.clone();
        let used = (window.start / row_bytes) as usize..window.end.div_ceil(row_bytes) as usize;
        let groups = self.groups(used.clone(), row_bytes);
        self.output.at = used.start as u64 * row_bytes;
        self.lines(used, 0..row_bytes, &groups)
    }

    /// From secondaries: the symbols of each row one after the other.
    fn columns(&mut self) -> Result<(), DecodeError> {
        let (c, size) = (self.known.len(), self.layout.symbol_bytes());
        let window = self.output.window.clone();
        let row_bytes = self.layout.primary_bytes();
        let rows = window.start / row_bytes..window.end.div_ceil(row_bytes);
        self.output.at = rows.start * row_bytes;
        // What is read, what is solved and what is laid out.
        let together = self.output.options.memory_bytes_max as u64 / (3 * row_bytes);
        if together == 0 {
            let groups = self.groups(0..c, size);
            return rows.into_iter().try_for_each(|row| self.lines(0..c, row * size..(row + 1) * size, &groups));
        }
        let missing: Vec<usize> = (0..c).filter(|column| !self.known.contains(column)).collect();
        let solver = self.solver(&missing);
        let mut start = rows.start;
        while start < rows.end {
            let end = rows.end.min(start + together);
            self.band(start * size..end * size, &missing, &solver)?;
            start = end;
        }
        Ok(())
    }

    fn solver(&self, missing: &[usize]) -> Solver {
        let solver = Solver::new(&self.code, &self.known, missing);
        solver.expect("`choose` left as many different lines as the code needs, and what is missing is below that")
    }

    /// The missing ones of `lines`, as many together as fit into memory.
    fn groups(&self, lines: Range<usize>, line_bytes: u64) -> Vec<Group> {
        // Half of the memory is for what was restored, a quarter each for what is read and solved at a time.
        let together = (self.output.options.memory_bytes_max as u64 / 2 / line_bytes).max(1);
        let together = usize::try_from(together).unwrap_or(usize::MAX);
        let missing: Vec<usize> = lines.filter(|line| !self.known.contains(line)).collect();
        missing.chunks(together).map(|lines| Group { lines: lines.to_vec(), solver: self.solver(lines) }).collect()
    }

    /// Writes `lines`, of each the bytes of `range`.
    fn lines(&mut self, lines: Range<usize>, range: Range<u64>, groups: &[Group]) -> Result<(), DecodeError> {
        let mut next = lines.start;
        for group in groups {
            let (first, last) = (group.lines[0], group.lines[group.lines.len() - 1]);
            self.copy_lines(next..first, range.clone())?;
            if group.lines.len() == 1 {
                // Nothing to wait for: the line goes out as it is computed.
                self.restore(group, range.clone(), |output, _, part| output.write(part))?;
            } else {
                self.restore_group(group, range.clone())?;
            }
            next = last + 1;
        }
        self.copy_lines(next..lines.end, range)
    }

    /// Restores the lines of a group to memory, then writes them with those between them.
    fn restore_group(&mut self, group: &Group, range: Range<u64>) -> Result<(), DecodeError> {
        let mut lines: Vec<Vec<u8>> = group.lines.iter().map(|_| Vec::new()).collect();
        self.restore(group, range.clone(), |_, index, part| {
            lines[index].extend_from_slice(part);
            Ok(())
        })?;
        for (position, line) in lines.iter().enumerate() {
            self.output.write(line)?;
            if let Some(next) = group.lines.get(position + 1) {
                self.copy_lines(group.lines[position] + 1..*next, range.clone())?;
            }
        }
        Ok(())
    }

    /// Copies lines all of which are among the chosen, as far as they are asked for.
    fn copy_lines(&mut self, lines: Range<usize>, range: Range<u64>) -> Result<(), DecodeError> {
        let mut buffer = Vec::new();
        for line in lines {
            if self.output.is_done() {
                return Ok(());
            }
            let Some(sliver) = self.known.binary_search(&line).ok().map(|position| self.chosen[position]) else {
                // Never: a line is chosen, or missing and in a group.
                continue;
            };
            let (before, end) = (self.output.window.start.saturating_sub(self.output.at), self.output.window.end);
            let skipped = before.min(range.end - range.start);
            self.output.at += skipped;
            let mut offset = range.start + skipped;
            let stop = range.end.min(offset + end.saturating_sub(self.output.at));
            while offset < stop {
                let count = (stop - offset).min(COPY_BYTES) as usize;
                self.output.write(read(sliver, &mut buffer, offset, count)?)?;
                offset += count as u64;
            }
        }
        Ok(())
    }

    /// Computes the lines of a group, part by part: `take` gets the number of the line within the group, and the
    /// parts of each line in order.
    fn restore(
        &mut self,
        group: &Group,
        range: Range<u64>,
        mut take: impl FnMut(&mut Output<'_>, usize, &[u8]) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let memory = self.output.options.memory_bytes_max / (4 * self.chosen.len());
        let step = Step { symbol_bytes: self.layout.symbol_bytes(), bytes: memory };
        let mut buffers: Vec<Vec<u8>> = vec![Vec::new(); self.chosen.len()];
        let mut restored: Vec<Vec<u8>> = vec![Vec::new(); group.lines.len()];
        let mut offset = range.start;
        while offset < range.end {
            if self.output.options.is_cancelled() {
                return Err(DecodeError::Cancelled);
            }
            let (count, unit) = step.at(offset, range.end);
            let sources = self.chosen.iter().zip(&mut buffers);
            let sources: Result<Vec<&[u8]>, DecodeError> =
                sources.map(|(sliver, buffer)| read(*sliver, buffer, offset, count)).collect();
            restored.iter_mut().for_each(|part| part.resize(count, 0));
            let mut wanted: Vec<&mut [u8]> = restored.iter_mut().map(Vec::as_mut_slice).collect();
            group.solver.solve(unit, &sources?, &mut wanted, &mut self.scratch);
            for (index, part) in restored.iter().enumerate() {
                take(&mut self.output, index, part)?;
            }
            offset += count as u64;
        }
        Ok(())
    }

    /// Writes the rows of which `range` of every column has the symbols.
    fn band(&mut self, range: Range<u64>, missing: &[usize], solver: &Solver) -> Result<(), DecodeError> {
        let (c, count) = (self.known.len(), (range.end - range.start) as usize);
        // A band fits into memory, hence a symbol does.
        let size = self.layout.symbol_bytes() as usize;
        let mut buffers: Vec<Vec<u8>> = vec![Vec::new(); c];
        let sources = self.chosen.iter().zip(&mut buffers);
        let sources: Result<Vec<&[u8]>, DecodeError> =
            sources.map(|(sliver, buffer)| read(*sliver, buffer, range.start, count)).collect();
        let sources = sources?;
        let mut restored: Vec<Vec<u8>> = vec![vec![0; count]; missing.len()];
        let mut wanted: Vec<&mut [u8]> = restored.iter_mut().map(Vec::as_mut_slice).collect();
        solver.solve(size, &sources, &mut wanted, &mut self.scratch);

        let mut columns: Vec<&[u8]> = vec![&[]; c];
        let there = self.known.iter().zip(&sources).map(|(line, source)| (*line, *source));
        let solved = missing.iter().zip(&restored).map(|(line, column)| (*line, column.as_slice()));
        for (line, column) in there.chain(solved).filter(|(line, _)| *line < c) {
            columns[line] = column;
        }
        let mut rows = Vec::with_capacity(c * count);
        for start in (0..count).step_by(size) {
            columns.iter().for_each(|column| rows.extend_from_slice(&column[start..start + size]));
        }
        self.output.write(&rows)
    }
}

/// `count` bytes of a sliver from `offset` on: lent by its source, or read into `buffer`.
fn read<'a>(sliver: Chosen<'a>, buffer: &'a mut Vec<u8>, offset: u64, count: usize) -> Result<&'a [u8], DecodeError> {
    if let Some(lent) = sliver.source.borrow_at(offset, count) {
        return Ok(lent);
    }
    buffer.resize(count, 0);
    let error = |source| DecodeError::Read { pair: sliver.pair, offset, bytes: count, source };
    sliver.source.read_exact_at(buffer, offset).map_err(error)?;
    Ok(buffer)
}

/// How much of every line is solved at a time: a part of one symbol, or several whole ones.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) symbol_bytes: u64,
    /// About how many bytes.
    pub(crate) bytes: usize,
}

impl Step {
    /// The step that begins at `offset` of a line that ends at `end`: its bytes, and how many of them belong to one
    /// symbol each.
    pub(crate) fn at(self, offset: u64, end: u64) -> (usize, usize) {
        let most = self.bytes.clamp(STEP_BYTES_MIN, STEP_BYTES_MAX) / 64 * 64;
        let left = end - offset;
        match usize::try_from(self.symbol_bytes).ok().filter(|size| *size <= most) {
            // Lines are whole symbols, so that what is left is too.
            Some(size) => (left.min((most / size * size) as u64) as usize, size),
            None => {
                let bytes = (self.symbol_bytes - offset % self.symbol_bytes).min(most as u64).min(left) as usize;
                (bytes, bytes)
            }
        }
    }
}
