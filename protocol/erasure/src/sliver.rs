//! The roots of one sliver, from its bytes.
//!
//! Stored symbols alone are hashed as they come, symbol after symbol ([`StoredHasher`]). For the extension a
//! stripe of all symbols is needed at a time ([`check_whole`]): the sliver is read in strips, extended, and all
//! `n` symbols are hashed side by side.

use crate::code::{Block, Code, Lanes};
use crate::engine::Machine;
use crate::error::FragmentError;
use crate::hash::{CHUNK_BYTES, ChunkPlace, Domain, Hash, Kernel};
use crate::id::PairIndex;
use crate::io::ReadAt;
use crate::layout::{Axis, Layout};
use crate::merkle;
use crate::options::Options;
use crate::proof::SliverRoots;
use crate::stripe::Stripes;
use crate::symbols::SymbolHashes;

/// Bytes that are read of a sliver at a time when they are only hashed.
const READ_BYTES: usize = 1 << 18;
/// Bytes of short symbols that are hashed side by side.
const BATCH_BYTES: usize = 16 * CHUNK_BYTES;

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
    /// How many bytes have come.
    done_bytes: u64,
    hashes: Vec<Hash>,
    /// Long symbols: the one at hand.
    hasher: Box<blake3::Hasher>,
    /// Short symbols: those that wait to be hashed side by side.
    batch: Vec<u8>,
    padding_is_zero: bool,
    kernel: Kernel,
}

impl StoredHasher {
    pub(crate) fn new(layout: &Layout, pair: PairIndex, axis: Axis) -> Self {
        Self {
            layout: *layout,
            axis,
            sliver: layout.sliver_of(axis, pair),
            done_bytes: 0,
            hashes: Vec::with_capacity(layout.sliver_symbols(axis)),
            hasher: Box::new(blake3::Hasher::new()),
            batch: Vec::new(),
            padding_is_zero: true,
            kernel: Kernel::detect(),
        }
    }

    /// Adds the next bytes.
    pub(crate) fn update(&mut self, mut part: &[u8]) -> Result<(), FragmentError> {
        let expected = self.layout.sliver_bytes(self.axis);
        let actual = self.done_bytes + part.len() as u64;
        if actual > expected {
            return Err(FragmentError::Length { axis: self.axis, expected, actual });
        }
        let size = self.layout.symbol_bytes();
        while !part.is_empty() {
            let within = self.done_bytes % size;
            let count = (size - within).min(part.len() as u64) as usize;
            let (now, later) = part.split_at(count);
            self.look_at_padding(now, (self.done_bytes / size) as usize, within);
            self.hash(now, within + count as u64 == size);
            self.done_bytes += count as u64;
            part = later;
        }
        Ok(())
    }

    /// Notes a byte other than zero in `part`, which begins `within` bytes into `symbol`, after the content.
    fn look_at_padding(&mut self, part: &[u8], symbol: usize, within: u64) {
        let content = self.layout.symbol_content_bytes(self.axis, self.sliver, symbol);
        self.padding_is_zero &= is_zero_after(part, content.saturating_sub(within));
    }

    fn hash(&mut self, part: &[u8], ends: bool) {
        let size = self.layout.symbol_bytes();
        if size > CHUNK_BYTES as u64 {
            self.hasher.update(part);
            if ends {
                self.hashes.push(*self.hasher.finalize().as_bytes());
                self.hasher.reset();
            }
            return;
        }
        self.batch.extend_from_slice(part);
        if ends && self.batch.len() + size as usize > BATCH_BYTES {
            self.hash_batch();
        }
    }

    fn hash_batch(&mut self) {
        let inputs: Vec<&[u8]> = self.batch.chunks(self.layout.symbol_bytes() as usize).collect();
        let start = self.hashes.len();
        self.hashes.resize(start + inputs.len(), [0; 32]);
        self.kernel.chunks(&inputs, ChunkPlace { index: 0, only: true }, &mut self.hashes[start..]);
        self.batch.clear();
    }

    /// What the sliver is, when all of it has come.
    pub(crate) fn finish(mut self) -> Result<StoredSliver, FragmentError> {
        let expected = self.layout.sliver_bytes(self.axis);
        if self.done_bytes != expected {
            return Err(FragmentError::Length { axis: self.axis, expected, actual: self.done_bytes });
        }
        if !self.batch.is_empty() {
            self.hash_batch();
        }
        let stored = merkle::root(self.kernel, Domain::SymbolNode, &mut self.hashes);
        Ok(StoredSliver { stored, padding_is_zero: self.padding_is_zero })
    }
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
    let mut buffer = vec![0; length.min(READ_BYTES as u64) as usize];
    let mut offset = 0;
    while offset < length {
        if options.is_cancelled() {
            return Err(FragmentError::Cancelled);
        }
        let part = &mut buffer[..(length - offset).min(READ_BYTES as u64) as usize];
        read(source, part, offset)?;
        take(part)?;
        offset += part.len() as u64;
        options.report(offset);
    }
    Ok(())
}

fn read(source: &dyn ReadAt, buffer: &mut [u8], offset: u64) -> Result<(), FragmentError> {
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
            work: vec![[0; 64]; code.work_symbols() * Lanes::new(piece).blocks()],
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
            let lanes = Lanes::new(end - start);
            let blocks = lanes.blocks();
            for (symbol, work) in stripe.chunks(bytes).zip(self.work.chunks_mut(blocks)) {
                lanes.put(work, 0, &symbol[start..end]);
            }
            self.code.extend(self.engine, &mut self.work, blocks);
            let parity = &mut self.parity[..self.code.parity() * (end - start)];
            for (symbol, work) in parity.chunks_mut(end - start).zip(self.work.chunks(blocks)) {
                lanes.take(work, 0, symbol);
            }
            let source = stripe.chunks(bytes).map(|symbol| &symbol[start..end]);
            let inputs: Vec<&[u8]> = source.chain(parity.chunks(end - start)).collect();
            self.hashes.update(kernel, &inputs);
        }
    }
}
