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
use crate::short::{put_short, take_short};

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
    pub(crate) fn extend(&self, machine: Machine, work: &mut [Block], blocks: usize) {
        self.transform(machine, work, blocks, |work, start, count| {
            work[(start + count) * blocks..(start + self.chunk) * blocks].fill([0; 64]);
            let delta = self.skew_delta(start);
            machine.ifft(&mut ShardsRefMut::new(work.len() / blocks, blocks, work), start, self.chunk, count, delta);
        });
    }

    /// Computes the parity of `shape.words()` codewords at a time, whose source symbols are where `source` says: by
    /// symbol and word, [`Shape::bytes`] bytes. `work` has [`Code::work_symbols`] symbols of [`Shape::blocks`] blocks; what is
    /// in it does not matter. Afterwards the first `n - k` are the parity.
    pub(crate) fn extend_from<'a>(
        &self,
        machine: Machine,
        shape: Shape,
        source: impl Fn(usize, usize) -> &'a [u8],
        work: &mut [Block],
    ) {
        let blocks = shape.blocks();
        self.transform(machine, work, blocks, |work, start, count| {
            let part = &mut work[start * blocks..(start + self.chunk) * blocks];
            // The first two layers of butterflies read the whole blocks where they are.
            let fused = machine.fuses() && self.chunk >= 4;
            for (index, symbol) in part.chunks_mut(blocks).enumerate() {
                if index >= count {
                    symbol.fill([0; 64]);
                    continue;
                }
                for word in 0..shape.words() {
                    let from = source(start + index, word);
                    if fused { shape.put_tail(symbol, word, from) } else { shape.put(symbol, word, from) }
                }
            }
            let span = Span { size: self.chunk, count, skew_delta: self.skew_delta(start) };
            if fused {
                let whole = |symbol: usize, word: usize| {
                    (symbol < count).then(|| &source(start + symbol, word)[..shape.whole_bytes()])
                };
                machine.ifft_from(part, shape, span, whole);
            } else {
                let mut shards = ShardsRefMut::new(self.chunk, blocks, part);
                machine.ifft(&mut shards, 0, span.size, span.count, span.skew_delta);
            }
        });
    }

    /// The same for pieces so short ([`crate::short`]) that they are numbers: `source` says which, by symbol and word.
    pub(crate) fn extend_short(
        &self,
        machine: Machine,
        shape: Shape,
        source: impl Fn(usize, usize) -> u64,
        work: &mut [Block],
    ) {
        let blocks = shape.blocks();
        self.transform(machine, work, blocks, |work, start, count| {
            let part = &mut work[start * blocks..(start + self.chunk) * blocks];
            for (index, symbol) in part.chunks_mut(blocks).enumerate() {
                if index < count {
                    shape.put_short(symbol, |word| source(start + index, word));
                } else {
                    symbol.fill([0; 64]);
                }
            }
            machine.ifft(
                &mut ShardsRefMut::new(self.chunk, blocks, part),
                0,
                self.chunk,
                count,
                self.skew_delta(start),
            );
        });
    }

    fn skew_delta(&self, start: usize) -> usize {
        match self.transform {
            Transform::High => start + self.chunk,
            Transform::Low => start,
        }
    }

    /// The transforms of an extension. `load(work, start, count)` brings the chunk of the source that begins at symbol
    /// `start` and has `count` symbols to the same place in `work`, inversely transformed.
    fn transform(
        &self,
        machine: Machine,
        work: &mut [Block],
        blocks: usize,
        load: impl Fn(&mut [Block], usize, usize),
    ) {
        let (chunk, symbols, parity) = (self.chunk, self.work_symbols(), self.parity());
        let work = &mut work[..symbols * blocks];
        match self.transform {
            Transform::High => {
                for start in (0..self.source).step_by(chunk) {
                    load(work, start, chunk.min(self.source - start));
                    if start > 0 {
                        let (head, tail) = work.split_at_mut(start * blocks);
                        machine.xor(&mut head[..chunk * blocks], &tail[..chunk * blocks]);
                    }
                }
                machine.fft(&mut ShardsRefMut::new(symbols, blocks, work), 0, chunk, parity, 0);
            }
            Transform::Low => {
                load(work, 0, self.source);
                for start in (chunk..parity).step_by(chunk) {
                    work.copy_within(0..chunk * blocks, start * blocks);
                }
                for start in (0..parity).step_by(chunk) {
                    let count = chunk.min(parity - start);
                    machine.fft(&mut ShardsRefMut::new(symbols, blocks, work), start, chunk, count, start + chunk);
                }
            }
        }
    }
}

/// What an inverse transform runs over: `size` symbols, a power of two, of which the first `count` are not zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) size: usize,
    pub(crate) count: usize,
    pub(crate) skew_delta: usize,
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

    /// Blocks of one symbol.
    pub(crate) fn blocks(self) -> usize {
        self.bytes.div_ceil(64)
    }

    /// How many codewords share the blocks.
    pub(crate) fn slots(self) -> usize {
        if self.bytes < 64 { 32 / (self.bytes / 2) } else { 1 }
    }

    /// Writes the stripe `from` to its `slot` of the symbol's blocks.
    #[inline]
    pub(crate) fn put(self, symbol: &mut [Block], slot: usize, from: &[u8]) {
        let (whole, tail) = from.split_at(self.bytes / 64 * 64);
        symbol.as_flattened_mut()[..whole.len()].copy_from_slice(whole);
        if !tail.is_empty() {
            let half = tail.len() / 2;
            let block = &mut symbol[whole.len() / 64];
            copy_short(&mut block[slot * half..][..half], &tail[..half]);
            copy_short(&mut block[32 + slot * half..][..half], &tail[half..]);
        }
    }

    /// Reads the stripe in `slot` of the symbol's blocks.
    #[inline]
    pub(crate) fn take(self, symbol: &[Block], slot: usize, into: &mut [u8]) {
        let (whole, tail) = into.split_at_mut(self.bytes / 64 * 64);
        whole.copy_from_slice(&symbol.as_flattened()[..whole.len()]);
        if !tail.is_empty() {
            let half = tail.len() / 2;
            let block = &symbol[whole.len() / 64];
            copy_short(&mut tail[..half], &block[slot * half..][..half]);
            copy_short(&mut tail[half..], &block[32 + slot * half..][..half]);
        }
    }
}

/// Copies less than 32 bytes, of both as many, without a call: there are millions of one byte or two.
#[inline(always)]
fn copy_short(to: &mut [u8], from: &[u8]) {
    let length = to.len();
    // Beginning and end may overlap.
    macro_rules! ends {
        ($bytes:literal) => {{
            to[..$bytes].copy_from_slice(&from[..$bytes]);
            to[length - $bytes..].copy_from_slice(&from[length - $bytes..]);
        }};
    }
    match length {
        0 => {}
        1 => to[0] = from[0],
        2..4 => ends!(2),
        4..8 => ends!(4),
        8..16 => ends!(8),
        _ => ends!(16),
    }
}

/// How pieces of one length of several codewords lie in the blocks of a symbol: the whole blocks of each, word by word,
/// then what is left of each after them, packed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    words: usize,
    /// Whole blocks of a piece.
    whole: usize,
    tail: Option<Lanes>,
    tail_blocks: usize,
}

impl Shape {
    /// For `words` codewords and pieces of `bytes` bytes: even, at least 2.
    pub(crate) fn new(bytes: usize, words: usize) -> Self {
        let tail = (!bytes.is_multiple_of(64)).then(|| Lanes::new(bytes % 64));
        let tail_blocks = tail.map_or(0, |lanes| words.div_ceil(lanes.slots()));
        Self { words, whole: bytes / 64, tail, tail_blocks }
    }

    /// As many words as make at most `blocks` blocks, but at least one; what is packed fills its blocks if it can.
    pub(crate) fn fitting(bytes: usize, blocks: usize) -> Self {
        let slots = Self::new(bytes, 1).tail.map_or(1, Lanes::slots);
        let (mut words, mut step) = (1, 1);
        loop {
            if Self::new(bytes, words + step).blocks() > blocks {
                break;
            }
            words += step;
            if words + 1 == slots || words == slots {
                (words, step) = (slots, slots);
            }
        }
        Self::new(bytes, words)
    }

    /// Codewords side by side.
    pub(crate) fn words(self) -> usize {
        self.words
    }

    /// Blocks of a symbol of all words.
    pub(crate) fn blocks(self) -> usize {
        self.words * self.whole + self.tail_blocks
    }

    /// Whole blocks of each word.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn whole(self) -> usize {
        self.whole
    }

    /// Bytes of them.
    pub(crate) fn whole_bytes(self) -> usize {
        64 * self.whole
    }

    /// Writes the piece of a word to its places in a symbol.
    pub(crate) fn put(self, symbol: &mut [Block], word: usize, from: &[u8]) {
        symbol[word * self.whole..(word + 1) * self.whole]
            .as_flattened_mut()
            .copy_from_slice(&from[..self.whole_bytes()]);
        self.put_tail(symbol, word, from);
    }

    /// Writes what is left of a piece after its whole blocks.
    #[inline]
    pub(crate) fn put_tail(self, symbol: &mut [Block], word: usize, from: &[u8]) {
        if let Some(lanes) = self.tail {
            let block = self.words * self.whole + word / lanes.slots();
            lanes.put(&mut symbol[block..=block], word % lanes.slots(), &from[self.whole_bytes()..]);
        }
    }

    /// Reads the piece of a word from its places in a symbol.
    #[inline]
    pub(crate) fn take(self, symbol: &[Block], word: usize, into: &mut [u8]) {
        let (whole, tail) = into.split_at_mut(self.whole_bytes());
        whole.copy_from_slice(symbol[word * self.whole..(word + 1) * self.whole].as_flattened());
        if let Some(lanes) = self.tail {
            let block = self.words * self.whole + word / lanes.slots();
            lanes.take(&symbol[block..=block], word % lanes.slots(), tail);
        }
    }

    /// Writes the short pieces of all words to their places in a symbol.
    fn put_short(self, symbol: &mut [Block], piece: impl Fn(usize) -> u64) {
        match self.tail.map_or(0, |lanes| lanes.bytes / 2) {
            1 => put_short::<1>(symbol, self.words, piece),
            2 => put_short::<2>(symbol, self.words, piece),
            3 => put_short::<3>(symbol, self.words, piece),
            _ => put_short::<4>(symbol, self.words, piece),
        }
    }

    /// Reads the short pieces of all words from their places in a symbol.
    pub(crate) fn take_short(self, symbol: &[Block], take: impl FnMut(usize, u64)) {
        match self.tail.map_or(0, |lanes| lanes.bytes / 2) {
            1 => take_short::<1>(symbol, self.words, take),
            2 => take_short::<2>(symbol, self.words, take),
            3 => take_short::<3>(symbol, self.words, take),
            _ => take_short::<4>(symbol, self.words, take),
        }
    }

    /// The piece of a word where it is, if it is there in one piece.
    pub(crate) fn in_place(self, symbol: &[Block], word: usize) -> Option<&[u8]> {
        self.tail.is_none().then(|| symbol[word * self.whole..(word + 1) * self.whole].as_flattened())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::short::{NUMBER_BYTES_MAX, short, write_shorts};

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
                let shapes = [Shape::new(bytes, lanes.slots()), Shape::fitting(bytes, 7), Shape::new(bytes, 3)];
                let machines = [Machine::detect(), Machine::stock()];
                for (shape, machine) in shapes.into_iter().flat_map(|shape| machines.map(|machine| (shape, machine))) {
                    let mut from_afar = vec![[0xa5; 64]; code.work_symbols() * shape.blocks()];
                    let source = |symbol: usize, word: usize| words[word % words.len()][symbol].as_slice();
                    code.extend_from(machine, shape, source, &mut from_afar);
                    for (index, symbol) in from_afar.chunks(shape.blocks()).take(n - k).enumerate() {
                        for word in 0..shape.words() {
                            let (mut expected, mut found) = (vec![0; bytes], vec![0; bytes]);
                            lanes.take(&work[index * blocks..(index + 1) * blocks], word % words.len(), &mut expected);
                            shape.take(symbol, word, &mut found);
                            assert_eq!(found, expected, "{k} of {n}, {bytes} bytes, symbol {index}, {shape:?}");
                            assert!(shape.in_place(symbol, word).is_none_or(|bytes| bytes == expected));
                        }
                    }
                }
                for (shape, machine) in shapes.into_iter().flat_map(|shape| machines.map(|machine| (shape, machine))) {
                    if bytes > NUMBER_BYTES_MAX {
                        continue;
                    }
                    let mut from_numbers = vec![[0xa5; 64]; code.work_symbols() * shape.blocks()];
                    let source = |symbol: usize, word: usize| short(&words[word % words.len()][symbol], bytes);
                    code.extend_short(machine, shape, source, &mut from_numbers);
                    for (index, symbol) in from_numbers.chunks(shape.blocks()).take(n - k).enumerate() {
                        shape.take_short(symbol, |word, found| {
                            let mut expected = vec![0; bytes];
                            lanes.take(&work[index * blocks..(index + 1) * blocks], word % words.len(), &mut expected);
                            let mut written = vec![0; 2 * bytes];
                            write_shorts(&mut written, bytes, &[found, found]);
                            assert_eq!(written, [&expected[..], &expected].concat(), "{k} of {n}, {shape:?}");
                        });
                    }
                }
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
