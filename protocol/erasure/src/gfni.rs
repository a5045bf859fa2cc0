//! The transforms with GFNI and AVX-512: a block of 32 elements in one register.
//!
//! Multiplying by a fixed element of GF(2^16) is linear over bits: a 16x16 matrix, which is four of 8x8, and
//! `gf2p8affineqb` applies one of those to every byte. A block has its low bytes in one half and its high bytes in
//! the other, so
//!
//! ```text
//!   x         = [ low       | high      ]            two instructions for a block where tables of
//!   x swapped = [ high      | low       ]            nibbles take sixteen
//!   x * m     = [ A low     | D high    ]  ^  [ B high | C low ]
//! ```
//!
//! The matrices are those of [`crate::matrix`].
//!
//! Two layers of butterflies are done at a time, with four blocks in registers.
//!
//! # Unsafe
//! Loads and stores through references to as many bytes, and the calls into functions that need the
//! instructions, which only a [`Gfni`] can make, which only [`Gfni::detect`] makes.
//!
//! # Source
//! As [`crate::code`]. Bit-identical with the engines of `reed-solomon-simd`; a test compares.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512i, _mm256_loadu_si256, _mm512_castsi256_si512, _mm512_gf2p8affine_epi64_epi8, _mm512_loadu_si512,
    _mm512_permutexvar_epi64, _mm512_set_epi64, _mm512_setzero_si512, _mm512_shuffle_i64x2, _mm512_storeu_si512,
    _mm512_ternarylogic_epi64, _mm512_xor_si512,
};
use std::sync::OnceLock;

use reed_solomon_simd::engine::tables;
use reed_solomon_simd::engine::{Engine, ShardsRefMut};

use crate::code::{Block, Shape, Span};
use crate::matrix::{Matrix, Tables};

/// The engine. That there is one proves that the machine has the instructions.
#[derive(Clone, Copy)]
pub(crate) struct Gfni {
    tables: &'static Tables,
}

impl Gfni {
    /// The engine, where the machine has what it takes.
    pub(crate) fn detect() -> Option<Self> {
        static TABLES: OnceLock<Tables> = OnceLock::new();
        let there = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("gfni");
        there.then(|| Self { tables: TABLES.get_or_init(Tables::new) })
    }

    /// The matrix of multiplying by `element`.
    pub(crate) fn matrix(self, element: u16) -> Matrix {
        self.tables.matrix(element)
    }

    /// `sums[i] = sum over all sources of source * matrix(i, source)` on the given bytes of each, whole blocks of them.
    ///
    /// # Panics
    /// When there is no source, or a sum or source does not reach that far.
    pub(crate) fn products<'m>(
        self,
        sums: &mut [&mut [u8]],
        sources: &[&[u8]],
        matrix: impl Fn(usize, usize) -> &'m Matrix,
        bytes: std::ops::Range<usize>,
    ) {
        assert!(!sources.is_empty() && bytes.len().is_multiple_of(64));
        // SAFETY: a `Gfni` exists only where the instructions do.
        unsafe { products(sums, sources, matrix, bytes) }
    }

    /// The inverse transform of `span`, whose whole blocks are read where `whole` says, by symbol and word; nothing stands
    /// for zeros. The rest of each symbol is in `data`, which has the size's symbols.
    pub(crate) fn ifft_from<'a>(
        self,
        data: &mut [Block],
        shape: Shape,
        span: Span,
        whole: impl Fn(usize, usize) -> Option<&'a [u8]>,
    ) {
        // SAFETY: a `Gfni` exists only where the instructions do.
        unsafe { ifft_from(self.tables, data, shape, span, whole) }
    }

    /// `into ^= from`. As many blocks of both.
    pub(crate) fn xor(self, into: &mut [Block], from: &[Block]) {
        // SAFETY: a `Gfni` exists only where the instructions do.
        unsafe { xor(into, from) }
    }

    /// `into = from * element`. As many blocks of both.
    pub(crate) fn scale(self, into: &mut [Block], from: &[Block], matrix: &Matrix) {
        // SAFETY: a `Gfni` exists only where the instructions do.
        unsafe { scale(into, from, matrix) }
    }
}

impl Engine for Gfni {
    fn fft(&self, data: &mut ShardsRefMut<'_>, pos: usize, size: usize, truncated_size: usize, skew_delta: usize) {
        // SAFETY: a `Gfni` exists only where the instructions do.
        unsafe { fft(self.tables, data, Range { pos, size, truncated_size, skew_delta }) }
    }

    fn ifft(&self, data: &mut ShardsRefMut<'_>, pos: usize, size: usize, truncated_size: usize, skew_delta: usize) {
        // SAFETY: a `Gfni` exists only where the instructions do.
        unsafe { ifft(self.tables, data, Range { pos, size, truncated_size, skew_delta }, 1) }
    }

    fn mul(&self, x: &mut [Block], log_m: u16) {
        // The engines of the crate multiply by one for this logarithm too, as theirs of the order is that of zero.
        let element = tables::get_exp_log().exp[usize::from(log_m)];
        let matrix = self.tables.matrix(element);
        // SAFETY: a `Gfni` exists only where the instructions do.
        unsafe { multiply(x, &matrix) }
    }
}

/// What a transform runs over.
#[derive(Clone, Copy)]
struct Range {
    pos: usize,
    size: usize,
    truncated_size: usize,
    skew_delta: usize,
}

/// The matrices of a multiplication as they lie in registers.
#[derive(Clone, Copy)]
struct Factor {
    /// For the block as it is: `A` and `D`.
    straight: __m512i,
    /// For the block with its halves swapped: `B` and `C`.
    crossed: __m512i,
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(block: &Block) -> __m512i {
    // SAFETY: reads 64 bytes, all of the block, at any alignment.
    unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(block: &mut Block, value: __m512i) {
    // SAFETY: writes 64 bytes, all of the block, at any alignment.
    unsafe { _mm512_storeu_si512(block.as_mut_ptr().cast(), value) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn factor(matrix: &Matrix) -> Factor {
    // SAFETY: reads 32 bytes, all of the matrix, at any alignment.
    let matrices = unsafe { _mm512_castsi256_si512(_mm256_loadu_si256(matrix.0.as_ptr().cast())) };
    Factor {
        straight: _mm512_permutexvar_epi64(_mm512_set_epi64(1, 1, 1, 1, 0, 0, 0, 0), matrices),
        crossed: _mm512_permutexvar_epi64(_mm512_set_epi64(3, 3, 3, 3, 2, 2, 2, 2), matrices),
    }
}

/// `sum ^ value * factor`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn add_product(sum: __m512i, value: __m512i, factor: Factor) -> __m512i {
    add_swapped(sum, value, swapped(value), factor)
}

/// The halves of a block swapped.
#[inline]
#[target_feature(enable = "avx512f")]
fn swapped(value: __m512i) -> __m512i {
    _mm512_shuffle_i64x2::<0b01_00_11_10>(value, value)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn add_swapped(sum: __m512i, value: __m512i, swapped: __m512i, factor: Factor) -> __m512i {
    let straight = _mm512_gf2p8affine_epi64_epi8::<0>(value, factor.straight);
    let crossed = _mm512_gf2p8affine_epi64_epi8::<0>(swapped, factor.crossed);
    // Exclusive or of all three.
    _mm512_ternarylogic_epi64::<0x96>(sum, straight, crossed)
}

#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn multiply(blocks: &mut [Block], matrix: &Matrix) {
    let factor = factor(matrix);
    for block in blocks {
        let value = load(block);
        store(block, add_product(_mm512_setzero_si512(), value, factor));
    }
}

#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn scale(into: &mut [Block], from: &[Block], matrix: &Matrix) {
    let factor = factor(matrix);
    for (into, from) in into.iter_mut().zip(from) {
        store(into, add_product(_mm512_setzero_si512(), load(from), factor));
    }
}

#[target_feature(enable = "avx512f")]
fn xor(into: &mut [Block], from: &[Block]) {
    for (into, from) in into.iter_mut().zip(from) {
        store(into, _mm512_xor_si512(load(into), load(from)));
    }
}

/// The three constants of two layers of butterflies on four symbols. `None` is zero.
struct Two<'a> {
    near: Option<&'a Matrix>,
    far: Option<&'a Matrix>,
    wide: Option<&'a Matrix>,
}

impl<'a> Two<'a> {
    fn new(tables: &'a Tables, base: usize, dist: usize) -> Self {
        Self { near: tables.skew(base), wide: tables.skew(base + dist), far: tables.skew(base + 2 * dist) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn fft(tables: &Tables, data: &mut ShardsRefMut<'_>, range: Range) {
    let Range { pos, size, truncated_size, skew_delta } = range;
    let (mut dist4, mut dist) = (size, size >> 2);
    while dist != 0 {
        for r in (0..truncated_size).step_by(dist4) {
            let two = Two::new(tables, r + dist + skew_delta - 1, dist);
            for i in r..r + dist {
                fft_two(data.dist4_mut(pos + i, dist), &two);
            }
        }
        dist4 = dist;
        dist >>= 2;
    }
    if dist4 == 2 {
        for r in (0..truncated_size).step_by(2) {
            let (x, y) = data.dist2_mut(pos + r, 1);
            let factor = factor(tables.skew(r + skew_delta).unwrap_or(&Matrix::ZERO));
            for (x_block, y_block) in x.iter_mut().zip(y) {
                let y = load(y_block);
                let x = add_product(load(x_block), y, factor);
                store(x_block, x);
                store(y_block, _mm512_xor_si512(x, y));
            }
        }
    }
}

type Four<'a> = (&'a mut [Block], &'a mut [Block], &'a mut [Block], &'a mut [Block]);

#[inline]
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn fft_two((a, b, c, d): Four<'_>, two: &Two<'_>) {
    let far = factor(two.far.unwrap_or(&Matrix::ZERO));
    let blocks = a.iter_mut().zip(b).zip(c).zip(d);
    if two.near.is_none() && two.wide.is_none() {
        for (((a_block, b_block), c_block), d_block) in blocks {
            let (a, b) = (load(a_block), load(b_block));
            let (c, d) = (_mm512_xor_si512(load(c_block), a), _mm512_xor_si512(load(d_block), b));
            store(b_block, _mm512_xor_si512(a, b));
            let c = add_product(c, d, far);
            store(c_block, c);
            store(d_block, _mm512_xor_si512(c, d));
        }
        return;
    }
    let (near, wide) = (factor(two.near.unwrap_or(&Matrix::ZERO)), factor(two.wide.unwrap_or(&Matrix::ZERO)));
    for (((a_block, b_block), c_block), d_block) in blocks {
        let (c, d) = (load(c_block), load(d_block));
        let (a, b) = (add_product(load(a_block), c, wide), add_product(load(b_block), d, wide));
        let (c, d) = (_mm512_xor_si512(a, c), _mm512_xor_si512(b, d));
        let (a, c) = (add_product(a, b, near), add_product(c, d, far));
        store(a_block, a);
        store(b_block, _mm512_xor_si512(a, b));
        store(c_block, c);
        store(d_block, _mm512_xor_si512(c, d));
    }
}

#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn ifft_from<'a>(
    tables: &Tables,
    data: &mut [Block],
    shape: Shape,
    span: Span,
    whole: impl Fn(usize, usize) -> Option<&'a [u8]>,
) {
    let (blocks, width) = (shape.blocks(), shape.whole());
    for (index, four) in data.chunks_exact_mut(4 * blocks).enumerate().take(span.count.div_ceil(4)) {
        let two = Two::new(tables, 4 * index + span.skew_delta, 1);
        let (low, high) = four.split_at_mut(2 * blocks);
        let ((a, b), (c, d)) = (low.split_at_mut(blocks), high.split_at_mut(blocks));
        if width > 0 {
            for word in 0..shape.words() {
                let place = word * width..(word + 1) * width;
                let into = (&mut a[place.clone()], &mut b[place.clone()], &mut c[place.clone()], &mut d[place]);
                ifft_two_from(into, std::array::from_fn(|i| whole(4 * index + i, word)), &two);
            }
        }
        let rest = shape.words() * width;
        ifft_two((&mut a[rest..], &mut b[rest..], &mut c[rest..], &mut d[rest..]), &two);
    }
    let range = Range { pos: 0, size: span.size, truncated_size: span.count, skew_delta: span.skew_delta };
    ifft(tables, &mut ShardsRefMut::new(span.size, blocks, data), range, 4);
}

/// [`ifft_two`] from four symbols elsewhere, of as many blocks, or zeros.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn ifft_two_from((a_to, b_to, c_to, d_to): Four<'_>, from: [Option<&[u8]>; 4], two: &Two<'_>) {
    let from = from.map(|from| from.map_or(&[][..], |from| from.as_chunks::<64>().0));
    let [near, far, wide] = [two.near, two.far, two.wide].map(|matrix| factor(matrix.unwrap_or(&Matrix::ZERO)));
    let get = |from: &[Block], at: usize| from.get(at).map_or(_mm512_setzero_si512(), |block| load(block));
    for (at, (((a_to, b_to), c_to), d_to)) in a_to.iter_mut().zip(b_to).zip(c_to).zip(d_to).enumerate() {
        let (a, c) = (get(from[0], at), get(from[2], at));
        let (b, d) = (_mm512_xor_si512(get(from[1], at), a), _mm512_xor_si512(get(from[3], at), c));
        let (a, c) = (add_product(a, b, near), add_product(c, d, far));
        let (c, d) = (_mm512_xor_si512(a, c), _mm512_xor_si512(b, d));
        store(a_to, add_product(a, c, wide));
        store(b_to, add_product(b, d, wide));
        store(c_to, c);
        store(d_to, d);
    }
}

/// From the layer on that joins symbols `dist` apart, a power of four.
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn ifft(tables: &Tables, data: &mut ShardsRefMut<'_>, range: Range, mut dist: usize) {
    let Range { pos, size, truncated_size, skew_delta } = range;
    let mut dist4 = 4 * dist;
    while dist4 <= size {
        for r in (0..truncated_size).step_by(dist4) {
            let two = Two::new(tables, r + dist + skew_delta - 1, dist);
            for i in r..r + dist {
                ifft_two(data.dist4_mut(pos + i, dist), &two);
            }
        }
        dist = dist4;
        dist4 <<= 2;
    }
    if dist < size {
        let factor = factor(tables.skew(dist + skew_delta - 1).unwrap_or(&Matrix::ZERO));
        for i in 0..dist {
            let (x, y) = data.dist2_mut(pos + i, dist);
            for (x_block, y_block) in x.iter_mut().zip(y) {
                let x = load(x_block);
                let y = _mm512_xor_si512(x, load(y_block));
                store(y_block, y);
                store(x_block, add_product(x, y, factor));
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn ifft_two((a, b, c, d): Four<'_>, two: &Two<'_>) {
    let far = factor(two.far.unwrap_or(&Matrix::ZERO));
    let blocks = a.iter_mut().zip(b).zip(c).zip(d);
    if two.near.is_none() && two.wide.is_none() {
        for (((a_block, b_block), c_block), d_block) in blocks {
            let (a, c) = (load(a_block), load(c_block));
            let (b, d) = (_mm512_xor_si512(load(b_block), a), _mm512_xor_si512(load(d_block), c));
            let c = add_product(c, d, far);
            store(b_block, b);
            store(c_block, _mm512_xor_si512(c, a));
            store(d_block, _mm512_xor_si512(d, b));
        }
        return;
    }
    let (near, wide) = (factor(two.near.unwrap_or(&Matrix::ZERO)), factor(two.wide.unwrap_or(&Matrix::ZERO)));
    for (((a_block, b_block), c_block), d_block) in blocks {
        let (a, c) = (load(a_block), load(c_block));
        let (b, d) = (_mm512_xor_si512(load(b_block), a), _mm512_xor_si512(load(d_block), c));
        let (a, c) = (add_product(a, b, near), add_product(c, d, far));
        let (c, d) = (_mm512_xor_si512(a, c), _mm512_xor_si512(b, d));
        store(a_block, add_product(a, c, wide));
        store(b_block, add_product(b, d, wide));
        store(c_block, c);
        store(d_block, d);
    }
}

/// How many sums share a walk over the sources.
const SUMS: usize = 4;

/// The blocks of `bytes` from `start` on that make `N`; the caller has compared lengths.
#[inline]
fn part<const N: usize>(bytes: &[u8], start: usize) -> &[Block; N] {
    bytes[start..].as_chunks::<64>().0.first_chunk().expect("sources and sums were found to be long enough")
}

#[inline]
fn part_mut<const N: usize>(bytes: &mut [u8], start: usize) -> &mut [Block; N] {
    bytes[start..].as_chunks_mut::<64>().0.first_chunk_mut().expect("sources and sums were found to be long enough")
}

#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn products<'m>(
    sums: &mut [&mut [u8]],
    sources: &[&[u8]],
    matrix: impl Fn(usize, usize) -> &'m Matrix,
    bytes: std::ops::Range<usize>,
) {
    for (group, sums) in sums.chunks_mut(SUMS).enumerate() {
        let row = group * SUMS;
        if let [a, b, c, d] = sums {
            let mut at = bytes.start;
            let mut sums: [&mut [u8]; SUMS] = [a, b, c, d];
            let matrix = |i: usize, column: usize| matrix(row + i, column);
            while bytes.end - at >= 256 {
                products_square::<4>(&mut sums, sources, matrix, at);
                at += 256;
            }
            while at < bytes.end {
                products_square::<1>(&mut sums, sources, matrix, at);
                at += 64;
            }
            continue;
        }
        for (i, sum) in sums.iter_mut().enumerate() {
            let mut at = bytes.start;
            let matrix = |column: usize| matrix(row + i, column);
            while bytes.end - at >= 512 {
                products_line::<8>(sum, sources, matrix, at);
                at += 512;
            }
            if bytes.end - at >= 256 {
                products_line::<4>(sum, sources, matrix, at);
                at += 256;
            }
            while at < bytes.end {
                products_line::<1>(sum, sources, matrix, at);
                at += 64;
            }
        }
    }
}

/// `N` blocks of four sums: every block of a source is loaded once for four products.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn products_square<'m, const N: usize>(
    sums: &mut [&mut [u8]; SUMS],
    sources: &[&[u8]],
    matrix: impl Fn(usize, usize) -> &'m Matrix,
    at: usize,
) {
    let mut totals = [[_mm512_setzero_si512(); N]; SUMS];
    for (column, source) in sources.iter().enumerate() {
        let source = part::<N>(source, at);
        let values: [__m512i; N] = std::array::from_fn(|i| load(&source[i]));
        let crosses: [__m512i; N] = std::array::from_fn(|i| swapped(values[i]));
        for (row, totals) in totals.iter_mut().enumerate() {
            let factor = factor(matrix(row, column));
            for i in 0..N {
                totals[i] = add_swapped(totals[i], values[i], crosses[i], factor);
            }
        }
    }
    for (sum, totals) in sums.iter_mut().zip(totals) {
        part_mut::<N>(sum, at).iter_mut().zip(totals).for_each(|(block, total)| store(block, total));
    }
}

/// `N` blocks of one sum: every matrix is spread once for `N` products.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn products_line<'m, const N: usize>(
    sum: &mut [u8],
    sources: &[&[u8]],
    matrix: impl Fn(usize) -> &'m Matrix,
    at: usize,
) {
    let mut totals = [_mm512_setzero_si512(); N];
    for (column, source) in sources.iter().enumerate() {
        let factor = factor(matrix(column));
        for (total, block) in totals.iter_mut().zip(part::<N>(source, at)) {
            *total = add_product(*total, load(block), factor);
        }
    }
    part_mut::<N>(sum, at).iter_mut().zip(totals).for_each(|(block, total)| store(block, total));
}
