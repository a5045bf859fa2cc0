//! The arithmetic and hashing of one stripe: columns from `p` to `n`, rows from `c` to `n`.
//!
//! Everything here is in memory. A row of the stripe is a [`RowView`]: symbols a stride apart, in the blob itself or in
//! a buffer. Work goes in pieces of at most one BLAKE3 chunk of each symbol, as the hash takes it, and of as many codewords
//! side by side as the second-level cache holds: short symbols fill whole blocks that way. Nothing is
//! copied that can be read where it is.

use std::ops::Range;

use crate::code::{Block, Code, Shape};
use crate::engine::Machine;
use crate::hash::{CHUNK_BYTES, Hash, Kernel};
use crate::layout::Layout;
use crate::short::{NUMBER_BYTES_MAX, short, write_shorts};
use crate::symbols::SymbolHashes;

/// Lanes of the widest machine's hash.
const LANES: usize = 16;
/// Symbols hashed side by side, at least, if there are that many: so that few lanes are left over.
const HASH_BATCH: usize = 4 * LANES;
/// Blocks of a symbol in the working memory up to which more make the code faster.
const SYMBOL_BLOCKS: usize = 16;
/// Working memory of the code: half of a small second-level cache.
const WORK_BYTES: usize = 512 << 10;

/// Shards from which on hashes of rows are joined to those of columns' subtrees while they are in the cache, if all of a
/// symbol is hashed at once. Of fewer all fit there.
const JOINED_SHARDS_MIN: usize = 128;
/// Hashes that are joined together: a MiB, half of a second-level cache. A power of two.
const JOINED_HASHES: usize = 1 << 15;
/// Most rows that are: enough of them to be shared by threads. A power of two.
const JOINED_ROWS_MAX: usize = 32;

/// The numbers of a layout as sizes in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// Shards, source rows, source columns.
    pub(crate) n: usize,
    pub(crate) p: usize,
    pub(crate) c: usize,
    /// Rows in a group.
    pub(crate) group_rows: usize,
    /// Whether a group's rows are a subtree of all columns' trees, of which the root is all that is kept. Then groups
    /// begin anew at row `p`, as those trees do.
    pub(crate) joins: bool,
    /// Bytes of a symbol, if it is so short that it is handled as a number.
    pub(crate) short: Option<usize>,
    /// Blocks of a symbol that the working memory has room for.
    symbol_blocks: usize,
    /// Rows beyond which a group leaves other threads without work.
    group_rows_max: usize,
}

impl Geometry {
    /// For as many threads.
    pub(crate) fn new(layout: &Layout, threads: usize) -> Self {
        let n = usize::from(layout.shards());
        let (p, c) = (usize::from(layout.rows()), usize::from(layout.columns()));
        let symbols = Code::new(p, n).work_symbols().max(Code::new(c, n).work_symbols());
        let symbol_blocks = (WORK_BYTES / 64 / symbols).max(1);
        let short = (layout.symbol_bytes() <= NUMBER_BYTES_MAX as u64).then_some(layout.symbol_bytes() as usize);
        let group_rows_max = n.div_ceil(threads);
        let mut geometry = Self { n, p, c, group_rows: 1, joins: false, short, symbol_blocks, group_rows_max };
        let piece = layout.symbol_bytes().min(CHUNK_BYTES as u64) as usize;
        // As many groups for one thread as for another.
        let groups = n.div_ceil(geometry.row_words(piece)).next_multiple_of(threads);
        geometry.group_rows = n.div_ceil(groups);
        geometry
    }

    /// The same when the only stripe is the whole symbol.
    pub(crate) fn of_one_stripe(mut self) -> Self {
        if self.n >= JOINED_SHARDS_MIN {
            self.joins = true;
            self.group_rows = (JOINED_HASHES / self.n.next_power_of_two()).clamp(1, JOINED_ROWS_MAX);
        }
        self
    }

    /// How many rows of hashes there are of the stored symbols of all columns.
    pub(crate) fn stored_rows(&self) -> usize {
        if self.joins { self.p.div_ceil(self.group_rows) } else { self.p }
    }

    /// How many columns are worked on together when pieces have `bytes` bytes.
    pub(crate) fn column_words(&self, bytes: usize) -> usize {
        Shape::fitting(bytes, self.symbol_blocks.min(SYMBOL_BLOCKS)).words()
    }

    /// How many rows are.
    pub(crate) fn row_words(&self, bytes: usize) -> usize {
        let most = Shape::fitting(bytes, self.symbol_blocks).words().min(self.group_rows_max);
        let least = self.column_words(bytes).min(most);
        if least * self.n >= HASH_BATCH { least } else { rows_for_lanes(self.n, most) }
    }
}

/// How many rows of `n` symbols, at most `most`, are hashed together: a batch and more, if it can be, that leaves few
/// lanes over.
fn rows_for_lanes(n: usize, most: usize) -> usize {
    let least = HASH_BATCH.div_ceil(n).min(most);
    let left_over = |rows: usize| (rows * n).next_multiple_of(LANES) - rows * n;
    // In lanes for each thousand symbols: the first one with the fewest.
    (least..=most.min(least + LANES)).min_by_key(|rows| left_over(*rows) * 1000 / (rows * n)).unwrap_or(least)
}

/// The stripe of the first symbols of a row, wherever it is: `c` symbols.
#[derive(Clone, Copy)]
pub(crate) struct RowView<'a> {
    pub(crate) bytes: &'a [u8],
    /// Bytes from one symbol to the next.
    pub(crate) stride: usize,
}

impl<'a> RowView<'a> {
    /// A part of the stripe of a symbol.
    pub(crate) fn symbol(&self, column: usize, part: Range<usize>) -> &'a [u8] {
        &self.bytes[column * self.stride..][part]
    }

    /// A symbol of at most eight bytes as a number.
    #[inline]
    pub(crate) fn short(&self, column: usize, bytes: usize) -> u64 {
        short(&self.bytes[column * self.stride..], bytes)
    }
}

/// Some rows that are worked on together.
#[derive(Debug)]
pub(crate) struct RowGroup {
    pub(crate) rows: Range<usize>,
    /// The state of hashing their symbols: row by row, `n` each.
    pub(crate) hashes: SymbolHashes,
    /// By column the root of its subtree over these rows, where groups are joined.
    pub(crate) joined: Vec<Hash>,
}

impl RowGroup {
    /// All rows in groups of [`Geometry::group_rows`], the last one perhaps smaller.
    pub(crate) fn all(geometry: &Geometry, symbol_bytes: u64) -> Vec<Self> {
        let Geometry { n, p, group_rows, joins, .. } = *geometry;
        let group = |rows: Range<usize>| {
            // Where they are joined it is a worker's that is used.
            let count = if joins { 0 } else { rows.len() * n };
            Self { rows, hashes: SymbolHashes::new(count, symbol_bytes), joined: Vec::new() }
        };
        let parts = if joins { [0..p, p..n] } else { [0..n, n..n] };
        let starts = |part: Range<usize>| {
            part.clone().step_by(group_rows).map(move |start| start..part.end.min(start + group_rows))
        };
        parts.into_iter().flat_map(starts).map(group).collect()
    }

    /// Once all symbols are hashed: rows of hashes by column, the lowest that are kept.
    pub(crate) fn rows_of_hashes(&self, geometry: &Geometry) -> std::slice::Chunks<'_, Hash> {
        if geometry.joins { self.joined.chunks(geometry.n) } else { self.hashes.finished().chunks(geometry.n) }
    }
}

/// Some columns of the rows that are computed: those rows' symbols of these columns, side by side.
pub(crate) struct ColumnGroup<'a> {
    pub(crate) columns: Range<usize>,
    /// Which part of the stripe.
    pub(crate) bytes: Range<usize>,
    /// By row from `p` on.
    pub(crate) computed: Vec<&'a mut [u8]>,
}

/// The memory one thread works in.
pub(crate) struct Worker {
    kernel: Kernel,
    machine: Machine,
    column_code: Code,
    row_code: Code,
    work: Vec<Block>,
    /// Pieces of computed symbols that are not in one piece in `work`.
    parity: Vec<u8>,
    /// Short symbols as numbers.
    numbers: Vec<u64>,
    /// The state of hashing the group at hand, where groups are joined.
    pub(crate) hashes: SymbolHashes,
}

impl Worker {
    pub(crate) fn new(geometry: &Geometry, symbol_bytes: u64, (kernel, machine): (Kernel, Machine)) -> Self {
        let Geometry { n, p, c, .. } = *geometry;
        Self {
            kernel,
            machine,
            column_code: Code::new(p, n),
            row_code: Code::new(c, n),
            work: Vec::new(),
            parity: Vec::new(),
            numbers: Vec::new(),
            hashes: SymbolHashes::new(0, symbol_bytes),
        }
    }

    /// Extends the columns of a group from the rows of `source`.
    pub(crate) fn extend_columns(&mut self, geometry: &Geometry, source: &[RowView<'_>], group: ColumnGroup<'_>) {
        if let Some(bytes) = geometry.short {
            return self.extend_short_columns(geometry, source, group, bytes);
        }
        let ColumnGroup { columns, bytes, mut computed } = group;
        for into in pieces(bytes.len()) {
            let piece = bytes.start + into.start..bytes.start + into.end;
            let most = geometry.column_words(piece.len());
            for first in columns.clone().step_by(most) {
                let shape = Shape::new(piece.len(), most.min(columns.end - first));
                let blocks = shape.blocks();
                grow(&mut self.work, self.column_code.work_symbols() * blocks);
                let from = |row: usize, word: usize| source[row].symbol(first + word, piece.clone());
                self.column_code.extend_from(self.machine, shape, from, &mut self.work);
                for (row, symbol) in computed.iter_mut().zip(self.work.chunks(blocks)) {
                    let symbols = row.chunks_mut(bytes.len()).skip(first - columns.start);
                    for (word, computed) in symbols.take(shape.words()).enumerate() {
                        shape.take(symbol, word, &mut computed[into.clone()]);
                    }
                }
            }
        }
    }

    /// The same for symbols that are handled as numbers.
    fn extend_short_columns(
        &mut self,
        geometry: &Geometry,
        source: &[RowView<'_>],
        group: ColumnGroup<'_>,
        bytes: usize,
    ) {
        let ColumnGroup { columns, mut computed, .. } = group;
        let most = geometry.column_words(bytes);
        for first in columns.clone().step_by(most) {
            let shape = Shape::new(bytes, most.min(columns.end - first));
            grow(&mut self.work, self.column_code.work_symbols() * shape.blocks());
            let from = |row: usize, word: usize| source[row].short(first + word, bytes);
            self.column_code.extend_short(self.machine, shape, from, &mut self.work);
            self.numbers.resize(shape.words(), 0);
            for (row, symbol) in computed.iter_mut().zip(self.work.chunks(shape.blocks())) {
                shape.take_short(symbol, |word, piece| self.numbers[word] = piece);
                let into = &mut row[(first - columns.start) * bytes..][..shape.words() * bytes];
                write_shorts(into, bytes, &self.numbers);
            }
        }
    }

    /// Extends the rows of a group and hashes all their symbols. What is computed is copied to `beyond`, which
    /// has room for as many of the first rows as are kept: row by row, `n - c` symbols each.
    pub(crate) fn extend_rows(
        &mut self,
        geometry: &Geometry,
        rows: &[RowView<'_>],
        group: &mut RowGroup,
        (beyond, width): (&mut [u8], usize),
    ) {
        if let Some(bytes) = geometry.short {
            return self.extend_short_rows(geometry, rows, group, (beyond, bytes));
        }
        let first_row = group.rows.start;
        let beyond_bytes = (geometry.n - geometry.c) * width;
        for piece in pieces(width) {
            let most = geometry.row_words(piece.len());
            let mut kept = beyond.chunks_mut(beyond_bytes.max(1));
            for first in group.rows.clone().step_by(most) {
                let rows = &rows[first..group.rows.end.min(first + most)];
                let shape = Shape::new(piece.len(), rows.len());
                grow(&mut self.work, self.row_code.work_symbols() * shape.blocks());
                let from = |column: usize, word: usize| rows[word].symbol(column, piece.clone());
                self.row_code.extend_from(self.machine, shape, from, &mut self.work);
                for (word, beyond) in (0..rows.len()).zip(kept.by_ref()) {
                    let symbols = beyond.chunks_mut(width).zip(self.work.chunks(shape.blocks()));
                    symbols.for_each(|(into, symbol)| shape.take(symbol, word, &mut into[piece.clone()]));
                }
                self.hash_rows(geometry, (rows, shape, piece.clone()), &mut group.hashes, first - first_row);
            }
            group.hashes.advance(self.kernel, piece.len());
        }
    }

    /// The same for symbols that are handled as numbers.
    fn extend_short_rows(
        &mut self,
        geometry: &Geometry,
        rows: &[RowView<'_>],
        group: &mut RowGroup,
        (beyond, bytes): (&mut [u8], usize),
    ) {
        let Geometry { n, c, .. } = *geometry;
        let mut kept = beyond.chunks_mut(((n - c) * bytes).max(1));
        for first in group.rows.clone().step_by(geometry.row_words(bytes)) {
            let rows = &rows[first..group.rows.end.min(first + geometry.row_words(bytes))];
            let shape = Shape::new(bytes, rows.len());
            grow(&mut self.work, self.row_code.work_symbols() * shape.blocks());
            self.numbers.resize(rows.len() * n, 0);
            for (row, numbers) in rows.iter().zip(self.numbers.chunks_mut(n)) {
                numbers[..c].iter_mut().enumerate().for_each(|(column, number)| *number = row.short(column, bytes));
            }
            let from = |column: usize, word: usize| self.numbers[word * n + column];
            self.row_code.extend_short(self.machine, shape, from, &mut self.work);
            for (column, symbol) in (c..n).zip(self.work.chunks(shape.blocks())) {
                shape.take_short(symbol, |word, piece| self.numbers[word * n + column] = piece);
            }
            for (numbers, beyond) in self.numbers.chunks(n).zip(kept.by_ref()) {
                write_shorts(beyond, bytes, &numbers[c..]);
            }
            group.hashes.add_shorts(self.kernel, (first - group.rows.start) * n, &self.numbers);
        }
        group.hashes.advance(self.kernel, bytes);
    }

    /// Hashes a piece of all symbols of some rows, the computed ones of which are in `work`. The first row is the
    /// `first` of its group.
    fn hash_rows(
        &mut self,
        geometry: &Geometry,
        (rows, shape, piece): (&[RowView<'_>], Shape, Range<usize>),
        hashes: &mut SymbolHashes,
        first: usize,
    ) {
        let Geometry { n, c, .. } = *geometry;
        let together = rows_for_lanes(n, rows.len());
        let parity_bytes = (n - c) * piece.len();
        self.parity.resize(together * parity_bytes, 0);
        for start in (0..rows.len()).step_by(together) {
            let words = start..rows.len().min(start + together);
            if shape.whole_bytes() < piece.len() {
                for (word, parity) in words.clone().zip(self.parity.chunks_mut(parity_bytes)) {
                    let symbols = parity.chunks_mut(piece.len()).zip(self.work.chunks(shape.blocks()));
                    symbols.for_each(|(into, symbol)| shape.take(symbol, word, into));
                }
            }
            let mut inputs: Vec<&[u8]> = Vec::with_capacity(words.len() * n);
            for (word, parity) in words.zip(self.parity.chunks(parity_bytes)) {
                inputs.extend((0..c).map(|column| rows[word].symbol(column, piece.clone())));
                let symbols = parity.chunks(piece.len()).zip(self.work.chunks(shape.blocks()));
                inputs.extend(symbols.map(|(copied, symbol)| shape.in_place(symbol, word).unwrap_or(copied)));
            }
            hashes.add(self.kernel, (first + start) * n, &inputs);
        }
    }
}

/// Makes sure that there are `blocks`.
fn grow(work: &mut Vec<Block>, blocks: usize) {
    if work.len() < blocks {
        work.resize(blocks, [0; 64]);
    }
}

/// A stripe of `width` bytes in pieces of at most one chunk.
fn pieces(width: usize) -> impl Iterator<Item = Range<usize>> {
    (0..width).step_by(CHUNK_BYTES).map(move |start| start..width.min(start + CHUNK_BYTES))
}
