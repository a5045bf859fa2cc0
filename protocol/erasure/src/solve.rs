//! Computes symbols of a codeword from others: any wanted ones, source or parity, from any `k` of `n`.
//!
//! A [`Solver`] is made once for a set of known and wanted places and is then used on as many codewords as there
//! are, in parts of any width and by several threads: what it finds out about the places is never
//! found out again. A wanted symbol is a sum of the known ones, each times a factor.
//!
//! Bytes are given as in slivers: one symbol, or a stripe of one, or many whole symbols one after the
//! other that each belong to another codeword.

use reed_solomon_simd::engine::tables;

use crate::code::{Block, Code, Field, Lanes, LocatorOf};
use crate::locator;

/// The order of the field's multiplicative group.
const ORDER: u32 = 65_535;

/// Why nothing can be solved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SolveError {
    /// The known places are not `k` different ones of the codeword.
    #[error("{needed} different known symbols are needed, not {given}")]
    Known {
        /// How many the code needs.
        needed: usize,
        /// How many different ones within the codeword were given.
        given: usize,
    },
    /// A wanted place is not in the codeword.
    #[error("there is no symbol {index} in a codeword of {total}")]
    Wanted {
        /// What was asked for.
        index: usize,
        /// Symbols of a codeword.
        total: usize,
    },
}

/// How a wanted symbol comes about.
#[derive(Clone, Debug)]
enum Way {
    /// It is the known one at this position.
    Copy(usize),
    /// A sum, with the factors of all known ones in their order.
    Sum(Vec<u16>),
}

/// Everything about known and wanted places that does not depend on the symbols.
#[derive(Clone, Debug)]
pub(crate) struct Solver {
    known: usize,
    ways: Vec<Way>,
}

/// The memory a thread solves in. Grows to what is needed and is kept.
#[derive(Default)]
pub(crate) struct SolveScratch {
    source: Vec<Block>,
    sum: Vec<Block>,
    product: Vec<Block>,
}

impl Solver {
    /// For codewords of `code` of which the symbols at `known` are there: exactly [`Code::source`] different
    /// indices. `wanted` are any indices, also known ones; both keep their order.
    ///
    /// # Errors
    /// [`SolveError`], when they are not that.
    pub(crate) fn new(code: &Code, known: &[usize], wanted: &[usize]) -> Result<Self, SolveError> {
        let total = code.total();
        let mut position = vec![None; total];
        for (at, index) in known.iter().enumerate() {
            if let Some(position) = position.get_mut(*index) {
                *position = Some(at);
            }
        }
        let given = position.iter().flatten().count();
        if given != code.source() || known.len() != given {
            return Err(SolveError::Known { needed: code.source(), given });
        }
        if let Some(index) = wanted.iter().copied().find(|index| *index >= total) {
            return Err(SolveError::Wanted { index, total });
        }
        let factors = Factors::new(code, known);
        let unknown: Vec<usize> = wanted.iter().copied().filter(|index| position[*index].is_none()).collect();
        let mut rows = factors.rows(code, &unknown).into_iter();
        let way = |index: &usize| position[*index].map_or_else(|| Way::Sum(rows.next().unwrap_or_default()), Way::Copy);
        Ok(Self { known: known.len(), ways: wanted.iter().map(way).collect() })
    }

    /// Solves. `known` and `wanted` are in the order they were given in [`Solver::new`], all of one length, and
    /// consist of parts of `symbol_bytes` bytes: whole symbols of as many codewords, one after the
    /// other, or a single stripe of one symbol. A stripe that does not end its symbol is whole blocks of 64 bytes.
    pub(crate) fn solve(
        &self,
        symbol_bytes: usize,
        known: &[&[u8]],
        wanted: &mut [&mut [u8]],
        scratch: &mut SolveScratch,
    ) {
        debug_assert!(known.len() == self.known && wanted.len() == self.ways.len());
        let field = Field::new();
        let lanes = Lanes::new(symbol_bytes);
        for (way, wanted) in self.ways.iter().zip(wanted) {
            let factors = match way {
                Way::Copy(position) => {
                    wanted.copy_from_slice(known[*position]);
                    continue;
                }
                Way::Sum(factors) => factors,
            };
            scratch.resize(lanes.blocks());
            for (start, part) in wanted.chunks_mut(symbol_bytes).enumerate() {
                scratch.sum.fill([0; 64]);
                for (factor, known) in factors.iter().zip(known) {
                    lanes.put(&mut scratch.source, 0, &known[start * symbol_bytes..][..symbol_bytes]);
                    field.multiply_add(&mut scratch.sum, &scratch.source, *factor, &mut scratch.product);
                }
                lanes.take(&scratch.sum, 0, part);
            }
        }
    }
}

impl SolveScratch {
    fn resize(&mut self, blocks: usize) {
        for memory in [&mut self.source, &mut self.sum, &mut self.product] {
            memory.resize(blocks, [0; 64]);
        }
    }
}

/// The logarithms that belong to the known symbols, and what those of wanted ones are made of.
struct Factors<'a> {
    known: &'a [usize],
    locator: Vec<usize>,
    of: LocatorOf,
}

impl<'a> Factors<'a> {
    fn new(code: &Code, known: &'a [usize]) -> Self {
        let (locator, of) = code.locator_points(known);
        Self { known, locator, of }
    }

    /// For each of `wanted`, none of which is known: the factor of every known symbol.
    fn rows(&self, code: &Code, wanted: &[usize]) -> Vec<Vec<u16>> {
        if wanted.is_empty() {
            return Vec::new();
        }
        let points: Vec<usize> = self.known.iter().chain(wanted).map(|index| code.point(*index)).collect();
        let logs = locator::log_products(code.points(), &self.locator, &points);
        let tables = tables::get_exp_log();
        let (known, wanted) = points.split_at(self.known.len());
        let (known_logs, wanted_logs) = logs.split_at(self.known.len());
        let row = |(wanted, wanted_log): (&usize, &u16)| {
            let factor = |(known, known_log): (&usize, &u16)| {
                let (plus, minus) = match self.of {
                    LocatorOf::Unknown => (known_log, wanted_log),
                    LocatorOf::Known => (wanted_log, known_log),
                };
                let difference = tables.log[known ^ wanted];
                let log = u32::from(*plus) + 2 * ORDER - u32::from(*minus) - u32::from(difference);
                tables.exp[(log % ORDER) as usize]
            };
            known.iter().zip(known_logs).map(factor).collect()
        };
        wanted.iter().zip(wanted_logs).map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(seed: usize, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    /// `count` codewords of symbols of `symbol` bytes: by index, the symbols of all of them one after the other.
    fn words(k: usize, n: usize, symbol: usize, count: usize) -> Vec<Vec<u8>> {
        let mut all = vec![Vec::new(); n];
        for word in 0..count {
            let source: Vec<Vec<u8>> = (0..k).map(|i| bytes(word * 10_000 + i, symbol)).collect();
            let parity = reed_solomon_simd::encode(k, n - k, &source).unwrap();
            all.iter_mut().zip(source.iter().chain(&parity)).for_each(|(all, symbol)| all.extend(symbol));
        }
        all
    }

    /// Some `k` of `n`, in no order.
    fn some(k: usize, n: usize, seed: usize) -> Vec<usize> {
        let mut indices: Vec<usize> = (0..n).collect();
        indices.sort_by_key(|index| *blake3::hash(&(index * 1_000_003 + seed).to_le_bytes()).as_bytes());
        indices.truncate(k);
        indices
    }

    #[test]
    fn any_symbols_come_from_any_others() {
        let mut scratch = SolveScratch::default();
        for n in (4..24).chain([31, 100, 129, 300]) {
            let f = (n - 1) / 3;
            for k in [n - 2 * f, n - f] {
                let code = Code::new(k, n);
                for (symbol, count) in [(2, 1), (2, 40), (6, 3), (62, 2), (64, 3), (130, 1), (462, 5), (2048, 1)] {
                    if n > 31 && symbol * count > 200 {
                        continue;
                    }
                    let words = words(k, n, symbol, count);
                    let few = some(3.min(n), n, symbol);
                    let all: Vec<usize> = (0..n).collect();
                    for (seed, wanted) in [(1, &all), (2, &few), (3, &few)] {
                        let known = if seed == 3 { (n - k..n).collect() } else { some(k, n, seed) };
                        let solver = Solver::new(&code, &known, wanted).unwrap();
                        let from: Vec<&[u8]> = known.iter().map(|index| words[*index].as_slice()).collect();
                        let mut out = vec![vec![0xa5; symbol * count]; wanted.len()];
                        let mut into: Vec<&mut [u8]> = out.iter_mut().map(Vec::as_mut_slice).collect();
                        solver.solve(symbol, &from, &mut into, &mut scratch);
                        for (index, out) in wanted.iter().zip(&out) {
                            assert!(out == &words[*index], "{k} of {n}, {count} of {symbol} bytes, symbol {index}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn wrong_places_are_refused() {
        let code = Code::new(4, 10);
        let known = |known: &[usize], wanted: &[usize]| Solver::new(&code, known, wanted).err();
        assert_eq!(known(&[0, 1, 2], &[]), Some(SolveError::Known { needed: 4, given: 3 }));
        assert_eq!(known(&[0, 1, 2, 2], &[]), Some(SolveError::Known { needed: 4, given: 3 }));
        assert_eq!(known(&[0, 1, 2, 10], &[]), Some(SolveError::Known { needed: 4, given: 3 }));
        assert_eq!(known(&[0, 1, 2, 3, 3], &[]), Some(SolveError::Known { needed: 4, given: 4 }));
        assert_eq!(known(&[0, 1, 2, 3], &[10]), Some(SolveError::Wanted { index: 10, total: 10 }));
        assert_eq!(known(&[9, 1, 7, 3], &[9, 9, 0]), None);
    }
}
