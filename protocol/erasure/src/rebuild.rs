//! Computes one sliver from what others hold: the arithmetic of recovery, and of judging evidence.
//!
//! ```text
//!   from symbols   k symbols of one codeword, one from each helper      the size of the sliver is moved
//!   from lines     p whole primary slivers, for another primary         the size of the blob is moved
//! ```
//!
//! In both the sliver's stored symbols come out, in stripes and in bounded memory, and the hashes of all its `n` symbols.
//! What the sliver should be is the caller's to compare.

use std::io::{self, Write};

use crate::code::Code;
use crate::decode::{Chosen, Step};
use crate::hash::Kernel;
use crate::id::PairIndex;
use crate::io::{ReadAt, WriteAt};
use crate::layout::{Axis, Layout, SliverId};
use crate::leaves::SliverHashes;
use crate::opening::Place;
use crate::options::Options;
use crate::sliver::{Extender, is_zero_after};
use crate::solve::{SolveScratch, Solver};
use crate::stripe::{Stripe, Stripes};

/// Why nothing was computed.
#[derive(Debug)]
pub(crate) enum RebuildError {
    /// What was given at this position could not be read.
    Read {
        position: usize,
        source: io::Error,
    },
    /// The sliver could not be written.
    Write {
        offset: u64,
        source: io::Error,
    },
    Cancelled,
}

/// What was computed.
#[derive(Debug)]
pub(crate) struct Rebuilt {
    pub(crate) hashes: SliverHashes,
    pub(crate) padding_is_zero: bool,
}

/// One sliver that is being computed.
struct Rebuilding<'a> {
    layout: &'a Layout,
    target: SliverId,
    extender: Extender,
    out: Option<&'a dyn WriteAt>,
    padding_is_zero: bool,
}

/// The places in the codeword of a sliver of `axis` that the helpers' symbols have.
pub(crate) fn places(layout: &Layout, axis: Axis, helpers: impl Iterator<Item = PairIndex>) -> Vec<usize> {
    helpers.map(|helper| usize::from(layout.sliver_of(axis.other(), helper))).collect()
}

/// Rebuilds `target` from the symbols of exactly `k` different helpers.
pub(crate) fn from_symbols(
    layout: &Layout,
    target: SliverId,
    symbols: &[(PairIndex, &dyn ReadAt)],
    out: Option<&dyn WriteAt>,
    options: &Options<'_>,
) -> Result<Rebuilt, RebuildError> {
    let (k, n) = (layout.sliver_symbols(target.axis), usize::from(layout.shards()));
    let known = places(layout, target.axis, symbols.iter().map(|(helper, _)| *helper));
    let wanted: Vec<usize> = (0..k).collect();
    let solver = Solver::new(&Code::new(k, n), &known, &wanted);
    let solver = solver.expect("the caller has k different helpers below n");
    let stripes = Stripes::new(layout.symbol_bytes(), 2 * k, options.memory_bytes_max);
    let mut rebuilding = Rebuilding::new(layout, target, out);
    let mut scratch = SolveScratch::default();
    let mut buffers: Vec<Vec<u8>> = vec![Vec::new(); k];
    let mut stripe_of_all = vec![0; k * stripes.bytes()];
    for stripe in stripes.iter() {
        if options.is_cancelled() {
            return Err(RebuildError::Cancelled);
        }
        let mut parts: Vec<&[u8]> = Vec::with_capacity(k);
        for (position, ((_, source), buffer)) in symbols.iter().zip(&mut buffers).enumerate() {
            let part = read(*source, buffer, stripe.start, stripe.bytes);
            parts.push(part.map_err(|source| RebuildError::Read { position, source })?);
        }
        let solved = &mut stripe_of_all[..k * stripe.bytes];
        let mut wanted: Vec<&mut [u8]> = solved.chunks_mut(stripe.bytes).collect();
        solver.solve(stripe.bytes, &parts, &mut wanted, &mut scratch);
        rebuilding.take(stripe, solved)?;
        options.report((stripe.start + stripe.bytes as u64) * k as u64);
    }
    Ok(rebuilding.finish())
}

/// Rebuilds the primary sliver of `pair` from exactly `p` different whole ones.
pub(crate) fn from_lines(
    layout: &Layout,
    pair: PairIndex,
    lines: &[Chosen<'_>],
    out: Option<&dyn WriteAt>,
    options: &Options<'_>,
) -> Result<Rebuilt, RebuildError> {
    let (p, c, n) = (lines.len(), usize::from(layout.columns()), usize::from(layout.shards()));
    let known: Vec<usize> = lines.iter().map(|line| line.line).collect();
    let solver = Solver::new(&Code::new(p, n), &known, &[usize::from(pair.0)]);
    let solver = solver.expect("the caller has p different rows below n");
    let stripes = Stripes::new(layout.symbol_bytes(), c, options.memory_bytes_max / 2);
    let target = SliverId { pair, axis: Axis::Primary };
    let mut rebuilding = Rebuilding::new(layout, target, out);
    let mut stripe_of_all = vec![0; c * stripes.bytes()];
    let mut row = Row { lines, solver, options, scratch: SolveScratch::default(), buffers: vec![Vec::new(); p] };
    for stripe in stripes.iter() {
        let solved = &mut stripe_of_all[..c * stripe.bytes];
        if stripe.bytes as u64 == layout.symbol_bytes() {
            row.fill(solved, 0, stripe.bytes)?;
        } else {
            for (symbol, part) in solved.chunks_mut(stripe.bytes).enumerate() {
                row.fill(part, symbol as u64 * layout.symbol_bytes() + stripe.start, stripe.bytes)?;
            }
        }
        rebuilding.take(stripe, solved)?;
    }
    Ok(rebuilding.finish())
}

/// Writes a whole symbol of a sliver to `sink`, in order: a stored one as it is, one of the extension from all stored ones.
pub(crate) fn symbol_of(
    layout: &Layout,
    place: Place,
    sliver: &dyn ReadAt,
    sink: &mut dyn Write,
    options: &Options<'_>,
) -> Result<(), RebuildError> {
    let (stored, symbol) = (layout.sliver_symbols(place.axis), usize::from(place.symbol));
    // One source, the symbol itself, or all of the stored ones.
    let sources: Vec<usize> = if symbol < stored { vec![symbol] } else { (0..stored).collect() };
    let solver = (symbol >= stored).then(|| {
        let code = Code::new(stored, usize::from(layout.shards()));
        Solver::new(&code, &sources, &[symbol]).expect("the source symbols determine all others")
    });
    let stripes = Stripes::new(layout.symbol_bytes(), sources.len() + 1, options.memory_bytes_max);
    let mut buffers: Vec<Vec<u8>> = vec![Vec::new(); sources.len()];
    let (mut computed, mut scratch) = (Vec::new(), SolveScratch::default());
    for stripe in stripes.iter() {
        if options.is_cancelled() {
            return Err(RebuildError::Cancelled);
        }
        let mut parts: Vec<&[u8]> = Vec::with_capacity(sources.len());
        for (source, buffer) in sources.iter().zip(&mut buffers) {
            let offset = *source as u64 * layout.symbol_bytes() + stripe.start;
            let part = read(sliver, buffer, offset, stripe.bytes);
            parts.push(part.map_err(|source| RebuildError::Read { position: 0, source })?);
        }
        let part = match &solver {
            None => parts[0],
            Some(solver) => {
                computed.resize(stripe.bytes, 0);
                solver.solve(stripe.bytes, &parts, &mut [&mut computed], &mut scratch);
                &computed
            }
        };
        sink.write_all(part).map_err(|source| RebuildError::Write { offset: stripe.start, source })?;
    }
    Ok(())
}

/// A row that is computed from others, a part at a time.
struct Row<'a> {
    lines: &'a [Chosen<'a>],
    solver: Solver,
    options: &'a Options<'a>,
    scratch: SolveScratch,
    buffers: Vec<Vec<u8>>,
}

impl Row<'_> {
    /// Fills `run`, which is whole symbols of `unit` bytes or one stripe of that many, from `start` of all lines on.
    fn fill(&mut self, run: &mut [u8], start: u64, unit: usize) -> Result<(), RebuildError> {
        let step = Step { symbol_bytes: unit as u64, bytes: self.options.memory_bytes_max / (4 * self.lines.len()) };
        let (mut done, end) = (0, run.len());
        while done < end {
            if self.options.is_cancelled() {
                return Err(RebuildError::Cancelled);
            }
            let (count, unit) = step.at(done as u64, end as u64);
            let mut parts: Vec<&[u8]> = Vec::with_capacity(self.lines.len());
            for (position, (line, buffer)) in self.lines.iter().zip(&mut self.buffers).enumerate() {
                let part = read(line.source, buffer, start + done as u64, count);
                parts.push(part.map_err(|source| RebuildError::Read { position, source })?);
            }
            self.solver.solve(unit, &parts, &mut [&mut run[done..done + count]], &mut self.scratch);
            done += count;
        }
        Ok(())
    }
}

impl<'a> Rebuilding<'a> {
    fn new(layout: &'a Layout, target: SliverId, out: Option<&'a dyn WriteAt>) -> Self {
        let (stored, total) = (layout.sliver_symbols(target.axis), usize::from(layout.shards()));
        let extender = Extender::new(stored, total, layout.symbol_bytes());
        Self { layout, target, extender, out, padding_is_zero: true }
    }

    /// Takes the stripe of all stored symbols, one after the other.
    fn take(&mut self, stripe: Stripe, symbols: &[u8]) -> Result<(), RebuildError> {
        let (layout, axis) = (self.layout, self.target.axis);
        let sliver = layout.sliver_of(axis, self.target.pair);
        for (symbol, part) in symbols.chunks(stripe.bytes).enumerate() {
            let content = layout.symbol_content_bytes(axis, sliver, symbol);
            self.padding_is_zero &= is_zero_after(part, content.saturating_sub(stripe.start));
        }
        if let Some(out) = self.out {
            let write = |bytes: &[u8], offset: u64| {
                out.write_all_at(bytes, offset).map_err(|source| RebuildError::Write { offset, source })
            };
            if stripe.bytes as u64 == layout.symbol_bytes() {
                write(symbols, 0)?;
            } else {
                for (symbol, part) in symbols.chunks(stripe.bytes).enumerate() {
                    write(part, symbol as u64 * layout.symbol_bytes() + stripe.start)?;
                }
            }
        }
        self.extender.update(Kernel::detect(), symbols, stripe.bytes);
        Ok(())
    }

    fn finish(self) -> Rebuilt {
        let hashes = self.extender.finish(Kernel::detect());
        let hashes = SliverHashes::new(self.layout, self.target.axis, hashes);
        Rebuilt { hashes, padding_is_zero: self.padding_is_zero }
    }
}

/// `count` bytes from `offset` on: lent by the source, or read into `buffer`.
pub(crate) fn read<'a>(
    source: &'a dyn ReadAt,
    buffer: &'a mut Vec<u8>,
    offset: u64,
    count: usize,
) -> io::Result<&'a [u8]> {
    if let Some(lent) = source.borrow_at(offset, count) {
        return Ok(lent);
    }
    buffer.resize(count, 0);
    source.read_exact_at(buffer, offset)?;
    Ok(buffer)
}
