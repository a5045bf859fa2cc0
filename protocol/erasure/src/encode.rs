//! Encodes a blob: all slivers to a sink, and the commitment to them.
//!
//! For every stripe (a range of bytes of every symbol):
//!
//! ```text
//!   1. columns   read the p source symbols of each of the c columns, extend them to n
//!   2. rows      extend each of the n rows from c to n, hash its n symbols, write the primary sliver
//!   3. slivers   write the secondary slivers: the first p symbols of each of the n columns
//! ```
//!
//! The stripes of the `n x c` symbols of step 1 are kept, and those of the `p x (n-c)` that step 2 adds and
//! step 3 writes. The `(n-p) x (n-c)` symbols that nobody stores are hashed and dropped. After the last stripe
//! the hashes of all `n x n` symbols make the trees of all slivers.
//!
//! Within a step columns, or rows, are independent: they are what threads share. Within a row or column
//! the work goes in pieces of one BLAKE3 chunk, which keeps it in the second-level cache.

use crate::commitment::Commitment;
use crate::error::EncodeError;
use crate::hash::{CHUNK_BYTES, Domain, Hash, Kernel};
use crate::id::{BlobId, PairIndex};
use crate::io::{ReadAt, WriteAt};
use crate::layout::Layout;
use crate::medium::{Medium, fragment_offset, pair_index};
use crate::merkle;
use crate::options::Options;
use crate::parallel::{run_all, share};
use crate::proof::{FragmentProof, SliverRoots};
use crate::stripe::{Stripe, Stripes};
use crate::symbols::SymbolHashes;
use crate::tile::{Geometry, RowGroup, Worker};

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
    let commitment = Encoding { medium: Medium { layout, source, sink: Some(sink) }, options }.run()?;
    Ok(Encoded { layout, commitment })
}

/// The id of the first `length` bytes of `source` for `shards` shards: all the work of [`encode`] but keeping
/// the slivers.
///
/// # Errors
/// As [`encode`].
pub fn identify(source: &dyn ReadAt, length: u64, shards: u16, options: &Options<'_>) -> Result<BlobId, EncodeError> {
    let layout = Layout::new(shards, length)?;
    let commitment = Encoding { medium: Medium { layout, source, sink: None }, options }.run()?;
    Ok(commitment.blob())
}

/// Bytes of stripes, of all symbols together, beyond which wider ones cost more in page faults and cache misses
/// than they save in calls; less makes for small reads and writes. Yet a chunk of every symbol is worth any
/// size: narrower stripes are hashed in a single lane.
const STRIPES_BYTES_ENOUGH: usize = 4 << 20;

/// One call of [`encode`] or [`identify`].
struct Encoding<'a> {
    medium: Medium<'a>,
    options: &'a Options<'a>,
}

/// The stripes of all symbols that are kept from one step to another.
struct Buffers {
    /// Column by column, each of `c` with its `n` symbols.
    columns: Vec<u8>,
    /// Row by row, each of `p` with its symbols beyond the `c`-th. Empty when there is no sink.
    beyond: Vec<u8>,
}

impl Encoding<'_> {
    fn run(&self) -> Result<Commitment, EncodeError> {
        let kernel = Kernel::detect();
        let layout = self.medium.layout;
        let geometry = Geometry::new(&layout);
        let Geometry { n, p, c, .. } = geometry;
        let beyond = if self.medium.sink.is_some() { p * (n - c) } else { 0 };
        let size = layout.symbol_bytes();
        let hash_bytes = n * n * SymbolHashes::state_bytes(size);
        let symbols = n * c + beyond;
        let enough = STRIPES_BYTES_ENOUGH.max(symbols * CHUNK_BYTES);
        let memory = self.options.memory_bytes_max.saturating_sub(hash_bytes).min(enough);
        let stripes = Stripes::new(size, symbols, memory);

        let mut buffers =
            Buffers { columns: vec![0; n * c * stripes.bytes()], beyond: vec![0; beyond * stripes.bytes()] };
        let mut groups = RowGroup::all(&geometry, size);
        let mut workers: Vec<Worker> =
            (0..self.options.threads.get()).map(|_| Worker::new(&geometry, stripes.bytes(), kernel)).collect();
        for stripe in stripes.iter() {
            if self.options.is_cancelled() {
                return Err(EncodeError::Cancelled);
            }
            self.columns(&geometry, stripe, &mut buffers, &mut workers)?;
            self.rows(&geometry, stripe, &mut buffers, &mut groups, &mut workers)?;
            self.secondaries(&geometry, stripe, &buffers, &mut workers)?;
            let done = (stripe.start + stripe.bytes as u64) * (p * c) as u64;
            self.options.report(done.min(layout.blob_bytes()));
        }
        drop(buffers);
        let (primaries, secondaries) = sliver_roots(kernel, &geometry, groups, &mut workers);
        Ok(Commitment::new(&layout, primaries, secondaries))
    }

    /// Step 1.
    fn columns(
        &self,
        geometry: &Geometry,
        stripe: Stripe,
        buffers: &mut Buffers,
        workers: &mut [Worker],
    ) -> Result<(), EncodeError> {
        let Geometry { n, c, .. } = *geometry;
        let column_bytes = n * stripe.bytes;
        let per_task = share(c, self.options.threads).next_multiple_of(geometry.slots(stripe.bytes));
        let tasks = buffers.columns[..c * column_bytes].chunks_mut(per_task * column_bytes).enumerate();
        let medium = self.medium;
        run_all(workers, tasks, |worker, (index, columns)| {
            medium.read_columns(geometry, stripe, index * per_task, columns, &mut worker.run)?;
            worker.extend_columns(geometry, stripe, columns);
            Ok(())
        })
    }

    /// Step 2.
    fn rows(
        &self,
        geometry: &Geometry,
        stripe: Stripe,
        buffers: &mut Buffers,
        groups: &mut [RowGroup],
        workers: &mut [Worker],
    ) -> Result<(), EncodeError> {
        let columns = &buffers.columns[..geometry.c * geometry.n * stripe.bytes];
        let row_bytes = if self.medium.sink.is_some() { (geometry.n - geometry.c) * stripe.bytes } else { 0 };
        let mut beyond = &mut buffers.beyond[..geometry.p * row_bytes];
        let mut tasks = Vec::with_capacity(groups.len());
        for group in groups {
            // Rows from p on have nothing beyond that is kept.
            let kept = group.rows.end.min(geometry.p).saturating_sub(group.rows.start);
            let (now, later) = std::mem::take(&mut beyond).split_at_mut(kept * row_bytes);
            beyond = later;
            tasks.push((group, now));
        }
        let medium = self.medium;
        run_all(workers, tasks.into_iter(), |worker, (group, beyond)| {
            worker.extend_rows(geometry, stripe, columns, group, beyond);
            group.rows.clone().try_for_each(|row| medium.write_primary(geometry, stripe, columns, row, &mut worker.run))
        })
    }

    /// Step 3.
    fn secondaries(
        &self,
        geometry: &Geometry,
        stripe: Stripe,
        buffers: &Buffers,
        workers: &mut [Worker],
    ) -> Result<(), EncodeError> {
        if self.medium.sink.is_none() {
            return Ok(());
        }
        let Geometry { n, p, c, .. } = *geometry;
        let width = stripe.bytes;
        let medium = self.medium;
        run_all(workers, 0..n, |worker, column| {
            let pair = pair_index(n - 1 - column);
            let offset = fragment_offset(&medium.layout, pair) + medium.layout.primary_bytes();
            if column < c {
                let symbols = buffers.columns[column * n * width..][..p * width].chunks(width);
                medium.write_symbols(stripe, symbols, offset, &mut worker.run)
            } else {
                let rows = buffers.beyond[..p * (n - c) * width].chunks((n - c) * width);
                let symbols = rows.map(|row| &row[(column - c) * width..(column - c + 1) * width]);
                medium.write_symbols(stripe, symbols, offset, &mut worker.run)
            }
        })
    }
}

/// The roots of all slivers, primaries and secondaries, from the hashes of all symbols.
fn sliver_roots(
    kernel: Kernel,
    geometry: &Geometry,
    mut groups: Vec<RowGroup>,
    workers: &mut [Worker],
) -> (Vec<SliverRoots>, Vec<SliverRoots>) {
    let Geometry { n, p, c, group_rows, .. } = *geometry;
    let none = SliverRoots { stored: [0; 32], extension: [0; 32] };
    let mut primaries = vec![none; n];
    let mut matrix: Vec<Hash> = vec![[0; 32]; n * n];
    let rows = matrix.chunks_mut(group_rows * n).zip(primaries.chunks_mut(group_rows));
    let Ok(()) = run_all(workers, groups.iter_mut().zip(rows), |_, (group, (rows, primaries))| {
        let hashes = group.hashes.finish(kernel);
        rows.copy_from_slice(hashes);
        for (hashes, roots) in hashes.chunks_mut(n).zip(primaries) {
            let (stored, extension) = hashes.split_at_mut(c);
            roots.stored = merkle::root(kernel, Domain::SymbolNode, stored);
            roots.extension = merkle::root(kernel, Domain::SymbolNode, extension);
        }
        Ok::<(), std::convert::Infallible>(())
    });
    drop(groups);
    let (stored, extension) = matrix.split_at_mut(p * n);
    let Ok(()) = run_all(workers, [&mut *stored, &mut *extension].into_iter(), |_, rows| {
        merkle::roots_side_by_side(kernel, Domain::SymbolNode, rows, n);
        Ok::<(), std::convert::Infallible>(())
    });
    let secondaries = stored.iter().zip(extension.iter()).take(n);
    let secondaries = secondaries.map(|(stored, extension)| SliverRoots { stored: *stored, extension: *extension });
    (primaries, secondaries.collect())
}
