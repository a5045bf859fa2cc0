//! Reed-Solomon over GF(2^16), in place, for symbols of any even length.
//!
//! The code is that of `reed-solomon-simd`: the first `k` symbols of a codeword are the source, the other
//! `n - k` its `encode(k, n - k, ..)`. Only the crate's transforms are called here, on memory of ours, so
//! that tables, buffers and copies are spent once and not per codeword.
//!
//! An element is two bytes that stand 32 apart in a block of 64: the low byte in the first half. Bytes
//! beyond the last whole block of a symbol are split in two halves that go to the starts of the two halves
//! of one more block. The code works element by element, hence symbols may be cut at any multiple of 64
//! bytes, and short symbols of different codewords may share a block: see [`Lanes`].
//!
//! # Source
//! Lin, Chung, Han: Novel polynomial basis and its application to Reed-Solomon erasure codes (FOCS 2014), as
//! done in Leopard and `reed-solomon-simd` (`src/rate/rate_high.rs`, `rate_low.rs`). A test compares.

use reed_solomon_simd::engine::{DefaultEngine, Engine, ShardsRefMut};
use reed_solomon_simd::rate::{HighRate, Rate};

use crate::engine::Machine;

/// A block of 32 elements.
pub(crate) type Block = [u8; 64];

/// Which of the two transforms the crate picks for a code. They give different codewords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transform {
    High,
    Low,
}

/// Which points a set is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LocatorOf {
    Known,
    Unknown,
}

/// A code of `n` symbols of which the first `k` are the source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Code {
    source: usize,
    total: usize,
    transform: Transform,
    /// Symbols transformed at a time: a power of two.
    chunk: usize,
}

impl Code {
    /// The code from `source` to `total` symbols, which `reed-solomon-simd` must support.
    pub(crate) fn new(source: usize, total: usize) -> Self {
        let parity = total - source;
        let (source_pow2, parity_pow2) = (source.next_power_of_two(), parity.next_power_of_two());
        // As `DefaultRate` chooses: on equal powers it takes the rate of the other case.
        let high = source_pow2 > parity_pow2 || (source_pow2 == parity_pow2 && source <= parity);
        debug_assert!(!high || <HighRate<DefaultEngine> as Rate<DefaultEngine>>::supports(source, parity));
        let (transform, chunk) = if high { (Transform::High, parity_pow2) } else { (Transform::Low, source_pow2) };
        Self { source, total, transform, chunk }
    }

    /// Symbols of the source.
    pub(crate) fn source(&self) -> usize {
        self.source
    }

    /// Symbols that are computed.
    pub(crate) fn parity(&self) -> usize {
        self.total - self.source
    }

    /// How many symbols a codeword has.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Points of the smallest domain the codeword fits in: a power of two.
    pub(crate) fn points(&self) -> usize {
        let last = match self.transform {
            Transform::High => self.source,
            Transform::Low => self.parity(),
        };
        (self.chunk + last).next_power_of_two()
    }

    /// The point at which the symbol at `index` is a value of the codeword's polynomial.
    pub(crate) fn point(&self, index: usize) -> usize {
        match (self.transform, index.checked_sub(self.source)) {
            (Transform::High, None) => self.chunk + index,
            (Transform::High, Some(parity)) => parity,
            (Transform::Low, None) => index,
            (Transform::Low, Some(parity)) => self.chunk + parity,
        }
    }

    /// For a decoding from the symbols at `known`: the set of points over which the products of the decoding's
    /// factors run, and whether it is that of the known points (else that of the unknown ones). See
    /// [`crate::locator`].
    pub(crate) fn locator_points(&self, known: &[usize]) -> (Vec<usize>, LocatorOf) {
        match self.transform {
            // Zeros stand between the source and the end of its chunk.
            Transform::Low => (
                known.iter().map(|index| self.point(*index)).chain(self.source..self.chunk).collect(),
                LocatorOf::Known,
            ),
            // All beyond the source are zeros; nobody has the parity between `n - k` and the chunk's end.
            Transform::High => {
                let mut there = vec![false; self.total];
                known.iter().for_each(|index| there[*index] = true);
                let missing = (0..self.total).filter(|index| !there[*index]).map(|index| self.point(index));
                (missing.chain(self.parity()..self.chunk).collect(), LocatorOf::Unknown)
            }
        }
    }

    /// How many symbols the working memory of [`Code::extend`] has.
    pub(crate) fn work_symbols(&self) -> usize {
        self.source.max(self.parity()).next_multiple_of(self.chunk)
    }

    /// Computes the parity. `work` has [`Code::work_symbols`] symbols of `blocks` blocks; the source is in the
    /// first `k`, what is in the others does not matter. Afterwards the first `n - k` are the parity.
    pub(crate) fn extend(&self, engine: Machine, work: &mut [Block], blocks: usize) {
        match self.transform {
            Transform::High => self.extend_high(engine, work, blocks),
            Transform::Low => self.extend_low(engine, work, blocks),
        }
    }

    fn extend_high(&self, engine: Machine, work: &mut [Block], blocks: usize) {
        let (chunk, symbols) = (self.chunk, self.work_symbols());
        work[self.source * blocks..symbols * blocks].fill([0; 64]);
        let first = self.source.min(chunk);
        engine.ifft(&mut ShardsRefMut::new(symbols, blocks, work), 0, chunk, first, chunk);
        let mut start = chunk;
        while start < self.source {
            let count = chunk.min(self.source - start);
            engine.ifft(&mut ShardsRefMut::new(symbols, blocks, work), start, chunk, count, start + chunk);
            let (head, tail) = work.split_at_mut(start * blocks);
            xor(&mut head[..chunk * blocks], &tail[..chunk * blocks]);
            start += chunk;
        }
        engine.fft(&mut ShardsRefMut::new(symbols, blocks, work), 0, chunk, self.parity(), 0);
    }

    fn extend_low(&self, engine: Machine, work: &mut [Block], blocks: usize) {
        let (chunk, symbols, parity) = (self.chunk, self.work_symbols(), self.parity());
        work[self.source * blocks..chunk * blocks].fill([0; 64]);
        engine.ifft(&mut ShardsRefMut::new(symbols, blocks, work), 0, chunk, self.source, 0);
        for start in (chunk..parity).step_by(chunk) {
            work.copy_within(0..chunk * blocks, start * blocks);
        }
        for start in (0..parity).step_by(chunk) {
            let count = chunk.min(parity - start);
            engine.fft(&mut ShardsRefMut::new(symbols, blocks, work), start, chunk, count, start + chunk);
        }
    }
}

/// `into ^= from`, block by block.
pub(crate) fn xor(into: &mut [Block], from: &[Block]) {
    for (into, from) in into.iter_mut().zip(from) {
        for (into, from) in into.iter_mut().zip(from) {
            *into ^= from;
        }
    }
}

/// How the bytes of a stripe of a symbol lie in blocks, and how many codewords share them.
///
/// A stripe of 64 bytes and more has its blocks for itself. Shorter ones stand side by side: a block has
/// room for `32 / (bytes / 2)` of them, each in a *slot*.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes {
    bytes: usize,
}

impl Lanes {
    /// Lanes for stripes of `bytes` bytes: even, at least 2.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bytes }
    }

    /// Bytes of one stripe of a symbol.
    pub(crate) fn bytes(self) -> usize {
        self.bytes
    }

    /// Blocks of one symbol.
    pub(crate) fn blocks(self) -> usize {
        self.bytes.div_ceil(64)
    }

    /// How many codewords share the blocks.
    pub(crate) fn slots(self) -> usize {
        if self.bytes < 64 { 32 / (self.bytes / 2) } else { 1 }
    }

    /// Writes the stripe `from` to its `slot` of the symbol's blocks.
    pub(crate) fn put(self, symbol: &mut [Block], slot: usize, from: &[u8]) {
        let (whole, tail) = from.split_at(self.bytes / 64 * 64);
        symbol.as_flattened_mut()[..whole.len()].copy_from_slice(whole);
        if !tail.is_empty() {
            let half = tail.len() / 2;
            let block = &mut symbol[whole.len() / 64];
            block[slot * half..][..half].copy_from_slice(&tail[..half]);
            block[32 + slot * half..][..half].copy_from_slice(&tail[half..]);
        }
    }

    /// Reads the stripe in `slot` of the symbol's blocks.
    pub(crate) fn take(self, symbol: &[Block], slot: usize, into: &mut [u8]) {
        let (whole, tail) = into.split_at_mut(self.bytes / 64 * 64);
        whole.copy_from_slice(&symbol.as_flattened()[..whole.len()]);
        if !tail.is_empty() {
            let half = tail.len() / 2;
            let block = &symbol[whole.len() / 64];
            tail[..half].copy_from_slice(&block[slot * half..][..half]);
            tail[half..].copy_from_slice(&block[32 + slot * half..][..half]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(seed: usize, bytes: usize) -> Vec<u8> {
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill_vec(bytes)
    }

    trait FillVec {
        fn fill_vec(self, bytes: usize) -> Vec<u8>;
    }

    impl FillVec for blake3::OutputReader {
        fn fill_vec(mut self, bytes: usize) -> Vec<u8> {
            let mut vec = vec![0; bytes];
            self.fill(&mut vec);
            vec
        }
    }

    #[test]
    fn extension_is_that_of_the_crate_also_when_lanes_are_shared() {
        let engine = Machine::detect();
        let codes = (4..50).chain([64, 100, 128, 129, 1000]).flat_map(|n| {
            let f = (n - 1) / 3;
            [(n - 2 * f, n), (n - f, n)]
        });
        for (k, n) in codes {
            let code = Code::new(k, n);
            for bytes in [2, 4, 6, 30, 62, 64, 66, 190] {
                let lanes = Lanes::new(bytes);
                let blocks = lanes.blocks();
                // Whatever was in the memory before must not matter.
                let mut work = vec![[0xa5; 64]; code.work_symbols() * blocks];
                let words: Vec<Vec<Vec<u8>>> = (0..lanes.slots())
                    .map(|slot| (0..k).map(|i| symbol(slot * 1_000_000 + i, bytes)).collect())
                    .collect();
                for (slot, word) in words.iter().enumerate() {
                    for (i, symbol) in word.iter().enumerate() {
                        lanes.put(&mut work[i * blocks..(i + 1) * blocks], slot, symbol);
                    }
                }
                code.extend(engine, &mut work, blocks);
                for (slot, word) in words.iter().enumerate() {
                    let expected = reed_solomon_simd::encode(k, n - k, word).unwrap();
                    for (i, expected) in expected.iter().enumerate() {
                        let mut parity = vec![0; bytes];
                        lanes.take(&work[i * blocks..(i + 1) * blocks], slot, &mut parity);
                        assert_eq!(&parity, expected, "{k} of {n}, {bytes} bytes, symbol {i}");
                    }
                    if k > 100 {
                        break;
                    }
                }
            }
        }
    }
}
