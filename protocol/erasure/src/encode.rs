//! Encodes a blob: all slivers to a sink, and the commitment to them.
//!
//! For every stripe (a range of bytes of every symbol):
//!
//! ```text
//!   0. source    read the p rows of c symbols that are not in memory already
//!   1. columns   extend each of the c columns from p to n symbols
//!   2. rows      extend each of the n rows from c to n, hash its n symbols, write the primary sliver
//!   3. columns   write the secondary slivers: the first p symbols of each of the n columns
//! ```
//!
//! The stripes of the `(n-p) x c` symbols of step 1 are kept, and those of the `p x (n-c)` that step 2 adds and
//! step 3 writes. The `(n-p) x (n-c)` symbols that nobody stores are hashed and dropped. With the last stripe
//! the hashes of all `n x n` symbols are there: step 2 makes the roots of rows, step 3 those of columns.
//!
//! Within a step columns, or rows, are independent: they are what threads share, which are started once. Within a row or column
//! the work goes in pieces of one BLAKE3 chunk, which keeps it in the second-level cache.

use std::convert::Infallible;
use std::num::NonZeroUsize;

use crate::commitment::Commitment;
use crate::engine::Machine;
use crate::error::EncodeError;
use crate::hash::{CHUNK_BYTES, Domain, Hash, Kernel};
use crate::id::{BlobId, PairIndex};
use crate::io::{ReadAt, WriteAt};
use crate::layout::Layout;
use crate::medium::{Medium, fragment_offset, pair_index};
use crate::options::Options;
use crate::parallel::{Team, share};
use crate::proof::{FragmentProof, SliverRoots};
use crate::short::write_shorts;
use crate::stripe::{Stripe, Stripes};
use crate::symbols::SymbolHashes;
use crate::tile::{ColumnGroup, Geometry, RowGroup, RowView, Worker};
use crate::trees;

/// A blob that has been encoded: its id and all proofs. Its slivers are in the sink.
#[derive(Clone, Debug)]
pub struct Encoded {
    layout: Layout,
    commitment: Commitment,
}

impl Encoded {
    /// The blob's id.
    pub fn blob_id(&self) -> BlobId {
        self.commitment.blob()
    }

    /// The blob's layout.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The proof of a pair, which must be below [`Layout::shards`].
    ///
    /// # Panics
    /// When it is not.
    pub fn proof(&self, pair: PairIndex) -> FragmentProof {
        assert!(pair.0 < self.layout.shards(), "there is no pair {pair}");
        self.commitment.proof(pair)
    }

    /// Where in the sink the primary sliver of `pair` begins, in bytes; its secondary sliver follows directly.
    pub fn fragment_offset(&self, pair: PairIndex) -> u64 {
        fragment_offset(&self.layout, pair)
    }
}

/// Encodes the first `length` bytes of `source` for `shards` shards.
///
/// The fragments are written to `sink`, [`Layout::encoded_bytes`] in all, every byte once, in no promised order.
/// Every byte of the source is read once. When the source changes meanwhile, some encoding comes out that
/// is not that of any blob.
///
/// # Errors
/// No layout for these numbers, the source or the sink failed, or the call was cancelled. What was written
/// then is of no use.
pub fn encode(
    source: &dyn ReadAt,
    length: u64,
    shards: u16,
    sink: &dyn WriteAt,
    options: &Options<'_>,
) -> Result<Encoded, EncodeError> {
    let layout = Layout::new(shards, length)?;
    let commitment = Encoding { medium: Medium::new(layout, source, Some(sink)), options }.run()?;
    Ok(Encoded { layout, commitment })
}

/// The id of the first `length` bytes of `source` for `shards` shards: all the work of [`encode`] but keeping
/// the slivers.
///
/// # Errors
/// As [`encode`].
pub fn identify(source: &dyn ReadAt, length: u64, shards: u16, options: &Options<'_>) -> Result<BlobId, EncodeError> {
    let layout = Layout::new(shards, length)?;
    let commitment = Encoding { medium: Medium::new(layout, source, None), options }.run()?;
    Ok(commitment.blob())
}

/// Bytes of stripes, of all symbols together, beyond which wider ones cost more in cache misses than they save in
/// calls; less makes for small reads and writes. Yet a chunk of every symbol is worth any size: what is narrower
/// is hashed in parts.
const STRIPES_BYTES_ENOUGH: usize = 1 << 20;
/// The same when threads share them.
const STRIPES_BYTES_SHARED: usize = 4 << 20;
/// Bytes of hashing, of symbols and above them, that are worth other threads than the caller's.
const THREADS_BYTES_MIN: usize = 1 << 20;
/// Secondary slivers that are written by one task, at most.
const SLIVERS_TOGETHER: usize = 8;
/// Trees of columns that are made to roots together: their hashes stay in the second-level cache.
const TREES_TOGETHER: usize = 64;
/// Hashes of rows that are made to roots together, for the same reason.
const LEAVES_TOGETHER: usize = 4096;

/// The threads of one call.
type Crew<'t> = Team<'t, Worker>;

/// One call of [`encode`] or [`identify`].
struct Encoding<'a> {
    medium: Medium<'a>,
    options: &'a Options<'a>,
}

/// The stripes of all symbols that are kept from one step to another.
struct Buffers {
    /// The source rows that cannot be used where they are, `c` symbols each.
    source: Vec<u8>,
    /// The rows from `p` on, `c` symbols each.
    computed: Vec<u8>,
    /// Row by row, each of `p` with its symbols beyond the `c`-th. Empty when nothing is kept.
    beyond: Vec<u8>,
}

/// What is found out about the symbols of all stripes.
struct Sums {
    groups: Vec<RowGroup>,
    /// The roots of all slivers, from the last stripe on.
    primaries: Vec<SliverRoots>,
    secondaries: Vec<SliverRoots>,
}

impl Sums {
    fn new(geometry: &Geometry, symbol_bytes: u64) -> Self {
        let none = vec![SliverRoots { stored: [0; 32], extension: [0; 32] }; geometry.n];
        Self { groups: RowGroup::all(geometry, symbol_bytes), primaries: none.clone(), secondaries: none }
    }
}

/// A stripe and its numbers.
#[derive(Clone, Copy)]
struct At<'a> {
    geometry: &'a Geometry,
    stripe: Stripe,
    kernel: Kernel,
    /// Whether all symbols end with it.
    is_last: bool,
}

impl At<'_> {
    /// Bytes of a stripe of `c` symbols.
    fn row_bytes(&self) -> usize {
        self.geometry.c * self.stripe.bytes
    }
}

impl Encoding<'_> {
    fn run(&self) -> Result<Commitment, EncodeError> {
        self.run_on(Kernel::detect(), Machine::detect())
    }

    fn run_on(&self, kernel: Kernel, machine: Machine) -> Result<Commitment, EncodeError> {
        let layout = *self.medium.layout();
        let threads = self.threads();
        let mut geometry = Geometry::new(&layout, threads.get());
        let Geometry { n, p, c, .. } = geometry;
        let beyond = if self.medium.keeps() { p * (n - c) } else { 0 };
        let source = (p - self.medium.rows_in_place().min(p)) * c;
        let size = layout.symbol_bytes();
        let symbols = source + (n - p) * c + beyond;
        // Every stripe wakes the other threads anew.
        let enough = if threads.get() == 1 { STRIPES_BYTES_ENOUGH } else { STRIPES_BYTES_SHARED };
        let enough = enough.max(symbols * CHUNK_BYTES);
        let stripes = |hash_bytes: usize| {
            Stripes::new(size, symbols, self.options.memory_bytes_max.saturating_sub(hash_bytes).min(enough))
        };
        let stripes = stripes(n * n * SymbolHashes::state_bytes(size));
        if stripes.bytes() as u64 == size {
            geometry = geometry.of_one_stripe();
        }

        let bytes = |symbols: usize| vec![0; symbols * stripes.bytes()];
        let mut buffers = Buffers { source: bytes(source), computed: bytes((n - p) * c), beyond: bytes(beyond) };
        let mut sums = Sums::new(&geometry, size);
        Team::with(
            threads,
            || Worker::new(&geometry, size, (kernel, machine)),
            |team| {
                for stripe in stripes.iter() {
                    if self.options.is_cancelled() {
                        return Err(EncodeError::Cancelled);
                    }
                    let end = stripe.start + stripe.bytes as u64;
                    let at = At { geometry: &geometry, stripe, kernel, is_last: end == size };
                    self.stripe(at, &mut buffers, &mut sums, team)?;
                    self.options.report((end * (p * c) as u64).min(layout.blob_bytes()));
                }
                Ok(())
            },
        )?;
        drop(buffers);
        Ok(Commitment::new(&layout, sums.primaries, sums.secondaries))
    }

    /// How many threads are worth it.
    fn threads(&self) -> NonZeroUsize {
        let n = u64::from(self.medium.layout().shards());
        // A tree node or two, and starting a hash at all, cost about as much as 128 bytes.
        let bytes = (n * n).saturating_mul(self.medium.layout().symbol_bytes() + 128);
        if bytes < THREADS_BYTES_MIN as u64 { NonZeroUsize::MIN } else { self.options.threads }
    }

    /// All steps for one stripe.
    fn stripe(
        &self,
        at: At<'_>,
        buffers: &mut Buffers,
        sums: &mut Sums,
        team: &mut Crew<'_>,
    ) -> Result<(), EncodeError> {
        let (Geometry { p, .. }, width) = (*at.geometry, at.stripe.bytes);
        let in_place = self.medium.rows_in_place().min(p);
        let (medium, row_bytes) = (self.medium, at.row_bytes());
        let source = &mut buffers.source[..(p - in_place) * row_bytes];
        // One row or two, those with the padding, are not worth waking others.
        let mut sources = source.chunks_mut(row_bytes).enumerate();
        let read = |(index, row): (usize, &mut [u8])| medium.read_row(in_place + index, at.stripe, row);
        if p - in_place > 2 {
            team.run_all(sources, |_, row| read(row))?
        } else {
            sources.try_for_each(read)?
        }
        let buffered = |bytes| RowView { bytes, stride: width };
        let mut rows: Vec<RowView<'_>> = (0..in_place).map(|row| medium.row(row, at.stripe)).collect();
        rows.extend(source.chunks(row_bytes).map(buffered));

        let computed = &mut buffers.computed[..(at.geometry.n - p) * row_bytes];
        extend_columns(at, &rows, computed, team);
        rows.extend(computed.chunks(row_bytes).map(buffered));
        self.rows(at, &rows, sums, &mut buffers.beyond, team)?;
        self.columns(at, &rows, sums, &buffers.beyond, team)
    }

    /// Step 2.
    fn rows(
        &self,
        at: At<'_>,
        rows: &[RowView<'_>],
        sums: &mut Sums,
        beyond: &mut [u8],
        team: &mut Crew<'_>,
    ) -> Result<(), EncodeError> {
        let Geometry { n, p, c, joins, .. } = *at.geometry;
        let (medium, width) = (self.medium, at.stripe.bytes);
        let row_bytes = if medium.keeps() { (n - c) * width } else { 0 };
        let mut beyond = &mut beyond[..p * row_bytes];
        let mut primaries = sums.primaries.as_mut_slice();
        let mut tasks = Vec::with_capacity(sums.groups.len());
        for group in &mut sums.groups {
            let (roots, later) = std::mem::take(&mut primaries).split_at_mut(group.rows.len());
            primaries = later;
            // Rows from p on have nothing beyond that is kept.
            let kept = group.rows.end.min(p).saturating_sub(group.rows.start);
            let (now, later) = std::mem::take(&mut beyond).split_at_mut(kept * row_bytes);
            beyond = later;
            tasks.push((group, now, roots));
        }
        team.run_all(tasks.into_iter(), |worker, (group, beyond, roots)| {
            if joins {
                std::mem::swap(&mut group.hashes, &mut worker.hashes);
                group.hashes.restart(group.rows.len() * n);
            }
            worker.extend_rows(at.geometry, rows, group, (beyond, width));
            if at.is_last {
                let leaves = group.hashes.finish(at.kernel);
                row_roots(at, leaves, roots);
                if joins {
                    group.joined = join_columns(at, leaves);
                    std::mem::swap(&mut group.hashes, &mut worker.hashes);
                }
            }
            group.rows.clone().try_for_each(|row| medium.write_primary(at.stripe, row, &rows[row]))
        })
    }

    /// Step 3.
    fn columns(
        &self,
        at: At<'_>,
        rows: &[RowView<'_>],
        sums: &mut Sums,
        beyond: &[u8],
        team: &mut Crew<'_>,
    ) -> Result<(), EncodeError> {
        let (n, medium) = (at.geometry.n, self.medium);
        let together = share(n, team.threads()).min(SLIVERS_TOGETHER);
        let mut tasks = Vec::new();
        let mut hashes: Vec<&[Hash]> = Vec::new();
        if at.is_last {
            hashes.extend(sums.groups.iter().flat_map(|group| group.rows_of_hashes(at.geometry)));
            let roots = sums.secondaries.chunks_mut(TREES_TOGETHER).enumerate();
            tasks.extend(roots.map(|(index, roots)| ColumnTask::Roots { first: index * TREES_TOGETHER, roots }));
        }
        if self.medium.keeps() {
            tasks.extend((0..n).step_by(together).map(|first| ColumnTask::Write { first }));
        }
        team.run_all(tasks.into_iter(), |_, task| match task {
            ColumnTask::Roots { first, roots } => {
                column_roots(at, &hashes, first, roots);
                Ok(())
            }
            ColumnTask::Write { first } => (first..n.min(first + together))
                .try_for_each(|column| write_secondary(medium, at, rows, beyond, column)),
        })
    }
}

/// A part of step 3.
enum ColumnTask<'a> {
    /// Makes the roots of some secondary slivers.
    Roots { first: usize, roots: &'a mut [SliverRoots] },
    /// Writes some secondary slivers.
    Write { first: usize },
}

/// Step 1.
fn extend_columns(at: At<'_>, source: &[RowView<'_>], computed: &mut [u8], team: &mut Crew<'_>) {
    let (Geometry { n, p, c, .. }, width) = (*at.geometry, at.stripe.bytes);
    let words = at.geometry.column_words(width.min(CHUNK_BYTES));
    let per_task = share(c, team.threads()).next_multiple_of(words);
    // So few columns that they cannot be shared evenly are cut.
    let cut = if per_task == 1 { share(width, team.threads()).next_multiple_of(CHUNK_BYTES).min(width) } else { width };
    let mut groups: Vec<ColumnGroup<'_>> = Vec::with_capacity(c.div_ceil(per_task) * width.div_ceil(cut));
    for first in (0..c).step_by(per_task) {
        let columns = first..c.min(first + per_task);
        let group = |start| ColumnGroup {
            columns: columns.clone(),
            bytes: start..width.min(start + cut),
            computed: Vec::with_capacity(n - p),
        };
        groups.extend((0..width).step_by(cut).map(group));
    }
    for row in computed.chunks_mut(at.row_bytes()) {
        let parts = row.chunks_mut(per_task * width).flat_map(|part| part.chunks_mut(per_task * cut));
        groups.iter_mut().zip(parts).for_each(|(group, part)| group.computed.push(part));
    }
    let Ok(()) = team.run_all(groups.into_iter(), |worker, group| {
        worker.extend_columns(at.geometry, source, group);
        Ok::<(), Infallible>(())
    });
}

/// Writes the stripe of one secondary sliver.
fn write_secondary(
    medium: Medium<'_>,
    at: At<'_>,
    rows: &[RowView<'_>],
    beyond: &[u8],
    column: usize,
) -> Result<(), EncodeError> {
    let Geometry { n, p, c, short, .. } = *at.geometry;
    let (layout, width) = (medium.layout(), at.stripe.bytes);
    let offset = fragment_offset(layout, pair_index(n - 1 - column)) + layout.primary_bytes();
    let beyond = beyond[..if column < c { 0 } else { p * (n - c) * width }].chunks(((n - c) * width).max(1));
    let beyond = beyond.map(|bytes| RowView { bytes, stride: width });
    let rows = rows[..if column < c { p } else { 0 }].iter().copied();
    let (rows, column) = (rows.chain(beyond), if column < c { column } else { column - c });
    if let Some(bytes) = short {
        let numbers: Vec<u64> = rows.map(|row| row.short(column, bytes)).collect();
        let mut sliver = vec![0; p * bytes];
        write_shorts(&mut sliver, bytes, &numbers);
        return medium.write_whole(&sliver, offset);
    }
    medium.write_symbols(at.stripe, rows.map(|row| row.symbol(column, 0..width)), offset)
}

/// The roots of the primary slivers of a group, from the hashes of all their symbols.
fn row_roots(at: At<'_>, leaves: &[Hash], roots: &mut [SliverRoots]) {
    let Geometry { n, c, .. } = *at.geometry;
    let together = (LEAVES_TOGETHER / n).max(1);
    for (rows, roots) in leaves.chunks(together * n).zip(roots.chunks_mut(together)) {
        let side = |columns| trees::roots_of_rows(at.kernel, Domain::SymbolNode, (rows, n), columns);
        fill(roots, side(0..c), side(c..n));
    }
}

/// By column the root of its subtree over the rows of a group.
fn join_columns(at: At<'_>, leaves: &[Hash]) -> Vec<Hash> {
    let n = at.geometry.n;
    let mut joined = Vec::with_capacity(n);
    for first in (0..n).step_by(TREES_TOGETHER) {
        let rows: Vec<&[Hash]> = leaves.chunks(n).map(|row| &row[first..n.min(first + TREES_TOGETHER)]).collect();
        joined.extend(trees::roots_side_by_side(at.kernel, Domain::SymbolNode, &rows));
    }
    joined
}

/// The roots of the secondary slivers from `first` on, from the hashes of all rows.
fn column_roots(at: At<'_>, rows: &[&[Hash]], first: usize, roots: &mut [SliverRoots]) {
    let columns = first..first + roots.len();
    let side = |rows: &[&[Hash]]| {
        let rows: Vec<&[Hash]> = rows.iter().map(|row| &row[columns.clone()]).collect();
        trees::roots_side_by_side(at.kernel, Domain::SymbolNode, &rows)
    };
    let (stored, extension) = rows.split_at(at.geometry.stored_rows());
    fill(roots, side(stored), side(extension));
}

fn fill(roots: &mut [SliverRoots], stored: Vec<Hash>, extension: Vec<Hash>) {
    for ((roots, stored), extension) in roots.iter_mut().zip(stored).zip(extension) {
        *roots = SliverRoots { stored, extension };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_the_same_on_every_machine_with_any_threads_and_memory() {
        // Numbers, packed symbols, whole blocks with a rest, symbols of several chunks; few shards, and enough to join rows.
        for (n, symbol) in [(10, 2), (31, 30), (10, 4000), (130, 6), (130, 78), (130, 1100), (200, 8)] {
            let layout = Layout::new(n, 0).unwrap();
            let length = u64::from(layout.rows()) * u64::from(layout.columns()) * symbol - 1;
            let blob: Vec<u8> = (0..length).map(|i| (i * i / 7 % 251) as u8).collect();
            let layout = Layout::new(n, length).unwrap();
            let expected = identify(&blob, length, n, &Options::default()).unwrap();
            for (kernel, machine) in Kernel::all()
                .into_iter()
                .flat_map(|kernel| [Machine::detect(), Machine::stock()].map(|it| (kernel, it)))
            {
                for (threads, memory_bytes_max) in [(1, 0), (1, 32 << 20), (3, 0), (3, 32 << 20)] {
                    let threads = NonZeroUsize::new(threads).unwrap();
                    let options = Options { threads, memory_bytes_max, ..Options::default() };
                    let encoding = Encoding { medium: Medium::new(layout, &blob, None), options: &options };
                    let commitment = encoding.run_on(kernel, machine).unwrap();
                    assert_eq!(commitment.blob(), expected, "{n} shards, {symbol} bytes, {machine:?}, {options:?}");
                }
            }
        }
    }
}
