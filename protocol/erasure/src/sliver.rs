//! The roots of one sliver, from its bytes.
//!
//! Stored symbols alone are hashed as they come, symbol after symbol ([`StoredHasher`]). For the extension a
//! stripe of all symbols is needed at a time ([`check_whole`]): the sliver is read in strips, extended, and all
//! `n` symbols are hashed side by side.

use crate::code::{Block, Code, Shape};
use crate::engine::Machine;
use crate::error::FragmentError;
use crate::hash::{CHUNK_BYTES, ChunkPlace, Domain, Hash, Kernel};
use crate::id::PairIndex;
use crate::io::ReadAt;
use crate::layout::{Axis, Layout};
use crate::merkle;
use crate::options::Options;
use crate::proof::SliverRoots;
use crate::short::{NUMBER_BYTES_MAX, short};
use crate::stripe::Stripes;
use crate::symbols::SymbolHashes;

/// Bytes that are read of a sliver at a time when they are only hashed.
const READ_BYTES: usize = 1 << 18;
/// Lanes of the widest machine's hash.
const LANES: usize = 16;
/// Longest symbol that is hashed side by side with others: as many chunks as lanes.
const SHORT_BYTES_MAX: usize = LANES * CHUNK_BYTES;
/// Bytes of short symbols that are hashed side by side, as many as fill all lanes, or as many symbols as lanes if those are
/// more: up to 256 KiB.
const BATCH_BYTES: usize = LANES * CHUNK_BYTES;

/// What was found in the bytes of a sliver.
pub(crate) struct StoredSliver {
    pub(crate) stored: Hash,
    pub(crate) padding_is_zero: bool,
}

/// What was found in the bytes of a sliver and its extension.
pub(crate) struct WholeSliver {
    pub(crate) roots: SliverRoots,
    /// The hashes of all `n` symbols: the stored ones, then those of the extension.
    pub(crate) hashes: Vec<Hash>,
    pub(crate) padding_is_zero: bool,
}

/// Hashes the stored symbols of a sliver as its bytes come.
pub(crate) struct StoredHasher {
    layout: Layout,
    axis: Axis,
    sliver: u16,
    /// The first symbol that has padding, if any.
    padded: usize,
    /// How many bytes have come.
    done_bytes: u64,
    hashes: Vec<Hash>,
    pace: Pace,
    padding_is_zero: bool,
    kernel: Kernel,
}

/// What waits until it can be hashed.
enum Pace {
    /// Symbols that fill all lanes by themselves go one after the other.
    Long(Box<blake3::Hasher>),
    /// Shorter ones go side by side, some whole ones at a time.
    Short { batch: Vec<u8>, batch_bytes: usize },
}

impl StoredHasher {
    pub(crate) fn new(layout: &Layout, pair: PairIndex, axis: Axis) -> Self {
        let (sliver, symbols) = (layout.sliver_of(axis, pair), layout.sliver_symbols(axis));
        let whole = |symbol: &usize| layout.symbol_content_bytes(axis, sliver, *symbol) == layout.symbol_bytes();
        let pace = match usize::try_from(layout.symbol_bytes()).ok().filter(|size| *size <= SHORT_BYTES_MAX) {
            Some(size) => {
                Pace::Short { batch: Vec::new(), batch_bytes: size * (BATCH_BYTES / size / LANES).max(1) * LANES }
            }
            None => Pace::Long(Box::new(blake3::Hasher::new())),
        };
        Self {
            layout: *layout,
            axis,
            sliver,
            padded: if whole(&(symbols - 1)) { symbols } else { (0..symbols).take_while(whole).count() },
            done_bytes: 0,
            hashes: Vec::with_capacity(symbols),
            pace,
            padding_is_zero: true,
            kernel: Kernel::detect(),
        }
    }

    /// Adds the next bytes.
    pub(crate) fn update(&mut self, part: &[u8]) -> Result<(), FragmentError> {
        let expected = self.layout.sliver_bytes(self.axis);
        let actual = self.done_bytes + part.len() as u64;
        if actual > expected {
            return Err(FragmentError::Length { axis: self.axis, expected, actual });
        }
        self.look_at_padding(part);
        let size = self.layout.symbol_bytes();
        match &mut self.pace {
            Pace::Long(hasher) => {
                let (mut done, mut part) = (self.done_bytes, part);
                while !part.is_empty() {
                    let (now, later) = part.split_at((size - done % size).min(part.len() as u64) as usize);
                    hasher.update(now);
                    done += now.len() as u64;
                    if done.is_multiple_of(size) {
                        self.hashes.push(*hasher.finalize().as_bytes());
                        hasher.reset();
                    }
                    part = later;
                }
            }
            Pace::Short { batch, batch_bytes } => {
                let mut rest = part;
                if !batch.is_empty() {
                    let (now, later) = rest.split_at((*batch_bytes - batch.len()).min(rest.len()));
                    batch.extend_from_slice(now);
                    rest = later;
                }
                if batch.len() == *batch_bytes {
                    hash_symbols(self.kernel, size as usize, batch, &mut self.hashes);
                    batch.clear();
                }
                // What makes whole batches is hashed where it is, and so is the end.
                let whole = if actual == expected { rest.len() } else { rest.len() / *batch_bytes * *batch_bytes };
                let (now, later) = rest.split_at(if batch.is_empty() { whole } else { 0 });
                hash_symbols(self.kernel, size as usize, now, &mut self.hashes);
                batch.extend_from_slice(later);
            }
        }
        self.done_bytes = actual;
        Ok(())
    }

    /// Notes a byte other than zero in the next `part` of the sliver, after the content of its symbol.
    fn look_at_padding(&mut self, part: &[u8]) {
        let size = self.layout.symbol_bytes();
        let (start, end) = (self.done_bytes, self.done_bytes + part.len() as u64);
        let mut at = start.max(self.padded as u64 * size);
        while at < end {
            let next = end.min((at / size + 1) * size);
            let content = self.layout.symbol_content_bytes(self.axis, self.sliver, (at / size) as usize);
            let now = &part[(at - start) as usize..(next - start) as usize];
            self.padding_is_zero &= is_zero_after(now, content.saturating_sub(at % size));
            at = next;
        }
    }

    /// What the sliver is, when all of it has come.
    pub(crate) fn finish(mut self) -> Result<StoredSliver, FragmentError> {
        let expected = self.layout.sliver_bytes(self.axis);
        if self.done_bytes != expected {
            return Err(FragmentError::Length { axis: self.axis, expected, actual: self.done_bytes });
        }
        if let Pace::Short { batch, .. } = &self.pace {
            hash_symbols(self.kernel, self.layout.symbol_bytes() as usize, batch, &mut self.hashes);
        }
        let stored = merkle::root(self.kernel, Domain::SymbolNode, &mut self.hashes);
        Ok(StoredSliver { stored, padding_is_zero: self.padding_is_zero })
    }
}

/// Adds the hashes of whole symbols that lie one after the other.
fn hash_symbols(kernel: Kernel, size: usize, symbols: &[u8], hashes: &mut Vec<Hash>) {
    if symbols.is_empty() {
        return;
    }
    let start = hashes.len();
    hashes.resize(start + symbols.len() / size, [0; 32]);
    if size <= NUMBER_BYTES_MAX {
        let numbers: Vec<u64> = (0..symbols.len()).step_by(size).map(|at| short(&symbols[at..], size)).collect();
        return kernel.shorts(&numbers, size, &mut hashes[start..]);
    }
    if size <= CHUNK_BYTES {
        let inputs: Vec<&[u8]> = symbols.chunks(size).collect();
        kernel.chunks(&inputs, ChunkPlace { index: 0, only: true }, &mut hashes[start..]);
        return;
    }
    let mut states = SymbolHashes::new(symbols.len() / size, size as u64);
    for at in (0..size).step_by(CHUNK_BYTES) {
        let end = size.min(at + CHUNK_BYTES);
        let inputs: Vec<&[u8]> = symbols.chunks(size).map(|symbol| &symbol[at..end]).collect();
        states.update(kernel, &inputs);
    }
    hashes[start..].copy_from_slice(states.finish(kernel));
}

/// Whether all bytes of `part` from `content` on are zero.
pub(crate) fn is_zero_after(part: &[u8], content: u64) -> bool {
    let content = usize::try_from(content).unwrap_or(usize::MAX);
    part.get(content..).is_none_or(|padding| padding.iter().all(|byte| *byte == 0))
}

/// Reads `length` bytes of `source` in order and hands them on in parts.
pub(crate) fn read_through(
    source: &dyn ReadAt,
    length: u64,
    options: &Options<'_>,
    mut take: impl FnMut(&[u8]) -> Result<(), FragmentError>,
) -> Result<(), FragmentError> {
    let mut buffer = Vec::new();
    let mut offset = 0;
    while offset < length {
        if options.is_cancelled() {
            return Err(FragmentError::Cancelled);
        }
        let count = (length - offset).min(READ_BYTES as u64) as usize;
        if let Some(part) = source.borrow_at(offset, count) {
            take(part)?;
        } else {
            buffer.resize(count, 0);
            read(source, &mut buffer, offset)?;
            take(&buffer)?;
        }
        offset += count as u64;
        options.report(offset);
    }
    Ok(())
}

pub(crate) fn read(source: &dyn ReadAt, buffer: &mut [u8], offset: u64) -> Result<(), FragmentError> {
    let bytes = buffer.len();
    source.read_exact_at(buffer, offset).map_err(|source| FragmentError::Read { offset, bytes, source })
}

/// Both roots of the sliver of `axis` in `pair`, whose bytes begin at `offset` of `source`.
pub(crate) fn check_whole(
    layout: &Layout,
    pair: PairIndex,
    axis: Axis,
    (source, offset): (&dyn ReadAt, u64),
    options: &Options<'_>,
) -> Result<WholeSliver, FragmentError> {
    let kernel = Kernel::detect();
    let stored = layout.sliver_symbols(axis);
    let sliver = layout.sliver_of(axis, pair);
    let mut extender = Extender::new(stored, usize::from(layout.shards()), layout.symbol_bytes());
    let stripes = Stripes::new(layout.symbol_bytes(), stored, options.memory_bytes_max);
    let mut buffer = vec![0; stored * stripes.bytes()];
    let mut padding_is_zero = true;
    for stripe in stripes.iter() {
        if options.is_cancelled() {
            return Err(FragmentError::Cancelled);
        }
        let buffer = &mut buffer[..stored * stripe.bytes];
        if stripe.bytes as u64 == layout.symbol_bytes() {
            read(source, buffer, offset)?;
        } else {
            for (symbol, part) in buffer.chunks_mut(stripe.bytes).enumerate() {
                read(source, part, offset + symbol as u64 * layout.symbol_bytes() + stripe.start)?;
            }
        }
        for (symbol, part) in buffer.chunks(stripe.bytes).enumerate() {
            let content = layout.symbol_content_bytes(axis, sliver, symbol);
            padding_is_zero &= is_zero_after(part, content.saturating_sub(stripe.start));
        }
        extender.update(kernel, buffer, stripe.bytes);
        options.report(offset + (stripe.start + stripe.bytes as u64) * stored as u64);
    }
    let hashes = extender.finish(kernel);
    let roots = roots_of(kernel, &hashes, stored);
    Ok(WholeSliver { roots, hashes, padding_is_zero })
}

/// The roots of a sliver that stores `stored` symbols, from the hashes of all `n`.
pub(crate) fn roots_of(kernel: Kernel, hashes: &[Hash], stored: usize) -> SliverRoots {
    let (mut stored, mut extension) = (hashes[..stored].to_vec(), hashes[stored..].to_vec());
    let root = |hashes: &mut [Hash]| merkle::root(kernel, Domain::SymbolNode, hashes);
    SliverRoots { stored: root(&mut stored), extension: root(&mut extension) }
}

/// Extends one codeword and hashes all its symbols, piece by piece.
pub(crate) struct Extender {
    code: Code,
    engine: Machine,
    work: Vec<Block>,
    parity: Vec<u8>,
    hashes: SymbolHashes,
}

impl Extender {
    /// For a codeword of `total` symbols of `symbol_bytes`, the first `source` of which will come.
    pub(crate) fn new(source: usize, total: usize, symbol_bytes: u64) -> Self {
        let code = Code::new(source, total);
        let piece = symbol_bytes.min(CHUNK_BYTES as u64) as usize;
        Self {
            code,
            engine: Machine::detect(),
            work: vec![[0; 64]; code.work_symbols() * Shape::new(piece, 1).blocks()],
            parity: vec![0; code.parity() * piece],
            hashes: SymbolHashes::new(total, symbol_bytes),
        }
    }

    /// The hashes of all `total` symbols, when all stripes have come.
    pub(crate) fn finish(mut self, kernel: Kernel) -> Vec<Hash> {
        self.hashes.finish(kernel).to_vec()
    }

    /// Adds a stripe: `bytes` bytes of each source symbol, one after the other, as [`Stripes`] cuts them.
    pub(crate) fn update(&mut self, kernel: Kernel, stripe: &[u8], bytes: usize) {
        for start in (0..bytes).step_by(CHUNK_BYTES) {
            let end = bytes.min(start + CHUNK_BYTES);
            let shape = Shape::new(end - start, 1);
            let source = |symbol: usize, _| &stripe[symbol * bytes..][start..end];
            self.code.extend_from(self.engine, shape, source, &mut self.work);
            let symbols = self.work.chunks(shape.blocks());
            if shape.in_place(&self.work, 0).is_none() {
                let parity = self.parity.chunks_mut(end - start).take(self.code.parity());
                parity.zip(symbols.clone()).for_each(|(into, symbol)| shape.take(symbol, 0, into));
            }
            let parity = self.parity.chunks(end - start).take(self.code.parity()).zip(symbols);
            let parity = parity.map(|(copied, symbol)| shape.in_place(symbol, 0).unwrap_or(copied));
            let source = stripe.chunks(bytes).map(|symbol| &symbol[start..end]);
            let inputs: Vec<&[u8]> = source.chain(parity).collect();
            self.hashes.update(kernel, &inputs);
        }
    }
}
