//! Gives a blob back from any `p` of its primary slivers.
//!
//! A systematic sliver is a row of the blob and is copied. A missing row is a sum of `p` slivers, each times
//! an element of the field; the factors follow from which slivers there are and are computed once. So a
//! missing row costs `p` multiplications a byte and can be had in any order, hence the blob streams out in
//! its order from bounded memory. As many missing rows as fit into memory are computed together, so that
//! the slivers are read again only for the next ones.

use std::io::Write;

use crate::code::{Block, Code, Coefficients, Field, Lanes};
use crate::error::DecodeError;
use crate::hash::CHUNK_BYTES;
use crate::id::PairIndex;
use crate::io::ReadAt;
use crate::layout::Layout;
use crate::options::Options;
use crate::verify::CheckedPrimary;

/// Bytes that are read of a sliver at a time when it is only copied.
const COPY_BYTES: u64 = 1 << 18;
/// Bytes of a sliver that are multiplied at a time: two such buffers stay in the first-level cache.
const STEP_BYTES: usize = 8 * CHUNK_BYTES;

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
    let chosen = choose(layout, slivers)?;
    let (p, n) = (usize::from(layout.rows()), usize::from(layout.shards()));
    let known: Vec<usize> = chosen.iter().map(|sliver| usize::from(sliver.pair.0)).collect();
    let rows_used = layout.blob_bytes().div_ceil(layout.primary_bytes()) as usize;
    let missing: Vec<usize> = (0..rows_used).filter(|row| !known.contains(row)).collect();
    let coefficients = Coefficients::new(&Code::new(p, n), &known, &missing);
    // The layout has made sure that the crate has this code, and `choose` that the slivers are right.
    let coefficients = coefficients.expect("p different slivers of a supported code determine the rest");
    let mut decoding = Decoding { layout, chosen, coefficients, missing, sink, options, written: 0 };
    decoding.run()
}

/// One of the slivers that are decoded from.
#[derive(Clone, Copy)]
struct Chosen<'a> {
    pair: PairIndex,
    source: &'a dyn ReadAt,
}

/// The first `p` different slivers by index, which takes systematic ones first.
fn choose<'a>(layout: &Layout, slivers: &[(CheckedPrimary, &'a dyn ReadAt)]) -> Result<Vec<Chosen<'a>>, DecodeError> {
    let blob = slivers.first().map(|(checked, _)| checked.blob());
    let mut chosen = Vec::with_capacity(slivers.len());
    for (checked, source) in slivers {
        let pair = checked.pair();
        if Some(checked.blob()) != blob || checked.layout() != *layout {
            return Err(DecodeError::Mixed { pair });
        }
        chosen.push(Chosen { pair, source: *source });
    }
    chosen.sort_by_key(|sliver| sliver.pair);
    chosen.dedup_by_key(|sliver| sliver.pair);
    let needed = usize::from(layout.rows());
    if chosen.len() < needed {
        return Err(DecodeError::TooFew { needed, given: chosen.len() });
    }
    chosen.truncate(needed);
    Ok(chosen)
}

/// One call of [`decode`].
struct Decoding<'a> {
    layout: &'a Layout,
    chosen: Vec<Chosen<'a>>,
    coefficients: Coefficients,
    /// Rows that are not among the chosen, in order; those that are only padding left out.
    missing: Vec<usize>,
    sink: &'a mut dyn Write,
    options: &'a Options<'a>,
    written: u64,
}

impl Decoding<'_> {
    fn run(&mut self) -> Result<(), DecodeError> {
        let row_bytes = self.layout.primary_bytes();
        let together = (self.options.memory_bytes_max as u64 / row_bytes).max(1) as usize;
        let missing = self.missing.clone();
        let mut rows_done = 0;
        for (index, group) in missing.chunks(together).enumerate() {
            let first = index * together;
            self.copy_rows(rows_done, group[0])?;
            if group.len() == 1 {
                // Nothing to wait for: the row goes out as it is computed.
                self.restore(first..first + 1, |decoding, _, part| decoding.write(part))?;
            } else {
                self.restore_group(first, group)?;
            }
            rows_done = group[group.len() - 1] + 1;
        }
        self.copy_rows(rows_done, usize::from(self.layout.rows()))
    }

    /// Restores the missing rows of a group to memory, then writes them with those between them.
    fn restore_group(&mut self, first: usize, group: &[usize]) -> Result<(), DecodeError> {
        let row_bytes = self.layout.primary_bytes() as usize;
        let mut rows: Vec<Vec<u8>> = group.iter().map(|_| Vec::with_capacity(row_bytes)).collect();
        self.restore(first..first + group.len(), |_, index, part| {
            rows[index].extend_from_slice(part);
            Ok(())
        })?;
        for (position, row) in rows.iter().enumerate() {
            self.write(row)?;
            if let Some(next) = group.get(position + 1) {
                self.copy_rows(group[position] + 1, *next)?;
            }
        }
        Ok(())
    }

    /// Copies the rows from `start` to `end`, all of which are among the chosen, as far as they hold the blob.
    fn copy_rows(&mut self, start: usize, end: usize) -> Result<(), DecodeError> {
        let mut buffer = Vec::new();
        for row in start..end {
            let length = self.layout.primary_bytes().min(self.layout.blob_bytes() - self.written);
            let Some(sliver) = self.chosen.iter().find(|sliver| usize::from(sliver.pair.0) == row).copied() else {
                // Only rows of nothing but padding are neither chosen nor missing.
                return Ok(());
            };
            let mut offset = 0;
            while offset < length {
                buffer.resize((length - offset).min(COPY_BYTES) as usize, 0);
                read(sliver, &mut buffer, offset)?;
                self.write(&buffer)?;
                offset += buffer.len() as u64;
            }
        }
        Ok(())
    }

    /// Computes some of the missing rows, part by part: `take` gets the number of the row within the group, and
    /// the parts of each row in order.
    fn restore(
        &mut self,
        group: std::ops::Range<usize>,
        mut take: impl FnMut(&mut Self, usize, &[u8]) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let (p, size) = (self.chosen.len(), self.layout.symbol_bytes());
        let field = Field::new();
        let step = Step::new(size);
        let mut sources: Vec<Vec<Block>> = vec![vec![[0; 64]; step.blocks()]; p];
        let mut sum = vec![[0; 64]; step.blocks()];
        let mut scratch = sum.clone();
        let mut part = vec![0; step.bytes()];
        let mut offset = 0;
        while offset < self.layout.primary_bytes() {
            if self.options.is_cancelled() {
                return Err(DecodeError::Cancelled);
            }
            let within = offset % size;
            let (symbol, count) = step.at(within, (self.layout.primary_bytes() - offset) / size);
            let part = &mut part[..symbol * count];
            let lanes = Lanes::new(symbol);
            let blocks = lanes.blocks() * count.div_ceil(lanes.slots());
            for (sliver, source) in self.chosen.iter().zip(&mut sources) {
                read(*sliver, part, offset)?;
                pack(lanes, part, source);
            }
            for index in group.clone() {
                sum[..blocks].fill([0; 64]);
                for (source, factor) in sources.iter().zip(self.coefficients.row(index)) {
                    field.multiply_add(&mut sum[..blocks], &source[..blocks], *factor, &mut scratch[..blocks]);
                }
                unpack(lanes, &sum, part);
                take(self, index - group.start, part)?;
            }
            offset += part.len() as u64;
        }
        Ok(())
    }

    /// Writes the next bytes of the blob; what is beyond its end is dropped.
    fn write(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        if self.options.is_cancelled() {
            return Err(DecodeError::Cancelled);
        }
        let left = self.layout.blob_bytes() - self.written;
        let bytes = &bytes[..left.min(bytes.len() as u64) as usize];
        let offset = self.written;
        self.sink.write_all(bytes).map_err(|source| DecodeError::Write { offset, source })?;
        self.written += bytes.len() as u64;
        self.options.report(self.written);
        Ok(())
    }
}

fn read(sliver: Chosen<'_>, buffer: &mut [u8], offset: u64) -> Result<(), DecodeError> {
    let (pair, bytes) = (sliver.pair, buffer.len());
    sliver.source.read_exact_at(buffer, offset).map_err(|source| DecodeError::Read { pair, offset, bytes, source })
}

/// How much of a sliver is worked on at a time: a part of one symbol, or several whole ones.
#[derive(Clone, Copy)]
struct Step {
    symbol_bytes: u64,
    symbols: usize,
}

impl Step {
    fn new(symbol_bytes: u64) -> Self {
        Self { symbol_bytes, symbols: (STEP_BYTES as u64 / symbol_bytes).max(1) as usize }
    }

    /// Bytes of the largest step.
    fn bytes(self) -> usize {
        self.symbols * self.symbol_bytes.min(STEP_BYTES as u64) as usize
    }

    /// Blocks of the largest step.
    fn blocks(self) -> usize {
        let lanes = Lanes::new(self.symbol_bytes.min(STEP_BYTES as u64) as usize);
        lanes.blocks() * self.symbols.div_ceil(lanes.slots())
    }

    /// The step that begins `within` bytes into a symbol, with `left` whole symbols from there on: how many
    /// bytes of each symbol, and of how many symbols.
    fn at(self, within: u64, left: u64) -> (usize, usize) {
        let bytes = (self.symbol_bytes - within).min(STEP_BYTES as u64) as usize;
        (bytes, (self.symbols as u64).min(left.max(1)) as usize)
    }
}

/// Neighbouring symbols to blocks.
fn pack(lanes: Lanes, symbols: &[u8], blocks: &mut [Block]) {
    let set = lanes.bytes() * lanes.slots();
    for (symbols, blocks) in symbols.chunks(set).zip(blocks.chunks_mut(lanes.blocks())) {
        for (slot, symbol) in symbols.chunks(lanes.bytes()).enumerate() {
            lanes.put(blocks, slot, symbol);
        }
    }
}

/// Blocks to neighbouring symbols.
fn unpack(lanes: Lanes, blocks: &[Block], symbols: &mut [u8]) {
    let set = lanes.bytes() * lanes.slots();
    for (symbols, blocks) in symbols.chunks_mut(set).zip(blocks.chunks(lanes.blocks())) {
        for (slot, symbol) in symbols.chunks_mut(lanes.bytes()).enumerate() {
            lanes.take(blocks, slot, symbol);
        }
    }
}
