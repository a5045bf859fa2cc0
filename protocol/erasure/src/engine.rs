//! The machine's way of doing the field's arithmetic on blocks, chosen at run time and the same bytes on all.
//!
//! Where there are GFNI and AVX-512 it is [`Gfni`](crate::gfni), else whatever `reed-solomon-simd` has: AVX2, SSSE3, NEON
//! or none. All of it goes through that crate's [`Engine`] and one operation of our own, sums of products.

use std::sync::OnceLock;

use reed_solomon_simd::engine::tables;
use reed_solomon_simd::engine::{DefaultEngine, Engine, GF_MODULUS, ShardsRefMut};

use crate::code::{Block, xor};
#[cfg(target_arch = "x86_64")]
use crate::gfni::{Gfni, Matrix};

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

    /// Factors made ready for [`Machine::add_products`]: rows of `columns` each.
    pub(crate) fn factors(self, rows: &[u16], columns: usize) -> Factors {
        let ready = match self.kind {
            #[cfg(target_arch = "x86_64")]
            Kind::Gfni(gfni) => Ready::Matrices(rows.iter().map(|factor| gfni.matrix(*factor)).collect()),
            Kind::Stock(_) => {
                let log = &tables::get_exp_log().log;
                Ready::Logs(rows.iter().map(|factor| log[usize::from(*factor)]).collect())
            }
        };
        Factors { columns, ready }
    }

    /// `sums[i] ^= sum over all sources of source * factors[row + i][source]`, where `row` is the first of `rows`.
    /// The sums are of one length and the sources at least as long.
    pub(crate) fn add_products(
        self,
        sums: &mut [&mut [Block]],
        sources: &[&[Block]],
        (factors, row): (&Factors, usize),
        scratch: &mut Vec<Block>,
    ) {
        let part = row * factors.columns..(row + sums.len()) * factors.columns;
        match (self.kind, &factors.ready) {
            #[cfg(target_arch = "x86_64")]
            (Kind::Gfni(gfni), Ready::Matrices(matrices)) => {
                let rows: Vec<&[Matrix]> = matrices[part].chunks(factors.columns).collect();
                gfni.add_products(sums, sources, &rows);
            }
            (_, Ready::Logs(logs)) => {
                for (sum, logs) in sums.iter_mut().zip(logs[part].chunks(factors.columns)) {
                    scratch.resize(sum.len(), [0; 64]);
                    // The logarithm of zero is told by the order.
                    for (source, log) in sources.iter().zip(logs).filter(|(_, log)| **log != GF_MODULUS) {
                        scratch.copy_from_slice(&source[..sum.len()]);
                        self.mul(scratch, *log);
                        xor(sum, scratch);
                    }
                }
            }
            #[cfg(target_arch = "x86_64")]
            (Kind::Stock(_), Ready::Matrices(_)) => unreachable!("factors are made and used by one machine"),
        }
    }
}

/// Factors of products, as the machine that made them wants them.
#[derive(Clone, Debug)]
pub(crate) struct Factors {
    columns: usize,
    ready: Ready,
}

#[derive(Clone, Debug)]
enum Ready {
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
                let factors: Vec<u16> = (0..rows * columns).map(|i| (i * i * 9_973 % 65_536) as u16).collect();
                let bytes: Vec<u8> = blocks(7, columns * (width + 1)).into_flattened();
                // Every source and sum is misaligned in its own way.
                let source = |column: usize| bytes[column * (width * 64 + 1)..][..width * 64].as_chunks::<64>().0;
                let sources: Vec<&[Block]> = (0..columns).map(source).collect();
                let mut sums = vec![vec![0x5a; width * 64 + 64]; rows];
                let mut into: Vec<&mut [Block]> = sums
                    .iter_mut()
                    .enumerate()
                    .map(|(i, sum)| sum[i + 1..][..width * 64].as_chunks_mut::<64>().0)
                    .collect();
                let ready = machine.factors(&factors, columns);
                machine.add_products(&mut into, &sources, (&ready, 0), &mut Vec::new());
                for (row, sum) in sums.iter().enumerate() {
                    let mut expected = vec![[0x5a; 64]; width];
                    for (source, factor) in sources.iter().zip(&factors[row * columns..]) {
                        if *factor != 0 {
                            let mut product = source.to_vec();
                            plain.mul(&mut product, tables.log[usize::from(*factor)]);
                            xor(&mut expected, &product);
                        }
                    }
                    assert!(sum[row + 1..][..width * 64] == *expected.as_flattened(), "{width} {rows} {columns}");
                    let around = sum[..row + 1].iter().chain(&sum[row + 1 + width * 64..]);
                    assert!(around.into_iter().all(|byte| *byte == 0x5a));
                }
            }
        }
    }
}
