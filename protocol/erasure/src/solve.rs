//! Computes symbols of a codeword from others: any wanted ones, source or parity, from any `k` of `n`.
//!
//! A [`Solver`] is made once for a set of known and wanted places and is then used on as many codewords as there
//! are, in parts of any width and by several threads: what it finds out about the places is never
//! found out again. There are two ways:
//!
//! * *direct*: a wanted symbol is a sum of the known ones, each times a factor. Costs known times wanted products.
//! * *transform*: all symbols of the codeword's domain at once: times the locator, inverse transform, derivative, transform,
//!   by the locator again. Costs the same however many are wanted; only large codes with much missing come to it.
//!
//! Bytes are given as in slivers: one symbol, or a stripe of one, or many whole symbols one after the
//! other that each belong to another codeword. Whole blocks of 64 bytes are read and written where they are. What is left of
//! each symbol is packed with that of its neighbours: see [`Shape`].
//!
//! # Source
//! As [`crate::locator`]; the derivative as in Leopard (`reed-solomon-simd` `src/engine/utils.rs`).

use std::ops::Range;
use std::sync::OnceLock;

use reed_solomon_simd::engine::{Engine, ShardsRefMut, tables};

use crate::code::{Block, Code, LocatorOf, Shape};
use crate::engine::{Factors, Machine};
use crate::locator;

/// The order of the field's multiplicative group.
const ORDER: u32 = 65_535;
/// Bytes of work of the transform way: leaves room for the symbols beside it in a second-level cache of 1 MiB.
const WORK_BYTES: usize = 768 << 10;
/// Fewest blocks of a symbol that are worth a run of their own.
const RUN_BLOCKS_MIN: usize = 3;
/// Blocks of a single symbol up to which making all factors takes longer than using them.
const RUN_BLOCKS_PACKED: usize = 16;
/// Widest and narrowest stripe of the transform way, in blocks: beyond the one nothing is gained, below the other much is lost.
const STRIPE_BLOCKS_MAX: usize = 32;
const STRIPE_BLOCKS_MIN: usize = 4;

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

/// Everything about known and wanted places that does not depend on the symbols.
#[derive(Clone, Debug)]
pub(crate) struct Solver {
    machine: Machine,
    known: usize,
    /// For each wanted symbol: where it is among the known, if it is one of them.
    copied: Vec<Option<usize>>,
    way: Way,
}

/// How the wanted symbols that are not known come about.
#[derive(Clone, Debug)]
enum Way {
    Direct(Direct),
    Transform(Transform),
}

/// The memory a thread solves in. Grows to what is needed and is kept.
#[derive(Default)]
pub(crate) struct SolveScratch {
    work: Vec<Block>,
    /// What is not read or written where it is, packed: of known and of wanted symbols.
    packed_from: Vec<Block>,
    packed_to: Vec<Block>,
}

impl Solver {
    /// For codewords of `code` of which the symbols at `known` are there: exactly [`Code::source`] different
    /// indices. `wanted` are any indices, also known ones; both keep their order.
    ///
    /// # Errors
    /// [`SolveError`], when they are not that.
    pub(crate) fn new(code: &Code, known: &[usize], wanted: &[usize]) -> Result<Self, SolveError> {
        Self::on(Machine::detect(), code, known, wanted, direct_products(code))
    }

    /// The same on a machine, going the direct way up to `products` of them.
    fn on(
        machine: Machine,
        code: &Code,
        known: &[usize],
        wanted: &[usize],
        products: usize,
    ) -> Result<Self, SolveError> {
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
        let unknown: Vec<usize> = wanted.iter().copied().filter(|index| position[*index].is_none()).collect();
        let logs = Logs::new(code, known, &unknown);
        let way = if known.len() * unknown.len() <= products {
            Way::Direct(Direct { points: code.points(), logs, factors: OnceLock::new() })
        } else {
            Way::Transform(Transform::new(machine, code, logs))
        };
        Ok(Self { machine, known: known.len(), copied: wanted.iter().map(|index| position[*index]).collect(), way })
    }

    /// Solves. `known` and `wanted` are in the order they were given in [`Solver::new`], all of one length, and
    /// consist of parts of `symbol_bytes` bytes: whole symbols of as many codewords, one after the
    /// other, or a single stripe of one symbol. A stripe that does not end its symbol is whole blocks of 64 bytes.
    ///
    /// # Panics
    /// When they are not as many, or not of one length.
    pub(crate) fn solve(
        &self,
        symbol_bytes: usize,
        known: &[&[u8]],
        wanted: &mut [&mut [u8]],
        scratch: &mut SolveScratch,
    ) {
        let length = known.first().map_or(0, |known| known.len());
        assert!(known.len() == self.known && wanted.len() == self.copied.len());
        assert!(known.iter().all(|known| known.len() == length) && wanted.iter().all(|wanted| wanted.len() == length));
        let mut sums: Vec<&mut [u8]> = Vec::with_capacity(wanted.len());
        for (wanted, copied) in wanted.iter_mut().zip(&self.copied) {
            match copied {
                Some(position) => wanted.copy_from_slice(known[*position]),
                None => sums.push(wanted),
            }
        }
        if sums.is_empty() {
            return;
        }
        if let Way::Direct(direct) = &self.way
            && length == symbol_bytes
            && length <= 64 * RUN_BLOCKS_PACKED
        {
            let packed = Packed { symbol: length, whole: 0, shape: Shape::new(length, 1) };
            return direct.solve_once(self.machine, known, &mut sums, packed, scratch);
        }
        if symbol_bytes.is_multiple_of(64) {
            return self.run(known, &mut sums, 0..length, &mut scratch.work);
        }
        let mut whole = symbol_bytes / 64 * 64;
        if whole < 64 * RUN_BLOCKS_MIN {
            // Runs so short cost more to begin than to copy.
            whole = 0;
        }
        if whole > 0 {
            for start in (0..length).step_by(symbol_bytes) {
                self.run(known, &mut sums, start..start + whole, &mut scratch.work);
            }
        }
        let shape = Shape::new(symbol_bytes - whole, length / symbol_bytes);
        self.solve_packed(known, &mut sums, Packed { symbol: symbol_bytes, whole, shape }, scratch);
    }

    /// What is left of every symbol after its whole blocks, packed.
    fn solve_packed(&self, known: &[&[u8]], sums: &mut [&mut [u8]], packed: Packed, scratch: &mut SolveScratch) {
        scratch.pack(known, sums.len(), packed);
        let (from, mut to, work) = scratch.parts(packed);
        self.run(&from, &mut to, 0..64 * packed.shape.blocks(), work);
        scratch.unpack(sums, packed);
    }

    /// Solves the same whole blocks of all.
    fn run(&self, known: &[&[u8]], sums: &mut [&mut [u8]], bytes: Range<usize>, work: &mut Vec<Block>) {
        match &self.way {
            Way::Direct(direct) => direct.run(self.machine, known, sums, bytes),
            Way::Transform(transform) => transform.run(self.machine, known, sums, bytes, work),
        }
    }
}

impl SolveScratch {
    /// Brings known symbols to blocks, and makes room for as many `sums`.
    fn pack(&mut self, known: &[&[u8]], sums: usize, packed: Packed) {
        let blocks = packed.shape.blocks();
        self.packed_from.resize(known.len() * blocks, [0; 64]);
        self.packed_to.resize(sums * blocks, [0; 64]);
        for (known, blocks) in known.iter().zip(self.packed_from.chunks_mut(blocks)) {
            packed.pack(known, blocks);
        }
    }

    /// The bytes of what was packed, of what comes out, and the work.
    fn parts(&mut self, packed: Packed) -> (Vec<&[u8]>, Vec<&mut [u8]>, &mut Vec<Block>) {
        let blocks = packed.shape.blocks();
        let from = self.packed_from.chunks(blocks).map(<[Block]>::as_flattened).collect();
        let to = self.packed_to.chunks_mut(blocks).map(<[Block]>::as_flattened_mut).collect();
        (from, to, &mut self.work)
    }

    /// Brings what came out to the sums.
    fn unpack(&self, sums: &mut [&mut [u8]], packed: Packed) {
        for (sum, blocks) in sums.iter_mut().zip(self.packed_to.chunks(packed.shape.blocks())) {
            packed.unpack(blocks, sum);
        }
    }
}

/// The direct way.
#[derive(Clone, Debug)]
struct Direct {
    points: usize,
    logs: Logs,
    /// By wanted and known symbol; made when it pays.
    factors: OnceLock<Factors>,
}

impl Direct {
    fn run(&self, machine: Machine, known: &[&[u8]], sums: &mut [&mut [u8]], bytes: Range<usize>) {
        let factors = self.factors.get_or_init(|| machine.factors(self.logs.elements()));
        machine.products(sums, known, (factors, |row, column| row * known.len() + column), bytes);
    }

    /// One short symbol of each. Making a factor for each pair would take as long as using it: what belongs to the known or
    /// to the wanted symbol alone is applied to those, and the rest, `1 / (w - i)`, is the same for all erasures.
    fn solve_once(
        &self,
        machine: Machine,
        known: &[&[u8]],
        sums: &mut [&mut [u8]],
        packed: Packed,
        scratch: &mut SolveScratch,
    ) {
        let blocks = packed.shape.blocks();
        scratch.pack(known, sums.len(), packed);
        for (blocks, (_, log)) in scratch.packed_from.chunks_mut(blocks).zip(&self.logs.known) {
            // Logarithms are reduced, hence below 65,535.
            machine.mul(blocks, *log as u16);
        }
        let (from, mut to, _) = scratch.parts(packed);
        let difference = |row: usize, column: usize| self.logs.wanted[row].0 ^ self.logs.known[column].0;
        machine.products(&mut to, &from, (machine.inverses(self.points), difference), 0..64 * blocks);
        for (blocks, (_, log)) in scratch.packed_to.chunks_mut(blocks).zip(&self.logs.wanted) {
            machine.mul(blocks, *log as u16);
        }
        scratch.unpack(sums, packed);
    }
}

/// Products up to which the direct way is the faster one, measured with GFNI at `n` = 1000: four to six for every
/// three butterflies of the transforms over all points.
fn direct_products(code: &Code) -> usize {
    code.points() * code.points().ilog2() as usize * 5 / 4
}

/// The parts of neighbouring symbols after their first bytes, side by side.
#[derive(Clone, Copy)]
struct Packed {
    symbol: usize,
    /// Bytes of each symbol that are left out.
    whole: usize,
    shape: Shape,
}

impl Packed {
    /// From neighbouring symbols to blocks.
    fn pack(self, symbols: &[u8], blocks: &mut [Block]) {
        for (word, symbol) in symbols.chunks(self.symbol).enumerate() {
            self.shape.put(blocks, word, &symbol[self.whole..]);
        }
    }

    /// From blocks to neighbouring symbols.
    fn unpack(self, blocks: &[Block], symbols: &mut [u8]) {
        for (word, symbol) in symbols.chunks_mut(self.symbol).enumerate() {
            self.shape.take(blocks, word, &mut symbol[self.whole..]);
        }
    }
}

/// Points of known and wanted symbols, and the logarithms of what to multiply them with.
#[derive(Clone, Debug)]
struct Logs {
    known: Vec<(usize, u32)>,
    wanted: Vec<(usize, u32)>,
}

impl Logs {
    fn new(code: &Code, known: &[usize], wanted: &[usize]) -> Self {
        if wanted.is_empty() {
            return Self { known: Vec::new(), wanted: Vec::new() };
        }
        let points: Vec<usize> = known.iter().chain(wanted).map(|index| code.point(*index)).collect();
        let (locator, of) = code.locator_points(known);
        let sums = locator::log_products(code.points(), &locator, &points);
        let mut logs = points.into_iter().zip(sums.into_iter().map(u32::from));
        let invert = |(point, log): (usize, u32)| (point, (ORDER - log) % ORDER);
        let mut known: Vec<(usize, u32)> = logs.by_ref().take(known.len()).collect();
        let mut wanted: Vec<(usize, u32)> = logs.collect();
        // What multiplies is the product over the unknown points; that over the known ones is its inverse.
        let inverse = match of {
            LocatorOf::Known => &mut known,
            LocatorOf::Unknown => &mut wanted,
        };
        inverse.iter_mut().for_each(|log| *log = invert(*log));
        Self { known, wanted }
    }

    /// The factors of the direct way: for each wanted symbol a row with one for each known.
    fn elements(&self) -> impl Iterator<Item = u16> {
        let tables = tables::get_exp_log();
        let element = move |known: &(usize, u32), wanted: &(usize, u32)| {
            let difference = u32::from(tables.log[known.0 ^ wanted.0]);
            tables.exp[((known.1 + wanted.1 + ORDER - difference) % ORDER) as usize]
        };
        self.wanted.iter().flat_map(move |wanted| self.known.iter().map(move |known| element(known, wanted)))
    }
}

/// What the transform way needs to know.
#[derive(Clone, Debug)]
struct Transform {
    points: usize,
    /// Points from which on nothing is known, and nothing is wanted.
    known_end: usize,
    wanted_end: usize,
    known: Vec<usize>,
    wanted: Vec<usize>,
    before: Factors,
    after: Factors,
}

impl Transform {
    fn new(machine: Machine, code: &Code, logs: Logs) -> Self {
        let exp = &tables::get_exp_log().exp;
        let factors = |logs: &[(usize, u32)]| machine.factors(logs.iter().map(|(_, log)| exp[*log as usize]));
        let points = |logs: &[(usize, u32)]| logs.iter().map(|(point, _)| *point).collect::<Vec<_>>();
        let (known, wanted) = (points(&logs.known), points(&logs.wanted));
        let end = |points: &[usize]| points.iter().max().map_or(0, |last| last + 1);
        Self {
            points: code.points(),
            known_end: end(&known),
            wanted_end: end(&wanted),
            before: factors(&logs.known),
            after: factors(&logs.wanted),
            known,
            wanted,
        }
    }

    fn run(
        &self,
        machine: Machine,
        known: &[&[u8]],
        sums: &mut [&mut [u8]],
        bytes: Range<usize>,
        work: &mut Vec<Block>,
    ) {
        let most = (WORK_BYTES / (64 * self.points)).clamp(STRIPE_BLOCKS_MIN, STRIPE_BLOCKS_MAX);
        work.resize(self.points * most, [0; 64]);
        for start in bytes.clone().step_by(64 * most) {
            let end = bytes.end.min(start + 64 * most);
            let blocks = (end - start) / 64;
            let work = &mut work[..self.points * blocks];
            work.fill([0; 64]);
            for (column, (known, point)) in known.iter().zip(&self.known).enumerate() {
                let into = &mut work[point * blocks..(point + 1) * blocks];
                machine.scale(into, known[start..end].as_chunks().0, &self.before, column);
            }
            machine.ifft(&mut ShardsRefMut::new(self.points, blocks, work), 0, self.points, self.known_end, 0);
            for i in 1..self.points {
                let width = 1 << i.trailing_zeros();
                let (low, high) = work.split_at_mut(i * blocks);
                machine.xor(&mut low[(i - width) * blocks..], &high[..width * blocks]);
            }
            machine.fft(&mut ShardsRefMut::new(self.points, blocks, work), 0, self.points, self.wanted_end, 0);
            for (column, (sum, point)) in sums.iter_mut().zip(&self.wanted).enumerate() {
                let from = &work[point * blocks..(point + 1) * blocks];
                machine.scale(sum[start..end].as_chunks_mut().0, from, &self.after, column);
            }
        }
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
                        let from: Vec<&[u8]> = known.iter().map(|index| words[*index].as_slice()).collect();
                        for (machine, products) in [
                            (Machine::detect(), usize::MAX),
                            (Machine::detect(), 0),
                            (Machine::stock(), usize::MAX),
                            (Machine::stock(), 0),
                        ] {
                            let solver = Solver::on(machine, &code, &known, wanted, products).unwrap();
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
