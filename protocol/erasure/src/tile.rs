//! The arithmetic and hashing of one stripe: columns from `p` to `n`, rows from `c` to `n`.
//!
//! Everything here is in memory. Work goes in pieces of at most one BLAKE3 chunk of each symbol: a codeword
//! of pieces fits into the second-level cache, and a piece is what the hash takes at a time. Rows go in
//! groups, so that few symbols a row still fill the lanes of the hash, and short symbols those of the code.

use std::ops::Range;

use crate::code::{Block, Code, Lanes};
use crate::engine::Machine;
use crate::hash::{CHUNK_BYTES, Kernel};
use crate::layout::Layout;
use crate::stripe::Stripe;
use crate::symbols::SymbolHashes;

/// Symbols hashed side by side, at least, if there are that many: four times the widest machine's lanes, so
/// that few are left over.
const HASH_BATCH: usize = 64;

/// The numbers of a layout as sizes in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// Shards, source rows, source columns.
    pub(crate) n: usize,
    pub(crate) p: usize,
    pub(crate) c: usize,
    /// Rows in a group.
    pub(crate) group_rows: usize,
}

impl Geometry {
    pub(crate) fn new(layout: &Layout) -> Self {
        let n = usize::from(layout.shards());
        let piece = layout.symbol_bytes().min(CHUNK_BYTES as u64) as usize;
        let group_rows = HASH_BATCH.div_ceil(n).max(Lanes::new(piece).slots()).min(n);
        Self { n, p: usize::from(layout.rows()), c: usize::from(layout.columns()), group_rows }
    }

    /// How many codewords share the lanes of a stripe of `bytes`.
    pub(crate) fn slots(&self, bytes: usize) -> usize {
        Lanes::new(bytes).slots()
    }
}

/// Some rows that are worked on together, and the state of hashing their symbols: row by row, `n` each.
#[derive(Debug)]
pub(crate) struct RowGroup {
    pub(crate) rows: Range<usize>,
    pub(crate) hashes: SymbolHashes,
}

impl RowGroup {
    /// All rows in groups of [`Geometry::group_rows`], the last one perhaps smaller.
    pub(crate) fn all(geometry: &Geometry, symbol_bytes: u64) -> Vec<Self> {
        let starts = (0..geometry.n).step_by(geometry.group_rows);
        let group = |start: usize| {
            let rows = start..geometry.n.min(start + geometry.group_rows);
            let hashes = SymbolHashes::new(rows.len() * geometry.n, symbol_bytes);
            Self { rows, hashes }
        };
        starts.map(group).collect()
    }
}

/// The memory one thread works in.
pub(crate) struct Worker {
    kernel: Kernel,
    engine: Machine,
    column_code: Code,
    row_code: Code,
    work: Vec<Block>,
    /// Pieces of the computed symbols of a group of rows.
    parity: Vec<u8>,
    /// Neighbouring symbols on their way in or out.
    pub(crate) run: Vec<u8>,
}

impl Worker {
    pub(crate) fn new(geometry: &Geometry, stripe_bytes: usize, kernel: Kernel) -> Self {
        let Geometry { n, p, c, group_rows } = *geometry;
        let (column_code, row_code) = (Code::new(p, n), Code::new(c, n));
        let piece = stripe_bytes.min(CHUNK_BYTES);
        let symbols = column_code.work_symbols().max(row_code.work_symbols());
        Self {
            kernel,
            engine: Machine::detect(),
            column_code,
            row_code,
            work: vec![[0; 64]; symbols * Lanes::new(piece).blocks()],
            parity: vec![0; group_rows * (n - c) * piece],
            run: Vec::new(),
        }
    }

    /// Extends columns, each of `n` symbols of which the first `p` are there.
    pub(crate) fn extend_columns(&mut self, geometry: &Geometry, stripe: Stripe, columns: &mut [u8]) {
        let width = stripe.bytes;
        let column_bytes = geometry.n * width;
        let (code, engine, work) = (&self.column_code, self.engine, &mut self.work);
        for piece in pieces(width) {
            let lanes = Lanes::new(piece.len());
            let blocks = lanes.blocks();
            for set in columns.chunks_mut(lanes.slots() * column_bytes) {
                for (slot, column) in set.chunks(column_bytes).enumerate() {
                    let symbols = column.chunks(width).take(code.source());
                    for (symbol, work) in symbols.zip(work.chunks_mut(blocks)) {
                        lanes.put(work, slot, &symbol[piece.clone()]);
                    }
                }
                code.extend(engine, work, blocks);
                for (slot, column) in set.chunks_mut(column_bytes).enumerate() {
                    let symbols = column.chunks_mut(width).skip(code.source());
                    for (symbol, work) in symbols.zip(work.chunks(blocks)) {
                        lanes.take(work, slot, &mut symbol[piece.clone()]);
                    }
                }
            }
        }
    }

    /// Extends the rows of a group and hashes all their symbols. What is computed is copied to `beyond`, which
    /// has room for as many of the first rows as are kept: row by row, `n - c` symbols each.
    pub(crate) fn extend_rows(
        &mut self,
        geometry: &Geometry,
        stripe: Stripe,
        columns: &[u8],
        group: &mut RowGroup,
        beyond: &mut [u8],
    ) {
        let Geometry { n, c, .. } = *geometry;
        let width = stripe.bytes;
        for piece in pieces(width) {
            let bytes = piece.len();
            self.extend_row_pieces(geometry, width, columns, group.rows.clone(), piece.clone());
            let parity = &self.parity[..group.rows.len() * (n - c) * bytes];
            for (symbol, computed) in beyond.chunks_mut(width).zip(parity.chunks(bytes)) {
                symbol[piece.clone()].copy_from_slice(computed);
            }
            let mut inputs: Vec<&[u8]> = Vec::with_capacity(group.rows.len() * n);
            for (row, parity) in group.rows.clone().zip(parity.chunks((n - c) * bytes)) {
                inputs.extend((0..c).map(|column| &columns[(column * n + row) * width..][piece.clone()]));
                inputs.extend(parity.chunks(bytes));
            }
            group.hashes.update(self.kernel, &inputs);
        }
    }

    /// Fills `parity` with one piece of the computed symbols of `rows`.
    fn extend_row_pieces(
        &mut self,
        geometry: &Geometry,
        width: usize,
        columns: &[u8],
        rows: Range<usize>,
        piece: Range<usize>,
    ) {
        let Geometry { n, c, .. } = *geometry;
        let lanes = Lanes::new(piece.len());
        let blocks = lanes.blocks();
        let row_bytes = (n - c) * piece.len();
        let parity_rows = self.parity[..rows.len() * row_bytes].chunks_mut(lanes.slots() * row_bytes);
        for (first, parity_rows) in rows.step_by(lanes.slots()).zip(parity_rows) {
            let count = parity_rows.len() / row_bytes;
            for (column, work) in columns.chunks(n * width).zip(self.work.chunks_mut(blocks)) {
                for slot in 0..count {
                    let symbol = &column[(first + slot) * width..][..width];
                    lanes.put(work, slot, &symbol[piece.clone()]);
                }
            }
            self.row_code.extend(self.engine, &mut self.work, blocks);
            for (slot, row) in parity_rows.chunks_mut(row_bytes).enumerate() {
                for (symbol, work) in row.chunks_mut(piece.len()).zip(self.work.chunks(blocks)) {
                    lanes.take(work, slot, symbol);
                }
            }
        }
    }
}

/// A stripe of `width` bytes in pieces of at most one chunk.
fn pieces(width: usize) -> impl Iterator<Item = Range<usize>> {
    (0..width).step_by(CHUNK_BYTES).map(move |start| start..width.min(start + CHUNK_BYTES))
}
