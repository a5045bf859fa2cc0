//! BLAKE3's compression for many inputs at a time, on x86-64: sixteen lanes of AVX-512 or eight of AVX2.
//!
//! BLAKE3's own kernel for many inputs begins every input with the same chaining value and takes whole blocks only.
//! Symbols end within blocks, and stripes may begin within chunks; so here every lane has its own chaining
//! value and the last block may be short. A register holds one word of all lanes; blocks are loaded
//! lane by lane and transposed.
//!
//! # Unsafe
//! Loads and stores through slices whose length is compared first, and the calls into functions that need the
//! instructions, which only a [`Wide`] can make, which only [`Wide::detect`] makes.
//!
//! # Source
//! BLAKE3 specification, section 2.2. Tests of [`crate::hash`] compare with the documented hash.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, __m512i, _mm256_add_epi32, _mm256_loadu_si256, _mm256_or_si256, _mm256_permute2x128_si256,
    _mm256_set1_epi32, _mm256_setr_epi8, _mm256_shuffle_epi8, _mm256_slli_epi32, _mm256_srli_epi32,
    _mm256_storeu_si256, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
    _mm256_xor_si256, _mm512_add_epi32, _mm512_castsi256_si512, _mm512_castsi512_si256, _mm512_extracti64x4_epi64,
    _mm512_loadu_si512, _mm512_maskz_loadu_epi8, _mm512_permutex2var_epi32, _mm512_permutex2var_epi64,
    _mm512_ror_epi32, _mm512_set1_epi32, _mm512_setr_epi32, _mm512_setr_epi64, _mm512_setzero_si512,
    _mm512_shuffle_i32x4, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
    _mm512_xor_si512,
};

use crate::hash::{BLOCK_BYTES, Hash, IV};

/// Which words of a block each of the seven rounds takes, from the specification's permutation.
const SCHEDULE: [[usize; 16]; 7] = {
    const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
    let mut schedule = [[0; 16]; 7];
    let mut round = 0;
    while round < 7 {
        let mut word = 0;
        while word < 16 {
            schedule[round][word] = if round == 0 { word } else { schedule[round - 1][PERMUTATION[word]] };
            word += 1;
        }
        round += 1;
    }
    schedule
};

/// What is compressed, for every lane alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    /// The chaining value all begin with; without it each begins with its own.
    pub(crate) key: Option<&'a [u32; 8]>,
    /// The number of the chunk.
    pub(crate) counter: u64,
    /// Flags of the first block and of the last one.
    pub(crate) first: u8,
    pub(crate) last: u8,
}

impl Run<'_> {
    fn flags(&self, block: usize, blocks: usize) -> u8 {
        let first = if block == 0 { self.first } else { 0 };
        let last = if block + 1 == blocks { self.last } else { 0 };
        first | last
    }
}

/// The widest kernel of this machine. That there is one proves that the machine has the instructions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wide {
    width: Width,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    Avx512,
    Avx2,
}

impl Wide {
    /// All kernels of this machine, the widest first.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        let avx2 = is_x86_feature_detected!("avx2");
        let there = [avx512.then_some(Width::Avx512), avx2.then_some(Width::Avx2)];
        there.into_iter().flatten().map(|width| Self { width })
    }

    /// The widest kernel there is.
    pub(crate) fn detect() -> Option<Self> {
        Self::all().next()
    }

    /// Inputs of one call that cost as much as a single one.
    pub(crate) fn lanes(self) -> usize {
        match self.width {
            Width::Avx512 => 16,
            Width::Avx2 => 8,
        }
    }

    /// Compresses each of the inputs, all of one length and at least one byte, into its state.
    pub(crate) fn compress(self, inputs: &[&[u8]], states: &mut [Hash], run: Run<'_>) {
        let length = inputs.first().map_or(0, |input| input.len());
        assert!(length > 0 && inputs.len() == states.len() && inputs.iter().all(|input| input.len() == length));
        for (inputs, states) in inputs.chunks(self.lanes()).zip(states.chunks_mut(self.lanes())) {
            match self.width {
                // SAFETY: a `Wide` of this width exists only where the instructions do.
                Width::Avx512 => unsafe { compress_16(inputs, states, run) },
                // SAFETY: as above.
                Width::Avx2 => unsafe { compress_8(inputs, states, run) },
            }
        }
    }

    /// Compresses inputs of `bytes` bytes, 1 to 8, each the only block of a chunk that begins with `key`. An input is a
    /// number, its bytes in little-endian order and none beyond. Says whether it did: only the widest kernel has a form for
    /// this.
    pub(crate) fn compress_short(
        self,
        inputs: &[u64],
        bytes: usize,
        states: &mut [Hash],
        (key, flags): (&[u32; 8], u8),
    ) -> bool {
        assert!(inputs.len() == states.len() && (1..=8).contains(&bytes));
        if self.width != Width::Avx512 {
            return false;
        }
        for (inputs, states) in inputs.chunks(16).zip(states.chunks_mut(16)) {
            // SAFETY: a `Wide` of this width exists only where the instructions do.
            unsafe { compress_short_16(inputs, bytes as u32, states, key, flags) }
        }
        true
    }
}

/// The rounds, for either width: the macro's arguments are the operations on a register of lanes.
macro_rules! rounds {
    ($state:ident, $words:ident, $add:ident, $xor:ident, $r16:ident, $r12:ident, $r8:ident, $r7:ident) => {
        // Written out, so that every index is a constant and words need not go through memory.
        macro_rules! mix {
            ($round:literal $half:literal: $a:literal $b:literal $c:literal $d:literal) => {
                let words = (SCHEDULE[$round][2 * $half], SCHEDULE[$round][2 * $half + 1]);
                $state[$a] = $add($add($state[$a], $state[$b]), $words[words.0]);
                $state[$d] = $r16($xor($state[$d], $state[$a]));
                $state[$c] = $add($state[$c], $state[$d]);
                $state[$b] = $r12($xor($state[$b], $state[$c]));
                $state[$a] = $add($add($state[$a], $state[$b]), $words[words.1]);
                $state[$d] = $r8($xor($state[$d], $state[$a]));
                $state[$c] = $add($state[$c], $state[$d]);
                $state[$b] = $r7($xor($state[$b], $state[$c]));
            };
        }
        macro_rules! round {
                                                                                    ($round:literal) => {
                                                                                        mix!($round 0: 0 4 8 12);
                                                                                        mix!($round 1: 1 5 9 13);
                                                                                        mix!($round 2: 2 6 10 14);
                                                                                        mix!($round 3: 3 7 11 15);
                                                                                        mix!($round 4: 0 5 10 15);
                                                                                        mix!($round 5: 1 6 11 12);
                                                                                        mix!($round 6: 2 7 8 13);
                                                                                        mix!($round 7: 3 4 9 14);
                                                                                    };
                                                                                }
        round!(0);
        round!(1);
        round!(2);
        round!(3);
        round!(4);
        round!(5);
        round!(6);
    };
}

/// At most sixteen inputs, of one length and at least one byte.
#[target_feature(enable = "avx512f,avx512bw")]
fn compress_16(inputs: &[&[u8]], states: &mut [Hash], run: Run<'_>) {
    // Lanes too many do the work of the first one again.
    let lanes: [&[u8]; 16] = std::array::from_fn(|lane| *inputs.get(lane).unwrap_or(&inputs[0]));
    let mut chain: [__m512i; 8] = match run.key {
        Some(key) => std::array::from_fn(|word| _mm512_set1_epi32(key[word] as i32)),
        None => {
            let mut rows = [_mm512_setzero_si512(); 16];
            for (row, state) in rows.iter_mut().zip(states.iter()) {
                // SAFETY: reads 32 bytes, all of the state, at any alignment.
                *row = unsafe { _mm512_castsi256_si512(_mm256_loadu_si256(state.as_ptr().cast())) };
            }
            transpose_16(&mut rows);
            std::array::from_fn(|word| rows[word])
        }
    };
    let blocks = inputs[0].len().div_ceil(BLOCK_BYTES);
    for block in 0..blocks {
        let bytes = (inputs[0].len() - block * BLOCK_BYTES).min(BLOCK_BYTES);
        let mut words = [_mm512_setzero_si512(); 16];
        for (word, lane) in words.iter_mut().zip(lanes) {
            let part = &lane[block * BLOCK_BYTES..][..bytes];
            *word = if bytes == BLOCK_BYTES {
                // SAFETY: reads the 64 bytes of `part`, at any alignment.
                unsafe { _mm512_loadu_si512(part.as_ptr().cast()) }
            } else {
                // SAFETY: reads the `bytes` bytes of `part`, below 64, and no others: they are masked off.
                unsafe { _mm512_maskz_loadu_epi8((1 << bytes) - 1, part.as_ptr().cast()) }
            };
        }
        transpose_16(&mut words);
        compress_block_16(&mut chain, &words, run.counter, bytes as u32, run.flags(block, blocks));
    }
    store_16(&chain, states);
}

/// At most sixteen inputs of `bytes` bytes each, 1 to 8: numbers whose other bytes are zero.
#[target_feature(enable = "avx512f,avx512bw")]
fn compress_short_16(inputs: &[u64], bytes: u32, states: &mut [Hash], key: &[u32; 8], flags: u8) {
    let mut lanes = [0; 16];
    lanes.iter_mut().zip(inputs).for_each(|(lane, input)| *lane = *input);
    // SAFETY: reads 64 bytes, the first and the second half of the array, at any alignment.
    let (head, tail) =
        unsafe { (_mm512_loadu_si512(lanes.as_ptr().cast()), _mm512_loadu_si512(lanes[8..].as_ptr().cast())) };
    let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    let mut words = [_mm512_setzero_si512(); 16];
    words[0] = _mm512_permutex2var_epi32(head, even, tail);
    words[1] = _mm512_permutex2var_epi32(head, odd, tail);
    let mut chain: [__m512i; 8] = std::array::from_fn(|word| _mm512_set1_epi32(key[word] as i32));
    compress_block_16(&mut chain, &words, 0, bytes, flags);
    store_16(&chain, states);
}

/// Writes chaining values, word by word of all lanes, to their states.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store_16(chain: &[__m512i; 8], states: &mut [Hash]) {
    let mut pairs = *chain;
    for i in 0..4 {
        pairs[2 * i] = _mm512_unpacklo_epi32(chain[2 * i], chain[2 * i + 1]);
        pairs[2 * i + 1] = _mm512_unpackhi_epi32(chain[2 * i], chain[2 * i + 1]);
    }
    // `fours[4h + c]`: in quarter `q` the words of half `h` of lane `4q + c`.
    let mut fours = pairs;
    for h in 0..2 {
        fours[4 * h] = _mm512_unpacklo_epi64(pairs[4 * h], pairs[4 * h + 2]);
        fours[4 * h + 1] = _mm512_unpackhi_epi64(pairs[4 * h], pairs[4 * h + 2]);
        fours[4 * h + 2] = _mm512_unpacklo_epi64(pairs[4 * h + 1], pairs[4 * h + 3]);
        fours[4 * h + 3] = _mm512_unpackhi_epi64(pairs[4 * h + 1], pairs[4 * h + 3]);
    }
    let (first, last) = (_mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15));
    for c in 0..4 {
        let low = _mm512_permutex2var_epi64(fours[c], first, fours[4 + c]);
        let high = _mm512_permutex2var_epi64(fours[c], last, fours[4 + c]);
        let lanes = [
            (c, _mm512_castsi512_si256(low)),
            (4 + c, _mm512_extracti64x4_epi64::<1>(low)),
            (8 + c, _mm512_castsi512_si256(high)),
            (12 + c, _mm512_extracti64x4_epi64::<1>(high)),
        ];
        for (lane, value) in lanes {
            if let Some(state) = states.get_mut(lane) {
                // SAFETY: writes 32 bytes, all of the state, at any alignment.
                unsafe { _mm256_storeu_si256(state.as_mut_ptr().cast(), value) };
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn compress_block_16(chain: &mut [__m512i; 8], words: &[__m512i; 16], counter: u64, bytes: u32, flags: u8) {
    let all = |word: u32| _mm512_set1_epi32(word as i32);
    let mut state = [all(0); 16];
    state[..8].copy_from_slice(chain);
    for (state, word) in state[8..12].iter_mut().zip(IV) {
        *state = all(word);
    }
    state[12] = all(counter as u32);
    state[13] = all((counter >> 32) as u32);
    state[14] = all(bytes);
    state[15] = all(u32::from(flags));
    let r16 = |word| _mm512_ror_epi32::<16>(word);
    let r12 = |word| _mm512_ror_epi32::<12>(word);
    let r8 = |word| _mm512_ror_epi32::<8>(word);
    let r7 = |word| _mm512_ror_epi32::<7>(word);
    rounds!(state, words, _mm512_add_epi32, _mm512_xor_si512, r16, r12, r8, r7);
    for (index, word) in chain.iter_mut().enumerate() {
        *word = _mm512_xor_si512(state[index], state[index + 8]);
    }
}

/// A square of sixteen by sixteen words on its diagonal.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transpose_16(rows: &mut [__m512i; 16]) {
    let mut pairs = *rows;
    for i in 0..8 {
        pairs[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        pairs[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    // `fours[4g + c]`: in quarter `q` the words of column `4q + c` of rows `4g` to `4g + 3`.
    let mut fours = pairs;
    for g in 0..4 {
        fours[4 * g] = _mm512_unpacklo_epi64(pairs[4 * g], pairs[4 * g + 2]);
        fours[4 * g + 1] = _mm512_unpackhi_epi64(pairs[4 * g], pairs[4 * g + 2]);
        fours[4 * g + 2] = _mm512_unpacklo_epi64(pairs[4 * g + 1], pairs[4 * g + 3]);
        fours[4 * g + 3] = _mm512_unpackhi_epi64(pairs[4 * g + 1], pairs[4 * g + 3]);
    }
    for c in 0..4 {
        let low_even = _mm512_shuffle_i32x4::<0b10_00_10_00>(fours[c], fours[4 + c]);
        let low_odd = _mm512_shuffle_i32x4::<0b11_01_11_01>(fours[c], fours[4 + c]);
        let high_even = _mm512_shuffle_i32x4::<0b10_00_10_00>(fours[8 + c], fours[12 + c]);
        let high_odd = _mm512_shuffle_i32x4::<0b11_01_11_01>(fours[8 + c], fours[12 + c]);
        rows[c] = _mm512_shuffle_i32x4::<0b10_00_10_00>(low_even, high_even);
        rows[4 + c] = _mm512_shuffle_i32x4::<0b10_00_10_00>(low_odd, high_odd);
        rows[8 + c] = _mm512_shuffle_i32x4::<0b11_01_11_01>(low_even, high_even);
        rows[12 + c] = _mm512_shuffle_i32x4::<0b11_01_11_01>(low_odd, high_odd);
    }
}

/// At most eight inputs, of one length and at least one byte.
#[target_feature(enable = "avx2")]
fn compress_8(inputs: &[&[u8]], states: &mut [Hash], run: Run<'_>) {
    let lanes: [&[u8]; 8] = std::array::from_fn(|lane| *inputs.get(lane).unwrap_or(&inputs[0]));
    let mut chain = [_mm256_set1_epi32(0); 8];
    match run.key {
        Some(key) => chain.iter_mut().zip(key).for_each(|(chain, word)| *chain = _mm256_set1_epi32(*word as i32)),
        None => {
            chain.iter_mut().zip(states.iter()).for_each(|(row, state)| *row = load_8(state));
            transpose_8(&mut chain);
        }
    }
    let blocks = inputs[0].len().div_ceil(BLOCK_BYTES);
    for block in 0..blocks {
        let bytes = (inputs[0].len() - block * BLOCK_BYTES).min(BLOCK_BYTES);
        let (mut low, mut high) = ([_mm256_set1_epi32(0); 8], [_mm256_set1_epi32(0); 8]);
        for (lane, (low, high)) in lanes.iter().zip(low.iter_mut().zip(&mut high)) {
            let part = &lane[block * BLOCK_BYTES..][..bytes];
            let mut short = [[0; 32]; 2];
            let halves = match part.as_chunks::<32>() {
                (halves, []) if bytes == BLOCK_BYTES => halves,
                _ => {
                    short.as_flattened_mut()[..bytes].copy_from_slice(part);
                    &short
                }
            };
            (*low, *high) = (load_8(&halves[0]), load_8(&halves[1]));
        }
        transpose_8(&mut low);
        transpose_8(&mut high);
        let words: [__m256i; 16] = std::array::from_fn(|word| if word < 8 { low[word] } else { high[word - 8] });
        compress_block_8(&mut chain, &words, run.counter, bytes as u32, run.flags(block, blocks));
    }
    transpose_8(&mut chain);
    for (row, state) in chain.iter().zip(states) {
        // SAFETY: writes 32 bytes, all of the state, at any alignment.
        unsafe { _mm256_storeu_si256(state.as_mut_ptr().cast(), *row) };
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_8(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: reads 32 bytes, all of the array, at any alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn compress_block_8(chain: &mut [__m256i; 8], words: &[__m256i; 16], counter: u64, bytes: u32, flags: u8) {
    let all = |word: u32| _mm256_set1_epi32(word as i32);
    let mut state = [all(0); 16];
    state[..8].copy_from_slice(chain);
    for (state, word) in state[8..12].iter_mut().zip(IV) {
        *state = all(word);
    }
    state[12] = all(counter as u32);
    state[13] = all((counter >> 32) as u32);
    state[14] = all(bytes);
    state[15] = all(u32::from(flags));
    #[rustfmt::skip]
    let by_16 = _mm256_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    #[rustfmt::skip]
    let by_8 = _mm256_setr_epi8(1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12, 1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12);
    let r16 = |word| _mm256_shuffle_epi8(word, by_16);
    let r12 = |word| _mm256_or_si256(_mm256_srli_epi32::<12>(word), _mm256_slli_epi32::<20>(word));
    let r8 = |word| _mm256_shuffle_epi8(word, by_8);
    let r7 = |word| _mm256_or_si256(_mm256_srli_epi32::<7>(word), _mm256_slli_epi32::<25>(word));
    rounds!(state, words, _mm256_add_epi32, _mm256_xor_si256, r16, r12, r8, r7);
    for (index, word) in chain.iter_mut().enumerate() {
        *word = _mm256_xor_si256(state[index], state[index + 8]);
    }
}

/// A square of eight by eight words on its diagonal.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose_8(rows: &mut [__m256i; 8]) {
    let mut pairs = *rows;
    for i in 0..4 {
        pairs[2 * i] = _mm256_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        pairs[2 * i + 1] = _mm256_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    // `fours[4g + c]`: in half `h` the words of column `4h + c` of rows `4g` to `4g + 3`.
    let mut fours = pairs;
    for g in 0..2 {
        fours[4 * g] = _mm256_unpacklo_epi64(pairs[4 * g], pairs[4 * g + 2]);
        fours[4 * g + 1] = _mm256_unpackhi_epi64(pairs[4 * g], pairs[4 * g + 2]);
        fours[4 * g + 2] = _mm256_unpacklo_epi64(pairs[4 * g + 1], pairs[4 * g + 3]);
        fours[4 * g + 3] = _mm256_unpackhi_epi64(pairs[4 * g + 1], pairs[4 * g + 3]);
    }
    for c in 0..4 {
        rows[c] = _mm256_permute2x128_si256::<0x20>(fours[c], fours[4 + c]);
        rows[4 + c] = _mm256_permute2x128_si256::<0x31>(fours[c], fours[4 + c]);
    }
}
