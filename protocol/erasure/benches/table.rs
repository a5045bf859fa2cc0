//! Prints how far encoding and reading are from the machine's floor, as ratios from one run.
//!
//! ```text
//! cargo bench -p floe-erasure --bench table -- [--quick] [--n 10,100] [--size 1MiB,16MiB] [--only encode,read]
//! ```
//!
//! The floor of encoding is computed here, on this machine, beside what it is compared with:
//!
//! * Reed-Solomon: the encoders of `reed-solomon-simd`, warm and reused, one call for each column and each row;
//! * hashing: `n * n` symbols and `2 n * n` nodes, sixteen at a time through BLAKE3's own kernel for many inputs, blocks
//!   rounded up, from memory that is in the cache;
//! * writing: one copy of the output.
//!
//! Large shapes are measured on a part of their rows, columns and symbols and scaled: the work is the same for each.
//! Every figure is the least of several rounds in which all that is compared takes turns, so that what else the machine
//! does falls on all alike and on the least the least; of one thread's work that takes long it is processor time. Ratios are floor / ours: 1 is as good as the floor.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use blake3::IncrementCounter;
use blake3::platform::Platform;
use floe_erasure::{
    Axis, CheckedPrimary, CheckedProof, Encoded, Layout, MemorySink, Options, PairIndex, Part, ReadAt, RootVector,
    SliverId, WriteAt, decode, encode, identify, recover_sliver, recovery_symbol, verify_primary,
};
use reed_solomon_simd::ReedSolomonEncoder;
use reed_solomon_simd::engine::tables;
use reed_solomon_simd::engine::{DefaultEngine, Engine, ShardsRefMut};

const SHARDS: [u16; 4] = [10, 31, 100, 1000];
const SIZES: [(&str, usize); 4] = [("64KiB", 1 << 16), ("1MiB", 1 << 20), ("16MiB", 1 << 24), ("256MiB", 1 << 28)];
/// Bytes that a part of a shape is measured on, before it is scaled to the whole.
const SAMPLE_BYTES: usize = 16 << 20;

/// What to run.
struct Plan {
    shards: Vec<u16>,
    sizes: Vec<(String, usize)>,
    only: Vec<String>,
    budget: Duration,
}

impl Plan {
    fn of_arguments() -> Self {
        let mut plan = Self {
            shards: SHARDS.to_vec(),
            sizes: SIZES.map(|(name, length)| (name.to_owned(), length)).to_vec(),
            only: Vec::new(),
            budget: Duration::from_millis(1500),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut list = || arguments.next().unwrap_or_default().split(',').map(str::to_owned).collect::<Vec<_>>();
            match argument.as_str() {
                "--quick" => {
                    plan.sizes.truncate(3);
                    plan.budget = Duration::from_millis(150);
                }
                "--n" => plan.shards = list().iter().map(|n| n.parse().unwrap()).collect(),
                "--only" => plan.only = list(),
                "--size" => {
                    let names = list();
                    plan.sizes = SIZES.map(|(name, length)| (name.to_owned(), length)).to_vec();
                    plan.sizes.retain(|(name, _)| names.contains(name));
                }
                _ => {}
            }
        }
        plan
    }

    fn runs(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == part)
    }
}

/// The processor time of this thread in seconds, where the kernel tells: to a few milliseconds.
fn processor() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split_whitespace().next()?.parse::<f64>().ok()? / 1e9)
}

/// What counts as time when it is long.
#[derive(Clone, Copy, PartialEq)]
enum Clock {
    /// Of one thread: what other processes take from it does not count.
    Processor,
    Wall,
}

/// Seconds from which on processor time is exact enough.
const LONG: f64 = 0.1;

/// The least time of each of `what`, which take turns and are the work of one thread.
fn least<const N: usize>(budget: Duration, what: [&mut dyn FnMut(); N]) -> [f64; N] {
    least_by([Clock::Processor; N], budget, what)
}

fn least_by<const N: usize>(clocks: [Clock; N], budget: Duration, mut what: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut least = [f64::INFINITY; N];
    let begun = Instant::now();
    let mut rounds = 0;
    while rounds < 3 || begun.elapsed() < budget && rounds < 1000 {
        for ((least, what), clock) in least.iter_mut().zip(&mut what).zip(clocks) {
            let (start, before) = (Instant::now(), processor());
            what();
            let mut seconds = start.elapsed().as_secs_f64();
            if let (true, Clock::Processor, Some(before), Some(after)) = (seconds > LONG, clock, before, processor()) {
                seconds = after - before;
            }
            *least = least.min(seconds);
        }
        rounds += 1;
    }
    least
}

fn bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn options(threads: usize) -> Options<'static> {
    Options { threads: NonZeroUsize::new(threads).unwrap(), ..Options::default() }
}

/// Seconds of coding `lines` codewords from `source` to `total` symbols, with a warm encoder.
fn floor_code(layout: &Layout, (source, total, lines): (usize, usize, usize), memory: &[u8], budget: Duration) -> f64 {
    let symbol = layout.symbol_bytes() as usize;
    // A symbol of many blocks is coded block by block: a part of it is as good.
    let width = symbol.min((SAMPLE_BYTES / source).max(64) / 64 * 64);
    let sample = (SAMPLE_BYTES / (source * width)).clamp(1, lines);
    let mut encoder = ReedSolomonEncoder::new(source, total - source, width).unwrap();
    let mut run = || {
        for line in 0..sample {
            let line = &memory[line * source * width % (memory.len() - source * width + 1)..];
            line.chunks(width).take(source).for_each(|symbol| encoder.add_original_shard(symbol).unwrap());
            black_box(encoder.encode().unwrap().recovery_iter().count());
        }
    };
    let [seconds] = least(budget, [&mut run]);
    seconds * lines as f64 / sample as f64 * symbol as f64 / width as f64
}

/// Seconds of one call of the many-input kernel on 16 inputs of `N` bytes, for each input.
fn kernel<const N: usize>(memory: &[u8], budget: Duration) -> f64 {
    let platform = Platform::detect();
    let mut out = [0; 16 * 32];
    let mut run = || {
        for round in 0..64 {
            let start = round * 16 * N % (1 << 18);
            let lanes: [&[u8; N]; 16] = std::array::from_fn(|i| memory[start + i * N..].first_chunk().unwrap());
            platform.hash_many(&lanes, &[7; 8], 0, IncrementCounter::No, 0, 1, 2, &mut out);
            black_box(&out);
        }
    };
    let [seconds] = least(budget, [&mut run]);
    seconds / (64.0 * 16.0)
}

/// Seconds of hashing one symbol of `symbol` bytes, many at a time.
fn floor_symbol(symbol: usize, memory: &[u8], budget: Duration) -> f64 {
    let whole = if symbol >= 1024 { kernel::<1024>(memory, budget) * (symbol / 1024) as f64 } else { 0.0 };
    let rest = symbol % 1024;
    let (one, all) = (kernel::<64>(memory, budget), kernel::<1024>(memory, budget));
    let blocks = rest.div_ceil(64);
    // Between one block and sixteen the time is linear.
    let rest = if blocks == 0 { 0.0 } else { one + (all - one) / 15.0 * (blocks - 1) as f64 };
    whole + rest + symbol.div_ceil(1024).saturating_sub(1) as f64 * one
}

/// Seconds of copying `length` bytes to warm memory.
fn floor_copy(length: usize, memory: &[u8], budget: Duration) -> f64 {
    let part = length.min(memory.len());
    let mut target = vec![0; part];
    let mut run = || {
        target.copy_from_slice(black_box(&memory[..part]));
        black_box(&target);
    };
    let [seconds] = least(budget, [&mut run]);
    seconds * length as f64 / part as f64
}

struct Floor {
    code: f64,
    hash: f64,
    write: f64,
}

impl Floor {
    fn new(layout: &Layout, memory: &[u8], budget: Duration) -> Self {
        let [n, p, c] = [layout.shards(), layout.rows(), layout.columns()].map(usize::from);
        let budget = budget / 6;
        let code = floor_code(layout, (p, n, c), memory, budget) + floor_code(layout, (c, n, n), memory, budget);
        let symbol = floor_symbol(layout.symbol_bytes() as usize, memory, budget);
        let hash = (n * n) as f64 * (symbol + 2.0 * kernel::<64>(memory, budget));
        Self { code, hash, write: floor_copy(layout.encoded_bytes() as usize, memory, budget) }
    }

    fn total(&self) -> f64 {
        self.code + self.hash + self.write
    }
}

fn ms(seconds: f64) -> String {
    format!("{:.3}", seconds * 1000.0)
}

fn encoding(plan: &Plan) {
    println!("encode: ms; floor = code + hash + write; ratios as the heading says");
    println!(
        "{:>5} {:>7} | {:>9} {:>9} {:>9} {:>9} | {:>9} {:>9} {:>9} {:>9} | {:>8} {:>8} {:>8} {:>8}",
        "n",
        "blob",
        "code",
        "hash",
        "write",
        "floor",
        "one core",
        "two",
        "id",
        "id two",
        "floor/1",
        "one/two",
        "id/enc",
        "floor/2x"
    );
    for n in &plan.shards {
        for (name, length) in &plan.sizes {
            let layout = Layout::new(*n, *length as u64).unwrap();
            let memory = bytes((*length).max(2 * SAMPLE_BYTES));
            let blob = &memory[..*length];
            let sink = MemorySink::new(layout.encoded_bytes() as usize);
            encode(&blob, *length as u64, *n, &sink, &options(2)).unwrap();
            let floor = Floor::new(&layout, &memory, plan.budget);
            let code = |threads| {
                encode(black_box(&blob), *length as u64, *n, &sink, &options(threads)).unwrap();
            };
            let name_only = |threads| {
                black_box(identify(black_box(&blob), *length as u64, *n, &options(threads)).unwrap());
            };
            let clocks = [Clock::Processor, Clock::Wall, Clock::Processor, Clock::Wall];
            let what: [&mut dyn FnMut(); 4] =
                [&mut || code(1), &mut || code(2), &mut || name_only(1), &mut || name_only(2)];
            let times = least_by(clocks, plan.budget, what);
            let [one, two, id, id_two] = times;
            println!(
                "{n:>5} {name:>7} | {:>9} {:>9} {:>9} {:>9} | {:>9} {:>9} {:>9} {:>9} | {:>8.2} {:>8.2} {:>8.2} {:>8.2}",
                ms(floor.code),
                ms(floor.hash),
                ms(floor.write),
                ms(floor.total()),
                ms(one),
                ms(two),
                ms(id),
                ms(id_two),
                floor.total() / one,
                one / two,
                id / one,
                floor.total() / 2.0 / two
            );
        }
    }
}

fn encoded(blob: &[u8], n: u16) -> (Encoded, Vec<u8>) {
    let layout = Layout::new(n, blob.len() as u64).unwrap();
    let sink = MemorySink::new(layout.encoded_bytes() as usize);
    let encoded = encode(&blob, blob.len() as u64, n, &sink, &options(2)).unwrap();
    (encoded, sink.into_bytes())
}

#[allow(clippy::ptr_arg)] // A slice is no source behind a pointer, a vector is.
fn parts<'a>(
    encoded: &Encoded,
    fragments: &'a Vec<u8>,
    pairs: impl Iterator<Item = u16>,
) -> Vec<(PairIndex, Part<'a>)> {
    let place = |pair| (PairIndex(pair), Part::new(fragments, encoded.fragment_offset(PairIndex(pair))));
    pairs.map(place).collect()
}

fn checked<'a>(encoded: &Encoded, parts: &'a [(PairIndex, Part<'a>)]) -> Vec<(CheckedPrimary, &'a dyn ReadAt)> {
    let (blob, layout) = (encoded.blob_id(), encoded.layout());
    let check = |(pair, part): &'a (PairIndex, Part<'a>)| {
        let proof = encoded.proof(*pair);
        let checked = verify_primary(&blob, &layout, *pair, &proof, part, &options(1)).unwrap();
        (checked, part as &dyn ReadAt)
    };
    parts.iter().map(check).collect()
}

fn reading(plan: &Plan) {
    println!("\nread from all systematic: ms; floor = BLAKE3 over the same bytes + one copy");
    println!(
        "{:>5} {:>7} | {:>9} {:>9} {:>9} {:>9} | {:>8} {:>8}",
        "n", "blob", "floor", "verified", "identify", "with id", "floor/1", "id/with"
    );
    for n in &plan.shards {
        for (name, length) in &plan.sizes {
            let blob = bytes(*length);
            let (encoded, fragments) = encoded(&blob, *n);
            let layout = encoded.layout();
            let parts = parts(&encoded, &fragments, 0..layout.rows());
            let (mut out, mut again) = (Vec::with_capacity(*length), Vec::with_capacity(*length));
            let mut copy = vec![0; *length];
            let read = |out: &mut Vec<u8>| {
                out.clear();
                let slivers = checked(&encoded, &parts);
                decode(&layout, &slivers, out, &options(1)).unwrap();
            };
            let times = least(
                plan.budget,
                [
                    &mut || {
                        black_box(blake3::hash(black_box(&blob)));
                        copy.copy_from_slice(black_box(&blob));
                        black_box(&copy);
                    },
                    &mut || read(&mut out),
                    &mut || {
                        black_box(identify(black_box(&blob), *length as u64, *n, &options(1)).unwrap());
                    },
                    &mut || {
                        read(&mut again);
                        assert_eq!(identify(&again, *length as u64, *n, &options(1)).unwrap(), encoded.blob_id());
                    },
                ],
            );
            let [floor, verified, id, with_id] = times;
            println!(
                "{n:>5} {name:>7} | {:>9} {:>9} {:>9} {:>9} | {:>8.2} {:>8.2}",
                ms(floor),
                ms(verified),
                ms(id),
                ms(with_id),
                floor / verified,
                id / with_id
            );
        }
    }
}

/// Decodes all columns of one blob from `known` primaries with one transform for each stripe: the locator is made once
/// and both transforms run over the code's own number of points. Primary slivers are coded from `p` to `n`.
struct TransformDecode {
    engine: DefaultEngine,
    points: usize,
    chunk: usize,
    /// By known sliver: its point and the logarithm it is multiplied by.
    before: Vec<(usize, u16)>,
    /// By missing row: its point and the logarithm it is multiplied by.
    after: Vec<(usize, u16)>,
}

const STRIPE: usize = 1024;

impl TransformDecode {
    /// For shapes with `p` a power of two smaller than that of `n - p`, so that the source comes first.
    fn new(layout: &Layout, known: &[usize]) -> Self {
        let (p, n) = (usize::from(layout.rows()), usize::from(layout.shards()));
        let chunk = p.next_power_of_two();
        assert!(chunk < (n - p).next_power_of_two());
        let points = (chunk + n - p).next_power_of_two();
        let point = |index: usize| if index < p { index } else { chunk + index - p };
        let there: Vec<usize> = known.iter().map(|i| point(*i)).chain(p..chunk).collect();
        let log = &tables::get_exp_log().log;
        let sum = |at: usize| {
            let sum: u64 = there.iter().filter(|i| **i != at).map(|i| u64::from(log[i ^ at])).sum();
            (sum % 65_535) as u16
        };
        let missing = (0..p).filter(|row| !known.contains(row));
        Self {
            engine: DefaultEngine::new(),
            points,
            chunk,
            before: known.iter().map(|i| (point(*i), (65_535 - sum(point(*i))) % 65_535)).collect(),
            after: missing.map(|row| (row, sum(row))).collect(),
        }
    }

    /// `slivers` in the order they were given; the missing rows are written to `rows`.
    fn run(&self, slivers: &[&[u8]], rows: &mut [Vec<u8>], work: &mut Vec<[u8; 64]>) {
        let length = slivers[0].len();
        let blocks = STRIPE / 64;
        work.resize(self.points * blocks, [0; 64]);
        for start in (0..length).step_by(STRIPE) {
            let end = length.min(start + STRIPE);
            work.fill([0; 64]);
            for (sliver, (point, log)) in slivers.iter().zip(&self.before) {
                let into = &mut work[point * blocks..(point + 1) * blocks];
                into.as_flattened_mut()[..end - start].copy_from_slice(&sliver[start..end]);
                self.engine.mul(into, *log);
            }
            let mut shards = ShardsRefMut::new(self.points, blocks, work);
            self.engine.ifft(&mut shards, 0, self.points, self.points, 0);
            for i in 1..self.points {
                let width = 1 << i.trailing_zeros();
                let (low, high) = work.split_at_mut(i * blocks);
                let low = low[(i - width) * blocks..].as_flattened_mut();
                low.iter_mut().zip(high[..width * blocks].as_flattened()).for_each(|(low, high)| *low ^= high);
            }
            let mut shards = ShardsRefMut::new(self.points, blocks, work);
            self.engine.fft(&mut shards, 0, self.points, self.chunk, 0);
            for (row, (point, log)) in rows.iter_mut().zip(&self.after) {
                let from = &mut work[point * blocks..(point + 1) * blocks];
                self.engine.mul(from, *log);
                row[start..end].copy_from_slice(&from.as_flattened()[..end - start]);
            }
        }
    }
}

fn degraded(plan: &Plan) {
    println!("\nread with systematic slivers missing: ms; against one striped transform decode and one copy");
    println!("{:>5} {:>7} {:>8} | {:>9} {:>9} | {:>8}", "n", "blob", "missing", "transform", "ours", "faster");
    let shapes = [
        (100, "1MiB", vec![1, 8, 11, 34]),
        (100, "16MiB", vec![1, 8, 11, 34]),
        (1000, "64MiB", vec![1, 8, 32, 111, 334]),
    ];
    for (n, name, counts) in shapes {
        if !plan.shards.contains(&n) || plan.sizes.len() == 3 && name == "64MiB" {
            continue;
        }
        let length = if name == "64MiB" { 64 << 20 } else { SIZES.iter().find(|size| size.0 == name).unwrap().1 };
        let blob = bytes(length);
        let (encoded, fragments) = encoded(&blob, n);
        let layout = encoded.layout();
        for missing in counts {
            let rows = layout.rows();
            // Spread over the rows, and replaced by parity slivers.
            let gone: Vec<u16> =
                (0..missing).map(|i| (u32::from(i) * u32::from(rows) / u32::from(missing)) as u16).collect();
            let pairs: Vec<u16> = (0..rows).filter(|row| !gone.contains(row)).chain(n - missing..n).collect();
            let known: Vec<usize> = pairs.iter().map(|pair| usize::from(*pair)).collect();
            let transform = TransformDecode::new(&layout, &known);
            let sliver = |pair: &u16| {
                let start = encoded.fragment_offset(PairIndex(*pair)) as usize;
                &fragments[start..start + layout.primary_bytes() as usize]
            };
            // Symbols whose length is no multiple of a block would need one more copy: not counted against it.
            let whole = layout.primary_bytes() as usize / 64 * 64;
            let slivers: Vec<&[u8]> = pairs.iter().map(|pair| &sliver(pair)[..whole]).collect();
            let mut restored = vec![vec![0; whole]; usize::from(missing)];
            let (mut work, mut copy, mut out) = (Vec::new(), vec![0; length], Vec::with_capacity(length));
            let parts = parts(&encoded, &fragments, pairs.iter().copied());
            let checked = checked(&encoded, &parts);
            let times = least(
                plan.budget,
                [
                    &mut || {
                        transform.run(&slivers, &mut restored, &mut work);
                        copy.copy_from_slice(black_box(&blob));
                        black_box((&copy, &restored));
                    },
                    &mut || {
                        out.clear();
                        decode(&layout, &checked, &mut out, &options(1)).unwrap();
                    },
                ],
            );
            assert!(out == blob);
            if layout.symbol_bytes() % 64 == 0 {
                let row = usize::from(gone[0]);
                assert_eq!(restored[0], blob[row * whole..(row + 1) * whole], "the comparison decodes too");
            }
            let [theirs, ours] = times;
            println!("{n:>5} {name:>7} {missing:>8} | {:>9} {:>9} | {:>8.2}", ms(theirs), ms(ours), theirs / ours);
        }
    }
}

/// Rebuilds slivers from bare symbols of random helpers, as one call, with the root compared.
fn recovering(plan: &Plan) {
    println!("\nrecover one sliver, symbols in hand, root compared: microseconds");
    println!("{:>5} {:>7} | {:>9} {:>9}", "n", "blob", "primary", "secondary");
    for (n, name) in [(10, "1MiB"), (31, "1MiB"), (100, "1MiB"), (100, "16MiB"), (1000, "1MiB")] {
        if !plan.shards.contains(&n) || !plan.sizes.iter().any(|size| size.0 == name) {
            continue;
        }
        let length = SIZES.iter().find(|size| size.0 == name).unwrap().1;
        let (encoded, fragments) = encoded(&bytes(length), n);
        let (layout, blob) = (encoded.layout(), encoded.blob_id());
        let proof = |pair: u16| encoded.proof(PairIndex(pair)).check(&blob, &layout, PairIndex(pair)).unwrap();
        let proofs: Vec<CheckedProof> = (0..layout.rows()).map(proof).collect();
        let vector = RootVector::from_proofs(&proofs).unwrap();
        let mut helpers: Vec<u16> = (1..n).collect();
        helpers.sort_by_key(|helper| *blake3::hash(&helper.to_le_bytes()).as_bytes());
        let mut times = [0.0; 2];
        for (time, axis) in times.iter_mut().zip([Axis::Primary, Axis::Secondary]) {
            let target = SliverId { pair: PairIndex(0), axis };
            let symbol = |helper: &u16| {
                let (pair, mut symbol) = (PairIndex(*helper), Vec::new());
                let fragment = Part::new(&fragments, encoded.fragment_offset(pair));
                recovery_symbol(&layout, pair, target, (&fragment, &mut symbol), &options(1)).unwrap();
                (pair, symbol)
            };
            let symbols: Vec<(PairIndex, Vec<u8>)> = helpers.iter().map(symbol).collect();
            let symbols: Vec<(PairIndex, &dyn ReadAt)> =
                symbols.iter().map(|(pair, symbol)| (*pair, symbol as &dyn ReadAt)).collect();
            let out = MemorySink::new(layout.fragment_bytes() as usize);
            let mut run = || {
                black_box(recover_sliver(&vector, target, &symbols, &out, &options(1)).unwrap());
            };
            [*time] = least(plan.budget, [&mut run]);
        }
        println!("{n:>5} {name:>7} | {:>9.1} {:>9.1}", times[0] * 1e6, times[1] * 1e6);
    }
}

/// Encodes a blob of 1 GiB from a file that is made of nothing to a sink that keeps nothing, and tells how much more memory
/// the process had at its highest than before.
fn memory(plan: &Plan) {
    struct Nowhere;
    impl WriteAt for Nowhere {
        fn write_all_at(&self, bytes: &[u8], _: u64) -> std::io::Result<()> {
            black_box(bytes);
            Ok(())
        }
    }
    println!("\nencode from a file to a sink: highest resident memory above that before, MiB");
    let resident = |name: &str| -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
    };
    for (n, length) in [(100, 1_u64 << 30), (1000, 1 << 26)] {
        if !plan.shards.contains(&n) {
            continue;
        }
        let file = tempfile::tempfile().unwrap();
        file.set_len(length).unwrap();
        for threads in [1, 2] {
            // Makes the highest of so far that of now, where the kernel lets us.
            let _ = std::fs::write("/proc/self/clear_refs", "5");
            let before = resident("VmRSS");
            encode(&file, length, n, &Nowhere, &options(threads)).unwrap();
            let above = resident("VmHWM").saturating_sub(before);
            println!("{n:>5} {:>5} MiB, {threads} threads: {:>8.1}", length >> 20, above as f64 / 1024.0);
        }
    }
}

fn main() {
    let plan = Plan::of_arguments();
    if plan.runs("encode") {
        encoding(&plan);
    }
    if plan.runs("read") {
        reading(&plan);
    }
    if plan.runs("degraded") {
        degraded(&plan);
    }
    if plan.runs("recover") {
        recovering(&plan);
    }
    if plan.runs("memory") {
        memory(&plan);
    }
}
