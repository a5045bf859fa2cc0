//! The machine's way of doing the field's arithmetic on blocks, chosen at run time and the same bytes on all.
//!
//! Where there are GFNI and AVX-512 it is [`Gfni`](crate::gfni), else whatever `reed-solomon-simd` has: AVX2, SSSE3, NEON
//! or none. All of it goes through that crate's [`Engine`] and one operation of our own, sums of products.

use std::ops::Range;
use std::sync::OnceLock;

use reed_solomon_simd::engine::tables;
use reed_solomon_simd::engine::{DefaultEngine, Engine, GF_BITS, GF_MODULUS, ShardsRefMut};

use crate::code::{Block, Shape, Span, xor};
#[cfg(target_arch = "x86_64")]
use crate::gfni::Gfni;
#[cfg(target_arch = "x86_64")]
use crate::matrix::Matrix;

/// The arithmetic of this machine. Cheap to copy.
#[derive(Clone, Copy)]
pub(crate) struct Machine {
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Gfni(Gfni),
    Stock(&'static DefaultEngine),
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self.kind {
            #[cfg(target_arch = "x86_64")]
            Kind::Gfni(_) => "gfni",
            Kind::Stock(_) => "stock",
        })
    }
}

impl Machine {
    /// The best there is.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(gfni) = Gfni::detect() {
            return Self { kind: Kind::Gfni(gfni) };
        }
        Self::stock()
    }

    /// What the crate picks.
    pub(crate) fn stock() -> Self {
        static STOCK: OnceLock<DefaultEngine> = OnceLock::new();
        Self { kind: Kind::Stock(STOCK.get_or_init(DefaultEngine::new)) }
    }

    /// Whether [`Machine::ifft_from`] may be called.
    pub(crate) fn fuses(self) -> bool {
        match self.kind {
            #[cfg(target_arch = "x86_64")]
            Kind::Gfni(_) => true,
            Kind::Stock(_) => false,
        }
    }

    /// The inverse transform of `span`, whose whole blocks are read where `whole` says, by symbol and word; nothing stands
    /// for zeros. The rest of each symbol is in `data`, which has the span's symbols, at least four. Does nothing
    /// on a machine that does not fuse loading with transforming.
    pub(crate) fn ifft_from<'a>(
        self,
        data: &mut [Block],
        shape: Shape,
        span: Span,
        whole: impl Fn(usize, usize) -> Option<&'a [u8]>,
    ) {
        match self.kind {
            #[cfg(target_arch = "x86_64")]
            Kind::Gfni(gfni) => gfni.ifft_from(data, shape, span, whole),
            Kind::Stock(_) => {}
        }
    }

    /// `into ^= from`. As many blocks of both.
    pub(crate) fn xor(self, into: &mut [Block], from: &[Block]) {
        match self.kind {
            #[cfg(target_arch = "x86_64")]
            Kind::Gfni(gfni) => gfni.xor(into, from),
            Kind::Stock(_) => xor(into, from),
        }
    }

    /// Elements made ready to multiply by.
    pub(crate) fn factors(self, elements: impl Iterator<Item = u16>) -> Factors {
        match self.kind {
            #[cfg(target_arch = "x86_64")]
            Kind::Gfni(gfni) => Factors::Matrices(elements.map(|element| gfni.matrix(element)).collect()),
            Kind::Stock(_) => {
                let log = &tables::get_exp_log().log;
                Factors::Logs(elements.map(|element| log[usize::from(element)]).collect())
            }
        }
    }

    /// The inverses of all elements below `points`, a power of two up to 65,536; zero for zero. Made once and kept.
    pub(crate) fn inverses(self, points: usize) -> &'static Factors {
        static INVERSES: [[OnceLock<Factors>; GF_BITS + 1]; 2] =
            [const { [const { OnceLock::new() }; GF_BITS + 1] }; 2];
        let of_kind = &INVERSES[usize::from(self.fuses())];
        of_kind[points.ilog2() as usize].get_or_init(|| {
            let tables = tables::get_exp_log();
            let inverse = |element: usize| match element {
                0 => 0,
                _ => tables.exp[usize::from(GF_MODULUS - tables.log[element])],
            };
            self.factors((0..points).map(inverse))
        })
    }

    /// `sums[i] = sum over all sources of source * factors[index(i, source)]` on the given bytes of each, whole blocks
    /// of them. There is a source; `factors` are this machine's.
    ///
    /// # Panics
    /// When they have no such one, or a sum or source does not reach that far.
    pub(crate) fn products(
        self,
        sums: &mut [&mut [u8]],
        sources: &[&[u8]],
        (factors, index): (&Factors, impl Fn(usize, usize) -> usize),
        bytes: Range<usize>,
    ) {
        match (self.kind, factors) {
            #[cfg(target_arch = "x86_64")]
            (Kind::Gfni(gfni), Factors::Matrices(matrices)) => {
                gfni.products(sums, sources, |row, column| &matrices[index(row, column)], bytes);
            }
            (_, Factors::Logs(logs)) => {
                let mut product = [[0; 64]; PRODUCT_BLOCKS];
                for (row, sum) in sums.iter_mut().enumerate() {
                    for start in bytes.clone().step_by(size_of_val(&product)) {
                        let end = bytes.end.min(start + size_of_val(&product));
                        let product = &mut product[..(end - start) / 64];
                        let (sum, _) = sum[start..end].as_chunks_mut::<64>();
                        sum.fill([0; 64]);
                        for (column, source) in sources.iter().enumerate() {
                            self.scale_log(product, source[start..end].as_chunks().0, logs[index(row, column)]);
                            xor(sum, product);
                        }
                    }
                }
            }
            #[cfg(target_arch = "x86_64")]
            (Kind::Stock(_), Factors::Matrices(_)) => unreachable!("factors are made and used by one machine"),
        }
    }

    /// `into = from * factors[index]`. As many blocks of both.
    pub(crate) fn scale(self, into: &mut [Block], from: &[Block], factors: &Factors, index: usize) {
        match (self.kind, factors) {
            #[cfg(target_arch = "x86_64")]
            (Kind::Gfni(gfni), Factors::Matrices(matrices)) => gfni.scale(into, from, &matrices[index]),
            (_, Factors::Logs(logs)) => self.scale_log(into, from, logs[index]),
            #[cfg(target_arch = "x86_64")]
            (Kind::Stock(_), Factors::Matrices(_)) => unreachable!("factors are made and used by one machine"),
        }
    }

    fn scale_log(self, into: &mut [Block], from: &[Block], log: u16) {
        if log == GF_MODULUS {
            // What stands for the logarithm of zero.
            into.fill([0; 64]);
        } else {
            into.copy_from_slice(from);
            self.mul(into, log);
        }
    }
}

/// Blocks that are multiplied at a time where a product is added apart: they stay in the first-level cache.
const PRODUCT_BLOCKS: usize = 64;

/// Elements to multiply by, as the machine that made them wants them.
#[derive(Clone, Debug)]
pub(crate) enum Factors {
    #[cfg(target_arch = "x86_64")]
    Matrices(Vec<Matrix>),
    Logs(Vec<u16>),
}

impl Engine for Machine {
    fn fft(&self, data: &mut ShardsRefMut<'_>, pos: usize, size: usize, truncated_size: usize, skew_delta: usize) {
        match self.kind {
            #[cfg(target_arch = "x86_64")]
            Kind::Gfni(gfni) => gfni.fft(data, pos, size, truncated_size, skew_delta),
            Kind::Stock(stock) => stock.fft(data, pos, size, truncated_size, skew_delta),
        }
    }

    fn ifft(&self, data: &mut ShardsRefMut<'_>, pos: usize, size: usize, truncated_size: usize, skew_delta: usize) {
        match self.kind {
            #[cfg(target_arch = "x86_64")]
            Kind::Gfni(gfni) => gfni.ifft(data, pos, size, truncated_size, skew_delta),
            Kind::Stock(stock) => stock.ifft(data, pos, size, truncated_size, skew_delta),
        }
    }

    fn mul(&self, x: &mut [Block], log_m: u16) {
        match self.kind {
            #[cfg(target_arch = "x86_64")]
            Kind::Gfni(gfni) => gfni.mul(x, log_m),
            Kind::Stock(stock) => stock.mul(x, log_m),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reed_solomon_simd::engine::NoSimd;

    fn blocks(seed: usize, count: usize) -> Vec<Block> {
        let mut blocks = vec![[0; 64]; count];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(blocks.as_flattened_mut());
        blocks
    }

    #[test]
    fn transforms_are_those_of_the_plain_engine_on_every_machine() {
        let plain = NoSimd::new();
        for machine in [Machine::detect(), Machine::stock()] {
            for (size, width) in [(1_usize, 1), (2, 1), (4, 3), (8, 1), (16, 2), (64, 5), (128, 1), (1024, 1)] {
                for (pos, truncated, delta) in
                    [(0, size, 0), (0, size.div_ceil(3), size), (size, 1, 5 * size), (1, size, 0)]
                {
                    let data = blocks(size + pos, (size + pos) * width);
                    type Transform = fn(&dyn Engine, &mut ShardsRefMut<'_>, [usize; 4]);
                    let transforms: [Transform; 2] = [
                        |engine, data, [pos, size, truncated, delta]| engine.fft(data, pos, size, truncated, delta),
                        |engine, data, [pos, size, truncated, delta]| engine.ifft(data, pos, size, truncated, delta),
                    ];
                    for transform in transforms {
                        let run = |engine: &dyn Engine| {
                            let mut data = data.clone();
                            let mut shards = ShardsRefMut::new(size + pos, width, &mut data);
                            transform(engine, &mut shards, [pos, size, truncated, delta]);
                            data
                        };
                        assert!(run(&machine) == run(&plain), "{size} by {width} at {pos}, {truncated}, {delta}");
                    }
                }
            }
            for log in (0..=65_535).step_by(97).chain([65_534, 65_535]) {
                let mut expected = blocks(log, 3);
                let mut found = expected.clone();
                plain.mul(&mut expected, log as u16);
                machine.mul(&mut found, log as u16);
                assert!(expected == found, "times the {log}th power");
            }
        }
    }

    #[test]
    fn sums_of_products_are_those_of_the_plain_engine_at_every_width_and_alignment() {
        let plain = NoSimd::new();
        let tables = tables::get_exp_log();
        for machine in [Machine::detect(), Machine::stock()] {
            for (width, rows, columns) in (0..20).flat_map(|width| [(width, 1, 3), (width, 4, 5), (width, 7, 2)]) {
                let elements: Vec<u16> = (0..rows * columns).map(|i| (i * i * 9_973 % 65_536) as u16).collect();
                let bytes: Vec<u8> = blocks(7, (columns + 1) * (width + 2)).into_flattened();
                // Every source and sum is misaligned in its own way and has more around it.
                let source = |column: usize| &bytes[column * (width * 64 + 1)..][..width * 64 + 66];
                let sources: Vec<&[u8]> = (0..columns).map(source).collect();
                let mut sums = vec![vec![0x5a; width * 64 + 100]; rows];
                let mut into: Vec<&mut [u8]> = sums.iter_mut().enumerate().map(|(i, sum)| &mut sum[i + 1..]).collect();
                let factors = machine.factors(elements.iter().copied());
                let index = |row: usize, column: usize| row * columns + column;
                machine.products(&mut into, &sources, (&factors, index), 66..66 + width * 64);
                for (row, sum) in sums.iter().enumerate() {
                    let mut expected = vec![[0; 64]; width];
                    for (column, source) in sources.iter().enumerate() {
                        let mut product = source[66..].as_chunks::<64>().0.to_vec();
                        match elements[row * columns + column] {
                            0 => product.fill([0; 64]),
                            element => plain.mul(&mut product, tables.log[usize::from(element)]),
                        }
                        xor(&mut expected, &product);
                        let mut scaled = vec![[1; 64]; width];
                        let from = source[66..].as_chunks::<64>().0;
                        machine.scale(&mut scaled, from, &factors, row * columns + column);
                        assert!(scaled == product);
                    }
                    let (before, rest) = sum.split_at(row + 67);
                    let (found, after) = rest.split_at(width * 64);
                    assert!(found == expected.as_flattened(), "{width} {rows} {columns}");
                    assert!(before.iter().chain(after).all(|byte| *byte == 0x5a));
                }
            }
        }
    }
}
